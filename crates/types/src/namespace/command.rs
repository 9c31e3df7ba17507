//! What changes a namespace. Each command happens once, wholly or not at all.

use super::{FileKind, Lock, LockKind, Placement};
use bytes::Bytes;

/// On whose behalf something is done, as the mount's kernel named them.
///
/// Permissions are checked by the kernel (`default_permissions`); the namespace uses this to give
/// new inodes their owner and to follow the rules that must be atomic with the change.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Caller {
    #[prost(uint32, tag = "1")]
    pub uid: u32,
    #[prost(uint32, tag = "2")]
    pub gid: u32,
    /// Supplementary groups, when they are known.
    #[prost(uint32, repeated, tag = "3")]
    pub groups: Vec<u32>,
}

/// One command as a client sends it.
///
/// `session` and `number` name it for ever: sent again it gets the first outcome and does nothing.
/// Numbers start at 1 and go up; they may arrive in any order. Session 0 is the cluster itself,
/// and may only send commands that are idempotent by nature: `OpenSession`, `ExpireSession`,
/// `SetCapacity`, `Purge`. Whoever takes requests from outside refuses session 0 except for `OpenSession`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    #[prost(uint64, tag = "1")]
    pub session: u64,
    #[prost(uint64, tag = "2")]
    pub number: u64,
    /// The client has the outcomes of all smaller numbers: they may be forgotten.
    #[prost(uint64, tag = "3")]
    pub acknowledged_below: u64,
    #[prost(message, optional, tag = "4")]
    pub caller: Option<Caller>,
    /// It was sent before and may have been carried out: whoever has no room for it must not say so,
    /// but find out.
    #[prost(bool, tag = "5")]
    pub again: bool,
    #[prost(
        oneof = "Command",
        tags = "10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31"
    )]
    pub command: Option<Command>,
}

/// One command as the log keeps it: with the leader's time, so that all replicas agree on it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Stamped {
    /// Nanoseconds since 1970.
    #[prost(sfixed64, tag = "1")]
    pub time: i64,
    #[prost(message, optional, tag = "2")]
    pub request: Option<Request>,
}

/// The commands.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Command {
    #[prost(message, tag = "10")]
    Create(Create),
    #[prost(message, tag = "11")]
    Link(Link),
    #[prost(message, tag = "12")]
    Unlink(Unlink),
    #[prost(message, tag = "13")]
    Rename(Rename),
    #[prost(message, tag = "14")]
    SetAttributes(SetAttributes),
    #[prost(message, tag = "15")]
    SetXattr(SetXattr),
    #[prost(message, tag = "16")]
    RemoveXattr(RemoveXattr),
    #[prost(message, tag = "17")]
    AllocateChunks(AllocateChunks),
    #[prost(message, tag = "18")]
    Commit(Commit),
    #[prost(message, tag = "19")]
    DropChunks(DropChunks),
    #[prost(message, tag = "20")]
    OpenSession(OpenSession),
    #[prost(message, tag = "21")]
    RenewSession(RenewSession),
    #[prost(message, tag = "22")]
    CloseSession(CloseSession),
    #[prost(message, tag = "23")]
    ExpireSession(ExpireSession),
    #[prost(message, tag = "24")]
    SetLock(SetLock),
    #[prost(message, tag = "25")]
    ReleaseLocks(ReleaseLocks),
    #[prost(message, tag = "26")]
    Delegate(Delegate),
    #[prost(message, tag = "27")]
    Undelegate(Undelegate),
    #[prost(message, tag = "28")]
    Reserve(Reserve),
    #[prost(message, tag = "29")]
    Unreserve(Unreserve),
    #[prost(message, tag = "30")]
    SetCapacity(SetCapacity),
    #[prost(message, tag = "31")]
    Purge(Purge),
}

/// Makes an inode of any kind under a new name: `open(O_CREAT)`, `mknod`, `mkdir`, `symlink`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Create {
    #[prost(uint64, tag = "1")]
    pub parent: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub name: Bytes,
    #[prost(enumeration = "FileKind", tag = "3")]
    pub kind: i32,
    #[prost(uint32, tag = "4")]
    pub mode: u32,
    /// Taken from `mode`, unless the parent has a default access control list.
    #[prost(uint32, tag = "5")]
    pub umask: u32,
    #[prost(uint32, tag = "6")]
    pub rdev: u32,
    /// Target of a symbolic link.
    #[prost(bytes = "bytes", tag = "7")]
    pub target: Bytes,
    /// Refuse when the name is taken. Otherwise an existing *file* is answered as it is.
    #[prost(bool, tag = "8")]
    pub exclusive: bool,
    /// The data partition that chunk 0 shall live in; zero: leave it open.
    #[prost(uint64, tag = "9")]
    pub first_chunk: u64,
    /// Grant the delegation of a newly made file to the session at once.
    #[prost(bool, tag = "10")]
    pub delegate: bool,
}

