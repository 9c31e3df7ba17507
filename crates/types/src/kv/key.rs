//! A key of a map, kept in place where it is short.
//!
//! Nearly all keys are: a letter and two numbers. A map of a hundred thousand of them is searched by
//! comparing keys that lie in its nodes; with each key in a place of its own, every comparison would
//! fetch from memory, and every change would take some and give it back.
//!
//! ```text
//! bytes <= KEY_BYTES_IN_PLACE     in place, and then zeros
//! otherwise                       elsewhere, shared by copies
//! ```

use bytes::Bytes;
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// Longest key that is kept in place.
const KEY_BYTES_IN_PLACE: usize = 22;

// A key takes no more room in a map than the handle to bytes elsewhere does.
const _: () = assert!(size_of::<Key>() <= size_of::<Bytes>());

/// The bytes of a key; cheap to copy.
#[derive(Clone)]
pub struct Key(Place);

#[derive(Clone)]
enum Place {
    Here { length: u8, bytes: [u8; KEY_BYTES_IN_PLACE] },
    Elsewhere(Bytes),
}

impl Key {
    /// A key of several pieces, one after the other.
    #[must_use]
    #[inline]
    pub fn of(pieces: &[&[u8]]) -> Key {
        let length = pieces.iter().map(|piece| piece.len()).sum();
        let mut bytes = [0; KEY_BYTES_IN_PLACE];
        let Some(mut rest) = bytes.get_mut(..length) else {
            return Key(Place::Elsewhere(pieces.concat().into()));
        };
        for piece in pieces {
            let (here, after) = rest.split_at_mut(piece.len());
            here.copy_from_slice(piece);
            rest = after;
        }
        Key(Place::Here { length: u8::try_from(length).expect("it is short"), bytes })
    }
}

impl Deref for Key {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Place::Here { length, bytes } => &bytes[..usize::from(*length)],
            Place::Elsewhere(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Key {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Maps may be asked by bare bytes: equality, order and hash are those of the bytes.
impl Borrow<[u8]> for Key {
    #[inline]
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Key {
    #[inline]
    fn eq(&self, other: &Key) -> bool {
        **self == **other
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    #[inline]
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    #[inline]
    fn cmp(&self, other: &Key) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Key {
        Key::of(&[bytes])
    }
}

impl<const N: usize> From<&[u8; N]> for Key {
    fn from(bytes: &[u8; N]) -> Key {
        Key::of(&[bytes])
    }
}

impl From<Vec<u8>> for Key {
    fn from(bytes: Vec<u8>) -> Key {
        Key::from(Bytes::from(bytes))
    }
}

impl From<Bytes> for Key {
    fn from(bytes: Bytes) -> Key {
        if bytes.len() <= KEY_BYTES_IN_PLACE {
            Key::of(&[&bytes])
        } else {
            Key(Place::Elsewhere(bytes))
        }
    }
}

impl From<Key> for Bytes {
    fn from(key: Key) -> Bytes {
        match key.0 {
            Place::Here { .. } => Bytes::copy_from_slice(&key),
            Place::Elsewhere(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Keys of every length around the longest that is kept in place.
    fn samples() -> Vec<Vec<u8>> {
        let lengths = [0, 1, 9, KEY_BYTES_IN_PLACE - 1, KEY_BYTES_IN_PLACE, KEY_BYTES_IN_PLACE + 1];
        let mut samples: Vec<Vec<u8>> = Vec::new();
        for length in lengths {
            samples.extend([0, 7, 255].map(|byte| vec![byte; length]));
            samples.push((0..length).map(|at| u8::try_from(at).unwrap()).collect());
        }
        samples
    }

    #[test]
    fn a_key_is_its_bytes_wherever_they_are() {
        for bytes in samples() {
            let key = Key::from(bytes.clone());
            assert_eq!(&*key, &bytes);
            assert_eq!(Bytes::from(key.clone()), bytes);
            let half = bytes.len() / 2;
            assert_eq!(Key::of(&[&bytes[..half], &bytes[half..]]), key);
            assert_eq!(Key::from(&bytes[..]), key);
        }
    }

    #[test]
    fn keys_are_ordered_and_found_as_their_bytes() {
        for one in samples() {
            for other in samples() {
                let keys = (Key::from(one.clone()), Key::from(other.clone()));
                assert_eq!(keys.0.cmp(&keys.1), one.cmp(&other), "{one:?} {other:?}");
                assert_eq!(keys.0 == keys.1, one == other);
            }
        }
        let map: BTreeMap<Key, usize> =
            samples().into_iter().map(|bytes| (Key::from(bytes.clone()), bytes.len())).collect();
        for bytes in samples() {
            assert_eq!(map.get(&bytes[..]), Some(&bytes.len()));
        }
        assert_eq!(map.get(&b"absent"[..]), None);
    }

    #[test]
    fn a_key_is_shown_as_text() {
        assert_eq!(format!("{:?}", Key::from(b"I\0a")), r#""I\x00a""#);
    }
}
