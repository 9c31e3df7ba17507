//! All chunks of a data partition, and how much of each segment is still alive.
//!
//! Keys in the `Kv` (big-endian, so that an object's chunks lie together):
//!
//! ```text
//! "c" object chunk   a chunk map
//! "t" object         the object was deleted (value: version 1)
//! "s" segment        live bytes in it: version 1, then u64 little-endian
//! "a"                version 1, then applied sequence, allocated bytes (u64 little-endian each)
//! ```

use super::chunk::{ChunkMap, Extent};
use super::command::{DataKey, Meaning};
use crate::kv::{self, Batch, Kv};
use crate::log::Location;
use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use types::Sequence;
use types::limits::{CHUNK_BYTES, INDEX_CHUNKS_CACHED_MAX};

const VERSION: u8 = 1;
const CHUNK_BITS: u32 = CHUNK_BYTES.trailing_zeros();

/// The index of one data partition.
#[derive(Debug)]
pub struct Index {
    kv: Arc<dyn Kv>,
    chunks: BTreeMap<ChunkKey, Cached>,
    segments: BTreeMap<u32, u64>,
    /// Segments whose live bytes changed since the last checkpoint.
    segments_changed: BTreeSet<u32>,
    tombstones_new: BTreeSet<u64>,
    /// Runs that were replaced or trimmed since they were last asked for.
    dead: Vec<Extent>,
    applied: Sequence,
    allocated: u64,
    /// Rises with every use of a chunk; the least recently used ones are let go first.
    clock: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ChunkKey {
    object: u64,
    chunk: u64,
}

#[derive(Debug)]
struct Cached {
    map: ChunkMap,
    changed: bool,
    used: u64,
}

/// Part of an answer to "where are these bytes": present ones only, holes are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Offset in the object.
    pub offset: u64,
    pub extent: Extent,
}

/// What a record did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It changed how many bytes the object holds by this much.
    Changed { allocated_delta: i64 },
    /// The object was deleted before; nothing happened.
    Gone,
}

impl Index {
    /// Reads what the last checkpoint left.
    ///
    /// # Errors
    /// When the `Kv` is damaged or cannot be read.
    pub fn open(kv: Arc<dyn Kv>) -> Result<Index, kv::Error> {
        let mut index = Index {
            chunks: BTreeMap::new(),
            segments: BTreeMap::new(),
            segments_changed: Default::default(),
            tombstones_new: BTreeSet::new(),
            dead: Vec::new(),
            applied: Sequence::ZERO,
            allocated: 0,
            clock: 0,
            kv,
        };
        if let Some(value) = index.kv.get(b"a")? {
            let [applied, allocated] = decode_numbers(&value)?;
            (index.applied, index.allocated) = (Sequence(applied), allocated);
        }
        let mut damage = None;
        let segments = &mut index.segments;
        kv::scan_prefix(index.kv.as_ref(), b"s", &mut |key, value| match (
            key[1..].try_into().map(u32::from_be_bytes),
            decode_numbers(value),
        ) {
            (Ok(segment), Ok([live])) => {
                segments.insert(segment, live);
                ControlFlow::Continue(())
            }
            _ => {
                damage = Some(damaged("a segment's live bytes do not decode"));
                ControlFlow::Break(())
            }
        })?;
        damage.map_or(Ok(index), Err)
    }

    /// Everything up to here has been applied.
    #[must_use]
    pub fn applied(&self) -> Sequence {
        self.applied
    }

    /// Bytes that all objects hold.
    #[must_use]
    pub fn allocated(&self) -> u64 {
        self.allocated
    }

    /// Live bytes of each segment that has any record in the index.
    #[must_use]
    pub fn segments(&self) -> &BTreeMap<u32, u64> {
        &self.segments
    }

