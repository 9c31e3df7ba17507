//! Opening a log that was written by an earlier life of the replica.
//!
//! Records up to the checkpoint are not read: the index has them. From there on each record is
//! verified, and the first one that is not sound ends the log. Two things can have happened there:
//! the write was never finished (a torn tail, which is cut), or sound bytes were damaged later. A
//! torn tail is the last thing in the log; if a sound record of the same log follows, and the
//! machine has not lost power since, the bytes were damaged and the log must not be shortened.
//! Where nothing but zeros follows, the log ended in order: they were written ahead of its end.

use super::segment::{Segment, number_of, path};
use super::{Error, Log};
use partition::log::Location;
use partition::log::record::{MAGIC, Record, RecordHeader};
use partition::log::segment::{SEGMENT_HEADER_BYTES, SegmentKind};
use partition::replica::Entry;
use std::collections::BTreeMap;
use types::{Epoch, PartitionId, ReplicaId, Sequence};
use world::Disk;

/// Where recovery begins to read.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The last record that is in the index.
    pub sequence: Sequence,
    /// Its epoch.
    pub epoch: Epoch,
    /// Where the record after it begins; `None` to begin at the first segment.
    pub at: Option<Location>,
    /// Log segments with smaller numbers are left over and removed.
    pub segment_min: u32,
    /// Before this the log may have holes, as far as is known.
    pub log_start: Sequence,
    /// Whether unsynced data may have been lost since the log was written.
    pub power_lost: bool,
}

/// What recovery found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Whether anything was cut off.
    pub cut: bool,
    /// Epoch of the last record.
    pub epoch: Epoch,
}

impl Log {
    /// Opens the log in `folder` and hands every record after the checkpoint to `visit`.
    ///
    /// # Errors
    /// When the log is damaged, or the disk fails.
    pub fn recover(
        disk: Disk,
        folder: String,
        (partition, replica): (PartitionId, ReplicaId),
        start: Start,
        visit: &mut dyn FnMut(Entry, Location),
    ) -> Result<(Log, Recovered), Error> {
        let mut log = Log::create(disk, folder, (partition, replica), start.sequence)?;
        log.open_segments(&start)?;
        let mut walk = Walk { log, start, epoch: start.epoch, cut: false };
        walk.run(visit)?;
        let Walk { mut log, epoch, cut, .. } = walk;
        // Segments with holes are still there, and look whole from outside.
        log.start = log.first_without_holes().max(start.log_start.min(log.end.next()));
        Ok((log, Recovered { cut, epoch }))
    }

