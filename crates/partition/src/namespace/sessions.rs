//! Client sessions: beginning, staying, ending, and remembering outcomes so that nothing acts twice.

use super::fault::{Fault, Stop, require};
use super::key::{self, Holding};
use super::session::NAME_BYTES_MAX;
use super::state::{Live, State};
use super::step::{DONE, Handled, Step};
use prost::Message;
use std::ops::ControlFlow;
use types::limits;
use types::namespace::outcome_body::OutcomeBody;
use types::namespace::{
    Failure, FailureKind, OpenSession, Opened, Outcome, Request, Reserved, Session,
};

/// Acknowledged outcomes are forgotten this many at a time, so that doing it costs next to nothing.
const FORGET_STRIDE: u64 = 64;

impl Step<'_> {
    pub(super) fn open_session(&mut self, open: &OpenSession) -> Handled {
        let known = self.state.sessions.values().find(|live| live.session.nonce == open.nonce);
        if let Some(live) = known {
            return Ok(OutcomeBody::Opened(Opened { session: live.session.id }));
        }
        let room = self.state.sessions.len() < limits::CLIENT_SESSIONS_MAX;
        require(room, FailureKind::LimitReached)?;
        require(open.name.len() <= NAME_BYTES_MAX, FailureKind::NameTooLong)?;
        let id = self.state.totals.session_next;
        self.state.totals.session_next += 1;
        let session = Session {
            id,
            nonce: open.nonce,
            name: open.name.clone(),
            opened: self.time,
            renewed: self.time,
            reserved: 0,
            remembered_from: 1,
        };
        let live = Live { session: session.clone(), number_highest: 0, holdings: 0 };
        self.state.sessions.insert(id, live);
        self.state.put_session(session);
        Ok(OutcomeBody::Opened(Opened { session: id }))
    }

    pub(super) fn renew_session(&mut self) -> Handled {
        let mut session = self.state.session(self.session)?.clone();
        session.renewed = self.time;
        self.state.put_session(session);
        Ok(DONE)
    }

    /// Releases all a session has. A session that is gone already was ended before: nothing to do.
    pub(super) fn end_session(&mut self, id: u64) -> Handled {
        let Some(live) = self.state.sessions.get(&id) else { return Ok(DONE) };
        let reserved = live.session.reserved;
        self.state.totals.reserved = self.state.totals.reserved.saturating_sub(reserved);
        self.release_holdings(id)?;
        let outcomes = self.state.store.keys(&key::one(key::OUTCOME, id), usize::MAX)?;
        for key in outcomes {
            self.state.store.remove(key);
        }
        self.state.store.remove(key::one(key::SESSION, id));
        self.state.sessions.remove(&id);
        self.state.touched.push(id);
        Ok(DONE)
    }

    fn release_holdings(&mut self, session: u64) -> Result<(), Fault> {
        for key in self.state.store.keys(&key::one(key::HOLDING, session), usize::MAX)? {
            let holding = key.get(9).copied().and_then(Holding::from_byte);
            let inode = key::number(&key, 10).unwrap_or(0);
            match holding {
                Some(Holding::Locks) => {
                    let mut table = self.state.locks(inode)?;
                    table.release(|lock| lock.session == session);
                    self.state.put_locks(inode, &table);
                }
                Some(Holding::Delegation) => {
                    if let Some(mut inode) = self.state.find_inode(inode)? {
                        inode.delegate = 0;
                        // What it synced is there, and the namespace was not told yet how far that goes.
                        inode.unsettled = true;
                        inode.modified(self.time);
                        self.state.put_inode(&inode);
                    }
                }
                None => {
                    return Err(Fault::Contradiction { what: "an unknown kind of holding", inode });
                }
            }
            self.state.store.remove(key);
        }
        Ok(())
    }

    pub(super) fn reserve(&mut self, bytes: u64) -> Handled {
        let mut session = self.state.session(self.session)?.clone();
        require(bytes <= self.state.totals.available(), FailureKind::NoSpace)?;
        session.reserved += bytes;
        self.state.totals.reserved += bytes;
        Ok(self.reserved(session))
    }

    pub(super) fn unreserve(&mut self, bytes: u64) -> Handled {
        let mut session = self.state.session(self.session)?.clone();
        let returned = bytes.min(session.reserved);
        session.reserved -= returned;
        self.state.totals.reserved = self.state.totals.reserved.saturating_sub(returned);
        Ok(self.reserved(session))
    }

    fn reserved(&mut self, session: Session) -> OutcomeBody {
        let bytes = session.reserved;
        self.state.put_session(session);
        OutcomeBody::Reserved(Reserved { bytes, available: self.state.totals.available() })
    }
}

impl State {
    /// Whether a client's request may run: refused, or its outcome when it ran before, or `None`.
    pub(super) fn admit(&self, request: &Request) -> Result<Option<Outcome>, Stop> {
        let live = self.sessions.get(&request.session);
        let live = live.ok_or(Failure::new(FailureKind::SessionEnded))?;
        let from = live.session.remembered_from;
        require(request.number != 0, FailureKind::Invalid)?;
        require(request.number >= from, FailureKind::Forgotten)?;
        let window = from.saturating_add(limits::OUTCOMES_REMEMBERED_MAX);
        require(request.number < window, FailureKind::LimitReached)?;
        if request.number > live.number_highest {
            return Ok(None);
        }
        Ok(self.outcome(request.session, request.number)?)
    }

    /// The remembered outcome of a request.
    pub(super) fn outcome(&self, session: u64, number: u64) -> Result<Option<Outcome>, Fault> {
        let key = key::two(key::OUTCOME, session, number);
        self.store.read(&key, |body| {
            Outcome::decode(body).map_err(|_| super::codec::Malformed::Field("outcome"))
        })
    }

    /// Remembers an outcome, unless the command ended its own session.
    pub(super) fn remember(&mut self, session: u64, number: u64, outcome: &Outcome) {
        let Some(live) = self.sessions.get_mut(&session) else { return };
        live.number_highest = live.number_highest.max(number);
        // A number is run once, see `admit`, and session numbers are not used again.
        self.store.put_fresh(key::two(key::OUTCOME, session, number), outcome.encode_to_vec());
    }

    /// Forgets the outcomes that the client says it has.
    pub(super) fn forget(&mut self, request: &Request) {
        let Some(live) = self.sessions.get(&request.session) else { return };
        let from = live.session.remembered_from;
        // Numbers past the window never ran.
        let until = request
            .acknowledged_below
            .min(request.number)
            .min(from.saturating_add(limits::OUTCOMES_REMEMBERED_MAX));
        if until < from.saturating_add(FORGET_STRIDE) {
            return;
        }
        let mut session = live.session.clone();
        for number in from..until {
            self.store.remove(key::two(key::OUTCOME, request.session, number));
        }
        session.remembered_from = until;
        self.put_session(session);
    }

    /// Reads a session and what belongs to it; `None` when it is not live.
    pub(super) fn load_session(&self, id: u64) -> Result<Option<Live>, Fault> {
        let key = key::one(key::SESSION, id);
        let session = self.store.read(&key, |body| super::session::decode(id, body))?;
        let Some(session) = session else { return Ok(None) };
        let mut number_highest = 0;
        self.store.scan_prefix(&key::one(key::OUTCOME, id), |key, _| {
            number_highest = key::number(key, 9).unwrap_or(0);
            Ok(ControlFlow::Continue(()))
        })?;
        let holdings = self.store.keys(&key::one(key::HOLDING, id), usize::MAX)?.len();
        Ok(Some(Live { session, number_highest, holdings }))
    }
}
