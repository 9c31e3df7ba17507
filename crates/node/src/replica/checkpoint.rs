//! Checkpoints: bringing the index to disk, so that a restart has little of the log to read.
//!
//! ```text
//! idle -- enough changed --> flushing: sync the log, write the index, write the checkpoint file
//!   ^                            |
//!   +--------- done -------------+      (failed: the replica is given up)
//!   ^                            |
//!   '--- try again in a while ---+      (no room: nothing is lost, the changes stay in memory)
//! ```
//!
//! The order matters: the index must never know more than the durable log, and the checkpoint file
//! must never claim more than the durable index. Then what nobody needs goes: see `reclaim`.

use super::Holder;
use super::Trouble;
use super::reclaim::{self, Unused};
use crate::context::Counters;
use crate::log::SyncJob;
use crate::run::NodeEvent;
use crate::store::{self, Checkpoint};
use partition::extent::Extent;
use partition::kv::FlushJob;
use partition::log::Location;
use std::sync::Arc;
use std::time::Duration;
use types::limits::ROOM_PROBE_INTERVAL;
use types::{Epoch, Moment, Sequence};
use world::Disk;

/// How far the next checkpoint is.
#[derive(Debug)]
pub(super) struct Checkpointing {
    /// Payload bytes appended since the last one began.
    log_bytes: u64,
    /// When the first change after the last one was made.
    changed_at: Option<Moment>,
    /// A job is under way.
    flushing: bool,
    /// The last applied record, its epoch and place.
    applied: (Sequence, Epoch, Option<Location>),
    /// The last one that is durable.
    durable: Checkpoint,
    synced: Sequence,
    /// The last one found no room; not to be tried before.
    retry_at: Option<Moment>,
    /// Dead runs that the ones which found no room would have given back.
    dead: Vec<Extent>,
}

/// A checkpoint on its way to the disk.
#[derive(Debug)]
pub struct CheckpointJob {
    /// Of which index.
    generation: u32,
    disk: Disk,
    file: String,
    sync: SyncJob,
    flush: FlushJob,
    checkpoint: Checkpoint,
    unused: Unused,
    _writing: Arc<()>,
}

impl CheckpointJob {
    /// Makes it durable: log, index and checkpoint file, in this order.
    pub(crate) fn run(&self) -> Result<(), Trouble> {
        // What a sync could not bring to the disk may be gone, whatever the reason.
        self.sync.run().map_err(|error| Trouble { no_space: false, ..error.into() })?;
        self.flush.run()?;
        Ok(store::write(&self.disk, &self.file, &self.checkpoint)?)
    }
}

impl Checkpointing {
    pub(super) fn new(durable: &Checkpoint) -> Checkpointing {
        let at = Location { segment: durable.segment, offset: durable.offset };
        let place = (durable.segment > 0).then_some(at);
        Checkpointing {
            log_bytes: 0,
            changed_at: None,
            flushing: false,
            applied: (Sequence(durable.sequence), Epoch(durable.epoch), place),
            durable: durable.clone(),
            synced: Sequence(durable.synced),
            retry_at: None,
            dead: Vec::new(),
        }
    }

    /// One found no room: there will be another, and what this one would have done is left to it.
    fn found_no_room(&mut self, unused: Unused, now: Moment) {
        self.changed_at.get_or_insert(now);
        self.retry_at = Some(now + ROOM_PROBE_INTERVAL);
        self.dead.extend(unused.into_runs());
    }

    pub(super) fn note_appended(&mut self, bytes: usize, now: Moment) {
        self.log_bytes += bytes as u64 + 64;
        self.changed_at.get_or_insert(now);
    }

    /// Something changed that is in no log.
    pub(super) fn note_moved(&mut self, now: Moment) {
        self.changed_at.get_or_insert(now);
    }

    pub(super) fn note_applied(&mut self, sequence: Sequence, epoch: Epoch, at: Location) {
        self.applied = (sequence, epoch, Some(at));
    }

    pub(super) fn note_synced(&mut self, upto: Sequence) {
        self.synced.advance(upto);
    }

    /// When the next one is due; every `interval` while something changes.
    pub(super) fn due_at(&self, interval: Duration) -> Option<Moment> {
        if self.flushing {
            return None;
        }
        let due = self.changed_at.map(|changed_at| changed_at + interval);
        self.retry_at.or(due)
    }

    fn rests(&self, now: Moment) -> bool {
        self.flushing || self.retry_at.is_some_and(|at| now < at)
    }
}

