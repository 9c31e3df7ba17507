//! Why a command or a query was refused, in words that map to one errno each.

use std::fmt;

/// The reasons, each with the errno that the mount gives for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum FailureKind {
    /// A reason this version does not know (EIO).
    Unknown = 0,
    /// No such name (ENOENT).
    NotFound = 1,
    /// The name is taken (EEXIST).
    Exists = 2,
    /// A folder was needed (ENOTDIR).
    NotFolder = 3,
    /// A folder is not allowed here (EISDIR).
    IsFolder = 4,
    /// The folder has entries (ENOTEMPTY).
    NotEmpty = 5,
    /// A name or a symbolic link's target is too long (ENAMETOOLONG).
    NameTooLong = 6,
    /// The arguments make no sense, or a folder would move into itself (EINVAL).
    Invalid = 7,
    /// The inode has as many names as it may have (EMLINK).
    TooManyLinks = 8,
    /// Not allowed whoever asks, such as a second name for a folder (EPERM).
    NotPermitted = 9,
    /// The volume is at its capacity (ENOSPC).
    NoSpace = 10,
    /// The inode is gone for good (ESTALE).
    Stale = 11,
    /// No such extended attribute (ENODATA).
    NoAttribute = 12,
    /// The extended attribute's name is too long (ERANGE).
    AttributeNameTooLong = 13,
    /// The extended attribute's value is too long (E2BIG), or there are too many (ENOSPC).
    AttributeTooLarge = 14,
    /// The size is past the largest file (EFBIG).
    FileTooLarge = 15,
    /// Somebody else's lock is in the way; `lock` names it (EAGAIN).
    Locked = 16,
    /// Another session holds the inode's delegation; `holder` names it. Ask it to give way, then retry.
    Busy = 17,
    /// The session has ended: its locks and reservations are gone (EIO, and the mount must reopen).
    SessionEnded = 18,
    /// The outcome of this number was forgotten after the client acknowledged it.
    Forgotten = 19,
    /// A limit on sessions, locks or remembered outcomes was reached (ENOLCK for locks, else EAGAIN).
    LimitReached = 20,
    /// The file system does not do this (EOPNOTSUPP).
    NotSupported = 21,
}

/// A refusal: nothing was changed.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Failure {
    #[prost(enumeration = "FailureKind", tag = "1")]
    pub kind: i32,
    /// The session in the way, for `Busy` and `Locked`; zero for the others.
    #[prost(uint64, tag = "2")]
    pub holder: u64,
    /// The lock in the way, for `Locked`.
    #[prost(message, optional, tag = "3")]
    pub lock: Option<super::Lock>,
}

impl Failure {
    /// A refusal that needs no further facts.
    #[must_use]
    pub fn new(kind: FailureKind) -> Failure {
        Failure { kind: kind.into(), holder: 0, lock: None }
    }

    /// The delegation of `holder` is in the way.
    #[must_use]
    pub fn busy(holder: crate::SessionId) -> Failure {
        Failure { kind: FailureKind::Busy.into(), holder: holder.0, lock: None }
    }

    /// `lock` is in the way.
    #[must_use]
    pub fn locked(lock: super::Lock) -> Failure {
        Failure { kind: FailureKind::Locked.into(), holder: lock.session, lock: Some(lock) }
    }
}

impl From<FailureKind> for Failure {
    fn from(kind: FailureKind) -> Failure {
        Failure::new(kind)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind())?;
        if self.holder != 0 {
            write!(f, " (held by session {})", self.holder)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}