/// Gives an inode that is no folder one more name.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Link {
    #[prost(uint64, tag = "1")]
    pub inode: u64,
    #[prost(uint64, tag = "2")]
    pub parent: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub name: Bytes,
}

/// Takes a name away: `unlink`, or `rmdir` when `folder` is set.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Unlink {
    #[prost(uint64, tag = "1")]
    pub parent: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub name: Bytes,
    #[prost(bool, tag = "3")]
    pub folder: bool,
}

/// Moves a name; replaces what is at the target unless told otherwise.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Rename {
    #[prost(uint64, tag = "1")]
    pub parent: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub name: Bytes,
    #[prost(uint64, tag = "3")]
    pub new_parent: u64,
    #[prost(bytes = "bytes", tag = "4")]
    pub new_name: Bytes,
    /// `RENAME_NOREPLACE`.
    #[prost(bool, tag = "5")]
    pub no_replace: bool,
    /// `RENAME_EXCHANGE`.
    #[prost(bool, tag = "6")]
    pub exchange: bool,
}

/// A time to set: the leader's own, or a given one.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct TimeChange {
    #[prost(oneof = "time_change::To", tags = "1, 2")]
    pub to: Option<time_change::To>,
}

pub mod time_change {
    //! The two ways to set a time.

    /// What the time becomes.
    #[derive(Clone, Copy, PartialEq, Eq, prost::Oneof)]
    pub enum To {
        /// The stamp of the command.
        #[prost(bool, tag = "1")]
        Now(bool),
        /// Nanoseconds since 1970.
        #[prost(sfixed64, tag = "2")]
        At(i64),
    }
}

impl TimeChange {
    /// The stamp of the command.
    #[must_use]
    pub fn now() -> TimeChange {
        TimeChange { to: Some(time_change::To::Now(true)) }
    }

    /// A given time.
    #[must_use]
    pub fn at(time: crate::Timestamp) -> TimeChange {
        TimeChange { to: Some(time_change::To::At(time.0)) }
    }
}

/// Changes the attributes that are given: `chmod`, `chown`, `utimens`, `truncate`.
///
/// The data past a smaller size must be gone from the data partitions *before* this is sent, or a
/// file that grows again would show it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SetAttributes {
    #[prost(uint64, tag = "1")]
    pub inode: u64,
    #[prost(uint32, optional, tag = "2")]
    pub mode: Option<u32>,
    #[prost(uint32, optional, tag = "3")]
    pub uid: Option<u32>,
    #[prost(uint32, optional, tag = "4")]
    pub gid: Option<u32>,
    /// Refused as `Busy` while another session holds the delegation.
    #[prost(uint64, optional, tag = "5")]
    pub size: Option<u64>,
    #[prost(message, optional, tag = "6")]
    pub atime: Option<TimeChange>,
    #[prost(message, optional, tag = "7")]
    pub mtime: Option<TimeChange>,
    /// Take suid and sgid away as a write does (the kernel's `KILL_SUIDGID`).
    #[prost(bool, tag = "8")]
    pub clear_setid: bool,
    /// Bytes that data partitions gave back (negative) or took.
    #[prost(sint64, tag = "9")]
    pub allocated_delta: i64,
}

/// What an existing extended attribute means to `SetXattr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum XattrMode {
    /// Set it either way.
    Any = 0,
    /// It must not exist (`XATTR_CREATE`).
    Create = 1,
    /// It must exist (`XATTR_REPLACE`).
    Replace = 2,
}

/// Sets an extended attribute. `system.posix_acl_access` and `_default` follow the rules of access control lists.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SetXattr {
    #[prost(uint64, tag = "1")]
    pub inode: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub name: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub value: Bytes,
    #[prost(enumeration = "XattrMode", tag = "4")]
    pub mode: i32,
    /// Take sgid away with an access list (`FUSE_SETXATTR_ACL_KILL_SGID`).
    #[prost(bool, tag = "5")]
    pub clear_setgid: bool,
}

/// Removes an extended attribute.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RemoveXattr {
    #[prost(uint64, tag = "1")]
    pub inode: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub name: Bytes,
}

