//! One segment file.
//!
//! ```text
//! 0      64                       length           written
//! | head | records ...............| zeros .........|
//! ```
//!
//! A log that is synced after every few small records has zeros written ahead of its end. A record
//! that replaces zeros changes neither the length of the file nor where its blocks are, so a sync of
//! it is one flush of the device and needs no transaction of the file system, which takes several
//! times as long. Nothing is ever written there but zeros, and a cut takes them away too: what is
//! read past the end is a record of this log, or nothing.

use super::Error;
use bytes::{Bytes, BytesMut};
use partition::log::record::{Malformed, RECORD_HEADER_BYTES, Record, RecordHeader};
use partition::log::segment::{SEGMENT_HEADER_BYTES, SegmentKind};
use partition::log::{Location, SegmentHeader};
use partition::replica::Entry;
use std::io::{self, IoSlice};
use types::{PartitionId, Sequence};
use world::{Disk, File};

/// Every so many records the place of one is remembered.
const MARK_EVERY: u64 = 64;
const PADDING: [u8; 8] = [0; 8];
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// An open segment.
#[derive(Debug)]
pub struct Segment {
    head: SegmentHeader,
    file: File,
    length: u32,
    /// Up to here the file was written, with zeros after `length`; never less than that.
    written: u32,
    /// Bytes of it that were given back to the file system.
    holes: u64,
    /// Places of some records, ascending, to find others from.
    marks: Vec<(Sequence, u32)>,
}

/// The file of a segment.
#[must_use]
pub(super) fn path(folder: &str, number: u32) -> String {
    format!("{folder}/{number:08x}.segment")
}

/// The number in a segment's file name.
#[must_use]
pub(super) fn number_of(name: &str) -> Option<u32> {
    u32::from_str_radix(name.strip_suffix(".segment")?, 16).ok()
}

impl Segment {
    pub(super) fn create(disk: &Disk, path: &str, head: SegmentHeader) -> Result<Segment, Error> {
        let file = disk.create(path).map_err(Error::from_write)?;
        file.write_at(0, &mut [IoSlice::new(&head.encode())]).map_err(Error::from_write)?;
        let length = SEGMENT_HEADER_BYTES;
        Ok(Segment { head, file, length, written: length, holes: 0, marks: Vec::new() })
    }

    pub(super) fn open(disk: &Disk, path: &str) -> Result<Segment, Error> {
        let file = disk.open(path)?;
        let length = u32::try_from(file.len()?).map_err(io::Error::other)?;
        let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
        let read = file.read_at(0, &mut bytes)?;
        let head = SegmentHeader::decode(&bytes[..read]).map_err(|reason| {
            let number = path.rsplit('/').next().and_then(number_of).unwrap_or(0);
            Error::DamagedSegment { number, reason: reason.to_string() }
        })?;
        let holes = u64::from(length).saturating_sub(file.allocated()?);
        Ok(Segment { head, file, length, written: length, holes, marks: Vec::new() })
    }

