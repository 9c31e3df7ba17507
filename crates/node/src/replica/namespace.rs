//! What clients ask of a namespace partition, and what its leader does unasked.
//!
//! Unasked, the leader ends the sessions of clients that fell silent, and tells clients what
//! concerns them: that somebody wants a delegation they hold, that what they cache has changed,
//! that a file without names should be let go. Which client was heard from when, and what each is
//! to be told, is in this replica's memory only; a new leader gives every client the whole time
//! again, and tells all of them to drop what they cache.

use super::machine::KIND_COMMAND;
use super::names::NameFeed;
use super::reap::Reaper;
use super::{Holder, Machine, Waiter, status_of};
use crate::context::Counters;
use bytes::Bytes;
use partition::replica::EntryBody;
use prost::Message;
use std::collections::BTreeMap;
use types::limits::{CAPACITY_RESEND_INTERVAL, CLIENT_SESSION_SILENCE_MAX};
use types::namespace::{
    Answer, AnswerBody, Command, ExpireSession, ListSessions, Query, QueryBody,
    Request as CommandRequest, SessionList, SetCapacity, Stamped,
};
use types::{Epoch, Moment, SessionId};
use wire::{Operation, Reply, Request, Responder, Status};

/// What the leader remembers of clients.
#[derive(Debug, Default)]
pub(super) struct Clients {
    /// The epoch in which all this was learned.
    pub(super) epoch: Epoch,
    heard: BTreeMap<SessionId, Moment>,
    /// When to look again for clients that fell silent.
    look_at: Moment,
    /// The capacity that this namespace was last told, and when.
    capacity_told: Option<(u64, Moment)>,
    pub(super) reaper: Reaper,
    pub(super) names: NameFeed,
}

/// Whether a command makes the tree larger. Everything else goes on while there is only the reserve:
/// what removes, what tells how far writes got that were taken, sessions and locks.
fn grows(command: &Command) -> bool {
    matches!(
        command,
        Command::Create(_)
            | Command::Link(_)
            | Command::SetXattr(_)
            | Command::AllocateChunks(_)
            | Command::Reserve(_)
    )
}

impl Holder {
    pub(super) fn namespace_request(&mut self, request: &Request, responder: Responder) {
        match request.operation {
            Operation::NamespaceCommand => self.command(request, responder),
            Operation::NamespaceQuery => self.query(request, responder),
            Operation::NamespaceFlush => self.flush(responder),
            Operation::NamespaceEvents => self.events(request, responder),
            operation => {
                let message = format!("a namespace partition does not do {}", operation.name());
                responder.refuse(Status::Unsupported, message);
            }
        }
    }

    fn command(&mut self, request: &Request, responder: Responder) {
        let Ok(command) = request.decode::<CommandRequest>() else {
            return responder.refuse(Status::Invalid, "the command does not decode");
        };
        let from_cluster = command.session == 0;
        let allowed = match &command.command {
            None => false,
            Some(Command::OpenSession(_)) => true,
            // The cluster's own commands come over the control class, which clients do not have.
            Some(_) => !from_cluster || request.class == wire::Class::Control,
        };
        if !allowed {
            return responder.refuse(Status::Invalid, "this command needs a session");
        }
        if !command.again
            && command.command.as_ref().is_some_and(grows)
            && let Some(reason) = self.lacks_room()
        {
            return responder.refuse(Status::NoSpace, reason);
        }
        if !from_cluster {
            self.hear(SessionId(command.session));
            // An idle client renews its session: it wants nothing.
            if !matches!(command.command, Some(Command::RenewSession(_))) {
                Counters::add(&self.context.counters.demands, 1);
            }
        }
        self.submit_command(command, Waiter::Write(responder));
    }

    pub(super) fn submit_command(&mut self, request: CommandRequest, waiter: Waiter) {
        let time = self.context.world.timestamp().0;
        let stamped = Stamped { time, request: Some(request) };
        let payload = Bytes::from(stamped.encode_to_vec());
        self.submit(EntryBody { kind: KIND_COMMAND, key: Bytes::new(), payload }, waiter);
    }

    fn query(&mut self, request: &Request, responder: Responder) {
        let Ok(query) = request.decode::<Query>() else {
            return responder.refuse(Status::Invalid, "the question does not decode");
        };
        if let Err(refusal) = self.check_readable() {
            return responder.refuse(status_of(refusal), refusal.to_string());
        }
        Counters::add(&self.context.counters.demands, 1);
        match self.ask(&query) {
            Ok(answer) => responder.reply(Reply::message(&answer)),
            Err(reason) => {
                responder.refuse(Status::NotLeader, reason.clone());
                self.fail(reason);
            }
        }
    }

