//! Advisory locks, and delegations: the right of one session to buffer a file's writes.

use super::fault::{Stop, require};
use super::key::Holding;
use super::lock_table::{LockTable, normalized};
use super::step::{DONE, Handled, Step, require_few};
use types::limits;
use types::namespace::outcome_body::OutcomeBody;
use types::namespace::{
    Delegate, Delegated, Failure, FailureKind, FileKind, LockKind, LockMode, ReleaseLocks, SetLock,
    Undelegate,
};

impl Step<'_> {
    pub(super) fn set_lock(&mut self, set: &SetLock) -> Handled {
        let inode = self.state.inode(set.inode)?.id;
        let lock = set.lock.ok_or(Stop::from(FailureKind::Invalid))?;
        // What is not known here would be kept, and could not be read back.
        let known = LockKind::try_from(lock.kind).is_ok() && LockMode::try_from(lock.mode).is_ok();
        require(known, FailureKind::Invalid)?;
        let mut lock = normalized(lock);
        lock.session = self.session;
        require(lock.start <= lock.end, FailureKind::Invalid)?;
        let mut table = self.state.locks(inode)?;
        if let Some(holder) = table.conflict(&lock) {
            return Err(Failure::locked(*holder).into());
        }
        table.set(lock);
        let fits = table.locks.len() <= limits::LOCKS_PER_INODE_MAX;
        require(fits, FailureKind::LimitReached)?;
        self.write_locks(inode, &table)?;
        Ok(DONE)
    }

    pub(super) fn release_locks(&mut self, release: &ReleaseLocks) -> Handled {
        let inode = self.state.inode(release.inode)?.id;
        let mut table = self.state.locks(inode)?;
        let session = self.session;
        let released = table.release(|lock| {
            lock.session == session && lock.owner == release.owner && lock.kind == release.kind
        });
        if released {
            self.write_locks(inode, &table)?;
        }
        Ok(DONE)
    }

    /// Writes the table and notes whether the session holds any of it.
    fn write_locks(&mut self, inode: u64, table: &LockTable) -> Result<(), Stop> {
        let held_before = self.state.locks(inode)?.is_held_by(self.session);
        let held = table.is_held_by(self.session);
        if held && !held_before {
            self.state.hold(self.session, Holding::Locks, inode)?;
        } else if held_before && !held {
            self.state.unhold(self.session, Holding::Locks, inode);
        }
        self.state.put_locks(inode, table);
        Ok(())
    }

    pub(super) fn delegate(&mut self, delegate: &Delegate) -> Handled {
        let mut inode = self.state.inode(delegate.inode)?;
        require(inode.kind == FileKind::File, FailureKind::Invalid)?;
        self.require_undelegated(&inode)?;
        if inode.delegate == 0 {
            self.state.hold(self.session, Holding::Delegation, inode.id)?;
            inode.delegate = self.session;
            self.state.put_inode(&inode);
        }
        Ok(OutcomeBody::Delegated(Delegated { attributes: Some(inode.attributes()) }))
    }

    /// Gives back those that are held; the others are not this session's to give.
    pub(super) fn undelegate(&mut self, undelegate: &Undelegate) -> Handled {
        require_few(&undelegate.inodes)?;
        for id in &undelegate.inodes {
            let held = self.state.find_inode(*id)?;
            let Some(mut inode) = held.filter(|inode| inode.delegate == self.session) else {
                continue;
            };
            self.state.unhold(self.session, Holding::Delegation, inode.id);
            inode.delegate = 0;
            self.state.put_inode(&inode);
        }
        Ok(DONE)
    }
}