/// Chooses where chunks live. A chunk that is placed already stays where it is; the outcome says where.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AllocateChunks {
    #[prost(uint64, tag = "1")]
    pub inode: u64,
    #[prost(message, repeated, tag = "2")]
    pub wanted: Vec<Placement>,
}

/// Makes written data part of its files; one command for many files.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Commit {
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<CommitItem>,
}

/// What was written to one file. Never refused for space: the data is there already.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct CommitItem {
    #[prost(uint64, tag = "1")]
    pub inode: u64,
    /// The file is at least this long now.
    #[prost(uint64, optional, tag = "2")]
    pub size_at_least: Option<u64>,
    /// The file is exactly this long now.
    #[prost(uint64, optional, tag = "3")]
    pub size_exact: Option<u64>,
    /// When it was written last; the command's stamp when absent.
    #[prost(sfixed64, optional, tag = "4")]
    pub mtime: Option<i64>,
    /// Bytes that data partitions took for it (or gave back, when negative).
    #[prost(sint64, tag = "5")]
    pub allocated_delta: i64,
    /// All bytes that data partitions hold for it; used instead of the delta when given.
    #[prost(uint64, optional, tag = "6")]
    pub allocated_exact: Option<u64>,
    /// Bytes of the session's reservation that these were.
    #[prost(uint64, tag = "7")]
    pub reservation_used: u64,
    /// Take suid and sgid away, as a write does.
    #[prost(bool, tag = "8")]
    pub clear_setid: bool,
    /// Last read time to record, when it is later than the known one.
    #[prost(sfixed64, optional, tag = "9")]
    pub atime: Option<i64>,
    /// Only sizes and accounting: leave mtime and ctime as they are.
    #[prost(bool, tag = "10")]
    pub keep_times: bool,
    /// The sender holds the delegation, and looked how long the data is: the file is settled again.
    #[prost(bool, tag = "11")]
    pub settled: bool,
}

/// Forgets the placement of chunks from `first` on; their data is gone from the data partitions already.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct DropChunks {
    #[prost(uint64, tag = "1")]
    pub inode: u64,
    #[prost(uint64, tag = "2")]
    pub first: u64,
    /// Bytes that data partitions gave back (negative).
    #[prost(sint64, tag = "3")]
    pub allocated_delta: i64,
}

/// Begins a session. The same `nonce` again gets the same session.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct OpenSession {
    /// Drawn at random by the client, for this session only.
    #[prost(fixed64, tag = "1")]
    pub nonce: u64,
    /// Who it is, for people: host and mount point.
    #[prost(string, tag = "2")]
    pub name: String,
}

/// Records that the sending session is alive.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct RenewSession {}

/// Ends the sending session.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct CloseSession {}

/// Ends a session that fell silent: its locks, delegations and reservations are released.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ExpireSession {
    #[prost(uint64, tag = "1")]
    pub session: u64,
}

/// Takes, changes or (mode `Unlocked`) releases a lock; never waits. `lock.session` is taken from the request.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct SetLock {
    #[prost(uint64, tag = "1")]
    pub inode: u64,
    #[prost(message, optional, tag = "2")]
    pub lock: Option<Lock>,
}

/// Releases all locks that one owner of the sending session holds on one inode, as closing does.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ReleaseLocks {
    #[prost(uint64, tag = "1")]
    pub inode: u64,
    #[prost(fixed64, tag = "2")]
    pub owner: u64,
    #[prost(enumeration = "LockKind", tag = "3")]
    pub kind: i32,
}

/// Asks for the exclusive right to append to a file and to buffer its writes.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Delegate {
    #[prost(uint64, tag = "1")]
    pub inode: u64,
}

/// Gives that right back; everything buffered was committed before.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Undelegate {
    #[prost(uint64, repeated, tag = "1")]
    pub inodes: Vec<u64>,
}

/// Sets space aside for what the session is about to write.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Reserve {
    #[prost(uint64, tag = "1")]
    pub bytes: u64,
}

/// Gives reserved space back.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Unreserve {
    #[prost(uint64, tag = "1")]
    pub bytes: u64,
}

/// Sets what the volume may hold. Smaller than what it holds is allowed: then nothing new fits.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct SetCapacity {
    /// Bytes of one copy.
    #[prost(uint64, tag = "1")]
    pub bytes: u64,
    /// Most inodes; zero: as many as fit.
    #[prost(uint64, tag = "2")]
    pub inodes: u64,
}

/// Removes orphans whose data is gone from the data partitions already, and frees their accounting.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Purge {
    #[prost(uint64, repeated, tag = "1")]
    pub inodes: Vec<u64>,
}
