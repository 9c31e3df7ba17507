//! Carrying out what the engine decided.

use super::{Holder, Trouble, Unapplied, Waiter, machine, status_of};
use crate::codec::{self, Native};
use crate::context::Counters;
use crate::log;
use crate::run::NodeEvent;
use partition::extent::command::KIND_WRITE;
use partition::replica::{
    Answer, Append, Change, Effect, Entry, Event, Failure, KIND_BARRIER, Message, Refusal,
    RemoveReason,
};
use std::collections::VecDeque;
use std::sync::Arc;
use types::limits::REPLICATION_MESSAGE_BYTES_MAX;
use types::{Configuration, Epoch, ReplicaId, Sequence};
use wire::{Class, Operation, Reply, Request};

/// Pieces of ballast that are let go of for one write. When that is not enough somebody eats them as they
/// come, and some are kept for later.
const BALLAST_TRIES: u32 = 2;

impl Holder {
    pub(super) fn perform(&mut self, effect: Effect, events: &mut VecDeque<Event>) {
        match effect {
            Effect::Persist { epoch, configuration } => {
                events.push_back(self.persist(epoch, configuration));
            }
            // What follows an append that failed has nothing to follow; the engine is about to learn.
            Effect::Append { .. }
                if events.iter().any(|event| matches!(event, Event::AppendFailed { .. })) => {}
            Effect::Append { entries } => events.push_back(self.append(&entries)),
            Effect::Sync { .. } => self.start_sync(),
            Effect::Truncate { after } => self.truncate(after),
            Effect::Send { to, message } => self.send(to, message),
            Effect::SendLog { to, append, upto } => {
                events.extend(self.feed_from_log(to, append, upto));
            }
            Effect::SendSnapshot { to, epoch } => self.send_snapshot(to, epoch),
            Effect::InstallSnapshot { at } => {
                if let Some(event) = self.install_snapshot(at) {
                    events.push_back(event);
                }
            }
            Effect::DiscardSnapshot { .. } => self.discard_snapshot(),
            Effect::Apply { upto } => self.apply(upto),
            Effect::Answer { token, result } => self.answer(token, result),
            Effect::RequestConfiguration { epoch, change } => self.request_change(epoch, change),
            Effect::Outdated { .. } => self.context.post(NodeEvent::HeartbeatNow),
            Effect::MarkProven => self.mark_proven(),
        }
    }

    fn persist(&mut self, epoch: Epoch, configuration: Option<Configuration>) -> Event {
        self.stored.epoch = epoch.0;
        if let Some(configuration) = configuration {
            self.stored.configuration = Some((&configuration).into());
        }
        let mut stored = self.store_state();
        // An election ends only when it is written down.
        for _ in 0..BALLAST_TRIES {
            match &stored {
                Err(error) if error.is_no_space() && self.finds_room(&error.to_string()) => {}
                _ => break,
            }
            stored = self.store_state();
        }
        match stored {
            Ok(()) => Event::EpochPersisted { epoch },
            Err(error) => {
                tracing::warn!(partition = %self.partition, %error, "cannot persist an epoch");
                let trouble = Trouble::from(error);
                self.note_refused(&trouble);
                let failure = if trouble.no_space { Failure::NoSpace } else { Failure::Io };
                Event::PersistFailed { epoch, failure }
            }
        }
    }

    fn mark_proven(&mut self) {
        // What was compared is in memory, and need not be on the disk.
        if self.log.sync_failed() {
            return;
        }
        self.stored.proven_boot = self.context.world.os_boot();
        self.stored.cut = false;
        if let Err(error) = self.store_state() {
            // Not being proven is always safe; it only costs a comparison after the next start.
            tracing::warn!(partition = %self.partition, %error, "cannot note that the log is whole");
        }
    }

    fn append(&mut self, entries: &Arc<[Entry]>) -> Event {
        let from = entries.first().map_or(self.log.end().next(), |entry| entry.sequence);
        let mut locations = Vec::with_capacity(entries.len());
        let mut appended = self.log.append(entries, &mut locations);
        for _ in 0..BALLAST_TRIES {
            match &appended {
                Err(error @ log::Error::NoSpace(_)) if self.finds_room(&error.to_string()) => {}
                _ => break,
            }
            appended = self.log.append(entries, &mut locations);
        }
        if let Err(error) = appended {
            tracing::warn!(partition = %self.partition, replica = %self.id, %error, "append failed");
            let trouble = Trouble::from(error);
            self.note_refused(&trouble);
            let failure = if trouble.no_space { Failure::NoSpace } else { Failure::Io };
            return Event::AppendFailed { from, failure };
        }
        for (entry, at) in entries.iter().zip(locations) {
            let bytes = entry.body.bytes();
            self.checkpointing.note_appended(bytes, self.context.world.now());
            self.growth.note_appended(bytes as u64);
            self.unapplied.push_back(Unapplied::of(entry, at));
        }
        Event::Appended { end: self.log.end() }
    }

