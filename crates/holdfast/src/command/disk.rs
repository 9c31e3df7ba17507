//! `holdfast disk`

use super::conditions;
use super::operation::{self, Begin, Destroyed, Force, who};
use crate::admin::segment;
use crate::cli::Remote;
use crate::exit::Result;
use crate::output::{self, Format, age, or_dash};
use crate::size;
use clap::{Args, Subcommand};
use control::api::operation::By;
use control::view::{DiskView, Item, List as ListOf, OperationView};

#[derive(Debug, Subcommand)]
pub(crate) enum Disk {
    /// List the disks
    List(List),
    /// Show one disk
    Show(Show),
    /// Move everything away from a disk, for good, and prove that nothing is left
    Decommission(Decommission),
    /// Take a disk back into service
    Recommission(Recommission),
    /// Read every partition that has a copy on a disk again, verify it, and compare its copies
    Scrub(Scrub),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct Scrub {
    /// Id of the disk
    disk: u64,
    #[command(flatten)]
    begin: Begin,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Id of the disk
    disk: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct Recommission {
    /// Id of the disk
    disk: u64,
    #[command(flatten)]
    remote: Remote,
}

impl Recommission {
    fn run(self) -> Result {
        let path = format!("/v1/disks/{}/recommission", self.disk);
        let Item { item, .. } =
            self.remote.client()?.post::<Item<OperationView>>(&path, &By { by: who() })?;
        operation::show(self.remote.output, &item)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Decommission {
    /// Id of the disk
    disk: u64,
    #[command(flatten)]
    force: Force,
    #[command(flatten)]
    destroyed: Destroyed,
    #[command(flatten)]
    begin: Begin,
}

impl Disk {
    pub(crate) fn run(self) -> Result {
        match self {
            Disk::List(command) => command.run(),
            Disk::Show(command) => command.run(),
            Disk::Recommission(command) => command.run(),
            Disk::Scrub(command) => command.begin.scrub(&format!("disk/{}", command.disk)),
            Disk::Decommission(command) => {
                let target = format!("disk/{}", command.disk);
                command.begin.decommission(&target, command.force, command.destroyed)
            }
        }
    }
}

impl List {
    fn run(self) -> Result {
        let list: ListOf<DiskView> = self.remote.client()?.get("/v1/disks")?;
        output::mention_age(&list.view);
        let columns =
            ["id", "status", "duty", "age", "node", "label", "capacity", "free", "replicas"];
        output::list(self.remote.output, &list.items, &columns, |disk| {
            vec![
                disk.id.to_string(),
                disk.status.to_string(),
                disk.duty.clone(),
                age(disk.age_ms),
                disk.node.to_string(),
                disk.label.clone(),
                size::show(disk.capacity_bytes),
                or_dash(disk.free_bytes.map(size::show)),
                disk.replicas.to_string(),
            ]
        })
    }
}

impl Show {
    fn run(self) -> Result {
        let path = format!("/v1/disks/{}", segment(&self.disk));
        let Item { view, item: disk } = self.remote.client()?.get::<Item<DiskView>>(&path)?;
        output::mention_age(&view);
        let rows = [
            ("id", disk.id.to_string()),
            ("status", disk.status.to_string()),
            ("duty", disk.duty.clone()),
            ("reason", disk.reason.clone()),
            ("last report", age(disk.age_ms)),
            ("node", disk.node.to_string()),
            ("label", disk.label.clone()),
            ("capacity", size::show(disk.capacity_bytes)),
            ("free", or_dash(disk.free_bytes.map(size::show))),
            ("replicas", disk.replicas.to_string()),
        ];
        output::show(self.remote.output, &disk, &rows)?;
        if self.remote.output == Format::Json {
            return Ok(());
        }
        conditions::print("conditions", &disk.conditions)
    }
}
