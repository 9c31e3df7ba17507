//! Moving names, with `RENAME_NOREPLACE` and `RENAME_EXCHANGE`.

use super::entry::Entry;
use super::fault::{Fault, Stop, require};
use super::inode::Inode;
use super::state::check_name;
use super::step::{Handled, Step};
use types::InodeId;
use types::namespace::outcome_body::OutcomeBody;
use types::namespace::{FailureKind, Rename, Renamed};

/// Folders above one another that are followed before the tree is taken for a circle.
const DEPTH_MAX: usize = 1 << 20;

impl Step<'_> {
    pub(super) fn rename(&mut self, rename: &Rename) -> Handled {
        require(!(rename.no_replace && rename.exchange), FailureKind::Invalid)?;
        let from = self.state.live_folder(rename.parent)?;
        let to = self.state.live_folder(rename.new_parent)?;
        check_name(&rename.name)?;
        check_name(&rename.new_name)?;
        let source = self.state.entry(from.id, &rename.name)?;
        let source = source.ok_or(Stop::from(FailureKind::NotFound))?;
        let target = self.state.entry(to.id, &rename.new_name)?;
        self.require_no_circle(&from, &to, &source, target.as_ref(), rename.exchange)?;
        let moved = self.state.inode_of(source.inode, "a name leads to no inode")?;
        let Some(target) = target else {
            require(!rename.exchange, FailureKind::NotFound)?;
            return self.move_name(rename, from, to, moved);
        };
        require(!rename.no_replace, FailureKind::Exists)?;
        if target.inode == source.inode {
            // Two names of one inode, or one name: nothing to do, as POSIX has it.
            return Ok(renamed(&moved, None, &from, &to));
        }
        let replaced = self.state.inode_of(target.inode, "a name leads to no inode")?;
        if rename.exchange {
            self.exchange(rename, from, to, moved, replaced)
        } else {
            self.replace(rename, from, to, moved, replaced)
        }
    }

    /// No folder may end up below itself. A target above the source cannot be replaced: it is not empty.
    fn require_no_circle(
        &self,
        from: &Inode,
        to: &Inode,
        source: &Entry,
        target: Option<&Entry>,
        exchange: bool,
    ) -> Result<(), Stop> {
        if from.id == to.id {
            return Ok(());
        }
        let is_folder = |entry: &Entry| entry.kind == types::namespace::FileKind::Folder;
        if is_folder(source) && self.is_above(source.inode, to)? {
            return Err(FailureKind::Invalid.into());
        }
        if let Some(target) = target.filter(|target| is_folder(target))
            && self.is_above(target.inode, from)?
        {
            let kind = if exchange { FailureKind::Invalid } else { FailureKind::NotEmpty };
            return Err(kind.into());
        }
        Ok(())
    }

    /// Whether `folder` is `below` itself or any folder above it.
    fn is_above(&self, folder: u64, below: &Inode) -> Result<bool, Fault> {
        let (mut id, mut parent) = (below.id, below.parent);
        for _ in 0..DEPTH_MAX {
            if id == folder {
                return Ok(true);
            }
            if id == InodeId::ROOT.0 {
                return Ok(false);
            }
            let above = self.state.inode_of(parent, "a folder's parent does not exist")?;
            (id, parent) = (above.id, above.parent);
        }
        Err(Fault::Contradiction { what: "folders in a circle", inode: below.id })
    }

    /// Moves the name to where there is none.
    fn move_name(&mut self, rename: &Rename, from: Inode, to: Inode, mut moved: Inode) -> Handled {
        self.state.remove_entry(from.id, &rename.name)?;
        self.state.add_entry(to.id, &rename.new_name, &moved)?;
        moved.changed(self.time);
        let mut folders = Folders::new(from, to);
        folders.from().size -= 1;
        folders.to().size += 1;
        if moved.is_folder() {
            folders.from().nlink -= 1;
            folders.to().nlink += 1;
            moved.parent = folders.to().id;
        }
        self.state.put_inode(&moved);
        let (from, to) = self.finish(folders);
        Ok(renamed(&moved, None, &from, &to))
    }

    /// Moves the name over another, whose inode loses it.
    fn replace(
        &mut self,
        rename: &Rename,
        from: Inode,
        to: Inode,
        mut moved: Inode,
        mut replaced: Inode,
    ) -> Handled {
        if replaced.is_folder() {
            require(moved.is_folder(), FailureKind::IsFolder)?;
            require(replaced.size == 0, FailureKind::NotEmpty)?;
        } else {
            require(!moved.is_folder(), FailureKind::NotFolder)?;
        }
        self.state.remove_entry(from.id, &rename.name)?;
        self.state.point_entry(to.id, &rename.new_name, &moved)?;
        moved.changed(self.time);
        let mut folders = Folders::new(from, to);
        folders.from().size -= 1;
        self.lose_name(&mut replaced, folders.to())?;
        if moved.is_folder() {
            folders.from().nlink -= 1;
            folders.to().nlink += 1;
            moved.parent = folders.to().id;
        }
        self.state.put_inode(&moved);
        let (from, to) = self.finish(folders);
        Ok(renamed(&moved, Some(&replaced), &from, &to))
    }

    /// Lets the two names change what they stand for.
    fn exchange(
        &mut self,
        rename: &Rename,
        from: Inode,
        to: Inode,
        mut moved: Inode,
        mut replaced: Inode,
    ) -> Handled {
        self.state.point_entry(from.id, &rename.name, &replaced)?;
        self.state.point_entry(to.id, &rename.new_name, &moved)?;
        let mut folders = Folders::new(from, to);
        if moved.is_folder() {
            folders.from().nlink -= 1;
            folders.to().nlink += 1;
            moved.parent = folders.to().id;
        }
        if replaced.is_folder() {
            folders.to().nlink -= 1;
            folders.from().nlink += 1;
            replaced.parent = folders.from().id;
        }
        moved.changed(self.time);
        replaced.changed(self.time);
        self.state.put_inode(&moved);
        self.state.put_inode(&replaced);
        let (from, to) = self.finish(folders);
        Ok(renamed(&moved, Some(&replaced), &from, &to))
    }

    /// Writes both folders as modified.
    fn finish(&mut self, folders: Folders) -> (Inode, Inode) {
        match folders {
            Folders::Same(mut folder) => {
                folder.modified(self.time);
                self.state.put_inode(&folder);
                (folder.clone(), folder)
            }
            Folders::Two(mut from, mut to) => {
                from.modified(self.time);
                to.modified(self.time);
                self.state.put_inode(&from);
                self.state.put_inode(&to);
                (from, to)
            }
        }
    }
}

/// The folders a name moves between, which may be one: then both are changed through one value.
enum Folders {
    Same(Inode),
    Two(Inode, Inode),
}

impl Folders {
    fn new(from: Inode, to: Inode) -> Folders {
        if from.id == to.id { Folders::Same(from) } else { Folders::Two(from, to) }
    }

    fn from(&mut self) -> &mut Inode {
        match self {
            Folders::Same(folder) | Folders::Two(folder, _) => folder,
        }
    }

    fn to(&mut self) -> &mut Inode {
        match self {
            Folders::Same(folder) | Folders::Two(_, folder) => folder,
        }
    }
}

fn renamed(moved: &Inode, replaced: Option<&Inode>, from: &Inode, to: &Inode) -> OutcomeBody {
    OutcomeBody::Renamed(Renamed {
        moved: Some(moved.attributes()),
        replaced: replaced.map(Inode::attributes),
        parent_version: from.version,
        new_parent_version: to.version,
    })
}
