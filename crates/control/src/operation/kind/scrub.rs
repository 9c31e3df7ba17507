//! Reads everything of the partitions of its target again, on every replica that is in sync, verifies the
//! checksums, and compares the replicas at the same place of their logs.
//!
//! ```text
//!   wait     somebody else has the partition locked, or it is being mended: that comes first
//!   lock     the replicas must stay the same ones
//!   read     by the member that leads, at its pace (`crate::scrub`)
//!   done     or left: damage is mended by the node that found it, and then it is read once more
//! ```
//!
//! A replica is compared with all the others of its partition, so all of them are read, whatever the target.

use super::{Job, Kind, NOTHING_ELSE, places};
use crate::detect::ReplicaReport;
use crate::operation::reading::Outcome;
use crate::operation::record::{Item, Limits, Operation};
use crate::operation::scene::{Finding, Scene, locked};
use crate::state::{Partition, State};
use std::collections::{BTreeMap, BTreeSet};
use types::configuration::PartitionKind;
use types::operation::{LockKind, Reason, Target};
use types::{Member, NodeId, PartitionId};

pub(super) static KIND: Kind = Kind {
    takes: |_| true,
    lock: LockKind::Scrub,
    remaining,
    step,
    on_record,
    void,
    cancelled: "nothing was changed; damage that was found goes on being mended",
    ..NOTHING_ELSE
};

/// The partitions of the target that are not deleted.
fn of_target<'a>(
    state: &'a State,
    target: &Target,
) -> Box<dyn Iterator<Item = &'a Partition> + 'a> {
    let (nodes, disks) = places(state, target);
    let all: Box<dyn Iterator<Item = &'a Partition> + 'a> = match target {
        Target::Cluster => Box::new(state.partitions.values()),
        Target::Volume(volume) => Box::new(state.partitions.of(*volume)),
        Target::Partition(partition) => Box::new(state.partitions.get(partition).into_iter()),
        Target::Node(_) | Target::Disk(_) | Target::Zone(_) => {
            let of_disks = disks.iter().filter_map(|disk| Some(state.disks.get(disk)?.node));
            let all: BTreeSet<NodeId> = nodes.iter().copied().chain(of_disks).collect();
            let there = all.into_iter().flat_map(|node| state.partitions.on(node));
            let there = there.filter(|partition| {
                let mut members = partition.configuration.members.iter();
                members.any(|m| nodes.contains(&m.node) || disks.contains(&m.disk))
            });
            let ids: BTreeSet<PartitionId> = there.map(|p| p.configuration.partition).collect();
            Box::new(ids.into_iter().filter_map(|id| state.partitions.get(&id)))
        }
    };
    Box::new(all.filter(|partition| !partition.deleted))
}

/// Those of them that were not read yet.
fn unread<'a>(
    state: &'a State,
    operation: &'a Operation,
) -> impl Iterator<Item = &'a Partition> + 'a {
    let is_done =
        |partition: PartitionId| operation.items.get(&partition).is_some_and(|item| item.done);
    of_target(state, &operation.target).filter(move |p| !is_done(p.configuration.partition))
}

fn remaining(scene: &Scene<'_>, operation: &Operation) -> BTreeMap<PartitionId, Job> {
    let job = |partition: &Partition| {
        let members = partition.configuration.members.iter();
        let bytes = members.map(|member| bytes(scene, partition, member)).sum();
        (partition.configuration.partition, Job::of(bytes))
    };
    unread(scene.inputs.state, operation).map(job).collect()
}

/// What is read of a replica: of a namespace its whole log's worth is as good a guess as any.
fn bytes(scene: &Scene<'_>, partition: &Partition, member: &Member) -> u64 {
    let held = |report: &ReplicaReport| match partition.configuration.kind {
        PartitionKind::Data => report.bytes,
        PartitionKind::Namespace => report.bytes.min(1 << 20),
    };
    scene.inputs.replica(member).map_or(0, held)
}

