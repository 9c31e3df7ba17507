//! The kinds of operation. Adding one is a file here, a line in [`of`], and a line in
//! [`types::operation::kind`].

mod decommission;
mod drain;

use super::record::{Duty, DutyKind, Operation};
use super::scene::{Finding, Scene};
use crate::state::State;
use std::collections::BTreeMap;
use types::operation::{LockKind, OperationKind, Target};
use types::{DiskId, Member, NodeId, PartitionId};

/// What there is to know of a kind. All of it pure.
pub struct Kind {
    /// Whether it is done to such a target.
    pub takes: fn(&Target) -> bool,
    /// What the target is excused from while it lasts, and after it succeeded.
    pub duty: Option<DutyKind>,
    /// What it needs of a partition.
    pub lock: LockKind,
    /// What is left to do, by partition, with its bytes: from the record of all partitions, and from what
    /// the nodes say.
    pub remaining: fn(&Scene<'_>, &Operation) -> BTreeMap<PartitionId, u64>,
    /// What to do next about one of those.
    pub step: fn(&mut Scene<'_>, &Operation, PartitionId) -> Finding,
    /// How much is left by the record alone: a verdict is checked against it.
    pub on_record: fn(&State, &Operation) -> u64,
    /// Whether the nodes of the target have to list their disks before it can have succeeded.
    pub asks_disks: bool,
    /// In which state it leaves things when it is cancelled, for people.
    pub cancelled: &'static str,
}

/// The table.
#[must_use]
pub fn of(kind: OperationKind) -> &'static Kind {
    match kind {
        OperationKind::Decommission => &decommission::KIND,
        OperationKind::Drain => &drain::KIND,
    }
}

/// The nodes and disks a target means. A node stands for all its disks.
#[must_use]
pub fn places(state: &State, target: &Target) -> (Vec<NodeId>, Vec<DiskId>) {
    match target {
        Target::Node(node) => (vec![*node], Vec::new()),
        Target::Disk(disk) => (Vec::new(), vec![*disk]),
        Target::Zone(zone) => {
            let nodes = state.nodes.values().filter(|node| node.zone == *zone);
            (nodes.map(|node| node.id).collect(), Vec::new())
        }
        Target::Volume(_) | Target::Cluster => (Vec::new(), Vec::new()),
    }
}

/// Says what is wrong with a target.
///
/// # Errors
/// A sentence for people.
pub fn check_target(state: &State, target: &Target) -> Result<(), String> {
    let there = match target {
        Target::Node(node) => state.nodes.contains_key(node),
        Target::Disk(disk) => state.disks.contains_key(disk),
        Target::Zone(zone) => state.nodes.values().any(|node| node.zone == *zone),
        Target::Volume(volume) => state.volumes.contains_key(volume),
        Target::Cluster => true,
    };
    if there { Ok(()) } else { Err(format!("there is no {target}")) }
}

/// Nodes that have to say what is on their disks before an operation can have succeeded.
#[must_use]
pub fn witnesses(state: &State, operation: &Operation) -> Vec<NodeId> {
    if !of(operation.kind).asks_disks {
        return Vec::new();
    }
    Area::of(state, operation).nodes(state)
}

/// The places an operation is about, and a quick way to ask whether something is there.
///
/// What was taken back into service, or over by a later operation, is none of its business any more.
#[derive(Clone, Debug)]
pub struct Area {
    nodes: Vec<NodeId>,
    disks: Vec<DiskId>,
}

impl Area {
    #[must_use]
    pub fn of(state: &State, operation: &Operation) -> Area {
        let (mut nodes, mut disks) = places(state, &operation.target);
        let ours = |duty: Option<&Duty>| duty.is_some_and(|duty| duty.operation == operation.id);
        nodes.retain(|node| ours(state.operations.nodes.get(node)));
        disks.retain(|disk| ours(state.operations.disks.get(disk)));
        Area { nodes, disks }
    }

    #[must_use]
    pub fn holds(&self, member: &Member) -> bool {
        self.is_at(member.node, member.disk)
    }

    #[must_use]
    pub fn is_at(&self, node: NodeId, disk: DiskId) -> bool {
        self.nodes.contains(&node) || self.disks.contains(&disk)
    }

    /// The nodes that it is on, whole or in part.
    #[must_use]
    pub fn nodes(&self, state: &State) -> Vec<NodeId> {
        let disks = self.disks.iter().filter_map(|disk| state.disks.get(disk));
        self.nodes.iter().copied().chain(disks.map(|disk| disk.node)).collect()
    }
}
