//! Evens out how full the disks are, by bytes.
//!
//! What is to be moved is decided once, when it starts: the biggest replica that fits between the fullest disk
//! and the emptiest one that may take it, again and again, until all disks are near the mean. So few moves do
//! it. Each is then made like that of a decommission: a copy first, then the rest. When all are made it looks
//! once more, and only when there is nothing to even out has it succeeded.
//!
//! Two marks keep it from moving to and fro: it begins only when some disk is farther from the mean than
//! [`begins_at`], and ends when all are nearer than half of that. No move makes the disk it goes to fuller than
//! the one it comes from, so what cannot be made more even stays as it is.

use super::{Area, Job, Kind, NOTHING_ELSE};
use crate::operation::movement;
use crate::operation::places::Filling;
use crate::operation::record::{Item, Operation, Relocation};
use crate::operation::scene::{Finding, Scene};
use crate::plan::Inputs;
use crate::state::{Partition, State};
use std::collections::{BTreeMap, BTreeSet};
use types::limits::{REBALANCE_DEVIATION_MIN, REPLICAS_MAX};
use types::operation::{LockKind, Target};
use types::{DiskId, Member, PartitionId};

pub(super) static KIND: Kind = Kind {
    takes: |target| matches!(target, Target::Cluster),
    duty: None,
    lock: LockKind::Move,
    remaining,
    step,
    on_record,
    asks_disks: false,
    cancelled: "partitions that were moved stay where they are; copies that were begun and are not \
                needed are taken away",
    ..NOTHING_ELSE
};

/// The moves that were decided on and are not made; when all are, those that are left to make it even.
fn remaining(scene: &Scene<'_>, operation: &Operation) -> BTreeMap<PartitionId, Job> {
    let open = open(scene.inputs.state, operation);
    if open.is_empty() { Balance::of(scene).even_out() } else { open }
}

fn open(state: &State, operation: &Operation) -> BTreeMap<PartitionId, Job> {
    let items = operation.items.iter().filter(|(id, item)| is_open(state, **id, item));
    let job = |item: &Item| Job { bytes: item.bytes, relocation: item.relocation };
    items.map(|(id, item)| (*id, job(item))).collect()
}

/// Whether the replica that is to go is still there, or its copy is not complete.
fn is_open(state: &State, id: PartitionId, item: &Item) -> bool {
    let partition = state.partitions.get(&id).filter(|partition| !partition.deleted);
    let (Some(partition), Some(relocation)) = (partition, item.relocation) else { return false };
    let behind = |copy: Member| partition.configuration.catching_up.contains(&copy.replica);
    let is_there = partition.holders().any(|member| member.replica == relocation.from);
    !item.done && (is_there || item.copy.is_some_and(behind))
}

fn on_record(state: &State, operation: &Operation) -> u64 {
    open(state, operation).len() as u64
}

fn step(scene: &mut Scene<'_>, operation: &Operation, id: PartitionId, job: &Job) -> Finding {
    let partition = scene.inputs.state.partitions.get(&id);
    let (Some(partition), Some(relocation)) = (partition, job.relocation) else {
        return Finding::moot("it is not there any more");
    };
    let begun = operation.items.get(&id).is_some_and(|item| item.copy.is_some());
    let from = partition.configuration.member(relocation.from);
    if let (false, Some(from)) = (begun, from) {
        let places = &scene.places;
        let (here, there) = (places.filling(from.disk), places.filling(relocation.disk));
        let worth = begins_at(places.mean()) / 2;
        if here.zip(there).is_none_or(|(here, there)| here.used() <= there.used() + worth) {
            return Finding::moot("it would not make anything more even now");
        }
    }
    movement::step(
        scene,
        operation,
        partition,
        &Area::of_replica(relocation.from),
        Some(relocation.disk),
    )
}

/// How far from the mean a disk has to be, in millionths of its capacity, for anything to be moved: a tenth of
/// the mean, and never less than what is not worth it.
fn begins_at(mean: u64) -> u64 {
    (mean / 10).max(REBALANCE_DEVIATION_MIN)
}

/// How full all disks are, what was decided counted.
struct Balance<'a> {
    inputs: &'a Inputs<'a>,
    disks: BTreeMap<DiskId, Filling>,
    /// Replicas that may be moved, by disk, the biggest first.
    movable: BTreeMap<DiskId, Vec<(u64, PartitionId, Member)>>,
    mean: u64,
}

