//! Giving back the room of what nobody needs: whole segments, and dead runs within others.
//!
//! A map of the town is printed every evening, and whoever loses his way goes by the last print. A
//! house may be torn down once it is missing *from the print*; that it is empty by now is not enough.
//! Here the print is the index as of the last durable checkpoint: after a crash it is all that is left
//! of the index. So what is unused is listed when the index is frozen, and exactly that goes once the
//! checkpoint is durable. What died since then waits for the next one.
//!
//! ```text
//! index frozen --> log synced --> index durable --> checkpoint file --> what the frozen index did
//!  unused listed                                                        not point to goes
//! ```
//!
//! What holds because of this order:
//! - no durable index ever points into a hole, or to a segment that is gone;
//! - the record that replaced what goes is itself durable: it was in the log that was synced.
//!
//! A place that is unused stays so: places are never written twice, and the index is pointed to new
//! ones only.

use super::{Holder, Machine};
use crate::log::{self, Log, Segment};
use partition::extent::{Extent, Index};
use partition::log::segment::SegmentKind;
use partition::replica::Event;
use std::collections::{BTreeMap, BTreeSet};
use types::Sequence;
use types::limits::CHECKSUM_BLOCK_BYTES;

/// What an index does not point to, as of the moment it was frozen.
#[derive(Debug, Default)]
pub(super) struct Unused {
    /// The log from this segment on is kept whole. The checkpoint says so too: after a restart
    /// segments with holes cannot be told from others.
    oldest_kept: u32,
    /// Segments of which nothing is alive. Of a namespace: all, because its index holds everything.
    segments: BTreeSet<u32>,
    /// Runs that died since the freeze before.
    runs: Vec<Extent>,
}

/// Dead runs that no durable index points to, by segment, and that were not punched yet.
#[derive(Debug, Default)]
pub(super) struct Dead {
    runs: BTreeMap<u32, Vec<Extent>>,
}

impl Unused {
    /// Lists what `machine`, which is being frozen, does not point to.
    pub(super) fn list(machine: &mut Machine, log: &Log, oldest_kept: u32) -> Unused {
        let Machine::Data(index) = machine else {
            let segments = log.segments().keys().copied().collect();
            return Unused { oldest_kept, segments, runs: Vec::new() };
        };
        // Copies are on their way into the open base segment.
        let open_base = log.open_base();
        let unused = |number: &u32| {
            Some(*number) != open_base && index.segments().get(number).is_none_or(|live| *live == 0)
        };
        let segments = log.segments().keys().copied().filter(unused).collect();
        Unused { oldest_kept, segments, runs: index.take_dead() }
    }

    /// Runs that an earlier list held, and that were not given back.
    pub(super) fn add_runs(&mut self, runs: Vec<Extent>) {
        self.runs.extend(runs);
    }

    pub(super) fn into_runs(self) -> Vec<Extent> {
        self.runs
    }

    /// From where on the log is whole, once all of this has gone.
    pub(super) fn log_start(&self, log: &Log) -> Sequence {
        let is_kept = |segment: &&Segment| {
            segment.kind() == SegmentKind::Log && segment.number() >= self.oldest_kept
        };
        let first = log.segments().values().find(is_kept).map(Segment::first);
        log.start().max(first.unwrap_or(log.start()))
    }
}

impl Dead {
    /// Takes runs that a durable index does not point to.
    fn add(&mut self, runs: Vec<Extent>) {
        for run in runs {
            self.runs.entry(run.at.segment).or_default().push(run);
        }
    }

    pub(super) fn clear(&mut self) {
        self.runs.clear();
    }
}

