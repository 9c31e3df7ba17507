//! A file volume's namespace: the tree of inodes and names that the log of a partition means.
//!
//! Think of a land registry. Deeds arrive in one order, each stamped with its time by the office that
//! leads; every office that enters the same deeds in the same order has the same books. A deed that
//! arrives twice is answered from the day-book and not entered again.
//!
//! - [`Namespace::apply`] enters one committed command; it is deterministic in the state, the sequence
//!   and the command, and reads no clock.
//! - [`Namespace::query`] answers from what was applied.
//! - [`check`] reads all of a state and says what contradicts what; [`digest`] and [`transfer`] compare and copy states.
//!
//! What must hold, checked by [`check`]:
//!
//! ```text
//! nlink(file)      = names that lead to it          nlink(folder) = 2 + folders in it, or 0 once removed
//! size(folder)     = names in it                    parent(folder) = the folder with its one name
//! used             = Σ allocated                    reserved       = Σ reserved of live sessions
//! inodes, orphans  = number of inodes, of those with nlink 0
//! applied          = sequence of the last command whose changes are in the state, with all of them
//! ```
//!
//! What it leaves out: permissions (the mount's kernel checks them), data (data partitions hold it), and
//! deciding when a session has ended or an orphan is open no more (the leader's node does).

mod acl;
mod attributes;
pub mod check;
mod chunks;
mod codec;
mod create;
pub mod describe;
pub mod digest;
mod entry;
mod fault;
pub mod files;
mod finding;
mod inode;
mod key;
mod link;
mod lock_table;
mod locks;
mod query;
mod rename;
mod session;
mod sessions;
mod space;
mod state;
mod step;
mod store;
mod totals;
pub mod transfer;
mod xattr;

pub use codec::Malformed;
pub use fault::Fault;

use crate::kv::{Kv, Read};
use fault::Stop;
use inode::Inode;
use state::State;
use std::collections::BTreeMap;
use std::sync::Arc;
use step::{Step, is_for_cluster};
use store::Store;
use totals::Totals;
use types::namespace::{
    Answer, Attributes, Caller, Command, Failure, FailureKind, FileKind, Outcome, Query, Request,
    Stamped, Usage,
};
use types::{InodeId, Sequence, SessionId};

/// Changes are written to the `Kv` once they take this much memory.
const PENDING_BYTES_MAX: usize = 1 << 20;

/// The root's permission bits in a new volume.
const ROOT_MODE: u32 = 0o755;

/// One replica's namespace.
///
/// The partition's loop owns it: it alone applies, in the order of the log. Changes collect in memory and
/// are written as one atomic batch with the sequence they reach, when they are many or [`Namespace::flush`]
/// is called; a crash before that loses nothing that the log does not bring back.
#[derive(Debug)]
pub struct Namespace {
    state: State,
}

impl Namespace {
    /// Opens the namespace in `kv`; an empty `kv` is a namespace with nothing but its root.
    ///
    /// # Errors
    /// A fault: the replica must be rebuilt, unless the store's error says otherwise.
    pub fn open(kv: Arc<dyn Kv>) -> Result<Namespace, Fault> {
        if kv.get(key::TRANSFER)?.is_some() {
            return Err(Fault::Unfinished);
        }
        let store = Store::new(kv);
        let totals_written = store.read(key::TOTALS, Totals::decode)?;
        let totals = totals_written.unwrap_or_else(Totals::fresh);
        let (sessions, touched) = (BTreeMap::new(), Vec::new());
        let mut state = State { store, totals, totals_written, sessions, touched };
        if totals_written.is_none() {
            state.put_root(0);
            state.store.commit();
        }
        state.load_sessions()?;
        Ok(Namespace { state })
    }

    /// The last sequence whose command was applied, though maybe not written to the `Kv` yet.
    #[must_use]
    pub fn applied(&self) -> Sequence {
        Sequence(self.state.totals.applied)
    }

    /// Applies the committed command at `sequence`, and remembers its outcome.
    ///
    /// A sequence that was applied already changes nothing; its outcome is the remembered one when there
    /// still is one, else [`FailureKind::Forgotten`]. Sequences may skip: not every record is a command.
    ///
    /// # Errors
    /// A fault: nothing was changed, and the replica cannot go on until it is mended.
    pub fn apply(&mut self, sequence: Sequence, stamped: &Stamped) -> Result<Outcome, Fault> {
        let Some(request) = &stamped.request else {
            self.advance(sequence)?;
            return Ok(Failure::new(FailureKind::Invalid).into());
        };
        if sequence <= self.applied() {
            let outcome = self.state.outcome(request.session, request.number)?;
            return Ok(outcome.unwrap_or_else(|| Failure::new(FailureKind::Forgotten).into()));
        }
        if self.state.totals.applied == 0 {
            self.date_root(stamped.time)?;
        }
        let outcome = self.state.execute(stamped.time, request)?;
        self.advance(sequence)?;
        Ok(outcome)
    }

    /// Notes that the records up to `sequence` are applied: they held no command.
    ///
    /// # Errors
    /// The store's, when it was time to write.
    pub fn advance(&mut self, sequence: Sequence) -> Result<(), Fault> {
        if sequence <= self.applied() {
            return Ok(());
        }
        self.state.totals.applied = sequence.0;
        if self.state.store.pending_bytes() >= PENDING_BYTES_MAX { self.flush() } else { Ok(()) }
    }

