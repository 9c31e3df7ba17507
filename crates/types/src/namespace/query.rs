//! What is asked of a namespace without changing it, and the answers.

use super::{Attributes, Failure, FileKind, Lock, Placement};
use bytes::Bytes;

/// One question; answered by the leader from what it applied.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Query {
    #[prost(oneof = "QueryBody", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11")]
    pub body: Option<QueryBody>,
}

impl From<QueryBody> for Query {
    fn from(body: QueryBody) -> Query {
        Query { body: Some(body) }
    }
}

/// The questions.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum QueryBody {
    #[prost(message, tag = "1")]
    Lookup(Lookup),
    #[prost(message, tag = "2")]
    GetAttributes(GetAttributes),
    #[prost(message, tag = "3")]
    ReadDirectory(ReadDirectory),
    #[prost(message, tag = "4")]
    ReadLink(ReadLink),
    #[prost(message, tag = "5")]
    GetXattr(GetXattr),
    #[prost(message, tag = "6")]
    ListXattr(ListXattr),
    #[prost(message, tag = "7")]
    ChunkMap(ChunkMap),
    #[prost(message, tag = "8")]
    Statfs(Statfs),
    #[prost(message, tag = "9")]
    GetLock(GetLock),
    #[prost(message, tag = "10")]
    ListSessions(ListSessions),
    #[prost(message, tag = "11")]
    ListOrphans(ListOrphans),
}

/// The inode behind a name. Answer: `Attributes`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Lookup {
    #[prost(uint64, tag = "1")]
    pub parent: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub name: Bytes,
}

/// Answer: `Attributes`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct GetAttributes {
    #[prost(uint64, tag = "1")]
    pub inode: u64,
}

/// One page of a folder, without `.` and `..`. Answer: `Directory`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ReadDirectory {
    #[prost(uint64, tag = "1")]
    pub inode: u64,
    /// Zero for the first page, else the cookie of the last entry that was taken. Cookies are
    /// below 2^63, at least 256, and stay good whatever is added or removed meanwhile.
    #[prost(uint64, tag = "2")]
    pub after: u64,
    #[prost(uint32, tag = "3")]
    pub entries_max: u32,
    /// Give the attributes of each entry too.
    #[prost(bool, tag = "4")]
    pub attributes: bool,
}

/// Answer: `Bytes`, the target.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ReadLink {
    #[prost(uint64, tag = "1")]
    pub inode: u64,
}

/// Answer: `Bytes`, the value.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GetXattr {
    #[prost(uint64, tag = "1")]
    pub inode: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub name: Bytes,
}

/// Answer: `Xattrs`, the names.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ListXattr {
    #[prost(uint64, tag = "1")]
    pub inode: u64,
}

/// Where the placed chunks from `first` on live. Answer: `Chunks`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ChunkMap {
    #[prost(uint64, tag = "1")]
    pub inode: u64,
    #[prost(uint64, tag = "2")]
    pub first: u64,
    #[prost(uint32, tag = "3")]
    pub placements_max: u32,
}

/// Answer: `Usage`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Statfs {}

/// The lock that is in the way of `lock` (`F_GETLK`). Answer: `Lock`, or `Done` when none is.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct GetLock {
    #[prost(uint64, tag = "1")]
    pub inode: u64,
    #[prost(message, optional, tag = "2")]
    pub lock: Option<Lock>,
}

/// Answer: `Sessions`, all of them (there are few).
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ListSessions {}

/// One page of inodes without a name. Answer: `Orphans`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ListOrphans {
    /// Zero for the first page, else the last inode of the page before.
    #[prost(uint64, tag = "1")]
    pub after: u64,
    #[prost(uint32, tag = "2")]
    pub orphans_max: u32,
}

/// The answer to a question.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Answer {
    #[prost(oneof = "AnswerBody", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11")]
    pub body: Option<AnswerBody>,
}

impl Answer {
    /// The body, or the refusal. An answer of a kind this version does not know is a refusal too.
    ///
    /// # Errors
    /// The refusal.
    pub fn into_result(self) -> Result<AnswerBody, Failure> {
        match self.body {
            Some(AnswerBody::Failure(failure)) => Err(failure),
            Some(body) => Ok(body),
            None => Err(Failure::new(super::FailureKind::Unknown)),
        }
    }
}

