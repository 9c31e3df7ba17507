//! How a replica moves to a newer epoch: refuse older traffic at once, persist, then act.

use super::Replica;
use super::effect::{Effect, Refusal};
use super::follower::Following;
use super::leader::Leading;
use super::message::Message;
use super::state::{Adopting, Role};
use types::limits::EPOCH_DEFERRED_MESSAGES_MAX;
use types::{Configuration, Epoch, Moment, ReplicaId};

impl Replica {
    /// The newest epoch known, on disk or on its way there.
    pub(super) fn seen(&self) -> Epoch {
        self.adopting.as_ref().map_or(self.core.epoch, |adopting| adopting.epoch)
    }

    /// Who leads the newest epoch known, when that is known.
    pub(super) fn leader_seen(&self) -> Option<ReplicaId> {
        match (&self.adopting, &self.role) {
            (Some(adopting), _) => adopting.leader,
            (None, Role::Following(following)) => Some(following.leader),
            (None, Role::Leading(_)) => Some(self.core.me),
            // Not this replica, which would be leading.
            (None, Role::Waiting | Role::Retired) => {
                let configuration = self.core.configuration_now();
                configuration.and_then(|c| c.leader).filter(|leader| *leader != self.core.me)
            }
        }
    }

    pub(super) fn on_configure(&mut self, configuration: Configuration, effects: &mut Vec<Effect>) {
        if let Err(reason) = configuration.check() {
            tracing::error!(me = ?self.core.me, reason, "a configuration that cannot be");
            return;
        }
        let epoch = configuration.epoch;
        if epoch > self.seen() {
            let leader = configuration.leader;
            return self.adopt(epoch, leader, Some(configuration), effects);
        }
        if let Some(adopting) = &mut self.adopting {
            if adopting.epoch == epoch && adopting.configuration.is_none() {
                adopting.configuration = Some(configuration);
            }
        } else if epoch == self.core.epoch && self.core.configuration_now().is_none() {
            self.learn(configuration, effects);
        }
    }

    /// Learns the configuration of an epoch that its leader had announced before.
    fn learn(&mut self, configuration: Configuration, effects: &mut Vec<Effect>) {
        if configuration.member(self.core.me).is_none() {
            self.role = Role::Retired;
        }
        let epoch = configuration.epoch;
        self.core.configuration = Some(configuration.clone());
        effects.push(Effect::Persist { epoch, configuration: Some(configuration) });
    }

    /// Begins to move to `epoch`. A leader that is also the next one goes on in the old epoch until
    /// the new one is on disk; any other stops here.
    pub(super) fn adopt(
        &mut self,
        epoch: Epoch,
        leader: Option<ReplicaId>,
        configuration: Option<Configuration>,
        effects: &mut Vec<Effect>,
    ) {
        debug_assert!(epoch > self.seen());
        let unbroken = epoch == self.seen().next()
            && self.adopting.as_ref().is_none_or(|adopting| adopting.continues);
        let leads = matches!(self.role, Role::Leading(_));
        let continues = unbroken && leads && leader == Some(self.core.me);
        if !continues {
            self.stop(leader, effects);
        }
        effects.push(Effect::Persist { epoch, configuration: configuration.clone() });
        self.adopting =
            Some(Adopting { epoch, configuration, leader, continues, deferred: Vec::new() });
    }

    /// Keeps a message of the epoch that is being persisted. Whatever does not fit is sent again.
    pub(super) fn defer(&mut self, from: ReplicaId, message: Message) {
        if let Some(adopting) = &mut self.adopting
            && adopting.deferred.len() < EPOCH_DEFERRED_MESSAGES_MAX
        {
            adopting.deferred.push((from, message));
        }
    }

    pub(super) fn on_epoch_persisted(
        &mut self,
        now: Moment,
        epoch: Epoch,
        effects: &mut Vec<Effect>,
    ) {
        let Some(adopting) = self.adopting.take_if(|adopting| adopting.epoch == epoch) else {
            return;
        };
        self.core.epoch = epoch;
        if let Some(configuration) = adopting.configuration {
            self.core.configuration = Some(configuration);
        }
        self.enter(now, adopting.leader, effects);
        for (from, message) in adopting.deferred {
            self.on_message(now, from, message, effects);
        }
    }

    /// Takes the role that the epoch just entered gives.
    fn enter(&mut self, now: Moment, leader: Option<ReplicaId>, effects: &mut Vec<Effect>) {
        let core = &mut self.core;
        let configuration = core.configuration_now().cloned();
        if configuration.as_ref().is_some_and(|c| c.member(core.me).is_none()) {
            self.stop(leader, effects);
            self.role = Role::Retired;
            return;
        }
        self.role = match leader {
            Some(leader) if leader != core.me => Role::Following(Following::new(leader)),
            Some(_) => return self.lead(now, configuration, effects),
            None => Role::Waiting,
        };
    }

    /// Leads, or goes on leading, in the epoch just entered.
    fn lead(
        &mut self,
        now: Moment,
        configuration: Option<Configuration>,
        effects: &mut Vec<Effect>,
    ) {
        let core = &mut self.core;
        let configuration = configuration.expect("only a configuration appoints a leader");
        if let Role::Leading(leading) = &mut self.role {
            // A leader that does not continue was stopped when it heard of this epoch.
            leading.reconfigure(core, &configuration, now, effects);
        } else if core.failure.is_some() || core.log.installing.is_some() {
            tracing::warn!(me = ?core.me, failure = ?core.failure, "appointed, but cannot write");
            self.role = Role::Waiting;
        } else {
            let mut leading = Leading::new(core, &configuration, now);
            leading.begin(core, now, effects);
            self.role = Role::Leading(Box::new(leading));
        }
    }

    /// Gives up the present role, and tells everybody who waits.
    pub(super) fn stop(&mut self, leader: Option<ReplicaId>, effects: &mut Vec<Effect>) {
        let epoch = self.core.epoch;
        let role = std::mem::replace(&mut self.role, Role::Waiting);
        if let Role::Leading(leading) = role {
            leading.stop(Refusal::NotLeader { leader, epoch }, effects);
        }
    }
}
