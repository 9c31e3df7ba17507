//! The index as of a checkpoint, for long work that goes on beside the owner of the index.
//!
//! What it says may be out of date a moment later; whoever acts on it checks again with the index
//! itself ([`super::Index::relocate`]).

use super::index::{chunk_key, chunks_of, damaged};
use super::{ChunkMap, DataKey, Piece};
use crate::kv::{self, Read};
use crate::log::Location;
use std::collections::BTreeMap;
use std::sync::Arc;
use types::limits::CHUNK_BYTES;

/// Chunk maps that are kept decoded. Records that lie together are mostly of the same few chunks.
const MAPS_MAX: usize = 64;

/// A view that does not change.
pub struct Frozen {
    kv: Arc<dyn Read>,
    maps: BTreeMap<(u64, u64), ChunkMap>,
}

impl std::fmt::Debug for Frozen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frozen({} maps)", self.maps.len())
    }
}

impl Frozen {
    /// Looks at what a checkpoint of the index left in `kv`.
    #[must_use]
    pub fn new(kv: Arc<dyn Read>) -> Frozen {
        Frozen { kv, maps: BTreeMap::new() }
    }

    /// What of the range of the record at `at` is still that record's.
    ///
    /// # Errors
    /// When the `Kv` is damaged or cannot be read.
    pub fn live(&mut self, key: &DataKey, at: Location) -> Result<Vec<Piece>, kv::Error> {
        let mut pieces = Vec::new();
        for (chunk, range) in chunks_of(key) {
            let base = chunk * CHUNK_BYTES;
            let found = self.map(key.object, chunk)?.find_whole(range);
            let ours = found.filter(|extent| extent.at == at);
            pieces.extend(
                ours.map(|extent| Piece { offset: base + u64::from(extent.start), extent }),
            );
        }
        Ok(pieces)
    }

    fn map(&mut self, object: u64, chunk: u64) -> Result<&ChunkMap, kv::Error> {
        if self.maps.len() >= MAPS_MAX && !self.maps.contains_key(&(object, chunk)) {
            self.maps.clear();
        }
        match self.maps.entry((object, chunk)) {
            std::collections::btree_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let map = match self.kv.get(&chunk_key(object, chunk))? {
                    None => ChunkMap::default(),
                    Some(value) => {
                        ChunkMap::decode(&value).map_err(|error| damaged(&error.to_string()))?
                    }
                };
                Ok(entry.insert(map))
            }
        }
    }
}
