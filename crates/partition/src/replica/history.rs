//! Which epoch wrote which part of the log: the way to find where two logs part.

use super::entry::Position;
use types::{Epoch, Sequence};

/// The first entry of each epoch that the log has entries of.
///
/// ```text
///   log      1 1 1 3 3 3 3 6 6        history   (1, #1) (3, #4) (6, #8)
///   place    1 2 3 4 5 6 7 8 9
/// ```
///
/// It goes back at least to the entry before the log's start, so that the first entry the log
/// still has can be sent with the epoch of the one before it. Ascending in both fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    firsts: Vec<Position>,
}

impl History {
    /// Takes what was stored; drops whatever does not ascend (a damaged tail of the list).
    #[must_use]
    pub fn from_stored(stored: Vec<Position>) -> History {
        let mut history = History::default();
        for first in stored {
            let fits = history
                .firsts
                .last()
                .is_none_or(|last| last.epoch < first.epoch && last.sequence < first.sequence);
            if !fits {
                break;
            }
            history.firsts.push(first);
        }
        history
    }

    /// What to store.
    #[must_use]
    pub fn firsts(&self) -> &[Position] {
        &self.firsts
    }

    /// Notes that the log now ends with the entry at `position`. What was known of that place and
    /// of later ones is void: a list that was stored while the log was longer may be replayed over.
    pub fn push(&mut self, position: Position) {
        self.truncate(position.sequence.previous());
        if self.firsts.last().is_none_or(|last| last.epoch < position.epoch) {
            self.firsts.push(position);
        }
        debug_assert_eq!(self.firsts.last().map(|last| last.epoch), Some(position.epoch));
    }

    /// Forgets everything after `after`.
    pub fn truncate(&mut self, after: Sequence) {
        while self.firsts.last().is_some_and(|last| last.sequence > after) {
            self.firsts.pop();
        }
    }

    /// Forgets what is not needed to name the entry before `start` and all later ones.
    pub fn trim(&mut self, start: Sequence) {
        let before = start.previous();
        let keep = self.firsts.partition_point(|first| first.sequence <= before);
        self.firsts.drain(..keep.saturating_sub(1));
    }

    /// Starts anew after a snapshot whose last entry is `at`.
    pub fn reset(&mut self, at: Position) {
        self.firsts.clear();
        if at.sequence > Sequence::ZERO {
            self.firsts.push(at);
        }
    }

    /// Which epoch wrote `sequence`; `None` when that is too long ago to know. The caller makes
    /// sure that the log reaches that far. Zero, before the first entry, is of epoch zero.
    #[must_use]
    pub fn epoch_at(&self, sequence: Sequence) -> Option<Epoch> {
        if sequence == Sequence::ZERO {
            return Some(Epoch::ZERO);
        }
        let after = self.firsts.partition_point(|first| first.sequence <= sequence);
        after.checked_sub(1).map(|index| self.firsts[index].epoch)
    }

    /// Whether the entry named `position`, from before what is known here, may be in this log:
    /// epochs ascend, so it is not of a newer epoch than the first that is known.
    #[must_use]
    pub fn may_have_had(&self, position: Position) -> bool {
        self.firsts.first().is_some_and(|first| {
            position.sequence < first.sequence && position.epoch <= first.epoch
        })
    }

    /// The last entry at or before `sequence` whose epoch is at most `epoch`: the next place at
    /// which two logs may turn out to be equal. Falls back to the place before the first known
    /// epoch, then of unknown epoch (given as zero).
    #[must_use]
    pub fn last_at_most(&self, epoch: Epoch, sequence: Sequence) -> Position {
        let newer = self.firsts.partition_point(|first| first.epoch <= epoch);
        let sequence = match self.firsts.get(newer) {
            Some(first_newer) => sequence.min(first_newer.sequence.previous()),
            None => sequence,
        };
        Position { epoch: self.epoch_at(sequence).unwrap_or(Epoch::ZERO), sequence }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(epoch: u64, sequence: u64) -> Position {
        Position { epoch: Epoch(epoch), sequence: Sequence(sequence) }
    }

    fn drawn() -> History {
        let mut history = History::default();
        for (epoch, range) in [(1, 1..=3), (3, 4..=7), (6, 8..=9)] {
            for sequence in range {
                history.push(position(epoch, sequence));
            }
        }
        history
    }

    #[test]
    fn each_place_has_the_epoch_of_the_drawing() {
        let epochs: Vec<_> =
            (0..=9).map(|n| drawn().epoch_at(Sequence(n)).expect("known").0).collect();
        assert_eq!(epochs, [0, 1, 1, 1, 3, 3, 3, 3, 6, 6]);
    }

    #[test]
    fn the_next_place_to_compare_is_the_last_of_an_epoch_not_newer() {
        let history = drawn();
        assert_eq!(history.last_at_most(Epoch(5), Sequence(9)), position(3, 7));
        assert_eq!(history.last_at_most(Epoch(3), Sequence(5)), position(3, 5));
        assert_eq!(history.last_at_most(Epoch(2), Sequence(9)), position(1, 3));
        assert_eq!(history.last_at_most(Epoch(0), Sequence(9)), position(0, 0));
        assert_eq!(history.last_at_most(Epoch(9), Sequence(9)), position(6, 9));
    }

    #[test]
    fn trimming_keeps_the_name_of_the_entry_before_the_start() {
        let mut history = drawn();
        history.trim(Sequence(8));
        assert_eq!(history.firsts(), [position(3, 4), position(6, 8)]);
        assert_eq!(history.epoch_at(Sequence(7)), Some(Epoch(3)));
        assert_eq!(history.epoch_at(Sequence(3)), None);
        history.trim(Sequence(10));
        assert_eq!(history.firsts(), [position(6, 8)]);
    }

    #[test]
    fn cutting_forgets_epochs_that_have_no_entry_left() {
        let mut history = drawn();
        history.truncate(Sequence(7));
        assert_eq!(history.firsts(), [position(1, 1), position(3, 4)]);
        history.push(position(7, 8));
        assert_eq!(history.epoch_at(Sequence(8)), Some(Epoch(7)));
    }

    #[test]
    fn replaying_a_log_over_a_list_that_was_stored_later_replaces_what_was_cut() {
        let mut history = drawn();
        for (epoch, sequence) in [(3, 5), (3, 6), (4, 7), (9, 8)] {
            history.push(position(epoch, sequence));
        }
        assert_eq!(
            history.firsts(),
            [position(1, 1), position(3, 4), position(4, 7), position(9, 8)]
        );
    }

    #[test]
    fn a_stored_list_is_taken_as_far_as_it_ascends() {
        let stored = vec![position(1, 1), position(3, 4), position(2, 9)];
        assert_eq!(History::from_stored(stored).firsts(), [position(1, 1), position(3, 4)]);
    }
}
