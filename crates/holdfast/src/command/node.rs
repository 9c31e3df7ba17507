//! `holdfast node`

use super::conditions;
use super::operation::{self, Begin, Destroyed, Force, who};
use crate::admin::segment;
use crate::cli::Remote;
use crate::exit::Result;
use crate::output::{self, Format, age};
use clap::{Args, Subcommand};
use control::api::operation::By;
use control::view::{Item, List as ListOf, NodeView, OperationView, SessionView};
use types::operation::OperationKind;

#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// List the storage nodes
    List(List),
    /// Show one storage node
    Show(Show),
    /// Move everything away from a node, for good, and prove that nothing is left
    Decommission(Decommission),
    /// Move leaders away from a node, and keep new replicas away, until it is recommissioned
    Drain(Drain),
    /// Read every partition that has a copy on a node again, verify it, and compare its copies
    Scrub(Scrub),
    /// Take a node back into service
    Recommission(Recommission),
    /// Show what happened on the sessions of a node to others since it started
    Sessions(Show),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Id of the node
    node: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct Decommission {
    /// Id of the node
    node: u64,
    #[command(flatten)]
    force: Force,
    #[command(flatten)]
    destroyed: Destroyed,
    #[command(flatten)]
    begin: Begin,
}

#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// Id of the node
    node: u64,
    #[command(flatten)]
    begin: Begin,
}

#[derive(Debug, Args)]
pub(crate) struct Scrub {
    /// Id of the node
    node: u64,
    #[command(flatten)]
    begin: Begin,
}

#[derive(Debug, Args)]
pub(crate) struct Recommission {
    /// Id of the node
    node: u64,
    #[command(flatten)]
    remote: Remote,
}

impl Recommission {
    fn run(self) -> Result {
        let path = format!("/v1/nodes/{}/recommission", self.node);
        let Item { item, .. } =
            self.remote.client()?.post::<Item<OperationView>>(&path, &By { by: who() })?;
        operation::show(self.remote.output, &item)
    }
}

impl Node {
    pub(crate) fn run(self) -> Result {
        match self {
            Node::List(command) => command.run(),
            Node::Show(command) => command.run(),
            Node::Decommission(command) => {
                let target = format!("node/{}", command.node);
                command.begin.decommission(&target, command.force, command.destroyed)
            }
            Node::Drain(command) => {
                let target = format!("node/{}", command.node);
                command.begin.run(OperationKind::Drain, &target, false)
            }
            Node::Scrub(command) => command.begin.scrub(&format!("node/{}", command.node)),
            Node::Recommission(command) => command.run(),
            Node::Sessions(command) => command.sessions(),
        }
    }
}

impl List {
    fn run(self) -> Result {
        let list: ListOf<NodeView> = self.remote.client()?.get("/v1/nodes")?;
        output::mention_age(&list.view);
        let columns =
            ["id", "status", "duty", "age", "address", "zone", "disks", "replicas", "leads"];
        output::list(self.remote.output, &list.items, &columns, |node| {
            vec![
                node.id.to_string(),
                node.status.to_string(),
                node.duty.clone(),
                age(node.age_ms),
                node.address.clone(),
                zone(node),
                node.disks.len().to_string(),
                node.replicas.to_string(),
                node.leads.to_string(),
            ]
        })
    }
}

fn zone(node: &NodeView) -> String {
    if node.zone.is_empty() { "-".to_owned() } else { node.zone.clone() }
}

impl Show {
    fn sessions(self) -> Result {
        let path = format!("/v1/nodes/{}/sessions", segment(&self.node));
        let list: ListOf<SessionView> = self.remote.client()?.get(&path)?;
        let columns = [
            "address",
            "class",
            "open",
            "opened",
            "in flight",
            "requests",
            "mismatched",
            "cancelled",
            "timed out",
            "malformed",
        ];
        output::list(self.remote.output, &list.items, &columns, |session| {
            let counts = [
                session.open,
                session.opened,
                session.in_flight,
                session.requests,
                session.mismatched,
                session.cancelled,
                session.timed_out,
                session.malformed,
            ];
            let names = [session.address.clone(), session.class.clone()];
            names.into_iter().chain(counts.iter().map(u64::to_string)).collect()
        })
    }

    fn run(self) -> Result {
        let path = format!("/v1/nodes/{}", segment(&self.node));
        let Item { view, item: node } = self.remote.client()?.get::<Item<NodeView>>(&path)?;
        output::mention_age(&view);
        let disks: Vec<String> = node.disks.iter().map(u64::to_string).collect();
        let rows = [
            ("id", node.id.to_string()),
            ("status", node.status.to_string()),
            ("duty", node.duty.clone()),
            ("last report", age(node.age_ms)),
            ("address", node.address.clone()),
            ("zone", zone(&node)),
            ("disks", disks.join(", ")),
            ("replicas", node.replicas.to_string()),
            ("leads", node.leads.to_string()),
            ("joined", node.joined.clone()),
            ("started", node.started.clone()),
        ];
        output::show(self.remote.output, &node, &rows)?;
        if self.remote.output == Format::Json {
            return Ok(());
        }
        conditions::print("conditions", &node.conditions)
    }
}
