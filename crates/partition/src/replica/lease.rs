//! Who may read on whose word, and for how long.
//!
//! Think of a key that is lent out: the lender counts the days from when it hands the key over, the
//! borrower from when it asked for it. As the asking came first, the borrower stops using it before
//! the lender gives it to somebody else, without either knowing the other's calendar.
//!
//! A follower that answers its leader's append promises: *I shall not lead until `LEASE +
//! LEASE_MARGIN` after I got this.* The leader counts `LEASE` from when it sent that append, by its
//! own clock (the answer repeats the time). It serves reads only while it holds such a promise of
//! **every** replica that could be made leader: the in-sync set, and whoever it has asked to have
//! promoted. So while it reads, nobody else can have committed anything.
//!
//! `LEASE_MARGIN / LEASE` is by how much the rates of two clocks may differ. The clock must not
//! stop while the machine sleeps.

use std::time::Duration;
use types::Moment;
use types::limits::{LEASE, LEASE_MARGIN};

/// What this replica has promised, as a follower.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    until: Moment,
}

impl Grant {
    const TERM: Duration = LEASE.saturating_add(LEASE_MARGIN);

    /// Nothing was ever promised.
    pub(super) fn none() -> Grant {
        Grant { until: Moment(0) }
    }

    /// A replica that has just started does not remember what it promised: it assumes the worst.
    pub(super) fn assumed(now: Moment) -> Grant {
        Grant { until: now + Grant::TERM }
    }

    /// Promises anew, on answering the leader.
    pub(super) fn extend(&mut self, now: Moment) {
        self.until = self.until.max(now + Grant::TERM);
    }

    pub(super) fn expired(self, now: Moment) -> bool {
        now >= self.until
    }

    pub(super) fn until(self) -> Moment {
        self.until
    }
}

/// Whether a promise counted from `sent`, if there is one, still holds for the leader.
pub(super) fn holds(sent: Option<Moment>, now: Moment) -> bool {
    sent.is_some_and(|sent| now < sent + LEASE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_stops_before_the_follower_is_free() {
        let sent = Moment(1_000);
        let mut grant = Grant::assumed(Moment(0));
        grant.extend(sent);
        assert!(holds(Some(sent), sent + (LEASE - Duration::from_nanos(1))));
        assert!(!holds(Some(sent), sent + LEASE));
        assert!(!grant.expired(sent + LEASE));
        assert!(grant.expired(sent + LEASE + LEASE_MARGIN));
    }

    #[test]
    fn without_any_answer_there_is_no_lease() {
        assert!(!holds(None, Moment(0)));
    }
}
