//! How far an operation is.
//!
//! ```text
//!              +------------------------------------------+
//!              v                                          |
//!  planned -> running -> verifying -> succeeded           |
//!              |  ^         |  |          | (something    |
//!              |  |         |  |          |  came back)   |
//!              |  |         |  +-> incomplete <-----------+--- what is left is looked at again and
//!              |  |         |         |                        again; when nothing is, it verifies
//!              v  |         v         v
//!             paused     (anything that has not ended) -> cancelled, failed
//! ```
//!
//! `succeeded` is reached from `verifying` and from nowhere else.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationState {
    /// Asked for; nothing was done yet.
    Planned,
    /// At work.
    Running,
    /// Somebody stopped it for a while; what was under way is left as it is.
    Paused,
    /// Nothing is left to do that can be done: everything is looked at afresh.
    Verifying,
    /// A fresh look at everything found nothing left.
    Succeeded,
    /// A fresh look found what could not be done; it is tried again by itself.
    Incomplete,
    /// It cannot be done, and is not tried any more.
    Failed,
    /// Somebody took it back; what was done stays done.
    Cancelled,
}

use OperationState::{
    Cancelled, Failed, Incomplete, Paused, Planned, Running, Succeeded, Verifying,
};

/// Every change there is.
pub const TRANSITIONS: &[(OperationState, OperationState)] = &[
    (Planned, Running),
    (Planned, Paused),
    (Planned, Cancelled),
    (Planned, Failed),
    (Running, Verifying),
    (Running, Paused),
    (Running, Cancelled),
    (Running, Failed),
    (Verifying, Running),
    (Verifying, Succeeded),
    (Verifying, Incomplete),
    (Verifying, Paused),
    (Verifying, Cancelled),
    (Verifying, Failed),
    (Incomplete, Running),
    (Incomplete, Verifying),
    (Incomplete, Paused),
    (Incomplete, Cancelled),
    (Incomplete, Failed),
    (Paused, Running),
    (Paused, Cancelled),
    (Succeeded, Verifying),
    (Failed, Running),
];

impl OperationState {
    pub const ALL: &[OperationState] =
        &[Planned, Running, Paused, Verifying, Succeeded, Incomplete, Failed, Cancelled];

    /// Whether the one may follow the other.
    #[must_use]
    pub fn may_become(self, next: OperationState) -> bool {
        TRANSITIONS.contains(&(self, next))
    }

    /// Whether nothing more is done. A success is still looked at again.
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(self, Succeeded | Failed | Cancelled)
    }

    /// Whether steps are planned for it.
    #[must_use]
    pub fn is_at_work(self) -> bool {
        matches!(self, Planned | Running | Verifying | Incomplete)
    }

    /// Its name in commands, logs and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Planned => "planned",
            Running => "running",
            Paused => "paused",
            Verifying => "verifying",
            Succeeded => "succeeded",
            Incomplete => "incomplete",
            Failed => "failed",
            Cancelled => "cancelled",
        }
    }

    /// What it means, for people.
    #[must_use]
    pub fn means(self) -> &'static str {
        match self {
            Planned => "asked for; nothing was done yet",
            Running => "at work",
            Paused => "stopped for a while; what was under way is left as it is",
            Verifying => "nothing is left that can be done: everything is looked at afresh",
            Succeeded => {
                "a fresh look at everything, and the target's own word, found nothing left"
            }
            Incomplete => "a fresh look found what could not be done; it is tried again by itself",
            Failed => "it cannot be done, and is not tried any more until somebody says so",
            Cancelled => "taken back; what was done stays done",
        }
    }
}

impl fmt::Display for OperationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_comes_from_verification_only() {
        for state in OperationState::ALL {
            assert_eq!(state.may_become(Succeeded), *state == Verifying, "{state}");
        }
    }

    #[test]
    fn what_was_cancelled_stays_so_and_everything_can_be_reached() {
        assert!(TRANSITIONS.iter().all(|(from, _)| *from != Cancelled));
        for state in &OperationState::ALL[1..] {
            assert!(TRANSITIONS.iter().any(|(_, to)| to == state), "{state}");
        }
        let unique: std::collections::BTreeSet<_> = TRANSITIONS.iter().collect();
        assert_eq!(unique.len(), TRANSITIONS.len());
    }
}