    pub(super) fn ask(&mut self, query: &Query) -> Result<Answer, String> {
        let Machine::Namespace(namespace) = &mut self.machine else {
            return Err("this is a data partition".into());
        };
        namespace.query(query).map_err(|fault| {
            let text = format!("the namespace failed: {fault}");
            self.is_damaged |= super::machine::Error::from(fault).is_damage();
            text
        })
    }

    pub(super) fn hear(&mut self, session: SessionId) {
        let now = self.context.world.now();
        self.clients.heard.insert(session, now);
    }

    /// Looks after clients, capacity and orphans, now and then.
    pub fn tend(&mut self, now: Moment) {
        self.tend_inspections(now);
        if !matches!(self.machine, Machine::Namespace(_)) {
            self.tend_damages(now);
            return self.tend_scrub(now);
        }
        if !self.leads() || self.failed.is_some() {
            // Whoever waits here for events must ask the new leader.
            if self.clients.epoch != Epoch::ZERO {
                self.clients = Clients::default();
            }
            return;
        }
        self.enter_epoch(self.epoch());
        self.tend_capacity(now);
        self.tend_orphans(now);
        self.tend_sessions(now);
        self.submit_turn();
    }

    /// Forgets what was learned in another epoch.
    pub(super) fn enter_epoch(&mut self, epoch: Epoch) {
        if self.clients.epoch != epoch {
            self.clients = Clients { epoch, ..Clients::default() };
        }
    }

    /// Tells the namespace what its volume may hold, when it believes otherwise. A fresh namespace
    /// may hold anything, so nothing is refused before it is told.
    fn tend_capacity(&mut self, now: Moment) {
        let Machine::Namespace(namespace) = &self.machine else { return };
        let Some(configuration) = &self.configuration else { return };
        let Some(wanted) = self.context.capacity(configuration.volume) else { return };
        let usage = namespace.usage();
        if usage.capacity == wanted {
            return;
        }
        let told = self
            .clients
            .capacity_told
            .is_some_and(|(bytes, at)| bytes == wanted && now.since(at) < CAPACITY_RESEND_INTERVAL);
        if told {
            return;
        }
        self.clients.capacity_told = Some((wanted, now));
        let (from, to) = (usage.capacity, wanted);
        tracing::info!(partition = %self.partition, from, to, "the volume's capacity changes");
        let set = Command::SetCapacity(SetCapacity { bytes: wanted, inodes: usage.inodes_max });
        let request = CommandRequest { command: Some(set), ..CommandRequest::default() };
        self.submit_command(request, Waiter::Nobody);
    }

    fn tend_sessions(&mut self, now: Moment) {
        if now < self.clients.look_at {
            return;
        }
        self.clients.look_at = now + CLIENT_SESSION_SILENCE_MAX / 8;
        self.clients.names.tend(now);
        for session in self.silent_sessions(now) {
            tracing::info!(partition = %self.partition, %session, "a client fell silent");
            let expire = Command::ExpireSession(ExpireSession { session: session.0 });
            let request = CommandRequest { command: Some(expire), ..CommandRequest::default() };
            self.submit_command(request, Waiter::Nobody);
        }
    }

    fn silent_sessions(&mut self, now: Moment) -> Vec<SessionId> {
        let listed = self.ask(&QueryBody::ListSessions(ListSessions {}).into());
        let sessions = match listed.map(Answer::into_result) {
            Ok(Ok(AnswerBody::Sessions(SessionList { sessions }))) => sessions,
            Ok(_) => return Vec::new(),
            Err(reason) => {
                self.fail(reason);
                return Vec::new();
            }
        };
        let live: BTreeMap<SessionId, Moment> = sessions
            .iter()
            .map(|session| SessionId(session.id))
            // One that this leader has not heard of has the whole time from now on.
            .map(|id| (id, self.clients.heard.get(&id).copied().unwrap_or(now)))
            .collect();
        let silent =
            |(_, heard): &(&SessionId, &Moment)| now.since(**heard) > CLIENT_SESSION_SILENCE_MAX;
        let ended = live.iter().filter(silent).map(|(id, _)| *id).collect();
        self.clients.heard = live;
        ended
    }
}
