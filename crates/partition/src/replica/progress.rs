//! What a leader knows of one follower, and how it feeds it.
//!
//! ```text
//!               answer to the probe                 next is no longer in memory
//!   +---------+ -------------------> +-----------+ -----------------------> +-----+
//!   | Probing |                      | Streaming |                          | Log |
//!   +---------+ <------------------- +-----------+ <----------------------- +-----+
//!     |    ^     did not fit, no progress,           has it all; (or no progress: Probing)
//!     v    |     restarted, session broke
//!   +----------+
//!   | Snapshot |   the log no longer goes back to where the two are equal
//!   +----------+
//! ```
//!
//! An answer counts only when it repeats a stamp at least as new as the mode: what was sent before
//! tells nothing about what was asked since.

use super::lease;
use super::message::Ack;
use super::status::{Failure, FollowerStatus, Room};
use std::time::Duration;
use types::limits::{
    FOLLOWER_GREETING_MAX, FOLLOWER_SILENCE_MAX, FOLLOWER_STALL_MAX, FOLLOWER_SYNC_STALL_MAX,
};
use types::{Moment, ReplicaId, Sequence};

/// How the follower is fed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Where its log equals ours is being asked, one empty append at a time.
    Probing,
    /// It gets every entry as it is ordered.
    Streaming,
    /// The driver reads entries from the log for it, from here up to there; `sent` once it has.
    Log { from: Sequence, upto: Sequence, sent: bool },
    /// The driver brings it a snapshot.
    Snapshot,
}

/// Whether a follower's acknowledgement is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Membership {
    /// Not waited for.
    CatchingUp,
    /// Waited for, so that it comes to have everything; nobody was told yet.
    Joining,
    /// Its promotion was asked for: it may be in sync already, for all this leader knows.
    Promoting,
    InSync,
}

#[derive(Debug)]
pub(super) struct Progress {
    pub(super) membership: Membership,
    pub(super) mode: Mode,
    /// Stamp from which on answers belong to this mode.
    since: u64,
    /// Which life of the follower the rest speaks of; zero before its first answer.
    pub(super) life: u64,
    /// Next entry to send.
    pub(super) next: Sequence,
    pub(super) matched: Sequence,
    pub(super) synced: Sequence,
    pub(super) proven: bool,
    pub(super) failure: Option<Failure>,
    /// How much room its disk has.
    pub(super) room: Room,
    /// Newest stamp that was answered: the lease counts from it.
    answered: Option<u64>,
    /// When it last answered anything.
    heard_at: Moment,
    /// Whether it has answered this leader at all.
    greeted: bool,
    /// When its log last got further, or when something became due.
    pub(super) moved_at: Moment,
    /// When its disk last got further, or when something became due.
    synced_at: Moment,
    /// When what is now on its way to it began to be: an answer is due some time after.
    pub(super) expected_from: Moment,
    /// When something was last sent to it.
    pub(super) sent_at: Moment,
    /// When a configuration was last asked for on its account.
    pub(super) asked_at: Option<Moment>,
}

impl Progress {
    pub(super) fn new(membership: Membership, next: Sequence, now: Moment) -> Progress {
        Progress {
            membership,
            mode: Mode::Probing,
            since: now.0,
            life: 0,
            next,
            matched: Sequence::ZERO,
            synced: Sequence::ZERO,
            proven: false,
            failure: None,
            room: Room::Enough,
            answered: None,
            heard_at: now,
            greeted: false,
            moved_at: now,
            synced_at: now,
            expected_from: now,
            sent_at: now,
            asked_at: None,
        }
    }

    /// Whether commits, flushes and leases wait for it.
    pub(super) fn counts(&self) -> bool {
        self.membership != Membership::CatchingUp
    }

    /// Whether its promise not to lead holds.
    pub(super) fn lease_holds(&self, now: Moment) -> bool {
        lease::holds(self.answered.map(Moment), now)
    }

    pub(super) fn enter(&mut self, mode: Mode, now: Moment) {
        self.mode = mode;
        self.since = now.0;
        self.expected_from = now;
    }

    /// Whether the driver sends it what it was asked for with this stamp.
    pub(super) fn is_sent_log(&self, stamp: u64) -> bool {
        matches!(self.mode, Mode::Log { sent: false, .. }) && self.since == stamp
    }