/// The checkpoint file of one generation of a replica's index.
pub(super) fn path(folder: &str, generation: u32) -> String {
    format!("{folder}/checkpoint-{generation}")
}

impl Holder {
    pub(super) fn checkpoint_if_due(&mut self) {
        let now = self.context.world.now();
        if self.checkpointing.rests(now) || self.failed.is_some() {
            return;
        }
        let upkeep = &self.context.upkeep;
        let due_at = self.checkpointing.due_at(upkeep.checkpoint_interval);
        let due = self.checkpointing.log_bytes >= upkeep.checkpoint_log_bytes
            || self.kv.buffered_bytes() >= upkeep.checkpoint_index_bytes
            || self.machine.wants_checkpoint()
            || due_at.is_some_and(|due| due <= now);
        if due {
            self.begin_checkpoint();
        }
    }

    fn begin_checkpoint(&mut self) {
        let Some(job) = self.start_checkpoint() else { return };
        let (context, replica) = (self.context.clone(), self.id);
        Counters::add(&context.counters.checkpoints, 1);
        self.context.world.spawn("checkpoint", async move {
            let work = move || {
                let result = job.run();
                (job, result)
            };
            let (job, result) = context.world.blocking(work).await;
            context.post(NodeEvent::Checkpointed { replica, job, result });
        });
    }

    pub(crate) fn start_checkpoint(&mut self) -> Option<CheckpointJob> {
        let (checkpoint, flush, unused) = self.prepare_checkpoint()?;
        self.checkpointing.flushing = true;
        Some(CheckpointJob {
            generation: self.stored.generation,
            unused,
            disk: self.disk.clone(),
            file: path(&self.folder, self.stored.generation),
            sync: self.log.begin_sync(),
            flush,
            checkpoint,
            _writing: self.writing.clone(),
        })
    }

    /// Freezes what the checkpoint will hold.
    fn prepare_checkpoint(&mut self) -> Option<(Checkpoint, FlushJob, Unused)> {
        if let Err(error) = self.machine.checkpoint() {
            self.fail(format!("the index cannot be written: {error}"));
            return None;
        }
        let (sequence, epoch, at) = self.checkpointing.applied;
        let firsts = self.engine.history().firsts().iter();
        let segment = at.map_or(0, |at| at.segment);
        let oldest_kept =
            reclaim::oldest_kept(&self.log, segment, self.context.upkeep.log_kept_bytes);
        let mut unused = Unused::list(&mut self.machine, &self.log, oldest_kept);
        unused.add_runs(std::mem::take(&mut self.checkpointing.dead));
        let checkpoint = Checkpoint {
            sequence: sequence.0,
            epoch: epoch.0,
            segment,
            offset: at.map_or(0, |at| at.offset),
            history: firsts.flat_map(|first| [first.epoch.0, first.sequence.0]).collect(),
            synced: self.log.end().0,
            segment_min: self.checkpointing.durable.segment_min,
            log_start: unused.log_start(&self.log).0,
        };
        self.checkpointing.log_bytes = 0;
        self.checkpointing.changed_at = None;
        self.checkpointing.retry_at = None;
        self.compaction.checkpoint_begun();
        Some((checkpoint, self.kv.freeze(), unused))
    }

    /// A checkpoint has ended.
    pub fn checkpointed(&mut self, job: CheckpointJob, result: Result<(), Trouble>) {
        if job.generation != self.stored.generation {
            return self.sweep(job.generation);
        }
        self.checkpointing.flushing = false;
        match result {
            Ok(()) => {
                self.kv.forget_frozen(&job.flush);
                self.compaction.checkpoint_durable();
                self.checkpointing.durable = job.checkpoint;
                self.reclaim(job.unused);
                self.sweep_left();
            }
            Err(trouble) if trouble.no_space => {
                tracing::warn!(partition = %self.partition, %trouble, "no room for a checkpoint");
                let now = self.context.world.now();
                self.checkpointing.found_no_room(job.unused, now);
                self.note_refused(&trouble);
            }
            Err(trouble) => self.fail(format!("a checkpoint failed: {trouble}")),
        }
    }

    /// A checkpoint was overtaken by a snapshot: it wrote to an index that had been replaced. What it
    /// left behind goes.
    pub(super) fn sweep(&mut self, generation: u32) {
        let file = path(&self.folder, generation);
        let removed = self.disk.remove_if_present(&file).map_err(Trouble::from);
        let removed = removed.and_then(|()| Ok(self.remove_generation(generation)?));
        if let Err(trouble) = removed {
            tracing::warn!(partition = %self.partition, generation, %trouble, "an old index is left");
            self.note_refused(&trouble);
            self.snapshots.leave(generation);
        }
    }

