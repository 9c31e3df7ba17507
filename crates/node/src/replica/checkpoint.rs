//! Checkpoints: bringing the index to disk, so that a restart has little of the log to read.
//!
//! ```text
//! idle -- enough changed --> flushing: sync the log, write the index, write the checkpoint file
//!   ^                            |
//!   +--------- done -------------+      (failed: the replica is given up)
//! ```
//!
//! The order matters: the index must never know more than the durable log, and the checkpoint file
//! must never claim more than the durable index. Then the log's segments that nobody needs go.

use super::{Holder, Machine};
use crate::context::Counters;
use crate::log::{self, Log, Segment};
use crate::run::NodeEvent;
use crate::store::{self, Checkpoint};
use partition::extent::Index;
use partition::kv::FlushJob;
use partition::log::Location;
use partition::log::segment::SegmentKind;
use partition::replica::Event;
use std::collections::BTreeMap;
use types::limits::{
    CHECKPOINT_INDEX_BYTES, CHECKPOINT_INTERVAL, CHECKPOINT_LOG_BYTES, LOG_KEPT_BYTES,
};
use types::{Epoch, Moment, Sequence};

/// How far the next checkpoint is.
#[derive(Debug)]
pub(super) struct Checkpointing {
    /// Payload bytes appended since the last one began.
    log_bytes: u64,
    /// When the first change after the last one was made.
    changed_at: Option<Moment>,
    flushing: Option<Flushing>,
    /// The last applied record, its epoch and place.
    applied: (Sequence, Epoch, Option<Location>),
    /// The last one that is durable.
    durable: Checkpoint,
    synced: Sequence,
}

#[derive(Debug)]
struct Flushing {
    checkpoint: Checkpoint,
}

impl Checkpointing {
    pub(super) fn new(durable: &Checkpoint) -> Checkpointing {
        let at = Location { segment: durable.segment, offset: durable.offset };
        let place = (durable.segment > 0).then_some(at);
        Checkpointing {
            log_bytes: 0,
            changed_at: None,
            flushing: None,
            applied: (Sequence(durable.sequence), Epoch(durable.epoch), place),
            durable: durable.clone(),
            synced: Sequence(durable.synced),
        }
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

    pub(super) fn due_at(&self) -> Option<Moment> {
        match self.flushing {
            Some(_) => None,
            None => self.changed_at.map(|changed_at| changed_at + CHECKPOINT_INTERVAL),
        }
    }

    /// The segment that recovery would begin to read at.
    pub(super) fn segment(&self) -> u32 {
        self.durable.segment
    }
}

/// The checkpoint file of one generation of a replica's index.
pub(super) fn path(folder: &str, generation: u32) -> String {
    format!("{folder}/checkpoint-{generation}")
}

impl Holder {
    pub(super) fn checkpoint_if_due(&mut self) {
        if self.checkpointing.flushing.is_some() || self.failed.is_some() {
            return;
        }
        let now = self.context.world.now();
        let due = self.checkpointing.log_bytes >= CHECKPOINT_LOG_BYTES
            || self.kv.buffered_bytes() >= CHECKPOINT_INDEX_BYTES
            || self.machine.wants_checkpoint()
            || self.checkpointing.due_at().is_some_and(|due| due <= now);
        if due {
            self.begin_checkpoint();
        }
    }

    fn begin_checkpoint(&mut self) {
        let Some((checkpoint, flush)) = self.prepare_checkpoint() else { return };
        let sync = self.log.begin_sync();
        self.checkpointing.flushing = Some(Flushing { checkpoint: checkpoint.clone() });
        let (context, replica) = (self.context.clone(), self.id);
        let (disk, file) = (self.disk.clone(), path(&self.folder, self.stored.generation));
        Counters::add(&context.counters.checkpoints, 1);
        self.context.world.spawn("checkpoint", async move {
            let work = move || {
                let result = sync
                    .run()
                    .map_err(|error| error.to_string())
                    .and_then(|()| flush.run().map_err(|error| error.to_string()))
                    .and_then(|()| {
                        store::write(&disk, &file, &checkpoint).map_err(|e| e.to_string())
                    });
                (flush, result)
            };
            let (flush, result) = context.world.blocking(work).await;
            context.post(NodeEvent::Checkpointed { replica, flush, result });
        });
    }

