//! Changing attributes, and making written data part of files.

use super::acl::{self, Acl};
use super::fault::{Fault, Stop, require};
use super::inode::{Inode, MODE_MASK};
use super::key;
use super::step::{Handled, Step, require_few};
use types::limits;
use types::namespace::outcome_body::OutcomeBody;
use types::namespace::time_change::To;
use types::namespace::{
    Changed, Commit, CommitItem, Committed, CommittedItem, FailureKind, FileKind, SetAttributes,
    TimeChange,
};

/// Data partitions store in blocks of this size, so a file of one byte takes this much.
const BLOCK_BYTES: u64 = 4096;

impl Step<'_> {
    pub(super) fn set_attributes(&mut self, set: &SetAttributes) -> Handled {
        let mut inode = self.state.inode(set.inode)?;
        if let Some(size) = set.size {
            self.truncate(&mut inode, size, set.allocated_delta)?;
        } else if set.allocated_delta != 0 {
            let allocated = moved(inode.allocated, set.allocated_delta);
            self.state.account(&mut inode, allocated);
        }
        let owner_changes = set.uid.is_some() || set.gid.is_some();
        inode.uid = set.uid.unwrap_or(inode.uid);
        inode.gid = set.gid.unwrap_or(inode.gid);
        if let Some(mode) = set.mode {
            inode.mode = mode & MODE_MASK;
            self.follow_chmod(&inode)?;
        } else if owner_changes || set.clear_setid {
            inode.clear_setid();
        }
        inode.atime = self.time_of(set.atime, inode.atime);
        inode.mtime = self.time_of(set.mtime, inode.mtime);
        inode.changed(self.time);
        self.state.put_inode(&inode);
        Ok(changed(&inode))
    }

    fn truncate(&mut self, inode: &mut Inode, size: u64, delta: i64) -> Result<(), Stop> {
        require(!inode.is_folder(), FailureKind::IsFolder)?;
        require(inode.kind == FileKind::File, FailureKind::Invalid)?;
        require(size <= limits::FILE_BYTES_MAX, FailureKind::FileTooLarge)?;
        self.require_undelegated(inode)?;
        let mut allocated = moved(inode.allocated, delta);
        if size < inode.size {
            allocated = allocated.min(size.next_multiple_of(BLOCK_BYTES));
        }
        self.state.account(inode, allocated);
        inode.size = size;
        // What lay behind the new end was taken from the data partitions before.
        inode.unsettled = false;
        inode.mtime = self.time;
        Ok(())
    }

    /// Lets the access list say what the new mode says.
    fn follow_chmod(&mut self, inode: &Inode) -> Result<(), Fault> {
        if !inode.acl_access {
            return Ok(());
        }
        let value = self.state.xattr(inode.id, acl::ACCESS)?.unwrap_or_default();
        let list = Acl::parse(&value).ok().flatten();
        let mut list = list.ok_or(Fault::Contradiction {
            what: "a stored access list is not valid",
            inode: inode.id,
        })?;
        list.chmod(inode.mode);
        self.state.store.put(key::xattr(inode.id, acl::ACCESS), list.encode());
        Ok(())
    }

    fn time_of(&self, change: Option<TimeChange>, before: i64) -> i64 {
        match change.and_then(|change| change.to) {
            None => before,
            Some(To::Now(_)) => self.time,
            Some(To::At(time)) => time,
        }
    }

    pub(super) fn commit(&mut self, commit: &Commit) -> Handled {
        require_few(&commit.items)?;
        let mut items = Vec::with_capacity(commit.items.len());
        for item in &commit.items {
            items.push(match self.commit_item(item) {
                Ok(inode) => CommittedItem { attributes: Some(inode.attributes()), failure: None },
                Err(Stop::Refused(failure)) => {
                    CommittedItem { attributes: None, failure: Some(failure) }
                }
                Err(fault) => return Err(fault),
            });
        }
        Ok(OutcomeBody::Committed(Committed { items }))
    }

    /// Changes nothing when it refuses, because the other items are not undone.
    fn commit_item(&mut self, item: &CommitItem) -> Result<Inode, Stop> {
        let mut inode = self.state.inode(item.inode)?;
        require(inode.kind == FileKind::File, FailureKind::Invalid)?;
        // Who settles what was settled meanwhile looked before that.
        let grows = !item.settled || inode.unsettled;
        let at_least = item.size_at_least.filter(|_| grows).unwrap_or(0).max(inode.size);
        let size = item.size_exact.unwrap_or(at_least);
        require(size <= limits::FILE_BYTES_MAX, FailureKind::FileTooLarge)?;
        self.require_undelegated(&inode)?;
        inode.size = size;
        let allocated =
            item.allocated_exact.unwrap_or(moved(inode.allocated, item.allocated_delta));
        self.state.account(&mut inode, allocated);
        self.use_reservation(item.reservation_used);
        if item.clear_setid {
            inode.clear_setid();
        }
        if item.settled && inode.delegate != 0 {
            inode.unsettled = false;
        }
        inode.atime = item.atime.map_or(inode.atime, |atime| atime.max(inode.atime));
        if item.keep_times {
            inode.version += 1;
        } else {
            inode.mtime = item.mtime.unwrap_or(self.time);
            inode.changed(self.time);
        }
        self.state.put_inode(&inode);
        Ok(inode)
    }

    /// What was reserved is counted as used by the inode from now on.
    fn use_reservation(&mut self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        if let Ok(session) = self.state.session(self.session) {
            let mut session = session.clone();
            let used = bytes.min(session.reserved);
            session.reserved -= used;
            self.state.totals.reserved = self.state.totals.reserved.saturating_sub(used);
            self.state.put_session(session);
        }
    }
}

/// `bytes` moved by `delta`, never below zero.
pub(super) fn moved(bytes: u64, delta: i64) -> u64 {
    bytes.saturating_add_signed(delta)
}

pub(super) fn changed(inode: &Inode) -> OutcomeBody {
    OutcomeBody::Changed(Changed { attributes: Some(inode.attributes()) })
}
