//! Why something could not be done.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Whether waiting helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lasting {
    /// It passes by itself, or may: it is tried again without being asked.
    Temporary,
    /// Somebody has to do something first. It is still looked at again in every round.
    Permanent,
}

/// Declares the reasons once: code, how lasting, meaning, what to do.
macro_rules! reasons {
    ($($name:ident, $code:literal, $lasting:ident, $means:literal, $action:literal;)+) => {
        /// Why a partition is left over. The codes are relied on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Reason { $(#[serde(rename = $code)] $name),+ }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &[Reason] = &[$(Reason::$name),+];

            /// The word for programs.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Reason::$name => $code),+ }
            }

            #[must_use]
            pub fn lasting(self) -> Lasting {
                match self { $(Reason::$name => Lasting::$lasting),+ }
            }

            /// What it means, for people.
            #[must_use]
            pub fn means(self) -> &'static str {
                match self { $(Reason::$name => $means),+ }
            }

            /// What to do about it, for people.
            #[must_use]
            pub fn action(self) -> &'static str {
                match self { $(Reason::$name => $action),+ }
            }
        }
    };
}

reasons! {
    Locked, "LOCKED", Temporary,
        "another operation holds a lock on the partition",
        "wait, or cancel the operation that holds it (holdfast partition locks ID)";
    Repairing, "REPAIRING", Temporary,
        "a replica of the partition is being made anew or brought up, and two changes at once could cost redundancy",
        "wait for the repair; if it stands still, see holdfast partition show ID";
    OutOfSpace, "OUT_OF_SPACE", Permanent,
        "there are other nodes, and none of their disks has room for the replica",
        "add disks or nodes, or delete data";
    NoTarget, "NO_TARGET", Permanent,
        "no node is left that could take the replica: each one holds one already, is silent, or is leaving itself",
        "add a node, bring a silent one back, or take another decommission back";
    UnderReplicated, "UNDER_REPLICATED", Permanent,
        "without the target fewer replicas than the minimum would be in sync, and no replacement can be made",
        "bring the missing replicas back, or add a node";
    Unreachable, "UNREACHABLE", Temporary,
        "a node that has to answer is silent",
        "bring the node back; if its machine is gone for good, nothing depends on it once every other line is gone";
    Leaderless, "LEADERLESS", Temporary,
        "the partition has no leader that could order the change",
        "see what it waits for: holdfast status, holdfast partition show ID";
    Damaged, "DAMAGED", Temporary,
        "a replica that would be copied from, or was read to verify it, is damaged, and is being mended",
        "wait for the mending; if it lasts, see holdfast partition show ID and run holdfast fsck";
    Conflict, "CONFLICT", Temporary,
        "the copy was begun and given up",
        "it is tried again by itself, elsewhere where possible; see the partition's history";
    StillThere, "STILL_THERE", Temporary,
        "the replica is off the record, and its node has not deleted it yet",
        "wait; if it lasts, see the node's log";
    Differs, "DIFFERS", Permanent,
        "its replicas hold different things at the same place of their log, and nothing says which is right",
        "see what differs with holdfast fsck, and have the wrong one made anew: decommission its disk";
    Changing, "CHANGING", Temporary,
        "it changes so fast that its replicas could not be seen at the same place of their log",
        "it is tried again by itself; if it lasts, scrub it when less is written";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_code_of_its_own_and_says_what_to_do() {
        let codes: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|r| r.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert!(reason.action().len() > 3 && reason.means().len() > 3);
            let code = reason.code();
            assert!(code.chars().all(|c| c.is_ascii_uppercase() || c == '_'), "{code}");
        }
    }
}
