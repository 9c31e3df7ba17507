//! How fast an operation goes, and how long it will take: from what was done lately, and from nothing else.

use std::collections::VecDeque;
use std::time::Duration;
use types::Moment;

/// What was done in this time is what the rate is taken from.
pub const WINDOW: Duration = Duration::from_secs(30);

/// Readings closer together than this are one.
const SPACING: Duration = Duration::from_millis(500);

/// Less than this says nothing about the rate.
const SPAN_MIN: Duration = Duration::from_secs(1);

/// Readings of one operation, in the memory of the member that leads.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    readings: VecDeque<(Moment, u64)>,
}

impl Meter {
    /// Takes a reading: so many bytes are done.
    pub fn note(&mut self, now: Moment, bytes: u64) {
        let is_news = self.readings.back().is_none_or(|(at, _)| now.since(*at) >= SPACING);
        if is_news {
            self.readings.push_back((now, bytes));
        }
        while self.readings.front().is_some_and(|(at, _)| now.since(*at) > WINDOW) {
            self.readings.pop_front();
        }
    }

    /// Bytes a second, and over how long that was seen; `None` while nobody can tell.
    #[must_use]
    pub fn rate(&self) -> Option<(u64, Duration)> {
        let ((first, before), (last, after)) = (self.readings.front()?, self.readings.back()?);
        let span = last.since(*first);
        if span < SPAN_MIN {
            return None;
        }
        let bytes = u128::from(after.saturating_sub(*before));
        let rate = bytes * 1_000 / span.as_millis().max(1);
        Some((u64::try_from(rate).unwrap_or(u64::MAX), span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_while() {
        let mut meter = Meter::default();
        let at = |seconds: u64| Moment(seconds * 1_000_000_000);
        meter.note(at(0), 0);
        assert_eq!(meter.rate(), None, "one reading says nothing");
        for second in 1..=10 {
            meter.note(at(second), second * 100);
        }
        assert_eq!(meter.rate(), Some((100, Duration::from_secs(10))));
        for second in 11..=60 {
            meter.note(at(second), 1_000);
        }
        assert_eq!(meter.rate(), Some((0, WINDOW)), "it stands still");
    }
}
