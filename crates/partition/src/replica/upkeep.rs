//! What a leader does because time passed: sends again, renews leases, and asks the control plane
//! to take out whoever does not answer and to take in whoever has everything.

use super::effect::{Change, Effect, RemoveReason};
use super::leader::Leading;
use super::progress::{Membership, Mode, Progress};
use super::reconcile::Phase;
use super::state::Core;
use super::status::Failure;
use std::time::Duration;
use types::limits::{
    CONFIGURATION_REQUEST_INTERVAL, LEASE_RENEWAL_INTERVAL, REPLICATION_WINDOW_BYTES_MAX,
    REPLICATION_WINDOW_ENTRIES_MAX, RESEND_INTERVAL,
};
use types::volume::Durability;
use types::{Moment, ReplicaId, Sequence};

/// A leader that was not run for longer than this has itself been asleep.
const PAUSE: Duration = LEASE_RENEWAL_INTERVAL.saturating_mul(2);

/// A follower this close to the end of the log is waited for, so that it gets all the way.
const JOIN_LAG_ENTRIES_MAX: u64 = REPLICATION_WINDOW_ENTRIES_MAX as u64 / 4;
const JOIN_LAG_BYTES_MAX: u64 = REPLICATION_WINDOW_BYTES_MAX as u64 / 4;

impl Progress {
    /// Whether what was sent should have been answered by now.
    fn overdue(&self, now: Moment) -> bool {
        let waits = self.next > self.matched.next();
        let since = self.moved_at.max(self.expected_from);
        waits && now - since >= RESEND_INTERVAL
    }

    /// Why it should not be waited for any longer.
    fn trouble(&self, due: Due, now: Moment) -> Option<RemoveReason> {
        if let Some(failure) = self.failure {
            return Some(RemoveReason::Failed(failure));
        }
        if self.room.is_full() && due.outgrows_full {
            return Some(RemoveReason::Failed(Failure::NoSpace));
        }
        if self.silent(now) {
            return Some(RemoveReason::Silent);
        }
        let stalled =
            self.log_stalled(due.end, now) || self.disk_stalled(due.synced, due.synced_since, now);
        stalled.then_some(RemoveReason::Stalled)
    }
}

/// What a follower must have.
#[derive(Clone, Copy, Debug)]
struct Due {
    end: Sequence,
    /// On its disk: what was asked for, as far as the leader's own disk has it...
    synced: Sequence,
    /// ...since then.
    synced_since: Moment,
    /// Writes go on without those whose disks are full, so these leave the in-sync set.
    outgrows_full: bool,
}

impl Leading {
    pub(super) fn tick(&mut self, core: &mut Core, now: Moment, effects: &mut Vec<Effect>) {
        let pause = now - self.ticked_at;
        self.ticked_at = now;
        if pause > PAUSE {
            self.followers.values_mut().for_each(|progress| progress.forgive(pause, now));
        }
        let followers: Vec<ReplicaId> = self.followers.keys().copied().collect();
        for replica in &followers {
            self.send_again(core, now, *replica, effects);
        }
        for replica in followers {
            self.consider(core, now, replica, effects);
        }
        self.advance(core, now, effects);
    }

    /// When `tick` is next of use.
    pub(super) fn wake(&self, core: &Core, now: Moment) -> Moment {
        let idle = matches!(self.phase, Phase::Serving)
            && self.followers.values().all(|progress| {
                progress.mode == Mode::Streaming
                    && progress.membership == Membership::InSync
                    && progress.failure.is_none()
                    && !progress.due(core.log.end, self.sync_upto(core))
            });
        if idle {
            let sent = self.followers.values().map(|progress| progress.sent_at).min();
            sent.map_or(now + PAUSE, |sent| sent + LEASE_RENEWAL_INTERVAL)
        } else {
            self.ticked_at + RESEND_INTERVAL / 2
        }
    }

    /// Sends again what was not answered, or renews the lease when it is time.
    fn send_again(
        &mut self,
        core: &Core,
        now: Moment,
        replica: ReplicaId,
        effects: &mut Vec<Effect>,
    ) {
        let sync_upto = self.sync_upto(core);
        let Some(progress) = self.followers.get_mut(&replica) else { return };
        let quiet = now - progress.sent_at;
        if matches!(self.phase, Phase::Comparing { .. }) {
            if quiet >= RESEND_INTERVAL {
                self.ask(core, now, effects);
            }
            return;
        }
        let fed = matches!(progress.mode, Mode::Streaming | Mode::Log { sent: true, .. });
        if fed && progress.overdue(now) {
            let next = progress.matched.next();
            return self.resume(core, now, replica, next, effects);
        }
        let asks = progress.mode == Mode::Probing || progress.synced < sync_upto;
        if quiet >= LEASE_RENEWAL_INTERVAL || (asks && quiet >= RESEND_INTERVAL) {
            self.renew(core, now, replica, effects);
        }
    }

