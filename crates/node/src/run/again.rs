//! What was left undone, and is tried again: replicas that could not be opened for want of room, and
//! replicas that could not be removed wholly, whatever the reason.
//!
//! Once a second, until it is done: small files may find room inside the reserve, long before the disk
//! counts as having room.

use super::{Broken, NodeLoop};
use crate::replica::{self, Found};
use std::collections::BTreeSet;
use types::configuration::PartitionKind;
use types::limits::ROOM_PROBE_INTERVAL;
use types::{DiskId, Moment, ReplicaId};
use wire::control::{ReplicaReport, ReplicaState};

/// A deleted replica of which something is left on its disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remains {
    pub(super) found: Found,
    pub(super) disk: DiskId,
    pub(super) kind: PartitionKind,
}

impl NodeLoop {
    pub(super) fn try_again(&mut self, now: Moment) {
        if self.tried_at.is_some_and(|at| now.since(at) < ROOM_PROBE_INTERVAL) {
            return;
        }
        self.tried_at = Some(now);
        self.open_again();
        for remains in std::mem::take(&mut self.remains) {
            self.remove(remains);
        }
    }

    fn open_again(&mut self) {
        let wanting = self.broken.values().filter(|broken| broken.wants_room);
        let wanting: Vec<(Found, DiskId)> =
            wanting.map(|Broken { found, disk, .. }| (*found, *disk)).collect();
        // Where there is no room for one there is none for the others.
        let mut without = BTreeSet::new();
        for (found, disk) in wanting {
            if without.contains(&disk) {
                continue;
            }
            let home = self.homes[&disk].clone();
            self.open_replica(&home, found);
            if self.broken.get(&found.replica).is_some_and(|broken| broken.wants_room) {
                without.insert(disk);
            }
        }
    }

    /// Takes a replica, or the rest of it, off its disk.
    pub(super) fn remove(&mut self, remains: Remains) {
        let Remains { found, disk, kind } = remains;
        let home = &self.homes[&disk];
        let Err(error) = replica::destroy(&home.disk, &home.database, found, kind) else { return };
        let replica: ReplicaId = found.replica;
        tracing::warn!(%replica, %error, "a deleted replica could not be removed wholly");
        if error.is_no_space() {
            self.refused(disk, &error.to_string());
        }
        self.remains.push(remains);
    }

    /// What is left of deleted replicas takes space, so it is reported: nobody shall call them gone.
    pub(super) fn report_remains(&self) -> impl Iterator<Item = ReplicaReport> + '_ {
        self.remains.iter().map(|Remains { found, disk, .. }| ReplicaReport {
            replica: found.replica.0,
            partition: found.partition.0,
            disk: disk.0,
            state: ReplicaState::Failed.into(),
            reason: "it was deleted, and could not be removed wholly yet".to_owned(),
            ..ReplicaReport::default()
        })
    }
}
