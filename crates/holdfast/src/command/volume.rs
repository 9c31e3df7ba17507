//! `holdfast volume`

use super::conditions;
use super::operation::Begin;
use super::token::Token;
use crate::admin::{Client, segment};
use crate::cli::Remote;
use crate::exit::{Exit, Failure, Result};
use crate::output::{self, Format, age, or_dash};
use crate::{size, span};
use clap::{Args, Subcommand};
use control::api::volume::{Create as CreateRequest, Expand as ExpandRequest};
use control::view::{Item, List as ListOf, VolumeStatus, VolumeView};
use std::time::{Duration, Instant};
use types::volume::{Durability, VolumeKind};

/// How long to wait for a new volume to be served.
const CREATE_WAIT: Duration = Duration::from_secs(30);
const CREATE_POLL: Duration = Duration::from_millis(100);

/// How long to wait until a new leader of the control plane has heard of all clients.
const CLIENTS_WAIT: Duration = Duration::from_secs(10);

#[derive(Debug, Subcommand)]
pub(crate) enum Volume {
    /// Create a volume, and wait until it is served
    Create(Create),
    /// List the volumes
    List(List),
    /// Show one volume
    Show(Show),
    /// Let a volume hold more
    Expand(Expand),
    /// Keep more copies of everything in a volume, and prove that they are there
    Replicate(Replicate),
    /// Read everything in a volume again, verify it, and compare its copies
    Scrub(Scrub),
    /// Delete a volume and everything in it, once its grace is over
    Delete(Delete),
    /// Take a deletion back whose grace is not over
    Undelete(Undelete),
    /// Say who may reach a volume, and take that back
    #[command(subcommand)]
    Token(Token),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Name of the volume: letters, digits, '-', '_' and '.'
    name: String,
    /// What it is: file (a POSIX tree)
    #[arg(long)]
    kind: VolumeKind,
    /// Copies of everything, each on another node
    #[arg(long, default_value_t = 3)]
    replicas: u8,
    /// How much it may hold, one copy counted
    #[arg(long, value_name = "SIZE", default_value = "100GiB", value_parser = size::parse)]
    capacity: u64,
    /// When a write counts as done: replicated (every replica has it; fsync reaches every disk) or
    /// synced (every write is on every disk)
    #[arg(long, default_value_t = Durability::Replicated)]
    durability: Durability,
    /// Refuse writes with fewer replicas in sync than this [default: half of them, rounded up]
    #[arg(long, value_name = "N")]
    in_sync_min: Option<u8>,
    /// Spread its data over so many partitions [default: one for each node, from 3 to 64]
    #[arg(long, value_name = "N")]
    partitions: Option<u16>,
    /// Do not wait until it is served
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// List deleted volumes too
    #[arg(long)]
    deleted: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Name or id of the volume
    volume: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct Expand {
    /// Name or id of the volume
    volume: String,
    /// How much it may hold from now on, one copy counted
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    capacity: u64,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct Replicate {
    /// Name or id of the volume
    volume: String,
    /// How many copies there are to be, each on another node; more than there are now
    #[arg(long, value_name = "N")]
    replicas: u8,
    #[command(flatten)]
    begin: Begin,
}

impl Replicate {
    fn run(self) -> Result {
        let found: Item<VolumeView> = self.begin.remote.client()?.get(&path(&self.volume))?;
        self.begin.expand(found.item.id, self.replicas)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Scrub {
    /// Name or id of the volume
    volume: String,
    #[command(flatten)]
    begin: Begin,
}

impl Scrub {
    fn run(self) -> Result {
        let found: Item<VolumeView> = self.begin.remote.client()?.get(&path(&self.volume))?;
        self.begin.scrub(&format!("volume/{}", found.item.id))
    }
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Name or id of the volume
    volume: String,
    /// For how long the deletion can be taken back; 0s deletes for good at once. Deleting it once
    /// more chooses another grace
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = span::parse)]
    grace: Duration,
    /// Also while clients have it open: they are told, write back what they can, and leave
    #[arg(long)]
    force: bool,
    /// Answer the question whether to go on
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct Undelete {
    /// Name or id of the volume
    volume: String,
    #[command(flatten)]
    remote: Remote,
}

impl Volume {
    pub(crate) fn run(self) -> Result {
        match self {
            Volume::Create(command) => command.run(),
            Volume::List(command) => command.run(),
            Volume::Show(command) => command.run(),
            Volume::Expand(command) => command.run(),
            Volume::Replicate(command) => command.run(),
            Volume::Scrub(command) => command.run(),
            Volume::Delete(command) => command.run(),
            Volume::Undelete(command) => command.run(),
            Volume::Token(command) => command.run(),
        }
    }
}

pub(super) fn path(volume: &str) -> String {
    format!("/v1/volumes/{}", segment(volume))
}

impl Create {
    fn run(self) -> Result {
        let client = self.remote.client()?;
        let request = CreateRequest {
            name: self.name,
            kind: self.kind,
            replicas: self.replicas,
            in_sync_min: self.in_sync_min,
            capacity_bytes: self.capacity,
            durability: self.durability,
            data_partitions: self.partitions,
        };
        let created: Item<VolumeView> = client.post("/v1/volumes", &request)?;
        let volume = if self.no_wait { created.item } else { wait(&client, created.item.id)? };
        show(&self.remote, &volume)
    }
}

/// Waits until a volume is served.
fn wait(client: &Client, id: u64) -> Result<VolumeView> {
    let began = Instant::now();
    loop {
        let Item { item, .. } = client.get::<Item<VolumeView>>(&path(&id.to_string()))?;
        match item.status {
            VolumeStatus::Healthy | VolumeStatus::Degraded | VolumeStatus::ReadOnly => {
                return Ok(item);
            }
            VolumeStatus::Deleting | VolumeStatus::Purging | VolumeStatus::Deleted => {
                let message = format!("volume {id} was deleted while it was waited for");
                return Err(Failure::new(Exit::NotFound, message, ""));
            }
            _ if began.elapsed() < CREATE_WAIT => std::thread::sleep(CREATE_POLL),
            status => {
                let message = format!("volume {id} is created, and not served yet: it is {status}");
                let action = "see what is missing with: holdfast status";
                return Err(Failure::new(Exit::Failed, message, action));
            }
        }
    }
}

impl List {
    fn run(self) -> Result {
        let path = format!("/v1/volumes?deleted={}", self.deleted);
        let list: ListOf<VolumeView> = self.remote.client()?.get(&path)?;
        output::mention_age(&list.view);
        let columns = [
            "id",
            "name",
            "kind",
            "status",
            "age",
            "replicas",
            "capacity",
            "stored",
            "durability",
            "vanishes",
        ];
        output::list(self.remote.output, &list.items, &columns, |volume| {
            vec![
                volume.id.to_string(),
                volume.name.clone(),
                volume.kind.clone(),
                volume.status.to_string(),
                age(volume.age_ms),
                volume.replicas.to_string(),
                size::show(volume.capacity_bytes),
                or_dash(volume.stored_bytes.map(size::show)),
                volume.durability.clone(),
                or_dash(vanishes(volume)),
            ]
        })
    }
}

/// When what is in a volume goes for good, for one that is being deleted.
fn vanishes(volume: &VolumeView) -> Option<String> {
    match volume.status {
        VolumeStatus::Deleting => volume.purge_at.clone(),
        VolumeStatus::Purging => Some("now".to_owned()),
        _ => None,
    }
}

impl Show {
    fn run(self) -> Result {
        let Item { view, item } = self.remote.client()?.get(&path(&self.volume))?;
        output::mention_age(&view);
        show(&self.remote, &item)
    }
}

fn show(remote: &Remote, volume: &VolumeView) -> Result {
    let partitions: Vec<String> =
        volume.partitions.iter().map(|(status, count)| format!("{count} {status}")).collect();
    let mut rows = vec![
        ("id", volume.id.to_string()),
        ("name", volume.name.clone()),
        ("kind", volume.kind.clone()),
        ("status", volume.status.to_string()),
        ("age of status", age(volume.age_ms)),
        ("replicas", volume.replicas.to_string()),
        ("in sync at least", volume.in_sync_min.to_string()),
        ("capacity", size::show(volume.capacity_bytes)),
        ("used", or_dash(volume.used_bytes.map(size::show))),
        ("stored, all replicas", or_dash(volume.stored_bytes.map(size::show))),
        ("durability", volume.durability.clone()),
        ("partitions", partitions.join(", ")),
        ("needs a token", if volume.token_required { "yes" } else { "no" }.to_owned()),
        ("created", volume.created.clone()),
    ];
    rows.extend(volume.deleted.iter().map(|at| ("deleted", at.clone())));
    rows.extend(vanishes(volume).map(|when| ("vanishes", when)));
    output::show(remote.output, volume, &rows)?;
    match remote.output {
        Format::Table => {
            conditions::print("conditions, and what is not well of its parts", &volume.conditions)
        }
        Format::Json => Ok(()),
    }
}

impl Expand {
    fn run(self) -> Result {
        let client = self.remote.client()?;
        let request = ExpandRequest { capacity_bytes: self.capacity };
        let path = format!("{}/expand", path(&self.volume));
        let Item { item, .. } = client.post::<Item<VolumeView>>(&path, &request)?;
        show(&self.remote, &item)
    }
}

impl Delete {
    fn run(self) -> Result {
        let client = self.remote.client()?;
        // By id from here on: a name may change hands while the person thinks.
        let Item { item, .. } = client.get::<Item<VolumeView>>(&path(&self.volume))?;
        let stored = item
            .stored_bytes
            .map_or(String::new(), |bytes| format!(", {} on its disks", size::show(bytes)));
        let question = format!(
            "This deletes volume '{}' (id {}{stored}) and everything in it, {}.",
            item.name,
            item.id,
            match self.grace.is_zero() {
                true => "for good".to_owned(),
                false => format!("unless it is taken back within {}", span::show(self.grace)),
            }
        );
        output::confirm(&question, &item.name, self.yes)?;
        let path = format!(
            "{}?grace_s={}&force={}",
            path(&item.id.to_string()),
            self.grace.as_millis().div_ceil(1_000),
            self.force
        );
        let deleted = delete(&client, &path)?;
        show(&self.remote, &deleted)
    }
}

/// Deletes; waits while the control plane does not know yet whether anybody has the volume open.
fn delete(client: &Client, path: &str) -> Result<VolumeView> {
    let began = Instant::now();
    loop {
        match client.delete::<Item<VolumeView>>(path) {
            Err(failure) if failure.code == "clients-unknown" && began.elapsed() < CLIENTS_WAIT => {
                std::thread::sleep(CREATE_POLL);
            }
            deleted => return deleted.map(|Item { item, .. }| item),
        }
    }
}

impl Undelete {
    fn run(self) -> Result {
        let client = self.remote.client()?;
        let path = format!("{}/undelete", path(&self.volume));
        let nothing = serde_json::json!({});
        let Item { item, .. } = client.post::<Item<VolumeView>>(&path, &nothing)?;
        show(&self.remote, &item)
    }
}