    /// Takes away what could not be taken away before.
    fn sweep_left(&mut self) {
        for generation in self.snapshots.take_left() {
            if generation < self.stored.generation {
                self.sweep(generation);
            }
        }
    }

    /// Writes a last checkpoint before the process ends, and notes that it did. Blocks.
    pub fn close(mut self) {
        if self.failed.is_some() || self.checkpointing.flushing {
            return;
        }
        let Some((checkpoint, flush, _)) = self.prepare_checkpoint() else { return };
        let done = self.log.trim().is_ok()
            && self.log.begin_sync().run().is_ok()
            && flush.run().is_ok()
            && store::write(&self.disk, &path(&self.folder, self.stored.generation), &checkpoint)
                .is_ok();
        // Only a log that is wholly on disk may be trusted after any kind of restart.
        if done {
            self.stored.clean = true;
            if let Err(error) = self.store_state() {
                tracing::warn!(partition = %self.partition, %error, "cannot note a clean stop");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::*;
    use types::configuration::PartitionKind;
    use world::disk::sim::Faults;

    /// The disk had no room for a checkpoint for a moment, and the replica was given up for that.
    #[tokio::test]
    async fn a_checkpoint_that_found_no_room_is_made_when_there_is_some() {
        let bench = Bench::new();
        for kind in [PartitionKind::Namespace, PartitionKind::Data] {
            let mut holder = bench.create(kind);
            let no_room = Faults { no_space: 1.0, ..Faults::default() };
            bench.sim.set_faults(no_room);
            let job = holder.start_checkpoint().unwrap();
            let done = job.run();
            assert!(done.as_ref().is_err_and(|trouble| trouble.no_space), "{done:?}");
            holder.checkpointed(job, done);
            assert_eq!(holder.failed, None);
            assert!(holder.take_refused_write().is_some(), "the node is told");
            let now = bench.context.world.now();
            assert!(holder.checkpointing.rests(now), "not at once");
            let due = holder.wake(now).expect("there will be another");
            assert!(due > now && due <= now + 2 * ROOM_PROBE_INTERVAL);
            bench.sim.set_faults(Faults::default());
            let job = holder.start_checkpoint().unwrap();
            let done = job.run();
            assert_eq!(done, Ok(()));
            holder.checkpointed(job, done);
            assert_eq!(holder.failed, None);
            bench.remove(holder);
        }
    }

    #[tokio::test]
    async fn an_epoch_that_found_no_room_is_no_reason_to_give_up() {
        use partition::replica::Failure;
        let bench = Bench::new();
        let mut holder = bench.create(PartitionKind::Data);
        bench.sim.set_faults(Faults { no_space: 1.0, ..Faults::default() });
        holder.configure(Bench::configuration(PartitionKind::Data));
        let status = |holder: &Holder| holder.engine.status(bench.context.world.now());
        assert_eq!(status(&holder).failure, Some(Failure::NoSpace));
        bench.sim.set_faults(Faults::default());
        holder.handle(partition::replica::Event::SpaceFreed);
        assert_eq!((status(&holder).failure, status(&holder).epoch), (None, Epoch(1)));
        assert!(holder.leads());
    }

    /// Messages that came early were taken up in one step: when the first of several appends found no
    /// room, the second one panicked. Found by the simulated cluster.
    #[tokio::test]
    async fn an_append_after_one_that_failed_is_left_out() {
        use partition::replica::{Effect, Entry, EntryBody, Event};
        let bench = Bench::new();
        let mut holder = bench.create(PartitionKind::Namespace);
        let body = || EntryBody { kind: 1, key: bytes::Bytes::new(), payload: vec![7; 99].into() };
        let append = |sequence| {
            let entry = Entry { epoch: Epoch(1), sequence: Sequence(sequence), body: body() };
            Effect::Append { entries: [entry].into() }
        };
        bench.sim.set_faults(Faults { no_space: 1.0, ..Faults::default() });
        let mut events = std::collections::VecDeque::new();
        holder.perform(append(1), &mut events);
        holder.perform(append(2), &mut events);
        let failed = matches!(events.make_contiguous(), [Event::AppendFailed { from, .. }] if *from == Sequence(1));
        assert!(failed, "{events:?}");
    }
}
