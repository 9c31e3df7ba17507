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

/// What an index does not point to, as of the moment it was frozen.
#[derive(Debug, Default)]
pub(super) struct Unused {
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
    pub(super) fn list(machine: &mut Machine, log: &Log) -> Unused {
        let Machine::Data(index) = machine else {
            return Unused { segments: log.segments().keys().copied().collect(), runs: Vec::new() };
        };
        // Copies are on their way into the open base segment.
        let open_base = log.open_base();
        let unused = |number: &u32| {
            Some(*number) != open_base && index.segments().get(number).is_none_or(|live| *live == 0)
        };
        let segments = log.segments().keys().copied().filter(unused).collect();
        Unused { segments, runs: index.take_dead() }
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
        let oldest_kept = self.oldest_segment_kept();
        let pinned = |segment| self.compaction.pins(segment);
        let removed = match &mut self.machine {
            Machine::Data(index) => {
                let may_go = closed(&self.log, oldest_kept, &pinned);
                remove_unused(&mut self.log, index, &may_go, &unused.segments)
                    .and_then(|()| punch_dead(&mut self.log, &may_go, &mut self.dead))
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

    /// The log from here on is kept whole: recovery reads it, and replicas that were away for a
    /// while are brought up from it.
    fn oldest_segment_kept(&self) -> u32 {
        let mut oldest = self.checkpointing.segment();
        let mut kept = 0;
        let logs = self.log.segments().values().rev();
        for segment in logs.filter(|segment| segment.kind() == SegmentKind::Log) {
            if kept >= self.context.upkeep.log_kept_bytes {
                break;
            }
            kept += u64::from(segment.length());
            oldest = oldest.min(segment.number());
        }
        oldest
    }
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

fn punch_dead(
    log: &mut Log,
    may_go: &BTreeSet<u32>,
    dead: &mut Dead,
) -> Result<(), log::Error> {
    dead.runs.retain(|number, _| log.segments().contains_key(number));
    let numbers: Vec<u32> =
        dead.runs.keys().copied().filter(|number| may_go.contains(number)).collect();
    for number in numbers {
        for (offset, length) in holes(dead.runs.remove(&number).unwrap_or_default()) {
            log.punch(number, offset, length)?;
        }
    }
    Ok(())
}

/// Where to punch for runs of one segment: runs that touch make one hole.
fn holes(runs: Vec<Extent>) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> =
        runs.iter().map(|run| (run.file_offset(), u64::from(run.length))).collect();
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
