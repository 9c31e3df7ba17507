//! The session of this client: what makes its commands happen once, and what its locks hang on.
//!
//! Commands are numbered. A command's outcome is kept by the namespace until the client says that
//! it has it; the client says so with each command, for all numbers below the oldest one that is
//! still under way.

use crate::data::decode;
use crate::{Error, Volume};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use types::SessionId;
use types::limits::CLIENT_SESSION_RENEWAL;
use types::namespace::{
    Caller, CloseSession, Command, Commit, Failure, FailureKind, OpenSession, Outcome, OutcomeBody,
    RenewSession, Request as CommandRequest,
};
use wire::{Operation, Request};

/// A session's number and the numbers of its commands.
#[derive(Debug)]
pub(crate) struct Session {
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
        let numbers = Numbers { next: 1, under_way: BTreeSet::new() };
        Session { nonce, id: AtomicU64::new(0), numbers: Mutex::new(numbers) }
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
    session: &'a Session,
    number: u64,
}

impl Drop for Numbered<'_> {
    fn drop(&mut self) {
        self.session.end(self.number);
    }
}

impl Volume {
    pub(crate) async fn begin_session(&self) -> Result<(), Error> {
        let session = &self.inner.session;
        let name = self.options().name.clone();
        let open = Command::OpenSession(OpenSession { nonce: session.nonce, name });
        let request = CommandRequest { command: Some(open), ..CommandRequest::default() };
        let outcome = self.submit(&request).await?;
        let OutcomeBody::Opened(opened) = outcome.into_result()? else {
            return Err(Error::Invalid("opening a session was answered otherwise".into()));
        };
        session.id.store(opened.session, Ordering::Release);
        let volume = self.clone();
        self.client().world.spawn("session", async move { volume.keep_session().await });
        Ok(())
    }

    /// Keeps the session alive until it ends or the volume is closed.
    async fn keep_session(self) {
        loop {
            self.client().world.sleep(CLIENT_SESSION_RENEWAL).await;
            let renew = Command::RenewSession(RenewSession {});
            match self.command(renew, Caller::default()).await {
                Ok(_) => {}
                Err(Error::SessionEnded) => {
                    return tracing::warn!(session = %self.session(), "the session has ended");
                }
                Err(Error::Deleted) => return tracing::warn!("the volume was deleted"),
                Err(error) => tracing::warn!(%error, "the session was not renewed"),
            }
        }
    }

    /// Writes back what is buffered and ends the session.
    ///
    /// # Errors
    /// What could not be written back; the session ends in any case.
    pub async fn close(&self) -> Result<(), Error> {
        let flushed = self.flush_all().await;
        let close = Command::CloseSession(CloseSession {});
        let closed = self.command(close, Caller::default()).await;
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
        let session = &self.inner.session;
        let (number, oldest) = session.begin();
        let _numbered = Numbered { session, number };
        let request = CommandRequest {
            session: session.id().0,
            number,
            acknowledged_below: oldest,
            caller: Some(caller),
            command: Some(command),
        };
        let outcome = self.submit(&request).await?;
        Ok(outcome.into_result()?)
    }

    async fn submit(&self, request: &CommandRequest) -> Result<Outcome, Error> {
        let message = Request::new(Operation::NamespaceCommand).message(request);
        decode(&self.call(self.namespace_partition(), message).await?)
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
