//! How a leader gets its log to its followers: from memory while it is there, from the log when it
//! is not, by snapshot when the log no longer has it.

use super::effect::Effect;
use super::leader::Leading;
use super::message::{Append, Message};
use super::progress::{Membership, Mode, Progress};
use super::state::Core;
use super::status::Room;
use types::limits::{
    CATCH_UP_ENTRIES_MAX, REPLICATION_WINDOW_BYTES_MAX, REPLICATION_WINDOW_ENTRIES_MAX,
};
use types::{Moment, ReplicaId, Sequence};

/// Bytes on their way to one follower: the window, and as much again that has left it.
const IN_FLIGHT_BYTES_MAX: u64 = 2 * REPLICATION_WINDOW_BYTES_MAX as u64;

impl Progress {
    /// Sends an append, in the follower's present life.
    pub(super) fn send(
        &mut self,
        to: ReplicaId,
        append: Append,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        self.sent_at = now;
        let append = Append { life: self.life, ..append };
        effects.push(Effect::Send { to, message: Message::Append(append) });
    }

    /// Whether an entry at `next` goes straight to it, when it is `behind` by so many bytes.
    pub(super) fn streams_at(&self, next: Sequence, behind: u64) -> bool {
        self.mode == Mode::Streaming && self.next == next && self.may_take_more(behind, false)
    }

    /// Whether it can write, and not too much is on its way to it already. What is on its way to
    /// one that is not waited for has left the window, but not the memory.
    fn may_take_more(&self, behind: u64, is_needed: bool) -> bool {
        let in_flight = self.next.0 - self.matched.0;
        // What is left of a reserve is not for catching up, unless nothing can be deleted without it.
        let room =
            self.room != Room::Scarce || self.membership != Membership::CatchingUp || is_needed;
        self.failure.is_none()
            && room
            && in_flight <= REPLICATION_WINDOW_ENTRIES_MAX as u64
            && (behind <= IN_FLIGHT_BYTES_MAX || in_flight == 1)
    }
}

impl Leading {
    /// Sends what the follower lacks, as far as its mode allows.
    pub(super) fn feed(
        &mut self,
        core: &Core,
        now: Moment,
        to: ReplicaId,
        effects: &mut Vec<Effect>,
    ) {
        let is_needed = core.configuration_now().is_some_and(|c| !c.accepts_writes());
        loop {
            let Some(progress) = self.followers.get_mut(&to) else { return };
            match progress.mode {
                Mode::Streaming => {}
                Mode::Log { upto, sent: true, .. } if progress.matched >= upto => {
                    progress.enter(Mode::Streaming, now);
                }
                _ => return,
            }
            let next = progress.next;
            let behind = self.odometer.since(progress.matched);
            if next > core.log.end || !progress.may_take_more(behind, is_needed) {
                return;
            }
            let Some(previous) = core.log.before(next) else {
                if progress.room == Room::Scarce {
                    return;
                }
                return self.send_snapshot(core, now, to, effects);
            };
            let header = self.header(core, now, previous);
            if next < self.window.first() {
                return self.send_log(core, now, to, header, effects);
            }
            let append = header.with_entries(self.window.message_from(next));
            let progress = self.followers.get_mut(&to).expect("it was here above");
            progress.next = append.last().next();
            progress.send(to, append, now, effects);
        }
    }

    /// Has the driver read entries that are no longer in memory.
    fn send_log(
        &mut self,
        core: &Core,
        now: Moment,
        to: ReplicaId,
        header: Append,
        effects: &mut Vec<Effect>,
    ) {
        let progress = self.followers.get_mut(&to).expect("the caller has looked");
        let asked = Sequence(header.previous.sequence.0 + CATCH_UP_ENTRIES_MAX);
        let upto = asked.min(self.window.first().previous()).min(core.log.appended);
        let from = header.previous.sequence.next();
        progress.enter(Mode::Log { from, upto, sent: false }, now);
        progress.sent_at = now;
        let append = Append { life: progress.life, ..header };
        effects.push(Effect::SendLog { to, append, upto });
    }

