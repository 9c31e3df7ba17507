//! What clients and nodes say about the bytes of chunks.
//!
//! An *object* is what bytes belong to (a file's inode number); an *offset* is in the object's own
//! address space. Bytes themselves travel as the frame's payload, never in the body.

use bytes::Bytes;

/// Writes the payload at `offset`. Lies within one chunk.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Write {
    #[prost(uint64, tag = "1")]
    pub object: u64,
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    /// CRC-32C of each 4 KiB of the payload, little-endian, made by whoever made the bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub checksums: Bytes,
}

/// The write is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Written {
    /// By how many bytes the object grew on each replica (negative: shrank).
    #[prost(sint64, tag = "1")]
    pub allocated_delta: i64,
}

/// Reads a range; holes read as zeros. At most one frame's payload long.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Read {
    #[prost(uint64, tag = "1")]
    pub object: u64,
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    #[prost(uint32, tag = "3")]
    pub length: u32,
}

/// The bytes are the payload; nothing to say beside them.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ReadReply {}

/// Makes everything acknowledged before it durable.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Flush {}

/// Empties a range: it reads as zeros, and its room comes back. Answered by [`Written`].
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Trim {
    #[prost(uint64, tag = "1")]
    pub object: u64,
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    #[prost(uint64, tag = "3")]
    pub length: u64,
}

/// Deletes objects for good; what comes later for them is refused as gone. Answered, without a body,
/// once that is durable; when it is refused some of them may be gone, and it may be asked again. At
/// least one, and at most `DELETE_OBJECTS_MAX`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Delete {
    #[prost(uint64, repeated, tag = "1")]
    pub objects: Vec<u64>,
}

/// Asks which parts of a range hold data.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Extents {
    #[prost(uint64, tag = "1")]
    pub object: u64,
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    #[prost(uint64, tag = "3")]
    pub length: u64,
}

/// The parts that hold data, ascending, neighbours joined.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ExtentsReply {
    /// Offset and length by turns.
    #[prost(uint64, repeated, tag = "1")]
    pub runs: Vec<u64>,
}

/// Asks another replica for the record that holds a range, to mend or to copy it.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Mend {
    #[prost(uint64, tag = "1")]
    pub object: u64,
    /// Where the record's payload begins in the object.
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    /// The record's whole payload length.
    #[prost(uint32, tag = "3")]
    pub length: u32,
    /// A byte of the object that the record must be the newest holder of.
    #[prost(uint64, tag = "4")]
    pub at: u64,
}

/// The record: its header and key here, its payload as the frame's payload.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct MendReply {
    #[prost(bytes = "bytes", tag = "1")]
    pub header: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub key: Bytes,
}
