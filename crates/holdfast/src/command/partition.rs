//! `holdfast partition`

use super::conditions;
use super::operation::Begin;
use crate::admin::segment;
use crate::cli::Remote;
use crate::exit::Result;
use crate::output::{self, Format, age, or_dash};
use crate::size;
use clap::{Args, Subcommand};
use control::view::{Item, List as ListOf, LockView, PartitionView};

#[derive(Debug, Subcommand)]
pub(crate) enum Partition {
    /// List the partitions
    List(List),
    /// Show one partition and its replicas
    Show(Show),
    /// Show which operations keep others from changing a partition
    Locks(Locks),
    /// Read everything in a partition again, verify it, and compare its copies
    Scrub(Scrub),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those of this volume, by name or id
    #[arg(long)]
    volume: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct Scrub {
    /// Id of the partition
    partition: u64,
    #[command(flatten)]
    begin: Begin,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Id of the partition
    partition: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct Locks {
    /// Id of the partition
    partition: String,
    #[command(flatten)]
    remote: Remote,
}

impl Locks {
    fn run(self) -> Result {
        let path = format!("/v1/partitions/{}/locks", segment(&self.partition));
        let list: ListOf<LockView> = self.remote.client()?.get(&path)?;
        output::mention_age(&list.view);
        let columns = ["kind", "operation", "what", "since", "expires"];
        output::list(self.remote.output, &list.items, &columns, |lock| {
            let LockView { kind, operation, what, since, expires } = lock;
            let operation = operation.to_string();
            vec![kind.clone(), operation, what.clone(), since.clone(), expires.clone()]
        })
    }
}

impl Partition {
    pub(crate) fn run(self) -> Result {
        match self {
            Partition::List(command) => command.run(),
            Partition::Show(command) => command.run(),
            Partition::Scrub(command) => {
                command.begin.scrub(&format!("partition/{}", command.partition))
            }
            Partition::Locks(command) => command.run(),
        }
    }
}

/// Replicas as `1 on 3, 2 on 1`: replica, and the node it is on.
fn places(partition: &PartitionView, which: &[u64]) -> String {
    let place = |id: &u64| match partition.replicas.iter().find(|replica| replica.id == *id) {
        Some(replica) => format!("{id} on {}", replica.node),
        None => id.to_string(),
    };
    let places: Vec<String> = which.iter().map(place).collect();
    if places.is_empty() { "-".to_owned() } else { places.join(", ") }
}

impl List {
    fn run(self) -> Result {
        let path = match &self.volume {
            Some(volume) => format!("/v1/partitions?volume={}", segment(volume)),
            None => "/v1/partitions".to_owned(),
        };
        let list: ListOf<PartitionView> = self.remote.client()?.get(&path)?;
        output::mention_age(&list.view);
        let columns =
            ["id", "volume", "kind", "status", "age", "epoch", "leader", "in sync", "catching up"];
        output::list(self.remote.output, &list.items, &columns, |partition| {
            vec![
                partition.id.to_string(),
                partition.volume.to_string(),
                partition.kind.clone(),
                partition.status.to_string(),
                age(partition.age_ms),
                partition.epoch.to_string(),
                places(partition, partition.leader.as_slice()),
                places(partition, &partition.in_sync),
                places(partition, &partition.catching_up),
            ]
        })
    }
}

impl Show {
    fn run(self) -> Result {
        let path = format!("/v1/partitions/{}", segment(&self.partition));
        let Item { view, item } = self.remote.client()?.get::<Item<PartitionView>>(&path)?;
        output::mention_age(&view);
        let rows = [
            ("id", item.id.to_string()),
            ("volume", item.volume.to_string()),
            ("kind", item.kind.clone()),
            ("status", item.status.to_string()),
            ("age of status", age(item.age_ms)),
            ("epoch", item.epoch.to_string()),
            ("leader", places(&item, item.leader.as_slice())),
            ("in sync", places(&item, &item.in_sync)),
            ("catching up", places(&item, &item.catching_up)),
        ];
        output::show(self.remote.output, &item, &rows)?;
        if self.remote.output == Format::Json {
            return Ok(());
        }
        output::data("")?;
        let columns =
            ["replica", "node", "disk", "place", "state", "age", "end", "committed", "bytes"];
        output::list(Format::Table, &item.replicas, &columns, |replica| {
            let reason = if replica.reason.is_empty() { "" } else { ": " };
            vec![
                replica.id.to_string(),
                replica.node.to_string(),
                replica.disk.to_string(),
                replica.place.clone(),
                format!("{}{reason}{}", replica.state, replica.reason),
                age(replica.age_ms),
                or_dash(replica.end),
                or_dash(replica.committed),
                or_dash(replica.bytes.map(size::show)),
            ]
        })?;
        conditions::print("conditions, what is not well first", &item.conditions)
    }
}
