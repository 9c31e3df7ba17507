//! The one place where events meet roles.

use super::Replica;
use super::effect::{Effect, Refusal};
use super::entry::Position;
use super::event::Event;
use super::follower::Following;
use super::message::Message;
use super::reconcile::Comparison;
use super::state::Role;
use super::status::{Failure, Room};
use types::{Epoch, Moment, ReplicaId, Sequence};

impl Replica {
    /// Takes in what happened, and appends to `effects` what is to be done about it.
    pub fn step(&mut self, now: Moment, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Configure(configuration) => self.on_configure(configuration, effects),
            Event::Submit { .. }
            | Event::SubmitMany(_)
            | Event::Flush { .. }
            | Event::Read { .. } => self.on_request(now, event, effects),
            Event::Message { from, message } => self.on_message(now, from, message, effects),
            Event::Appended { end } => self.on_appended(now, end, effects),
            Event::Synced { end } => self.on_synced(now, end, effects),
            Event::AppendFailed { from, failure } => {
                self.core.log.on_append_failed(from);
                self.fail(failure, effects);
            }
            Event::SyncFailed => {
                self.core.proven = false;
                self.fail(Failure::Io, effects);
            }
            Event::EpochPersisted { epoch } => self.on_epoch_persisted(now, epoch, effects),
            Event::PersistFailed { epoch, failure } => {
                self.on_persist_failed(epoch, failure, effects);
            }
            Event::SpaceFreed => self.on_space_freed(effects),
            Event::Room(room) => self.on_room(room, effects),
            Event::LogSent { .. } | Event::SnapshotSent { .. } | Event::Unreachable { .. } => {
                self.on_sending(now, event, effects);
            }
            Event::SnapshotStaged { from, epoch, at } => {
                self.on_snapshot_staged(from, epoch, at, effects);
            }
            Event::SnapshotInstalled { at } => self.on_snapshot_installed(at, effects),
            Event::SnapshotRefused { at } => {
                self.core.log.installing.take_if(|installing| *installing == at);
            }
            Event::LogStart { start } => self.core.log.on_start(start),
            Event::Tick => {
                if let Role::Leading(leading) = &mut self.role {
                    leading.tick(&mut self.core, now, effects);
                }
            }
        }
        #[cfg(debug_assertions)]
        super::invariants::check(self);
    }

    /// A caller wants something; only a leader can do it.
    fn on_request(&mut self, now: Moment, event: Event, effects: &mut Vec<Effect>) {
        let (leader, core) = (self.leader_seen(), &mut self.core);
        let Role::Leading(leading) = &mut self.role else {
            let refusal = Refusal::NotLeader { leader, epoch: core.epoch };
            return refuse(event, refusal, effects);
        };
        match event {
            Event::Submit { token, entry } => {
                leading.submit_one(core, now, token, entry, effects);
            }
            Event::SubmitMany(entries) => leading.submit(core, now, entries, effects),
            Event::Flush { token } => leading.flush(core, now, token, effects),
            Event::Read { token } => leading.read(core, now, token, effects),
            _ => unreachable!("the caller passes requests only"),
        }
    }

    pub(super) fn on_message(
        &mut self,
        now: Moment,
        from: ReplicaId,
        message: Message,
        effects: &mut Vec<Effect>,
    ) {
        match message {
            Message::Append(_) | Message::Compare { .. } => {
                self.on_leader_message(now, from, message, effects);
            }
            Message::Stale { epoch, leader } => self.on_stale(now, from, epoch, leader, effects),
            answer => self.on_answer(now, from, answer, effects),
        }
    }

    /// Somebody speaks as the leader of an epoch.
    fn on_leader_message(
        &mut self,
        now: Moment,
        from: ReplicaId,
        message: Message,
        effects: &mut Vec<Effect>,
    ) {
        let (epoch, seen) = (message.epoch(), self.seen());
        if epoch < seen {
            let stale = Message::Stale { epoch: seen, leader: self.leader_seen() };
            effects.push(Effect::Send { to: from, message: stale });
            return;
        }
        if from == self.core.me {
            return;
        }
        if epoch > seen {
            self.adopt(epoch, Some(from), None, effects);
        }
        if let Some(adopting) = &self.adopting {
            let (epoch, leader) = (adopting.epoch, adopting.leader);
            effects.push(Effect::Send { to: from, message: Message::Stale { epoch, leader } });
            return self.defer(from, message);
        }
        if let Role::Waiting = self.role {
            let appointed = self.core.configuration_now().and_then(|c| c.leader);
            if appointed.is_some_and(|leader| leader != from) {
                return;
            }
            self.role = Role::Following(Following::new(from));
        }
        self.follow(now, from, &message, effects);
    }

    /// The leader of the present epoch speaks.
    fn follow(
        &mut self,
        now: Moment,
        from: ReplicaId,
        message: &Message,
        effects: &mut Vec<Effect>,
    ) {
        let core = &mut self.core;
        let Role::Following(following) = &mut self.role else { return };
        if following.leader != from {
            tracing::error!(me = ?core.me, leader = ?following.leader, ?from, epoch = ?core.epoch,
                "two replicas speak as leader of one epoch");
            return;
        }
        match message {
            Message::Append(append) => following.on_append(core, now, append, effects),
            Message::Compare { epoch, stamp } => {
                let (epoch, stamp, life) = (*epoch, *stamp, core.life);
                let last = Some(core.log.last());
                let message = Message::Compared { epoch, stamp, life, last };
                effects.push(Effect::Send { to: from, message });
            }
            _ => {}
        }
    }

    /// A follower answers; only the leader of exactly that epoch may take it to heart.
    fn on_answer(
        &mut self,
        now: Moment,
        from: ReplicaId,
        message: Message,
        effects: &mut Vec<Effect>,
    ) {
        if message.epoch() != self.core.epoch {
            return;
        }
        let core = &mut self.core;
        let Role::Leading(leading) = &mut self.role else { return };
        match message {
            Message::Ack(ack) => leading.on_ack(core, now, from, &ack, effects),
            Message::Reject(reject) => leading.on_reject(core, now, from, &reject, effects),
            Message::Compared { last, .. } => {
                let beaten = leading.on_compared(core, now, from, last, effects);
                if beaten == Comparison::Beaten {
                    tracing::warn!(me = ?core.me, ?from, ?last, "another replica knows more");
                    self.stop(None, effects);
                }
            }
            _ => {}
        }
    }

    /// Somebody knows a newer epoch; or this leader's own, without being in it yet.
    fn on_stale(
        &mut self,
        now: Moment,
        from: ReplicaId,
        epoch: Epoch,
        leader: Option<ReplicaId>,
        effects: &mut Vec<Effect>,
    ) {
        if epoch <= self.seen() {
            if let Role::Leading(leading) = &mut self.role
                && (epoch, leader) == (self.core.epoch, Some(self.core.me))
            {
                leading.on_sign_of_life(now, from);
            }
            return;
        }
        // When it is this replica's own next epoch, its configuration is on the way.
        if leader != Some(self.core.me) && matches!(self.role, Role::Leading(_)) {
            self.stop(leader, effects);
        }
        effects.push(Effect::Outdated { epoch });
    }

    fn on_appended(&mut self, now: Moment, end: Sequence, effects: &mut Vec<Effect>) {
        let core = &mut self.core;
        core.log.on_appended(end, effects);
        match &mut self.role {
            Role::Leading(leading) => leading.on_appended(core, now, effects),
            Role::Following(following) => following.on_appended(core, effects),
            Role::Waiting | Role::Retired => {}
        }
    }

    fn on_synced(&mut self, now: Moment, end: Sequence, effects: &mut Vec<Effect>) {
        let core = &mut self.core;
        core.log.on_synced(end, effects);
        match &mut self.role {
            Role::Leading(leading) => leading.on_synced(core, now, effects),
            Role::Following(following) => following.acknowledge(core, effects),
            Role::Waiting | Role::Retired => {}
        }
    }

    /// This replica cannot write any more: a leader stops, a follower tells its leader.
    fn fail(&mut self, failure: Failure, effects: &mut Vec<Effect>) {
        let core = &mut self.core;
        tracing::warn!(me = ?core.me, ?failure, epoch = ?core.epoch, "this replica cannot write");
        core.failure = core.failure.max(Some(failure));
        match &mut self.role {
            Role::Leading(_) => self.stop(None, effects),
            Role::Following(following) => following.on_failed(core, effects),
            Role::Waiting | Role::Retired => {}
        }
    }

    /// Without its epoch on disk a replica may do nothing in it, nor go back.
    fn on_persist_failed(&mut self, epoch: Epoch, failure: Failure, effects: &mut Vec<Effect>) {
        if self.seen() == epoch {
            self.unpersisted = true;
            self.fail(failure, effects);
            if !matches!(self.role, Role::Retired) {
                self.stop(None, effects);
            }
        }
    }

    /// Asks again for what could not be persisted for want of room.
    fn persist_again(&mut self, effects: &mut Vec<Effect>) {
        if !std::mem::take(&mut self.unpersisted) {
            return;
        }
        let (epoch, configuration) = match &self.adopting {
            Some(adopting) => (adopting.epoch, adopting.configuration.clone()),
            None => (self.core.epoch, self.core.configuration_now().cloned()),
        };
        effects.push(Effect::Persist { epoch, configuration });
    }

    fn on_room(&mut self, room: Room, effects: &mut Vec<Effect>) {
        if self.core.room == room {
            return;
        }
        self.core.room = room;
        if let Role::Following(following) = &self.role {
            following.acknowledge(&self.core, effects);
        }
    }

    fn on_space_freed(&mut self, effects: &mut Vec<Effect>) {
        if self.core.failure == Some(Failure::NoSpace) {
            self.core.failure = None;
            self.persist_again(effects);
            if let Role::Following(following) = &self.role {
                following.acknowledge(&self.core, effects);
            }
        }
    }

    /// Something the driver sends for the leader came to an end.
    fn on_sending(&mut self, now: Moment, event: Event, effects: &mut Vec<Effect>) {
        let core = &self.core;
        let Role::Leading(leading) = &mut self.role else { return };
        match event {
            Event::LogSent { to, stamp, upto } => {
                leading.on_log_sent(core, now, (to, stamp, upto), effects);
            }
            Event::SnapshotSent { to } => leading.on_snapshot_sent(core, now, to, effects),
            Event::Unreachable { replica } => leading.on_unreachable(now, replica),
            _ => unreachable!("the caller passes these only"),
        }
    }

    /// A snapshot of another epoch may hold what a loss of power everywhere has taken back since.
    fn on_snapshot_staged(
        &mut self,
        from: ReplicaId,
        epoch: Epoch,
        at: Position,
        effects: &mut Vec<Effect>,
    ) {
        let current = epoch == self.core.epoch && self.adopting.is_none();
        match &mut self.role {
            Role::Following(following) if current && following.leader == from => {
                following.on_snapshot_staged(&mut self.core, at, effects);
            }
            _ => effects.push(Effect::DiscardSnapshot { at }),
        }
    }

    fn on_snapshot_installed(&mut self, at: Position, effects: &mut Vec<Effect>) {
        if self.core.log.installing != Some(at) {
            tracing::error!(me = ?self.core.me, ?at, "a snapshot was installed unasked");
            return;
        }
        self.core.log.on_installed(at);
        if let Role::Following(following) = &mut self.role {
            following.on_installed(&mut self.core, effects);
        }
    }
}

/// Tells every caller of `event` why not.
fn refuse(event: Event, refusal: Refusal, effects: &mut Vec<Effect>) {
    let mut answer = |token| effects.push(Effect::Answer { token, result: Err(refusal) });
    match event {
        Event::Submit { token, .. } | Event::Flush { token } | Event::Read { token } => {
            answer(token);
        }
        Event::SubmitMany(entries) => entries.iter().for_each(|(token, _)| answer(*token)),
        _ => {}
    }
}