    /// Has the driver bring a snapshot, unless it does so already.
    fn send_snapshot(
        &mut self,
        core: &Core,
        now: Moment,
        to: ReplicaId,
        effects: &mut Vec<Effect>,
    ) {
        let progress = self.followers.get_mut(&to).expect("the caller has looked");
        if progress.mode != Mode::Snapshot {
            progress.enter(Mode::Snapshot, now);
            effects.push(Effect::SendSnapshot { to, epoch: core.epoch });
        }
    }

    /// The driver has sent entries from the log, up to `upto`. Some, or all, may be acknowledged
    /// by now: it takes its time.
    pub(super) fn on_log_sent(
        &mut self,
        core: &Core,
        now: Moment,
        (to, stamp, upto): (ReplicaId, u64, Sequence),
        effects: &mut Vec<Effect>,
    ) {
        let Some(progress) = self.followers.get_mut(&to) else { return };
        let Mode::Log { from, .. } = progress.mode else { return };
        // Otherwise it was asked for by who led before, or for an earlier life of the follower.
        if !progress.is_sent_log(stamp) {
            return;
        }
        if upto < from {
            let next = progress.matched.next();
            progress.probe(next, now);
            return;
        }
        progress.next.advance(upto.next());
        // Answers to what was sent while the log was being read belong to this as well.
        progress.mode = Mode::Log { from, upto, sent: true };
        progress.expected_from = now;
        self.feed(core, now, to, effects);
    }

    /// The driver has done what it could about a snapshot.
    pub(super) fn on_snapshot_sent(
        &mut self,
        core: &Core,
        now: Moment,
        to: ReplicaId,
        effects: &mut Vec<Effect>,
    ) {
        let Some(progress) = self.followers.get_mut(&to) else { return };
        if progress.mode == Mode::Snapshot {
            progress.probe(core.log.end.next(), now);
            self.renew(core, now, to, effects);
        }
    }

    /// Goes on from `next`, where the logs may be equal before.
    pub(super) fn resume(
        &mut self,
        core: &Core,
        now: Moment,
        to: ReplicaId,
        next: Sequence,
        effects: &mut Vec<Effect>,
    ) {
        if core.log.before(next).is_none() {
            return self.send_snapshot(core, now, to, effects);
        }
        let Some(progress) = self.followers.get_mut(&to) else { return };
        // The same question again is left to the clock, or the two would chase each other.
        if progress.mode == Mode::Probing && progress.next == next {
            return;
        }
        progress.probe(next, now);
        self.renew(core, now, to, effects);
    }

    /// Sends an append without entries: renews the lease, tells what is committed and what to sync.
    pub(super) fn renew(
        &mut self,
        core: &Core,
        now: Moment,
        to: ReplicaId,
        effects: &mut Vec<Effect>,
    ) {
        let Some(progress) = self.followers.get(&to) else { return };
        let next = match progress.mode {
            Mode::Probing | Mode::Streaming => progress.next,
            Mode::Log { .. } | Mode::Snapshot => progress.matched.next(),
        };
        let previous = core.log.before(next).unwrap_or_else(|| core.log.last());
        let header = self.header(core, now, previous);
        let progress = self.followers.get_mut(&to).expect("it was here above");
        progress.send(to, header, now, effects);
    }

    /// Tells everybody whose disk is behind that it should not be.
    pub(super) fn ask_for_sync(&mut self, core: &Core, now: Moment, effects: &mut Vec<Effect>) {
        let upto = self.sync_upto(core);
        let behind = self.followers.iter().filter(|(_, progress)| progress.synced < upto);
        let behind: Vec<ReplicaId> = behind.map(|(replica, _)| *replica).collect();
        for replica in behind {
            self.renew(core, now, replica, effects);
        }
    }
}
