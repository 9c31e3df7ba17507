//! Giving names and taking them away.

use super::fault::{Fault, Stop, require};
use super::inode::Inode;
use super::key;
use super::state::check_name;
use super::step::{Handled, Step};
use types::limits;
use types::namespace::outcome_body::OutcomeBody;
use types::namespace::{FailureKind, Link, Linked, Unlink, Unlinked};

impl Step<'_> {
    pub(super) fn link(&mut self, link: &Link) -> Handled {
        let mut inode = self.state.inode(link.inode)?;
        let mut parent = self.state.live_folder(link.parent)?;
        check_name(&link.name)?;
        require(!inode.is_folder(), FailureKind::NotPermitted)?;
        require(inode.nlink > 0, FailureKind::NotFound)?;
        let mut place = self.state.place(parent.id, &link.name)?;
        require(place.entry(&link.name).is_none(), FailureKind::Exists)?;
        require(inode.nlink < limits::LINKS_MAX, FailureKind::TooManyLinks)?;
        place.add(&link.name, &inode)?;
        self.state.put_place(place);
        inode.nlink += 1;
        inode.changed(self.time);
        self.state.put_inode(&inode);
        parent.size += 1;
        parent.modified(self.time);
        self.state.put_inode(&parent);
        let attributes = Some(inode.attributes());
        Ok(OutcomeBody::Linked(Linked { attributes, parent_version: parent.version }))
    }

    pub(super) fn unlink(&mut self, unlink: &Unlink) -> Handled {
        let mut parent = self.state.live_folder(unlink.parent)?;
        check_name(&unlink.name)?;
        let mut place = self.state.place(parent.id, &unlink.name)?;
        let entry = place.entry(&unlink.name).ok_or(Stop::from(FailureKind::NotFound))?;
        let mut inode = self.state.inode_of(entry.inode, "a name leads to no inode")?;
        if unlink.folder {
            require(inode.is_folder(), FailureKind::NotFolder)?;
            require(inode.size == 0, FailureKind::NotEmpty)?;
        } else {
            require(!inode.is_folder(), FailureKind::IsFolder)?;
        }
        place.remove(&unlink.name)?;
        self.state.put_place(place);
        parent.size -= 1;
        self.lose_name(&mut inode, &mut parent)?;
        parent.modified(self.time);
        self.state.put_inode(&parent);
        let attributes = Some(inode.attributes());
        Ok(OutcomeBody::Unlinked(Unlinked { attributes, parent_version: parent.version }))
    }

    /// Takes one name in `parent` away from `inode`, and writes `inode`. Without names it is an orphan.
    pub(super) fn lose_name(&mut self, inode: &mut Inode, parent: &mut Inode) -> Result<(), Fault> {
        let lost = Fault::Contradiction { what: "more names than links", inode: inode.id };
        if inode.is_folder() {
            inode.nlink = 0;
            parent.nlink = parent.nlink.checked_sub(1).ok_or(lost)?;
        } else {
            inode.nlink = inode.nlink.checked_sub(1).ok_or(lost)?;
        }
        inode.changed(self.time);
        self.state.put_inode(inode);
        if inode.nlink == 0 {
            let since = self.time.to_le_bytes().to_vec();
            self.state.store.put(key::one(key::ORPHAN, inode.id), since);
            self.state.totals.orphans += 1;
        }
        Ok(())
    }
}