impl Holder {
    /// Gives back the room of what the index that has just become durable does not need.
    pub(super) fn reclaim(&mut self, unused: Unused) {
        self.dead.add(unused.runs);
        if self.snapshots.are_busy() {
            return;
        }
        let oldest_kept = unused.oldest_kept;
        let pinned = |segment| self.compaction.pins(segment);
        let removed = match &mut self.machine {
            Machine::Data(index) => {
                let may_go = closed(&self.log, oldest_kept, &pinned);
                remove_unused(&mut self.log, index, &may_go, &unused.segments).and_then(|()| {
                    let bytes_min = self.context.upkeep.hole_bytes_min;
                    punch_dead(&mut self.log, &may_go, &mut self.dead, bytes_min)
                })
            }
            Machine::Namespace(_) => {
                let old = unused.segments.range(..oldest_kept);
                old.copied().try_for_each(|number| self.log.remove_segment(number))
            }
        };
        if let Err(error) = removed {
            tracing::warn!(partition = %self.partition, %error, "cannot give room back");
        }
        let start = self.log.start();
        self.handle(Event::LogStart { start });
        self.compact_if_due(oldest_kept);
    }
}

/// The log from this segment on is kept whole: recovery reads it from `recovered_from`, and replicas
/// that were away for a while are brought up with the last `kept_bytes`.
pub(super) fn oldest_kept(log: &Log, recovered_from: u32, kept_bytes: u64) -> u32 {
    let (mut oldest, mut kept) = (recovered_from, 0);
    let logs = log.segments().values().rev();
    for segment in logs.filter(|segment| segment.kind() == SegmentKind::Log) {
        if kept >= kept_bytes {
            break;
        }
        kept += u64::from(segment.length());
        oldest = oldest.min(segment.number());
    }
    oldest
}

/// Segments that nothing is added to, that are not needed as log, and that nobody reads.
fn closed(log: &Log, oldest_kept: u32, pinned: &dyn Fn(u32) -> bool) -> BTreeSet<u32> {
    let open_base = log.open_base();
    let is_closed = |segment: &&Segment| match segment.kind() {
        SegmentKind::Log => segment.number() < oldest_kept,
        // Base segments are no log: nothing but the index needs them.
        SegmentKind::Base => Some(segment.number()) != open_base,
    };
    let numbers = log.segments().values().filter(is_closed).map(Segment::number);
    numbers.filter(|number| !pinned(*number)).collect()
}

fn remove_unused(
    log: &mut Log,
    index: &mut Index,
    may_go: &BTreeSet<u32>,
    unused: &BTreeSet<u32>,
) -> Result<(), log::Error> {
    for number in may_go.intersection(unused) {
        if log.segments().contains_key(number) {
            index.forget_segment(*number);
            log.remove_segment(*number)?;
        }
    }
    Ok(())
}

/// Punches holes of at least `bytes_min`: each costs a transaction of the file system, with the loop
/// behind it. The room of shorter runs comes back when their segment is rewritten, or wholly dead.
fn punch_dead(
    log: &mut Log,
    may_go: &BTreeSet<u32>,
    dead: &mut Dead,
    bytes_min: u64,
) -> Result<(), log::Error> {
    dead.runs.retain(|number, _| log.segments().contains_key(number));
    let numbers: Vec<u32> =
        dead.runs.keys().copied().filter(|number| may_go.contains(number)).collect();
    for number in numbers {
        let holes = holes(dead.runs.remove(&number).unwrap_or_default());
        for (offset, length) in holes.into_iter().filter(|(_, length)| *length >= bytes_min) {
            log.punch(number, offset, length)?;
        }
    }
    Ok(())
}

/// Where to punch for runs of one segment: runs that touch make one hole.
fn holes(mut runs: Vec<Extent>) -> Vec<(u64, u64)> {
    runs.sort_unstable_by_key(|run| (run.at.offset, run.skip));
    let mut joined: Vec<Extent> = Vec::new();
    for run in runs {
        match joined.last_mut() {
            Some(last) if last.at == run.at && run.skip <= last.skip + last.length => {
                last.length = last.length.max(run.skip + run.length - last.skip);
            }
            _ => joined.push(run),
        }
    }
    joined.iter().filter_map(whole_blocks).collect()
}

