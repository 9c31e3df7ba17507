//! The unit of a session: a fixed header, a structured body, a raw payload.
//!
//! ```text
//!  0      4  magic "HFW1"
//!  4      2  version (1)
//!  6      1  kind: 1 request, 2 reply, 3 one way, 4 cancel
//!  7      1  class
//!  8      8  request id
//! 16      2  operation
//! 18      2  status (replies; else 0)
//! 20      4  deadline, milliseconds from now (requests; else 0)
//! 24      8  partition (0: none)
//! 32      8  epoch (0: none)
//! 40      4  body length
//! 44      4  payload length
//! 48      4  body checksum
//! 52      4  payload checksum
//! 56      1  access length: 0, or 32 (requests): the body begins with the secret of a token
//! 57      3  zero
//! 60      4  checksum of bytes 0..60
//! 64         body, then payload
//! ```
//!
//! All numbers are little-endian, all checksums CRC-32C. The header's own checksum is verified
//! before any of its lengths is believed.

use crate::access::SECRET_BYTES;
use crate::operation::{Class, Operation};
use crate::status::Status;
use bytes::Bytes;
use types::checksum::crc32c;
use types::limits::{FRAME_BODY_BYTES_MAX, FRAME_PAYLOAD_BYTES_MAX};
use types::{Epoch, PartitionId};

/// Length of a header on the wire.
pub const HEADER_BYTES: usize = 64;
/// First bytes of every frame.
pub const MAGIC: [u8; 4] = *b"HFW1";
/// The version this build speaks.
pub const VERSION: u16 = 1;

/// What a frame is to its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Wants a reply.
    Request = 1,
    /// Answers a request.
    Reply = 2,
    /// Wants no reply.
    OneWay = 3,
    /// The caller of a request no longer waits for it.
    Cancel = 4,
}

/// A header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub class: Class,
    pub request_id: u64,
    pub operation: Operation,
    pub status: Status,
    pub deadline_ms: u32,
    pub partition: PartitionId,
    pub epoch: Epoch,
    pub body_bytes: u32,
    pub payload_bytes: u32,
    pub body_checksum: u32,
    pub payload_checksum: u32,
    /// How many bytes at the beginning of the body are the secret of a token.
    pub access_bytes: u8,
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error(
        "the frame does not begin with the magic number: the peer does not speak this protocol"
    )]
    Magic,
    #[error("the header's checksum is wrong")]
    HeaderChecksum,
    #[error("version {0} of the protocol is not known here (this build speaks {VERSION})")]
    Version(u16),
    #[error("unknown frame kind {0}")]
    Kind(u8),
    #[error("unknown class {0}")]
    Class(u8),
    #[error("unknown operation {0}")]
    Operation(u16),
    #[error("a body of {0} bytes exceeds the limit of {FRAME_BODY_BYTES_MAX}")]
    BodyTooLong(u32),
    #[error("a payload of {0} bytes exceeds the limit of {FRAME_PAYLOAD_BYTES_MAX}")]
    PayloadTooLong(u32),
    #[error("the body's checksum is wrong")]
    BodyChecksum,
    #[error("the payload's checksum is wrong")]
    PayloadChecksum,
    #[error("reserved bytes are not zero")]
    Reserved,
    #[error("a token of {0} bytes, in a body that is shorter or on what is no request")]
    Access(u8),
}

/// A header with its body and payload.
#[derive(Clone, Debug)]
pub struct Frame {
    pub header: Header,
    pub body: Bytes,
    pub payload: Bytes,
}

impl Header {
    /// Encodes the header, with its checksum.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &MAGIC);
        put(4, &VERSION.to_le_bytes());
        put(6, &[self.kind as u8, self.class as u8]);
        put(8, &self.request_id.to_le_bytes());
        put(16, &(self.operation as u16).to_le_bytes());
        put(18, &(self.status as u16).to_le_bytes());
        put(20, &self.deadline_ms.to_le_bytes());
        put(24, &self.partition.0.to_le_bytes());
        put(32, &self.epoch.0.to_le_bytes());
        put(40, &self.body_bytes.to_le_bytes());
        put(44, &self.payload_bytes.to_le_bytes());
        put(48, &self.body_checksum.to_le_bytes());
        put(52, &self.payload_checksum.to_le_bytes());
        bytes[56] = self.access_bytes;
        let checksum = crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Decodes and checks a header.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Header, Malformed> {
        let u16_at = |at: usize| u16::from_le_bytes(array(bytes, at));
        let u32_at = |at: usize| u32::from_le_bytes(array(bytes, at));
        let u64_at = |at: usize| u64::from_le_bytes(array(bytes, at));
        if bytes[..4] != MAGIC {
            return Err(Malformed::Magic);
        }
        // Before anything else of the header is believed.
        if u32_at(60) != crc32c(&bytes[..60]) {
            return Err(Malformed::HeaderChecksum);
        }
        if u16_at(4) != VERSION {
            return Err(Malformed::Version(u16_at(4)));
        }
        if bytes[57..60] != [0; 3] {
            return Err(Malformed::Reserved);
        }
        let (body_bytes, payload_bytes) = (u32_at(40), u32_at(44));
        if body_bytes > FRAME_BODY_BYTES_MAX {
            return Err(Malformed::BodyTooLong(body_bytes));
        }
        if payload_bytes > FRAME_PAYLOAD_BYTES_MAX {
            return Err(Malformed::PayloadTooLong(payload_bytes));
        }
        let kind = kind(bytes[6])?;
        let access_bytes = bytes[56];
        check_access(access_bytes, kind, body_bytes)?;
        Ok(Header {
            kind,
            class: Class::from_number(bytes[7]).ok_or(Malformed::Class(bytes[7]))?,
            request_id: u64_at(8),
            operation: Operation::from_number(u16_at(16))
                .ok_or(Malformed::Operation(u16_at(16)))?,
            status: Status::from_number(u16_at(18)),
            deadline_ms: u32_at(20),
            partition: PartitionId(u64_at(24)),
            epoch: Epoch(u64_at(32)),
            body_bytes,
            payload_bytes,
            body_checksum: u32_at(48),
            payload_checksum: u32_at(52),
            access_bytes,
        })
    }

