//! The driver of a replica: does for the engine what a node does, on a simulated machine.

use super::check::{Verdict, Violation};
use super::coverage::Sight;
use super::world::{Happening, MS, World};
use partition::replica::{
    Answer, Append, Change, Effect, Entry, Event, Failure, Message, Position, Refusal,
    RemoveReason, RoleName,
};
use std::sync::Arc;
use types::volume::Durability;
use types::{Epoch, ReplicaId, Sequence};

impl World {
    /// Lets one event happen to the replica on `machine`, and does what it asks for.
    pub(super) fn step(&mut self, machine: usize, event: Event) -> Verdict {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let host = &mut self.machines[machine];
            let moment = host.moment(self.now);
            let Some(replica) = &mut host.replica else { return Ok(()) };
            let role = replica.role();
            let mut effects = std::mem::take(&mut host.effects);
            if self.trace.keeps() {
                let line = format!("{:>12.6} {:?} <- {event:?}", self.now as f64 / 1e9, host.id);
                self.trace.line(line);
            }
            self.trace.mix(&[self.now, machine as u64, fingerprint(&event)]);
            note_message(&mut self.coverage, replica.epoch(), &event);
            let cause = Cause::of(&event);
            replica.step(moment, event, &mut effects);
            let after = replica.role();
            note_cause(&mut self.coverage, cause, (role, after), &effects);
            self.note_role(machine, role, after);
            let verdict = self.perform(machine, &mut effects, &mut next);
            effects.clear();
            self.machines[machine].effects = effects;
            verdict?;
        }
        self.schedule_tick(machine);
        Ok(())
    }

    fn note_role(&mut self, machine: usize, before: RoleName, after: RoleName) {
        if before == after {
            return;
        }
        self.trace.mix(&[after as u64]);
        if self.trace.keeps() {
            let id = self.machines[machine].id;
            let line = format!("{:>12.6} {id:?} is now {after:?}", self.now as f64 / 1e9);
            self.trace.line(line);
        }
        if before == RoleName::Leading && after != RoleName::Leading {
            self.saw(Sight::LeaderOvertaken);
        }
    }

    fn schedule_tick(&mut self, machine: usize) {
        let host = &mut self.machines[machine];
        let Some(replica) = &host.replica else { return };
        let moment = host.moment(self.now);
        let Some(wake) = replica.wake(moment) else { return };
        let at = self.now + host.until(self.now, wake);
        if host.tick_at.is_none_or(|scheduled| at < scheduled) {
            host.tick_at = Some(at);
            let incarnation = host.incarnation;
            self.after(at - self.now, Happening::Tick { machine, incarnation });
        }
    }

    pub(super) fn tick(&mut self, machine: usize, incarnation: u64) -> Verdict {
        let host = &mut self.machines[machine];
        if host.incarnation != incarnation || host.tick_at.is_none_or(|at| at > self.now) {
            return Ok(());
        }
        host.tick_at = None;
        self.step(machine, Event::Tick)
    }

    fn perform(
        &mut self,
        machine: usize,
        effects: &mut Vec<Effect>,
        next: &mut Option<Event>,
    ) -> Verdict {
        for effect in effects.drain(..) {
            if self.trace.keeps() {
                let id = self.machines[machine].id;
                let line = format!("{:>12.6} {id:?} ->   {effect:?}", self.now as f64 / 1e9);
                self.trace.line(line);
            }
            self.perform_one(machine, effect, next)?;
        }
        Ok(())
    }

    fn perform_one(&mut self, machine: usize, effect: Effect, next: &mut Option<Event>) -> Verdict {
        let from = self.machines[machine].id;
        match effect {
            Effect::Persist { epoch, configuration } => {
                self.persist(machine, epoch, configuration);
            }
            Effect::Append { entries } => self.append(machine, &entries, next),
            Effect::Sync { .. } => self.sync(machine),
            Effect::Truncate { after } => {
                self.saw(Sight::FollowerCutTail);
                self.check_cut(machine, after)?;
                self.machines[machine].disk.truncate(after);
            }
            Effect::Send { to, message } => {
                note_sent(&mut self.coverage, &message);
                self.send(from, to, message);
            }
            Effect::SendLog { to, append, upto } => {
                let delay = self.dice.between(MS / 10, 20 * MS);
                let incarnation = self.machines[machine].incarnation;
                self.after(delay, Happening::ReadLog { machine, incarnation, to, append, upto });
            }
            Effect::SendSnapshot { to, epoch } => {
                let delay = self.dice.between(10 * MS, 300 * MS);
                let incarnation = self.machines[machine].incarnation;
                self.after(delay, Happening::SnapshotRead { machine, incarnation, to, epoch });
            }
            Effect::InstallSnapshot { at } => {
                let delay = self.dice.between(MS, 50 * MS);
                let incarnation = self.machines[machine].incarnation;
                self.after(delay, Happening::SnapshotInstalls { machine, incarnation, at });
            }
            Effect::DiscardSnapshot { .. } => self.saw(Sight::SnapshotDiscarded),
            Effect::Apply { upto } => self.apply(machine, upto)?,
            Effect::Answer { token, result } => self.answer(machine, token, result)?,
            Effect::RequestConfiguration { epoch, change } => {
                self.note_request(change);
                if let Change::Promote { replica } = change {
                    self.promised.push((epoch, replica));
                }
                self.send_request(machine, epoch, change);
            }
            Effect::Outdated { .. } => self.send_fetch(machine),
            Effect::MarkProven => {
                self.saw(Sight::ProvenAgain);
                let boot = self.machines[machine].boot;
                self.machines[machine].disk.mark_proven(boot);
            }
        }
        Ok(())
    }

    fn persist(&mut self, machine: usize, epoch: Epoch, stored: Option<types::Configuration>) {
        let delay = self.dice.between(MS / 5, self.scenario.sync_ns_max);
        let incarnation = self.machines[machine].incarnation;
        if self.machines[machine].persist_fails_until > self.now {
            self.saw(Sight::PersistFailed);
            let event = Event::PersistFailed { epoch, failure: Failure::Io };
            return self.after(delay, Happening::Local { machine, incarnation, event });
        }
        if self.machines[machine].disk.full && self.dice.chance(500) {
            self.saw(Sight::PersistRefused);
            let event = Event::PersistFailed { epoch, failure: Failure::NoSpace };
            return self.after(delay, Happening::Local { machine, incarnation, event });
        }
        self.after(delay, Happening::Persisted { machine, incarnation, epoch, stored });
    }

    fn append(&mut self, machine: usize, entries: &Arc<[Entry]>, next: &mut Option<Event>) {
        if matches!(next, Some(Event::AppendFailed { .. })) {
            return;
        }
        let now = self.now;
        let host = &mut self.machines[machine];
        let failure = if host.disk.full {
            Some(Failure::NoSpace)
        } else {
            (host.append_fails_until > now).then_some(Failure::Io)
        };
        let fits = match failure {
            Some(_) => self.dice.below(entries.len()),
            None => entries.len(),
        };
        for entry in &entries[..fits] {
            host.disk.append(entry.clone());
        }
        *next = Some(match failure {
            Some(failure) => {
                self.coverage.saw(Sight::AppendFailed);
                Event::AppendFailed { from: entries[fits].sequence, failure }
            }
            None => Event::Appended { end: entries[fits - 1].sequence },
        });
    }

    fn sync(&mut self, machine: usize) {
        let slow = self.machines[machine].sync_slow_until.saturating_sub(self.now);
        if slow > 0 {
            self.saw(Sight::SyncSlow);
        }
        let delay = self.dice.between(MS / 10, self.scenario.sync_ns_max) + slow;
        let host = &self.machines[machine];
        let fails = host.sync_fails_until > self.now || host.disk.broken();
        let (incarnation, mark) = (host.incarnation, host.disk.mark());
        self.after(delay, Happening::SyncDone { machine, incarnation, mark, fails });
    }

    pub(super) fn sync_done(
        &mut self,
        machine: usize,
        mark: super::disk::Mark,
        fails: bool,
    ) -> Verdict {
        let host = &mut self.machines[machine];
        if fails || host.disk.broken() {
            host.disk.fail_sync();
            self.saw(Sight::SyncFailed);
            return self.step(machine, Event::SyncFailed);
        }
        host.disk.sync(mark);
        let applied = host.applied;
        if self.dice.chance(300) {
            self.machines[machine].disk.write_checkpoint(applied);
        }
        self.step(machine, Event::Synced { end: mark.end })
    }

    /// No replica that has committed something ever cuts it.
    fn check_cut(&self, machine: usize, after: Sequence) -> Verdict {
        let host = &self.machines[machine];
        if after < host.applied {
            let what = format!("{:?} cuts after {after:?}, applied {:?}", host.id, host.applied);
            return Err(Violation { invariant: "a committed entry is never cut", what });
        }
        Ok(())
    }

    fn apply(&mut self, machine: usize, upto: Sequence) -> Verdict {
        let orphan = self.orphans[machine].is_some();
        let host = &mut self.machines[machine];
        let id = host.id;
        let mut sequence = host.applied;
        host.applied = upto;
        while sequence < upto {
            sequence = sequence.next();
            let entry = host.disk.log.entry(sequence);
            let Some(entry) = entry else {
                let what = format!("{id:?} applies {sequence:?}, which its log does not have");
                return Err(Violation { invariant: "what is applied is in the log", what });
            };
            self.oracle.on_apply(id, entry, orphan)?;
        }
        let replica = host.replica.as_ref().expect("it was stepped");
        if replica.leads() {
            self.oracle.on_lead(replica.epoch(), id)?;
        }
        Ok(())
    }

    fn answer(&mut self, machine: usize, token: u64, result: Result<Answer, Refusal>) -> Verdict {
        self.trace.mix(&[token, u64::from(result.is_ok())]);
        let id = self.machines[machine].id;
        self.note_answer(token, result);
        match result {
            Ok(Answer::Written { sequence }) => {
                self.oracle.on_written(token, sequence)?;
                self.health.on_written(token);
                if self.scenario.durability == Durability::Synced {
                    self.check_flushed(sequence)?;
                }
            }
            Ok(Answer::Flushed { upto }) => {
                self.health.on_flushed(token);
                self.check_flushed(upto)?;
            }
            Ok(Answer::Readable { applied }) => {
                self.health.on_read(token);
                self.oracle.on_read(id, applied)?;
            }
            Err(refusal) => self.refused(token, refusal)?,
        }
        Ok(())
    }

    fn check_flushed(&mut self, upto: Sequence) -> Verdict {
        let mut oracle = std::mem::take(&mut self.oracle);
        let verdict = oracle.on_flushed(upto, self.in_sync_disks());
        self.oracle = oracle;
        verdict
    }

    pub(super) fn read_log(
        &mut self,
        machine: usize,
        to: ReplicaId,
        append: &Append,
        upto: Sequence,
    ) -> Verdict {
        let host = &self.machines[machine];
        let from = host.id;
        let current = host.replica.as_ref().is_some_and(|replica| replica.epoch() == append.epoch);
        let first = append.previous.sequence.next();
        let limit = self.dice.between(1, 64);
        let entries: Vec<Entry> = (first.0..=upto.0)
            .take(if current { limit as usize } else { 0 })
            .map_while(|sequence| host.disk.log.entry(Sequence(sequence)).cloned())
            .collect();
        self.saw(Sight::FollowerFedFromLog);
        let sent = entries.last().map_or(append.previous, Entry::position);
        let (one, two) = entries.split_at(self.dice.between(0, entries.len() as u64) as usize);
        let mut piece = append.clone();
        for part in [one, two] {
            if !part.is_empty() {
                piece = piece.with_entries(Arc::from(part));
                self.send(from, to, Message::Append(piece.clone()));
                piece = piece.after(part[part.len() - 1].position());
            }
        }
        self.step(machine, Event::LogSent { to, stamp: append.stamp, upto: sent.sequence })
    }

    pub(super) fn snapshot_read(&mut self, machine: usize, to: ReplicaId, epoch: Epoch) -> Verdict {
        let host = &self.machines[machine];
        let (from, applied) = (host.id, host.applied);
        let position = host.disk.log.position(applied);
        let current = host.replica.as_ref().is_some_and(|replica| replica.epoch() == epoch);
        let place = super::control::machine_of(to);
        let copies = self.network.send(self.now, machine, place, &mut self.dice);
        if let (Some(delay), Some(at), true) = (copies.first, position, current) {
            self.saw(Sight::SnapshotSent);
            let slow = self.dice.between(MS, 200 * MS);
            self.after(delay + slow, Happening::SnapshotArrives { from, to, epoch, at });
        }
        let incarnation = self.machines[machine].incarnation;
        let event = Event::SnapshotSent { to };
        self.after(250 * MS, Happening::Local { machine, incarnation, event });
        Ok(())
    }

    pub(super) fn snapshot_arrives(
        &mut self,
        from: ReplicaId,
        to: ReplicaId,
        epoch: Epoch,
        at: Position,
    ) -> Verdict {
        let Some(machine) = self.host(to) else { return Ok(()) };
        self.step(machine, Event::SnapshotStaged { from, epoch, at })
    }

    pub(super) fn snapshot_installs(&mut self, machine: usize, at: Position) -> Verdict {
        if !self.healing && self.dice.chance(100) {
            self.saw(Sight::SnapshotRefused);
            return self.step(machine, Event::SnapshotRefused { at });
        }
        self.saw(Sight::SnapshotInstalled);
        let host = &mut self.machines[machine];
        host.disk.install(at);
        host.applied = at.sequence;
        // The state it now has is the one that its leader had committed.
        let committed = self.oracle.committed_at(at.sequence);
        let end = self.oracle.committed_end();
        if committed.is_none()
            && at.sequence > end
            && self.coverage.count(Sight::CommittedButUnsyncedLost) > 0
        {
            // It left its leader before a loss of power took back what was committed there.
            self.orphans[machine].get_or_insert(end);
        }
        if committed != Some(at) && self.orphans[machine].is_none() {
            let what = format!("{:?} installs {at:?}; {committed:?} is committed", host.id);
            return Err(Violation { invariant: "a snapshot holds what is committed", what });
        }
        self.step(machine, Event::SnapshotInstalled { at })
    }

    fn note_request(&mut self, change: Change) {
        self.saw(match change {
            Change::Promote { .. } => Sight::PromotionAsked,
            Change::Remove { reason: RemoveReason::Silent, .. } => Sight::RemovalAskedSilent,
            Change::Remove { reason: RemoveReason::Stalled, .. } => Sight::RemovalAskedStalled,
            Change::Remove { reason: RemoveReason::Failed(_), .. } => Sight::RemovalAskedFailed,
        });
    }
}

