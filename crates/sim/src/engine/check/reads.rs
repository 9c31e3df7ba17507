//! A read sees every write that was acknowledged before it began, and everything that any earlier
//! read saw.
//!
//! The state of a partition is the prefix of its committed log that is applied; so histories of
//! reads and writes are linearizable exactly when what is seen never gets shorter, and never
//! shorter than what was acknowledged.

use super::{Verdict, demand};
use types::{ReplicaId, Sequence};

const NAME: &str = "a read sees every write acknowledged before it";

#[derive(Debug, Default)]
pub(super) struct Reads {
    /// The furthest place that any client knows of.
    known: Sequence,
}

impl Reads {
    pub(super) fn raise(&mut self, sequence: Sequence) {
        self.known.advance(sequence);
    }

    pub(super) fn lower(&mut self, kept: Sequence) {
        self.known = self.known.min(kept);
    }

    /// A read is allowed, of the state up to `applied`; it begins and ends now.
    pub(super) fn on_read(
        &mut self,
        replica: ReplicaId,
        applied: Sequence,
        committed: Sequence,
    ) -> Verdict {
        let known = self.known;
        demand(applied >= known, NAME, || {
            format!("{replica:?} serves {applied:?} while {known:?} was acknowledged or read")
        })?;
        demand(applied <= committed, NAME, || {
            format!("{replica:?} serves {applied:?} while {committed:?} is committed")
        })?;
        self.known = applied;
        Ok(())
    }
}
