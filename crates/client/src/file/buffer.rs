//! Bytes that were written and are not on their way yet.
//!
//! Segments do not overlap, and none crosses a border of [`RECORD_PAYLOAD_BYTES_MAX`], so each can
//! become one record. Writes that touch are joined.

use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;
use tokio::sync::OwnedSemaphorePermit;
use types::limits::{FILE_DIRTY_BYTES_MAX, RECORD_PAYLOAD_BYTES_MAX};

const WINDOW: u64 = RECORD_PAYLOAD_BYTES_MAX as u64;

/// The buffered segments of one file.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    segments: BTreeMap<u64, Dirty>,
    bytes: usize,
}

/// Holds room for its own bytes and no more: what is overwritten or cut gives its room back at once.
#[derive(Debug)]
struct Dirty {
    bytes: BytesMut,
    /// `None` for what is longer than all the room there is.
    room: Option<OwnedSemaphorePermit>,
}

impl Dirty {
    /// Cuts off everything from `at` on, with its room.
    fn split_off(&mut self, at: usize) -> Dirty {
        let bytes = self.bytes.split_off(at);
        let room = self.room.as_mut().and_then(|room| room.split(bytes.len()));
        Dirty { bytes, room }
    }
}

/// A segment that leaves the buffer.
#[derive(Debug)]
pub(super) struct Segment {
    pub start: u64,
    pub bytes: Bytes,
    /// Frees the client's buffer space when the segment has landed.
    pub room: Option<OwnedSemaphorePermit>,
    /// Space was set aside for it in the volume.
    pub reserved: bool,
}