impl<'a> Balance<'a> {
    fn of(scene: &Scene<'a>) -> Balance<'a> {
        let inputs = scene.inputs;
        let (disks, mean) = (scene.places.open_disks(), scene.places.mean());
        Balance { inputs, disks, movable: BTreeMap::new(), mean }
    }

    fn even_out(mut self) -> BTreeMap<PartitionId, Job> {
        let begins = begins_at(self.mean);
        let far = |disk: &Filling| disk.used().abs_diff(self.mean) > begins;
        if !self.disks.values().any(far) {
            return BTreeMap::new();
        }
        self.movable = self.movable();
        let mut jobs = BTreeMap::new();
        let mut order: BTreeSet<(u64, DiskId)> =
            self.disks.iter().map(|(id, disk)| (disk.used(), *id)).collect();
        let mut givers = order.clone();
        while let Some((used, giver)) = givers.pop_last() {
            let low = order.first().map_or(0, |(used, _)| *used);
            let is_even = used <= self.mean + begins / 2 && low + begins / 2 >= self.mean;
            if is_even || used <= self.mean {
                break;
            }
            let Some((partition, job, taker)) = self.choose(giver, &order, &jobs) else { continue };
            for (disk, filled) in [(giver, false), (taker, true)] {
                let filling = self.disks.get_mut(&disk).expect("it is one of them");
                order.remove(&(filling.used(), disk));
                let known = givers.remove(&(filling.used(), disk));
                filling.add(job.bytes, filled);
                order.insert((filling.used(), disk));
                if known || disk == giver {
                    givers.insert((filling.used(), disk));
                }
            }
            jobs.insert(partition, job);
        }
        jobs
    }

    /// The biggest replica of the disk for which there is a place, the emptiest first.
    fn choose(
        &self,
        giver: DiskId,
        order: &BTreeSet<(u64, DiskId)>,
        chosen: &BTreeMap<PartitionId, Job>,
    ) -> Option<(PartitionId, Job, DiskId)> {
        let here = self.disks[&giver];
        let all = self.movable.get(&giver)?.iter().filter(|(_, id, _)| !chosen.contains_key(id));
        for (bytes, id, member) in all {
            let fits = |taker: &DiskId| {
                let there = self.disks[taker];
                // Not fuller than where it comes from, and better than before.
                there.with(*bytes) <= here.without(*bytes)
                    && there.room >= *bytes
                    && self.may_hold(*id, member, *taker)
            };
            if let Some((_, taker)) = order.iter().find(|(_, taker)| fits(taker)) {
                let node = self.disks[taker].node;
                let relocation = Relocation { from: member.replica, node, disk: *taker };
                return Some((*id, Job { bytes: *bytes, relocation: Some(relocation) }, *taker));
            }
        }
        None
    }

    /// Whether the disk may take the place of `from`: no other replica on its node, nor in its zone unless
    /// `from` is in that.
    fn may_hold(&self, id: PartitionId, from: &Member, taker: DiskId) -> bool {
        let Some(partition) = self.inputs.state.partitions.get(&id) else { return false };
        let nodes = &self.inputs.state.nodes;
        let zone = |node| nodes.get(&node).map_or("", |node| node.zone.as_str());
        let node = self.disks[&taker].node;
        let others = || partition.holders().filter(|member| member.replica != from.replica);
        let is_free = others().all(|member| member.node != node) && from.node != node;
        let shares = others().any(|member| zone(member.node) == zone(node));
        is_free && (zone(node).is_empty() || !shares || zone(node) == zone(from.node))
    }

    fn movable(&self) -> BTreeMap<DiskId, Vec<(u64, PartitionId, Member)>> {
        let mut movable: BTreeMap<DiskId, Vec<_>> = BTreeMap::new();
        let partitions = self.inputs.state.partitions.values();
        for partition in partitions.filter(|partition| is_whole(self.inputs, partition)) {
            for member in &partition.configuration.members {
                let bytes = self.inputs.replica(member).map_or(0, |report| report.bytes);
                if bytes > 0 {
                    let id = partition.configuration.partition;
                    movable.entry(member.disk).or_default().push((bytes, id, *member));
                }
            }
        }
        for all in movable.values_mut() {
            all.sort_unstable_by_key(|(bytes, id, _)| (std::cmp::Reverse(*bytes), *id));
        }
        movable
    }
}

/// Whether nothing else is going on with it.
fn is_whole(inputs: &Inputs<'_>, partition: &Partition) -> bool {
    let configuration = &partition.configuration;
    let volume = inputs.state.volumes.get(&configuration.volume);
    let wanted = volume.map_or(0, |volume| usize::from(volume.replicas));
    let locked = inputs.state.operations.locks.contains_key(&configuration.partition);
    !partition.deleted
        && !locked
        && partition.spare.is_empty()
        && partition.doomed.is_empty()
        && configuration.members.len() < REPLICAS_MAX
        && configuration.members.len() == wanted
        && configuration.in_sync.len() == wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::preview::{self, Wanted};
    use crate::operation::record::Limits;
    use crate::plan::tests::Bench;
    use types::NodeId;
    use types::operation::{OperationKind, OperationState};

    const GIB: u64 = 1 << 30;

    /// Three nodes with all there is, and a fourth one that is empty.
    fn uneven(zones: [&str; 4]) -> Bench {
        let mut bench = Bench::new(&zones[..3]);
        bench.create("main", 3, 31);
        bench.settle(4);
        for partition in bench.state.partitions.keys().copied().collect::<Vec<_>>() {
            bench.fill(partition, Some((10 + partition.0) * GIB));
        }
        bench.join(4, zones[3]);
        bench.settle(4);
        bench
    }

    fn used(bench: &Bench) -> Vec<u64> {
        let scene = Scene::new(&bench.inputs(), BTreeSet::new(), BTreeMap::new()).places;
        scene.open_disks().values().map(Filling::used).collect()
    }

    fn planned(bench: &Bench) -> (u64, u64) {
        let (target, limits) = (Target::Cluster, Limits::default());
        let (kind, force, replicas) = (OperationKind::Rebalance, false, None);
        let wanted = Wanted { kind, target: &target, force, limits, replicas };
        let plan = preview::preview(&bench.inputs(), &wanted).unwrap();
        assert!(plan.residue.is_empty(), "{plan:?}");
        (plan.partitions, plan.bytes)
    }

    #[test]
    fn a_new_node_gets_its_share_with_few_moves_and_a_second_rebalance_moves_nothing() {
        let mut bench = uneven(["", "", "", ""]);
        let before = used(&bench);
        let mean = before.iter().sum::<u64>() / 4;
        assert!(before[0] > mean + begins_at(mean) && before[3] == 0, "{before:?}");
        let (moves, bytes) = planned(&bench);
        // What the new one has to get, to be near enough to the mean, and no more than a replica above it.
        let least = u128::from(mean - begins_at(mean)) * (1_u128 << 40) / 1_000_000;
        let most = u128::from(mean) * (1_u128 << 40) / 1_000_000 + u128::from(42 * GIB);
        assert!((least..=most).contains(&u128::from(bytes)), "{least} {bytes} {most}");
        // The biggest ones do it: with the mean size of 26.5 GiB it would take more.
        assert!(u128::from(moves) * 26 * u128::from(GIB) < u128::from(bytes), "{moves} moves");
        let id = bench.start(OperationKind::Rebalance, Target::Cluster);
        bench.work_until(id, OperationState::Succeeded);
        assert_eq!(bench.operation(id).progress().partitions_done, moves, "as was planned");
        let after = used(&bench);
        assert!(
            after.iter().all(|used| used.abs_diff(mean) <= begins_at(mean)),
            "{after:?} {mean}"
        );
        assert_eq!(planned(&bench), (0, 0), "planning after success plans nothing");
        let again = bench.start(OperationKind::Rebalance, Target::Cluster);
        bench.work_until(again, OperationState::Succeeded);
        assert!(bench.operation(again).items.is_empty(), "a second one moves nothing");
        for partition in bench.state.partitions.values() {
            assert_eq!(partition.configuration.in_sync.len(), 3);
        }
    }

    #[test]
    fn no_zone_holds_two_replicas_because_of_it() {
        let mut bench = uneven(["a", "b", "c", "c"]);
        let id = bench.start(OperationKind::Rebalance, Target::Cluster);
        bench.work_until(id, OperationState::Succeeded);
        assert!(bench.holders_on(NodeId(4)) > 0);
        for partition in bench.state.partitions.values() {
            let on = |node| partition.configuration.member_on(NodeId(node)).is_some();
            assert!(on(1) && on(2) && (on(3) != on(4)), "{:?}", partition.configuration.members);
        }
    }

    #[test]
    fn what_makes_nothing_more_even_any_more_is_left_where_it_is() {
        let mut bench = uneven(["", "", "", ""]);
        let limits = Limits { moves_per_disk: 1, moves_per_node: 1, moves: 1, ..Limits::default() };
        bench.start_limited(OperationKind::Rebalance, Target::Cluster, false, limits);
        let id = types::OperationId(1);
        bench.work(2);
        assert!(bench.operation(id).items.len() > 3);
        // Nearly all that there was is deleted meanwhile.
        for partition in bench.state.partitions.keys().copied().collect::<Vec<_>>() {
            bench.fill(partition, Some(GIB / 8));
        }
        bench.beat(1);
        bench.work_until(id, OperationState::Succeeded);
        let moved = bench.operation(id).items.values().filter(|item| item.copy.is_some()).count();
        assert!(moved <= 2, "{moved} were still moved");
    }
}
