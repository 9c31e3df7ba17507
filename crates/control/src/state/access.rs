//! Tokens: which volumes need one, and what each is good for.
//!
//! A volume that never had a token is open to whoever has a certificate of the cluster. From its first
//! token on nobody reaches it without one, for good: that all of them have ended does not open it
//! again. Only hashes are kept. Tokens that have ended stay on record, so that *revoked* is a fact that
//! can be told, other than *never heard of*.

use super::command::{Outcome, Refusal};
use super::event::Event;
use super::{State, VolumeState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use types::access::{Rights, TokenHash};
use types::limits::{TOKEN_NAME_BYTES_MAX, TOKENS_ENDED_KEPT_MAX, TOKENS_LIVE_MAX, TOKENS_MAX};
use types::{Timestamp, TokenId, VolumeId};
use wire::control::{self as message, TokenRights};

/// Why a token is good for nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenEnd {
    /// Somebody said so.
    Revoked,
    /// Its time is over.
    Expired,
}

impl TokenEnd {
    /// The word for people and programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TokenEnd::Revoked => "revoked",
            TokenEnd::Expired => "expired",
        }
    }
}

/// One token of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    pub id: TokenId,
    /// For people; may be empty.
    pub name: String,
    pub rights: Rights,
    pub hash: TokenHash,
    pub created: Timestamp,
    /// When its time is over, unless it is revoked before.
    pub expires: Option<Timestamp>,
    pub ended: Option<(TokenEnd, Timestamp)>,
}

impl Token {
    fn access(&self) -> message::Access {
        match (self.ended, self.rights) {
            (Some((TokenEnd::Revoked, _)), _) => message::Access::Revoked,
            (Some((TokenEnd::Expired, _)), _) => message::Access::Expired,
            (None, Rights::ReadOnly) => message::Access::ReadOnly,
            (None, Rights::ReadWrite) => message::Access::ReadWrite,
        }
    }

    fn grant(&self) -> message::Grant {
        let rights = match self.ended {
            Some(_) => TokenRights::Ended,
            None => self.rights.into(),
        };
        message::Grant { hash: self.hash.0.to_vec().into(), rights: rights.into() }
    }
}

/// The tokens of one volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// The last number handed out.
    last: u64,
    all: BTreeMap<TokenId, Token>,
}

impl Tokens {
    fn live(&self) -> usize {
        self.all.values().filter(|token| token.ended.is_none()).count()
    }

    fn ended(&self) -> usize {
        self.all.len() - self.live()
    }

    /// Forgets those that ended first, until so many that have ended are left. Whoever ended last is
    /// kept: its owner may not have heard of it yet.
    fn trim(&mut self, ended_max: usize) {
        let at = |token: &Token| Some((token.ended?.1, token.id));
        let mut ended: Vec<_> = self.all.values().filter_map(at).collect();
        ended.sort_unstable();
        let over = ended.len().saturating_sub(ended_max.max(1));
        for (_, id) in &ended[..over] {
            self.all.remove(id);
        }
    }
}

/// The tokens of all volumes that need one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRecord {
    /// Rises with every change. Nodes say which one they go by; zero is none.
    pub version: u64,
    volumes: BTreeMap<VolumeId, Tokens>,
}

impl Default for AccessRecord {
    fn default() -> AccessRecord {
        AccessRecord { version: 1, volumes: BTreeMap::new() }
    }
}

impl AccessRecord {
    /// What may be done with a volume by whoever shows a token of this hash, or none; and which token
    /// it is.
    #[must_use]
    pub fn check(
        &self,
        volume: VolumeId,
        shown: Option<TokenHash>,
    ) -> (message::Access, Option<TokenId>) {
        let Some(tokens) = self.volumes.get(&volume) else { return (message::Access::Open, None) };
        let Some(shown) = shown else { return (message::Access::Required, None) };
        match tokens.all.values().find(|token| token.hash == shown) {
            Some(token) => (token.access(), Some(token.id)),
            None => (message::Access::Unknown, None),
        }
    }

    /// Whether nobody reaches the volume without a token.
    #[must_use]
    pub fn is_required(&self, volume: VolumeId) -> bool {
        self.volumes.contains_key(&volume)
    }

    /// The tokens of a volume, in ascending order.
    pub fn tokens(&self, volume: VolumeId) -> impl Iterator<Item = &Token> {
        self.volumes.get(&volume).into_iter().flat_map(|tokens| tokens.all.values())
    }

    /// Tokens whose time is over, and that are not on record as such.
    pub fn overdue(&self, now: Timestamp) -> impl Iterator<Item = (VolumeId, TokenId)> {
        let all = self
            .volumes
            .iter()
            .flat_map(|(volume, tokens)| tokens.all.values().map(move |token| (*volume, token)));
        let over = move |token: &Token| {
            token.ended.is_none() && token.expires.is_some_and(|expires| expires <= now)
        };
        all.filter(move |(_, token)| over(token)).map(|(volume, token)| (volume, token.id))
    }