/// What a step was about, as far as it says something about its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Epoch,
    Ack,
    Compared,
    Other,
}

impl Cause {
    fn of(event: &Event) -> Cause {
        match event {
            Event::EpochPersisted { .. } => Cause::Epoch,
            Event::Message { message: Message::Ack(_), .. } => Cause::Ack,
            Event::Message { message: Message::Compared { .. }, .. } => Cause::Compared,
            _ => Cause::Other,
        }
    }
}

fn note_cause(
    coverage: &mut super::coverage::Coverage,
    cause: Cause,
    roles: (RoleName, RoleName),
    effects: &[Effect],
) {
    let feeds = |effect: &Effect| {
        matches!(effect, Effect::Send { message: Message::Append(append), .. }
            if !append.entries.is_empty())
    };
    match (cause, roles) {
        (Cause::Epoch, (RoleName::Leading, RoleName::Leading)) => {
            coverage.saw(Sight::LeaderKeptThroughConfiguration);
        }
        (Cause::Compared, (RoleName::Reconciling, RoleName::Waiting)) => {
            coverage.saw(Sight::LeaderSteppedDownBeaten);
        }
        (Cause::Ack, _) if effects.iter().any(feeds) => {
            coverage.saw(Sight::FollowerFedFromMemoryAgain);
        }
        _ => {}
    }
}

