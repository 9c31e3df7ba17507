//! A replica that takes its log from a leader.
//!
//! It promises: what it acknowledges as matched is equal to its leader's log and in its own; what it
//! acknowledges as synced is on its disk; what it cuts was never committed. It answers every append,
//! also one that it cannot use, because each answer renews the leader's lease.

use super::effect::Effect;
use super::entry::Entry;
use super::log::Fit;
use super::message::{Ack, Append, Message, Reject};
use super::state::Core;
use super::status::Failure;
use std::sync::Arc;
use types::{Epoch, Moment, ReplicaId, Sequence};

/// What a follower knows of its leader, in one epoch.
#[derive(Debug)]
pub(super) struct Following {
    pub(super) leader: ReplicaId,
    /// My log equals the leader's up to here, because an append has shown it. Nothing is taken for
    /// granted, not even what is committed: after a loss of power everywhere, a copy outside the
    /// in-sync set may know of commits that nobody else has any more.
    verified: Sequence,
    /// How far the leader says it is committed.
    committed: Sequence,
    /// Stamp of the newest append, to be repeated in answers. `None` before the first.
    stamp: Option<u64>,
    /// An append was taken in whose answer waits for the log.
    owed: bool,
    /// Where the leader's log ended when it first knew of this life of mine: with that, I have
    /// everything that earlier lives acknowledged.
    proof: Option<Sequence>,
}

impl Following {
    pub(super) fn new(leader: ReplicaId) -> Following {
        Following {
            leader,
            verified: Sequence::ZERO,
            committed: Sequence::ZERO,
            stamp: None,
            owed: false,
            proof: None,
        }
    }

    #[cfg(debug_assertions)]
    pub(super) fn verified(&self) -> Sequence {
        self.verified
    }

    /// Takes an append of the leader's, of this epoch.
    pub(super) fn on_append(
        &mut self,
        core: &mut Core,
        now: Moment,
        append: &Append,
        effects: &mut Vec<Effect>,
    ) {
        if !is_sound(append) {
            tracing::warn!(me = ?core.me, from = ?self.leader, "an append contradicts itself");
            return;
        }
        core.grant.extend(now);
        self.stamp = self.stamp.max(Some(append.stamp));
        if core.failure.is_some() {
            return self.acknowledge(core, effects);
        }
        if core.log.installing.is_some() {
            return self.reject(core, append, core.log.last(), effects);
        }
        match core.log.fit(append.previous) {
            Fit::Differs(hint) => self.reject(core, append, hint, effects),
            Fit::Contradicts => self.stop_diverged(core, effects),
            Fit::Matches => self.take(core, append, effects),
        }
    }

    /// Takes in an append that continues the log.
    fn take(&mut self, core: &mut Core, append: &Append, effects: &mut Vec<Effect>) {
        let Ok(fresh) = self.fresh(core, append) else {
            return self.stop_diverged(core, effects);
        };
        self.verified.advance(append.last());
        self.committed.advance(append.committed);
        if append.life == core.life && self.proof.is_none() {
            self.proof = Some(append.end);
        }
        if let Some(fresh) = fresh {
            let after = append.entries[fresh].sequence.previous();
            if after < core.log.end {
                core.log.truncate(after, effects);
            }
            core.log.append(tail(&append.entries, fresh), effects);
            self.owed = true;
        }
        core.log.want_sync(append.sync_upto, effects);
        if !self.owed {
            self.progress(core, effects);
        }
    }

    /// Index of the first entry that the log does not have; an error when that contradicts what is
    /// committed.
    fn fresh(&self, core: &Core, append: &Append) -> Result<Option<usize>, ()> {
        let has = |entry: &Entry| core.log.contains(entry.position());
        let Some(fresh) = append.entries.iter().position(|entry| !has(entry)) else {
            return Ok(None);
        };
        // Within an epoch the leader's log only grows, so what was verified cannot differ now.
        let after = append.entries[fresh].sequence.previous();
        let fixed = core.log.committed.max(self.verified.min(core.log.end));
        if after < fixed { Err(()) } else { Ok(Some(fresh)) }
    }

