//! Where a partition is: which configuration (epoch), and how far its log goes (sequence).

use serde::{Deserialize, Serialize};
use std::fmt;

/// Version of a partition's configuration; only the control plane makes a new one, one higher.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Before the first configuration.
    pub const ZERO: Epoch = Epoch(0);

    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}

/// Place of a record in its partition's log: the first record is 1, and there are no gaps.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The end of an empty log.
    pub const ZERO: Sequence = Sequence(0);

    /// The place right after this one.
    #[must_use]
    pub fn next(self) -> Sequence {
        Sequence(self.0 + 1)
    }

    /// The place right before this one; zero stays zero.
    #[must_use]
    pub fn previous(self) -> Sequence {
        Sequence(self.0.saturating_sub(1))
    }

    /// Moves forward to `other` when that is further; never moves back.
    pub fn advance(&mut self, other: Sequence) {
        *self = (*self).max(other);
    }
}

macro_rules! show {
    ($name:ident, $prefix:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

show!(Epoch, "e");
show!(Sequence, "#");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_only_advances() {
        let mut end = Sequence(5);
        end.advance(Sequence(3));
        assert_eq!(end, Sequence(5));
        end.advance(Sequence(9));
        assert_eq!(end, Sequence(9));
    }
}
