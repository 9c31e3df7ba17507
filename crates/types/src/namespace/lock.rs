//! Advisory locks on files.

/// The two families of lock, which do not see each other, as on Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum LockKind {
    /// `fcntl`: byte ranges, owned by a process (or an open file description).
    Posix = 0,
    /// `flock`: the whole file, owned by an open file description.
    Flock = 1,
}

/// How a lock holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum LockMode {
    /// Not at all: releases what the owner holds in the range.
    Unlocked = 0,
    Shared = 1,
    Exclusive = 2,
}

/// One lock, held or wanted. The owner is (`session`, `owner`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Message)]
pub struct Lock {
    #[prost(enumeration = "LockKind", tag = "1")]
    pub kind: i32,
    #[prost(enumeration = "LockMode", tag = "2")]
    pub mode: i32,
    /// First byte.
    #[prost(uint64, tag = "3")]
    pub start: u64,
    /// Last byte, inclusive; `u64::MAX` (or anything past `i64::MAX`) reaches to the end of any file.
    #[prost(uint64, tag = "4")]
    pub end: u64,
    #[prost(uint64, tag = "5")]
    pub session: u64,
    /// The kernel's lock owner within the session.
    #[prost(fixed64, tag = "6")]
    pub owner: u64,
    /// The process that took it, on the mount's host; only shown.
    #[prost(uint32, tag = "7")]
    pub pid: u32,
}