/// The blocks with a checksum of their own that lie wholly in a run. The others stay whole: what is
/// alive of them could not be verified any more.
fn whole_blocks(run: &Extent) -> Option<(u64, u64)> {
    let (start, end) = (run.skip.next_multiple_of(CHECKSUM_BLOCK_BYTES), run.skip + run.length);
    let end = match end == run.payload_bytes {
        true => end,
        false => end / CHECKSUM_BLOCK_BYTES * CHECKSUM_BLOCK_BYTES,
    };
    let whole = Extent { skip: start, ..*run };
    (start < end).then(|| (whole.file_offset(), u64::from(end - start)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::log::Start;
    use crate::replica::read::read_piece;
    use bytes::Bytes;
    use partition::extent::{Command, DataKey};
    use partition::kv::{Buffered, FlushJob};
    use partition::replica::Entry;
    use std::sync::Arc;
    use types::checksum::crc32c;
    use types::limits::CHUNK_BYTES;
    use types::{Epoch, PartitionId, ReplicaId};
    use world::Disk;
    use world::disk::sim::SimDisk;
    use world::kv::{Database, Space};

    pub(in crate::replica) const WHOSE: (PartitionId, ReplicaId) = (PartitionId(1), ReplicaId(1));
    const OBJECT: u64 = 9;

    /// Log and index of a replica of data, without the rest of it.
    pub(in crate::replica) struct Store {
        pub(in crate::replica) log: Log,
        machine: Machine,
        pub(in crate::replica) kv: Arc<Buffered>,
        database: Database,
        sim: SimDisk,
        dead: Dead,
        /// What the checkpoint says of the log.
        log_start: Sequence,
    }

    impl Store {
        pub(in crate::replica) fn new() -> Store {
            let sim = SimDisk::new("d", 1, 1 << 30);
            let disk = Disk::simulated(sim.clone());
            let mut log = Log::create(disk, "log".into(), WHOSE, Sequence::ZERO).unwrap();
            log.set_segment_bytes(40_000);
            let database = Database::simulated();
            let kv = Self::buffer(&database);
            let machine = Machine::Data(Index::open(kv.clone()).unwrap());
            let (dead, log_start) = (Dead::default(), Sequence::ZERO);
            Store { log, machine, kv, database, sim, dead, log_start }
        }

        fn buffer(database: &Database) -> Arc<Buffered> {
            Arc::new(Buffered::new(Arc::new(database.handle(Space::Index, b"k".to_vec()))))
        }

        fn index(&mut self) -> &mut Index {
            match &mut self.machine {
                Machine::Data(index) => index,
                Machine::Namespace(_) => unreachable!("it was made as data"),
            }
        }

        fn write(&mut self, offset: u64, length: usize) {
            let sequence = self.log.end().next();
            let payload = Bytes::from(vec![u8::try_from(sequence.0 % 251).unwrap(); length]);
            let sums = payload.chunks(4096).flat_map(|block| crc32c(block).to_le_bytes());
            let key = DataKey { object: OBJECT, offset, length: length as u64 };
            let command = Command::Write { key, checksums: sums.collect(), payload };
            let body = command.into_entry();
            let meaning = Command::decode_key(body.kind, &body.key).unwrap();
            let mut at = Vec::new();
            self.log.append(&[Entry { epoch: Epoch(1), sequence, body }], &mut at).unwrap();
            self.index().apply(sequence, meaning, at[0]).unwrap();
        }

        fn freeze(&mut self) -> (FlushJob, Unused) {
            self.machine.checkpoint().unwrap();
            let oldest_kept = oldest_kept(&self.log, self.log.tail().unwrap().segment, 0);
            let unused = Unused::list(&mut self.machine, &self.log, oldest_kept);
            self.log_start = unused.log_start(&self.log);
            (self.kv.freeze(), unused)
        }

        fn durable(&mut self, job: &FlushJob, unused: Unused) {
            job.run().unwrap();
            self.kv.forget_frozen(job);
            self.dead.add(unused.runs);
            let may_go = closed(&self.log, unused.oldest_kept, &|_| false);
            let Machine::Data(index) = &mut self.machine else { unreachable!("it is data") };
            remove_unused(&mut self.log, index, &may_go, &unused.segments).unwrap();
            punch_dead(&mut self.log, &may_go, &mut self.dead, 0).unwrap();
        }

        /// Reads all that an index points to.
        pub(in crate::replica) fn verify(log: &Log, index: &mut Index) {
            let mut pieces = Vec::new();
            let all = DataKey { object: OBJECT, offset: 0, length: CHUNK_BYTES };
            index.find(&all, &mut pieces).unwrap();
            for piece in pieces {
                let number = piece.extent.at.segment;
                let file = log.file(number);
                let file = file.unwrap_or_else(|error| panic!("segment {number}: {error}"));
                let mut out = vec![0; piece.extent.length as usize];
                let read = read_piece(WHOSE.0, OBJECT, &piece, &file, &mut out);
                read.unwrap_or_else(|error| panic!("{piece:?}: {error}"));
                let part = (piece.extent.skip, piece.extent.length);
                let read = log.read_at(piece.extent.at, &[part]);
                read.unwrap_or_else(|error| panic!("{piece:?}: {error}"));
            }
        }

        /// Overwrites a bit of everything, with checkpoints that become durable while it does.
        pub(in crate::replica) fn overwrite(
            &mut self,
            rounds: usize,
            after_each: impl Fn(&mut Store),
        ) {
            let mut dice = 1_u64;
            let mut below = |limit: u64| {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (dice >> 33) % limit
            };
            for _ in 0..rounds {
                let (length, offset) = (below(60_000) + 1, below(200_000));
                self.write(offset, usize::try_from(length).unwrap());
                let (job, unused) = self.freeze();
                let (length, offset) = (below(9_000) + 1, below(200_000));
                self.write(offset, usize::try_from(length).unwrap());
                self.durable(&job, unused);
                after_each(self);
            }
        }

        /// The index that a restart after a kill would find, and the one in memory.
        fn verify_both(&mut self) {
            Self::verify(&self.log, &mut Index::open(Self::buffer(&self.database)).unwrap());
            let mut index = Index::open(self.kv.clone()).unwrap();
            self.machine.checkpoint().unwrap();
            Self::verify(&self.log, &mut index);
        }
    }

    /// A kill between two checkpoints left replicas that would not open for good: the durable index
    /// pointed into segments that had gone because the index in memory did not need them any more.
    #[test]
    fn what_dies_after_the_freeze_stays_until_the_next_checkpoint() {
        let mut store = Store::new();
        (0..10).for_each(|block| store.write(block * 8192, 8192));
        let (job, unused) = store.freeze();
        (0..10).for_each(|block| store.write(block * 8192, 8192));
        let before = store.log.segments().len();
        store.durable(&job, unused);
        store.verify_both();
        assert_eq!(store.log.segments().len(), before, "everything is in the durable index");
        let (job, unused) = store.freeze();
        store.durable(&job, unused);
        store.verify_both();
        assert!(store.log.segments().len() < before, "now the first ones are gone");
    }

    /// A block that is alive in part was punched in part, and could not be verified any more.
    #[test]
    fn whatever_is_overwritten_the_rest_is_readable_after_a_kill() {
        let mut store = Store::new();
        store.overwrite(200, Store::verify_both);
        assert!(store.log.start() > Sequence(300), "much was given back: {}", store.log.start());
    }
    /// A segment with holes was taken for whole after a restart: a follower that was fed from there
    /// got nothing, and damage was reported that was none.
    #[test]
    fn a_log_with_holes_begins_after_them_after_a_restart_too() {
        let mut store = Store::new();
        store.overwrite(60, |store| {
            let disk = Disk::simulated(store.sim.clone());
            let (sequence, epoch, at) = (Sequence::ZERO, Epoch::ZERO, store.log.tail());
            let first = store.log.segments()[&at.unwrap().segment].first();
            let at = at.map(|at| partition::log::Location { offset: 64, ..at });
            let sequence = sequence.max(first.previous());
            let log_start = store.log_start;
            let start = Start { sequence, epoch, at, segment_min: 0, log_start, power_lost: false };
            let (mut log, _) =
                Log::recover(disk, "log".into(), WHOSE, start, &mut |_, _| {}).unwrap();
            let mut next = log.start();
            assert!(next <= first, "some of it is kept");
            while next <= log.end() {
                let entries = log.read(next, 1 << 20).unwrap();
                next = entries.last().unwrap().sequence.next();
            }
        });
    }
}
