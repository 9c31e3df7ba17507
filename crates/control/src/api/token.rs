//! Requests about the tokens of a volume.

use super::ApiError;
use super::view::look;
use super::volume::{Answer, Body, body, check_unused, resolve};
use crate::core::Core;
use crate::state::{Command, Outcome, Token, TokenEnd, TokenSpec};
use crate::view::{self, CreatedToken, Item, List, TokenView};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use types::access::Rights;
use types::{Timestamp, TokenId, VolumeId};
use wire::Secret;

/// A token to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    #[serde(default)]
    pub name: String,
    pub rights: Rights,
    /// For how many seconds it is good; until it is revoked unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_s: Option<u64>,
    /// Also where it is the volume's first one, and clients have it open without: they must leave.
    #[serde(default)]
    pub force: bool,
}

pub(super) async fn create(
    State(core): State<Arc<Core>>,
    Path(which): Path<String>,
    request: Body<Create>,
) -> Answer<(StatusCode, Json<Item<CreatedToken>>)> {
    let create = body(request)?;
    let volume = resolve(&core, &which).await?;
    let is_first = core.machine.read(|state, _| !state.access.is_required(volume));
    if is_first && !create.force {
        check_unused(&core, volume)?;
    }
    let at = core.world.timestamp();
    let lasts = create.expires_s.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX));
    let lasts = lasts.map(|seconds| seconds.saturating_mul(1_000_000_000));
    let secret = Secret::draw(|| core.world.random());
    let spec = TokenSpec {
        name: create.name,
        rights: create.rights,
        hash: secret.hash(),
        expires: lasts.map(|nanos| Timestamp(at.0.saturating_add(nanos))),
    };
    let token = propose(&core, Command::CreateToken { volume, spec, at }).await?;
    let Item { view, item } = show(&core, volume, token.id)?;
    let created = CreatedToken { token: item, secret: secret.reveal() };
    Ok((StatusCode::CREATED, Json(Item { view, item: created })))
}

pub(super) async fn list(
    State(core): State<Arc<Core>>,
    Path(which): Path<String>,
) -> Answer<Json<List<TokenView>>> {
    let volume = resolve(&core, &which).await?;
    let clients = clients(&core, volume)?;
    let (view, items) = look(&core, |sight| {
        let tokens = sight.state.access.tokens(volume);
        tokens.map(|token| view::token::token(sight, volume, token, clients(token.id))).collect()
    });
    Ok(Json(List { view, items }))
}

pub(super) async fn revoke(
    State(core): State<Arc<Core>>,
    Path((which, token)): Path<(String, String)>,
) -> Answer<Json<Item<TokenView>>> {
    let volume = resolve(&core, &which).await?;
    let token: TokenId = token.parse().map_err(|_| ApiError::no_such_token(&which, &token))?;
    let at = core.world.timestamp();
    let why = TokenEnd::Revoked;
    propose(&core, Command::EndToken { volume, token, why, at }).await?;
    Ok(Json(show(&core, volume, token)?))
}

async fn propose(core: &Core, command: Command) -> Result<Token, ApiError> {
    match core.propose(command).await? {
        Outcome::Token(token) => Ok(*token),
        Outcome::Refused(refusal) => Err(refusal.into()),
        other => unreachable!("a change of a token cannot end in {other:?}"),
    }
}

/// How many clients use each token of a volume.
fn clients(core: &Core, volume: VolumeId) -> Result<impl Fn(TokenId) -> u64 + use<>, ApiError> {
    let leading = core.leading();
    let attached = &leading.as_ref().ok_or_else(ApiError::no_leader)?.attached;
    let of_volume = attached.list(core.world.now()).filter(|client| client.volume == volume);
    let tokens: Vec<Option<TokenId>> = of_volume.map(|client| client.token).collect();
    Ok(move |token| tokens.iter().filter(|used| **used == Some(token)).count() as u64)
}

fn show(core: &Core, volume: VolumeId, id: TokenId) -> Result<Item<TokenView>, ApiError> {
    let clients = clients(core, volume)?;
    let (view, item) = look(core, |sight| {
        let token = sight.state.access.tokens(volume).find(|token| token.id == id);
        token.map(|token| view::token::token(sight, volume, token, clients(id)))
    });
    let item = item.ok_or_else(|| ApiError::no_such_token(&volume.to_string(), &id.to_string()))?;
    Ok(Item { view, item })
}