    /// Writes all that was applied to the `Kv`, as one batch. It is durable after the `Kv`'s `persist`.
    ///
    /// # Errors
    /// The store's. Nothing is lost: what was not written stays, and may be written later.
    pub fn flush(&mut self) -> Result<(), Fault> {
        let totals = self.state.totals;
        if !self.state.store.has_pending() && self.state.totals_written == Some(totals) {
            return Ok(());
        }
        self.state.store.put(key::TOTALS.into(), totals.encode());
        self.state.store.commit();
        self.state.store.flush()?;
        self.state.totals_written = Some(totals);
        Ok(())
    }

    /// The state as it is now, to be checked, digested or sent away while commands go on being applied.
    ///
    /// # Errors
    /// As [`Namespace::flush`], which it does first.
    pub fn snapshot(&mut self) -> Result<Arc<dyn Read>, Fault> {
        self.flush()?;
        Ok(self.state.store.kv().snapshot())
    }

    /// What the volume holds and may hold.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.state.usage()
    }

    /// The live sessions, ascending.
    pub fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.state.sessions.keys().map(|id| SessionId(*id))
    }

    /// Answers a question from what was applied.
    ///
    /// # Errors
    /// A fault: this replica cannot answer.
    pub fn query(&self, query: &Query) -> Result<Answer, Fault> {
        let Some(body) = &query.body else {
            return Ok(Failure::new(FailureKind::Invalid).into());
        };
        match self.state.answer(body) {
            Ok(answer) => Ok(answer.into()),
            Err(Stop::Refused(failure)) => Ok(failure.into()),
            Err(Stop::Fault(fault)) => Err(fault),
        }
    }

    /// The folders in which a command changed names, as they are now.
    ///
    /// # Errors
    /// A fault: this replica cannot answer.
    pub fn folders_of(&self, command: &Command) -> Result<Vec<Attributes>, Fault> {
        let mut folders = match command {
            Command::Create(create) => vec![create.parent],
            Command::Link(link) => vec![link.parent],
            Command::Unlink(unlink) => vec![unlink.parent],
            Command::Rename(rename) => vec![rename.parent, rename.new_parent],
            _ => Vec::new(),
        };
        folders.dedup();
        let found = folders.into_iter().map(|folder| self.state.find_inode(folder));
        found.filter_map(|found| Some(found.transpose()?.map(|inode| inode.attributes()))).collect()
    }

    /// Dates the root with the first command's time: before it nobody could tell the time.
    fn date_root(&mut self, time: i64) -> Result<(), Fault> {
        let root = self.state.inode_of(InodeId::ROOT.0, "there is no root")?;
        if root.version == 1 && root.ctime == 0 {
            self.state.put_root(time);
            self.state.store.commit();
        }
        Ok(())
    }
}

impl State {
    fn put_root(&mut self, time: i64) {
        let mut root = Inode::new(InodeId::ROOT.0, FileKind::Folder, ROOT_MODE, time);
        root.parent = InodeId::ROOT.0;
        self.put_inode(&root);
    }

    fn load_sessions(&mut self) -> Result<(), Fault> {
        for key in self.store.keys(&[key::SESSION], usize::MAX)? {
            let id = key::number(&key, 1).unwrap_or(0);
            if let Some(live) = self.load_session(id)? {
                self.sessions.insert(id, live);
            }
        }
        Ok(())
    }

    /// Runs one request and remembers its outcome; what a refusal or a fault left behind is undone.
    fn execute(&mut self, time: i64, request: &Request) -> Result<Outcome, Fault> {
        let Some(command) = &request.command else {
            return Ok(Failure::new(FailureKind::Invalid).into());
        };
        if request.session == 0 {
            if !is_for_cluster(command) {
                return Ok(Failure::new(FailureKind::SessionEnded).into());
            }
            return self.run(time, request, command);
        }
        match self.admit(request) {
            Ok(None) => {}
            Ok(Some(before)) => return Ok(before),
            Err(Stop::Refused(failure)) => return Ok(failure.into()),
            Err(Stop::Fault(fault)) => return Err(fault),
        }
        let outcome = self.run(time, request, command)?;
        self.remember(request.session, request.number, &outcome);
        self.forget(request);
        self.keep();
        Ok(outcome)
    }

    fn run(&mut self, time: i64, request: &Request, command: &Command) -> Result<Outcome, Fault> {
        let totals = self.totals;
        let nobody = Caller::default();
        let caller = request.caller.as_ref().unwrap_or(&nobody);
        let mut step = Step { state: self, time, session: request.session, caller };
        let stop = match step.run(command) {
            Ok(body) => {
                self.keep();
                return Ok(body.into());
            }
            Err(stop) => stop,
        };
        self.totals = totals;
        self.undo()?;
        match stop {
            Stop::Refused(failure) => Ok(failure.into()),
            Stop::Fault(fault) => Err(fault),
        }
    }

    /// The running command's changes stay.
    fn keep(&mut self) {
        self.store.commit();
        self.touched.clear();
    }

    /// The running command's changes go.
    fn undo(&mut self) -> Result<(), Fault> {
        self.store.rollback();
        for id in std::mem::take(&mut self.touched) {
            match self.load_session(id)? {
                Some(live) => self.sessions.insert(id, live),
                None => self.sessions.remove(&id),
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
