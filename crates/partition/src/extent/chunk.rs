//! The extents of one chunk.
//!
//! As a value (version 1), little-endian:
//!
//! ```text
//! 0  1  version
//! 1     for each extent: start, length, segment, offset, payload length, skip (4 bytes each)
//! ```

use super::command::DATA_KEY_BYTES;
use crate::log::Location;
use crate::log::record::RECORD_HEADER_BYTES;
use std::collections::BTreeMap;
use std::ops::Range;
use types::limits::CHECKSUM_BLOCK_BYTES;

const VERSION: u8 = 1;
const EXTENT_BYTES: usize = 24;

/// A run of a chunk's bytes that lies in one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Offset in the chunk.
    pub start: u32,
    pub length: u32,
    /// The record.
    pub at: Location,
    /// Length of the record's whole payload, from which the place of its checksums follows.
    pub payload_bytes: u32,
    /// Where in the payload the run begins.
    pub skip: u32,
}

impl Extent {
    /// Where the run ends in the chunk.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.start + self.length
    }

    /// Where the run's bytes begin in their segment.
    #[must_use]
    pub fn file_offset(&self) -> u64 {
        let blocks = self.payload_bytes.div_ceil(CHECKSUM_BLOCK_BYTES);
        let payload = RECORD_HEADER_BYTES + DATA_KEY_BYTES as u32 + blocks * 4;
        u64::from(self.at.offset) + u64::from(payload) + u64::from(self.skip)
    }

    /// The part of the run that lies in `range`, which must overlap it.
    fn part(&self, range: &Range<u32>) -> Extent {
        let start = self.start.max(range.start);
        let end = self.end().min(range.end);
        assert!(start < end, "the range overlaps the run");
        let skip = self.skip + (start - self.start);
        Extent { start, length: end - start, skip, ..*self }
    }
}

/// All extents of a chunk, disjoint, by their start. A chunk that was written at random places has
/// thousands of them, so none may have to move for another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkMap {
    extents: BTreeMap<u32, Extent>,
}

/// Why a value is not a chunk map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("chunk map version {0} is not known to this build, which knows {VERSION}")]
    Version(u8),
    #[error("the value's length is not that of a chunk map")]
    Length,
    #[error("extents overlap, or are not ascending")]
    Order,
}

impl ChunkMap {
    /// Puts `extent` over whatever was in its range, and tells what that was.
    pub fn insert(&mut self, extent: Extent, displaced: &mut Vec<Extent>) {
        assert!(extent.length > 0, "an extent holds something");
        self.cut(extent.start..extent.end(), displaced);
        self.extents.insert(extent.start, extent);
    }

    /// Empties `range`, and tells what was in it.
    pub fn trim(&mut self, range: Range<u32>, displaced: &mut Vec<Extent>) {
        self.cut(range, displaced);
    }

    /// Points the run that `old` describes to another record, if it is still exactly there.
    pub fn relocate(&mut self, old: &Extent, to: Location) -> bool {
        match self.extents.get_mut(&old.start) {
            Some(extent) if extent == old => extent.at = to,
            _ => return false,
        }
        true
    }

