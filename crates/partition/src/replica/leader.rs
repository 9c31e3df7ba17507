//! A replica that orders writes.
//!
//! It promises: a write is answered once every replica that counts has it (on disk, when the volume
//! is `synced`); a flush once all of them have it on disk; a read is allowed only while no other
//! leader can exist. Those that count are the in-sync set and whoever this leader has asked to have
//! promoted, because it cannot know whether that has happened.
//!
//! How it comes to serve is in `reconcile`, how followers are fed in `feed`, time-outs and requests
//! for configurations in `upkeep`.

use super::effect::{Answer, Effect, Refusal};
use super::entry::{Entry, EntryBody, KIND_BARRIER};
use super::message::{Ack, Append, Reject};
use super::odometer::Odometer;
use super::progress::{Membership, Mode, Progress};
use super::reconcile::Phase;
use super::state::Core;
use super::window::Window;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use types::limits::REPLICATION_MESSAGE_BYTES_MAX;
use types::volume::Durability;
use types::{Configuration, Moment, ReplicaId, Sequence};

/// Callers' tokens, each with the place it waits for, in ascending order.
pub(super) type Queue = VecDeque<(Sequence, u64)>;

#[derive(Debug)]
pub(super) struct Leading {
    pub(super) phase: Phase,
    pub(super) followers: BTreeMap<ReplicaId, Progress>,
    pub(super) window: Window,
    /// Tells how far behind a follower is in bytes.
    pub(super) odometer: Odometer,
    /// Callers that wait for a commit, in the order of their places.
    writes: Queue,
    /// Callers that wait for disks, in the order of their places.
    flushes: Queue,
    /// The furthest place any flush asked for.
    flush_wanted: Sequence,
    /// Every flush that was ever answered, by whomever, is within this; a replica is not promoted
    /// before it has as much on disk.
    pub(super) flush_floor: Sequence,
    /// When this leader's own disk last got further.
    pub(super) synced_at: Moment,
    /// When time was last looked at.
    pub(super) ticked_at: Moment,
}

impl Leading {
    pub(super) fn new(core: &Core, configuration: &Configuration, now: Moment) -> Leading {
        let end = core.log.end;
        let followers = others(core.me, configuration)
            .map(|(replica, membership)| (replica, Progress::new(membership, end.next(), now)))
            .collect();
        Leading {
            phase: Phase::default(),
            followers,
            window: Window::after(end),
            odometer: Odometer::at(end),
            writes: VecDeque::new(),
            flushes: VecDeque::new(),
            flush_wanted: Sequence::ZERO,
            // Nothing beyond the log was ever flushed; how much of it was, a restarted replica
            // cannot tell.
            flush_floor: end,
            synced_at: now,
            ticked_at: now,
        }
    }

    /// Goes on leading in the next epoch. What was asked for in the last one is now decided.
    pub(super) fn reconfigure(
        &mut self,
        core: &mut Core,
        configuration: &Configuration,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let mut before = std::mem::take(&mut self.followers);
        for (replica, membership) in others(core.me, configuration) {
            let mut progress = before
                .remove(&replica)
                .unwrap_or_else(|| Progress::new(membership, core.log.end.next(), now));
            progress.membership = membership;
            progress.asked_at = None;
            self.followers.insert(replica, progress);
        }
        self.greet(core, now, effects);
        self.advance(core, now, effects);
    }

    /// Orders what callers want written.
    pub(super) fn submit(
        &mut self,
        core: &mut Core,
        now: Moment,
        submissions: impl IntoIterator<Item = (u64, EntryBody)>,
        effects: &mut Vec<Effect>,
    ) {
        let refusal = self.refusal(core);
        let mut batch: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        for (token, body) in submissions {
            debug_assert_ne!(body.kind, KIND_BARRIER, "barriers are the leader's own");
            let busy = (!self.window.has_room(body.bytes())).then_some(Refusal::Busy);
            if let Some(refusal) = refusal.or(busy) {
                effects.push(Effect::Answer { token, result: Err(refusal) });
                continue;
            }
            if bytes + body.bytes() > REPLICATION_MESSAGE_BYTES_MAX && !batch.is_empty() {
                self.order(core, now, Arc::from(std::mem::take(&mut batch)), effects);
                bytes = 0;
            }
            bytes += body.bytes();
            let sequence = Sequence(core.log.end.0 + 1 + batch.len() as u64);
            let entry = Entry { epoch: core.epoch, sequence, body };
            self.window.push(entry.clone());
            self.writes.push_back((sequence, token));
            batch.push(entry);
        }
        if !batch.is_empty() {
            self.order(core, now, Arc::from(batch), effects);
        }
    }

