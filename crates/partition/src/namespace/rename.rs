//! Moving names, with `RENAME_NOREPLACE` and `RENAME_EXCHANGE`.

use super::entry::Entry;
use super::fault::{Fault, Stop, require};
use super::inode::Inode;
use super::state::{Place, check_name};
use super::step::{Handled, Step};
use types::InodeId;
use types::namespace::outcome_body::OutcomeBody;
use types::namespace::{FailureKind, FileKind, Rename, Renamed};

/// Folders above one another that are followed before the tree is taken for a circle.
const DEPTH_MAX: usize = 1 << 20;

/// What a rename changes: the places of both names, the folders they are in, the inode that moves.
struct Move<'a> {
    rename: &'a Rename,
    places: Pair<Place>,
    folders: Pair<Inode>,
    moved: Inode,
}

impl Step<'_> {
    pub(super) fn rename(&mut self, rename: &Rename) -> Handled {
        require(!(rename.no_replace && rename.exchange), FailureKind::Invalid)?;
        let from = self.state.live_folder(rename.parent)?;
        let to = self.state.live_folder(rename.new_parent)?;
        check_name(&rename.name)?;
        check_name(&rename.new_name)?;
        let place = self.state.place(from.id, &rename.name)?;
        let new_place = self.state.place(to.id, &rename.new_name)?;
        let source = place.entry(&rename.name).cloned();
        let source = source.ok_or(Stop::from(FailureKind::NotFound))?;
        let target = new_place.entry(&rename.new_name).cloned();
        self.require_no_circle(&from, &to, &source, target.as_ref(), rename.exchange)?;
        let moved = self.state.inode_of(source.inode, "a name leads to no inode")?;
        let one_place = place.key == new_place.key;
        let places = Pair::new(place, new_place, one_place);
        let one_folder = from.id == to.id;
        let folders = Pair::new(from, to, one_folder);
        let change = Move { rename, places, folders, moved };
        let Some(target) = target else {
            require(!rename.exchange, FailureKind::NotFound)?;
            return self.move_name(change);
        };
        require(!rename.no_replace, FailureKind::Exists)?;
        if target.inode == source.inode {
            // Two names of one inode, or one name: nothing to do, as POSIX has it.
            return Ok(change.outcome(None));
        }
        let replaced = self.state.inode_of(target.inode, "a name leads to no inode")?;
        if rename.exchange {
            self.exchange(change, replaced)
        } else {
            self.replace(change, replaced)
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
        let is_folder = |entry: &Entry| entry.kind == FileKind::Folder;
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
    fn move_name(&mut self, mut change: Move<'_>) -> Handled {
        change.places.from().remove(&change.rename.name)?;
        change.places.to().add(&change.rename.new_name, &change.moved)?;
        change.folders.from().size -= 1;
        change.folders.to().size += 1;
        change.follow_folder();
        Ok(self.finish(change, None))
    }

    /// Moves the name over another, whose inode loses it.
    fn replace(&mut self, mut change: Move<'_>, mut replaced: Inode) -> Handled {
        if replaced.is_folder() {
            require(change.moved.is_folder(), FailureKind::IsFolder)?;
            require(replaced.size == 0, FailureKind::NotEmpty)?;
        } else {
            require(!change.moved.is_folder(), FailureKind::NotFolder)?;
        }
        change.places.from().remove(&change.rename.name)?;
        change.places.to().point(&change.rename.new_name, &change.moved)?;
        change.folders.from().size -= 1;
        self.lose_name(&mut replaced, change.folders.to())?;
        change.follow_folder();
        Ok(self.finish(change, Some(&replaced)))
    }

    /// Lets the two names change what they stand for.
    fn exchange(&mut self, mut change: Move<'_>, mut replaced: Inode) -> Handled {
        change.places.from().point(&change.rename.name, &replaced)?;
        change.places.to().point(&change.rename.new_name, &change.moved)?;
        change.follow_folder();
        if replaced.is_folder() {
            change.folders.to().nlink -= 1;
            change.folders.from().nlink += 1;
            replaced.parent = change.folders.from().id;
        }
        replaced.changed(self.time);
        self.state.put_inode(&replaced);
        Ok(self.finish(change, Some(&replaced)))
    }

    /// Writes the places, the folders and the inode that moved.
    fn finish(&mut self, mut change: Move<'_>, replaced: Option<&Inode>) -> OutcomeBody {
        change.places.each(|place| self.state.put_place(place.clone()));
        change.folders.each(|folder| {
            folder.modified(self.time);
            self.state.put_inode(folder);
        });
        change.moved.changed(self.time);
        self.state.put_inode(&change.moved);
        change.outcome(replaced)
    }
}

impl Move<'_> {
    /// Lets the folders and the one that moves know of each other, when it is a folder.
    fn follow_folder(&mut self) {
        if self.moved.is_folder() {
            self.folders.from().nlink -= 1;
            self.folders.to().nlink += 1;
            self.moved.parent = self.folders.to().id;
        }
    }

    fn outcome(mut self, replaced: Option<&Inode>) -> OutcomeBody {
        OutcomeBody::Renamed(Renamed {
            moved: Some(self.moved.attributes()),
            replaced: replaced.map(Inode::attributes),
            parent_version: self.folders.from().version,
            new_parent_version: self.folders.to().version,
        })
    }
}

/// Where a name moves from and to, which may be one: then both are changed through one value.
enum Pair<T> {
    One(T),
    Two(T, T),
}

impl<T> Pair<T> {
    fn new(from: T, to: T, one: bool) -> Pair<T> {
        if one { Pair::One(from) } else { Pair::Two(from, to) }
    }

    fn from(&mut self) -> &mut T {
        match self {
            Pair::One(from) | Pair::Two(from, _) => from,
        }
    }

    fn to(&mut self) -> &mut T {
        match self {
            Pair::One(to) | Pair::Two(_, to) => to,
        }
    }

    fn each(&mut self, mut act: impl FnMut(&mut T)) {
        match self {
            Pair::One(one) => act(one),
            Pair::Two(from, to) => {
                act(from);
                act(to);
            }
        }
    }
}