    /// How many are live, and how many have ended.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        let live = self.volumes.values().map(Tokens::live).sum();
        let all: usize = self.volumes.values().map(|tokens| tokens.all.len()).sum();
        (live, all - live)
    }

    /// For nodes.
    #[must_use]
    pub fn list(&self) -> message::AccessList {
        let volume = |(id, tokens): (&VolumeId, &Tokens)| message::VolumeAccess {
            volume: id.0,
            grants: tokens.all.values().map(Token::grant).collect(),
        };
        message::AccessList { volumes: self.volumes.iter().map(volume).collect() }
    }

    /// A volume is gone for good.
    pub(super) fn forget(&mut self, volume: VolumeId, at: Timestamp) {
        if self.volumes.remove(&volume).is_some() {
            self.change(at);
        }
    }

    /// Something changed. The version is a time where clocks allow it, so that a control plane that was
    /// restored from an older copy never gives a version to one list that nodes know of another.
    fn change(&mut self, at: Timestamp) {
        self.version = (self.version + 1).max(u64::try_from(at.0).unwrap_or(0));
    }

    /// Forgets some tokens that have ended, when there are as many tokens as there may be.
    fn make_room(&mut self) {
        let (live, ended) = self.count();
        if live + ended < TOKENS_MAX {
            return;
        }
        let most = self.volumes.values_mut().max_by_key(|tokens| tokens.ended());
        if let Some(tokens) = most {
            let half = tokens.ended() / 2;
            tokens.trim(half);
        }
    }
}

/// A token as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSpec {
    pub name: String,
    pub rights: Rights,
    pub hash: TokenHash,
    pub expires: Option<Timestamp>,
}

pub(super) fn create(
    state: &mut State,
    volume: VolumeId,
    spec: &TokenSpec,
    at: Timestamp,
) -> Result<Outcome, Refusal> {
    let record = state.volumes.get(&volume).ok_or(Refusal::NoSuchVolume { volume })?;
    if !record.state.is_live() {
        return Err(Refusal::VolumeDeleted { volume });
    }
    check_spec(spec).map_err(Refusal::breaks)?;
    let first = !state.access.is_required(volume);
    let own = state.access.volumes.get(&volume).map_or(0, Tokens::live);
    if own >= TOKENS_LIVE_MAX {
        return Err(Refusal::breaks("the volume has too many tokens: revoke some of them"));
    }
    state.access.make_room();
    let (live, ended) = state.access.count();
    if live + ended >= TOKENS_MAX {
        return Err(Refusal::breaks("there are too many tokens in the cluster: revoke some"));
    }
    let all = state.access.volumes.values().flat_map(|tokens| tokens.all.values());
    if all.into_iter().any(|token| token.hash == spec.hash) {
        return Err(Refusal::breaks("there is such a token already"));
    }
    let tokens = state.access.volumes.entry(volume).or_default();
    tokens.last += 1;
    let id = TokenId(tokens.last);
    let TokenSpec { name, rights, hash, expires } = spec.clone();
    let token = Token { id, name, rights, hash, created: at, expires, ended: None };
    tokens.all.insert(id, token.clone());
    state.access.change(at);
    if first {
        let message = format!("{}; it had no token before", record.name);
        let subject = format!("volume/{volume}");
        state.events.push(Event::of("volume", subject, "token-required", message, at));
    }
    note(state, volume, &token, "token-created", at);
    Ok(Outcome::Token(Box::new(token)))
}

/// Says what is wrong with a token as asked for.
fn check_spec(spec: &TokenSpec) -> Result<(), &'static str> {
    if spec.name.len() > TOKEN_NAME_BYTES_MAX || spec.name.chars().any(char::is_control) {
        return Err("a token's name is up to 128 bytes, without control characters");
    }
    Ok(())
}

pub(super) fn end(
    state: &mut State,
    volume: VolumeId,
    token: TokenId,
    why: TokenEnd,
    at: Timestamp,
) -> Result<Outcome, Refusal> {
    let record = state.volumes.get(&volume).ok_or(Refusal::NoSuchVolume { volume })?;
    if record.state == VolumeState::Deleted {
        return Err(Refusal::VolumeDeleted { volume });
    }
    let no_such = Refusal::NoSuchToken { volume, token };
    let tokens = state.access.volumes.get_mut(&volume).ok_or(no_such.clone())?;
    let ended = tokens.all.get_mut(&token).ok_or(no_such)?;
    if ended.ended.is_some() {
        return Ok(Outcome::Token(Box::new(ended.clone())));
    }
    ended.ended = Some((why, at));
    let ended = ended.clone();
    tokens.trim(TOKENS_ENDED_KEPT_MAX);
    state.access.change(at);
    note(state, volume, &ended, &format!("token-{}", why.name()), at);
    Ok(Outcome::Token(Box::new(ended)))
}

fn note(state: &mut State, volume: VolumeId, token: &Token, to: &str, at: Timestamp) {
    let name = state.volumes.get(&volume).map_or("", |record| &record.name);
    let message = format!("{name}: token {} ({}, {})", token.id, token.rights, named(&token.name));
    state.events.push(Event::of("volume", format!("volume/{volume}"), to, message, at));
}

fn named(name: &str) -> &str {
    if name.is_empty() { "without a name" } else { name }
}