    /// Freezes what the checkpoint will hold.
    fn prepare_checkpoint(&mut self) -> Option<(Checkpoint, FlushJob)> {
        if let Err(error) = self.machine.checkpoint() {
            self.fail(format!("the index cannot be written: {error}"));
            return None;
        }
        let (sequence, epoch, at) = self.checkpointing.applied;
        let firsts = self.engine.history().firsts().iter();
        let checkpoint = Checkpoint {
            sequence: sequence.0,
            epoch: epoch.0,
            segment: at.map_or(0, |at| at.segment),
            offset: at.map_or(0, |at| at.offset),
            history: firsts.flat_map(|first| [first.epoch.0, first.sequence.0]).collect(),
            synced: self.log.end().0,
            segment_min: self.checkpointing.durable.segment_min,
        };
        self.checkpointing.log_bytes = 0;
        self.checkpointing.changed_at = None;
        self.compaction.checkpoint_begun();
        Some((checkpoint, self.kv.freeze()))
    }

    /// A checkpoint has ended.
    pub fn checkpointed(&mut self, flush: &FlushJob, result: Result<(), String>) {
        let Some(flushing) = self.checkpointing.flushing.take() else { return };
        match result {
            Ok(()) => {
                self.kv.forget_frozen(flush);
                self.compaction.checkpoint_durable();
                self.checkpointing.durable = flushing.checkpoint;
                self.reclaim();
            }
            Err(reason) => self.fail(format!("a checkpoint failed: {reason}")),
        }
    }

    /// Writes a last checkpoint before the process ends, and notes that it did. Blocks.
    pub fn close(mut self) {
        if self.failed.is_some() || self.checkpointing.flushing.is_some() {
            return;
        }
        let Some((checkpoint, flush)) = self.prepare_checkpoint() else { return };
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

    /// Gives back the room of what nobody needs: whole segments, and dead runs within others.
    fn reclaim(&mut self) {
        if self.snapshots.are_busy() {
            return;
        }
        let oldest_kept = self.oldest_segment_kept();
        let pinned = |segment| self.compaction.pins(segment);
        let removed = match &mut self.machine {
            Machine::Data(index) => {
                reclaim_data(&mut self.log, index, oldest_kept, &pinned, &mut self.dead)
            }
            Machine::Namespace(_) => reclaim_namespace(&mut self.log, oldest_kept),
        };
        if let Err(error) = removed {
            tracing::warn!(partition = %self.partition, %error, "cannot give room back");
        }
        let start = self.log.start();
        self.handle(Event::LogStart { start });
        self.compact_if_due(oldest_kept);
    }

    /// The log from here on is kept whole: recovery reads it, and replicas that were away for a
    /// while are brought up from it.
    fn oldest_segment_kept(&self) -> u32 {
        let mut oldest = self.checkpointing.segment();
        let mut kept = 0;
        let logs = self.log.segments().values().rev();
        for segment in logs.filter(|segment| segment.kind() == SegmentKind::Log) {
            if kept >= LOG_KEPT_BYTES {
                break;
            }
            kept += u64::from(segment.length());
            oldest = oldest.min(segment.number());
        }
        oldest
    }
}

/// Removes segments that are in the index.
fn reclaim_namespace(log: &mut Log, oldest_kept: u32) -> Result<(), log::Error> {
    let old: Vec<u32> =
        log.segments().keys().copied().take_while(|number| *number < oldest_kept).collect();
    old.into_iter().try_for_each(|number| log.remove_segment(number))
}

/// Removes dead segments and punches dead runs, as far as the log need not be kept.
fn reclaim_data(
    log: &mut Log,
    index: &mut Index,
    oldest_kept: u32,
    pinned: &dyn Fn(u32) -> bool,
    dead: &mut BTreeMap<u32, Vec<(u64, u64)>>,
) -> Result<(), log::Error> {
    for extent in index.take_dead() {
        let run = (extent.file_offset(), u64::from(extent.length));
        dead.entry(extent.at.segment).or_default().push(run);
    }
    // Base segments are no log: nothing but the index needs them.
    let open_base = log.open_base();
    let may_go = |segment: &&Segment| match segment.kind() {
        SegmentKind::Log => segment.number() < oldest_kept,
        SegmentKind::Base => Some(segment.number()) != open_base,
    };
    let old = log.segments().values().filter(may_go).map(Segment::number);
    let old: Vec<u32> = old.filter(|number| !pinned(*number)).collect();
    for number in old {
        let runs = dead.remove(&number).unwrap_or_default();
        if index.segments().get(&number).is_none_or(|live| *live == 0) {
            log.remove_segment(number)?;
            index.forget_segment(number);
            continue;
        }
        for (offset, length) in join(runs) {
            log.punch(number, offset, length)?;
        }
    }
    Ok(())
}

/// Joins runs that touch.
fn join(mut runs: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    runs.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (offset, length) in runs {
        match joined.last_mut() {
            Some((start, total)) if offset <= *start + *total => {
                *total = (*total).max(offset + length - *start);
            }
            _ => joined.push((offset, length)),
        }
    }
    joined
}
