//! Getting back what files without names held.
//!
//! A file whose last name is gone stays while a client has it open. The leader of the namespace
//! asks every live session about a batch of such orphans; what nobody holds is deleted from the
//! data partitions first, and then purged from the namespace.
//!
//! ```text
//! resting -- orphans found --> asking -- every live session has answered --> flushing
//!    ^                           |                                              |
//!    |        nothing unheld     |                                              v
//!    +---------------------------+------ purging <-- their bytes are gone -- deleting
//! ```
//!
//! *Flushing*: the loss of the name is made durable before the bytes go, and the loss of the bytes
//! before the inode goes. So after a power loss everywhere no name comes back to a file whose bytes
//! are gone, and no bytes stay that belong to nobody.
//!
//! Why it is safe: an orphan has no name, so nobody can open it anew; a session that says that it
//! does not hold it never will. Sessions that begin while a round goes on must answer too: a client
//! whose session ended may have come back with files still open. All of this is in memory only: a
//! new leader begins again, and both steps may be done twice.
//!
//! What it leaves out: it does not hurry. A batch at a time, a bounded number of deletes at once,
//! and a rest after each batch as long as the batch took.

use super::delete::{Deletion, Doomed, Routes};
use super::names::News;
use super::namespace::Clients;
use super::{Holder, Machine, Waiter};
use crate::context::Counters;
use partition::replica::{Event, Refusal};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use types::limits::{
    EVENTS_WAIT_MAX, NAME_FEED_WAIT_MAX, REAP_BATCH, REAP_INTERVAL, REAP_INTERVAL_MAX,
    REAP_REST_MAX,
};
use types::namespace::{
    Answer, AnswerBody, Command, ListOrphans, Orphan, OrphanPage, Outcome, OutcomeBody, Purge,
    QueryBody, Request as CommandRequest,
};
use types::{Epoch, Moment, PartitionId, SessionId, VolumeId};
use wire::events::{Events, Poll};
use wire::{Reply, Request, Responder, Status};

/// The reaper of one namespace, and the clients it talks to.
#[derive(Debug, Default)]
pub(super) struct Reaper {
    stage: Stage,
    /// The last orphan that was looked at in this pass over all of them.
    after: u64,
    /// Whether anything was purged in this pass.
    purged_in_pass: bool,
    /// How long to wait after a pass in which nothing was.
    pause: Duration,
    look_at: Moment,
    /// Number of the last question.
    question: u64,
    parked: BTreeMap<SessionId, Parked>,
    routes: Option<Arc<Routes>>,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Resting,
    Asking(Round),
    Flushing(Vec<Doomed>),
    /// Bytes are being deleted, or the purge is on its way, since then.
    Working {
        since: Moment,
    },
}

/// One question to all sessions.
#[derive(Debug)]
struct Round {
    orphans: Vec<Doomed>,
    answered: BTreeSet<SessionId>,
    held: BTreeSet<u64>,
}

/// A client's request for events that waits for some.
#[derive(Debug)]
struct Parked {
    responder: Responder,
    since: Moment,
    /// The number of the last change of a name that it has heard of, when it wants to hear of them.
    names_upto: Option<u64>,
}

/// A deletion has ended.
#[derive(Debug)]
pub struct Deleted {
    /// In which epoch it was begun.
    pub epoch: Epoch,
    /// Inodes whose bytes are gone from all data partitions.
    pub gone: Vec<u64>,
    pub routes: Option<Arc<Routes>>,
}

impl Holder {
    /// Takes a client's request for events.
    pub(super) fn events(&mut self, request: &Request, responder: Responder) {
        let Ok(poll) = request.decode::<Poll>() else {
            return responder.refuse(Status::Invalid, "the request does not decode");
        };
        if let Err(refusal) = self.check_readable() {
            return responder.refuse(super::status_of(refusal), refusal.to_string());
        }
        let session = SessionId(poll.session);
        if !self.has_session(session) {
            return responder.reply(Reply::message(&Events { ended: true, ..Events::default() }));
        }
        let epoch = self.epoch();
        self.enter_epoch(epoch);
        self.hear(session);
        if self.clients.reaper.take_answer(session, epoch, &poll) {
            self.conclude_round();
        }
        self.park(session, &poll, responder);
        self.clients.reaper.ask(epoch);
    }