impl Segment {
    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl Buffer {
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Where the last of it ends; 0 when nothing is buffered.
    pub(super) fn end(&self) -> u64 {
        let last = self.segments.last_key_value();
        last.map_or(0, |(start, dirty)| start + dirty.bytes.len() as u64)
    }

    /// How much is buffered.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts bytes over whatever is buffered in their range.
    pub(super) fn write(&mut self, mut offset: u64, mut bytes: Bytes, room: OwnedSemaphorePermit) {
        let mut room = Some(room);
        while !bytes.is_empty() {
            let border = (offset / WINDOW + 1) * WINDOW;
            let count = usize::try_from(border - offset).expect("small").min(bytes.len());
            let piece = bytes.split_to(count);
            let part = match &mut room {
                Some(whole) if !bytes.is_empty() => whole.split(count),
                rest => rest.take(),
            };
            self.write_piece(offset, piece, part);
            offset += count as u64;
        }
    }

    fn write_piece(&mut self, offset: u64, bytes: Bytes, room: Option<OwnedSemaphorePermit>) {
        let end = offset + bytes.len() as u64;
        let window = offset / WINDOW;
        let before = self.segments.range_mut(..=offset).next_back();
        // The common case: right behind what was written last.
        if let Some((start, dirty)) = before
            && *start / WINDOW == window
            && *start + dirty.bytes.len() as u64 == offset
        {
            let joined = *start;
            dirty.bytes.extend_from_slice(&bytes);
            self.bytes += bytes.len();
            merge(&mut dirty.room, room);
            return self.settle(joined);
        }
        if let Some((start, dirty)) = self.segments.range_mut(..=offset).next_back()
            && *start + dirty.bytes.len() as u64 >= end
        {
            let at = usize::try_from(offset - *start).expect("within a window");
            dirty.bytes[at..at + bytes.len()].copy_from_slice(&bytes);
            return;
        }
        let overlaps = self.segments.range(..end).next_back();
        let overlaps = overlaps.is_some_and(|(start, d)| *start + d.bytes.len() as u64 > offset);
        self.bytes += bytes.len();
        let owned = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        if overlaps {
            self.overwrite(offset, owned, room);
        } else {
            self.segments.insert(offset, Dirty { bytes: owned, room });
        }
    }

    /// Cuts what the segment that grew at `start` now covers.
    fn settle(&mut self, start: u64) {
        let end = start + self.segments[&start].bytes.len() as u64;
        let next = self.segments.range(start + 1..end).next().map(|(next, _)| *next);
        if next.is_some() {
            let dirty = self.segments.remove(&start).expect("it was just extended");
            self.overwrite(start, dirty.bytes, dirty.room);
        }
    }

    /// Puts a segment over several others.
    fn overwrite(&mut self, start: u64, bytes: BytesMut, room: Option<OwnedSemaphorePermit>) {
        let end = start + bytes.len() as u64;
        let mut starts: Vec<u64> = self.segments.range(start..end).map(|(at, _)| *at).collect();
        if let Some((at, dirty)) = self.segments.range(..start).next_back()
            && at + dirty.bytes.len() as u64 > start
        {
            starts.push(*at);
        }
        for at in starts {
            let mut old = self.segments.remove(&at).expect("it was just found");
            let old_end = at + old.bytes.len() as u64;
            self.bytes -= old.bytes.len();
            if old_end > end {
                let keep = old.split_off(usize::try_from(end - at).expect("in a window"));
                self.bytes += keep.bytes.len();
                self.segments.insert(end, keep);
            }
            if at < start {
                drop(old.split_off(usize::try_from(start - at).expect("in a window")));
                self.bytes += old.bytes.len();
                self.segments.insert(at, old);
            }
        }
        self.segments.insert(start, Dirty { bytes, room });
    }

    /// Takes the segments that should be on their way: full ones, and all when much is buffered.
    pub(super) fn take_ready(&mut self) -> Vec<Segment> {
        if self.bytes > FILE_DIRTY_BYTES_MAX {
            return self.take_all();
        }
        let mut ready = Vec::new();
        if self.bytes >= RECORD_PAYLOAD_BYTES_MAX as usize {
            let full = |dirty: &Dirty| dirty.bytes.len() == RECORD_PAYLOAD_BYTES_MAX as usize;
            let starts: Vec<u64> =
                self.segments.iter().filter(|(_, d)| full(d)).map(|(at, _)| *at).collect();
            for start in starts {
                ready.push(self.take(start));
            }
        }
        ready
    }

    /// Takes everything.
    pub(super) fn take_all(&mut self) -> Vec<Segment> {
        let starts: Vec<u64> = self.segments.keys().copied().collect();
        starts.into_iter().map(|start| self.take(start)).collect()
    }

    /// Drops what is buffered past `size`; returns how much that was.
    pub(super) fn truncate(&mut self, size: u64) -> usize {
        let before = self.bytes;
        for segment in self.take_all() {
            if segment.start >= size {
                continue;
            }
            let Segment { start, bytes, room, .. } = segment;
            let bytes = bytes.try_into_mut().unwrap_or_else(|bytes| BytesMut::from(&bytes[..]));
            let mut dirty = Dirty { bytes, room };
            let keep = usize::try_from(size - start).unwrap_or(usize::MAX);
            drop(dirty.split_off(keep.min(dirty.bytes.len())));
            self.bytes += dirty.bytes.len();
            self.segments.insert(start, dirty);
        }
        before - self.bytes
    }

    /// Whether anything of a range is buffered.
    pub(super) fn overlaps(&self, start: u64, end: u64) -> bool {
        let before = self.segments.range(..end).next_back();
        before.is_some_and(|(at, dirty)| at + dirty.bytes.len() as u64 > start)
    }

    fn take(&mut self, start: u64) -> Segment {
        let dirty = self.segments.remove(&start).expect("the caller saw it");
        self.bytes -= dirty.bytes.len();
        Segment { start, bytes: dirty.bytes.freeze(), room: dirty.room, reserved: true }
    }
}

fn merge(into: &mut Option<OwnedSemaphorePermit>, more: Option<OwnedSemaphorePermit>) {
    match (into.as_mut(), more) {
        (Some(into), Some(more)) => into.merge(more),
        (None, more) => *into = more,
        (Some(_), None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;
    use tokio::sync::Semaphore;

    proptest! {
        /// Against a plain array of bytes.
        #[test]
        fn what_was_written_last_is_what_is_taken(
            writes in proptest::collection::vec((0u64..300, 1usize..80), 1..40)
        ) {
            let base = WINDOW - 150; // so that a border lies in the middle
            let semaphore = Arc::new(Semaphore::new(1 << 20));
            let (mut buffer, mut model) = (Buffer::default(), [0u8; 400]);
            for (tag, (offset, length)) in (1u8..).zip(writes) {
                let permit = u32::try_from(length).unwrap();
                let room = semaphore.clone().try_acquire_many_owned(permit).unwrap();
                buffer.write(base + offset, vec![tag; length].into(), room);
                model[offset as usize..offset as usize + length].fill(tag);
                prop_assert_eq!(buffer.bytes(), model.iter().filter(|tag| **tag > 0).count());
                let held = (1 << 20) - semaphore.available_permits();
                prop_assert_eq!(held, buffer.bytes(), "room is held for what is buffered only");
            }
            let (mut seen, mut end) = ([0u8; 400], 0);
            for segment in buffer.take_all() {
                prop_assert!(segment.start >= end, "segments overlap");
                prop_assert_eq!(segment.start / WINDOW, (segment.end() - 1) / WINDOW);
                end = segment.end();
                let at = usize::try_from(segment.start - base).unwrap();
                seen[at..at + segment.bytes.len()].copy_from_slice(&segment.bytes);
            }
            prop_assert_eq!(seen, model);
            prop_assert_eq!(buffer.bytes, 0);
            prop_assert_eq!(semaphore.available_permits(), 1 << 20, "all room was given back");
        }
    }
}