    /// Takes note of the next committed record. One that was applied before does nothing.
    ///
    /// # Errors
    /// When the `Kv` is damaged or cannot be read; the index must then be rebuilt.
    pub fn apply(
        &mut self,
        sequence: Sequence,
        meaning: Meaning,
        at: Location,
    ) -> Result<Applied, kv::Error> {
        assert!(sequence <= self.applied.next(), "records are applied in order");
        if sequence <= self.applied {
            return Ok(Applied::Changed { allocated_delta: 0 });
        }
        let before = self.allocated;
        let gone = match meaning {
            Meaning::Write(key) => !self.write(&key, at)?,
            Meaning::Trim(key) => {
                self.trim(&key)?;
                false
            }
            Meaning::Delete { object } => {
                self.delete(object)?;
                false
            }
        };
        self.applied = sequence;
        if gone {
            return Ok(Applied::Gone);
        }
        let allocated_delta = self.allocated.cast_signed() - before.cast_signed();
        Ok(Applied::Changed { allocated_delta })
    }

    /// Takes note of a record that means nothing here.
    pub fn skip(&mut self, sequence: Sequence) {
        assert!(sequence <= self.applied.next(), "records are applied in order");
        self.applied.advance(sequence);
    }

    /// Finds the bytes of a range; what is in no piece is a hole. Ascending.
    ///
    /// # Errors
    /// When the `Kv` is damaged or cannot be read.
    pub fn find(&mut self, key: &DataKey, pieces: &mut Vec<Piece>) -> Result<(), kv::Error> {
        for (chunk, range) in chunks_of(key) {
            let base = chunk << CHUNK_BITS;
            let map = self.chunk(ChunkKey { object: key.object, chunk })?;
            let found = map.map.find(range);
            pieces.extend(
                found.map(|extent| Piece { offset: base + u64::from(extent.start), extent }),
            );
        }
        Ok(())
    }

    /// Whether an object was deleted.
    ///
    /// # Errors
    /// When the `Kv` cannot be read.
    pub fn is_deleted(&self, object: u64) -> Result<bool, kv::Error> {
        if self.tombstones_new.contains(&object) {
            return Ok(true);
        }
        Ok(self.kv.get(&tombstone_key(object))?.is_some())
    }

    /// Points a run to a copy of its record, when nothing has replaced it since.
    ///
    /// # Errors
    /// When the `Kv` is damaged or cannot be read.
    pub fn relocate(
        &mut self,
        object: u64,
        piece: &Piece,
        to: Location,
    ) -> Result<bool, kv::Error> {
        let chunk = piece.offset >> CHUNK_BITS;
        let cached = self.chunk(ChunkKey { object, chunk })?;
        if !cached.map.relocate(&piece.extent, to) {
            return Ok(false);
        }
        cached.changed = true;
        self.count(piece.extent.at.segment, -i64::from(piece.extent.length));
        self.count(to.segment, i64::from(piece.extent.length));
        Ok(true)
    }

    /// Points part of a record's range (start and length in its payload) to a copy of it.
    ///
    /// # Errors
    /// When the `Kv` is damaged or cannot be read.
    pub fn place(
        &mut self,
        key: &DataKey,
        (skip, length): (u32, u32),
        at: Location,
    ) -> Result<(), kv::Error> {
        let start = key.offset + u64::from(skip);
        let chunk = start >> CHUNK_BITS;
        let payload_bytes = u32::try_from(key.length).unwrap_or(u32::MAX);
        let start = clip(start, chunk << CHUNK_BITS);
        let extent = Extent { start, length, at, payload_bytes, skip };
        let mut displaced = Vec::new();
        let cached = self.chunk(ChunkKey { object: key.object, chunk })?;
        cached.map.insert(extent, &mut displaced);
        cached.changed = true;
        self.allocated += u64::from(length);
        self.count(at.segment, i64::from(length));
        self.release(&displaced);
        Ok(())
    }

    /// Notes that an object was deleted, when a snapshot says so.
    pub fn bury(&mut self, object: u64) {
        self.tombstones_new.insert(object);
    }

    /// Says up to where the index goes, once a snapshot is wholly in it.
    pub fn set_applied(&mut self, applied: Sequence) {
        self.applied = applied;
    }

