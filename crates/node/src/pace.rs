//! How fast repair goes: all together that a node sends to replicas that are being brought up, and the
//! snapshots that it takes.
//!
//! While nobody wants anything of the node, as fast as it can. While somebody does, so many bytes a
//! second, of which clients notice little: enough for every repair to come to an end.

use std::time::Duration;
use types::Moment;
use types::limits::{REPAIR_BUSY_LASTS, REPAIR_REST_MAX};

/// Shared by all that is repaired from or to a node.
#[derive(Debug, Default)]
pub struct Pace {
    /// How much clients had asked for when that was last looked at.
    asked: u64,
    /// When it was last seen that they want something.
    busy: Option<Moment>,
    /// When the next piece may go.
    next: Moment,
}

impl Pace {
    /// Whether clients want something; `asked` counts what they wanted so far.
    pub fn is_busy(&mut self, now: Moment, asked: u64) -> bool {
        if asked != self.asked {
            self.asked = asked;
            self.busy = Some(now);
        }
        self.busy.is_some_and(|at| now.since(at) < REPAIR_BUSY_LASTS)
    }

    /// A piece of so many bytes comes or goes now; `rate` is how many a second may go while clients
    /// want something. Returns when whoever it was may go on: each has a place of its own in the queue.
    pub fn take(&mut self, now: Moment, asked: u64, bytes: u64, rate: u64) -> Moment {
        if !self.is_busy(now, asked) {
            // What was taken too much while they did is forgiven.
            self.next = now;
        } else if bytes > 0 {
            let nanos = bytes.saturating_mul(1_000_000_000) / rate.max(1);
            let next = self.next.max(now) + Duration::from_nanos(nanos);
            // However many there are, each gets on: nobody is left for the end of a queue that grows.
            self.next = next.min(now + REPAIR_REST_MAX);
            return self.next;
        }
        now
    }

    /// How long the next piece has to wait that comes from another node.
    #[must_use]
    pub fn wait(&mut self, now: Moment, asked: u64) -> Duration {
        if self.is_busy(now, asked) { self.next.since(now) } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const RATE: u64 = 16 * MIB;

    fn at(ms: u64) -> Moment {
        Moment(ms * 1_000_000)
    }

    #[test]
    fn nobody_waits_while_nobody_asks() {
        let mut pace = Pace::default();
        for ms in 0..100 {
            assert_eq!(pace.take(at(ms), 0, MIB, RATE), at(ms));
            assert_eq!(pace.wait(at(ms), 0), Duration::ZERO);
        }
    }

    #[test]
    fn who_asked_lately_slows_repair_down_for_a_while() {
        let mut pace = Pace::default();
        let rest = Duration::from_micros(62_500);
        assert_eq!(pace.take(at(10), 1, MIB, RATE), at(10) + rest);
        assert_eq!(pace.wait(at(10), 1), rest);
        assert_eq!(pace.wait(at(73), 1), Duration::ZERO);
        let lasts = u64::try_from(REPAIR_BUSY_LASTS.as_millis()).unwrap();
        assert!(pace.take(at(10 + lasts - 1), 1, MIB, RATE) > at(10 + lasts));
        assert_eq!(pace.take(at(10 + lasts), 1, MIB, RATE), at(10 + lasts));
    }

    #[test]
    fn all_together_keep_to_the_rate_one_after_another() {
        let mut pace = Pace::default();
        // When each of three snapshots may send its next piece.
        let mut next = [at(1); 3];
        let mut bytes = 0;
        for asked in 1.. {
            let first = next.iter_mut().min().unwrap();
            if *first > at(10_000) {
                break;
            }
            *first = pace.take(*first, asked, MIB, RATE);
            bytes += MIB;
        }
        let rate = bytes / 10;
        assert!(rate.abs_diff(RATE) < RATE / 50, "{rate} of {RATE}");
        next.sort();
        assert!(next[2].since(next[0]) > Duration::from_millis(100), "not all at once: {next:?}");
    }

    /// What waited was held to the end of a queue that grew as long as clients wanted something, and
    /// stayed slow for as long again when they wanted nothing any more.
    #[test]
    fn what_was_taken_too_much_is_bounded_and_forgiven() {
        let mut pace = Pace::default();
        for asked in 1..=1000 {
            let _ = pace.take(at(1), asked, MIB, MIB);
        }
        assert_eq!(pace.take(at(1), 1001, MIB, MIB), at(1) + REPAIR_REST_MAX);
        let quiet = at(1) + REPAIR_BUSY_LASTS;
        assert_eq!(pace.wait(quiet, 1001), Duration::ZERO);
        assert_eq!(pace.take(quiet, 1001, MIB, RATE), quiet);
        let rest = Duration::from_micros(62_500);
        assert_eq!(pace.take(quiet, 1002, MIB, RATE), quiet + rest);
    }

    /// A follower whose log grows faster than the rate waited with all others for what cost nothing.
    #[test]
    fn what_costs_nothing_waits_for_nobody() {
        let mut pace = Pace::default();
        pace.take(at(1), 1, 8 * MIB, RATE);
        assert_eq!(pace.take(at(1), 2, 0, RATE), at(1));
    }

    #[test]
    fn a_rate_of_nothing_is_as_slow_as_it_can_be() {
        let mut pace = Pace::default();
        assert_eq!(pace.take(at(1), 1, u64::MAX, 0), at(1) + REPAIR_REST_MAX);
    }
}