    /// Starts over: asks where the logs are equal, beginning before `next`.
    pub(super) fn probe(&mut self, next: Sequence, now: Moment) {
        self.next = next;
        self.enter(Mode::Probing, now);
    }

    /// Notes an answer. `None` when it came from an earlier life and is worth nothing; otherwise
    /// whether it belongs to the present mode.
    pub(super) fn hear(&mut self, life: u64, stamp: u64, now: Moment) -> Option<bool> {
        if life < self.life || stamp > now.0 {
            return None;
        }
        if life > self.life {
            self.begin_life(life, now);
        }
        self.give_sign(now);
        self.answered = self.answered.max(Some(stamp));
        Some(stamp >= self.since)
    }

    /// It lives, whatever else it says.
    pub(super) fn give_sign(&mut self, now: Moment) {
        self.greeted = true;
        self.heard_at = now;
    }

    /// The follower restarted, perhaps with less than it had.
    fn begin_life(&mut self, life: u64, now: Moment) {
        let known = self.life != 0;
        self.life = life;
        self.matched = Sequence::ZERO;
        self.synced = Sequence::ZERO;
        self.proven = false;
        self.failure = None;
        self.room = Room::Enough;
        self.moved_at = now;
        self.synced_at = now;
        // What the driver is still sending from the log is worth nothing to this life.
        if known && self.mode != Mode::Snapshot {
            self.mode = Mode::Probing;
        }
    }

    /// Takes over what an acknowledgement of the present life says. Says whether it got further.
    pub(super) fn take(&mut self, ack: &Ack, now: Moment) -> bool {
        let (further_log, further_disk) = (ack.matched > self.matched, ack.synced > self.synced);
        self.matched.advance(ack.matched);
        self.synced.advance(ack.synced);
        self.next.advance(self.matched.next());
        self.proven |= ack.proven;
        if self.answered <= Some(ack.stamp) {
            self.failure = ack.failure;
            self.room = ack.room;
        }
        if further_log {
            self.moved_at = now;
        }
        if further_disk {
            self.synced_at = now;
        }
        further_log || further_disk
    }

    /// How long it has said nothing.
    pub(super) fn silent_for(&self, now: Moment) -> Duration {
        now - self.heard_at
    }

    pub(super) fn silent(&self, now: Moment) -> bool {
        let patience = if self.greeted { FOLLOWER_SILENCE_MAX } else { FOLLOWER_GREETING_MAX };
        self.silent_for(now) > patience
    }

    /// Whether something is to be acknowledged: `end` to have, or `sync_upto` to have on disk.
    pub(super) fn due(&self, end: Sequence, sync_upto: Sequence) -> bool {
        self.matched < end || self.synced < sync_upto
    }

    /// More becomes due: what is waited for from now on has not been waited for before. `end` and
    /// `sync_upto` are what was due until now.
    pub(super) fn begin_due(&mut self, end: Sequence, sync_upto: Sequence, now: Moment) {
        if self.matched >= end {
            self.moved_at = now;
        }
        if self.synced >= sync_upto {
            self.synced_at = now;
        }
    }

    /// Whether it answers and its log gets nowhere.
    pub(super) fn log_stalled(&self, end: Sequence, now: Moment) -> bool {
        self.matched < end && now - self.moved_at > FOLLOWER_STALL_MAX
    }

    /// Whether its disk gets nowhere, with `sync_upto` on the leader's own disk since `since`.
    pub(super) fn disk_stalled(&self, sync_upto: Sequence, since: Moment, now: Moment) -> bool {
        let since = self.synced_at.max(since);
        self.synced < sync_upto && now - since > FOLLOWER_SYNC_STALL_MAX
    }

    /// This leader itself did not run for `pause`: that is nobody else's silence.
    pub(super) fn forgive(&mut self, pause: Duration, now: Moment) {
        self.heard_at = now.min(self.heard_at + pause);
        self.moved_at = now.min(self.moved_at + pause);
        self.synced_at = now.min(self.synced_at + pause);
    }

    pub(super) fn status(&self, replica: ReplicaId, now: Moment) -> FollowerStatus {
        FollowerStatus {
            replica,
            counts: self.counts(),
            matched: self.matched,
            synced: self.synced,
            silent_for: self.silent_for(now),
            failure: self.failure,
        }
    }
}