impl From<AnswerBody> for Answer {
    fn from(body: AnswerBody) -> Answer {
        Answer { body: Some(body) }
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Answer {
        Answer { body: Some(AnswerBody::Failure(failure)) }
    }
}

/// The forms an answer may take.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum AnswerBody {
    #[prost(message, tag = "1")]
    Failure(Failure),
    #[prost(message, tag = "2")]
    Attributes(Attributes),
    #[prost(message, tag = "3")]
    Directory(DirectoryPage),
    #[prost(bytes = "bytes", tag = "4")]
    Bytes(Bytes),
    #[prost(message, tag = "5")]
    Xattrs(XattrList),
    #[prost(message, tag = "6")]
    Chunks(ChunkMapPage),
    #[prost(message, tag = "7")]
    Usage(Usage),
    #[prost(message, tag = "8")]
    Lock(Lock),
    #[prost(message, tag = "9")]
    Sessions(SessionList),
    #[prost(message, tag = "10")]
    Orphans(OrphanPage),
    #[prost(message, tag = "11")]
    Done(super::Done),
}

/// Some entries of a folder, in the order of their cookies.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DirectoryPage {
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<DirectoryEntry>,
    /// Nothing comes after this page.
    #[prost(bool, tag = "2")]
    pub end: bool,
    /// The folder that holds this one, for `..`.
    #[prost(uint64, tag = "3")]
    pub parent: u64,
    /// The folder's version when the page was read.
    #[prost(uint64, tag = "4")]
    pub version: u64,
}

/// One name of a folder.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DirectoryEntry {
    #[prost(bytes = "bytes", tag = "1")]
    pub name: Bytes,
    #[prost(uint64, tag = "2")]
    pub inode: u64,
    #[prost(enumeration = "FileKind", tag = "3")]
    pub kind: i32,
    #[prost(uint64, tag = "4")]
    pub cookie: u64,
    #[prost(message, optional, tag = "5")]
    pub attributes: Option<Attributes>,
}

/// The names of extended attributes, ascending.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct XattrList {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub names: Vec<Bytes>,
}

/// Some placed chunks, ascending.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ChunkMapPage {
    #[prost(message, repeated, tag = "1")]
    pub placements: Vec<Placement>,
    /// Nothing comes after this page.
    #[prost(bool, tag = "2")]
    pub end: bool,
}

/// What the volume holds and may hold, in bytes of one copy.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Usage {
    #[prost(uint64, tag = "1")]
    pub capacity: u64,
    /// Held by inodes, orphans counted.
    #[prost(uint64, tag = "2")]
    pub used: u64,
    /// Set aside for sessions.
    #[prost(uint64, tag = "3")]
    pub reserved: u64,
    #[prost(uint64, tag = "4")]
    pub inodes: u64,
    /// Most inodes; zero: as many as fit.
    #[prost(uint64, tag = "5")]
    pub inodes_max: u64,
    #[prost(uint64, tag = "6")]
    pub orphans: u64,
}

/// One live session.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Session {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(fixed64, tag = "2")]
    pub nonce: u64,
    #[prost(string, tag = "3")]
    pub name: String,
    #[prost(sfixed64, tag = "4")]
    pub opened: i64,
    /// When it last sent `OpenSession` or `RenewSession`.
    #[prost(sfixed64, tag = "5")]
    pub renewed: i64,
    #[prost(uint64, tag = "6")]
    pub reserved: u64,
    /// Outcomes of smaller numbers are forgotten.
    #[prost(uint64, tag = "7")]
    pub remembered_from: u64,
}

/// All live sessions, ascending.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SessionList {
    #[prost(message, repeated, tag = "1")]
    pub sessions: Vec<Session>,
}

/// Some orphans, ascending.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct OrphanPage {
    #[prost(message, repeated, tag = "1")]
    pub orphans: Vec<Orphan>,
    /// Nothing comes after this page.
    #[prost(bool, tag = "2")]
    pub end: bool,
}

/// An inode without a name.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Orphan {
    #[prost(message, optional, tag = "1")]
    pub attributes: Option<Attributes>,
    /// Its first chunks.
    #[prost(message, repeated, tag = "2")]
    pub placements: Vec<Placement>,
    /// There are more chunks than listed: ask `ChunkMap`.
    #[prost(bool, tag = "3")]
    pub placements_more: bool,
}
