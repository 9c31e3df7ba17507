//! Making inodes: files, folders, symbolic links, special files.

use super::acl::{self, Acl};
use super::fault::{Fault, Stop, require};
use super::inode::{GROUP_EXECUTE, Inode, MODE_MASK, SETGID};
use super::key::{self, Holding};
use super::state::{Place, check_name};
use super::step::{Handled, Step};
use bytes::Bytes;
use types::limits;
use types::namespace::outcome_body::OutcomeBody;
use types::namespace::{Create, Created, FailureKind, FileKind};

impl Step<'_> {
    pub(super) fn create(&mut self, create: &Create) -> Handled {
        let parent = self.state.live_folder(create.parent)?;
        check_name(&create.name)?;
        let place = self.state.place(parent.id, &create.name)?;
        if let Some(entry) = place.entry(&create.name) {
            require(!create.exclusive && create.kind() == FileKind::File, FailureKind::Exists)?;
            let found = self.state.inode_of(entry.inode, "a name leads to no inode")?;
            return Ok(created(&found, true, &parent));
        }
        self.require_inode_room()?;
        let mut inode = self.new_inode(create, &parent)?;
        self.inherit_access(create, &parent, &mut inode)?;
        self.delegate_at_birth(create, &mut inode)?;
        self.enter(parent, place, &create.name, inode)
    }

    fn require_inode_room(&self) -> Result<(), Stop> {
        let totals = &self.state.totals;
        let room = totals.inodes_max == 0 || totals.inodes < totals.inodes_max;
        Ok(require(room, FailureKind::NoSpace)?)
    }

    /// The inode with its owner, before access lists.
    fn new_inode(&self, create: &Create, parent: &Inode) -> Result<Inode, Stop> {
        let kind = create.kind();
        require(kind != FileKind::Unknown, FailureKind::Invalid)?;
        let mut inode =
            Inode::new(self.state.totals.inode_next, kind, create.mode & MODE_MASK, self.time);
        (inode.uid, inode.gid) = (self.caller.uid, self.caller.gid);
        if parent.mode & SETGID != 0 {
            self.inherit_group(parent, &mut inode);
        }
        match kind {
            FileKind::File => inode.first_chunk = create.first_chunk,
            FileKind::Folder => inode.parent = parent.id,
            FileKind::CharDevice | FileKind::BlockDevice => inode.rdev = create.rdev,
            FileKind::Symlink => {
                require(!create.target.is_empty(), FailureKind::NotFound)?;
                let short = create.target.len() <= limits::SYMLINK_BYTES_MAX;
                require(short, FailureKind::NameTooLong)?;
                inode.mode = 0o777;
                inode.size = create.target.len() as u64;
                inode.target = create.target.clone();
            }
            FileKind::Fifo | FileKind::Socket | FileKind::Unknown => {}
        }
        Ok(inode)
    }

    /// In a setgid folder the group comes from the folder; folders hand the bit on. A file may
    /// not be made setgid for a group that its maker is not in.
    fn inherit_group(&self, parent: &Inode, inode: &mut Inode) {
        inode.gid = parent.gid;
        if inode.is_folder() {
            inode.mode |= SETGID;
        } else if inode.mode & GROUP_EXECUTE != 0 && !self.is_in_group(parent.gid) {
            inode.mode &= !SETGID;
        }
    }

    fn is_in_group(&self, gid: u32) -> bool {
        self.caller.uid == 0 || self.caller.gid == gid || self.caller.groups.contains(&gid)
    }

    /// Applies the folder's default list, or else the umask.
    fn inherit_access(
        &mut self,
        create: &Create,
        parent: &Inode,
        inode: &mut Inode,
    ) -> Result<(), Stop> {
        if inode.kind == FileKind::Symlink {
            return Ok(());
        }
        let Some(value) = self.default_list(parent)? else {
            inode.mode &= !(create.umask & 0o777);
            return Ok(());
        };
        let parsed = Acl::parse(&value).ok().flatten();
        let list = parsed.ok_or(Fault::Contradiction {
            what: "a stored access list is not valid",
            inode: parent.id,
        })?;
        let inherited = list.inherit(inode.mode);
        inode.mode = inherited.mode;
        if let Some(access) = inherited.access {
            inode.acl_access = true;
            inode.xattrs += 1;
            self.state.store.put(key::xattr(inode.id, acl::ACCESS), access.encode());
        }
        if inode.is_folder() {
            inode.acl_default = true;
            inode.xattrs += 1;
            self.state.store.put(key::xattr(inode.id, acl::DEFAULT), value);
        }
        Ok(())
    }

    fn default_list(&self, parent: &Inode) -> Result<Option<Bytes>, Fault> {
        if !parent.acl_default {
            return Ok(None);
        }
        self.state.xattr(parent.id, acl::DEFAULT)
    }

    fn delegate_at_birth(&mut self, create: &Create, inode: &mut Inode) -> Result<(), Stop> {
        if !create.delegate || inode.kind != FileKind::File || self.session == 0 {
            return Ok(());
        }
        match self.state.hold(self.session, Holding::Delegation, inode.id) {
            Ok(()) => inode.delegate = self.session,
            // It holds too many already: the file is made all the same.
            Err(Stop::Refused(_)) => {}
            Err(fault) => return Err(fault),
        }
        Ok(())
    }

    /// Puts the finished inode under its name.
    fn enter(
        &mut self,
        mut parent: Inode,
        mut place: Place,
        name: &Bytes,
        inode: Inode,
    ) -> Handled {
        self.state.totals.inode_next += 1;
        self.state.totals.inodes += 1;
        place.add(name, &inode)?;
        self.state.put_place(place);
        self.state.put_inode(&inode);
        parent.size += 1;
        if inode.is_folder() {
            parent.nlink += 1;
        }
        parent.modified(self.time);
        self.state.put_inode(&parent);
        Ok(created(&inode, false, &parent))
    }
}

fn created(inode: &Inode, existed: bool, parent: &Inode) -> OutcomeBody {
    OutcomeBody::Created(Created {
        attributes: Some(inode.attributes()),
        existed,
        parent_version: parent.version,
    })
}
