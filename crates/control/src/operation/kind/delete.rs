//! Deletes a volume: waits until its grace is over, and then until every replica of it is gone, by the word of
//! the node that had it.
//!
//! It is put on record by whatever deletes the volume, and asks for nothing: what is to go is on record with its
//! partition, and the nodes are told with every heartbeat. Taking the deletion back cancels it, and cancelling it
//! takes the deletion back; once the grace is over neither can be. Paused, the grace does not end.

use super::{Job, Kind, NOTHING_ELSE};
use crate::operation::record::Operation;
use crate::operation::scene::{Finding, Scene};
use crate::state::{Partition, Refusal, State, Volume, VolumeState, undelete_volume};
use std::collections::BTreeMap;
use std::time::Duration;
use types::limits::{DELETION_BYTES_PER_SECOND_MIN, DELETION_SLOW};
use types::operation::{LockKind, Reason, Target};
use types::{PartitionId, Timestamp};

pub(super) static KIND: Kind = Kind {
    takes: |target| matches!(target, Target::Volume(_)),
    // It changes nothing of a partition that anybody else could be at.
    lock: LockKind::Lead,
    remaining,
    step,
    on_record,
    begin: |_, _| Err(Refusal::breaks("a volume is deleted with: holdfast volume delete NAME")),
    bound,
    cancel,
    cancelled: "the deletion is taken back, and nothing is gone",
    ..NOTHING_ELSE
};

fn volume_of<'a>(state: &'a State, operation: &Operation) -> Option<&'a Volume> {
    let Target::Volume(volume) = operation.target else { return None };
    state.volumes.get(&volume)
}

/// Everything of the volume that is not gone, whether it is to go yet or not.
fn left<'a>(state: &'a State, operation: &'a Operation) -> impl Iterator<Item = &'a Partition> {
    let volume = volume_of(state, operation).map(|volume| volume.id);
    volume.into_iter().flat_map(|volume| state.partitions.of(volume))
}

fn remaining(scene: &Scene<'_>, operation: &Operation) -> BTreeMap<PartitionId, Job> {
    let job = |partition: &Partition| {
        let reports = partition.holders().filter_map(|member| scene.inputs.replica(member));
        let bytes = reports.map(|report| report.bytes).sum();
        (partition.configuration.partition, Job::of(bytes))
    };
    left(scene.inputs.state, operation).map(job).collect()
}

fn step(scene: &mut Scene<'_>, operation: &Operation, id: PartitionId, job: &Job) -> Finding {
    let inputs = scene.inputs;
    let Some(partition) = inputs.state.partitions.get(&id).filter(|p| p.deleted) else {
        // Its grace is not over.
        return Finding::Queued;
    };
    let silent = partition.doomed.values().find(|member| inputs.is_silent(member.node));
    if let Some(member) = silent {
        let detail = format!("{:?} is silent and may still hold {:?}", member.node, member.replica);
        return Finding::left(Reason::Unreachable, detail);
    }
    // Since its grace was over, or since somebody let it go on after that.
    let since = volume_of(inputs.state, operation).and_then(|volume| volume.purge_at);
    let since = since.map_or(operation.changed, |since| since.max(operation.changed));
    let item = operation.items.get(&id);
    let bytes = item.map_or(job.bytes, |item| item.bytes);
    let may_last = DELETION_SLOW + Duration::from_secs(bytes / DELETION_BYTES_PER_SECOND_MIN);
    let residue = item.and_then(|item| item.residue.as_ref());
    let is_left = residue.is_some_and(|left| left.reason == Reason::StillThere);
    match partition.doomed.values().next() {
        Some(member) if is_left || inputs.since(since) >= may_last => {
            let detail = format!("{:?} still reports {:?}", member.node, member.replica);
            Finding::left(Reason::StillThere, detail)
        }
        _ => Finding::Underway,
    }
}

fn on_record(state: &State, operation: &Operation) -> u64 {
    let is_gone = volume_of(state, operation).is_none_or(|v| v.state == VolumeState::Deleted);
    (left(state, operation).count() as u64).max(u64::from(!is_gone))
}