    /// Keeps a request for events until there are some; those about names may be there already.
    fn park(&mut self, session: SessionId, poll: &Poll, responder: Responder) {
        let (now, epoch) = (self.context.world.now(), self.clients.epoch);
        let mut names_upto = None;
        if poll.follows_names {
            let known = (poll.names_epoch == epoch.0).then_some(poll.names_upto);
            let news = self.clients.names.follow(session, now, known);
            let Some(upto) = news.upto_of_nothing() else {
                return responder.reply(Reply::message(&news.told(epoch)));
            };
            names_upto = Some(upto);
        }
        self.clients.reaper.park(session, Parked { responder, since: now, names_upto });
    }

    /// Tells those who follow names what has changed.
    fn tell_names(&mut self) {
        let Clients { names, reaper, epoch, .. } = &mut self.clients;
        if !names.take_dirty() {
            return;
        }
        let concerned = reaper.parked.extract_if(.., |session, parked| {
            let Some(upto) = parked.names_upto.as_mut() else { return false };
            match names.since(*session, *upto).upto_of_nothing() {
                Some(newest) => *upto = newest,
                None => return true,
            }
            false
        });
        for (session, parked) in concerned {
            let upto = parked.names_upto.expect("it was just looked at");
            let news = names.since(session, upto);
            parked.responder.reply(Reply::message(&news.told(*epoch)));
        }
    }

    /// Answers those who have waited for long. Whoever follows names is told that nothing had changed
    /// when it asked.
    fn answer_late(&mut self, now: Moment) {
        let wait_max = |parked: &Parked| match parked.names_upto {
            Some(_) => NAME_FEED_WAIT_MAX,
            None => EVENTS_WAIT_MAX,
        };
        let epoch = self.clients.epoch;
        let is_late =
            |_: &SessionId, parked: &mut Parked| now.since(parked.since) >= wait_max(parked);
        for (_, parked) in self.clients.reaper.parked.extract_if(.., is_late) {
            let events = parked.nothing_new(epoch);
            parked.responder.reply(Reply::message(&events));
        }
    }

    /// Looks after orphans and after clients that wait for events.
    pub(super) fn tend_orphans(&mut self, now: Moment) {
        self.tell_names();
        self.answer_late(now);
        match self.clients.reaper.stage {
            Stage::Resting if now >= self.clients.reaper.look_at => self.begin_round(now),
            // A session that did not answer may have ended meanwhile.
            Stage::Asking(_) if now >= self.clients.reaper.look_at => {
                self.clients.reaper.look_at = now + REAP_INTERVAL;
                self.conclude_round();
            }
            _ => {}
        }
    }

    fn begin_round(&mut self, now: Moment) {
        self.clients.reaper.look_at = now + REAP_INTERVAL;
        let Machine::Namespace(namespace) = &self.machine else { return };
        if namespace.usage().orphans == 0 || self.check_readable().is_err() {
            return;
        }
        let after = self.clients.reaper.after;
        let Some(page) = self.list_orphans(after) else { return };
        let orphans: Vec<Doomed> = page.orphans.iter().filter_map(doomed).collect();
        let reaper = &mut self.clients.reaper;
        let Some(last) = orphans.last() else { return reaper.end_pass(now) };
        reaper.after = if page.end { u64::MAX } else { last.object };
        reaper.question += 1;
        let (answered, held) = (BTreeSet::new(), BTreeSet::new());
        reaper.stage = Stage::Asking(Round { orphans, answered, held });
        let epoch = self.clients.epoch;
        self.clients.reaper.ask(epoch);
        self.conclude_round();
    }