    /// What followers are measured by now.
    fn due(&self, core: &Core) -> Due {
        Due {
            end: core.log.end,
            synced: self.sync_upto(core).min(core.log.synced),
            synced_since: self.synced_at,
            outgrows_full: !core.room.is_full() && !self.lacks_room(core),
        }
    }

    /// Asks for the configuration that the follower's condition calls for.
    pub(super) fn consider(
        &mut self,
        core: &Core,
        now: Moment,
        replica: ReplicaId,
        effects: &mut Vec<Effect>,
    ) {
        if matches!(self.phase, Phase::Comparing { .. }) {
            // Who cannot prove its own log has no business judging others.
            return;
        }
        let due = self.due(core);
        let (serves, floor) = (self.phase.serves(), self.promotion_floor(core));
        let Some(progress) = self.followers.get_mut(&replica) else { return };
        let trouble = progress.trouble(due, now);
        let change = match (progress.membership, trouble) {
            (Membership::InSync | Membership::Promoting, Some(reason)) => {
                Change::Remove { replica, reason }
            }
            (Membership::InSync, None) => return,
            (Membership::CatchingUp | Membership::Joining, Some(_)) => {
                progress.membership = Membership::CatchingUp;
                return;
            }
            (Membership::CatchingUp, None) => {
                let behind = self.odometer.since(progress.matched);
                if serves && progress.is_close(due.end, behind, floor) {
                    progress.membership = Membership::Joining;
                    progress.moved_at = now;
                }
                return;
            }
            (Membership::Joining, None) => {
                if !serves || !progress.has_everything(core.log.committed, floor) {
                    return;
                }
                progress.membership = Membership::Promoting;
                Change::Promote { replica }
            }
            (Membership::Promoting, None) => Change::Promote { replica },
        };
        let repeat = |asked| now - asked >= CONFIGURATION_REQUEST_INTERVAL;
        if progress.asked_at.is_none_or(repeat) {
            progress.asked_at = Some(now);
            effects.push(Effect::RequestConfiguration { epoch: core.epoch, change });
        }
    }

    /// Whether there is no room for writes: here, or on so many followers that too few would be left.
    pub(super) fn lacks_room(&self, core: &Core) -> bool {
        if core.room.is_full() {
            return true;
        }
        let configuration = core.configuration_now();
        // With too few in sync, those who are to become so decide.
        let too_few = configuration.is_some_and(|c| !c.accepts_writes());
        let counts = |p: &&Progress| too_few || p.membership != Membership::CatchingUp;
        let counted = self.followers.values().filter(counts);
        let (full, roomy): (Vec<_>, Vec<_>) = counted.partition(|progress| progress.room.is_full());
        let minimum = configuration.map_or(1, |c| usize::from(c.in_sync_min));
        !full.is_empty() && roomy.len() + 1 < minimum
    }

    /// How much a replica must have on disk to be in sync: whatever was flushed.
    fn promotion_floor(&self, core: &Core) -> Sequence {
        match self.durability(core) {
            Durability::Synced => core.log.committed,
            Durability::Replicated => self.flush_floor,
        }
    }

    /// The session to a follower broke.
    pub(super) fn on_unreachable(&mut self, now: Moment, replica: ReplicaId) {
        let Some(progress) = self.followers.get_mut(&replica) else { return };
        if matches!(progress.mode, Mode::Streaming | Mode::Log { sent: true, .. }) {
            progress.probe(progress.matched.next(), now);
            progress.sent_at = now;
        }
    }
}

impl Progress {
    /// Whether waiting for it costs next to nothing, neither writes nor flushes.
    fn is_close(&self, end: Sequence, behind: u64, floor: Sequence) -> bool {
        self.mode == Mode::Streaming
            && self.next == end.next()
            && end.0 - self.matched.0 <= JOIN_LAG_ENTRIES_MAX
            && behind <= JOIN_LAG_BYTES_MAX
            && (self.synced >= floor || end.0 - self.synced.0 <= JOIN_LAG_ENTRIES_MAX)
            && self.proven
    }

    /// Whether it has all that a member of the in-sync set must have.
    fn has_everything(&self, committed: Sequence, floor: Sequence) -> bool {
        self.mode == Mode::Streaming
            && self.matched >= committed
            && self.synced >= floor
            && self.proven
    }
}
