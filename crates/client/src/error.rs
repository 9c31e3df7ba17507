//! What a caller of the client can be told.

use crate::access::Revocation;
use std::time::Duration;
use types::Timestamp;
use types::namespace::Failure;

/// Why something was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The namespace said no; each kind has one errno.
    #[error("{0:?}")]
    Refused(Failure),
    /// There is no such volume.
    #[error("there is no volume '{0}'")]
    NotFound(String),
    /// The volume is being deleted. Who has it open can finish; nobody can open it.
    #[error("the volume is being deleted, and goes for good at {purge_at}")]
    Deleting { purge_at: Timestamp },
    /// The volume was deleted. Permanent.
    #[error("the volume was deleted")]
    Deleted,
    /// The volume needs a token, and the one that was shown, if any, is none of its tokens.
    #[error("no access: {0}")]
    NoAccess(&'static str),
    /// Access that this client had, or would have had, was taken away. Permanent.
    #[error("access revoked: {}", .0.sentence())]
    Revoked(Revocation),
    /// The token gives no right to change anything.
    #[error("the token gives no right to change anything")]
    ReadOnly,
    /// No room, in the volume or on the disks.
    #[error("no space left")]
    NoSpace,
    /// Every copy of the bytes is damaged.
    #[error("every copy of these bytes is damaged: {0}")]
    Damaged(String),
    /// The file was deleted for good.
    #[error("the file is gone")]
    Gone,
    /// The cluster did not answer for as long as the caller was willing to wait.
    #[error("the cluster did not answer for {}s: {last}", waited.as_secs())]
    Unavailable { waited: Duration, last: String },
    /// This client's session was ended by the cluster: locks and reservations are gone.
    #[error("the session was ended by the cluster")]
    SessionEnded,
    /// The request makes no sense to the cluster; our own mistake, or a version that does not fit.
    #[error("the cluster does not understand: {0}")]
    Invalid(String),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure.kind() {
            types::namespace::FailureKind::SessionEnded => Error::SessionEnded,
            types::namespace::FailureKind::NoSpace => Error::NoSpace,
            types::namespace::FailureKind::Stale => Error::Gone,
            _ => Error::Refused(failure),
        }
    }
}
