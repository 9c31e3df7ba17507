//! How fast repair goes: all together that a node sends to replicas that are being brought up, and the
//! snapshots that it takes.
//!
//! While nobody wants anything of the node, as fast as it can. While somebody does, so many bytes a
//! second, of which clients notice little: enough for every repair to come to an end.

use std::time::Duration;
use types::Moment;
use types::limits::REPAIR_BUSY_LASTS;

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
    /// want something.
    pub fn take(&mut self, now: Moment, asked: u64, bytes: u64, rate: u64) {
        if self.is_busy(now, asked) {
            let nanos = bytes.saturating_mul(1_000_000_000) / rate.max(1);
            self.next = self.next.max(now) + Duration::from_nanos(nanos);
        }
    }

    /// How long the next piece has to wait.
    #[must_use]
    pub fn wait(&self, now: Moment) -> Duration {
        self.next.since(now)
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
            pace.take(at(ms), 0, MIB, RATE);
            assert_eq!(pace.wait(at(ms)), Duration::ZERO);
        }
    }

    #[test]
    fn who_asked_lately_slows_repair_down_for_a_while() {
        let mut pace = Pace::default();
        pace.take(at(10), 1, MIB, RATE);
        assert_eq!(pace.wait(at(10)), Duration::from_micros(62_500));
        assert_eq!(pace.wait(at(73)), Duration::ZERO);
        let lasts = u64::try_from(REPAIR_BUSY_LASTS.as_millis()).unwrap();
        pace.take(at(10 + lasts - 1), 1, MIB, RATE);
        assert!(!pace.wait(at(10 + lasts - 1)).is_zero());
        let mut quiet = Pace::default();
        quiet.take(at(10), 1, MIB, RATE);
        quiet.take(at(10 + lasts), 1, MIB, RATE);
        assert_eq!(quiet.wait(at(10 + lasts)), Duration::ZERO);
    }

    #[test]
    fn all_together_keep_to_the_rate() {
        let mut pace = Pace::default();
        let (mut now, mut bytes) = (0, 0);
        for asked in 1.. {
            // Three snapshots at a time.
            (0..3).for_each(|_| pace.take(at(now), asked, MIB, RATE));
            bytes += 3 * MIB;
            now += u64::try_from(pace.wait(at(now)).as_millis()).unwrap() + 1;
            if now > 10_000 {
                break;
            }
        }
        let rate = bytes * 1000 / now;
        assert!(rate.abs_diff(RATE) < RATE / 50, "{rate} of {RATE}");
    }

    #[test]
    fn a_rate_of_nothing_is_as_slow_as_it_can_be() {
        let mut pace = Pace::default();
        pace.take(at(1), 1, u64::MAX, 0);
        assert!(pace.wait(at(1)) > Duration::from_secs(1));
    }
}
