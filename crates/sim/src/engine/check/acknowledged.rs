//! An acknowledged write is there once; one that was refused never is.

use super::committed::token_of;
use super::{Verdict, demand};
use partition::replica::{Entry, Position};
use types::Sequence;

/// What the world knows of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Not answered, or answered with "unknown".
    Open,
    /// Its client was told that nothing happened.
    Refused,
    Committed(Sequence),
    /// Lost with the power of all that had it, before any flush. A message that was on its way all
    /// the time may yet bring it back, to the same place.
    TakenBack(Position),
}

/// All writes, by token.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    fates: Vec<Fate>,
}

impl Acknowledged {
    pub(super) fn submit(&mut self) -> u64 {
        self.fates.push(Fate::Open);
        self.fates.len() as u64 - 1
    }

    fn fate(&mut self, token: u64) -> &mut Fate {
        &mut self.fates[usize::try_from(token).expect("in memory")]
    }

    pub(super) fn on_commit(&mut self, entry: &Entry) -> Verdict {
        let Some(token) = token_of(entry) else { return Ok(()) };
        let sequence = entry.sequence;
        let fate = self.fate(token);
        let may = *fate == Fate::Open || *fate == Fate::TakenBack(entry.position());
        demand(may, "a write happens at most once, and never once refused", || {
            format!("write {token} was committed at {sequence:?}, though it was {fate:?} already")
        })?;
        *fate = Fate::Committed(sequence);
        Ok(())
    }

    pub(super) fn on_written(&mut self, token: u64, sequence: Sequence) -> Verdict {
        let fate = *self.fate(token);
        demand(fate == Fate::Committed(sequence), "an acknowledgement is true", || {
            format!("write {token} was acknowledged at {sequence:?} but is {fate:?}")
        })
    }

    pub(super) fn on_refused(&mut self, token: u64) -> Verdict {
        let fate = *self.fate(token);
        demand(fate == Fate::Open, "a refusal is true", || {
            format!("write {token} was refused but is {fate:?}")
        })?;
        *self.fate(token) = Fate::Refused;
        Ok(())
    }

    pub(super) fn take_back(&mut self, lost: Vec<(u64, Position)>) {
        for (token, position) in lost {
            *self.fate(token) = Fate::TakenBack(position);
        }
    }
}
