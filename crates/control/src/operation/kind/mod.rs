//! The kinds of operation. Adding one is a file here, a line in [`of`], and a line in
//! [`types::operation::kind`].

mod decommission;
mod delete;
mod drain;
mod expand;
mod rebalance;
mod repair;
mod scrub;

use super::command::Act;
use super::record::{Duty, DutyKind, Evidence, Operation, Relocation};
use super::scene::{Finding, Scene};
use crate::state::{Command, Partition, Refusal, State};
use std::collections::{BTreeMap, BTreeSet};
use types::operation::{LockKind, OperationKind, OperationState, Target};
use types::{DiskId, Member, NodeId, PartitionId, ReplicaId, Timestamp, VolumeId};

/// What there is to know of a kind. All of it pure.
pub struct Kind {
    /// Whether it is done to such a target.
    pub takes: fn(&Target) -> bool,
    /// What the target is excused from while it lasts, and after it succeeded.
    pub duty: Option<DutyKind>,
    /// What it needs of a partition.
    pub lock: LockKind,
    /// What is left to do, by partition: from the record of all partitions, and from what the nodes say.
    pub remaining: fn(&Scene<'_>, &Operation) -> BTreeMap<PartitionId, Job>,
    /// What to do next about one of those.
    pub step: fn(&mut Scene<'_>, &Operation, PartitionId, &Job) -> Finding,
    /// How much is left by the record alone: a verdict is checked against it.
    pub on_record: fn(&State, &Operation) -> u64,
    /// Whether the nodes of the target have to list their disks before it can have succeeded.
    pub asks_disks: bool,
    /// What changes as soon as it is asked for, or why it is refused.
    pub begin: fn(&mut State, &mut Operation) -> Result<(), Refusal>,
    /// Why it cannot be done any more, whatever is tried.
    pub void: fn(&State, &Operation) -> Option<String>,
    /// Why it cannot be taken back or stopped for a while, if it cannot.
    pub bound: fn(&State, &Operation, Timestamp) -> Result<(), Refusal>,
    /// What changes when it is cancelled.
    pub cancel: fn(&mut State, &Operation, Timestamp),
    /// In which state it leaves things when it is cancelled, for people.
    pub cancelled: &'static str,
}

/// What most kinds have no need of. Everything of it has to be looked at when a kind is made of it.
const NOTHING_ELSE: Kind = Kind {
    takes: |_| false,
    duty: None,
    lock: LockKind::Move,
    remaining: |_, _| BTreeMap::new(),
    step: |_, _, _, _| Finding::Underway,
    on_record: |_, _| 0,
    asks_disks: false,
    begin: |_, operation| match operation.replicas {
        Some(_) => Err(Refusal::breaks("a number of replicas is for an expand")),
        None => Ok(()),
    },
    void: |_, _| None,
    bound: |_, _, _| Ok(()),
    cancel: |_, _, _| {},
    cancelled: "",
};

/// What is to be done about one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Job {
    pub bytes: u64,
    /// Which replica goes, and where to, for kinds that decide that when they start.
    pub relocation: Option<Relocation>,
}

impl Job {
    #[must_use]
    pub fn of(bytes: u64) -> Job {
        Job { bytes, relocation: None }
    }
}

/// The table.
#[must_use]
pub fn of(kind: OperationKind) -> &'static Kind {
    match kind {
        OperationKind::Decommission => &decommission::KIND,
        OperationKind::Drain => &drain::KIND,
        OperationKind::Rebalance => &rebalance::KIND,
        OperationKind::Expand => &expand::KIND,
        OperationKind::Scrub => &scrub::KIND,
        OperationKind::Delete => &delete::KIND,
        OperationKind::Repair => &repair::KIND,
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
        Target::Volume(_) | Target::Cluster | Target::Partition(_) => (Vec::new(), Vec::new()),
    }
}

/// Says what is wrong with a target.
///
/// # Errors
/// When it is not there.
pub fn check_target(state: &State, target: &Target) -> Result<(), Refusal> {
    let there = match target {
        Target::Node(node) => state.nodes.contains_key(node),
        Target::Disk(disk) => state.disks.contains_key(disk),
        Target::Zone(zone) => state.nodes.values().any(|node| node.zone == *zone),
        Target::Volume(volume) => state.volumes.contains_key(volume),
        Target::Cluster => true,
        Target::Partition(partition) => state.partitions.contains_key(partition),
    };
    if there { Ok(()) } else { Err(Refusal::NoSuchTarget { target: target.to_string() }) }
}

/// Nodes that have to say what is on their disks before an operation can have succeeded.
#[must_use]
pub fn witnesses(state: &State, operation: &Operation) -> Vec<NodeId> {
    if !of(operation.kind).asks_disks {
        return Vec::new();
    }
    Area::of(state, operation).nodes(state)
}