    /// The objects that were deleted, as of the last checkpoint: at most `max`, ascending, those after
    /// `after`.
    ///
    /// # Errors
    /// When the `Kv` cannot be read.
    pub fn tombstones(
        kv: &dyn kv::Read,
        after: Option<u64>,
        max: usize,
    ) -> Result<Vec<u64>, kv::Error> {
        let from = match after.map(|after| after.checked_add(1)) {
            None => b"t".to_vec(),
            Some(Some(next)) => tombstone_key(next),
            Some(None) => return Ok(Vec::new()),
        };
        let mut objects = Vec::new();
        kv.scan(&from, Some(b"u"), &mut |key, _| {
            objects.extend(key[1..].try_into().map(u64::from_be_bytes));
            if objects.len() < max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(objects)
    }

    /// Writes what changed since the last checkpoint; it is durable after the `Kv`'s next persist.
    ///
    /// # Errors
    /// When the `Kv` cannot be written; then everything still counts as changed.
    pub fn checkpoint(&mut self) -> Result<(), kv::Error> {
        let mut batch = Batch::default();
        for (key, cached) in self.chunks.iter().filter(|(_, cached)| cached.changed) {
            if cached.map.is_empty() {
                batch.remove(chunk_key(key.object, key.chunk));
            } else {
                batch.put(chunk_key(key.object, key.chunk), cached.map.encode());
            }
        }
        for segment in &self.segments_changed {
            match self.segments.get(segment) {
                Some(live) => batch.put(segment_key(*segment), encode_numbers([*live])),
                None => batch.remove(segment_key(*segment)),
            }
        }
        for object in &self.tombstones_new {
            batch.put(tombstone_key(*object), vec![VERSION]);
        }
        batch.put(b"a".to_vec(), encode_numbers([self.applied.0, self.allocated]));
        self.kv.write(batch)?;
        self.segments_changed.clear();
        self.tombstones_new.clear();
        self.chunks.values_mut().for_each(|cached| cached.changed = false);
        self.let_go();
        Ok(())
    }

    /// Whether so much is cached that a checkpoint should be made.
    #[must_use]
    pub fn wants_checkpoint(&self) -> bool {
        self.chunks.len() > INDEX_CHUNKS_CACHED_MAX
    }

    /// Runs that nothing points to any more; each is told once.
    pub fn take_dead(&mut self) -> Vec<Extent> {
        std::mem::take(&mut self.dead)
    }

    /// Forgets a segment that was removed from the disk.
    pub fn forget_segment(&mut self, segment: u32) {
        let live = self.segments.remove(&segment);
        assert!(live.is_none_or(|live| live == 0), "only dead segments are removed");
        self.segments_changed.insert(segment);
    }

    /// Visits every chunk that holds something, in order of object and chunk, as of the last
    /// checkpoint.
    ///
    /// # Errors
    /// When the `Kv` is damaged or cannot be read.
    pub fn scan(
        kv: &dyn kv::Read,
        after: Option<(u64, u64)>,
        visit: &mut dyn FnMut(u64, u64, ChunkMap) -> ControlFlow<()>,
    ) -> Result<(), kv::Error> {
        let from = match after {
            None => b"c".to_vec(),
            Some((object, chunk)) => {
                let mut key = chunk_key(object, chunk);
                key.push(0);
                key
            }
        };
        let mut damage = None;
        kv.scan(&from, Some(b"d"), &mut |key, value| match (
            decode_chunk_key(key),
            ChunkMap::decode(value),
        ) {
            (Some(key), Ok(map)) => visit(key.object, key.chunk, map),
            _ => {
                damage = Some(damaged("a chunk map does not decode"));
                ControlFlow::Break(())
            }
        })?;
        damage.map_or(Ok(()), Err)
    }

    fn write(&mut self, key: &DataKey, at: Location) -> Result<bool, kv::Error> {
        if self.is_deleted(key.object)? {
            return Ok(false);
        }
        let (chunk, range) = chunks_of(key).next().expect("a write has a range");
        let length = range.end - range.start;
        let extent = Extent { start: range.start, length, at, payload_bytes: length, skip: 0 };
        let mut displaced = Vec::new();
        let cached = self.chunk(ChunkKey { object: key.object, chunk })?;
        cached.map.insert(extent, &mut displaced);
        cached.changed = true;
        self.allocated += u64::from(length);
        self.count(at.segment, i64::from(length));
        self.release(&displaced);
        Ok(true)
    }

    fn trim(&mut self, key: &DataKey) -> Result<(), kv::Error> {
        let mut displaced = Vec::new();
        for chunk in self.chunks_present(key)? {
            let base = chunk << CHUNK_BITS;
            let end = key.end().expect("trims were checked");
            let range = clip(key.offset, base)..clip(end, base);
            let cached = self.chunk(ChunkKey { object: key.object, chunk })?;
            let before = displaced.len();
            cached.map.trim(range, &mut displaced);
            cached.changed |= displaced.len() > before;
        }
        self.release(&displaced);
        Ok(())
    }

    fn delete(&mut self, object: u64) -> Result<(), kv::Error> {
        self.trim(&DataKey { object, offset: 0, length: u64::MAX })?;
        if !self.is_deleted(object)? {
            self.tombstones_new.insert(object);
        }
        Ok(())
    }

    /// The chunks of an object that hold something and overlap a range, which may be huge.
    fn chunks_present(&self, key: &DataKey) -> Result<Vec<u64>, kv::Error> {
        let first = key.offset >> CHUNK_BITS;
        let last = (key.end().expect("ranges were checked") - 1) >> CHUNK_BITS;
        let mut chunks = BTreeSet::new();
        let from = chunk_key(key.object, first);
        let until = kv::prefix_end(&chunk_key(key.object, last));
        self.kv.scan(&from, until.as_deref(), &mut |key, _| {
            chunks.extend(decode_chunk_key(key).map(|key| key.chunk));
            ControlFlow::Continue(())
        })?;
        let at = |chunk| ChunkKey { object: key.object, chunk };
        chunks.extend(self.chunks.range(at(first)..=at(last)).map(|(cached, _)| cached.chunk));
        Ok(chunks.into_iter().collect())
    }

    fn chunk(&mut self, key: ChunkKey) -> Result<&mut Cached, kv::Error> {
        self.clock += 1;
        let used = self.clock;
        match self.chunks.entry(key) {
            btree_map::Entry::Occupied(entry) => {
                let cached = entry.into_mut();
                cached.used = used;
                Ok(cached)
            }
            btree_map::Entry::Vacant(entry) => {
                let map = match self.kv.get(&chunk_key(key.object, key.chunk))? {
                    None => ChunkMap::default(),
                    Some(value) => {
                        ChunkMap::decode(&value).map_err(|error| damaged(&error.to_string()))?
                    }
                };
                Ok(entry.insert(Cached { map, changed: false, used }))
            }
        }
    }

    fn release(&mut self, displaced: &[Extent]) {
        for extent in displaced {
            self.allocated -= u64::from(extent.length);
            self.count(extent.at.segment, -i64::from(extent.length));
        }
        self.dead.extend_from_slice(displaced);
    }

    fn count(&mut self, segment: u32, delta: i64) {
        let live = self.segments.entry(segment).or_default();
        *live = live.checked_add_signed(delta).expect("a segment has no negative life");
        self.segments_changed.insert(segment);
    }

    /// Drops the chunks that were used least recently, down to half of what is allowed.
    fn let_go(&mut self) {
        if self.chunks.len() <= INDEX_CHUNKS_CACHED_MAX / 2 {
            return;
        }
        let mut uses: Vec<u64> = self.chunks.values().map(|cached| cached.used).collect();
        let keep = INDEX_CHUNKS_CACHED_MAX / 4;
        let middle = uses.len() - keep;
        let (_, &mut oldest_kept, _) = uses.select_nth_unstable(middle);
        self.chunks.retain(|_, cached| cached.used >= oldest_kept);
    }
}

/// The chunks that a range touches, with the part of each.
pub(super) fn chunks_of(key: &DataKey) -> impl Iterator<Item = (u64, Range<u32>)> + use<> {
    let (start, end) = (key.offset, key.offset.saturating_add(key.length));
    let chunks = (start >> CHUNK_BITS)..end.div_ceil(CHUNK_BYTES);
    chunks.map(move |chunk| {
        let base = chunk << CHUNK_BITS;
        (chunk, clip(start, base)..clip(end, base))
    })
}

/// A position relative to a chunk, held within it.
fn clip(position: u64, base: u64) -> u32 {
    u32::try_from(position.saturating_sub(base).min(CHUNK_BYTES)).expect("a chunk is short")
}

pub(super) fn chunk_key(object: u64, chunk: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(18);
    bytes.push(b'c');
    bytes.extend_from_slice(&object.to_be_bytes());
    bytes.extend_from_slice(&chunk.to_be_bytes());
    bytes
}

fn decode_chunk_key(bytes: &[u8]) -> Option<ChunkKey> {
    let object = u64::from_be_bytes(bytes.get(1..9)?.try_into().ok()?);
    let chunk = u64::from_be_bytes(bytes.get(9..)?.try_into().ok()?);
    Some(ChunkKey { object, chunk })
}

/// What one pair of an index says, in words; for `inspect`, never for decisions.
///
/// # Errors
/// When it does not decode.
pub fn describe(key: &[u8], value: &[u8]) -> Result<(String, String), kv::Error> {
    let unknown = || damaged("a key of no known kind");
    match key.first() {
        Some(b'a') => {
            let [applied, allocated] = decode_numbers(value)?;
            Ok(("totals".into(), format!("applied {applied}, {allocated} bytes allocated")))
        }
        Some(b'c') => {
            let ChunkKey { object, chunk } = decode_chunk_key(key).ok_or_else(unknown)?;
            let map =
                ChunkMap::decode(value).map_err(|_| damaged("a chunk map does not decode"))?;
            let extent = |e: &Extent| {
                let place = format!("segment {} at {}", e.at.segment, e.at.offset);
                format!(
                    "{}+{} in {place} skip {} of {}",
                    e.start, e.length, e.skip, e.payload_bytes
                )
            };
            let extents: Vec<String> = map.extents().map(extent).collect();
            Ok((format!("object {object} chunk {chunk}"), extents.join(", ")))
        }
        Some(b's') => {
            let number: [u8; 4] = key[1..].try_into().map_err(|_| unknown())?;
            let [live] = decode_numbers(value)?;
            Ok((format!("segment {}", u32::from_be_bytes(number)), format!("{live} live bytes")))
        }
        Some(b't') => {
            let number: [u8; 8] = key[1..].try_into().map_err(|_| unknown())?;
            Ok((format!("object {}", u64::from_be_bytes(number)), "deleted for good".into()))
        }
        _ => Err(unknown()),
    }
}

fn tombstone_key(object: u64) -> Vec<u8> {
    [b"t".as_slice(), &object.to_be_bytes()].concat()
}

fn segment_key(segment: u32) -> Vec<u8> {
    [b"s".as_slice(), &segment.to_be_bytes()].concat()
}

fn encode_numbers<const N: usize>(numbers: [u64; N]) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    bytes
}

fn decode_numbers<const N: usize>(bytes: &[u8]) -> Result<[u64; N], kv::Error> {
    if bytes.len() != 1 + N * 8 || bytes[0] != VERSION {
        return Err(damaged("a value of numbers does not decode"));
    }
    let mut numbers = [0; N];
    for (number, bytes) in numbers.iter_mut().zip(bytes[1..].chunks_exact(8)) {
        *number = u64::from_le_bytes(bytes.try_into().expect("8 bytes"));
    }
    Ok(numbers)
}

pub(super) fn damaged(detail: &str) -> kv::Error {
    kv::Error::Damaged { doing: "reading the extent index", detail: detail.to_string() }
}