    fn list_orphans(&mut self, after: u64) -> Option<OrphanPage> {
        let orphans_max = u32::try_from(REAP_BATCH).expect("a small number");
        match self.ask(&QueryBody::ListOrphans(ListOrphans { after, orphans_max }).into()) {
            Ok(answer) => match Answer::into_result(answer) {
                Ok(AnswerBody::Orphans(page)) => Some(page),
                _ => None,
            },
            Err(reason) => {
                self.fail(reason);
                None
            }
        }
    }

    /// Goes on to the deletion once every live session has answered.
    fn conclude_round(&mut self) {
        let Stage::Asking(round) = &self.clients.reaper.stage else { return };
        let Machine::Namespace(namespace) = &self.machine else { return };
        let all = namespace.sessions().all(|session| round.answered.contains(&session));
        if !all || self.check_readable().is_err() {
            return;
        }
        let now = self.context.world.now();
        let reaper = &mut self.clients.reaper;
        let Stage::Asking(round) = std::mem::take(&mut reaper.stage) else { return };
        let held = round.held;
        let orphans: Vec<Doomed> =
            round.orphans.into_iter().filter(|orphan| !held.contains(&orphan.object)).collect();
        if orphans.is_empty() {
            return reaper.end_batch(now, Duration::ZERO);
        }
        reaper.stage = Stage::Flushing(orphans);
        self.submit_turn();
        let token = self.wait(Waiter::ReapFlush);
        self.handle(Event::Flush { token });
    }

    /// The orphans are durably without a name, unless it failed.
    pub(super) fn orphans_flushed(&mut self, done: bool) {
        let now = self.context.world.now();
        let reaper = &mut self.clients.reaper;
        let orphans = match std::mem::take(&mut reaper.stage) {
            Stage::Flushing(orphans) => orphans,
            other => return reaper.stage = other,
        };
        let Some(configuration) = self.configuration.as_ref().filter(|_| done) else {
            return reaper.end_batch(now, REAP_REST_MAX);
        };
        let volume: VolumeId = configuration.volume;
        let deletion = Deletion {
            context: self.context.clone(),
            replica: self.id,
            epoch: self.clients.epoch,
            volume,
            orphans,
            routes: reaper.routes.clone(),
        };
        reaper.stage = Stage::Working { since: now };
        self.context.world.spawn("reap", deletion.run());
    }

    /// The bytes of some orphans are gone.
    pub fn deleted(&mut self, deleted: Deleted) {
        let now = self.context.world.now();
        let reaper = &mut self.clients.reaper;
        if deleted.epoch != self.clients.epoch || !matches!(reaper.stage, Stage::Working { .. }) {
            return;
        }
        reaper.routes = deleted.routes;
        if deleted.gone.is_empty() {
            return reaper.end_batch(now, REAP_REST_MAX);
        }
        let purge = Command::Purge(Purge { inodes: deleted.gone });
        let request = CommandRequest { command: Some(purge), ..CommandRequest::default() };
        self.submit_command(request, Waiter::Purge);
    }

    /// A purge has ended; what it left is found again in the next pass.
    pub(super) fn purged(&mut self, result: Result<Option<Outcome>, Refusal>) {
        let now = self.context.world.now();
        if let Ok(Some(outcome)) = result
            && let Ok(OutcomeBody::Purged(purged)) = outcome.into_result()
        {
            Counters::add(&self.context.counters.reaped, purged.inodes);
            Counters::add(&self.context.counters.reaped_bytes, purged.bytes);
            self.clients.reaper.purged_in_pass |= purged.inodes > 0;
        }
        let reaper = &mut self.clients.reaper;
        if let Stage::Working { since } = reaper.stage {
            reaper.end_batch(now, now.since(since).min(REAP_REST_MAX));
        }
    }

    fn has_session(&self, session: SessionId) -> bool {
        let Machine::Namespace(namespace) = &self.machine else { return false };
        namespace.sessions().any(|live| live == session)
    }
}

impl Reaper {
    fn end_batch(&mut self, now: Moment, rest: Duration) {
        self.stage = Stage::Resting;
        self.look_at = now + rest;
        if self.after == u64::MAX {
            self.end_pass(now);
        }
    }

