//! `holdfast volume token`

use super::volume::path;
use crate::admin::Client;
use crate::cli::Remote;
use crate::exit::{Exit, Failure, Result};
use crate::file;
use crate::output::{self, Format, or_dash};
use crate::span;
use clap::{Args, Subcommand};
use control::api::token::Create as CreateRequest;
use control::view::{CreatedToken, Item, List as ListOf, TokenView, VolumeView};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use types::access::Rights;

/// How long to wait until the nodes say that they go by a change.
const NODES_WAIT: Duration = Duration::from_secs(5);
const NODES_POLL: Duration = Duration::from_millis(100);

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token, and print its secret this once. From its first token on, nobody reaches a
    /// volume without one
    Create(Create),
    /// List the tokens of a volume; their secrets are not kept
    List(List),
    /// Revoke a token: whoever uses it is told at once, and can do nothing more
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Name or id of the volume
    volume: String,
    /// What its owner may do: ro (look at everything, change nothing) or rw
    #[arg(long)]
    rights: Rights,
    /// What it is for, to know it again
    #[arg(long, default_value = "")]
    name: String,
    /// For how long it is good [default: until it is revoked]
    #[arg(long, value_name = "TIME", value_parser = span::parse)]
    expires: Option<Duration>,
    /// Write the secret to this new file, which only you can read, instead of printing it
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Also where it is the first one, and clients have the volume open without: they must leave
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Name or id of the volume
    volume: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// Name or id of the volume
    volume: String,
    /// Number of the token
    id: u64,
    /// Answer the question whether to go on
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Token {
    pub(crate) fn run(self) -> Result {
        match self {
            Token::Create(command) => command.run(),
            Token::List(command) => command.run(),
            Token::Revoke(command) => command.run(),
        }
    }
}

impl Create {
    fn run(self) -> Result {
        if let Some(path) = self.file.as_deref().filter(|path| file::exists(path)) {
            let message = format!("{} exists, and is not overwritten", path.display());
            return Err(Failure::new(Exit::Conflict, message, "name a new file"));
        }
        let client = self.remote.client()?;
        let before: Item<VolumeView> = client.get(&path(&self.volume))?;
        let request = CreateRequest {
            name: self.name,
            rights: self.rights,
            expires_s: self.expires.map(|span| span.as_millis().div_ceil(1_000) as u64),
            force: self.force,
        };
        // By id: a name may change hands.
        let volume = before.item.id.to_string();
        let path = format!("{}/tokens", path(&volume));
        let Item { item, .. } = client.post::<Item<CreatedToken>>(&path, &request)?;
        if !before.item.token_required {
            output::talk(&format!(
                "note: this is the first token of volume {}. From now on nobody reaches it without \
                 a token, for good; what had it open without one is told to leave.",
                before.item.name
            ));
        }
        // Before anything can go wrong: nobody can show it again.
        if let Some(path) = &self.file {
            file::create(path, &format!("{}\n", item.secret), true)?;
        }
        let CreatedToken { token, secret } = item;
        let token = wait(&client, &volume, token)?;
        let kept = self.file.is_some();
        let place = self.file.map_or("FILE".to_owned(), |path| path.display().to_string());
        output::talk(&format!(
            "token {} ({}) of volume {}: mount with --volume-token-file {place}. Nobody can show its \
             secret again.",
            token.id, token.rights, before.item.name
        ));
        match self.remote.output {
            Format::Json if kept => output::json(&token),
            Format::Json => output::json(&CreatedToken { token, secret }),
            Format::Table if kept => Ok(()),
            Format::Table => output::data(&secret),
        }
    }
}

impl List {
    fn run(self) -> Result {
        let client = self.remote.client()?;
        let Item { item: volume, .. } = client.get::<Item<VolumeView>>(&path(&self.volume))?;
        let list: ListOf<TokenView> =
            client.get(&format!("{}/tokens", path(&volume.id.to_string())))?;
        output::mention_age(&list.view);
        if !volume.token_required {
            output::talk("the volume needs no token: whoever has a certificate may mount it");
        }
        let columns = [
            "id",
            "name",
            "rights",
            "state",
            "clients",
            "created",
            "expires",
            "ended",
            "nodes told",
        ];
        output::list(self.remote.output, &list.items, &columns, |token| {
            let all = token.nodes_told.len() + token.nodes_behind.len();
            vec![
                token.id.to_string(),
                token.name.clone(),
                token.rights.clone(),
                token.state.clone(),
                token.clients.to_string(),
                token.created.clone(),
                or_dash(token.expires.clone()),
                or_dash(token.ended.clone()),
                format!("{} of {all}", token.nodes_told.len()),
            ]
        })
    }
}

impl Revoke {
    fn run(self) -> Result {
        let client = self.remote.client()?;
        let Item { item: volume, .. } = client.get::<Item<VolumeView>>(&path(&self.volume))?;
        let tokens = format!("{}/tokens", path(&volume.id.to_string()));
        let list: ListOf<TokenView> = client.get(&tokens)?;
        let used = list.items.iter().find(|token| token.id == self.id);
        let clients = used.map_or(0, |token| token.clients);
        let question = format!(
            "This revokes token {} of volume '{}' for good. {clients} clients use it: they end, and \
             what they have not written back is lost.",
            self.id, volume.name
        );
        output::confirm(&question, &volume.name, self.yes)?;
        let path = format!("{tokens}/{}", self.id);
        let Item { item, .. } = client.delete::<Item<TokenView>>(&path)?;
        let token = wait(&client, &volume.id.to_string(), item)?;
        let rows = [
            ("token", token.id.to_string()),
            ("name", token.name.clone()),
            ("rights", token.rights.clone()),
            ("state", token.state.clone()),
            ("ended", or_dash(token.ended.clone())),
            ("nodes told", format!("{:?}", token.nodes_told)),
        ];
        output::show(self.remote.output, &token, &rows)
    }
}

/// Waits until every node has said that it goes by the newest list of tokens, and says which have not.
fn wait(client: &Client, volume: &str, mut token: TokenView) -> Result<TokenView> {
    let began = Instant::now();
    while !token.nodes_behind.is_empty() && began.elapsed() < NODES_WAIT {
        std::thread::sleep(NODES_POLL);
        let list: ListOf<TokenView> = client.get(&format!("{}/tokens", path(volume)))?;
        token = list.items.into_iter().find(|one| one.id == token.id).unwrap_or(token);
    }
    if !token.nodes_behind.is_empty() {
        output::talk(&format!(
            "warning: nodes {:?} have not said that they go by this. One that is cut off goes on \
             serving whom it let in before, until it hears of it; one that starts serves nobody \
             before. See: holdfast node list",
            token.nodes_behind
        ));
    }
    Ok(token)
}
