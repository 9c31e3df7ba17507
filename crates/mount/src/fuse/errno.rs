//! What applications are told, for everything that can go wrong. One table.
//!
//! EIO means damage, and ENOSPC means no space; nothing else is called so.

use client::Error;
use fuser::Errno;
use types::namespace::FailureKind;

/// The errno for an error of the client.
pub(super) fn errno(error: &Error) -> Errno {
    match error {
        Error::Refused(failure) => refused(failure.kind()),
        Error::NoSpace => Errno::ENOSPC,
        Error::Damaged(_) => Errno::EIO,
        Error::Gone => Errno::ESTALE,
        Error::Deleted | Error::Deleting { .. } | Error::NotFound(_) => Errno::ENODEV,
        Error::NoAccess(_) | Error::Revoked(_) => Errno::EACCES,
        Error::ReadOnly => Errno::EROFS,
        Error::Unavailable { .. } => Errno::ETIMEDOUT,
        Error::SessionEnded => Errno::from_i32(ESHUTDOWN),
        Error::Invalid(reason) => {
            tracing::error!(reason, "the cluster and this client do not understand each other");
            Errno::EPROTO
        }
    }
}

/// "Cannot send after transport endpoint shutdown": the cluster has given this client up.
const ESHUTDOWN: i32 = 108;

fn refused(kind: FailureKind) -> Errno {
    match kind {
        FailureKind::NotFound => Errno::ENOENT,
        FailureKind::Exists => Errno::EEXIST,
        FailureKind::NotFolder => Errno::ENOTDIR,
        FailureKind::IsFolder => Errno::EISDIR,
        FailureKind::NotEmpty => Errno::ENOTEMPTY,
        FailureKind::NameTooLong => Errno::ENAMETOOLONG,
        FailureKind::Invalid => Errno::EINVAL,
        FailureKind::TooManyLinks => Errno::EMLINK,
        FailureKind::NotPermitted => Errno::EPERM,
        FailureKind::NoSpace => Errno::ENOSPC,
        FailureKind::Stale => Errno::ESTALE,
        FailureKind::NoAttribute => Errno::ENODATA,
        FailureKind::AttributeNameTooLong => Errno::ERANGE,
        FailureKind::AttributeTooLarge => Errno::E2BIG,
        FailureKind::FileTooLarge => Errno::EFBIG,
        FailureKind::Locked | FailureKind::Busy => Errno::EAGAIN,
        FailureKind::SessionEnded => Errno::from_i32(ESHUTDOWN),
        FailureKind::LimitReached => Errno::ENOLCK,
        FailureKind::NotSupported => Errno::EOPNOTSUPP,
        FailureKind::Unknown | FailureKind::Forgotten => Errno::EPROTO,
    }
}