    /// Orders one write; the usual case, with one allocation for all who get it.
    pub(super) fn submit_one(
        &mut self,
        core: &mut Core,
        now: Moment,
        token: u64,
        body: EntryBody,
        effects: &mut Vec<Effect>,
    ) {
        debug_assert_ne!(body.kind, KIND_BARRIER, "barriers are the leader's own");
        let busy = (!self.window.has_room(body.bytes())).then_some(Refusal::Busy);
        if let Some(refusal) = self.refusal(core).or(busy) {
            effects.push(Effect::Answer { token, result: Err(refusal) });
            return;
        }
        let entry = Entry { epoch: core.epoch, sequence: core.log.end.next(), body };
        self.writes.push_back((entry.sequence, token));
        self.window.push(entry.clone());
        self.order(core, now, Arc::from([entry]), effects);
    }

    /// Why nothing may be written now, if so.
    fn refusal(&self, core: &Core) -> Option<Refusal> {
        if !self.phase.serves() {
            return Some(Refusal::Reconciling);
        }
        let configuration = core.configuration.as_ref().expect("a leader has a configuration");
        (!configuration.accepts_writes()).then(|| Refusal::BelowMinimum {
            in_sync: u8::try_from(configuration.in_sync.len()).unwrap_or(u8::MAX),
            minimum: configuration.in_sync_min,
        })
    }

    /// Appends entries that are in the window, and sends them to everybody who is up to date.
    pub(super) fn order(
        &mut self,
        core: &mut Core,
        now: Moment,
        entries: Arc<[Entry]>,
        effects: &mut Vec<Effect>,
    ) {
        let (previous, sync_before) = (core.log.last(), self.sync_upto(core));
        core.log.append(Arc::clone(&entries), effects);
        for entry in entries.iter() {
            self.odometer.pass(entry.sequence, entry.body.bytes());
        }
        let header = self.header(core, now, previous);
        for (replica, progress) in &mut self.followers {
            progress.begin_due(previous.sequence, sync_before, now);
            let behind = self.odometer.since(progress.matched);
            if progress.streams_at(previous.sequence.next(), behind) {
                progress.next = core.log.end.next();
                progress.send(*replica, header.with_entries(Arc::clone(&entries)), now, effects);
            }
        }
        if self.durability(core) == Durability::Synced {
            core.log.want_sync(core.log.end, effects);
        }
    }

    /// Answers once every disk has everything up to now.
    pub(super) fn flush(
        &mut self,
        core: &mut Core,
        now: Moment,
        token: u64,
        effects: &mut Vec<Effect>,
    ) {
        if !self.phase.serves() {
            effects.push(Effect::Answer { token, result: Err(Refusal::Reconciling) });
            return;
        }
        let upto = core.log.end;
        self.flushes.push_back((upto, token));
        if upto > self.flush_wanted {
            let sync_before = self.sync_upto(core);
            for progress in self.followers.values_mut() {
                progress.begin_due(upto, sync_before, now);
            }
            self.flush_wanted = upto;
            core.log.want_sync(upto, effects);
            self.ask_for_sync(core, now, effects);
        }
        self.advance(core, now, effects);
    }

    /// Allows a read while nobody else can have committed anything.
    pub(super) fn read(&self, core: &Core, now: Moment, token: u64, effects: &mut Vec<Effect>) {
        let result = self.readable(core, now).map(|applied| Answer::Readable { applied });
        effects.push(Effect::Answer { token, result });
    }

    /// The place up to which state may be read now.
    pub(super) fn readable(&self, core: &Core, now: Moment) -> Result<Sequence, Refusal> {
        let leased =
            self.followers.values().all(|progress| !progress.counts() || progress.lease_holds(now));
        match (self.phase.serves(), leased) {
            (false, _) => Err(Refusal::Reconciling),
            (true, false) => Err(Refusal::NoLease),
            (true, true) => Ok(core.log.committed),
        }
    }

    /// A follower knows of this epoch and is not in it yet: its disk takes its time.
    pub(super) fn on_sign_of_life(&mut self, now: Moment, from: ReplicaId) {
        if let Some(progress) = self.followers.get_mut(&from) {
            progress.give_sign(now);
        }
    }

    /// This leader's own disk got further.
    pub(super) fn on_synced(&mut self, core: &mut Core, now: Moment, effects: &mut Vec<Effect>) {
        self.synced_at = now;
        self.advance(core, now, effects);
    }

    /// A follower has what it was sent.
    pub(super) fn on_ack(
        &mut self,
        core: &mut Core,
        now: Moment,
        from: ReplicaId,
        ack: &Ack,
        effects: &mut Vec<Effect>,
    ) {
        let Some(progress) = self.followers.get_mut(&from) else { return };
        if ack.matched > core.log.end || ack.synced > ack.matched {
            tracing::warn!(me = ?core.me, ?from, "an acknowledgement of what does not exist");
            return;
        }
        let Some(current) = progress.hear(ack.life, ack.stamp, now) else { return };
        let further = progress.take(ack, now);
        if current && progress.mode == Mode::Probing {
            progress.next = progress.matched.next();
            progress.enter(Mode::Streaming, now);
        }
        self.feed(core, now, from, effects);
        if further {
            self.advance(core, now, effects);
        }
        self.consider(core, now, from, effects);
    }

