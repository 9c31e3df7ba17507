//! What one node should do, from what is on record and what the node said. Pure.
//!
//! Level-triggered: it is worked out anew for every heartbeat, from nothing but the state and that
//! heartbeat, so a lost answer is made good by the next.

use crate::detect::NodeReport;
use crate::operation::Operation;
use crate::state::{Partition, State};
use std::collections::BTreeSet;
use types::limits::NOTICES_MAX;
use types::{NodeId, PartitionId, ReplicaId, VolumeId};
use wire::control as message;

/// Most configurations in one assignment, so that it stays well below the limit of a frame. The next
/// heartbeat brings the rest.
const CONFIGURATIONS_MAX: usize = 2_000;

/// Most deletions in one assignment, for the same reason.
const DELETES_MAX: usize = 20_000;

/// Most limits of copies in one assignment: more than are made at a time.
const PACES_MAX: usize = 2_000;

/// The assignment of `node`. `report` is its last word, `None` before its first.
#[must_use]
pub fn assignment(
    state: &State,
    revision: u64,
    node: NodeId,
    report: Option<&NodeReport>,
) -> message::Assignment {
    message::Assignment {
        configurations: configurations(state, node, report),
        deletes: deletes(state, node, report).into_iter().map(|replica| replica.0).collect(),
        notices: notices(state, node),
        paces: paces(state, node),
        deleted_partitions: deleted_on(state, node).map(|partition| partition.0).collect(),
        ..greeting(state, revision, node, report)
    }
}

/// The assignment of a node for which there is nothing to do, and which has all addresses. Who may do what
/// with volumes is in each, for as long as the node does not have it.
#[must_use]
pub fn nothing(
    state: &State,
    revision: u64,
    node: NodeId,
    report: Option<&NodeReport>,
) -> message::Assignment {
    let newest = state.access.version;
    let has = report.map(|report| report.access_version);
    message::Assignment {
        cluster: state.cluster.map_or(0, |cluster| cluster.0),
        node: node.0,
        revision,
        access_version: newest,
        access: (has != Some(newest)).then(|| state.access.list()),
        ..Default::default()
    }
}

/// Whether there is nothing to do in it. That nothing is to be done does not depend on time.
#[must_use]
pub fn is_nothing(assignment: &message::Assignment) -> bool {
    assignment.configurations.is_empty()
        && assignment.deletes.is_empty()
        && assignment.notices.is_empty()
        && assignment.paces.is_empty()
        && assignment.deleted_partitions.is_empty()
}

/// For a node that has not said yet how it is: where everybody is, and nothing to do before it has.
#[must_use]
pub fn greeting(
    state: &State,
    revision: u64,
    node: NodeId,
    report: Option<&NodeReport>,
) -> message::Assignment {
    let (nodes, capacities) = (addresses(state, |_| true), capacities(state, node));
    message::Assignment { nodes, capacities, ..nothing(state, revision, node, report) }
}

fn deleted_on(state: &State, node: NodeId) -> impl Iterator<Item = PartitionId> {
    let deleted = state.partitions.on(node).filter(|partition| partition.deleted);
    deleted.map(|partition| partition.configuration.partition).take(DELETES_MAX)
}

/// What operations could not do with partitions that are led from the node.
fn notices(state: &State, node: NodeId) -> Vec<message::Notice> {
    let open = state.operations.all.values().filter(|operation| operation.state.is_at_work());
    let is_led = |p: &&Partition| p.configuration.leader_member().is_some_and(|l| l.node == node);
    let led = || state.partitions.on(node).filter(is_led).map(|p| p.configuration.partition);
    let left = open.flat_map(|operation| {
        led().filter_map(move |id| Some((operation.id, id, operation.residue_of(id)?)))
    });
    let notices = left.take(NOTICES_MAX).map(|(operation, partition, residue)| message::Notice {
        operation: operation.0,
        partition: partition.0,
        reason: residue.reason.code().to_owned(),
        detail: residue.detail.clone(),
        action: residue.reason.action().to_owned(),
        since: residue.since.to_string(),
    });
    notices.collect()
}

