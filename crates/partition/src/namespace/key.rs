//! The keys of a namespace: one letter for the kind, then big-endian numbers, then bytes.
//!
//! ```text
//! !                               a transfer into this store is under way
//! C inode(8) chunk(8)             data partition of a chunk but the first
//! E folder(8) hash(7)             names of a folder with this hash, nearly always one
//! H session(8) holding(1) inode(8)  the session holds locks ('l') or the delegation ('d') of the inode
//! I inode(8)                      the inode
//! L inode(8)                      its locks
//! O inode(8)                      it is an orphan
//! R session(8) number(8)          a remembered outcome
//! S session(8)                    a live session
//! T                               totals: what was applied, counters, accounting
//! X inode(8) name(..)             an extended attribute
//! ```

use types::kv::{Key, prefix_end};

pub(super) const TRANSFER: &[u8] = b"!";
pub(super) const CHUNK: u8 = b'C';
pub(super) const ENTRY: u8 = b'E';
pub(super) const HOLDING: u8 = b'H';
pub(super) const INODE: u8 = b'I';
pub(super) const LOCKS: u8 = b'L';
pub(super) const ORPHAN: u8 = b'O';
pub(super) const OUTCOME: u8 = b'R';
pub(super) const SESSION: u8 = b'S';
pub(super) const TOTALS: &[u8] = b"T";
pub(super) const XATTR: u8 = b'X';

/// What a session can hold of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holding {
    Delegation = b'd' as isize,
    Locks = b'l' as isize,
}

impl Holding {
    pub(super) fn from_byte(byte: u8) -> Option<Holding> {
        match byte {
            b'd' => Some(Holding::Delegation),
            b'l' => Some(Holding::Locks),
            _ => None,
        }
    }
}

/// A kind and one number: a whole key, or the prefix of longer ones.
pub(super) fn one(kind: u8, number: u64) -> Key {
    Key::of(&[&[kind], &number.to_be_bytes()])
}

/// A kind and two numbers.
pub(super) fn two(kind: u8, first: u64, second: u64) -> Key {
    Key::of(&[&[kind], &first.to_be_bytes(), &second.to_be_bytes()])
}

pub(super) fn inode(id: u64) -> Key {
    one(INODE, id)
}

/// The names of `folder` whose hash is `hash`.
pub(super) fn entry(folder: u64, hash: u64) -> Key {
    Key::of(&[&[ENTRY], &folder.to_be_bytes(), &hash.to_be_bytes()[1..]])
}

pub(super) fn xattr(inode: u64, name: &[u8]) -> Key {
    Key::of(&[&[XATTR], &inode.to_be_bytes(), name])
}

pub(super) fn holding(session: u64, holding: Holding, inode: u64) -> Key {
    Key::of(&[&[HOLDING], &session.to_be_bytes(), &[holding as u8], &inode.to_be_bytes()])
}

/// The big-endian number at `at`; `None` when the key is too short.
pub(super) fn number(key: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(at..at + 8)?.try_into().ok()?))
}

/// The hash in the key of an entry.
pub(super) fn entry_hash(key: &[u8]) -> Option<u64> {
    let mut bytes = [0; 8];
    bytes[1..].copy_from_slice(key.get(9..16)?);
    Some(u64::from_be_bytes(bytes))
}

/// The first key after those that begin with `prefix`.
pub(super) fn after(prefix: &[u8]) -> Key {
    prefix_end(prefix).expect("our kinds are letters, so a prefix has an end").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_their_numbers() {
        assert!(entry(1, 255) < entry(1, 256));
        assert!(entry(1, (1 << 55) - 1) < entry(2, 1));
        assert!(two(CHUNK, 7, 300) < two(CHUNK, 8, 0));
        assert_eq!(entry_hash(&entry(9, 77)), Some(77));
        assert_eq!(number(&two(CHUNK, 7, 300), 9), Some(300));
        assert_eq!(entry(9, 77).len(), 16);
    }
}
