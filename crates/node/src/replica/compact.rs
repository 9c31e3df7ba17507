//! Rewriting segments in which little is alive: the shell around `partition::extent::compact`.
//!
//! ```text
//! idle -- a checkpoint was made, a segment is worth it --> copying
//!   ^                                                        |  a task reads live records, a batch
//!   |                                                        |  at a time; the loop appends them to
//!   |                                                        |  a base segment and points to them
//!   +---------------- everything was looked at --------------+
//! ```
//!
//! The order matters: where the copies are is no part of the log, so until a checkpoint has made it
//! durable a restart would look for the bytes in the old segment. A segment from which something
//! was copied is *pinned* until a checkpoint that began after the copying has ended; only then may
//! it be removed.
//!
//! Copying is throttled, and it is given up at the first damage: that is mended first.

use super::{Holder, Machine};
use crate::context::Counters;
use crate::run::NodeEvent;
use partition::extent::command::{DATA_KEY_BYTES, KIND_WRITE};
use partition::extent::compact::{Candidate, choose};
use partition::extent::{DataKey, Frozen, Piece};
use partition::kv::Kv;
use partition::log::Location;
use partition::log::record::{RECORD_HEADER_BYTES, Record, RecordHeader};
use partition::log::segment::{SEGMENT_HEADER_BYTES, SegmentKind};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::oneshot;
use types::PartitionId;
use types::limits::{COMPACTION_BATCH_BYTES, COMPACTION_BYTES_PER_SECOND};
use world::File;

/// What is being rewritten, and what must stay for it.
#[derive(Debug, Default)]
pub(super) struct Compaction {
    /// The segment that is being read.
    copying: Option<u32>,
    pins: BTreeMap<u32, Pin>,
    /// What was alive in segments that copies were written to.
    filled: BTreeMap<u32, u64>,
}

/// Why a segment must stay although nothing points into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pin {
    /// Records are copied from it.
    Copying,
    /// The index points to the copies, in memory.
    Moved,
    /// A checkpoint that says so is being made.
    Freezing,
}

/// Live records of a segment, and what of each is alive.
#[derive(Debug)]
pub struct Batch {
    segment: u32,
    records: Vec<(Record, Vec<Piece>)>,
    /// Learns whether to go on.
    go_on: oneshot::Sender<bool>,
}

/// How far the reading is.
#[derive(Debug)]
pub enum Progress {
    Batch(Batch),
    End { segment: u32, result: Result<(), String> },
}

impl Compaction {
    /// Whether a segment must not be removed yet.
    pub(super) fn pins(&self, segment: u32) -> bool {
        self.pins.contains_key(&segment)
    }

    /// A checkpoint begins that will know of everything that was moved so far.
    pub(super) fn checkpoint_begun(&mut self) {
        for pin in self.pins.values_mut().filter(|pin| **pin == Pin::Moved) {
            *pin = Pin::Freezing;
        }
    }

    /// That checkpoint is durable.
    pub(super) fn checkpoint_durable(&mut self) {
        self.pins.retain(|_, pin| *pin != Pin::Freezing);
    }

    /// The index was replaced by another one, which points to nothing of this.
    pub(super) fn forget(&mut self) {
        *self = Compaction::default();
    }
}

impl Holder {
    /// Begins to rewrite a segment, when one is worth it and nothing else goes on.
    pub(super) fn compact_if_due(&mut self, oldest_kept: u32) {
        let busy = self.compaction.copying.is_some() || self.snapshots.are_busy();
        let Machine::Data(index) = &self.machine else { return };
        if busy || self.failed.is_some() || self.damages.are_there() {
            return;
        }
        let known = self.log.segments();
        self.compaction.filled.retain(|number, _| known.contains_key(number));
        let open_base = self.log.open_base();
        let candidates = self.log.segments().values().filter_map(|segment| {
            let number = segment.number();
            let closed = match segment.kind() {
                SegmentKind::Log => number < oldest_kept,
                SegmentKind::Base => Some(number) != open_base,
            };
            let candidate = Candidate {
                number,
                length: segment.length().into(),
                live: index.segments().get(&number).copied().unwrap_or(0),
                filled: self.compaction.filled.get(&number).copied(),
            };
            (closed && !self.compaction.pins(number)).then_some(candidate)
        });
        let Some(segment) = choose(candidates) else { return };
        if let Err(reason) = self.start_compaction(segment) {
            tracing::warn!(partition = %self.partition, segment, reason, "cannot compact");
        }
    }

    fn start_compaction(&mut self, segment: u32) -> Result<(), String> {
        self.machine.checkpoint().map_err(|error| error.to_string())?;
        let walk = Walk {
            file: self.log.file(segment).map_err(|error| error.to_string())?,
            partition: self.partition,
            segment,
            offset: SEGMENT_HEADER_BYTES,
            length: self.log.segments()[&segment].length(),
            frozen: Frozen::new(self.kv.snapshot()),
        };
        self.compaction.copying = Some(segment);
        self.compaction.pins.insert(segment, Pin::Copying);
        Counters::add(&self.context.counters.compactions, 1);
        let (context, replica) = (self.context.clone(), self.id);
        self.context.world.spawn("compact", async move {
            let post = |progress| context.post(NodeEvent::Compacted { replica, progress });
            let result = walk.run(&context.world, &post).await;
            post(Progress::End { segment, result });
        });
        Ok(())
    }

