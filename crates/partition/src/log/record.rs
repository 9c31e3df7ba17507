//! One record of a log.
//!
//! ```text
//!  0   4  magic "HFRC"
//!  4   1  version (1)
//!  5   1  kind (what the record means to the partition's index)
//!  6   2  key length, K
//!  8   8  epoch
//! 16   8  sequence
//! 24   8  partition
//! 32   4  payload length, P
//! 36   4  CRC-32C of the payload; zero when the key covers it
//! 40   4  CRC-32C of the key
//! 44   1  flags: 1 = the key covers the payload
//! 45  15  zero
//! 60   4  CRC-32C of bytes 0..60
//! 64   K  key
//! 64+K P  payload, then zeros to a multiple of 8
//! ```
//!
//! When *the key covers the payload*, the key ends with one CRC-32C for each 4 KiB of the payload:
//! so a part of a large payload can be checked without reading all of it, and these sums are the
//! ones that the client made.
//!
//! The range of a payload that nobody needs any more may have been given back to the file system, and
//! then reads as zeros. So what lies in a closed segment is verified in those blocks that are needed
//! ([`Record::decode_parts`]), and only what is still log as a whole.
//!
//! Lengths are believed only after the header's checksum was verified, and the payload is never
//! believed before its own.

use crate::replica::{Entry, EntryBody};
use bytes::Bytes;
use types::checksum::crc32c;
use types::limits::{CHECKSUM_BLOCK_BYTES, RECORD_PAYLOAD_BYTES_MAX};
use types::{Epoch, PartitionId, Sequence};

/// Length of a record's header.
pub const RECORD_HEADER_BYTES: u32 = 64;
/// Longest key: a data key with a checksum for each block of the largest payload, with room to grow.
pub const KEY_BYTES_MAX: u32 = 4096;
/// First bytes of every record.
pub const MAGIC: [u8; 4] = *b"HFRC";
const VERSION: u8 = 1;
const FLAG_KEY_COVERS: u8 = 1;
/// Kinds from here on have keys that cover their payload.
pub const KIND_COVERED_FIRST: u8 = 128;

const _: () = assert!(RECORD_PAYLOAD_BYTES_MAX / CHECKSUM_BLOCK_BYTES * 4 + 64 <= KEY_BYTES_MAX);

/// A record's header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    pub kind: u8,
    pub key_bytes: u32,
    pub epoch: Epoch,
    pub sequence: Sequence,
    pub partition: PartitionId,
    pub payload_bytes: u32,
    pub payload_checksum: u32,
    pub key_checksum: u32,
}

/// A record, decoded and verified.
#[derive(Clone, Debug)]
pub struct Record {
    pub header: RecordHeader,
    pub key: Bytes,
    pub payload: Bytes,
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the record is cut off")]
    Short,
    #[error("there is no record here")]
    Magic,
    #[error("the header's checksum is wrong")]
    HeaderChecksum,
    #[error("record version {0} is not known to this build, which knows {VERSION}")]
    Version(u8),
    #[error("a length exceeds its limit")]
    TooLong,
    #[error("the record belongs to partition {0}")]
    Partition(PartitionId),
    #[error("the key's checksum is wrong")]
    KeyChecksum,
    #[error("the payload's checksum is wrong")]
    PayloadChecksum,
}

impl RecordHeader {
    /// The header of an entry's record.
    #[must_use]
    pub fn of(partition: PartitionId, entry: &Entry) -> RecordHeader {
        let EntryBody { kind, key, payload } = &entry.body;
        let covered = *kind >= KIND_COVERED_FIRST;
        RecordHeader {
            kind: *kind,
            key_bytes: u32::try_from(key.len()).expect("keys have a limit"),
            epoch: entry.epoch,
            sequence: entry.sequence,
            partition,
            payload_bytes: u32::try_from(payload.len()).expect("payloads have a limit"),
            payload_checksum: if covered { 0 } else { crc32c(payload) },
            key_checksum: crc32c(key),
        }
    }

    /// Whether the key ends with the checksums of the payload's blocks.
    #[must_use]
    pub fn is_covered_by_key(&self) -> bool {
        self.kind >= KIND_COVERED_FIRST
    }

    /// Bytes of the whole record, padding included.
    #[must_use]
    pub fn record_bytes(&self) -> u32 {
        (RECORD_HEADER_BYTES + self.key_bytes + self.payload_bytes).next_multiple_of(8)
    }