    fn truncate(&mut self, after: Sequence) {
        if let Err(error) = self.log.truncate(after) {
            return self.fail(format!("cannot cut the log after {after}: {error}"));
        }
        while self.unapplied.back().is_some_and(|entry| entry.sequence > after) {
            self.unapplied.pop_back();
        }
    }

    /// Starts a sync of the log on a thread that may block; its end comes back as an event.
    fn start_sync(&mut self) {
        let job = self.log.begin_sync();
        let (context, replica) = (self.context.clone(), self.id);
        Counters::add(&context.counters.syncs, 1);
        self.context.world.detach_brief(move || {
            let result = job.run();
            context.post(NodeEvent::Synced { replica, upto: job.upto, result });
        });
    }

    /// A sync has ended.
    pub fn synced(&mut self, upto: Sequence, result: std::io::Result<()>) {
        match result {
            Ok(()) => {
                self.checkpointing.note_synced(upto);
                self.handle(Event::Synced { end: upto });
            }
            Err(error) => {
                tracing::error!(partition = %self.partition, %error, "the log could not be synced");
                self.distrust_tail();
                self.handle(Event::SyncFailed);
            }
        }
    }

    /// The end of the log is in memory and may never reach the disk: the next life must not take it
    /// for whole without comparing it.
    fn distrust_tail(&mut self) {
        if !std::mem::replace(&mut self.stored.cut, true)
            && let Err(error) = self.store_state()
        {
            tracing::warn!(partition = %self.partition, %error, "cannot note that the tail may be lost");
        }
    }

    fn send(&self, to: ReplicaId, message: Message) {
        let Some(address) = self.address_of(to) else { return };
        match message {
            Message::Append(append) => {
                codec::split(append, |append| self.send_to(&address, to, Message::Append(append)));
            }
            message => self.send_to(&address, to, message),
        }
    }

    fn send_to(&self, address: &str, to: ReplicaId, message: Message) {
        let epoch = message.epoch();
        let mut request = Request::new(Operation::Replicate).partition(self.partition).epoch(epoch);
        if self.context.peers.is_local(address) {
            request.native = Some(Arc::new(Native { from: self.id, to, message }));
        } else {
            let (body, payload) = codec::encode(self.id, to, &message);
            request = request.message(&body).payload(payload);
        }
        self.context.peers.send(address, request);
    }

    pub(super) fn address_of(&self, replica: ReplicaId) -> Option<String> {
        let member = self.configuration.as_ref()?.member(replica)?;
        self.context.address(member.node)
    }

    /// Sends about so many bytes of the log; returns the last place that was sent, and how many they were.
    pub(super) fn send_log(
        &mut self,
        to: ReplicaId,
        append: Append,
        upto: Sequence,
        bytes_max: usize,
    ) -> (Sequence, usize) {
        let mut append = append;
        let mut sent = append.previous.sequence;
        let mut bytes = 0;
        while sent < upto && bytes < bytes_max {
            let entries =
                match self.log.read(sent.next(), REPLICATION_MESSAGE_BYTES_MAX.min(bytes_max)) {
                    Ok(entries) => entries,
                    Err(error) => {
                        self.give_up_log(&error);
                        break;
                    }
                };
            let entries: Vec<Entry> =
                entries.into_iter().take_while(|entry| entry.sequence <= upto).collect();
            let Some(last) = entries.last().map(Entry::position) else { break };
            bytes += entries.iter().map(|entry| entry.body.bytes() + 1).sum::<usize>();
            self.send(to, Message::Append(append.with_entries(entries.into())));
            sent = last.sequence;
            append = append.after(last);
        }
        (sent, bytes)
    }

    /// The log cannot be read back where a follower needs it. It counts as beginning after the
    /// damage from now on, so that whoever needs more gets a snapshot instead.
    fn give_up_log(&mut self, error: &log::Error) {
        let number = match error {
            log::Error::Damaged { at, .. } => at.segment,
            log::Error::DamagedSegment { number, .. } => *number,
            error => return self.note_damage(error),
        };
        let is_tail = self.log.tail().is_some_and(|tail| tail.segment == number);
        if is_tail {
            // What is not yet committed may be in it; another replica has it whole.
            self.is_damaged = true;
            return self.fail(format!("the newest segment of the log: {error}"));
        }
        self.note_damage(error);
        self.log.begin_after(number);
        // The index of data points into the log too; that of names does not.
        self.look_for_damage();
        let start = self.log.start();
        self.context.post(NodeEvent::LogStart { replica: self.id, start });
    }

    /// Notes damage that was found in passing.
    pub(super) fn note_damage(&mut self, error: &log::Error) {
        tracing::warn!(partition = %self.partition, replica = %self.id, %error, "damage found");
        if matches!(error, log::Error::Damaged { .. } | log::Error::DamagedSegment { .. }) {
            Counters::add(&self.context.counters.damaged_found, 1);
        }
    }