    /// The task that reads a segment has something.
    pub fn compacted(&mut self, progress: Progress) {
        match progress {
            Progress::Batch(batch) => {
                let current = self.compaction.copying == Some(batch.segment);
                let copied = current && self.failed.is_none() && self.copy(&batch.records);
                let _ = batch.go_on.send(copied);
            }
            Progress::End { segment, .. } if self.compaction.copying != Some(segment) => {}
            Progress::End { segment, result } => {
                self.compaction.copying = None;
                self.compaction.pins.insert(segment, Pin::Moved);
                let left = match &self.machine {
                    Machine::Data(index) => index.segments().get(&segment).copied(),
                    Machine::Namespace(_) => None,
                };
                if let Err(reason) = result {
                    tracing::warn!(partition = %self.partition, segment, reason, "compaction");
                }
                tracing::debug!(partition = %self.partition, segment, ?left, "segment compacted");
            }
        }
    }

    /// Copies records and points the index to the copies; says whether to go on.
    fn copy(&mut self, records: &[(Record, Vec<Piece>)]) -> bool {
        let Machine::Data(index) = &mut self.machine else { return false };
        let copies: Vec<Record> = records.iter().map(|(record, _)| record.clone()).collect();
        let locations = match self.log.append_base(&copies) {
            Ok(locations) => locations,
            Err(error) => {
                tracing::warn!(partition = %self.partition, %error, "cannot copy records");
                self.note_refused(&error.into());
                return false;
            }
        };
        for ((record, pieces), to) in records.iter().zip(locations) {
            // A record whose key does not decode was not among those with live pieces.
            let Ok(key) = DataKey::decode(&record.key) else { continue };
            for piece in pieces {
                match index.relocate(key.object, piece, to) {
                    Ok(moved) => {
                        let bytes = if moved { u64::from(piece.extent.length) } else { 0 };
                        *self.compaction.filled.entry(to.segment).or_default() += bytes;
                        Counters::add(&self.context.counters.compacted_bytes, bytes);
                    }
                    Err(error) => {
                        self.fail_index(&error.into());
                        return false;
                    }
                }
            }
        }
        // What was moved is in no log: only a checkpoint makes it durable.
        self.checkpointing.note_moved(self.context.world.now());
        true
    }
}

/// A segment that is read from its first record to its last.
struct Walk {
    file: File,
    partition: PartitionId,
    segment: u32,
    offset: u32,
    length: u32,
    frozen: Frozen,
}

impl Walk {
    async fn run(
        mut self,
        world: &world::World,
        post: &(dyn Fn(Progress) + Sync),
    ) -> Result<(), String> {
        while self.offset < self.length {
            let read = move || {
                let records = self.read();
                (self, records)
            };
            let (walk, records) = world.blocking(read).await;
            self = walk;
            let records = records?;
            let bytes: usize = records.iter().map(|(record, _)| record.payload.len()).sum();
            if records.is_empty() {
                continue;
            }
            let (go_on, answer) = oneshot::channel();
            post(Progress::Batch(Batch { segment: self.segment, records, go_on }));
            if !answer.await.unwrap_or(false) {
                return Err("it was given up".into());
            }
            let nanoseconds = bytes as u64 * 1_000_000_000 / COMPACTION_BYTES_PER_SECOND;
            world.sleep(Duration::from_nanos(nanoseconds)).await;
        }
        Ok(())
    }

    /// Reads on until a batch of live records is full, or the segment ends.
    fn read(&mut self) -> Result<Vec<(Record, Vec<Piece>)>, String> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        while self.offset < self.length && bytes < COMPACTION_BATCH_BYTES {
            let at = Location { segment: self.segment, offset: self.offset };
            let mut head = [0; RECORD_HEADER_BYTES as usize + DATA_KEY_BYTES];
            let read = self.file.read_at(at.offset.into(), &mut head).map_err(text)?;
            let header = RecordHeader::decode(&head[..read]).map_err(text)?;
            let length = header.record_bytes();
            self.offset = at.offset.checked_add(length).ok_or("a record without an end")?;
            let Ok(key) = DataKey::decode(&head[RECORD_HEADER_BYTES as usize..read]) else {
                continue;
            };
            if header.kind != KIND_WRITE {
                continue;
            }
            let live = self.frozen.live(&key, at).map_err(text)?;
            if live.is_empty() {
                continue;
            }
            let mut record = vec![0; length as usize];
            self.file.read_at(at.offset.into(), &mut record).map_err(text)?;
            // What is dead of it may have been given back already.
            let parts: Vec<(u32, u32)> =
                live.iter().map(|piece| (piece.extent.skip, piece.extent.length)).collect();
            let record =
                Record::decode_parts(&record.into(), self.partition, &parts).map_err(text)?;
            bytes += record.payload.len();
            records.push((record, live));
        }
        Ok(records)
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::reclaim::tests::{Store, WHOSE};

    /// A record of which part had been overwritten and given back counted as damaged, and so nothing
    /// of its segment was ever copied.
    #[test]
    fn a_segment_with_holes_can_be_copied() {
        let mut store = Store::new();
        store.overwrite(40, |_| {});
        let mut copied = 0;
        for segment in store.log.segments().values() {
            let mut walk = Walk {
                file: store.log.file(segment.number()).unwrap(),
                partition: WHOSE.0,
                segment: segment.number(),
                offset: SEGMENT_HEADER_BYTES,
                length: segment.length(),
                frozen: Frozen::new(store.kv.snapshot()),
            };
            while walk.offset < walk.length {
                copied += walk.read().expect("nothing is damaged").len();
            }
        }
        assert!(copied > 5, "{copied} records are alive");
    }
}