    /// All orphans were looked at. While nothing comes of it, look less and less often.
    fn end_pass(&mut self, now: Moment) {
        self.stage = Stage::Resting;
        self.after = 0;
        let purged = std::mem::take(&mut self.purged_in_pass);
        self.pause = if purged {
            REAP_INTERVAL
        } else {
            (self.pause * 2).clamp(REAP_INTERVAL, REAP_INTERVAL_MAX)
        };
        self.look_at = now + self.pause;
    }

    fn park(&mut self, session: SessionId, parked: Parked) {
        let before = self.parked.insert(session, parked);
        if let Some(before) = before {
            before.responder.reply(Reply::message(&Events::default()));
        }
    }

    /// When somebody who follows names has waited for long enough.
    pub(super) fn wake(&self) -> Option<Moment> {
        let following = self.parked.values().filter(|parked| parked.names_upto.is_some());
        following.map(|parked| parked.since + NAME_FEED_WAIT_MAX).min()
    }

    /// Takes what a session says about the question; whether it was about the newest one.
    fn take_answer(&mut self, session: SessionId, epoch: Epoch, poll: &Poll) -> bool {
        let Stage::Asking(round) = &mut self.stage else { return false };
        if (poll.epoch, poll.question) != (epoch.0, self.question) {
            return false;
        }
        round.answered.insert(session);
        round.held.extend(poll.held.iter().copied());
        true
    }

    /// Puts the question to every waiting session that has not answered it.
    fn ask(&mut self, epoch: Epoch) {
        let Stage::Asking(round) = &self.stage else { return };
        let unasked = |session: &SessionId, _: &mut Parked| !round.answered.contains(session);
        for (_, parked) in self.parked.extract_if(.., unasked) {
            let question = round.question(self.question, epoch, &parked);
            parked.responder.reply(Reply::message(&question));
        }
    }
}

impl Round {
    /// What to ask whoever waits.
    fn question(&self, number: u64, epoch: Epoch, parked: &Parked) -> Events {
        let orphans = self.orphans.iter().map(|orphan| orphan.object).collect();
        Events { epoch: epoch.0, question: number, orphans, ..parked.nothing_new(epoch) }
    }
}

impl Parked {
    /// That no name had changed when it asked, which whoever follows names waits to hear: a mount that
    /// hears only questions would take its leader for silent.
    fn nothing_new(&self, epoch: Epoch) -> Events {
        self.names_upto.map_or_else(Events::default, |upto| News::nothing(upto).told(epoch))
    }
}

/// What is to be deleted for an orphan.
fn doomed(orphan: &Orphan) -> Option<Doomed> {
    let attributes = orphan.attributes.as_ref()?;
    let partitions: BTreeSet<PartitionId> =
        orphan.placements.iter().map(|placement| PartitionId(placement.partition)).collect();
    let everywhere = orphan.placements_more;
    Some(Doomed { object: attributes.inode, partitions, everywhere })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// While many files are deleted there is a question every few milliseconds; mounts that heard of
    /// nothing else had their kernels forget all names once a second.
    #[test]
    fn a_question_tells_who_follows_names_that_none_has_changed() {
        let orphan = Doomed { object: 9, partitions: BTreeSet::new(), everywhere: false };
        let round =
            Round { orphans: vec![orphan], answered: BTreeSet::new(), held: BTreeSet::new() };
        let waiting =
            |names_upto| Parked { responder: Responder::one_way(), since: Moment(1), names_upto };
        let asked = round.question(4, Epoch(3), &waiting(Some(7)));
        assert_eq!((asked.epoch, asked.question, &asked.orphans[..]), (3, 4, &[9][..]));
        assert_eq!((asked.names_epoch, asked.names_upto), (3, 7));
        assert!(asked.names.is_empty() && !asked.names_lost && !asked.names_more);
        let asked = round.question(4, Epoch(3), &waiting(None));
        assert_eq!((asked.question, asked.names_epoch), (4, 0), "it did not ask for names");
    }
}