    /// The runs that overlap `range`, cut to it.
    pub fn find(&self, range: Range<u32>) -> impl Iterator<Item = Extent> + '_ {
        self.find_whole(range.clone()).map(move |extent| extent.part(&range))
    }

    /// The runs that overlap `range`, whole.
    pub fn find_whole(&self, range: Range<u32>) -> impl Iterator<Item = Extent> + '_ {
        // Nothing overlaps a range of nothing, be it in the middle of a run.
        let end = if range.is_empty() { 0 } else { range.end };
        self.extents
            .range(self.first(range.start)..)
            .map(|(_, extent)| *extent)
            .take_while(move |extent| extent.start < end)
    }

    /// From where on to look for what ends after `start`.
    fn first(&self, start: u32) -> u32 {
        let before = self.extents.range(..start).next_back();
        before.filter(|(_, extent)| extent.end() > start).map_or(start, |(at, _)| *at)
    }

    /// Every extent, ascending.
    pub fn extents(&self) -> impl Iterator<Item = &Extent> {
        self.extents.values()
    }

    /// Whether the chunk holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.extents.is_empty()
    }

    /// Bytes the chunk holds.
    #[must_use]
    pub fn allocated(&self) -> u64 {
        self.extents().map(|extent| u64::from(extent.length)).sum()
    }

    /// Empties `range`: what reaches over its ends keeps the rest.
    fn cut(&mut self, range: Range<u32>, displaced: &mut Vec<Extent>) {
        if range.is_empty() {
            return;
        }
        let mut at = self.first(range.start);
        while let Some((&start, &extent)) = self.extents.range(at..range.end).next() {
            displaced.push(extent.part(&range));
            if start < range.start {
                self.extents.insert(start, extent.part(&(start..range.start)));
            } else {
                self.extents.remove(&start);
            }
            if extent.end() > range.end {
                self.extents.insert(range.end, extent.part(&(range.end..extent.end())));
            }
            at = extent.end();
            if at >= range.end {
                break;
            }
        }
    }

    /// As a value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + self.extents.len() * EXTENT_BYTES);
        bytes.push(VERSION);
        for extent in self.extents() {
            let Location { segment, offset } = extent.at;
            let fields = [extent.start, extent.length, segment, offset];
            let fields = fields.into_iter().chain([extent.payload_bytes, extent.skip]);
            bytes.extend(fields.flat_map(u32::to_le_bytes));
        }
        bytes
    }

    /// From a value.
    ///
    /// # Errors
    /// What is wrong with it. That it is as it was written is for the `Kv` to promise; that it makes
    /// sense is checked here, because a wrong extent would read wrong bytes.
    pub fn decode(bytes: &[u8]) -> Result<ChunkMap, Malformed> {
        let (&version, rest) = bytes.split_first().ok_or(Malformed::Length)?;
        if version != VERSION {
            return Err(Malformed::Version(version));
        }
        if !rest.len().is_multiple_of(EXTENT_BYTES) {
            return Err(Malformed::Length);
        }
        let extents: Vec<Extent> = rest.chunks_exact(EXTENT_BYTES).map(decode_extent).collect();
        let sound = extents.iter().all(|extent| {
            let fits = |a: u32, b: u32| a.checked_add(b);
            extent.length > 0
                && fits(extent.start, extent.length).is_some()
                && fits(extent.skip, extent.length).is_some_and(|end| end <= extent.payload_bytes)
        });
        if !sound || !extents.windows(2).all(|pair| pair[0].end() <= pair[1].start) {
            return Err(Malformed::Order);
        }
        Ok(ChunkMap { extents: extents.into_iter().map(|extent| (extent.start, extent)).collect() })
    }
}

fn decode_extent(bytes: &[u8]) -> Extent {
    let at = |at: usize| u32::from_le_bytes(bytes[at * 4..at * 4 + 4].try_into().expect("4 bytes"));
    Extent {
        start: at(0),
        length: at(1),
        at: Location { segment: at(2), offset: at(3) },
        payload_bytes: at(4),
        skip: at(5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn extent(start: u32, length: u32, segment: u32) -> Extent {
        let at = Location { segment, offset: 64 };
        Extent { start, length, at, payload_bytes: length, skip: 0 }
    }

    /// Found by fuzzing: a read of no bytes in the middle of a run ended the node's loop.
    #[test]
    fn nothing_overlaps_a_range_of_nothing() {
        let mut map = ChunkMap::default();
        map.insert(extent(0, 100, 1), &mut Vec::new());
        for at in [0, 50, 100, 200] {
            assert_eq!(map.find(at..at).count(), 0, "{at}");
        }
        assert_eq!(map.find(50..51).count(), 1);
    }

    #[test]
    fn a_write_into_the_middle_splits_what_was_there() {
        let (mut map, mut displaced) = (ChunkMap::default(), Vec::new());
        map.insert(extent(0, 100, 1), &mut displaced);
        map.insert(extent(40, 20, 2), &mut displaced);
        let found: Vec<_> =
            map.find(30..70).map(|e| (e.start, e.length, e.at.segment, e.skip)).collect();
        assert_eq!(found, [(30, 10, 1, 30), (40, 20, 2, 0), (60, 10, 1, 60)]);
        assert_eq!(displaced.len(), 1);
        assert_eq!((displaced[0].start, displaced[0].length), (40, 20));
    }

    proptest! {
        /// Against one number per byte: which write was last.
        #[test]
        fn the_newest_record_of_each_byte_wins(
            steps in proptest::collection::vec((0u32..200, 1u32..60, any::<bool>()), 1..60)
        ) {
            let mut map = ChunkMap::default();
            let mut model = vec![0u32; 300];
            for (number, (start, length, write)) in (1u32..).zip(steps) {
                let mut displaced = Vec::new();
                let range = start as usize..(start + length) as usize;
                let held: u32 = model[range.clone()].iter().map(|&w| u32::from(w > 0)).sum();
                if write {
                    map.insert(extent(start, length, number), &mut displaced);
                    model[range].fill(number);
                } else {
                    map.trim(start..start + length, &mut displaced);
                    model[range].fill(0);
                }
                prop_assert_eq!(displaced.iter().map(|e| e.length).sum::<u32>(), held);
                prop_assert_eq!(&ChunkMap::decode(&map.encode()).unwrap(), &map);
            }
            let mut seen = vec![0u32; 300];
            for extent in map.find(0..300) {
                seen[extent.start as usize..extent.end() as usize].fill(extent.at.segment);
            }
            prop_assert_eq!(seen, model);
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(map) = ChunkMap::decode(&bytes) {
                prop_assert_eq!(map.encode(), bytes);
            }
        }
    }
}
