//! The few kinds of error that cross the client's boundary: each tells the caller what to do next.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What the caller of a failed request should do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Nothing happened; the same request may work in a moment.
    Retry,
    /// Nothing happened here; somebody else answers for this partition now.
    Reroute,
    /// Nothing happened; there is no room for it, and there may be later.
    WaitForSpace,
    /// Nothing happened, and the same request will never work.
    GiveUp,
    /// It may have happened: ask again with the same session and number before assuming either.
    Unknown,
    /// The volume was deleted. Permanent; confirm with the control plane before acting on it.
    Deleted,
    /// Every copy of these bytes is damaged.
    Damaged,
    /// Nothing happened; the caller has no right to the volume, or no longer. Confirm with the
    /// control plane before acting on it.
    Denied,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Retry => "retry",
            Kind::Reroute => "reroute",
            Kind::WaitForSpace => "wait-for-space",
            Kind::GiveUp => "give-up",
            Kind::Unknown => "unknown",
            Kind::Deleted => "deleted",
            Kind::Damaged => "damaged",
            Kind::Denied => "denied",
        })
    }
}