/// Disks of the target that nobody looked at and of which nobody said that they have failed: one that its node
/// does not offer any more, or whose folder could not be read. A disk that left by itself before is not asked.
#[must_use]
pub fn unseen(state: &State, operation: &Operation, evidence: &Evidence) -> Vec<DiskId> {
    if !of(operation.kind).asks_disks {
        return Vec::new();
    }
    let seen = evidence.witnesses.iter().flat_map(|witness| &witness.disks);
    let believed = evidence.believed.iter().filter(|_| operation.attested.is_some());
    let seen: BTreeSet<&DiskId> = seen.chain(&evidence.dead).chain(believed).collect();
    let mut disks = Area::of(state, operation).disks(state);
    disks.retain(|disk| !seen.contains(disk));
    disks
}

/// Whether somebody said that the node is destroyed with every disk that it is about, and nobody heard it since.
#[must_use]
pub fn is_believed_gone(
    state: &State,
    operation: &Operation,
    evidence: &Evidence,
    node: NodeId,
) -> bool {
    let disks = Area::of(state, operation).disks(state);
    let on = |disk: &&DiskId| state.disks.get(disk).is_some_and(|record| record.node == node);
    let gone = |disk: &DiskId| evidence.believed.contains(disk);
    operation.attested.is_some() && disks.iter().filter(on).all(gone)
}

/// The places an operation is about, and a quick way to ask whether something is there: those it has excused.
///
/// What was taken back into service, or over by a later operation, is none of its business any more; a node
/// that says it is in another zone now still is.
#[derive(Clone, Debug, Default)]
pub struct Area {
    nodes: BTreeSet<NodeId>,
    disks: BTreeSet<DiskId>,
    /// A single one, wherever it is.
    replica: Option<ReplicaId>,
}

impl Area {
    #[must_use]
    pub fn of(state: &State, operation: &Operation) -> Area {
        let ours = |duty: &Duty| duty.operation == operation.id;
        let nodes = state.operations.nodes.iter().filter(|(_, duty)| ours(duty));
        let disks = state.operations.disks.iter().filter(|(_, duty)| ours(duty));
        let (nodes, disks) = (nodes.map(|(id, _)| *id), disks.map(|(id, _)| *id));
        Area { nodes: nodes.collect(), disks: disks.collect(), replica: None }
    }

    /// Where one replica is.
    #[must_use]
    pub fn of_replica(replica: ReplicaId) -> Area {
        let (nodes, disks) = Default::default();
        Area { nodes, disks, replica: Some(replica) }
    }

    #[must_use]
    pub fn holds(&self, member: &Member) -> bool {
        self.is_at(member.node, member.disk) || self.replica == Some(member.replica)
    }

    #[must_use]
    pub fn is_at(&self, node: NodeId, disk: DiskId) -> bool {
        self.nodes.contains(&node) || self.disks.contains(&disk)
    }

    /// The partitions of which something is there, by the record, ascending.
    pub fn partitions<'a>(&'a self, state: &'a State) -> impl Iterator<Item = &'a Partition> {
        let here = self.nodes(state).into_iter().flat_map(|node| state.partitions.on(node));
        let here = here.filter(|partition| partition.holders().any(|member| self.holds(member)));
        let ids: BTreeSet<PartitionId> = here.map(|p| p.configuration.partition).collect();
        ids.into_iter().filter_map(|id| state.partitions.get(&id))
    }

    /// The disks that it is made of. Of a node, those that did not leave before it.
    #[must_use]
    pub fn disks(&self, state: &State) -> Vec<DiskId> {
        let left = |disk: DiskId| {
            let duty = state.operations.disks.get(&disk);
            let operation = duty.and_then(|duty| state.operations.all.get(&duty.operation));
            operation.is_some_and(|operation| operation.state == OperationState::Succeeded)
        };
        let of_nodes = state.disks.values().filter(|disk| self.nodes.contains(&disk.node));
        let of_nodes = of_nodes.map(|disk| disk.id).filter(|disk| !left(*disk));
        of_nodes.chain(self.disks.iter().copied()).collect()
    }

    /// The nodes that it is on, whole or in part.
    #[must_use]
    pub fn nodes(&self, state: &State) -> Vec<NodeId> {
        let disks = self.disks.iter().filter_map(|disk| state.disks.get(disk));
        self.nodes.iter().copied().chain(disks.map(|disk| disk.node)).collect()
    }
}

/// Whether somebody has the deletion of a volume wait.
#[must_use]
pub fn is_deletion_paused(state: &State, volume: VolumeId) -> bool {
    let operations = &state.operations;
    let deletion = operations.at_work_on(OperationKind::Delete, &Target::Volume(volume));
    deletion.is_some_and(|operation| operation.state == OperationState::Paused)
}

/// The operation that follows what the plan mends, when it has to be begun.
#[must_use]
pub fn repair_of(state: &State, plan: &[Command], at: Timestamp) -> Option<Act> {
    repair::begin(state, plan, at)
}
