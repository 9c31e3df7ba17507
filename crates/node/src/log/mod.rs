//! The log of one replica, on a disk.
//!
//! A folder of segment files (see [`partition::log`]). Entries are appended to the newest; nothing
//! is overwritten, except to mend damaged bytes with the very bytes that should be there.
//!
//! What it promises:
//! - an append is there wholly or, after an error, not at all: a torn tail is cut back at once;
//! - recovery yields the longest sound run of records, and says whether anything was cut;
//! - only the newest segment's file may be longer than its records, by zeros (see `segment`);
//! - what it returns was verified against its checksums.
//!
//! What it leaves out: which entries count (the replica engine), and what they mean (the index).

mod recover;
mod segment;
mod sync;
mod syncer;
#[cfg(test)]
mod tests;

pub use recover::{Recovered, Start};
pub use segment::Segment;
pub use sync::{SyncJob, WriteBack};
pub use syncer::Syncer;

use bytes::Bytes;
use partition::log::record::{self, RECORD_HEADER_BYTES, Record, RecordHeader};
use partition::log::{Location, SegmentHeader, segment::SegmentKind};
use partition::replica::Entry;
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use sync::Unsynced;
use types::limits::{
    CHECKSUM_BLOCK_BYTES, LOG_AHEAD_BYTES, LOG_SYNC_LITTLE_BYTES, LOG_WRITE_BACK_BYTES,
    SEGMENT_BYTES,
};
use types::{PartitionId, ReplicaId, Sequence};
use world::{Disk, File};

/// Why the log could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no space left on the disk: {0}")]
    NoSpace(io::Error),
    #[error("the disk failed: {0}")]
    Io(#[from] io::Error),
    #[error("damaged record at segment {} offset {}: {reason}", at.segment, at.offset)]
    Damaged { at: Location, reason: partition::log::record::Malformed },
    #[error("damaged segment {number}: {reason}")]
    DamagedSegment { number: u32, reason: String },
    #[error("sequence {0} is not in the log")]
    Absent(Sequence),
}

impl Error {
    /// Whether there was no room to write something.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        match self {
            Error::NoSpace(_) => true,
            Error::Io(error) => world::disk::is_no_space(error),
            _ => false,
        }
    }

    fn from_write(error: io::Error) -> Error {
        if world::disk::is_no_space(&error) { Error::NoSpace(error) } else { Error::Io(error) }
    }
}

/// The log of one replica.
#[derive(Debug)]
pub struct Log {
    disk: Disk,
    folder: String,
    partition: PartitionId,
    replica: ReplicaId,
    /// By number. Log segments are consecutive runs of the log; base segments are in no order.
    segments: BTreeMap<u32, Segment>,
    /// The log segment that is appended to.
    tail: Option<u32>,
    number_next: u32,
    /// A segment is closed once it is this long.
    segment_bytes: u64,
    /// From here on the log has no holes.
    start: Sequence,
    /// The last record's sequence.
    end: Sequence,
    unsynced: Unsynced,
    /// Bytes of records that came since the last sync began.
    bytes_unsynced: u64,
    /// What should be on its way to the device.
    write_back: Vec<WriteBack>,
    /// The last sync was of little.
    synced_little: bool,
}