    /// Its number, which names its file.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.head.number
    }

    /// What its records are.
    #[must_use]
    pub fn kind(&self) -> SegmentKind {
        self.head.kind
    }

    /// Sequence of its first record.
    #[must_use]
    pub fn first(&self) -> Sequence {
        self.head.first
    }

    /// Where the next record would begin.
    #[must_use]
    pub fn length(&self) -> u32 {
        self.length
    }

    /// Bytes of the disk that it takes up, about.
    #[must_use]
    pub fn allocated(&self) -> u64 {
        u64::from(self.length).saturating_sub(self.holes)
    }

    /// Gives a range back to the file system. A file system that cannot is no error.
    pub(super) fn punch(&mut self, offset: u64, length: u64) -> io::Result<()> {
        match self.file.punch(offset, length) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
            result => {
                result?;
                self.holes += length;
                Ok(())
            }
        }
    }

    pub(super) fn head(&self) -> &SegmentHeader {
        &self.head
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Appends entries until the segment is `full_at` bytes long; returns how many, and the new end of the log.
    pub(super) fn append(
        &mut self,
        partition: PartitionId,
        mut end: Sequence,
        entries: &[Entry],
        locations: &mut Vec<Location>,
        full_at: u64,
    ) -> Result<(usize, Sequence), Error> {
        let mut headers = Vec::with_capacity(entries.len());
        let mut length = self.length;
        for entry in entries {
            assert!(entry.sequence == end.next(), "an append continues the log");
            if !headers.is_empty() && u64::from(length) >= full_at {
                break;
            }
            end = entry.sequence;
            let header = RecordHeader::of(partition, entry);
            locations.push(Location { segment: self.head.number, offset: length });
            length += header.record_bytes();
            headers.push((header, header.encode()));
        }
        let mut parts = Vec::with_capacity(headers.len() * 4);
        for ((header, bytes), entry) in headers.iter().zip(entries) {
            let unpadded = RECORD_HEADER_BYTES + header.key_bytes + header.payload_bytes;
            let padding = (header.record_bytes() - unpadded) as usize;
            parts.extend([IoSlice::new(bytes), IoSlice::new(&entry.body.key)]);
            parts.push(IoSlice::new(&entry.body.payload));
            parts.push(IoSlice::new(&PADDING[..padding]));
        }
        parts.retain(|part| !part.is_empty());
        self.file.write_at(self.length.into(), &mut parts).map_err(Error::from_write)?;
        let count = headers.len();
        let at = &locations[locations.len() - count..];
        for (location, entry) in at.iter().zip(entries) {
            self.mark(entry.sequence, location.offset);
        }
        self.length = length;
        self.written = self.written.max(length);
        Ok((count, end))
    }

    pub(super) fn append_record(&mut self, record: &Record) -> Result<(), Error> {
        let bytes = super::encode_record(record);
        let written = self.file.write_at(self.length.into(), &mut [IoSlice::new(&bytes)]);
        if let Err(error) = written {
            self.file.set_len(self.length.into())?;
            return Err(Error::from_write(error));
        }
        self.length += record.header.record_bytes();
        self.written = self.written.max(self.length);
        Ok(())
    }

    /// Remembers the place of a record now and then.
    pub(super) fn mark(&mut self, sequence: Sequence, offset: u32) {
        let due = self.marks.last().is_none_or(|(last, _)| sequence.0 >= last.0 + MARK_EVERY);
        if due {
            self.marks.push((sequence, offset));
        }
    }

    pub(super) fn set_length(&mut self, length: u32) {
        self.length = length;
        self.written = self.written.max(length);
    }

    /// Bytes after the end that the next records may replace.
    pub(super) fn ahead(&self) -> u32 {
        self.written - self.length
    }

    /// Writes zeros until there are `ahead` bytes of them after the end.
    pub(super) fn write_ahead(&mut self, ahead: u32) -> Result<(), Error> {
        let until = self.length + ahead;
        let missing = until.saturating_sub(self.written) as usize;
        let whole = std::iter::repeat_n(&ZEROS[..], missing / ZEROS.len());
        let mut parts: Vec<IoSlice<'_>> =
            whole.chain([&ZEROS[..missing % ZEROS.len()]]).map(IoSlice::new).collect();
        parts.retain(|part| !part.is_empty());
        self.file.write_at(self.written.into(), &mut parts).map_err(Error::from_write)?;
        self.written = self.written.max(until);
        Ok(())
    }

    /// Takes back the zeros after the end.
    pub(super) fn trim(&mut self) -> Result<(), Error> {
        self.cut(self.length)
    }

    /// Whether everything from `offset` on is zeros.
    pub(super) fn is_empty_after(&self, offset: u32) -> Result<bool, Error> {
        let mut bytes = vec![0; ZEROS.len()];
        let mut at = u64::from(offset);
        loop {
            let read = self.file.read_at(at, &mut bytes)?;
            if bytes[..read] != ZEROS[..read] {
                return Ok(false);
            }
            if read < bytes.len() {
                return Ok(true);
            }
            at += read as u64;
        }
    }

    /// Cuts the file back to `length`.
    pub(super) fn cut(&mut self, length: u32) -> Result<(), Error> {
        self.file.set_len(length.into())?;
        self.length = length;
        self.written = length;
        // What may be cut is the log's end, and that is kept whole.
        self.holes = 0;
        self.marks.retain(|(_, offset)| *offset < length);
        Ok(())
    }

    /// Where the record of `sequence`, which must be here, begins.
    pub(super) fn find(
        &mut self,
        sequence: Sequence,
        partition: PartitionId,
    ) -> Result<u32, Error> {
        let after = self.marks.partition_point(|(marked, _)| *marked <= sequence);
        let start = (self.head.first, SEGMENT_HEADER_BYTES);
        let (mut at, mut offset) = if after == 0 { start } else { self.marks[after - 1] };
        while at < sequence {
            let header = self.read_header(offset, partition)?;
            if header.sequence != at {
                return Err(Error::Absent(sequence));
            }
            offset += header.record_bytes();
            at = at.next();
        }
        Ok(offset)
    }

    /// Which record begins at `offset`, be it damaged or not; `None` when that cannot be told.
    pub(super) fn sequence_at(&self, offset: u32, partition: PartitionId) -> Option<Sequence> {
        if let Ok(header) = self.read_header(offset, partition) {
            return Some(header.sequence);
        }
        if self.head.kind != SegmentKind::Log {
            return None;
        }
        // Log segments are runs without holes: those before tell.
        let after = self.marks.partition_point(|(_, marked)| *marked <= offset);
        let start = (self.head.first, SEGMENT_HEADER_BYTES);
        let (mut sequence, mut at) = if after == 0 { start } else { self.marks[after - 1] };
        while at < offset {
            at += self.read_header(at, partition).ok()?.record_bytes();
            sequence = sequence.next();
        }
        (at == offset).then_some(sequence)
    }

    pub(super) fn read_header(
        &self,
        offset: u32,
        partition: PartitionId,
    ) -> Result<RecordHeader, Error> {
        let damaged = |reason| Error::Damaged { at: self.at(offset), reason };
        let mut bytes = [0; RECORD_HEADER_BYTES as usize];
        let read = self.file.read_at(offset.into(), &mut bytes)?;
        let header = RecordHeader::decode(&bytes[..read]).map_err(damaged)?;
        if header.partition != partition {
            return Err(damaged(Malformed::Partition(header.partition)));
        }
        Ok(header)
    }

    pub(super) fn read_record(&self, offset: u32, partition: PartitionId) -> Result<Record, Error> {
        let bytes = self.read_bytes(offset, partition)?;
        Record::decode(&bytes, partition)
            .map_err(|reason| Error::Damaged { at: self.at(offset), reason })
    }

    pub(super) fn read_parts(
        &self,
        offset: u32,
        partition: PartitionId,
        parts: &[(u32, u32)],
    ) -> Result<Record, Error> {
        let bytes = self.read_bytes(offset, partition)?;
        Record::decode_parts(&bytes, partition, parts)
            .map_err(|reason| Error::Damaged { at: self.at(offset), reason })
    }

    fn read_bytes(&self, offset: u32, partition: PartitionId) -> Result<Bytes, Error> {
        let header = self.read_header(offset, partition)?;
        let mut bytes = BytesMut::zeroed(header.record_bytes() as usize);
        let read = self.file.read_at(offset.into(), &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes.freeze())
    }

    fn at(&self, offset: u32) -> Location {
        Location { segment: self.head.number, offset }
    }
}
