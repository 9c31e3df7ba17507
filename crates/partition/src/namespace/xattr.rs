//! Extended attributes. Two of them are access control lists and go with the mode.

use super::acl::{self, Acl};
use super::attributes::changed;
use super::fault::{Stop, require};
use super::inode::{Inode, SETGID};
use super::key;
use super::step::{Handled, Step};
use bytes::Bytes;
use types::limits;
use types::namespace::{FailureKind, FileKind, RemoveXattr, SetXattr, XattrMode};

impl Step<'_> {
    pub(super) fn set_xattr(&mut self, set: &SetXattr) -> Handled {
        let mut inode = self.state.inode(set.inode)?;
        check_name(&set.name)?;
        let fits = set.value.len() <= limits::XATTR_VALUE_BYTES_MAX;
        require(fits, FailureKind::AttributeTooLarge)?;
        let exists = self.state.xattr(inode.id, &set.name)?.is_some();
        match set.mode() {
            XattrMode::Create => require(!exists, FailureKind::Exists)?,
            XattrMode::Replace => require(exists, FailureKind::NoAttribute)?,
            XattrMode::Any => {}
        }
        match set.name.as_ref() {
            acl::ACCESS => self.set_access_list(set, &mut inode, exists)?,
            acl::DEFAULT => self.set_default_list(set, &mut inode, exists)?,
            _ => self.put_xattr(&mut inode, &set.name, set.value.clone(), exists)?,
        }
        inode.changed(self.time);
        self.state.put_inode(&inode);
        Ok(changed(&inode))
    }

    pub(super) fn remove_xattr(&mut self, remove: &RemoveXattr) -> Handled {
        let mut inode = self.state.inode(remove.inode)?;
        check_name(&remove.name)?;
        let exists = self.state.xattr(inode.id, &remove.name)?.is_some();
        require(exists, FailureKind::NoAttribute)?;
        self.drop_xattr(&mut inode, &remove.name);
        inode.changed(self.time);
        self.state.put_inode(&inode);
        Ok(changed(&inode))
    }

    /// The mode follows the list; a list that says no more than the mode is not kept.
    fn set_access_list(
        &mut self,
        set: &SetXattr,
        inode: &mut Inode,
        exists: bool,
    ) -> Result<(), Stop> {
        require(inode.kind != FileKind::Symlink, FailureKind::NotSupported)?;
        let list = Acl::parse(&set.value)?;
        if let Some(list) = &list {
            inode.mode = (inode.mode & !0o777) | list.mode_bits();
        }
        if set.clear_setgid {
            inode.mode &= !SETGID;
        }
        match list {
            Some(list) if !list.is_plain() => {
                self.put_xattr(inode, &set.name, list.encode().into(), exists)?;
                inode.acl_access = true;
            }
            _ if exists => self.drop_xattr(inode, &set.name),
            _ => {}
        }
        Ok(())
    }

    fn set_default_list(
        &mut self,
        set: &SetXattr,
        inode: &mut Inode,
        exists: bool,
    ) -> Result<(), Stop> {
        require(inode.kind != FileKind::Symlink, FailureKind::NotSupported)?;
        let list = Acl::parse(&set.value)?;
        require(inode.is_folder() || list.is_none(), FailureKind::NotPermitted)?;
        match list {
            Some(list) => {
                self.put_xattr(inode, &set.name, list.encode().into(), exists)?;
                inode.acl_default = true;
            }
            None if exists => self.drop_xattr(inode, &set.name),
            None => {}
        }
        Ok(())
    }

    fn put_xattr(
        &mut self,
        inode: &mut Inode,
        name: &[u8],
        value: Bytes,
        exists: bool,
    ) -> Result<(), Stop> {
        if !exists {
            let room = inode.xattrs < limits::XATTRS_PER_INODE_MAX;
            require(room, FailureKind::NoSpace)?;
            inode.xattrs += 1;
        }
        self.state.store.put(key::xattr(inode.id, name), value);
        Ok(())
    }

    /// Removes an attribute that exists.
    fn drop_xattr(&mut self, inode: &mut Inode, name: &[u8]) {
        inode.xattrs = inode.xattrs.saturating_sub(1);
        inode.acl_access &= name != acl::ACCESS;
        inode.acl_default &= name != acl::DEFAULT;
        self.state.store.remove(key::xattr(inode.id, name));
    }
}

/// A name that an extended attribute may have.
fn check_name(name: &[u8]) -> Result<(), Stop> {
    let short = name.len() <= limits::XATTR_NAME_BYTES_MAX;
    require(short, FailureKind::AttributeNameTooLong)?;
    require(!name.is_empty() && !name.contains(&0), FailureKind::Invalid)?;
    Ok(())
}
