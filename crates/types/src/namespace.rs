//! The words of file volumes: what a client asks of a namespace and what it answers.
//!
//! Every type here is a prost message, so that one definition serves the wire, the log and the
//! remembered outcomes. Tags are never reused. Ids are plain numbers in the messages; both sides
//! wrap them ([`crate::InodeId`], [`crate::SessionId`], [`crate::PartitionId`]) as soon as they
//! are taken out. Times are nanoseconds since 1970 ([`crate::Timestamp`]). Names are bytes, as on Linux.
//!
//! A [`Command`] changes the namespace and is replicated in its log, [`Stamped`] by the leader; it
//! ends in an [`Outcome`]. A [`Query`] only reads, and ends in an [`Answer`].

mod attributes;
mod command;
mod failure;
mod lock;
mod outcome;
mod query;

pub use attributes::{Attributes, FileKind, Placement};
pub use command::{
    AllocateChunks, Caller, CloseSession, Command, Commit, CommitItem, Create, Delegate,
    DropChunks, ExpireSession, Link, OpenSession, Purge, ReleaseLocks, RemoveXattr, Rename,
    RenewSession, Request, Reserve, SetAttributes, SetCapacity, SetLock, SetXattr, Stamped,
    TimeChange, Undelegate, Unlink, Unreserve, XattrMode, time_change,
};
pub use failure::{Failure, FailureKind};
pub use lock::{Lock, LockKind, LockMode};
pub use outcome::outcome_body::OutcomeBody;
pub use outcome::{
    Changed, Committed, CommittedItem, Created, Delegated, Done, Linked, Opened, Outcome, Placed,
    Purged, Renamed, Reserved, Unlinked, outcome_body,
};
pub use query::{
    Answer, AnswerBody, ChunkMap, ChunkMapPage, DirectoryEntry, DirectoryPage, GetAttributes,
    GetLock, GetXattr, ListOrphans, ListSessions, ListXattr, Lookup, Orphan, OrphanPage, Query,
    QueryBody, ReadDirectory, ReadLink, Session, SessionList, Statfs, Usage, XattrList,
};
