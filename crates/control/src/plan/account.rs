//! Keeps the books: which replicas were seen to exist, and which are gone for good.
//!
//! Both are facts about the past that a node's present word proves, and both are needed later, when
//! that word is no longer there: a replica that was once made must not be made again, and the
//! record of a deleted partition may go only when every copy of it has.

use super::{Inputs, Plan};
use crate::state::{Command, Partition};
use types::{PartitionId, ReplicaId};

/// Most entries of one command, so that it stays well below the limit of a frame.
const ENTRIES_MAX: usize = 2_000;

/// Plans at most one command for each of the two books, from `partitions`.
pub(super) fn plan(inputs: &Inputs<'_>, partitions: &[&Partition], plan: &mut Plan) {
    let partitions = || partitions.iter().copied();
    let made: Vec<(PartitionId, ReplicaId)> =
        partitions().flat_map(|p| newly_made(inputs, p)).take(ENTRIES_MAX).collect();
    if !made.is_empty() {
        plan.commands.push(Command::Confirm { made });
    }
    let gone: Vec<(PartitionId, ReplicaId)> =
        partitions().flat_map(|p| newly_gone(inputs, p)).take(ENTRIES_MAX).collect();
    if !gone.is_empty() {
        plan.commands.push(Command::Forget { gone, at: inputs.date });
    }
}

fn newly_made<'a>(
    inputs: &'a Inputs<'_>,
    partition: &'a Partition,
) -> impl Iterator<Item = (PartitionId, ReplicaId)> + 'a {
    let id = partition.configuration.partition;
    let new = partition.holders().filter(|member| !partition.made.contains(&member.replica));
    let seen = new.filter(move |member| inputs.replica(member).is_some_and(|r| r.partition == id));
    seen.map(move |member| (id, member.replica))
}

fn newly_gone<'a>(
    inputs: &'a Inputs<'_>,
    partition: &'a Partition,
) -> impl Iterator<Item = (PartitionId, ReplicaId)> + 'a {
    let gone = partition.doomed.values().filter(|member| {
        let report = inputs.fresh(member.node);
        report.is_some_and(|report| report.proves_gone(member.replica, member.disk))
    });
    gone.map(|member| (partition.configuration.partition, member.replica))
}
