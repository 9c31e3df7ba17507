//! How many bytes lie between a place in the log and its end, roughly and cheaply.

use std::collections::VecDeque;
use types::Sequence;

/// A mark is set each time this many bytes were ordered.
const MARK_BYTES: u64 = 256 << 10;

/// So many marks are kept; what lies further back counts as infinitely far.
const MARKS_MAX: usize = 256;

/// Counts the bytes that a leader orders, with marks to look back to.
#[derive(Debug)]
pub(super) struct Odometer {
    total: u64,
    /// Places, and the total when each was reached; ascending.
    marks: VecDeque<(Sequence, u64)>,
}

impl Odometer {
    pub(super) fn at(end: Sequence) -> Odometer {
        Odometer { total: 0, marks: VecDeque::from([(end, 0)]) }
    }

    /// The entry at `sequence` was ordered.
    pub(super) fn pass(&mut self, sequence: Sequence, bytes: usize) {
        self.total += bytes as u64;
        if self.marks.back().is_none_or(|(_, total)| total + MARK_BYTES <= self.total) {
            self.marks.push_back((sequence, self.total));
        }
        if self.marks.len() > MARKS_MAX {
            self.marks.pop_front();
        }
    }

    /// At most so many bytes were ordered after `sequence`; off by one mark at most.
    pub(super) fn since(&self, sequence: Sequence) -> u64 {
        let after = self.marks.partition_point(|(place, _)| *place <= sequence);
        match after.checked_sub(1) {
            Some(index) => self.total - self.marks[index].1,
            None => u64::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_says_less_than_there_is_and_little_more() {
        let mut odometer = Odometer::at(Sequence(10));
        for sequence in 11..=1010 {
            odometer.pass(Sequence(sequence), 10_000);
        }
        for place in [10, 11, 500, 1009, 1010] {
            let truth = (1010 - place) * 10_000;
            let said = odometer.since(Sequence(place));
            assert!(said >= truth && said <= truth + MARK_BYTES + 10_000, "{place}: {said}");
        }
        assert_eq!(odometer.since(Sequence(9)), u64::MAX);
    }

    #[test]
    fn what_is_too_far_back_is_infinitely_far() {
        let mut odometer = Odometer::at(Sequence(0));
        for sequence in 1..=1000 {
            odometer.pass(Sequence(sequence), 1 << 20);
        }
        assert_eq!(odometer.since(Sequence(700)), u64::MAX);
        assert_eq!(odometer.since(Sequence(990)), 10 << 20);
    }
}
