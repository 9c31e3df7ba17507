//! What replicas of a partition say to each other; one way, and any of it may get lost.
//!
//! The engine's own messages in a form for the wire. Payloads of all entries lie one after
//! the other in the frame's payload.

use bytes::Bytes;

/// One message between two replicas.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Replicate {
    #[prost(uint64, tag = "1")]
    pub from: u64,
    #[prost(uint64, tag = "2")]
    pub to: u64,
    #[prost(oneof = "Message", tags = "3, 4, 5, 6, 7, 8")]
    pub message: Option<Message>,
}

/// The kinds of message.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum Message {
    #[prost(message, tag = "3")]
    Append(Append),
    #[prost(message, tag = "4")]
    Ack(Ack),
    #[prost(message, tag = "5")]
    Reject(Reject),
    #[prost(message, tag = "6")]
    Stale(Stale),
    #[prost(message, tag = "7")]
    Compare(Compare),
    #[prost(message, tag = "8")]
    Compared(Compared),
}

/// Place and epoch of an entry.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Position {
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    #[prost(uint64, tag = "2")]
    pub sequence: u64,
}

/// One entry; its payload is in the frame's payload.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Entry {
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    #[prost(uint32, tag = "2")]
    pub kind: u32,
    #[prost(uint32, tag = "3")]
    pub key_bytes: u32,
    #[prost(uint32, tag = "4")]
    pub payload_bytes: u32,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Append {
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    #[prost(uint64, tag = "2")]
    pub stamp: u64,
    #[prost(uint64, tag = "3")]
    pub life: u64,
    #[prost(message, optional, tag = "4")]
    pub previous: Option<Position>,
    #[prost(uint64, tag = "5")]
    pub end: u64,
    #[prost(uint64, tag = "6")]
    pub committed: u64,
    #[prost(uint64, tag = "7")]
    pub sync_upto: u64,
    #[prost(message, repeated, tag = "8")]
    pub entries: Vec<Entry>,
    /// One for each entry.
    #[prost(bytes = "bytes", repeated, tag = "9")]
    pub keys: Vec<Bytes>,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Ack {
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    #[prost(uint64, tag = "2")]
    pub stamp: u64,
    #[prost(uint64, tag = "3")]
    pub life: u64,
    #[prost(uint64, tag = "4")]
    pub matched: u64,
    #[prost(uint64, tag = "5")]
    pub synced: u64,
    #[prost(bool, tag = "6")]
    pub proven: bool,
    /// 0: none, 1: no space, 2: the disk failed, 3: diverged.
    #[prost(uint32, tag = "7")]
    pub failure: u32,
    /// Its disk has 0: room, 1: no more than its reserve, 2: less than half of that.
    #[prost(uint32, tag = "8")]
    pub room: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Reject {
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    #[prost(uint64, tag = "2")]
    pub stamp: u64,
    #[prost(uint64, tag = "3")]
    pub life: u64,
    #[prost(message, optional, tag = "4")]
    pub hint: Option<Position>,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Stale {
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// Zero: not known.
    #[prost(uint64, tag = "2")]
    pub leader: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Compare {
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    #[prost(uint64, tag = "2")]
    pub stamp: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Compared {
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    #[prost(uint64, tag = "2")]
    pub stamp: u64,
    #[prost(uint64, tag = "3")]
    pub life: u64,
    #[prost(message, optional, tag = "4")]
    pub last: Option<Position>,
}

/// One piece of a snapshot, pushed by the leader. Answered by [`SnapshotReply`].
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Snapshot {
    #[prost(uint64, tag = "1")]
    pub to: u64,
    #[prost(uint64, tag = "2")]
    pub from: u64,
    /// Epoch of the leader that sends.
    #[prost(uint64, tag = "3")]
    pub epoch: u64,
    /// The last entry that the snapshot includes.
    #[prost(message, optional, tag = "4")]
    pub at: Option<Position>,
    /// Number of this piece, from 0.
    #[prost(uint64, tag = "5")]
    pub piece: u64,
    /// This is the last piece.
    #[prost(bool, tag = "6")]
    pub last: bool,
    /// Keys and values of the index by turns (namespaces), in the frame's payload by these lengths.
    #[prost(uint32, repeated, tag = "7")]
    pub pairs: Vec<u32>,
    /// Lengths of whole records in the frame's payload (data).
    #[prost(uint32, repeated, tag = "8")]
    pub records: Vec<u32>,
    /// For each record: how its live parts lie: start in its payload, length, by turns; the count
    /// of parts is in `parts`.
    #[prost(uint32, repeated, tag = "9")]
    pub parts: Vec<u32>,
    #[prost(uint32, repeated, tag = "10")]
    pub live: Vec<u32>,
    /// Objects that were deleted for good (data).
    #[prost(uint64, repeated, tag = "11")]
    pub tombstones: Vec<u64>,
    /// Drawn by the sender for each snapshot that it begins. A piece that comes again under it is the one
    /// that was sent before: its answer did not come in time.
    #[prost(uint64, tag = "12")]
    pub attempt: u64,
}

/// The piece was stored.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct SnapshotReply {
    /// How long to wait with the next one, in microseconds, because clients want something of the
    /// node that took it.
    #[prost(uint64, tag = "1")]
    pub rest_us: u64,
}