/// Once the grace is over there is no way back.
fn bound(state: &State, operation: &Operation, at: Timestamp) -> Result<(), Refusal> {
    let Some(volume) = volume_of(state, operation) else { return Ok(()) };
    let in_grace = volume.purge_at.is_some_and(|until| at < until);
    match volume.state {
        VolumeState::Deleting if in_grace => Ok(()),
        _ => Err(Refusal::VolumeDeleted { volume: volume.id }),
    }
}

fn cancel(state: &mut State, operation: &Operation, at: Timestamp) {
    if let Target::Volume(volume) = operation.target {
        let restored = undelete_volume(state, volume, at);
        debug_assert!(restored.is_ok(), "it was looked whether it can be: {restored:?}");
    }
}

#[cfg(test)]
mod tests {
    use crate::operation::command::Order;
    use crate::plan::tests::Bench;
    use crate::state::{Command, Outcome, VolumeState};
    use std::time::Duration;
    use types::operation::{OperationKind, OperationState, Reason, Target};
    use types::{NodeId, OperationId, VolumeId};

    const VOLUME: VolumeId = VolumeId(1);
    const ID: OperationId = OperationId(1);

    fn deleted(grace_ms: u64) -> Bench {
        let mut bench = Bench::new(&["", "", ""]);
        bench.create("main", 3, 5);
        bench.settle(4);
        let at = bench.date();
        bench.state.apply(&Command::DeleteVolume { volume: VOLUME, at, grace_ms });
        bench
    }

    #[test]
    fn it_waits_for_the_grace_and_succeeds_when_everything_is_gone() {
        let mut bench = deleted(60_000);
        bench.work(20);
        let operation = bench.operation(ID);
        assert_eq!(
            (operation.kind, operation.state),
            (OperationKind::Delete, OperationState::Running)
        );
        assert_eq!((operation.progress().partitions, operation.progress().partitions_done), (6, 0));
        bench.pass(Duration::from_secs(60));
        bench.beat(2);
        bench.work_until(ID, OperationState::Succeeded);
        assert_eq!(bench.state.volumes[&VOLUME].state, VolumeState::Deleted);
        assert_eq!(bench.operation(ID).progress().partitions_done, 6);
        assert!(bench.plan().is_empty(), "{}", bench.plan());
    }

    #[test]
    fn a_node_that_is_silent_keeps_it_incomplete() {
        let mut bench = deleted(0);
        bench.silent.insert(NodeId(2));
        bench.beat(8);
        bench.work_until(ID, OperationState::Incomplete);
        let reasons = bench.operation(ID).residue().map(|(_, _, left)| left.reason);
        assert_eq!(reasons.collect::<Vec<_>>(), [Reason::Unreachable; 6]);
        bench.silent.clear();
        bench.work_until(ID, OperationState::Succeeded);
    }

    #[test]
    fn taken_back_it_is_cancelled_and_cancelled_it_is_taken_back() {
        let mut bench = deleted(60_000);
        bench.work(3);
        let at = bench.date();
        bench.state.apply(&Command::UndeleteVolume { volume: VOLUME, at });
        assert_eq!(bench.operation(ID).state, OperationState::Cancelled);
        bench.state.apply(&Command::DeleteVolume { volume: VOLUME, at, grace_ms: 60_000 });
        bench.work(3);
        bench.order(OperationId(2), Order::Cancel);
        assert_eq!(bench.operation(OperationId(2)).state, OperationState::Cancelled);
        assert_eq!(bench.state.volumes[&VOLUME].state, VolumeState::Active);
        bench.work(3);
        assert!(bench.plan().is_empty(), "{}", bench.plan());
    }

    #[test]
    fn paused_its_grace_does_not_end_and_after_it_there_is_no_way_back() {
        let mut bench = deleted(60_000);
        bench.work(2);
        bench.order(ID, Order::Pause);
        bench.pass(Duration::from_secs(90));
        bench.beat(2);
        bench.work(5);
        assert_eq!(bench.state.volumes[&VOLUME].state, VolumeState::Deleting);
        bench.order(ID, Order::Resume);
        bench.work(2);
        assert_ne!(bench.state.volumes[&VOLUME].state, VolumeState::Deleting);
        assert!(matches!(bench.order(ID, Order::Cancel), Outcome::Refused(_)));
        bench.work_until(ID, OperationState::Succeeded);
        let again = bench.try_start(OperationKind::Delete, Target::Volume(VOLUME), false);
        assert!(matches!(again, Outcome::Refused(_)));
    }
}
