//! What of a log was written and is not on disk yet, and bringing it there.
//!
//! Syncs of one log are asked for from several sides: the engine wants to answer a flush, a checkpoint
//! and a snapshot want the log durable before the index. Whoever asks is promised everything that was
//! written before; so it is not enough to sync what nobody else has begun to sync. All jobs of a log
//! share one list, and run one after the other: a job takes what is in the list when its turn comes,
//! and what it does not find there was synced by one before it.
//!
//! After a sync failed nothing more is promised: the kernel may have dropped the pages that it could
//! not write, and would say that all is well the next time.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use types::Sequence;
use world::{Disk, File};

/// Files of a log that were written since their last sync; clones share the list.
#[derive(Clone, Debug, Default)]
pub(super) struct Unsynced {
    /// The lock of the list is held for a moment only, also while `turn` is held.
    list: Arc<Mutex<List>>,
    /// Held by the job that syncs.
    turn: Arc<Mutex<()>>,
    failed: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct List {
    files: BTreeMap<u32, File>,
    /// Names in the log's folder changed.
    names: bool,
}

/// A sync of a log; made by [`super::Log::begin_sync`], to be run where blocking is allowed.
#[derive(Debug)]
pub struct SyncJob {
    pub(super) disk: Disk,
    pub(super) folder: String,
    pub(super) unsynced: Unsynced,
    /// What will be durable.
    pub upto: Sequence,
}

/// A part of a segment that was written, and that the device may as well begin with.
#[derive(Debug)]
pub struct WriteBack {
    pub(super) file: File,
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl WriteBack {
    /// Begins; to be called where blocking is allowed.
    pub fn run(&self) {
        if let Err(error) = self.file.begin_write_back(self.offset, self.length) {
            // It was only for speed; the next sync says what is wrong.
            tracing::debug!(%error, "the device does not begin to write");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder panics")
}

impl Unsynced {
    /// A segment's file was written. Said after the write: a sync that runs now may miss it, the next
    /// one will not.
    pub(super) fn note(&self, number: u32, file: &File) {
        lock(&self.list).files.entry(number).or_insert_with(|| file.clone());
    }

    /// Names in the folder changed.
    pub(super) fn note_names(&self) {
        lock(&self.list).names = true;
    }

    /// Whether a sync of this log ever failed: then some of it may not be on disk, for good.
    pub(super) fn have_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// A segment is gone: nobody needs it on disk.
    pub(super) fn forget(&self, number: u32) {
        lock(&self.list).files.remove(&number);
    }
}

impl SyncJob {
    /// Syncs, after the jobs whose turn it is.
    ///
    /// # Errors
    /// What the device says, now or to an earlier job of this log. The replica must then be given up.
    pub fn run(&self) -> io::Result<()> {
        let _turn = lock(&self.unsynced.turn);
        if self.unsynced.have_failed() {
            return Err(io::Error::other("an earlier sync of this log failed"));
        }
        let List { files, names } = std::mem::take(&mut *lock(&self.unsynced.list));
        let result = self.sync(&files, names);
        if result.is_err() {
            self.unsynced.failed.store(true, Ordering::Release);
        }
        result
    }

    fn sync(&self, files: &BTreeMap<u32, File>, names: bool) -> io::Result<()> {
        for file in files.values() {
            file.sync()?;
        }
        // A segment that lost its name would be lost wholly.
        if names {
            self.disk.sync_folder(&self.folder)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::log::{Log, Start};
    use bytes::Bytes;
    use partition::replica::{Entry, EntryBody};
    use types::{Epoch, PartitionId, ReplicaId, Sequence};
    use world::Disk;
    use world::disk::sim::{Faults, SimDisk};

    const WHOSE: (PartitionId, ReplicaId) = (PartitionId(1), ReplicaId(1));

    fn begin(sim: &SimDisk) -> Log {
        let disk = Disk::simulated(sim.clone());
        Log::create(disk, "log".into(), WHOSE, Sequence::ZERO).unwrap()
    }

    fn append(log: &mut Log) {
        let body = EntryBody { kind: 1, key: Bytes::new(), payload: vec![7; 4096].into() };
        let entry = Entry { epoch: Epoch(1), sequence: log.end().next(), body };
        log.append(&[entry], &mut Vec::new()).unwrap();
    }

    fn recover(sim: &SimDisk, power_lost: bool) -> Option<Log> {
        let (sequence, epoch, at) = (Sequence::ZERO, Epoch::ZERO, None);
        let start = Start { sequence, epoch, at, segment_min: 0, log_start: sequence, power_lost };
        let disk = Disk::simulated(sim.clone());
        Log::recover(disk, "log".into(), WHOSE, start, &mut |_, _| {}).ok().map(|(log, _)| log)
    }

    /// How many of some seeds lose the only record when the power goes after `work`.
    fn lost(work: impl Fn(Log, &mut SimDisk)) -> usize {
        let loses = |seed: &u64| {
            let mut sim = SimDisk::new("d", *seed, 1 << 30);
            let mut log = begin(&sim);
            append(&mut log);
            work(log, &mut sim);
            recover(&sim.lose_power(), true).is_none_or(|log| log.end() < Sequence(1))
        };
        (0..32).filter(loses).count()
    }

    /// A checkpoint's sync took the list of files with it; a flush that was asked for while that ran
    /// found nothing to sync, and was answered before anything was on disk.
    #[test]
    fn a_flush_covers_what_a_checkpoint_has_begun_to_sync() {
        let lost = lost(|mut log, _| {
            let checkpoint = log.begin_sync();
            let flush = log.begin_sync();
            flush.run().unwrap();
            assert_eq!(flush.upto, Sequence(1), "the flush is answered now");
            drop(checkpoint);
        });
        assert_eq!(lost, 0, "of 32 seeds");
    }

    /// ... and the other way round, when the process died in between: nobody had synced those files
    /// in this life, and nobody did.
    #[test]
    fn a_flush_covers_what_an_earlier_life_wrote() {
        let lost = lost(|log, sim| {
            drop(log);
            *sim = sim.kill_process();
            let mut log = recover(sim, false).unwrap();
            assert_eq!(log.end(), Sequence(1));
            log.begin_sync().run().unwrap();
        });
        assert_eq!(lost, 0, "of 32 seeds");
    }

    #[test]
    fn after_a_sync_failed_nothing_is_promised_any_more() {
        let sim = SimDisk::new("d", 1, 1 << 30);
        let mut log = begin(&sim);
        append(&mut log);
        sim.set_faults(Faults { sync_error: 1.0, ..Faults::default() });
        assert!(log.begin_sync().run().is_err());
        sim.set_faults(Faults::default());
        assert!(
            log.begin_sync().run().is_err(),
            "the pages may be gone though the kernel says yes"
        );
        assert!(log.sync_failed());
    }
}
