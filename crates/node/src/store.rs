//! Small files that a replica, a disk and a node keep beside their logs.
//!
//! Each is a sealed message, replaced as a whole:
//!
//! ```text
//!  0  4  magic "HFST"
//!  4  1  version (1)
//!  5  1  kind: 1 replica state, 2 checkpoint, 3 node identity, 4 disk identity
//!  6  2  zero
//!  8  4  length of the message
//! 12  4  CRC-32C of bytes 0..12 and of the message
//! 16     the message (prost)
//! ```

use prost::Message;
use std::io;
use types::checksum::crc32c;
use world::Disk;

const MAGIC: [u8; 4] = *b"HFST";
const VERSION: u8 = 1;
const HEAD_BYTES: usize = 16;

/// A message with a file of its own.
pub trait Stored: Message + Default {
    /// The kind in the file's head.
    const KIND: u8;
    /// What it is called in messages to people.
    const NAME: &'static str;
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read or write {name}: {source}")]
    Io { name: &'static str, source: io::Error },
    #[error("{path} is damaged: {reason}")]
    Damaged { path: String, reason: String },
}

impl Error {
    /// Whether there was no room to write it.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        matches!(self, Error::Io { source, .. } if world::disk::is_no_space(source))
    }
}

/// What a replica must remember across restarts.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReplicaState {
    #[prost(uint64, tag = "1")]
    pub life: u64,
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    #[prost(message, optional, tag = "3")]
    pub configuration: Option<wire::control::Configuration>,
    /// Boot of the machine in which the log was last proven whole; zero: never.
    #[prost(fixed64, tag = "4")]
    pub proven_boot: u64,
    /// It was stopped in order, after a sync.
    #[prost(bool, tag = "5")]
    pub clean: bool,
    /// Which set of index keys is in use; an installed snapshot begins a new one.
    #[prost(uint32, tag = "6")]
    pub generation: u32,
    #[prost(enumeration = "wire::control::PartitionKind", tag = "7")]
    pub kind: i32,
    #[prost(uint64, tag = "8")]
    pub disk: u64,
    /// Its tail was cut since it was last proven whole: what looked like a write that was never
    /// finished may have been an acknowledged record that was damaged.
    #[prost(bool, tag = "9")]
    pub cut: bool,
    /// It is being opened; still so at the next start, an opening was interrupted, and with it what
    /// would have been said of a cut.
    #[prost(bool, tag = "10")]
    pub opening: bool,
}

impl Stored for ReplicaState {
    const KIND: u8 = 1;
    const NAME: &'static str = "the replica's state";
}

/// From where recovery has to read the log.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Checkpoint {
    /// The last record that is in the durable index.
    #[prost(uint64, tag = "1")]
    pub sequence: u64,
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// Where the record after it begins; segment zero when there is none yet.
    #[prost(uint32, tag = "3")]
    pub segment: u32,
    #[prost(uint32, tag = "4")]
    pub offset: u32,
    /// First entries of epochs, as [`partition::replica::History`]: epoch and sequence by turns.
    #[prost(uint64, repeated, tag = "5")]
    pub history: Vec<u64>,
    /// The log was on disk up to here.
    #[prost(uint64, tag = "6")]
    pub synced: u64,
    /// Log segments with smaller numbers are left over from before a snapshot was installed.
    #[prost(uint32, tag = "7")]
    pub segment_min: u32,
    /// The log is whole from this sequence on: what lies before may have holes. Zero: nobody said.
    #[prost(uint64, tag = "8")]
    pub log_start: u64,
}

impl Stored for Checkpoint {
    const KIND: u8 = 2;
    const NAME: &'static str = "the checkpoint";
}

/// Who a node or a disk is; drawn once.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Identity {
    #[prost(fixed64, tag = "1")]
    pub identity: u64,
    /// The cluster it belongs to, and its number there; zero until it joined.
    #[prost(fixed64, tag = "2")]
    pub cluster: u64,
    #[prost(uint64, tag = "3")]
    pub number: u64,
}

impl Stored for Identity {
    const KIND: u8 = 3;
    const NAME: &'static str = "the identity";
}

/// Seals a message.
#[must_use]
pub fn seal<M: Stored>(message: &M) -> Vec<u8> {
    let body = message.encode_to_vec();
    let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[VERSION, M::KIND, 0, 0]);
    bytes.extend_from_slice(&u32::try_from(body.len()).expect("small files").to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&body);
    let checksum = checksum(&bytes);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Opens a sealed message.
///
/// # Errors
/// What is wrong with it.
pub fn unseal<M: Stored>(bytes: &[u8]) -> Result<M, &'static str> {
    if bytes.len() < HEAD_BYTES || bytes[..4] != MAGIC {
        return Err("it does not begin with the magic number");
    }
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    if u32_at(12) != checksum(bytes) {
        return Err("its checksum is wrong");
    }
    if bytes[4] != VERSION {
        return Err("its version is not known to this build");
    }
    if bytes[5] != M::KIND {
        return Err("it is a file of another kind");
    }
    if u32_at(8) as usize != bytes.len() - HEAD_BYTES {
        return Err("its length is wrong");
    }
    M::decode(&bytes[HEAD_BYTES..]).map_err(|_| "its message does not decode")
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut covered = bytes[..12].to_vec();
    covered.extend_from_slice(&bytes[HEAD_BYTES..]);
    crc32c(&covered)
}

/// Replaces the file at `path`, durably.
///
/// # Errors
/// What the disk says; the old content is then still there.
pub fn write<M: Stored>(disk: &Disk, path: &str, message: &M) -> Result<(), Error> {
    let io = |source| Error::Io { name: M::NAME, source };
    disk.replace(path, &seal(message)).map_err(io)
}

/// Reads the file at `path`; `None` when there is none.
///
/// # Errors
/// When it is damaged or the disk fails.
pub fn read<M: Stored>(disk: &Disk, path: &str) -> Result<Option<M>, Error> {
    let io = |source| Error::Io { name: M::NAME, source };
    let Some(bytes) = disk.read(path).map_err(io)? else { return Ok(None) };
    let damaged = |reason: &str| Error::Damaged { path: path.into(), reason: reason.into() };
    unseal(&bytes).map(Some).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_message_survives_and_every_flipped_bit_is_noticed() {
        let checkpoint =
            Checkpoint { sequence: 9, segment: 2, history: vec![1, 2], ..Default::default() };
        let good = seal(&checkpoint);
        assert_eq!(unseal::<Checkpoint>(&good), Ok(checkpoint));
        assert!(unseal::<Identity>(&good).is_err());
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal::<Checkpoint>(&bad).is_err(), "bit {bit}");
        }
        assert!(unseal::<Checkpoint>(&good[..good.len() - 1]).is_err());
    }
}
