//! The session of this client: what makes its commands happen once, and what its locks hang on.
//!
//! Commands are numbered. A command's outcome is kept by the namespace until the client says that
//! it has it; the client says so with each command, for all numbers below the oldest one that is
//! still under way.
//!
//! The cluster ends the session of a client that was silent for long. Then the client begins a new
//! one by itself, and goes on. What it does about the old one:
//!
//! | what hung on it | then |
//! | --- | --- |
//! | buffered data | is written and committed under the new session |
//! | locks | are lost, which is logged; who has a file open on which this client held some is told so with the next flush or sync, and whoever locks it next |
//! | delegations, reserved space | are asked for again when they are needed |
//! | a command that certainly did not happen | is sent again under the new session |
//! | one that may have happened, and does the same when done twice | is sent again too |
//! | any other that may have happened | fails with [`Error::SessionEnded`] |
//!
//! What this leaves out: bytes of an append that was buffered when the delegation was lost keep
//! their place, and may lie where another client has appended meanwhile; and when the outcome of a
//! commit or a truncation was lost together with the session, its change of the space that the
//! file takes is accounted twice, until the file is deleted. A check of the volume says so.

use crate::data::decode;
use crate::{Error, Volume};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use types::SessionId;
use types::limits::CLIENT_SESSION_RENEWAL;
use types::namespace::{
    Caller, CloseSession, Command, Commit, Done, Failure, FailureKind, LockMode, OpenSession,
    Outcome, OutcomeBody, RenewSession, Request as CommandRequest, SetXattr, XattrMode,
};
use wire::{Operation, Request};

/// The session that this client has now.
#[derive(Debug)]
pub(crate) struct Session {
    live: RwLock<Arc<Live>>,
    /// Held while a new one is begun.
    opening: tokio::sync::Mutex<()>,
    closed: AtomicBool,
    /// How many sessions were lost.
    lost: AtomicU64,
}

/// One session's number and the numbers of its commands.
#[derive(Debug)]
pub(crate) struct Live {
    nonce: u64,
    id: AtomicU64,
    numbers: Mutex<Numbers>,
}

#[derive(Debug)]
struct Numbers {
    next: u64,
    under_way: BTreeSet<u64>,
}

impl Session {
    pub(crate) fn new(nonce: u64) -> Session {
        Session {
            live: RwLock::new(Arc::new(Live::new(nonce))),
            opening: tokio::sync::Mutex::default(),
            closed: AtomicBool::new(false),
            lost: AtomicU64::new(0),
        }
    }

    pub(crate) fn id(&self) -> SessionId {
        self.live().id()
    }

    pub(crate) fn live(&self) -> Arc<Live> {
        self.live.read().expect("no holder panics").clone()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

impl Live {
    fn new(nonce: u64) -> Live {
        let numbers = Numbers { next: 1, under_way: BTreeSet::new() };
        Live { nonce, id: AtomicU64::new(0), numbers: Mutex::new(numbers) }
    }

    pub(crate) fn id(&self) -> SessionId {
        SessionId(self.id.load(Ordering::Acquire))
    }

    /// Takes a number; the other one is the oldest that is still under way.
    fn begin(&self) -> (u64, u64) {
        let mut numbers = self.numbers.lock().expect("no holder panics");
        let number = numbers.next;
        numbers.next += 1;
        numbers.under_way.insert(number);
        let oldest = *numbers.under_way.first().expect("it was just put there");
        (number, oldest)
    }

    fn end(&self, number: u64) {
        self.numbers.lock().expect("no holder panics").under_way.remove(&number);
    }
}

/// Gives a number back when its command is over or its caller has left.
struct Numbered<'a> {
    live: &'a Live,
    number: u64,
}

impl Drop for Numbered<'_> {
    fn drop(&mut self) {
        self.live.end(self.number);
    }
}

impl Volume {
    pub(crate) async fn begin_session(&self) -> Result<(), Error> {
        self.open_session(&self.inner.session.live()).await?;
        let (renewed, told, watching) = (self.clone(), self.clone(), self.clone());
        self.client().world.spawn("watch", async move { watching.keep_watch().await });
        self.client().world.spawn("session", async move { renewed.keep_session().await });
        self.client().world.spawn("events", async move { told.keep_told().await });
        Ok(())
    }

    async fn open_session(&self, live: &Live) -> Result<(), Error> {
        let name = self.options().name.clone();
        let open = Command::OpenSession(OpenSession { nonce: live.nonce, name });
        let request = CommandRequest { command: Some(open), ..CommandRequest::default() };
        let outcome = self.submit(&request, &mut false).await?;
        let OutcomeBody::Opened(opened) = outcome.into_result()? else {
            return Err(Error::Invalid("opening a session was answered otherwise".into()));
        };
        live.id.store(opened.session, Ordering::Release);
        Ok(())
    }

