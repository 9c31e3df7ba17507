//! Moves leaders away from a node, and keeps new replicas away, as long as it is not taken back.
//!
//! For maintenance: the node keeps what it has and goes on following, so it can be stopped and started without
//! a change of leaders, and nothing has to be copied afterwards but what it missed.

use super::{Area, Job, Kind, NOTHING_ELSE};
use crate::detect::Role;
use crate::operation::movement;
use crate::operation::record::{DutyKind, Operation};
use crate::operation::scene::{Finding, Scene};
use crate::state::{Partition, State};
use std::collections::BTreeMap;
use types::PartitionId;
use types::operation::{LockKind, Target};

pub(super) static KIND: Kind = Kind {
    takes: |target| matches!(target, Target::Node(_) | Target::Zone(_)),
    duty: Some(DutyKind::Drained),
    lock: LockKind::Lead,
    remaining,
    step,
    on_record,
    asks_disks: false,
    cancelled: "leaders that were moved stay where they are; the target leads and takes replicas again",
    ..NOTHING_ELSE
};

/// Partitions that are led from the target, by the record or by the word of its nodes. Nothing is copied.
fn remaining(scene: &Scene<'_>, operation: &Operation) -> BTreeMap<PartitionId, Job> {
    let state = scene.inputs.state;
    let area = Area::of(state, operation);
    let mut left: BTreeMap<PartitionId, Job> = led_from(state, &area)
        .map(|partition| (partition.configuration.partition, Job::default()))
        .collect();
    for node in area.nodes(state) {
        let Some(report) = scene.inputs.fresh(node) else { continue };
        let leading = report.replicas.values().filter(|replica| replica.role == Role::Leader);
        left.extend(leading.map(|replica| (replica.partition, Job::default())));
    }
    left
}

fn step(scene: &mut Scene<'_>, operation: &Operation, partition: PartitionId, _: &Job) -> Finding {
    let area = Area::of(scene.inputs.state, operation);
    match scene.inputs.state.partitions.get(&partition) {
        Some(partition) if is_led_from(partition, &area) => {
            movement::hand_over(scene, operation, partition, &area)
        }
        // It has been told that it does not lead.
        _ => Finding::Underway,
    }
}

fn led_from<'a>(state: &'a State, area: &'a Area) -> impl Iterator<Item = &'a Partition> {
    area.partitions(state).filter(|partition| is_led_from(partition, area))
}

fn is_led_from(partition: &Partition, area: &Area) -> bool {
    let leader = partition.configuration.leader_member();
    !partition.deleted && leader.is_some_and(|leader| area.holds(leader))
}

fn on_record(state: &State, operation: &Operation) -> u64 {
    let area = Area::of(state, operation);
    led_from(state, &area).count() as u64
}
