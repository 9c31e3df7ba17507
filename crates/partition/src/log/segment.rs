//! The head of a segment file.
//!
//! ```text
//!  0   4  magic "HFSG"
//!  4   1  version (1)
//!  5   1  kind: 1 log, 2 base
//!  6   2  zero
//!  8   8  partition
//! 16   8  replica
//! 24   4  segment number
//! 28   4  zero
//! 32   8  sequence of the first record (log) or 0 (base)
//! 40  20  zero
//! 60   4  CRC-32C of bytes 0..60
//! 64      records
//! ```
//!
//! A *log* segment continues the one before it: its records are consecutive. A *base* segment holds
//! records that were copied (from another replica, or out of a segment that was mostly dead); they
//! keep their sequence but stand in no order.

use types::checksum::crc32c;
use types::{PartitionId, ReplicaId, Sequence};

/// Length of the head.
pub const SEGMENT_HEADER_BYTES: u32 = 64;
const MAGIC: [u8; 4] = *b"HFSG";
const VERSION: u8 = 1;

/// What the records of a segment are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SegmentKind {
    Log = 1,
    Base = 2,
}

/// The head of a segment, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    pub kind: SegmentKind,
    pub partition: PartitionId,
    pub replica: ReplicaId,
    pub number: u32,
    pub first: Sequence,
}

/// Why bytes are not the head of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the file is shorter than a segment's head")]
    Short,
    #[error("the file does not begin with a segment's magic number")]
    Magic,
    #[error("the head's checksum is wrong")]
    Checksum,
    #[error("segment version {0} is not known to this build, which knows {VERSION}")]
    Version(u8),
    #[error("unknown segment kind {0}")]
    Kind(u8),
}

impl SegmentHeader {
    /// Encodes the head, with its checksum.
    #[must_use]
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES as usize] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = VERSION;
        bytes[5] = self.kind as u8;
        bytes[8..16].copy_from_slice(&self.partition.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.replica.0.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.number.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.first.0.to_le_bytes());
        let checksum = crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Decodes and checks a head.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<SegmentHeader, Malformed> {
        let bytes: &[u8; SEGMENT_HEADER_BYTES as usize] =
            bytes.get(..64).and_then(|head| head.try_into().ok()).ok_or(Malformed::Short)?;
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        if bytes[..4] != MAGIC {
            return Err(Malformed::Magic);
        }
        // Only now can the version, and all the rest, be believed.
        if u32_at(60) != crc32c(&bytes[..60]) {
            return Err(Malformed::Checksum);
        }
        if bytes[4] != VERSION {
            return Err(Malformed::Version(bytes[4]));
        }
        let kind = match bytes[5] {
            1 => SegmentKind::Log,
            2 => SegmentKind::Base,
            other => return Err(Malformed::Kind(other)),
        };
        Ok(SegmentHeader {
            kind,
            partition: PartitionId(u64_at(8)),
            replica: ReplicaId(u64_at(16)),
            number: u32_at(24),
            first: Sequence(u64_at(32)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_survives_the_disk_and_every_flipped_bit_is_noticed() {
        let head = SegmentHeader {
            kind: SegmentKind::Base,
            partition: PartitionId(4),
            replica: ReplicaId(5),
            number: 6,
            first: Sequence(7),
        };
        let good = head.encode();
        assert_eq!(SegmentHeader::decode(&good), Ok(head));
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&bad).is_err(), "bit {bit}");
        }
        assert_eq!(SegmentHeader::decode(&good[..63]), Err(Malformed::Short));
    }
}
