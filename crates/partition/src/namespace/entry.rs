//! The names of a folder.
//!
//! A folder of a million names must be listed in pages, while names come and go, with a cookie per
//! name that stays good. So names are ordered by a hash, and a cookie is the hash with a slot:
//!
//! ```text
//! cookie   0 | hash (55 bits) | slot (8 bits)
//! ```
//!
//! Names with the same hash share one value, a bucket; each keeps the slot it was given until it
//! goes. Looking a name up is one read of one bucket. With 55 bits a bucket of two is rare, and one of
//! 256, the most it can hold, does not happen unless somebody searches for such names; they get `NoSpace`.
//!
//! ```text
//! bucket   for each name: slot(1) kind(1) inode(8) length(1) name(length)
//! ```

use super::codec::{Malformed, Reader, Writer};
use super::inode::decode_kind;
use bytes::Bytes;
use types::namespace::FileKind;

const SLOT_BITS: u32 = 8;
const HASH_BITS: u32 = 63 - SLOT_BITS;

/// Place of a name among its folder's names. Never changes: it is part of the format.
pub(super) fn hash(name: &[u8]) -> u64 {
    // FNV-1a, then a finalizer so that all bits of the top depend on all of the name.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in name {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    // Zero is left out: small cookies are for `.`, `..` and the beginning.
    ((hash ^ (hash >> 33)) >> (64 - HASH_BITS)).max(1)
}

/// The cookie of slot `slot` in the bucket of `hash`.
pub(super) fn cookie(hash: u64, slot: u8) -> u64 {
    hash << SLOT_BITS | u64::from(slot)
}

/// The hash in a cookie.
pub(super) fn cookie_hash(cookie: u64) -> u64 {
    (cookie >> SLOT_BITS) & ((1 << HASH_BITS) - 1)
}

/// One name and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub slot: u8,
    pub kind: FileKind,
    pub inode: u64,
    pub name: Bytes,
}

/// The names of one folder that share a hash, ascending by slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    pub entries: Vec<Entry>,
}

impl Bucket {
    pub(super) fn find(&self, name: &[u8]) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// Adds a name that is not in it; false when the bucket is full.
    #[must_use]
    pub(super) fn add(&mut self, name: &Bytes, inode: u64, kind: FileKind) -> bool {
        assert!(self.find(name).is_none(), "a name is added once");
        // Slots ascend, so the first that differs from its place is where a slot is free.
        let gap =
            self.entries.iter().zip(0..=u8::MAX).position(|(entry, place)| entry.slot != place);
        let Ok(slot) = u8::try_from(gap.unwrap_or(self.entries.len())) else {
            return false;
        };
        self.entries.insert(usize::from(slot), Entry { slot, kind, inode, name: name.clone() });
        true
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.name == name)?;
        Some(self.entries.remove(at))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let bytes = self.entries.iter().map(|entry| 11 + entry.name.len()).sum();
        let mut writer = Writer::with_capacity(bytes);
        for entry in &self.entries {
            let length = u8::try_from(entry.name.len()).expect("names are at most 255 bytes");
            writer.u8(entry.slot).u8(entry.kind as u8).u64(entry.inode).u8(length);
            writer.raw(&entry.name);
        }
        writer.finish()
    }

    pub(super) fn decode(body: &[u8]) -> Result<Bucket, Malformed> {
        let mut reader = Reader::new(body);
        let mut entries: Vec<Entry> = Vec::with_capacity(1);
        while !reader.is_empty() {
            let slot = reader.u8()?;
            let kind = decode_kind(reader.u8()?)?;
            let inode = reader.u64()?;
            let length = usize::from(reader.u8()?);
            let name = Bytes::copy_from_slice(reader.raw(length)?);
            if entries.last().is_some_and(|last| last.slot >= slot) {
                return Err(Malformed::Field("slot"));
            }
            if length == 0 {
                return Err(Malformed::Field("length"));
            }
            entries.push(Entry { slot, kind, inode, name });
        }
        if entries.is_empty() {
            return Err(Malformed::Short);
        }
        Ok(Bucket { entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(bucket: &Bucket) -> Vec<(u8, &[u8])> {
        bucket.entries.iter().map(|entry| (entry.slot, entry.name.as_ref())).collect()
    }

    #[test]
    fn a_name_keeps_its_slot_while_others_come_and_go() {
        let mut bucket = Bucket::default();
        for name in ["a", "b", "c"] {
            assert!(bucket.add(&Bytes::from(name), 1, FileKind::File));
        }
        assert_eq!(bucket.remove(b"b").map(|entry| entry.slot), Some(1));
        assert_eq!(names(&bucket), [(0, &b"a"[..]), (2, b"c")]);
        assert!(bucket.add(&Bytes::from("d"), 1, FileKind::Folder));
        assert!(bucket.add(&Bytes::from("e"), 1, FileKind::File));
        assert_eq!(names(&bucket), [(0, &b"a"[..]), (1, b"d"), (2, b"c"), (3, b"e")]);
        assert_eq!(Bucket::decode(&bucket.encode()), Ok(bucket));
    }

    #[test]
    fn a_full_bucket_says_so() {
        let mut bucket = Bucket::default();
        for number in 0..256 {
            assert!(bucket.add(&Bytes::from(number.to_string()), number, FileKind::File));
        }
        assert!(!bucket.add(&Bytes::from("one more"), 1, FileKind::File));
        assert_eq!(bucket.remove(b"17").map(|entry| entry.slot), Some(17));
        assert!(bucket.add(&Bytes::from("one more"), 1, FileKind::File));
    }

    #[test]
    fn bodies_that_make_no_sense_are_told() {
        let mut bucket = Bucket::default();
        assert!(bucket.add(&Bytes::from("name"), 5, FileKind::File));
        assert!(bucket.add(&Bytes::from("other"), 6, FileKind::Folder));
        let good = bucket.encode();
        assert_eq!(Bucket::decode(&[]), Err(Malformed::Short));
        for length in (0..good.len()).filter(|length| ![0, 15].contains(length)) {
            assert_eq!(Bucket::decode(&good[..length]), Err(Malformed::Short), "{length}");
        }
        let mut swapped = good[15..].to_vec();
        swapped.extend_from_slice(&good[..15]);
        assert_eq!(Bucket::decode(&swapped), Err(Malformed::Field("slot")));
    }

    #[test]
    fn cookies_are_positive_as_signed_numbers_and_leave_room_below() {
        for name in ["", "a", "b", "Makefile"] {
            let hash = hash(name.as_bytes());
            assert!(hash < 1 << HASH_BITS);
            let cookie = cookie(hash, 255);
            assert!((256..1 << 63).contains(&cookie));
            assert_eq!(cookie_hash(cookie), hash);
        }
        // Part of the format: it must never change.
        assert_eq!(hash(b"Makefile"), 0x28e5c84fef3e10);
    }
}
