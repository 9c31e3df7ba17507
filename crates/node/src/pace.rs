//! How fast repair goes: all together that a node sends to replicas that are being brought up, and the
//! snapshots that it takes.
//!
//! While nobody wants anything of the node, as fast as it can. While somebody does, so many bytes a
//! second, of which clients notice little: enough for every repair to come to an end.
//!
//! Copies of an operation that has a limit of its own keep to that besides, whether anybody wants something or not.

use std::collections::BTreeMap;
use std::time::Duration;
use types::limits::{REPAIR_BUSY_LASTS, REPAIR_REST_MAX};
use types::{Moment, ReplicaId};
use wire::control::CopyPace;

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

/// When a copy may go on, for all that is repaired here and for its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub repair: Moment,
    pub own: Moment,
}

impl Due {
    /// Whether it need not wait.
    #[must_use]
    pub fn is_over(&self, now: Moment) -> bool {
        self.repair.max(self.own) <= now
    }
}

/// How fast the copies of operations may be made that have a limit of their own.
#[derive(Debug, Default)]
pub struct CopyPaces {
    /// Of each copy: its operation, and how many bytes a second all copies of that may take.
    copies: BTreeMap<ReplicaId, (u64, u64)>,
    /// When the next piece of each operation may go.
    next: BTreeMap<u64, Moment>,
}

impl CopyPaces {
    /// Takes what the control plane says, in place of what it said before.
    pub fn set(&mut self, paces: &[CopyPace]) {
        let copy = |pace: &CopyPace| {
            (ReplicaId(pace.replica), (pace.operation, pace.bytes_per_second.max(1)))
        };
        self.copies = paces.iter().map(copy).collect();
        let copies = &self.copies;
        self.next.retain(|operation, _| copies.values().any(|(of, _)| of == operation));
    }

    /// Whether a copy has a limit.
    #[must_use]
    pub fn has(&self, copy: ReplicaId) -> bool {
        self.copies.contains_key(&copy)
    }

    /// A piece of so many bytes of a copy comes or goes now.
    ///
    /// Returns when that copy may go on: each has a place of its own in the queue.
    pub fn take(&mut self, now: Moment, copy: ReplicaId, bytes: u64) -> Moment {
        let Some((operation, rate)) = self.copies.get(&copy) else { return now };
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(*rate);
        // A century is as good as for ever.
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX).min(u64::MAX / 4);
        let next = self.next.entry(*operation).or_insert(now);
        *next = (*next).max(now) + Duration::from_nanos(nanos);
        *next
    }

    /// How long the next piece of a copy has to wait.
    #[must_use]
    pub fn wait(&self, now: Moment, copy: ReplicaId) -> Duration {
        let operation = self.copies.get(&copy).map(|(operation, _)| operation);
        let next = operation.and_then(|operation| self.next.get(operation));
        next.map_or(Duration::ZERO, |next| next.since(now))
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

    fn paces(rate: u64) -> Vec<CopyPace> {
        let pace = |replica| CopyPace { replica, operation: 7, bytes_per_second: rate };
        [1, 2].map(pace).to_vec()
    }

    #[test]
    fn the_copies_of_an_operation_share_its_rate_and_others_have_none() {
        let (mut copies, now) = (CopyPaces::default(), at(1_000));
        copies.set(&paces(MIB));
        copies.take(now, ReplicaId(1), MIB);
        assert_eq!(copies.wait(now, ReplicaId(2)), Duration::from_secs(1));
        copies.take(now, ReplicaId(2), MIB);
        assert_eq!(copies.wait(now, ReplicaId(1)), Duration::from_secs(2));
        copies.take(now, ReplicaId(3), u64::MAX);
        assert!(copies.wait(now, ReplicaId(3)).is_zero() && !copies.has(ReplicaId(3)));
    }

    #[test]
    fn what_is_said_anew_counts_and_what_was_taken_stays_taken() {
        let (mut copies, now) = (CopyPaces::default(), at(1_000));
        copies.set(&paces(MIB));
        copies.take(now, ReplicaId(1), MIB);
        copies.set(&paces(MIB));
        assert_eq!(copies.wait(now, ReplicaId(1)), Duration::from_secs(1));
        copies.set(&[]);
        assert!(copies.wait(now, ReplicaId(1)).is_zero());
        copies.set(&paces(0));
        copies.take(now, ReplicaId(1), u64::MAX);
        assert!(copies.wait(now, ReplicaId(1)) > Duration::from_secs(1 << 30));
    }
}