    /// Begins a new session in place of one that the cluster has ended.
    pub(crate) async fn reopen_session(&self, ended: &Arc<Live>) -> Result<(), Error> {
        let session = &self.inner.session;
        let _one_at_a_time = session.opening.lock().await;
        if !Arc::ptr_eq(&session.live(), ended) {
            return Ok(());
        }
        if session.is_closed() {
            return Err(Error::SessionEnded);
        }
        let live = Arc::new(Live::new(self.client().world.random()));
        self.open_session(&live).await?;
        self.inner.budget.forget_reserved();
        let locked = self.inner.locks.lose();
        self.note_lost(&locked);
        self.recount_untold();
        session.lost.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            ended = %ended.id(), new = %live.id(), locks_lost_on = ?locked,
            "the cluster had ended this client's session; a new one was begun"
        );
        *session.live.write().expect("no holder panics") = live;
        Ok(())
    }

    /// How many sessions of this client the cluster has ended.
    #[must_use]
    pub fn sessions_lost(&self) -> u64 {
        self.inner.session.lost.load(Ordering::Relaxed)
    }

    /// Keeps the session alive until the volume is closed or deleted.
    async fn keep_session(self) {
        loop {
            self.client().world.sleep(CLIENT_SESSION_RENEWAL).await;
            if self.inner.session.is_closed() {
                return;
            }
            let renew = Command::RenewSession(RenewSession {});
            match self.command(renew, Caller::default()).await {
                Ok(_) => {}
                Err(Error::SessionEnded) if self.inner.session.is_closed() => return,
                Err(Error::Deleted) => return tracing::warn!("the volume was deleted"),
                Err(Error::Revoked(_)) => return tracing::warn!("access was revoked"),
                Err(error) => tracing::warn!(%error, "the session was not renewed"),
            }
            self.write_back_behind();
            self.give_back_reserved().await;
        }
    }

    /// Writes back what is buffered and ends the session.
    ///
    /// # Errors
    /// What could not be written back; the session ends in any case.
    pub async fn close(&self) -> Result<(), Error> {
        let flushed = self.flush_all().await;
        self.give_back_ends().await;
        self.inner.session.closed.store(true, Ordering::Release);
        let close = Command::CloseSession(CloseSession {});
        let closed = self.command(close, Caller::default()).await;
        self.stop_watch().await;
        flushed?;
        match closed {
            Ok(_) | Err(Error::SessionEnded) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Has a command carried out, exactly once.
    pub(crate) async fn command(
        &self,
        command: Command,
        caller: Caller,
    ) -> Result<OutcomeBody, Error> {
        loop {
            let live = self.inner.session.live();
            let mut uncertain = false;
            match self.command_as(&live, &command, &caller, &mut uncertain).await {
                Err(Error::SessionEnded) => {}
                result => return result,
            }
            self.reopen_session(&live).await?;
            if is_moot(&command) {
                return Ok(OutcomeBody::Done(Done {}));
            }
            if uncertain && !is_repeatable(&command) {
                return Err(Error::SessionEnded);
            }
        }
    }

    async fn command_as(
        &self,
        live: &Live,
        command: &Command,
        caller: &Caller,
        uncertain: &mut bool,
    ) -> Result<OutcomeBody, Error> {
        let (number, oldest) = live.begin();
        let _numbered = Numbered { live, number };
        let request = CommandRequest {
            session: live.id().0,
            number,
            acknowledged_below: oldest,
            caller: Some(caller.clone()),
            again: false,
            command: Some(command.clone()),
        };
        let change = self.inner.folders.begin(command, self.client().world.now());
        let mut outcome = self.submit(&request, uncertain).await?;
        if let Some(change) = change {
            change.end(&mut outcome);
        }
        Ok(outcome.into_result()?)
    }

    async fn submit(
        &self,
        request: &CommandRequest,
        uncertain: &mut bool,
    ) -> Result<Outcome, Error> {
        match self.submit_once(request, uncertain).await {
            // That there is no room now says nothing of an attempt that was not answered.
            Err(Error::NoSpace) if *uncertain => {
                let again = CommandRequest { again: true, ..request.clone() };
                self.submit_once(&again, uncertain).await
            }
            result => result,
        }
    }

    async fn submit_once(
        &self,
        request: &CommandRequest,
        uncertain: &mut bool,
    ) -> Result<Outcome, Error> {
        let message = Request::new(Operation::NamespaceCommand).message(request);
        decode(&self.call_noting(self.namespace_partition(), message, uncertain).await?)
    }

    /// Commits what was written to files; one result per item.
    pub(crate) async fn commit(
        &self,
        commit: Commit,
    ) -> Result<Vec<Result<types::namespace::Attributes, Error>>, Error> {
        let body = self.command(Command::Commit(commit), Caller::default()).await?;
        let OutcomeBody::Committed(committed) = body else {
            return Err(Error::Invalid("a commit was answered otherwise".into()));
        };
        let unknown = || Error::from(Failure::new(FailureKind::Unknown));
        let items = committed.items.into_iter().map(|item| match (item.attributes, item.failure) {
            (_, Some(failure)) => Err(failure.into()),
            (Some(attributes), None) => Ok(attributes),
            (None, None) => Err(unknown()),
        });
        Ok(items.collect())
    }
}

/// Whether the end of the session did already what this command wants.
fn is_moot(command: &Command) -> bool {
    match command {
        Command::RenewSession(_)
        | Command::ReleaseLocks(_)
        | Command::Undelegate(_)
        | Command::Unreserve(_) => true,
        Command::SetLock(set) => set.lock.is_some_and(|lock| lock.mode() == LockMode::Unlocked),
        _ => false,
    }
}

/// Whether doing this command a second time leaves what the first time left.
fn is_repeatable(command: &Command) -> bool {
    match command {
        Command::AllocateChunks(_)
        | Command::Commit(_)
        | Command::DropChunks(_)
        | Command::SetAttributes(_)
        // These are undone by the end of the session in which they may have happened.
        | Command::Delegate(_)
        | Command::Reserve(_)
        | Command::SetLock(_) => true,
        Command::SetXattr(SetXattr { mode, .. }) => *mode == i32::from(XattrMode::Any),
        _ => false,
    }
}