    /// Encodes the header, with its checksum.
    #[must_use]
    pub fn encode(&self) -> [u8; RECORD_HEADER_BYTES as usize] {
        let mut bytes = [0; RECORD_HEADER_BYTES as usize];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = VERSION;
        bytes[5] = self.kind;
        let key_bytes = u16::try_from(self.key_bytes).expect("keys have a limit");
        bytes[6..8].copy_from_slice(&key_bytes.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.epoch.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.partition.0.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.payload_checksum.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.key_checksum.to_le_bytes());
        bytes[44] = if self.is_covered_by_key() { FLAG_KEY_COVERS } else { 0 };
        let checksum = crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Decodes and checks a header.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<RecordHeader, Malformed> {
        let bytes: &[u8; RECORD_HEADER_BYTES as usize] =
            bytes.get(..64).and_then(|head| head.try_into().ok()).ok_or(Malformed::Short)?;
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        if bytes[..4] != MAGIC {
            return Err(Malformed::Magic);
        }
        if u32_at(60) != crc32c(&bytes[..60]) {
            return Err(Malformed::HeaderChecksum);
        }
        if bytes[4] != VERSION {
            return Err(Malformed::Version(bytes[4]));
        }
        let header = RecordHeader {
            kind: bytes[5],
            key_bytes: u16::from_le_bytes([bytes[6], bytes[7]]).into(),
            epoch: Epoch(u64_at(8)),
            sequence: Sequence(u64_at(16)),
            partition: PartitionId(u64_at(24)),
            payload_bytes: u32_at(32),
            payload_checksum: u32_at(36),
            key_checksum: u32_at(40),
        };
        if header.key_bytes > KEY_BYTES_MAX || header.payload_bytes > RECORD_PAYLOAD_BYTES_MAX {
            return Err(Malformed::TooLong);
        }
        Ok(header)
    }

    /// Checks key and payload against the header.
    ///
    /// # Errors
    /// Which of the two is damaged.
    pub fn verify(&self, key: &[u8], payload: &[u8]) -> Result<(), Malformed> {
        if crc32c(key) != self.key_checksum {
            return Err(Malformed::KeyChecksum);
        }
        let good = if self.is_covered_by_key() {
            covers(key, payload)
        } else {
            crc32c(payload) == self.payload_checksum
        };
        if good { Ok(()) } else { Err(Malformed::PayloadChecksum) }
    }

    /// Checks the key, and of the payload the blocks that `parts` (start and length) lie in. A payload
    /// that the key does not cover is checked as a whole.
    ///
    /// # Errors
    /// Which of them is damaged. A part outside of the payload counts as damaged.
    pub fn verify_parts(
        &self,
        key: &[u8],
        payload: &[u8],
        parts: &[(u32, u32)],
    ) -> Result<(), Malformed> {
        if !self.is_covered_by_key() {
            return self.verify(key, payload);
        }
        if crc32c(key) != self.key_checksum {
            return Err(Malformed::KeyChecksum);
        }
        let sound = sound_blocks(key, payload);
        let is_sound = |(start, length): &(u32, u32)| {
            let Some(end) = start.checked_add(*length) else { return false };
            let first = (start / CHECKSUM_BLOCK_BYTES) as usize;
            let blocks = sound.get(first..end.div_ceil(CHECKSUM_BLOCK_BYTES) as usize);
            end as usize <= payload.len() && blocks.is_some_and(|b| b.iter().all(|sound| *sound))
        };
        if parts.iter().all(is_sound) { Ok(()) } else { Err(Malformed::PayloadChecksum) }
    }
}

/// Which blocks of `payload` have the checksums at the end of `key`.
#[must_use]
pub fn sound_blocks(key: &[u8], payload: &[u8]) -> Vec<bool> {
    let blocks = payload.chunks(CHECKSUM_BLOCK_BYTES as usize);
    let Some(at) = key.len().checked_sub(blocks.len() * 4) else {
        return vec![false; blocks.len()];
    };
    let sums = key[at..].chunks_exact(4);
    blocks.zip(sums).map(|(block, sum)| crc32c(block).to_le_bytes() == sum).collect()
}

/// Whether the checksums at the end of `key` are those of `payload`'s blocks.
#[must_use]
pub fn covers(key: &[u8], payload: &[u8]) -> bool {
    let blocks = payload.len().div_ceil(CHECKSUM_BLOCK_BYTES as usize);
    let Some(at) = key.len().checked_sub(blocks * 4) else { return false };
    let sums = key[at..].chunks_exact(4);
    payload
        .chunks(CHECKSUM_BLOCK_BYTES as usize)
        .zip(sums)
        .all(|(block, sum)| crc32c(block).to_le_bytes() == sum)
}

impl Record {
    /// Decodes and verifies a whole record that begins at the first byte.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn decode(bytes: &Bytes, partition: PartitionId) -> Result<Record, Malformed> {
        let record = Record::split(bytes, partition)?;
        record.header.verify(&record.key, &record.payload)?;
        Ok(record)
    }