    /// Commits and acknowledges what the log now has.
    fn progress(&mut self, core: &mut Core, effects: &mut Vec<Effect>) {
        core.log.commit(self.committed.min(self.verified), effects);
        if self.proof.is_some_and(|end| self.matched(core) >= end) {
            core.prove(effects);
        }
        self.acknowledge(core, effects);
    }

    fn matched(&self, core: &Core) -> Sequence {
        self.verified.min(core.log.appended)
    }

    /// The log took in what was asked for.
    pub(super) fn on_appended(&mut self, core: &mut Core, effects: &mut Vec<Effect>) {
        self.owed = false;
        self.progress(core, effects);
    }

    /// The log could not take in what was asked for, or the disk failed: the leader must know.
    pub(super) fn on_failed(&mut self, core: &mut Core, effects: &mut Vec<Effect>) {
        self.owed = false;
        self.verified = self.matched(core);
        self.acknowledge(core, effects);
    }

    /// A snapshot took the place of the log.
    pub(super) fn on_installed(&mut self, core: &mut Core, effects: &mut Vec<Effect>) {
        self.verified.advance(core.log.end);
        self.progress(core, effects);
    }

    fn stop_diverged(&mut self, core: &mut Core, effects: &mut Vec<Effect>) {
        tracing::error!(me = ?core.me, leader = ?self.leader, epoch = ?core.epoch,
            "the leader's log contradicts what is committed here; this replica stops");
        core.failure = Some(Failure::Diverged);
        self.on_failed(core, effects);
    }

    /// Tells the leader what is here. Says nothing before the leader has spoken.
    pub(super) fn acknowledge(&self, core: &Core, effects: &mut Vec<Effect>) {
        let Some(stamp) = self.stamp else { return };
        let matched = self.matched(core);
        let ack = Ack {
            epoch: core.epoch,
            stamp,
            life: core.life,
            matched,
            synced: core.log.synced.min(matched),
            proven: core.proven,
            failure: core.failure,
            room: core.room,
        };
        effects.push(Effect::Send { to: self.leader, message: Message::Ack(ack) });
    }

    fn reject(
        &self,
        core: &Core,
        append: &Append,
        hint: super::Position,
        effects: &mut Vec<Effect>,
    ) {
        let reject = Reject { epoch: core.epoch, stamp: append.stamp, life: core.life, hint };
        effects.push(Effect::Send { to: self.leader, message: Message::Reject(reject) });
    }

    /// A whole snapshot of the leader's committed state lies ready.
    pub(super) fn on_snapshot_staged(
        &mut self,
        core: &mut Core,
        at: super::Position,
        effects: &mut Vec<Effect>,
    ) {
        // A log that goes through `at` shares everything before it and may hold more that was
        // acknowledged; one that does not cannot hold anything acknowledged after it.
        let useless = at.sequence < core.log.committed || core.log.contains(at);
        if core.failure.is_some() || core.log.installing.is_some() || useless {
            effects.push(Effect::DiscardSnapshot { at });
            return;
        }
        core.log.installing = Some(at);
        effects.push(Effect::InstallSnapshot { at });
    }
}

/// Whether an append is consistent in itself: consecutive, of epochs that do not descend and are
/// not newer than its own.
fn is_sound(append: &Append) -> bool {
    let mut sequence = append.previous.sequence;
    let mut epoch = append.previous.epoch;
    let consecutive = append.entries.iter().all(|entry| {
        let fits = entry.sequence == sequence.next() && entry.epoch >= epoch;
        (sequence, epoch) = (entry.sequence, entry.epoch);
        fits
    });
    consecutive && epoch <= append.epoch && epoch_is_real(append) && append.committed <= append.end
}

fn epoch_is_real(append: &Append) -> bool {
    append.entries.iter().all(|entry| entry.epoch > Epoch::ZERO)
}

/// The entries from `fresh` on; all of them, without copying, in the usual case.
fn tail(entries: &Arc<[Entry]>, fresh: usize) -> Arc<[Entry]> {
    if fresh == 0 { Arc::clone(entries) } else { Arc::from(&entries[fresh..]) }
}
