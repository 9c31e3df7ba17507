//! What the records of a data partition say.
//!
//! ```text
//! key of a write, trim or delete:
//!  0  8  object
//!  8  8  offset in the object's address space
//! 16  8  length (writes: that of the payload)
//! 24     writes: CRC-32C of each 4 KiB block of the payload
//! ```

use crate::log::record::KIND_COVERED_FIRST;
use crate::replica::{Entry, EntryBody};
use bytes::{BufMut, Bytes, BytesMut};
use types::limits::{CHECKSUM_BLOCK_BYTES, CHUNK_BYTES, RECORD_PAYLOAD_BYTES_MAX};

/// Kinds of record in a data partition; part of the format.
pub const KIND_WRITE: u8 = KIND_COVERED_FIRST;
pub const KIND_TRIM: u8 = 1;
pub const KIND_DELETE: u8 = 2;

/// Length of a key without checksums.
pub const DATA_KEY_BYTES: usize = 24;

/// A range of an object. An object is what a file's or disk's bytes belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DataKey {
    pub object: u64,
    pub offset: u64,
    pub length: u64,
}

/// One record of a data partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// These bytes are in this range from now on. Lies within one chunk.
    Write { key: DataKey, checksums: Bytes, payload: Bytes },
    /// Nothing is in this range from now on.
    Trim(DataKey),
    /// The object is gone for ever.
    Delete { object: u64 },
}

/// Why a record cannot be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("record kind {0} is not known to a data partition")]
    Kind(u8),
    #[error("the key is too short")]
    Short,
    #[error("the range is empty or overflows")]
    Range,
    #[error("a write crosses the border of a chunk")]
    CrossesChunk,
    #[error("no object has the number 0")]
    Object,
    #[error("a write's length differs from its payload, or exceeds the limit")]
    Length,
    #[error("the payload does not match its checksums")]
    Checksum,
}

impl DataKey {
    fn encode(&self, bytes: &mut BytesMut) {
        bytes.put_u64_le(self.object);
        bytes.put_u64_le(self.offset);
        bytes.put_u64_le(self.length);
    }

    /// Decodes the fixed part of a key.
    ///
    /// # Errors
    /// When it is too short.
    pub fn decode(key: &[u8]) -> Result<DataKey, Invalid> {
        let fixed = key.get(..DATA_KEY_BYTES).ok_or(Invalid::Short)?;
        let at = |at: usize| u64::from_le_bytes(fixed[at..at + 8].try_into().expect("8 bytes"));
        Ok(DataKey { object: at(0), offset: at(8), length: at(16) })
    }

    /// Where the range ends; `None` on overflow.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.length)
    }
}

impl Command {
    /// The entry that says this.
    #[must_use]
    pub fn into_entry(self) -> EntryBody {
        let mut bytes = BytesMut::with_capacity(DATA_KEY_BYTES + 64);
        match self {
            Command::Write { key, checksums, payload } => {
                key.encode(&mut bytes);
                bytes.extend_from_slice(&checksums);
                EntryBody { kind: KIND_WRITE, key: bytes.freeze(), payload }
            }
            Command::Trim(key) => {
                key.encode(&mut bytes);
                EntryBody { kind: KIND_TRIM, key: bytes.freeze(), payload: Bytes::new() }
            }
            Command::Delete { object } => {
                DataKey { object, offset: 0, length: 0 }.encode(&mut bytes);
                EntryBody { kind: KIND_DELETE, key: bytes.freeze(), payload: Bytes::new() }
            }
        }
    }

    /// Checks what came from outside, before it is given a place in the log.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), Invalid> {
        match self {
            Command::Write { key, checksums, payload } => {
                let end = key.end().ok_or(Invalid::Range)?;
                // Whoever lists what there is begins after it.
                if key.object == 0 {
                    return Err(Invalid::Object);
                }
                if key.length == 0 {
                    return Err(Invalid::Range);
                }
                let limit = u64::from(RECORD_PAYLOAD_BYTES_MAX);
                if key.length != payload.len() as u64 || key.length > limit {
                    return Err(Invalid::Length);
                }
                if key.offset / CHUNK_BYTES != (end - 1) / CHUNK_BYTES {
                    return Err(Invalid::CrossesChunk);
                }
                let blocks = payload.len().div_ceil(CHECKSUM_BLOCK_BYTES as usize);
                if checksums.len() != blocks * 4 || !crate::log::record::covers(checksums, payload)
                {
                    return Err(Invalid::Checksum);
                }
                Ok(())
            }
            Command::Trim(key) => match key.end() {
                Some(_) if key.length > 0 => Ok(()),
                _ => Err(Invalid::Range),
            },
            Command::Delete { .. } => Ok(()),
        }
    }

    /// Reads a record's key; the payload is not looked at.
    ///
    /// # Errors
    /// When this is no record of a data partition.
    pub fn decode_key(kind: u8, key: &[u8]) -> Result<Meaning, Invalid> {
        let key = DataKey::decode(key)?;
        match kind {
            KIND_WRITE => Ok(Meaning::Write(key)),
            KIND_TRIM => Ok(Meaning::Trim(key)),
            KIND_DELETE => Ok(Meaning::Delete { object: key.object }),
            other => Err(Invalid::Kind(other)),
        }
    }

    /// Reads an entry's record; see [`Command::decode_key`].
    ///
    /// # Errors
    /// When this is no record of a data partition.
    pub fn meaning(entry: &Entry) -> Result<Meaning, Invalid> {
        Command::decode_key(entry.body.kind, &entry.body.key)
    }
}

/// What a record means to the index, without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    Write(DataKey),
    Trim(DataKey),
    Delete { object: u64 },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever lists chunks begins after object 0: a chunk of it was listed again and again, for ever.
    #[test]
    fn nothing_is_written_to_the_object_before_all_others() {
        let write = |object| {
            let payload = Bytes::from_static(b"payload");
            let sums = types::checksum::block_checksums(&payload);
            let checksums = sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
            let key = DataKey { object, offset: 0, length: payload.len() as u64 };
            Command::Write { key, checksums, payload }
        };
        assert_eq!(write(1).check(), Ok(()));
        assert_eq!(write(0).check(), Err(Invalid::Object));
    }
}
