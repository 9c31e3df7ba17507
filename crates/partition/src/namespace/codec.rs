//! How values are written: an envelope that notices damage, and fixed fields inside.
//!
//! ```text
//! value   0         1                   5
//!         +---------+-------------------+----------
//!         | version | CRC-32C           | body ...
//!         +---------+-------------------+----------
//! ```
//!
//! The checksum covers the key, the version and the body, so that a value that was put under a wrong
//! key is noticed too. Numbers in bodies are little-endian; in keys they are big-endian, so that the
//! order of keys is the order of numbers.

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};

/// The only version so far.
const VERSION: u8 = 1;

const CHECKSUM_AT: usize = 1;
const BODY_AT: usize = CHECKSUM_AT + 4;

/// Why a value could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("it is shorter than its fields")]
    Short,
    #[error("it is longer than its fields")]
    Long,
    #[error("its checksum does not fit its key and body")]
    Checksum,
    #[error("its version {0} is not known")]
    Version(u8),
    #[error("its field '{0}' holds no valid value")]
    Field(&'static str),
}

fn checksum(key: &[u8], version: u8, body: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(key);
    digest.update(&[version]);
    digest.update(body);
    digest.finalize() as u32
}

/// Puts `body` into its envelope for `key`.
pub(super) fn seal(key: &[u8], body: &[u8]) -> Bytes {
    let mut value = Vec::with_capacity(BODY_AT + body.len());
    value.push(VERSION);
    value.extend_from_slice(&checksum(key, VERSION, body).to_le_bytes());
    value.extend_from_slice(body);
    value.into()
}

/// The body of the value found under `key`.
pub(super) fn unseal<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], Malformed> {
    let (head, body) = value.split_at_checked(BODY_AT).ok_or(Malformed::Short)?;
    let stored = u32::from_le_bytes(head[CHECKSUM_AT..].try_into().expect("four bytes"));
    if stored != checksum(key, head[0], body) {
        return Err(Malformed::Checksum);
    }
    // Looked at after the checksum, so that an unknown version is known to be meant.
    if head[0] != VERSION {
        return Err(Malformed::Version(head[0]));
    }
    Ok(body)
}

/// Writes fields one after the other.
#[derive(Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn with_capacity(bytes: usize) -> Writer {
        Writer { bytes: Vec::with_capacity(bytes) }
    }

    pub(super) fn u8(&mut self, value: u8) -> &mut Writer {
        self.bytes.push(value);
        self
    }

    pub(super) fn u16(&mut self, value: u16) -> &mut Writer {
        self.raw(&value.to_le_bytes())
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Writer {
        self.raw(&value.to_le_bytes())
    }

    pub(super) fn u64(&mut self, value: u64) -> &mut Writer {
        self.raw(&value.to_le_bytes())
    }

    pub(super) fn i64(&mut self, value: i64) -> &mut Writer {
        self.raw(&value.to_le_bytes())
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) -> &mut Writer {
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads fields one after the other.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub(super) fn raw(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (field, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(field)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        Ok(self.raw(N)?.try_into().expect("as long as asked for"))
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_le_bytes)
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Nothing may be left.
    pub(super) fn finish(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Long) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_notices_any_flipped_bit_and_a_wrong_key() {
        let sealed = seal(b"key", b"body");
        assert_eq!(unseal(b"key", &sealed), Ok(&b"body"[..]));
        assert_eq!(unseal(b"kez", &sealed), Err(Malformed::Checksum));
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(b"key", &damaged).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(unseal(b"key", &sealed[..length]).is_err(), "cut to {length}");
        }
    }

    #[test]
    fn an_unknown_version_is_told_from_damage() {
        let mut value = vec![9];
        value.extend_from_slice(&checksum(b"k", 9, b"").to_le_bytes());
        assert_eq!(unseal(b"k", &value), Err(Malformed::Version(9)));
    }
}
