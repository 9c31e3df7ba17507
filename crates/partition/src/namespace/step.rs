//! One command while it runs: what it may touch, and the dispatch to its handler.
//!
//! Handlers are in the files named after families of commands. Each checks first and changes then,
//! but need not be careful about it: a refusal undoes what was changed.

use super::fault::{Stop, require};
use super::inode::Inode;
use super::state::State;
use types::limits;
use types::namespace::outcome_body::OutcomeBody;
use types::namespace::{Caller, Command, Done, Failure, FailureKind};

/// The state and who asks, for the time of one command.
pub(super) struct Step<'a> {
    pub state: &'a mut State,
    /// The leader's stamp, nanoseconds since 1970.
    pub time: i64,
    /// Zero: the cluster itself.
    pub session: u64,
    pub caller: &'a Caller,
}

pub(super) type Handled = Result<OutcomeBody, Stop>;

pub(super) const DONE: OutcomeBody = OutcomeBody::Done(Done {});

impl Step<'_> {
    pub(super) fn run(&mut self, command: &Command) -> Handled {
        match command {
            Command::Create(create) => self.create(create),
            Command::Link(link) => self.link(link),
            Command::Unlink(unlink) => self.unlink(unlink),
            Command::Rename(rename) => self.rename(rename),
            Command::SetAttributes(set) => self.set_attributes(set),
            Command::SetXattr(set) => self.set_xattr(set),
            Command::RemoveXattr(remove) => self.remove_xattr(remove),
            Command::AllocateChunks(allocate) => self.allocate_chunks(allocate),
            Command::Commit(commit) => self.commit(commit),
            Command::DropChunks(drop) => self.drop_chunks(drop),
            Command::OpenSession(open) => self.open_session(open),
            Command::RenewSession(_) => self.renew_session(),
            Command::CloseSession(_) => self.end_session(self.session),
            Command::ExpireSession(expire) => self.end_session(expire.session),
            Command::SetLock(set) => self.set_lock(set),
            Command::ReleaseLocks(release) => self.release_locks(release),
            Command::Delegate(delegate) => self.delegate(delegate),
            Command::Undelegate(undelegate) => self.undelegate(undelegate),
            Command::Reserve(reserve) => self.reserve(reserve.bytes),
            Command::Unreserve(unreserve) => self.unreserve(unreserve.bytes),
            Command::SetCapacity(set) => self.set_capacity(set),
            Command::Purge(purge) => self.purge(purge),
        }
    }

    /// Refuses while another session may buffer writes of the inode.
    pub(super) fn require_undelegated(&self, inode: &Inode) -> Result<(), Failure> {
        if inode.delegate == 0 || inode.delegate == self.session {
            return Ok(());
        }
        Err(Failure::busy(inode.delegate.into()))
    }
}

/// Refuses commands that name too many things.
pub(super) fn require_few<T>(items: &[T]) -> Result<(), Failure> {
    require(items.len() <= limits::ITEMS_PER_COMMAND_MAX, FailureKind::LimitReached)
}

/// Whether the cluster itself may send this: only what does no harm when it is done twice.
pub(super) fn is_for_cluster(command: &Command) -> bool {
    matches!(
        command,
        Command::OpenSession(_)
            | Command::ExpireSession(_)
            | Command::SetCapacity(_)
            | Command::Purge(_)
    )
}