    /// Checks body and payload against the header.
    ///
    /// # Errors
    /// Which of the two is damaged.
    pub fn verify(&self, body: &[u8], payload: &[u8]) -> Result<(), Malformed> {
        if crc32c(body) != self.body_checksum {
            return Err(Malformed::BodyChecksum);
        }
        if crc32c(payload) != self.payload_checksum {
            return Err(Malformed::PayloadChecksum);
        }
        Ok(())
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("N bytes were taken")
}

fn check_access(access_bytes: u8, kind: Kind, body_bytes: u32) -> Result<(), Malformed> {
    let fits = usize::from(access_bytes) == SECRET_BYTES && u32::from(access_bytes) <= body_bytes;
    let is_request = matches!(kind, Kind::Request | Kind::OneWay);
    if access_bytes == 0 || (fits && is_request) {
        return Ok(());
    }
    Err(Malformed::Access(access_bytes))
}

fn kind(number: u8) -> Result<Kind, Malformed> {
    match number {
        1 => Ok(Kind::Request),
        2 => Ok(Kind::Reply),
        3 => Ok(Kind::OneWay),
        4 => Ok(Kind::Cancel),
        number => Err(Malformed::Kind(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Header {
        Header {
            kind: Kind::Request,
            class: Class::Foreground,
            request_id: 7,
            operation: Operation::DataWrite,
            status: Status::Ok,
            deadline_ms: 5000,
            partition: PartitionId(3),
            epoch: Epoch(2),
            body_bytes: 4,
            payload_bytes: 5,
            body_checksum: crc32c(b"body"),
            payload_checksum: crc32c(b"bytes"),
            access_bytes: 0,
        }
    }

    #[test]
    fn a_header_survives_the_wire() {
        assert_eq!(Header::decode(&sample().encode()), Ok(sample()));
        assert_eq!(sample().verify(b"body", b"bytes"), Ok(()));
        assert_eq!(sample().verify(b"bodY", b"bytes"), Err(Malformed::BodyChecksum));
        assert_eq!(sample().verify(b"body", b"byteS"), Err(Malformed::PayloadChecksum));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = sample().encode();
        for bit in 0..HEADER_BYTES * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn lengths_past_the_limits_are_refused() {
        let long = Header { body_bytes: FRAME_BODY_BYTES_MAX + 1, ..sample() };
        assert!(matches!(Header::decode(&long.encode()), Err(Malformed::BodyTooLong(_))));
        let long = Header { payload_bytes: u32::MAX, ..sample() };
        assert!(matches!(Header::decode(&long.encode()), Err(Malformed::PayloadTooLong(_))));
    }

    #[test]
    fn a_token_has_one_length_and_goes_with_requests() {
        let with = |kind, access_bytes, body_bytes| {
            let header = Header { kind, access_bytes, body_bytes, ..sample() };
            Header::decode(&header.encode())
        };
        assert!(with(Kind::Request, 32, 32).is_ok());
        assert_eq!(with(Kind::Request, 32, 31), Err(Malformed::Access(32)));
        assert_eq!(with(Kind::Request, 31, 64), Err(Malformed::Access(31)));
        assert_eq!(with(Kind::Reply, 32, 64), Err(Malformed::Access(32)));
    }

    proptest! {
        #[test]
        fn random_bytes_are_never_a_frame(bytes in proptest::array::uniform32(any::<u8>())) {
            let mut header = [0; HEADER_BYTES];
            header[..32].copy_from_slice(&bytes);
            header[32..].copy_from_slice(&bytes);
            prop_assert!(Header::decode(&header).is_err());
        }
    }
}