fn note_message(coverage: &mut super::coverage::Coverage, epoch: Epoch, event: &Event) {
    if let Event::Message { message, .. } = event {
        if message.epoch() < epoch {
            coverage.saw(Sight::StaleMessageIgnored);
        } else if message.epoch() > epoch {
            coverage.saw(Sight::MessageOfFutureEpoch);
        }
    }
}

fn note_sent(coverage: &mut super::coverage::Coverage, message: &Message) {
    match message {
        Message::Reject(_) => coverage.saw(Sight::FollowerRejected),
        Message::Stale { .. } => coverage.saw(Sight::StaleSenderTold),
        Message::Compare { .. } => coverage.saw(Sight::ComparisonAsked),
        Message::Compared { .. } => coverage.saw(Sight::ComparisonAnswered),
        _ => {}
    }
}

/// A number that differs when events do, cheap enough to take of every one.
fn fingerprint(event: &Event) -> u64 {
    match event {
        Event::Configure(configuration) => 1 << 8 | configuration.epoch.0 << 16,
        Event::Submit { token, .. } => 2 << 8 | token << 16,
        Event::SubmitMany(entries) => 3 << 8 | (entries.len() as u64) << 16,
        Event::Flush { token } => 4 << 8 | token << 16,
        Event::Read { token } => 5 << 8 | token << 16,
        Event::Message { from, message } => message_fingerprint(message) ^ from.0 << 48,
        Event::Appended { end } => 7 << 8 | end.0 << 16,
        Event::Synced { end } => 8 << 8 | end.0 << 16,
        Event::AppendFailed { from, .. } => 9 << 8 | from.0 << 16,
        Event::EpochPersisted { epoch } => 10 << 8 | epoch.0 << 16,
        Event::LogSent { upto, .. } => 11 << 8 | upto.0 << 16,
        Event::LogStart { start } => 12 << 8 | start.0 << 16,
        Event::SnapshotStaged { at, .. } => 13 << 8 | at.sequence.0 << 16,
        Event::SnapshotInstalled { at } => 14 << 8 | at.sequence.0 << 16,
        Event::SnapshotRefused { at } => 21 << 8 | at.sequence.0 << 16,
        Event::SyncFailed => 15 << 8,
        Event::PersistFailed { .. } => 16 << 8,
        Event::SpaceFreed => 17 << 8,
        Event::SnapshotSent { .. } => 18 << 8,
        Event::Unreachable { .. } => 19 << 8,
        Event::Tick => 20 << 8,
        Event::Room(room) => 22 << 8 | (*room as u64) << 16,
    }
}

fn message_fingerprint(message: &Message) -> u64 {
    match message {
        Message::Append(append) => {
            append.stamp ^ append.last().0 << 40 ^ append.committed.0 << 20 ^ append.epoch.0
        }
        Message::Ack(ack) => ack.stamp ^ ack.matched.0 << 40 ^ ack.synced.0 << 20 ^ ack.life,
        Message::Reject(reject) => reject.stamp ^ reject.hint.sequence.0 << 40,
        Message::Stale { epoch, .. } => epoch.0 << 8 | 1,
        Message::Compare { stamp, .. } => stamp ^ 2,
        Message::Compared { stamp, last, .. } => {
            stamp ^ last.map_or(0, |last| last.sequence.0) << 40
        }
    }
}
