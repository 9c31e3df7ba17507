//! What was left undone, and is tried again: replicas that could not be opened for want of room, and
//! replicas that could not be removed wholly, whatever the reason; one is that a checkpoint or a snapshot
//! of theirs was on its way to the disk, which then writes under the keys of a replica that is gone.
//!
//! Once a second, until it is done: small files may find room inside the reserve, long before the disk
//! counts as having room.

use super::{Broken, NodeLoop};
use crate::replica::{self, Found};
use std::collections::BTreeSet;
use std::sync::Weak;
use types::configuration::PartitionKind;
use types::limits::ROOM_PROBE_INTERVAL;
use types::{DiskId, Moment, ReplicaId};
use wire::control::{ReplicaReport, ReplicaState};

/// A deleted replica of which something is left on its disk.
#[derive(Clone, Debug)]
pub(super) struct Remains {
    pub(super) found: Found,
    pub(super) disk: DiskId,
    pub(super) kind: PartitionKind,
    /// Alive while something may still write to its index: work that was under way when it was deleted.
    pub(super) writing: Weak<()>,
}

impl Remains {
    /// Whether something else may still write. Asked *before* what is there is removed.
    fn may_grow(&self) -> bool {
        self.writing.strong_count() > 0
    }
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
        let (found, disk, may_grow) = (remains.found, remains.disk, remains.may_grow());
        let home = &self.homes[&disk];
        if let Err(error) = replica::destroy(&home.disk, &home.database, found, remains.kind) {
            let replica: ReplicaId = found.replica;
            tracing::warn!(%replica, %error, "a deleted replica could not be removed wholly");
            if error.is_no_space() {
                self.refused(disk, &error.to_string());
            }
        } else if !may_grow {
            return;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::bench::{Bench, ME};
    use crate::run::NodeEvent;
    use partition::kv::{Batch, Kv as _};
    use std::sync::Arc;
    use world::kv::Space;

    fn open(bench: &Bench) -> NodeLoop {
        let homes = vec![bench.home.clone()];
        NodeLoop::open(bench.context.clone(), homes, Vec::new(), Arc::default()).unwrap()
    }

    fn keys(bench: &Bench) -> usize {
        let faults = bench.home.database.faults().unwrap();
        [Space::Index, Space::Metadata].map(|space| faults.keys(space).len()).iter().sum()
    }

    fn second(node: &mut NodeLoop) {
        let now = node.tried_at.map_or(Moment(1), |at| at + ROOM_PROBE_INTERVAL);
        node.try_again(now);
    }

    /// A checkpoint that was being written when its replica was deleted wrote its keys afterwards, and
    /// nobody took them away.
    #[tokio::test]
    async fn what_is_written_after_a_deletion_goes_too() {
        for kind in [PartitionKind::Namespace, PartitionKind::Data] {
            let bench = Bench::new();
            let mut node = open(&bench);
            node.keep(bench.create(kind));
            let job = node.replicas.get_mut(&ME).unwrap().start_checkpoint().unwrap();
            node.delete(ME);
            assert_eq!(
                (keys(&bench), node.report_remains().count()),
                (0, 1),
                "not gone for certain"
            );
            let result = job.run();
            assert!(keys(&bench) > 0, "it writes them nevertheless");
            second(&mut node);
            assert_eq!(node.report_remains().count(), 1, "it may write still");
            node.handle(NodeEvent::Checkpointed { replica: ME, job, result });
            second(&mut node);
            assert_eq!((keys(&bench), node.report_remains().count()), (0, 0));
        }
    }

    /// The same, and the process died before it could take them away.
    #[tokio::test]
    async fn a_start_takes_away_keys_that_are_nobodys() {
        for kind in [PartitionKind::Namespace, PartitionKind::Data] {
            let bench = Bench::new();
            let mut node = open(&bench);
            node.keep(bench.create(kind));
            let job = node.replicas.get_mut(&ME).unwrap().start_checkpoint().unwrap();
            node.delete(ME);
            let _ = job.run();
            drop(node);
            assert!(keys(&bench) > 0);
            let node = open(&bench);
            assert_eq!((keys(&bench), node.report_remains().count()), (0, 0));
        }
    }

    /// A snapshot was taken up, and the process died before the index that it replaced was taken away.
    #[tokio::test]
    async fn a_start_takes_away_old_indexes_and_keeps_the_one_in_use() {
        let bench = Bench::new();
        let mut holder = bench.create(PartitionKind::Data);
        let job = holder.start_checkpoint().unwrap();
        job.run().unwrap();
        let found = Found { partition: holder.partition, replica: holder.id };
        drop((holder, job));
        let good = keys(&bench);
        assert!(good > 0);
        for generation in [1_u32, 7, u32::MAX] {
            let (partition, replica) = (found.partition.0, found.replica.0);
            let owner = [partition.to_be_bytes(), replica.to_be_bytes()].concat();
            let prefix = [&owner[..], &generation.to_be_bytes()].concat();
            let mut batch = Batch::default();
            batch.put(b"key".to_vec(), b"value".to_vec());
            bench.home.database.handle(Space::Index, prefix).write(batch).unwrap();
        }
        assert_eq!(keys(&bench), good + 3);
        let node = open(&bench);
        assert_eq!((keys(&bench), node.broken.len(), node.replicas.len()), (good, 0, 1));
    }
}