fn step(scene: &mut Scene<'_>, operation: &Operation, id: PartitionId, _: &Job) -> Finding {
    let blank = Item::default();
    let item = operation.items.get(&id).unwrap_or(&blank);
    let Some(partition) = scene.inputs.state.partitions.get(&id) else { return Finding::Underway };
    let epoch = partition.configuration.epoch;
    let reading = scene.inputs.sense.readings.get(operation.id, id, item.attempts);
    match reading.and_then(|reading| Some((reading.bytes, reading.outcome.as_ref()?))) {
        Some((bytes, Outcome::Well)) => return Finding::Verified { bytes },
        Some((_, Outcome::Unwell { reason, detail })) => {
            return Finding::Unwell { reason: *reason, detail: detail.clone() };
        }
        None => {}
    }
    let waits = item.retry_at.is_some_and(|at| at > scene.inputs.date);
    if let Some(left) = item.residue.as_ref().filter(|_| waits) {
        return Finding::left(left.reason, left.detail.clone());
    }
    if let Some(finding) = not_now(scene, operation, partition) {
        return finding;
    }
    let is_held =
        scene.inputs.state.operations.holds(id, LockKind::Scrub, operation.id, scene.inputs.date);
    if is_held || reading.is_some_and(|reading| reading.epoch == epoch) {
        return if is_held { Finding::Read } else { Finding::Lock };
    }
    begin(scene, operation, partition)
}

/// Why it cannot be read now.
fn not_now(scene: &Scene<'_>, operation: &Operation, partition: &Partition) -> Option<Finding> {
    let configuration = &partition.configuration;
    let id = configuration.partition;
    if scene.touched.contains(&id) {
        return Some(Finding::Underway);
    }
    let inputs = scene.inputs;
    if let Some(locked) = locked(inputs, operation, id, LockKind::Scrub) {
        return Some(locked);
    }
    let silent = configuration.members.iter().find(|member| inputs.is_silent(member.node));
    if let Some(member) = silent {
        let detail = format!("{:?}, which has {:?}, is silent", member.node, member.replica);
        return Some(Finding::left(Reason::Unreachable, detail));
    }
    if let Some(leaderless) = scene.leaderless(id) {
        return Some(leaderless);
    }
    let wanted = inputs.state.volumes.get(&configuration.volume).map_or(0, |v| v.replicas);
    let in_sync = configuration.in_sync.len();
    if in_sync < configuration.members.len().max(usize::from(wanted)) {
        let detail = format!("{in_sync} of {wanted} replicas are in sync");
        return Some(Finding::left(Reason::Repairing, detail));
    }
    None
}

/// Begins when it is its turn: of each disk one partition is read at a time.
fn begin(scene: &mut Scene<'_>, operation: &Operation, partition: &Partition) -> Finding {
    let members = &partition.configuration.members;
    let limits = Limits { moves_per_disk: 1, ..operation.limits };
    let budget = &scene.reading;
    if !members.iter().all(|m| budget.has_room_for(&limits, m.node, m.disk)) {
        return Finding::Queued;
    }
    scene.reading.take_move();
    members.iter().for_each(|member| scene.reading.take(member.node, member.disk));
    Finding::Lock
}

fn on_record(state: &State, operation: &Operation) -> u64 {
    unread(state, operation).count() as u64
}

fn void(state: &State, operation: &Operation) -> Option<String> {
    let is_there = match &operation.target {
        Target::Volume(volume) => state.volumes.get(volume).is_some_and(|v| v.state.is_live()),
        Target::Partition(partition) => state.partitions.get(partition).is_some_and(|p| !p.deleted),
        _ => true,
    };
    (!is_there).then(|| format!("{} was deleted", operation.target))
}

#[cfg(test)]
mod tests {
    use crate::operation::command::Order;
    use crate::plan::tests::Bench;
    use types::operation::{LockKind, OperationKind, OperationState, Reason, Target};
    use types::{DiskId, NodeId, OperationId, PartitionId, VolumeId};

    const VOLUME: Target = Target::Volume(VolumeId(1));

    fn bench() -> Bench {
        let mut bench = Bench::new(&["", "", ""]);
        bench.create("main", 3, 5);
        bench.settle(4);
        bench
    }