impl Log {
    /// A log with nothing in it whose first entry will follow `end`.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn create(
        disk: Disk,
        folder: String,
        (partition, replica): (PartitionId, ReplicaId),
        end: Sequence,
    ) -> Result<Log, Error> {
        disk.create_folder(&folder).map_err(Error::from_write)?;
        let unsynced = Unsynced::default();
        unsynced.note_names();
        Ok(Log {
            disk,
            folder,
            partition,
            replica,
            segments: BTreeMap::new(),
            tail: None,
            number_next: 1,
            segment_bytes: SEGMENT_BYTES,
            start: end.next(),
            end,
            unsynced,
            bytes_unsynced: 0,
            write_back: Vec::new(),
            synced_little: false,
        })
    }

    /// Closes segments once they are this long.
    pub fn set_segment_bytes(&mut self, bytes: u64) {
        self.segment_bytes = bytes.min(SEGMENT_BYTES);
    }

    /// The last record's sequence.
    #[must_use]
    pub fn end(&self) -> Sequence {
        self.end
    }

    /// From here on the log has no holes; the place after the end when the log is empty.
    #[must_use]
    pub fn start(&self) -> Sequence {
        self.start
    }

    /// Where the next record will begin.
    #[must_use]
    pub fn tail(&self) -> Option<Location> {
        let segment = &self.segments[&self.tail?];
        Some(Location { segment: segment.number(), offset: segment.length() })
    }

    /// All segments by number.
    #[must_use]
    pub fn segments(&self) -> &BTreeMap<u32, Segment> {
        &self.segments
    }

    /// Bytes of the disk that all segments take up: what was given back does not count.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.values().map(Segment::allocated).sum()
    }

    /// Appends entries, which must continue the log, and tells where each one begins.
    ///
    /// # Errors
    /// After an error none of them is there.
    pub fn append(
        &mut self,
        entries: &[Entry],
        locations: &mut Vec<Location>,
    ) -> Result<(), Error> {
        let (end_before, tail_before, told_before) = (self.end, self.tail(), locations.len());
        let mut rest = entries;
        while !rest.is_empty() {
            match self.append_some(rest, locations) {
                Ok(count) => rest = &rest[count..],
                Err(error) => {
                    locations.truncate(told_before);
                    self.cut_back(end_before, tail_before)?;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Appends as many entries as belong into the current segment, in one write.
    fn append_some(
        &mut self,
        entries: &[Entry],
        locations: &mut Vec<Location>,
    ) -> Result<usize, Error> {
        self.roll_if_full()?;
        let number = self.tail.expect("there is a segment to append to");
        let segment = self.segments.get_mut(&number).expect("the tail exists");
        let before = segment.length();
        let (count, end) =
            segment.append(self.partition, self.end, entries, locations, self.segment_bytes)?;
        self.end = end;
        self.bytes_unsynced += u64::from(segment.length() - before);
        self.unsynced.note(number, segment.file());
        if segment.length() / LOG_WRITE_BACK_BYTES > before / LOG_WRITE_BACK_BYTES {
            let upto = segment.length() / LOG_WRITE_BACK_BYTES * LOG_WRITE_BACK_BYTES;
            let from = before / LOG_WRITE_BACK_BYTES * LOG_WRITE_BACK_BYTES;
            let (offset, length) = (from.into(), (upto - from).into());
            self.write_back.push(WriteBack { file: segment.file().clone(), offset, length });
        }
        Ok(count)
    }

    /// What was appended of late and should be on its way to the device.
    pub fn take_write_back(&mut self) -> Vec<WriteBack> {
        std::mem::take(&mut self.write_back)
    }

    fn roll_if_full(&mut self) -> Result<(), Error> {
        let full = |number: u32| u64::from(self.segments[&number].length()) >= self.segment_bytes;
        match self.tail {
            Some(number) if !full(number) => return Ok(()),
            Some(number) => {
                let segment = self.segments.get_mut(&number).expect("the tail exists");
                segment.trim()?;
                self.unsynced.note(number, segment.file());
            }
            None => {}
        }
        let number = self.create_segment(SegmentKind::Log, self.end.next())?;
        self.tail = Some(number);
        Ok(())
    }

    fn create_segment(&mut self, kind: SegmentKind, first: Sequence) -> Result<u32, Error> {
        let number = self.number_next;
        let head =
            SegmentHeader { kind, partition: self.partition, replica: self.replica, number, first };
        let path = segment::path(&self.folder, number);
        let segment = match Segment::create(&self.disk, &path, head) {
            Ok(segment) => segment,
            Err(error) => {
                self.disk.remove_if_present(&path)?;
                return Err(error);
            }
        };
        self.number_next += 1;
        self.unsynced.note(number, segment.file());
        self.unsynced.note_names();
        self.segments.insert(number, segment);
        Ok(number)
    }

    /// Takes back what a failed append left behind.
    fn cut_back(&mut self, end: Sequence, tail: Option<Location>) -> Result<(), Error> {
        let keep = tail.map_or(0, |tail| tail.segment);
        let newer: Vec<u32> = self.segments.range(keep + 1..).map(|(number, _)| *number).collect();
        for number in newer {
            if self.segments[&number].kind() == SegmentKind::Log {
                self.delete_segment(number)?;
            }
        }
        if let Some(tail) = tail {
            let segment = self.segments.get_mut(&tail.segment).expect("the tail exists");
            segment.cut(tail.offset)?;
        }
        self.tail = tail.map(|tail| tail.segment);
        self.end = end;
        Ok(())
    }

    /// Removes every record after `after`.
    ///
    /// # Errors
    /// When `after` is before the start of the log, or the disk fails.
    pub fn truncate(&mut self, after: Sequence) -> Result<(), Error> {
        if after >= self.end {
            return Ok(());
        }
        let at = self.locate(after.next())?;
        let number = at.segment;
        let empty = self.segments[&number].first() == after.next();
        let newer = self.segments.range(number + u32::from(!empty)..);
        let newer = newer.filter(|(_, segment)| segment.kind() == SegmentKind::Log);
        let newer: Vec<u32> = newer.map(|(number, _)| *number).collect();
        for number in newer {
            self.delete_segment(number)?;
        }
        if !empty {
            let segment = self.segments.get_mut(&number).expect("it was just found");
            segment.cut(at.offset)?;
            self.unsynced.note(number, segment.file());
        }
        let logs = self.segments.values().filter(|segment| segment.kind() == SegmentKind::Log);
        self.tail = logs.map(Segment::number).max();
        self.end = after;
        Ok(())
    }

    /// The number that the next segment will have.
    #[must_use]
    pub fn number_next(&self) -> u32 {
        self.number_next
    }

    /// Begins anew after `end`: all log segments go, base segments stay.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn reset(&mut self, end: Sequence) -> Result<(), Error> {
        let is_log = |segment: &&Segment| segment.kind() == SegmentKind::Log;
        let logs: Vec<u32> = self.segments.values().filter(is_log).map(Segment::number).collect();
        for number in logs {
            self.delete_segment(number)?;
        }
        self.tail = None;
        self.end = end;
        self.start = end.next();
        Ok(())
    }

    /// Removes a segment's file, of which nobody needs anything. The log then begins after it.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn remove_segment(&mut self, number: u32) -> Result<(), Error> {
        self.begin_after(number);
        self.delete_segment(number)
    }

    /// The log is not whole in this segment any more: it begins with the next one.
    pub fn begin_after(&mut self, number: u32) {
        let is_log = |segment: &Segment| segment.kind() == SegmentKind::Log;
        if !self.segments.get(&number).is_some_and(is_log) {
            return;
        }
        let next = self.segments.range(number + 1..).find(|(_, segment)| is_log(segment));
        let next = next.map_or(self.end.next(), |(_, segment)| segment.first());
        self.start.advance(next);
    }

    fn delete_segment(&mut self, number: u32) -> Result<(), Error> {
        self.disk.remove_if_present(&segment::path(&self.folder, number))?;
        self.segments.remove(&number);
        self.unsynced.forget(number);
        self.unsynced.note_names();
        Ok(())
    }

    /// Reads entries from `from` on, at least one, until their payloads exceed `bytes_max` or the
    /// log ends.
    ///
    /// # Errors
    /// When `from` is not in the log, or a record is damaged.
    pub fn read(&mut self, from: Sequence, bytes_max: usize) -> Result<Vec<Entry>, Error> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        let mut at = self.locate(from)?;
        let mut next = from;
        while next <= self.end && (entries.is_empty() || bytes < bytes_max) {
            let segment = &self.segments[&at.segment];
            if at.offset >= segment.length() {
                at = self.locate(next)?;
                continue;
            }
            let record = segment.read_record(at.offset, self.partition)?;
            if record.header.sequence != next {
                return Err(Error::Absent(next));
            }
            at.offset += record.header.record_bytes();
            let entry = record.into_entry();
            bytes += entry.body.bytes() + RECORD_HEADER_BYTES as usize;
            next = next.next();
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Where the record of `sequence` begins.
    fn locate(&mut self, sequence: Sequence) -> Result<Location, Error> {
        if sequence > self.end || sequence < self.start() {
            return Err(Error::Absent(sequence));
        }
        let partition = self.partition;
        let segment = self
            .segments
            .values_mut()
            .filter(|segment| segment.kind() == SegmentKind::Log && segment.first() <= sequence)
            .max_by_key(|segment| segment.first())
            .ok_or(Error::Absent(sequence))?;
        let offset = segment.find(sequence, partition)?;
        Ok(Location { segment: segment.number(), offset })
    }

    /// Reads one record, and verifies it as far as `parts` of its payload (start and length) go: the
    /// rest may have been given back.
    ///
    /// # Errors
    /// When it is damaged or the disk fails.
    pub fn read_at(&self, at: Location, parts: &[(u32, u32)]) -> Result<Record, Error> {
        self.segment(at.segment)?.read_parts(at.offset, self.partition, parts)
    }

    /// Reads only the header of a record.
    ///
    /// # Errors
    /// When it is damaged or the disk fails.
    pub fn header_at(&self, at: Location) -> Result<RecordHeader, Error> {
        self.segment(at.segment)?.read_header(at.offset, self.partition)
    }

    /// Which record begins at `at`, be it damaged or not; `None` when that cannot be told.
    #[must_use]
    pub fn sequence_at(&self, at: Location) -> Option<Sequence> {
        self.segments.get(&at.segment)?.sequence_at(at.offset, self.partition)
    }

    fn segment(&self, number: u32) -> Result<&Segment, Error> {
        let missing = || Error::DamagedSegment { number, reason: "the file is missing".into() };
        self.segments.get(&number).ok_or_else(missing)
    }

    /// The base segment that copies are appended to, unless it is full.
    #[must_use]
    pub fn open_base(&self) -> Option<u32> {
        let mut segments = self.segments.values();
        let newest = segments.rfind(|segment| segment.kind() == SegmentKind::Base)?;
        (u64::from(newest.length()) < self.segment_bytes).then(|| newest.number())
    }

    /// Writes records that stand in no order (copies from elsewhere) into a base segment.
    ///
    /// # Errors
    /// When the disk is full or fails; some of them may be there then, and nothing refers to them.
    pub fn append_base(&mut self, records: &[Record]) -> Result<Vec<Location>, Error> {
        let mut locations = Vec::with_capacity(records.len());
        for record in records {
            let number = match self.open_base() {
                Some(number) => number,
                None => self.create_segment(SegmentKind::Base, Sequence::ZERO)?,
            };
            let segment = self.segments.get_mut(&number).expect("it was just found or made");
            let offset = segment.length();
            segment.append_record(record)?;
            self.unsynced.note(number, segment.file());
            locations.push(Location { segment: number, offset });
        }
        Ok(locations)
    }

    /// Writes the bytes that should be at a damaged place, copied from a good replica: those blocks of
    /// `good` that are sound. The others were given back there, and may be needed here.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn mend(&mut self, at: Location, good: &Record) -> Result<(), Error> {
        let segment = self.segment(at.segment)?;
        let file = segment.file().clone();
        let header = good.header.encode();
        let mut head = [IoSlice::new(&header), IoSlice::new(&good.key)];
        file.write_at(at.offset.into(), &mut head).map_err(Error::from_write)?;
        let mut offset =
            u64::from(at.offset) + u64::from(RECORD_HEADER_BYTES) + good.key.len() as u64;
        let sound = record::sound_blocks(&good.key, &good.payload);
        for (block, sound) in good.payload.chunks(CHECKSUM_BLOCK_BYTES as usize).zip(sound) {
            if sound {
                file.write_at(offset, &mut [IoSlice::new(block)]).map_err(Error::from_write)?;
            }
            offset += block.len() as u64;
        }
        self.unsynced.note(at.segment, &file);
        Ok(())
    }

    /// What has to be synced for everything up to the end to be durable.
    pub fn begin_sync(&mut self) -> SyncJob {
        let bytes = std::mem::take(&mut self.bytes_unsynced);
        let little = bytes <= LOG_SYNC_LITTLE_BYTES;
        if little && std::mem::replace(&mut self.synced_little, little) {
            self.write_ahead(bytes);
        }
        self.synced_little = little;
        SyncJob {
            disk: self.disk.clone(),
            folder: self.folder.clone(),
            unsynced: self.unsynced.clone(),
            upto: self.end,
        }
    }

    /// Whether a sync ever failed: then the end of the log may be in memory only, for good.
    #[must_use]
    pub fn sync_failed(&self) -> bool {
        self.unsynced.have_failed()
    }

    /// Makes syncs of small records cheaper; see `segment`.
    fn write_ahead(&mut self, bytes: u64) {
        let Some(segment) = self.tail.and_then(|number| self.segments.get_mut(&number)) else {
            return;
        };
        let used_up = u64::from(segment.ahead()) < bytes;
        let full = u64::from(segment.length()) + LOG_AHEAD_BYTES > SEGMENT_BYTES;
        if !used_up || full {
            return;
        }
        let ahead = u32::try_from(LOG_AHEAD_BYTES).expect("less than a segment");
        if let Err(error) = segment.write_ahead(ahead) {
            // It was only for speed. What is there of it needs no care: it is zeros.
            tracing::debug!(partition = %self.partition, %error, "no zeros ahead of the log's end");
            self.synced_little = false;
        }
    }

    /// Takes back the zeros ahead of the end, so that the file ends with the last record.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn trim(&mut self) -> Result<(), Error> {
        let Some(number) = self.tail else { return Ok(()) };
        let segment = self.segments.get_mut(&number).expect("the tail exists");
        if segment.ahead() > 0 {
            segment.trim()?;
            self.unsynced.note(number, segment.file());
        }
        self.synced_little = false;
        Ok(())
    }

    /// A handle to a segment's file, to read from elsewhere.
    ///
    /// # Errors
    /// When the segment is missing.
    pub fn file(&self, number: u32) -> Result<File, Error> {
        Ok(self.segment(number)?.file().clone())
    }

    /// Gives the room of `length` payload bytes that begin at `offset` of a segment back to the file
    /// system, as far as whole blocks allow.
    ///
    /// # Errors
    /// When the disk fails. A file system that cannot is no error.
    pub fn punch(&mut self, number: u32, offset: u64, length: u64) -> Result<(), Error> {
        const BLOCK: u64 = 4096;
        let start = offset.next_multiple_of(BLOCK);
        let end = (offset + length) / BLOCK * BLOCK;
        if start >= end {
            return Ok(());
        }
        self.begin_after(number);
        match self.segments.get_mut(&number) {
            Some(segment) => Ok(segment.punch(start, end - start)?),
            None => Ok(()),
        }
    }
}

/// Builds the bytes of a record, for files of records that are sent elsewhere.
#[must_use]
pub fn encode_record(record: &Record) -> Bytes {
    let mut bytes = Vec::with_capacity(record.header.record_bytes() as usize);
    bytes.extend_from_slice(&record.header.encode());
    bytes.extend_from_slice(&record.key);
    bytes.extend_from_slice(&record.payload);
    bytes.resize(record.header.record_bytes() as usize, 0);
    bytes.into()
}
