//! Which segment to rewrite, so that the room of what is dead in it comes back.
//!
//! Whole dead segments are removed, and long dead runs are punched out; what remains are segments
//! in which little is alive, in pieces too small for holes. Copying those pieces elsewhere costs
//! `live` bytes and gives `length` back, so it is done where that is a good trade.

use types::limits::COMPACTION_LIVE_PERCENT_MAX;

/// What is known of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub number: u32,
    /// Bytes of the file.
    pub length: u64,
    /// Bytes that something points to.
    pub live: u64,
    /// What was alive when the segment was filled by copying, where that is known: records are
    /// copied whole, so part of them may have been dead from the beginning.
    pub filled: Option<u64>,
}

impl Candidate {
    fn is_worth_it(&self) -> bool {
        let once = self.filled.unwrap_or(self.length).min(self.length);
        self.live > 0 && self.live * 100 <= once * COMPACTION_LIVE_PERCENT_MAX
    }
}

/// The segment to rewrite next: of those that are worth it the one in which least is alive. A
/// segment with nothing alive in it is not rewritten but removed.
pub fn choose(candidates: impl Iterator<Item = Candidate>) -> Option<u32> {
    let worth = candidates.filter(Candidate::is_worth_it);
    worth.min_by_key(|candidate| (candidate.live, candidate.number)).map(|chosen| chosen.number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(number: u32, length: u64, live: u64) -> Candidate {
        Candidate { number, length, live, filled: None }
    }

    #[test]
    fn the_emptiest_is_rewritten_and_full_ones_are_left_alone() {
        assert_eq!(choose([segment(1, 100, 90), segment(2, 100, 60)].into_iter()), None);
        let three = [segment(1, 100, 40), segment(2, 100, 10), segment(3, 100, 90)];
        assert_eq!(choose(three.into_iter()), Some(2));
        assert_eq!(choose([segment(1, 100, 0)].into_iter()), None, "that one is removed");
    }

    #[test]
    fn a_copy_that_was_sparse_from_the_beginning_is_not_copied_for_ever() {
        let copy = Candidate { filled: Some(20), ..segment(9, 100, 20) };
        assert_eq!(choose([copy].into_iter()), None);
        assert_eq!(choose([Candidate { live: 10, ..copy }].into_iter()), Some(9));
    }
}