    /// Decodes a record that begins at the first byte, and verifies it as far as `parts` of its
    /// payload (start and length) go.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn decode_parts(
        bytes: &Bytes,
        partition: PartitionId,
        parts: &[(u32, u32)],
    ) -> Result<Record, Malformed> {
        let record = Record::split(bytes, partition)?;
        record.header.verify_parts(&record.key, &record.payload, parts)?;
        Ok(record)
    }

    /// Takes a record apart, of which only the header is verified.
    fn split(bytes: &Bytes, partition: PartitionId) -> Result<Record, Malformed> {
        let header = RecordHeader::decode(bytes)?;
        if header.partition != partition {
            return Err(Malformed::Partition(header.partition));
        }
        let key_end = (RECORD_HEADER_BYTES + header.key_bytes) as usize;
        let payload_end = key_end + header.payload_bytes as usize;
        if bytes.len() < payload_end {
            return Err(Malformed::Short);
        }
        let key = bytes.slice(RECORD_HEADER_BYTES as usize..key_end);
        let payload = bytes.slice(key_end..payload_end);
        Ok(Record { header, key, payload })
    }

    /// The entry that this is the record of.
    #[must_use]
    pub fn into_entry(self) -> Entry {
        Entry {
            epoch: self.header.epoch,
            sequence: self.header.sequence,
            body: EntryBody { kind: self.header.kind, key: self.key, payload: self.payload },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use types::checksum::block_checksums;

    const PARTITION: PartitionId = PartitionId(9);

    fn encode(entry: &Entry) -> Bytes {
        let header = RecordHeader::of(PARTITION, entry);
        let mut bytes = header.encode().to_vec();
        bytes.extend_from_slice(&entry.body.key);
        bytes.extend_from_slice(&entry.body.payload);
        bytes.resize(header.record_bytes() as usize, 0);
        bytes.into()
    }

    fn entry(kind: u8, payload: &[u8]) -> Entry {
        let mut key = b"where it belongs".to_vec();
        if kind >= KIND_COVERED_FIRST {
            key.extend(block_checksums(payload).iter().flat_map(|sum| sum.to_le_bytes()));
        }
        let body = EntryBody { kind, key: key.into(), payload: payload.to_vec().into() };
        Entry { epoch: Epoch(3), sequence: Sequence(4), body }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for kind in [1, KIND_COVERED_FIRST] {
            let good = encode(&entry(kind, &[7; 24]));
            assert!(Record::decode(&good, PARTITION).is_ok());
            for bit in 0..good.len() * 8 {
                let mut bad = good.to_vec();
                bad[bit / 8] ^= 1 << (bit % 8);
                let decoded = Record::decode(&bad.into(), PARTITION);
                // Padding is covered by nothing, and means nothing.
                let padding = RecordHeader::decode(&good).unwrap();
                let end = 64 + padding.key_bytes + padding.payload_bytes;
                assert!(decoded.is_err() || bit / 8 >= end as usize, "kind {kind} bit {bit}");
            }
        }
    }

    #[test]
    fn a_hole_is_no_damage_to_whoever_needs_the_rest() {
        let good = encode(&entry(KIND_COVERED_FIRST, &[7; 9000]));
        let key_end = 64 + RecordHeader::decode(&good).unwrap().key_bytes as usize;
        let mut punched = good.to_vec();
        punched[key_end + 4096..key_end + 8192].fill(0);
        let punched = Bytes::from(punched);
        assert!(Record::decode(&punched, PARTITION).is_err());
        let parts = |parts: &[(u32, u32)]| Record::decode_parts(&punched, PARTITION, parts);
        assert_eq!(parts(&[(0, 4096), (8192, 808)]).unwrap().payload.len(), 9000);
        for bad in [(4095, 2), (5000, 1), (8000, 500), (0, 9000), (8999, 2), (u32::MAX, 2)] {
            assert_eq!(parts(&[bad]).unwrap_err(), Malformed::PayloadChecksum, "{bad:?}");
        }
    }

    #[test]
    fn a_record_of_another_partition_is_refused() {
        let record = encode(&entry(1, b"x"));
        let refused = Record::decode(&record, PartitionId(1)).unwrap_err();
        assert_eq!(refused, Malformed::Partition(PARTITION));
    }

    proptest! {
        #[test]
        fn a_record_survives_the_disk(payload in proptest::collection::vec(any::<u8>(), 0..9000),
                                      covered in any::<bool>(), cut in any::<prop::sample::Index>()) {
            let entry = entry(if covered { KIND_COVERED_FIRST } else { 1 }, &payload);
            let bytes = encode(&entry);
            prop_assert_eq!(&Record::decode(&bytes, PARTITION).unwrap().into_entry(), &entry);
            let unpadded = 64 + entry.body.key.len() + payload.len();
            let cut = cut.index(unpadded);
            prop_assert!(Record::decode(&bytes.slice(..cut), PARTITION).is_err());
        }
    }
}
