//! Committed logs of a partition are prefixes of each other.
//!
//! There is one list of what was committed; every replica that applies must apply exactly that.

use super::{Verdict, Violation, demand};
use crate::engine::disk::Disk;
use partition::replica::{Entry, Position};
use types::{ReplicaId, Sequence};

const NAME: &str = "committed logs are prefixes of each other";

/// One committed entry: its name, and the token of the client that wrote it (none for barriers).
#[derive(Clone, Copy, Debug)]
struct Line {
    position: Position,
    token: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Committed {
    lines: Vec<Line>,
}

/// The client's token, which the simulation writes into the key.
pub(super) fn token_of(entry: &Entry) -> Option<u64> {
    entry.body.key.as_ref().try_into().ok().map(u64::from_le_bytes)
}

impl Committed {
    pub(super) fn end(&self) -> Sequence {
        Sequence(self.lines.len() as u64)
    }

    fn line(&self, sequence: Sequence) -> Option<&Line> {
        self.lines.get(usize::try_from(sequence.0.checked_sub(1)?).ok()?)
    }

    pub(super) fn position(&self, sequence: Sequence) -> Option<Position> {
        self.line(sequence).map(|line| line.position)
    }

    /// A replica applies an entry. Says whether nobody had before.
    pub(super) fn on_apply(
        &mut self,
        replica: ReplicaId,
        entry: &Entry,
    ) -> Result<bool, Violation> {
        let (position, token) = (entry.position(), token_of(entry));
        if let Some(line) = self.line(entry.sequence) {
            let same = line.position == position && line.token == token;
            demand(same, NAME, || {
                format!("{replica:?} applies {position:?} ({token:?}), others applied {line:?}")
            })?;
            return Ok(false);
        }
        demand(entry.sequence == self.end().next(), NAME, || {
            format!("{replica:?} applies {position:?} while {:?} entries are known", self.end())
        })?;
        self.lines.push(Line { position, token });
        Ok(true)
    }

    /// A client was told that its write has this place.
    pub(super) fn on_written(&self, token: u64, sequence: Sequence) -> Verdict {
        let line = self.line(sequence);
        demand(line.is_some_and(|line| line.token == Some(token)), NAME, || {
            format!("write {token} was acknowledged at {sequence:?}, where {line:?} is")
        })
    }

    /// How much of the list this disk has.
    pub(super) fn shared_with(&self, disk: &Disk) -> Sequence {
        let mut sequence = self.end().min(disk.log.end());
        while sequence >= disk.log.start() {
            if disk.log.position(sequence) == self.position(sequence) {
                return sequence;
            }
            sequence = sequence.previous();
        }
        // What the log let go of was committed; it may have been taken back since.
        let base = disk.log.start().previous();
        if self.position(base) == disk.log.position(base) || base == Sequence::ZERO {
            base
        } else {
            Sequence::ZERO
        }
    }

    /// Forgets everything after `kept`; returns the writes that went.
    pub(super) fn take_back(&mut self, kept: Sequence) -> Vec<(u64, Position)> {
        let keep = usize::try_from(kept.0).expect("in memory");
        let lost = self.lines.drain(keep..);
        lost.filter_map(|line| line.token.map(|token| (token, line.position))).collect()
    }

    pub(super) fn check_complete(&self, replica: ReplicaId, disk: &Disk) -> Verdict {
        let shared = self.shared_with(disk);
        demand(shared == self.end(), "an acknowledged write is never lost", || {
            format!("{replica:?} is in sync and has {shared:?} of {:?}", self.end())
        })
    }
}
