//! How fast snapshots go, all of a node together.
//!
//! While nobody wants anything of the node, at once. While somebody does, a piece goes only when the
//! node has rested from the last one, [`SNAPSHOT_RESTS`] times as long as that took: clients then meet
//! a piece that is under way once in a while, and not each time. But repair must come to an end, so
//! rests are shortened where all together would be slower than [`SNAPSHOT_BYTES_PER_SECOND_MIN`].

use std::time::Duration;
use types::limits::{SNAPSHOT_BUSY_LASTS, SNAPSHOT_BYTES_PER_SECOND_MIN, SNAPSHOT_RESTS};
use types::time::Moment;

/// Shared by all snapshots that a node sends.
#[derive(Debug, Default)]
pub struct Pace {
    /// How much clients had asked for when that was last looked at.
    asked: u64,
    /// When it was last seen that they want something.
    busy: Option<Moment>,
    /// When the next piece may go.
    next: Option<Moment>,
}

impl Pace {
    /// Whether somebody wanted something of this node lately; `asked` counts what was wanted so far.
    pub fn is_busy(&mut self, now: Moment, asked: u64) -> bool {
        if asked != self.asked {
            self.asked = asked;
            self.busy = Some(now);
        }
        self.busy.is_some_and(|at| now.since(at) < SNAPSHOT_BUSY_LASTS)
    }

    /// How long the next piece has to wait.
    #[must_use]
    pub fn wait(&self, now: Moment) -> Duration {
        self.next.map_or(Duration::ZERO, |next| next.since(now))
    }

    /// A piece of so many bytes took so long while clients wanted something.
    pub fn rest(&mut self, now: Moment, took: Duration, bytes: u64) {
        let slowest = Duration::from_nanos(bytes * 1_000_000_000 / SNAPSHOT_BYTES_PER_SECOND_MIN);
        let rest = (took * SNAPSHOT_RESTS).min(slowest.saturating_sub(took));
        // Those that went at the same time rest one after another.
        self.next = Some(self.next.map_or(now, |next| next.max(now)) + rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn at(ms: u64) -> Moment {
        Moment(ms * 1_000_000)
    }

    #[test]
    fn who_asked_lately_keeps_the_node_busy() {
        let mut pace = Pace::default();
        assert!(!pace.is_busy(at(0), 0));
        assert!(pace.is_busy(at(10), 1));
        let lasts = u64::try_from(SNAPSHOT_BUSY_LASTS.as_millis()).unwrap();
        assert!(pace.is_busy(at(10 + lasts - 1), 1));
        assert!(!pace.is_busy(at(10 + lasts), 1));
    }

    #[test]
    fn nobody_waits_before_the_first_piece() {
        assert_eq!(Pace::default().wait(at(5)), Duration::ZERO);
    }

    #[test]
    fn pieces_take_a_small_part_of_the_time() {
        let mut pace = Pace::default();
        pace.rest(at(5), Duration::from_millis(5), MIB);
        assert_eq!(pace.wait(at(5)), Duration::from_millis(5) * SNAPSHOT_RESTS);
        assert_eq!(pace.wait(at(1000)), Duration::ZERO);
    }

    #[test]
    fn all_together_are_never_slower_than_the_floor() {
        let mut pace = Pace::default();
        let (mut now, mut bytes) = (0, 0);
        while now < 10_000 {
            // Slow pieces, two at a time.
            now += 50;
            pace.rest(at(now), Duration::from_millis(50), MIB);
            pace.rest(at(now), Duration::from_millis(50), MIB);
            bytes += 2 * MIB;
            now += u64::try_from(pace.wait(at(now)).as_millis()).unwrap();
        }
        assert!(bytes * 1000 / now >= SNAPSHOT_BYTES_PER_SECOND_MIN, "{bytes} in {now} ms");
    }
}
