//! The words of Holdfast: ids, positions, configurations, limits, kinds of error.
//!
//! Everything here is a value. There is no I/O, no clock and no randomness; every other crate may
//! depend on this one, and this one depends on none of them. A number that could be mistaken for
//! another has a type of its own, with its promise in the first line.

pub mod access;
pub mod checksum;
pub mod condition;
pub mod configuration;
pub mod error;
pub mod id;
pub mod kv;
pub mod limits;
pub mod namespace;
pub mod operation;
pub mod position;
pub mod time;
pub mod volume;

pub use configuration::{Configuration, Member};
pub use error::Kind;
pub use id::{
    BootId, ClusterId, DiskId, InodeId, NodeId, OperationId, PartitionId, ReplicaId, SessionId,
    TokenId, VolumeId,
};
pub use position::{Epoch, Sequence};
pub use time::{Moment, Timestamp};
