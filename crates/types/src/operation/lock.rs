//! Locks on partitions, and which exclude each other.
//!
//! A lock is a lease: whoever holds it renews it while it works, and a holder that is gone loses it when it
//! runs out. Locks order operations among each other. They protect no data: that is what epochs are for, so a
//! lock that ran out too early costs work and nothing else. Mending takes no lock and waits for none.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What the holder does with the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockKind {
    /// Changes who holds replicas.
    Move,
    /// Reads everything, and compares replicas: they must stay the same ones meanwhile.
    Scrub,
    /// Changes who leads.
    Lead,
}

use LockKind::{Lead, Move, Scrub};

/// Pairs that exclude each other when their holders differ. Symmetric.
pub const EXCLUSIONS: &[(LockKind, LockKind)] = &[(Move, Move), (Move, Scrub), (Scrub, Scrub)];

impl LockKind {
    pub const ALL: &[LockKind] = &[Move, Scrub, Lead];

    /// Whether two holders may not have these at the same time.
    #[must_use]
    pub fn excludes(self, other: LockKind) -> bool {
        EXCLUSIONS.contains(&(self, other)) || EXCLUSIONS.contains(&(other, self))
    }

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Move => "move",
            Scrub => "scrub",
            Lead => "lead",
        }
    }
}

impl fmt::Display for LockKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_moves_is_alone_and_a_change_of_leaders_disturbs_nobody() {
        assert!(Move.excludes(Move) && Move.excludes(Scrub) && Scrub.excludes(Move));
        assert!(LockKind::ALL.iter().all(|kind| !Lead.excludes(*kind) && !kind.excludes(Lead)));
    }
}
