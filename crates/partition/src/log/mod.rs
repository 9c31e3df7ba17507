//! What a log looks like on a disk: segments of records.
//!
//! This module knows the bytes and what can be trusted about them. The files themselves belong to
//! the node.

pub mod record;
pub mod segment;

pub use record::{Record, RecordHeader};
pub use segment::SegmentHeader;

/// Where a record begins: which segment, and how many bytes into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    pub segment: u32,
    pub offset: u32,
}