/// How fast the copies may be made that come from the node or to it, where their operation has a limit.
fn paces(state: &State, node: NodeId) -> Vec<message::CopyPace> {
    let open = state.operations.all.values().filter(|operation| !operation.state.has_ended());
    let limited: Vec<(&Operation, u64)> =
        open.filter_map(|operation| Some((operation, operation.limits.bandwidth?))).collect();
    if limited.is_empty() {
        return Vec::new();
    }
    let catching_up = |p: &&Partition| !p.configuration.catching_up.is_empty();
    let mut paces = Vec::new();
    for partition in state.partitions.on(node).filter(catching_up) {
        let configuration = &partition.configuration;
        let sends = configuration.leader_member().is_some_and(|leader| leader.node == node);
        for (operation, bytes_per_second) in &limited {
            let item = operation.items.get(&configuration.partition).filter(|item| !item.done);
            let Some(copy) = item.and_then(|item| item.copy) else { continue };
            if (sends || copy.node == node) && configuration.catching_up.contains(&copy.replica) {
                paces.push(message::CopyPace {
                    replica: copy.replica.0,
                    operation: operation.id.0,
                    bytes_per_second: *bytes_per_second,
                });
            }
        }
    }
    paces.truncate(PACES_MAX);
    paces
}

/// Addresses of the nodes that `wanted` accepts.
#[must_use]
pub fn addresses(state: &State, wanted: impl Fn(NodeId) -> bool) -> Vec<message::NodeAddress> {
    let nodes = state.nodes.values().filter(|node| wanted(node.id));
    nodes
        .map(|node| message::NodeAddress { node: node.id.0, address: node.address.clone() })
        .collect()
}

fn configurations(
    state: &State,
    node: NodeId,
    report: Option<&NodeReport>,
) -> Vec<message::Configuration> {
    let live = state.partitions.on(node).filter(|partition| !partition.deleted);
    let wanted = live.filter(|partition| needs_configuration(partition, node, report));
    let wanted = wanted.take(CONFIGURATIONS_MAX);
    wanted.map(|partition| message::Configuration::from(&partition.configuration)).collect()
}

fn needs_configuration(partition: &Partition, node: NodeId, report: Option<&NodeReport>) -> bool {
    let here = partition.holders().filter(|member| member.node == node);
    let doomed = |replica| partition.doomed.contains_key(&replica);
    here.filter(|member| !doomed(member.replica)).any(|member| {
        match report.and_then(|report| report.replicas.get(&member.replica)) {
            Some(replica) => replica.epoch < partition.configuration.epoch,
            // To be made, unless it was made before: then it was lost, and an empty one in its
            // place would pose as the copy that held everything. Nor is a spare made.
            None => {
                let is_member = partition.configuration.member(member.replica).is_some();
                is_member && !partition.made.contains(&member.replica)
            }
        }
    })
}

/// Replicas the node holds and should not: doomed ones, and ones nobody has on record any more.
fn deletes(state: &State, node: NodeId, report: Option<&NodeReport>) -> Vec<ReplicaId> {
    let Some(report) = report else {
        return doomed_on(state, node).take(DELETES_MAX).collect();
    };
    let held = report.replicas.iter();
    let unwanted = held.filter(|(id, replica)| match state.partitions.get(&replica.partition) {
        Some(partition) => !is_wanted(partition, **id) && id.0 <= state.counters.replica,
        // The record of a partition goes only after every replica of it was doomed.
        None => replica.partition.0 <= state.counters.partition,
    });
    unwanted.map(|(id, _)| *id).take(DELETES_MAX).collect()
}

fn doomed_on(state: &State, node: NodeId) -> impl Iterator<Item = ReplicaId> {
    let doomed = state.partitions.on(node).flat_map(|partition| partition.doomed.values());
    doomed.filter(move |member| member.node == node).map(|member| member.replica)
}

fn is_wanted(partition: &Partition, replica: ReplicaId) -> bool {
    let doomed = partition.doomed.contains_key(&replica);
    !doomed && partition.holders().any(|member| member.replica == replica)
}

fn capacities(state: &State, node: NodeId) -> Vec<message::Capacity> {
    let live = state.partitions.on(node).filter(|partition| !partition.deleted);
    let volumes: BTreeSet<VolumeId> = live.map(|p| p.configuration.volume).collect();
    let known = volumes.iter().filter_map(|volume| state.volumes.get(volume));
    known.map(|v| message::Capacity { volume: v.id.0, bytes: v.capacity }).collect()
}