    /// What a follower was sent does not continue its log.
    pub(super) fn on_reject(
        &mut self,
        core: &Core,
        now: Moment,
        from: ReplicaId,
        reject: &Reject,
        effects: &mut Vec<Effect>,
    ) {
        let Some(progress) = self.followers.get_mut(&from) else { return };
        let Some(current) = progress.hear(reject.life, reject.stamp, now) else { return };
        if !current || matches!(progress.mode, Mode::Log { sent: false, .. }) {
            return;
        }
        let hint = reject.hint;
        let common = core.log.history.last_at_most(hint.epoch, hint.sequence.min(core.log.end));
        let next = common.sequence.max(progress.matched).next();
        self.resume(core, now, from, next, effects);
    }

    /// The log took in what was asked for.
    pub(super) fn on_appended(&mut self, core: &mut Core, now: Moment, effects: &mut Vec<Effect>) {
        self.advance(core, now, effects);
    }

    /// Commits as far as everybody who counts has it, and answers who waited for that.
    pub(super) fn advance(&mut self, core: &mut Core, now: Moment, effects: &mut Vec<Effect>) {
        let synced = self.everywhere(core.log.synced, |progress| progress.synced);
        let reached = match self.durability(core) {
            Durability::Synced => synced,
            Durability::Replicated => {
                self.everywhere(core.log.appended, |progress| progress.matched)
            }
        };
        if !self.phase.may_commit(reached, core.grant.expired(now)) {
            return;
        }
        if core.log.commit(reached, effects) {
            self.window.drop_upto(core.log.committed);
            answer_upto(&mut self.writes, core.log.committed, effects, |sequence| {
                Answer::Written { sequence }
            });
        }
        let flushed = synced.min(core.log.committed);
        if self.flushes.front().is_some_and(|(upto, _)| *upto <= flushed) {
            self.flush_floor.advance(flushed);
            answer_upto(&mut self.flushes, flushed, effects, |upto| Answer::Flushed { upto });
        }
    }

    /// The least of what this replica and all that count have.
    fn everywhere(&self, mine: Sequence, theirs: impl Fn(&Progress) -> Sequence) -> Sequence {
        let counted = self.followers.values().filter(|progress| progress.counts());
        counted.map(theirs).fold(mine, Sequence::min)
    }

    pub(super) fn durability(&self, core: &Core) -> Durability {
        core.configuration.as_ref().map_or(Durability::Synced, |c| c.durability)
    }

    /// How far followers should have their logs on disk.
    pub(super) fn sync_upto(&self, core: &Core) -> Sequence {
        match self.durability(core) {
            Durability::Synced => core.log.end,
            Durability::Replicated => self.flush_wanted.max(self.flush_floor),
        }
    }

    /// Leads no more: everybody who waits is told what is true. What was ordered may yet be
    /// committed by another leader; a flush was not done.
    pub(super) fn stop(self, refusal: Refusal, effects: &mut Vec<Effect>) {
        for (_, token) in self.writes {
            effects.push(Effect::Answer { token, result: Err(Refusal::Unknown) });
        }
        for (_, token) in self.flushes {
            effects.push(Effect::Answer { token, result: Err(refusal) });
        }
    }

    /// An append without entries, after `previous`.
    pub(super) fn header(&self, core: &Core, now: Moment, previous: super::Position) -> Append {
        Append {
            epoch: core.epoch,
            stamp: now.0,
            life: 0,
            previous,
            end: core.log.end,
            committed: core.log.committed,
            sync_upto: self.sync_upto(core),
            entries: Arc::default(),
        }
    }

    /// Callers that wait for something, in order, for the invariants.
    #[cfg(debug_assertions)]
    pub(super) fn waiting(&self) -> (&Queue, &Queue) {
        (&self.writes, &self.flushes)
    }
}

/// Every other member, and whether it counts.
fn others(
    me: ReplicaId,
    configuration: &Configuration,
) -> impl Iterator<Item = (ReplicaId, Membership)> {
    let in_sync = configuration.in_sync.iter().map(|replica| (*replica, Membership::InSync));
    let catching_up =
        configuration.catching_up.iter().map(|replica| (*replica, Membership::CatchingUp));
    in_sync.chain(catching_up).filter(move |(replica, _)| *replica != me)
}

/// Tells everybody in `queue` up to `upto` that it is done.
fn answer_upto(
    queue: &mut Queue,
    upto: Sequence,
    effects: &mut Vec<Effect>,
    answer: impl Fn(Sequence) -> Answer,
) {
    while let Some((sequence, token)) = queue.pop_front_if(|(sequence, _)| *sequence <= upto) {
        effects.push(Effect::Answer { token, result: Ok(answer(sequence)) });
    }
}
