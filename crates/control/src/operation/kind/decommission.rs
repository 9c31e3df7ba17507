//! Moves every replica, of data and of namespaces, away from a node, a disk or a zone.
//!
//! One partition at a time: a copy is begun elsewhere, catches up, is promoted by its leader; then the replica
//! on the target stops leading, leaves the configuration, is deleted by its node, and is forgotten once the
//! node does not list it any more. A target that dies meanwhile is finished from the other replicas.

use super::{Area, Job, Kind, NOTHING_ELSE};
use crate::detect::DiskState;
use crate::operation::movement;
use crate::operation::record::{DutyKind, Operation};
use crate::operation::scene::{Finding, Scene};
use crate::state::State;
use std::collections::BTreeMap;
use types::PartitionId;
use types::operation::{LockKind, Target};

pub(super) static KIND: Kind = Kind {
    takes: |target| matches!(target, Target::Node(_) | Target::Disk(_) | Target::Zone(_)),
    duty: Some(DutyKind::Leaving),
    lock: LockKind::Move,
    remaining,
    step,
    on_record,
    asks_disks: true,
    cancelled: "partitions that were moved stay where they are; copies that were begun and are not \
                needed are taken away; the target takes replicas again",
    ..NOTHING_ELSE
};

/// Everything on the target: by the record (members, spares, and what is to be deleted), and by the word of
/// its nodes, which may hold what nobody has on record.
fn remaining(scene: &Scene<'_>, operation: &Operation) -> BTreeMap<PartitionId, Job> {
    let state = scene.inputs.state;
    let area = Area::of(state, operation);
    let mut left = BTreeMap::new();
    for partition in area.partitions(state) {
        let id = partition.configuration.partition;
        for member in partition.holders().filter(|member| area.holds(member)) {
            let job: &mut Job = left.entry(id).or_default();
            job.bytes = job.bytes.saturating_add(scene.bytes(partition, member));
        }
    }
    for node in area.nodes(state) {
        let Some(report) = scene.inputs.fresh(node) else { continue };
        // What is on a disk that has failed is lost; what is on record of it was counted above.
        let lost = |disk| report.disks.get(disk).is_some_and(|d| d.state == DiskState::Failed);
        let here = report.replicas.values().filter(|r| area.is_at(node, r.disk) && !lost(&r.disk));
        for replica in here {
            left.entry(replica.partition).or_insert(Job::of(replica.bytes));
        }
    }
    left
}

fn step(scene: &mut Scene<'_>, operation: &Operation, partition: PartitionId, _: &Job) -> Finding {
    let area = Area::of(scene.inputs.state, operation);
    match scene.inputs.state.partitions.get(&partition) {
        Some(partition) => movement::step(scene, operation, partition, &area, None),
        // Nobody's any more.
        None => movement::deleting(scene, operation, partition),
    }
}

fn on_record(state: &State, operation: &Operation) -> u64 {
    let area = Area::of(state, operation);
    area.partitions(state).count() as u64
}
