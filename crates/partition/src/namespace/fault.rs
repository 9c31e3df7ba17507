//! What stops a command: a refusal, which is an outcome like any other, or a fault of the replica.

use super::codec::Malformed;
use types::namespace::{Failure, FailureKind};

/// This replica cannot go on: its store failed or holds what it should not. Nothing was changed.
///
/// A refusal is the same on every replica; a fault is this replica's own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the store failed")]
    Store(#[from] crate::kv::Error),
    /// A value is not what its key says; the replica must be rebuilt.
    #[error("the value of key {key} is damaged: {source}")]
    Value { key: String, source: Malformed },
    /// Two values contradict each other; `fsck` says more.
    #[error("the state contradicts itself: {what} (inode {inode})")]
    Contradiction { what: &'static str, inode: u64 },
    /// A transfer into this store was begun and not finished.
    #[error("a transfer into this store did not finish")]
    Unfinished,
}

/// Why a step did not come to its end.
#[derive(Debug)]
pub(super) enum Stop {
    Refused(Failure),
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Fault(fault)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Refused(failure)
    }
}

impl From<FailureKind> for Stop {
    fn from(kind: FailureKind) -> Stop {
        Stop::Refused(Failure::new(kind))
    }
}

/// Refuses unless `condition` holds.
pub(super) fn require(condition: bool, kind: FailureKind) -> Result<(), Failure> {
    if condition { Ok(()) } else { Err(Failure::new(kind)) }
}