    /// Applies committed records to the index.
    fn apply(&mut self, upto: Sequence) {
        while self.unapplied.front().is_some_and(|entry| entry.sequence <= upto) {
            let entry = self.unapplied.pop_front().expect("it was just seen");
            if self.failed.is_some() {
                continue;
            }
            let result = if entry.kind == KIND_BARRIER {
                self.machine.skip(entry.sequence).map(|()| machine::Result::Nothing)
            } else {
                let names = self.engine.leads().then_some(&mut self.clients.names);
                self.machine.apply(&entry.record(), names)
            };
            match result {
                Ok(result) => {
                    if self.engine.leads() {
                        self.results.push_back((entry.sequence, result));
                    }
                    self.checkpointing.note_applied(entry.sequence, entry.epoch, entry.end());
                    self.inspect_at(entry.sequence);
                }
                Err(error) => self.fail_index(&error),
            }
        }
    }

    fn answer(&mut self, token: u64, result: Result<Answer, Refusal>) {
        let Some(waiter) = self.waiting.remove(&token) else { return };
        match (waiter, result) {
            (Waiter::Nobody | Waiter::Part(_), Ok(Answer::Written { sequence })) => {
                drop(self.take_result(sequence));
            }
            (Waiter::Part(refused), Err(refusal)) => drop(refused.set(refusal)),
            (Waiter::Nobody | Waiter::Part(_), _) => {}
            (Waiter::ReapFlush, result) => self.orphans_flushed(result.is_ok()),
            (Waiter::Purge, Ok(Answer::Written { sequence })) => {
                let outcome = match self.take_result(sequence) {
                    Some(machine::Result::Namespace(outcome)) => Some(outcome),
                    _ => None,
                };
                self.purged(Ok(outcome.map(|outcome| *outcome)));
            }
            (Waiter::Purge, Ok(other)) => unreachable!("a purge was answered with {other:?}"),
            (Waiter::Purge, Err(refusal)) => self.purged(Err(refusal)),
            (Waiter::Write(responder), Ok(Answer::Written { sequence })) => {
                match self.take_result(sequence) {
                    Some(result) => responder.finish(result.into_reply()),
                    None => responder.refuse(wire::Status::Unknown, "the index has failed"),
                }
            }
            (Waiter::Flush(responder), Ok(_)) => responder.reply(Reply::default()),
            (Waiter::Write(responder) | Waiter::Flush(responder), Err(refusal)) => {
                responder.refuse(status_of(refusal), refusal.to_string());
            }
            (Waiter::Write(responder), Ok(other)) => {
                unreachable!("a write was answered with {other:?} (waiter {responder:?})")
            }
        }
    }

    fn take_result(&mut self, sequence: Sequence) -> Option<machine::Result> {
        while let Some((at, result)) = self.results.pop_front() {
            if at == sequence {
                return Some(result);
            }
            if at > sequence {
                self.results.push_front((at, result));
                return None;
            }
        }
        None
    }

    /// Asks the control plane for another configuration; the answer comes back as an event.
    fn request_change(&self, epoch: Epoch, change: Change) {
        let request = change_request(self, epoch, change);
        tracing::info!(partition = %self.partition, %epoch, ?change, "asking for a configuration");
        let context = self.context.clone();
        self.context.world.spawn("change", async move {
            let message = Request::new(Operation::ControlChange)
                .partition(types::PartitionId(request.partition))
                .class(Class::Control)
                .message(&request);
            match context.members.call(message).await {
                Ok(reply) => match reply.decode::<wire::control::ChangeConfigurationReply>() {
                    Ok(reply) => context.post(NodeEvent::Changed(reply)),
                    Err(error) => tracing::warn!(%error, "the control plane's answer"),
                },
                Err(error) => tracing::info!(%error, "the control plane did not answer"),
            }
        });
    }
}

fn change_request(
    holder: &Holder,
    epoch: Epoch,
    change: Change,
) -> wire::control::ChangeConfiguration {
    let change = match change {
        Change::Remove { replica, reason } => {
            let reason = match reason {
                RemoveReason::Silent => "silent",
                RemoveReason::Stalled => "stalled",
                RemoveReason::Failed(_) => "failed",
            };
            tracing::debug!(%replica, reason, "a follower shall leave the in-sync set");
            wire::control::Change::Remove(replica.0)
        }
        Change::Promote { replica } => wire::control::Change::Promote(replica.0),
    };
    wire::control::ChangeConfiguration {
        partition: holder.partition.0,
        expected_epoch: epoch.0,
        leader: holder.id.0,
        change: Some(change),
    }
}

impl Unapplied {
    pub(super) fn of(entry: &Entry, at: partition::log::Location) -> Unapplied {
        // The index of a data partition points to the bytes and does not need them.
        let payload = match entry.body.kind {
            KIND_WRITE => bytes::Bytes::new(),
            _ => entry.body.payload.clone(),
        };
        Unapplied {
            sequence: entry.sequence,
            epoch: entry.epoch,
            kind: entry.body.kind,
            key: entry.body.key.clone(),
            payload,
            at,
        }
    }

    fn record(&self) -> machine::Record<'_> {
        machine::Record {
            sequence: self.sequence,
            kind: self.kind,
            key: &self.key,
            payload: &self.payload,
            at: self.at,
        }
    }

    /// Where the record after this one begins, were it in the same segment.
    fn end(&self) -> partition::log::Location {
        self.at
    }
}