    fn open_segments(&mut self, start: &Start) -> Result<(), Error> {
        // Numbers below would be taken for what a snapshot left over, at the next start.
        self.number_next = self.number_next.max(start.segment_min);
        let mut segments = BTreeMap::new();
        for name in self.disk.list(&self.folder)? {
            let Some(number) = number_of(&name) else { continue };
            self.number_next = self.number_next.max(number + 1);
            match Segment::open(&self.disk, &path(&self.folder, number)) {
                Ok(segment) => self.check_head(&segment, number)?,
                // A segment that was begun when the power went, and that nothing refers to.
                Err(Error::DamagedSegment { .. })
                    if start.power_lost && start.at.is_none_or(|at| number > at.segment) =>
                {
                    self.disk.remove(&path(&self.folder, number))?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let segment = Segment::open(&self.disk, &path(&self.folder, number))?;
            if segment.kind() == SegmentKind::Log && number < start.segment_min {
                self.disk.remove(&path(&self.folder, number))?;
                continue;
            }
            segments.insert(number, segment);
        }
        self.segments = segments;
        Ok(())
    }

    /// Where the run of segments that ends with the newest begins. A number that is missing may be
    /// that of a segment that was removed.
    fn first_without_holes(&self) -> Sequence {
        let mut first = self.end.next();
        let mut expected = None;
        for (number, segment) in self.segments.iter().rev() {
            if expected.is_some_and(|expected| expected != *number) {
                break;
            }
            if segment.kind() == SegmentKind::Log {
                first = segment.first();
            }
            expected = Some(number - 1);
        }
        first
    }

    fn check_head(&self, segment: &Segment, number: u32) -> Result<(), Error> {
        let head = segment.head();
        let ours = head.partition == self.partition
            && head.replica == self.replica
            && head.number == number;
        if ours {
            return Ok(());
        }
        let reason = format!(
            "it says it is segment {} of replica {} of partition {}",
            head.number, head.replica, head.partition
        );
        Err(Error::DamagedSegment { number, reason })
    }
}

/// The walk over the records after the checkpoint.
struct Walk {
    log: Log,
    start: Start,
    epoch: Epoch,
    cut: bool,
}

impl Walk {
    fn run(&mut self, visit: &mut dyn FnMut(Entry, Location)) -> Result<(), Error> {
        let first = self.start.at.map_or(0, |at| at.segment);
        let numbers: Vec<u32> = self.log.segments.keys().copied().collect();
        let mut numbers = numbers.into_iter().filter(|number| {
            *number >= first && self.log.segments[number].kind() == SegmentKind::Log
        });
        let numbers: Vec<u32> = numbers.by_ref().collect();
        for number in numbers {
            // Segments are synced in order, so only a loss of power leaves a hole by itself.
            let first = self.log.segments[&number].first();
            if !self.cut && first > self.log.end.next() && !self.start.power_lost {
                let reason = format!("it begins at {first}, and the log ends at {}", self.log.end);
                return Err(Error::DamagedSegment { number, reason });
            }
            // After a cut, whatever comes later continues nothing.
            if self.cut || self.log.segments[&number].first() > self.log.end.next() {
                self.drop_segment(number)?;
                continue;
            }
            self.log.tail = Some(number);
            // The life that wrote it may have died before it synced it.
            self.log.unsynced.note(number, self.log.segments[&number].file());
            let offset = match self.start.at {
                Some(at) if at.segment == number => at.offset,
                _ => SEGMENT_HEADER_BYTES,
            };
            self.walk_segment(number, offset, visit)?;
        }
        if self.log.tail.is_none() {
            let logs = self.log.segments.values().filter(|s| s.kind() == SegmentKind::Log);
            self.log.tail = logs.map(Segment::number).max();
        }
        Ok(())
    }

    fn walk_segment(
        &mut self,
        number: u32,
        mut offset: u32,
        visit: &mut dyn FnMut(Entry, Location),
    ) -> Result<(), Error> {
        let partition = self.log.partition;
        loop {
            let segment = self.log.segments.get_mut(&number).expect("it was listed");
            if offset >= segment.length() {
                segment.set_length(offset);
                return Ok(());
            }
            match segment.read_record(offset, partition) {
                Ok(record) if self.start.at.is_none() && record.header.sequence <= self.log.end => {
                    // Before the checkpoint, whose place in the log is not known.
                    segment.mark(record.header.sequence, offset);
                    offset += record.header.record_bytes();
                }
                Ok(record) if self.continues(&record) => {
                    let segment = self.log.segments.get_mut(&number).expect("it was listed");
                    segment.mark(record.header.sequence, offset);
                    let at = Location { segment: number, offset };
                    offset += record.header.record_bytes();
                    self.epoch = record.header.epoch;
                    self.log.end = record.header.sequence;
                    visit(record.into_entry(), at);
                }
                Err(error @ Error::Io(_)) => return Err(error),
                broken => return self.end_here(number, offset, broken.err()),
            }
        }
    }

    fn continues(&self, record: &Record) -> bool {
        record.header.sequence == self.log.end.next() && record.header.epoch >= self.epoch
    }

    /// The record at `offset` is not sound: cut, or report damage.
    fn end_here(&mut self, number: u32, offset: u32, why: Option<Error>) -> Result<(), Error> {
        let segment = self.log.segments.get_mut(&number).expect("it was listed");
        if segment.is_empty_after(offset)? {
            segment.cut(offset)?;
            self.log.unsynced.note(number, segment.file());
            return Ok(());
        }
        if !self.start.power_lost && self.sound_record_follows(number, offset)? {
            let reason = "sound records follow a damaged one".to_string();
            return Err(why.unwrap_or(Error::DamagedSegment { number, reason }));
        }
        let segment = self.log.segments.get_mut(&number).expect("it was listed");
        segment.cut(offset)?;
        self.log.unsynced.note(number, segment.file());
        self.cut = true;
        Ok(())
    }

    /// Looks for a record of this log after the unsound place.
    fn sound_record_follows(&self, number: u32, offset: u32) -> Result<bool, Error> {
        const STEP: usize = 1 << 20;
        let segment = &self.log.segments[&number];
        let mut at = offset + 8;
        let mut bytes = vec![0; STEP + 64];
        while at < segment.length() {
            let read = segment.file().read_at(at.into(), &mut bytes)?;
            let window = &bytes[..read];
            for start in (0..read.min(STEP)).step_by(8) {
                if window[start..].starts_with(&MAGIC)
                    && let Ok(header) = RecordHeader::decode(&window[start..])
                    && header.partition == self.log.partition
                    && header.sequence > self.log.end.next()
                {
                    return Ok(true);
                }
            }
            at += u32::try_from(STEP).expect("a small step");
        }
        let later = self.log.segments.range(number + 1..);
        Ok(later.into_iter().any(|(_, segment)| {
            segment.kind() == SegmentKind::Log && segment.length() > SEGMENT_HEADER_BYTES
        }))
    }

    fn drop_segment(&mut self, number: u32) -> Result<(), Error> {
        self.cut = true;
        self.log.delete_segment(number)
    }
}
