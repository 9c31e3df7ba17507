//! What the volume may hold, and getting back what orphans held.

use super::fault::Fault;
use super::inode::Inode;
use super::key::{self, Holding};
use super::step::{DONE, Handled, Step, require_few};
use types::limits;
use types::namespace::outcome_body::OutcomeBody;
use types::namespace::{Purge, Purged, SetCapacity};

impl Step<'_> {
    pub(super) fn set_capacity(&mut self, set: &SetCapacity) -> Handled {
        self.state.totals.capacity = set.bytes;
        self.state.totals.inodes_max = set.inodes;
        Ok(DONE)
    }

    /// Removes orphans, as many as one command may; the rest stay listed and are purged by the next.
    pub(super) fn purge(&mut self, purge: &Purge) -> Handled {
        require_few(&purge.inodes)?;
        let mut purged = Purged::default();
        let mut keys_left = limits::PURGE_KEYS_MAX;
        for id in &purge.inodes {
            let found = self.state.find_inode(*id)?;
            let Some(inode) = found.filter(|inode| inode.nlink == 0) else { continue };
            if !self.remove_belongings(&inode, &mut keys_left)? {
                break;
            }
            self.remove_orphan(&inode)?;
            purged.inodes += 1;
            purged.bytes += inode.allocated;
        }
        Ok(OutcomeBody::Purged(purged))
    }

    /// Removes chunks, as many as may be, and then attributes; says whether all are gone.
    fn remove_belongings(&mut self, inode: &Inode, keys_left: &mut usize) -> Result<bool, Fault> {
        if inode.chunks {
            let chunks = key::one(key::CHUNK, inode.id);
            let keys = self.state.store.keys(&chunks, *keys_left + 1)?;
            let all = keys.len() <= *keys_left;
            for key in keys.into_iter().take(*keys_left) {
                self.state.store.remove(key);
                *keys_left -= 1;
            }
            if !all {
                return Ok(false);
            }
        }
        if inode.xattrs > 0 {
            for key in self.state.store.keys(&key::one(key::XATTR, inode.id), usize::MAX)? {
                self.state.store.remove(key);
            }
        }
        Ok(true)
    }

    fn remove_orphan(&mut self, inode: &Inode) -> Result<(), Fault> {
        let table = self.state.locks(inode.id)?;
        let mut holders: Vec<u64> = table.locks.iter().map(|lock| lock.session).collect();
        holders.sort_unstable();
        holders.dedup();
        for session in holders {
            self.state.unhold(session, Holding::Locks, inode.id);
        }
        if !table.locks.is_empty() {
            self.state.store.remove(key::one(key::LOCKS, inode.id));
        }
        if inode.delegate != 0 {
            self.state.unhold(inode.delegate, Holding::Delegation, inode.id);
        }
        self.state.store.remove(key::one(key::ORPHAN, inode.id));
        self.state.store.remove(key::inode(inode.id));
        let totals = &mut self.state.totals;
        totals.used = totals.used.saturating_sub(inode.allocated);
        totals.inodes = totals.inodes.saturating_sub(1);
        totals.orphans = totals.orphans.saturating_sub(1);
        Ok(())
    }
}