    fn scrub(bench: &mut Bench, target: Target) -> OperationId {
        bench.start(OperationKind::Scrub, target)
    }

    fn locked(bench: &Bench) -> usize {
        let locks = bench.state.operations.locks.values().flatten();
        locks.filter(|lock| lock.kind == LockKind::Scrub).count()
    }

    #[test]
    fn everything_is_read_once_one_partition_of_a_disk_at_a_time() {
        let mut bench = bench();
        let id = scrub(&mut bench, VOLUME);
        for _ in 0..60 {
            bench.work(1);
            assert!(locked(&bench) <= 1, "every disk has all of them");
        }
        let operation = bench.operation(id);
        assert_eq!(operation.state, OperationState::Succeeded);
        assert_eq!((operation.items.len(), locked(&bench)), (6, 0));
        assert!(operation.items.values().all(|item| item.done && item.attempts == 0));
        assert!(bench.plan().is_empty(), "{}", bench.plan());
    }

    #[test]
    fn damage_is_on_record_and_read_again_once_it_is_mended() {
        let mut bench = bench();
        bench.unwell.insert(PartitionId(2), Reason::Damaged);
        let id = scrub(&mut bench, Target::Node(NodeId(2)));
        bench.work_until(id, OperationState::Incomplete);
        let left = bench.operation(id).residue_of(PartitionId(2)).unwrap().clone();
        assert_eq!(left.reason, Reason::Damaged);
        assert!(left.next_retry.is_some_and(|at| at > left.last_checked));
        assert_eq!(locked(&bench), 0, "nobody is kept from mending it");
        bench.work(40);
        assert!(bench.operation(id).items[&PartitionId(2)].attempts > 1, "again and again");
        assert_ne!(bench.operation(id).state, OperationState::Succeeded);
        bench.unwell.clear();
        bench.work_until(id, OperationState::Succeeded);
    }

    #[test]
    fn replicas_that_differ_block_it_until_somebody_acts() {
        let mut bench = bench();
        bench.unwell.insert(PartitionId(3), Reason::Differs);
        let id = scrub(&mut bench, Target::Partition(PartitionId(3)));
        bench.work_until(id, OperationState::Incomplete);
        assert_eq!(bench.operation(id).items.len(), 1);
        assert_eq!(bench.operation(id).blocked.as_ref().unwrap().reason, Reason::Differs);
    }

    #[test]
    fn what_is_being_mended_is_not_read_and_what_is_read_is_not_moved() {
        let mut bench = Bench::new(&["", "", "", ""]);
        bench.create("main", 3, 5);
        bench.settle(4);
        bench.silent.insert(NodeId(1));
        bench.beat(8);
        let id = scrub(&mut bench, VOLUME);
        bench.work_until(id, OperationState::Incomplete);
        let residue = bench.operation(id).residue();
        let reasons: Vec<Reason> = residue.map(|(_, _, left)| left.reason).collect();
        let waits = [Reason::Unreachable, Reason::Repairing, Reason::Leaderless];
        assert!(!reasons.is_empty());
        assert!(reasons.iter().all(|reason| waits.contains(reason)), "{reasons:?}");
        bench.silent.clear();
        bench.settle(8);
        bench.work_until(id, OperationState::Succeeded);
        let again = scrub(&mut bench, VOLUME);
        while locked(&bench) == 0 {
            let plan = bench.plan();
            bench.carry_out(&plan);
            bench.beat(1);
        }
        let away = bench.start(OperationKind::Decommission, Target::Disk(DiskId(2)));
        // Nobody reads on: the lock is renewed, and stays.
        for _ in 0..200 {
            let plan = bench.plan();
            bench.carry_out(&plan);
            bench.beat(1);
            bench.promote_all();
        }
        let left = bench.operation(away).residue().next().unwrap().2.clone();
        let holder = left.holder.unwrap();
        assert_eq!(
            (left.reason, holder.operation, holder.kind),
            (Reason::Locked, again, LockKind::Scrub)
        );
        bench.order(again, Order::Pause);
        assert_eq!(locked(&bench), 0, "who is paused holds nothing");
        bench.work_until(away, OperationState::Succeeded);
    }
}
