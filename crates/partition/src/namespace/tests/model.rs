//! The reference: a tree as plain as can be, and what each command does to it.
//!
//! It is the definition of correct for names, kinds, links, sizes, owners, attributes and accounting.
//! It knows one session only, and nothing of stores, hashes, buckets or versions.

use std::collections::{BTreeMap, BTreeSet};
use types::limits;
use types::namespace::{Command, CommitItem, Create, FailureKind, FileKind, Rename, XattrMode};

#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub kind: i32,
    pub mode: u32,
    pub owner: (u32, u32),
    pub size: u64,
    pub allocated: u64,
    pub target: Vec<u8>,
    pub names: BTreeMap<Vec<u8>, u64>,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub chunks: BTreeMap<u64, u64>,
}

#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub nodes: BTreeMap<u64, Node>,
    pub next: u64,
    pub reserved: u64,
    pub capacity: u64,
    pub caller: (u32, u32),
}

type Done = Result<(), FailureKind>;

impl Node {
    pub(super) fn is_folder(&self) -> bool {
        self.kind == i32::from(FileKind::Folder)
    }

    fn is_file(&self) -> bool {
        self.kind == i32::from(FileKind::File)
    }
}

fn check(condition: bool, kind: FailureKind) -> Done {
    if condition { Ok(()) } else { Err(kind) }
}

impl Tree {
    pub(super) fn new() -> Tree {
        let root = Node { kind: FileKind::Folder.into(), mode: 0o755, ..Node::default() };
        let nodes = BTreeMap::from([(1, root)]);
        Tree { nodes, next: 2, reserved: 0, capacity: u64::MAX, caller: (1000, 1000) }
    }

    /// How many names lead to an inode; of a folder, 2 and its sub-folders, or 0 without a name.
    pub(super) fn nlink(&self, id: u64) -> u64 {
        let names: u64 = self
            .nodes
            .values()
            .map(|node| node.names.values().filter(|to| **to == id).count() as u64)
            .sum();
        if !self.nodes[&id].is_folder() {
            return names;
        }
        if names == 0 && id != 1 {
            return 0;
        }
        2 + self.nodes[&id].names.values().filter(|to| self.nodes[to].is_folder()).count() as u64
    }

    pub(super) fn used(&self) -> u64 {
        self.nodes.values().map(|node| node.allocated).sum()
    }

    pub(super) fn orphans(&self) -> BTreeSet<u64> {
        self.nodes.keys().copied().filter(|id| self.nlink(*id) == 0).collect()
    }

    fn node(&mut self, id: u64) -> Result<&mut Node, FailureKind> {
        self.nodes.get_mut(&id).ok_or(FailureKind::Stale)
    }

    fn folder(&mut self, id: u64) -> Result<&mut Node, FailureKind> {
        check(self.node(id)?.is_folder(), FailureKind::NotFolder)?;
        check(self.nlink(id) > 0, FailureKind::NotFound)?;
        self.node(id)
    }

    fn file(&mut self, id: u64) -> Result<&mut Node, FailureKind> {
        let node = self.node(id)?;
        check(node.is_file(), FailureKind::Invalid)?;
        Ok(node)
    }

    pub(super) fn run(&mut self, command: &Command) -> Done {
        match command {
            Command::Create(create) => self.create(create),
            Command::Link(link) => {
                self.node(link.inode)?;
                let taken = self.folder(link.parent)?.names.contains_key(link.name.as_ref());
                check(!self.node(link.inode)?.is_folder(), FailureKind::NotPermitted)?;
                check(self.nlink(link.inode) > 0, FailureKind::NotFound)?;
                check(!taken, FailureKind::Exists)?;
                self.folder(link.parent)?.names.insert(link.name.to_vec(), link.inode);
                Ok(())
            }
            Command::Unlink(unlink) => {
                let names = &self.folder(unlink.parent)?.names;
                let id = *names.get(unlink.name.as_ref()).ok_or(FailureKind::NotFound)?;
                let node = self.node(id)?;
                if unlink.folder {
                    check(node.is_folder(), FailureKind::NotFolder)?;
                    check(node.names.is_empty(), FailureKind::NotEmpty)?;
                } else {
                    check(!node.is_folder(), FailureKind::IsFolder)?;
                }
                self.folder(unlink.parent)?.names.remove(unlink.name.as_ref());
                Ok(())
            }
            Command::Rename(rename) => self.rename(rename),
            Command::SetAttributes(set) => {
                let node = self.node(set.inode)?;
                if let Some(size) = set.size {
                    check(!node.is_folder(), FailureKind::IsFolder)?;
                    check(node.is_file(), FailureKind::Invalid)?;
                    if size < node.size {
                        node.allocated = node.allocated.min(size.div_ceil(4096) * 4096);
                    }
                    node.size = size;
                }
                node.owner.0 = set.uid.unwrap_or(node.owner.0);
                node.mode = match set.mode {
                    Some(mode) => mode,
                    None if set.uid.is_some() && !node.is_folder() => without_setid(node.mode),
                    None => node.mode,
                };
                Ok(())
            }
            Command::SetXattr(set) => {
                let exists = self.node(set.inode)?.xattrs.contains_key(set.name.as_ref());
                check(!(exists && set.mode() == XattrMode::Create), FailureKind::Exists)?;
                check(exists || set.mode() != XattrMode::Replace, FailureKind::NoAttribute)?;
                self.node(set.inode)?.xattrs.insert(set.name.to_vec(), set.value.to_vec());
                Ok(())
            }
            Command::RemoveXattr(remove) => {
                let gone = self.node(remove.inode)?.xattrs.remove(remove.name.as_ref());
                check(gone.is_some(), FailureKind::NoAttribute)
            }
            Command::AllocateChunks(allocate) => {
                let node = self.file(allocate.inode)?;
                for wanted in &allocate.wanted {
                    node.chunks.entry(wanted.chunk).or_insert(wanted.partition);
                }
                Ok(())
            }
            Command::DropChunks(drop) => {
                self.file(drop.inode)?.chunks.retain(|chunk, _| *chunk < drop.first);
                Ok(())
            }
            Command::Commit(commit) => {
                for item in &commit.items {
                    let _ = self.commit(item);
                }
                Ok(())
            }
            Command::Reserve(reserve) => {
                let left = self.capacity.saturating_sub(self.used()).saturating_sub(self.reserved);
                check(reserve.bytes <= left, FailureKind::NoSpace)?;
                self.reserved += reserve.bytes;
                Ok(())
            }
            Command::Unreserve(unreserve) => {
                self.reserved = self.reserved.saturating_sub(unreserve.bytes);
                Ok(())
            }
            Command::SetCapacity(set) => {
                self.capacity = set.bytes;
                Ok(())
            }
            Command::Purge(purge) => {
                let orphans = self.orphans();
                self.nodes.retain(|id, _| !(orphans.contains(id) && purge.inodes.contains(id)));
                Ok(())
            }
            other => panic!("the model does not know {other:?}"),
        }
    }

    fn create(&mut self, create: &Create) -> Done {
        let names = &self.folder(create.parent)?.names;
        check(create.name.len() <= limits::NAME_BYTES_MAX, FailureKind::NameTooLong)?;
        if names.contains_key(create.name.as_ref()) {
            let opens = !create.exclusive && create.kind() == FileKind::File;
            return check(opens, FailureKind::Exists);
        }
        let (parent_mode, parent_gid) =
            (self.nodes[&create.parent].mode, self.nodes[&create.parent].owner.1);
        let link = create.kind() == FileKind::Symlink;
        let folder = create.kind() == FileKind::Folder;
        let mut mode = if link { 0o777 } else { create.mode & !create.umask };
        let mut owner = self.caller;
        if parent_mode & 0o2000 != 0 {
            let outsider = parent_gid != self.caller.1;
            owner.1 = parent_gid;
            if folder {
                mode |= 0o2000;
            } else if create.mode & 0o10 != 0 && outsider {
                mode &= !0o2000;
            }
        }
        let node = Node {
            kind: create.kind,
            mode,
            owner,
            size: create.target.len() as u64,
            target: create.target.to_vec(),
            ..Node::default()
        };
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, node);
        self.folder(create.parent)?.names.insert(create.name.to_vec(), id);
        Ok(())
    }

    fn rename(&mut self, rename: &Rename) -> Done {
        check(!(rename.exchange && rename.no_replace), FailureKind::Invalid)?;
        self.folder(rename.parent)?;
        self.folder(rename.new_parent)?;
        let source = self.nodes[&rename.parent].names.get(rename.name.as_ref()).copied();
        let source = source.ok_or(FailureKind::NotFound)?;
        let target = self.nodes[&rename.new_parent].names.get(rename.new_name.as_ref()).copied();
        let apart = rename.parent != rename.new_parent;
        check(!(apart && self.is_above(source, rename.new_parent)), FailureKind::Invalid)?;
        if let Some(target) = target
            && apart
            && self.is_above(target, rename.parent)
        {
            return Err(if rename.exchange { FailureKind::Invalid } else { FailureKind::NotEmpty });
        }
        if let Some(target) = target {
            check(!rename.no_replace, FailureKind::Exists)?;
            if target == source {
                return Ok(());
            }
            if rename.exchange {
                self.folder(rename.parent)?.names.insert(rename.name.to_vec(), target);
                self.folder(rename.new_parent)?.names.insert(rename.new_name.to_vec(), source);
                return Ok(());
            }
            let (moved, replaced) = (&self.nodes[&source], &self.nodes[&target]);
            check(!replaced.is_folder() || moved.is_folder(), FailureKind::IsFolder)?;
            check(replaced.names.is_empty(), FailureKind::NotEmpty)?;
            check(replaced.is_folder() || !moved.is_folder(), FailureKind::NotFolder)?;
        } else {
            check(!rename.exchange, FailureKind::NotFound)?;
        }
        self.folder(rename.parent)?.names.remove(rename.name.as_ref());
        // Not `folder`: with its name away, the new parent may for a moment look removed.
        self.node(rename.new_parent)?.names.insert(rename.new_name.to_vec(), source);
        Ok(())
    }

    /// Whether `below` is `id` or somewhere in the tree under it.
    fn is_above(&self, id: u64, below: u64) -> bool {
        id == below || self.nodes[&id].names.values().any(|child| self.is_above(*child, below))
    }

    fn commit(&mut self, item: &CommitItem) -> Done {
        let node = self.file(item.inode)?;
        node.size = item.size_exact.unwrap_or(node.size.max(item.size_at_least.unwrap_or(0)));
        node.allocated = node.allocated.saturating_add_signed(item.allocated_delta);
        if item.clear_setid {
            node.mode = without_setid(node.mode);
        }
        self.reserved = self.reserved.saturating_sub(item.reservation_used);
        Ok(())
    }
}

fn without_setid(mode: u32) -> u32 {
    if mode & 0o10 != 0 { mode & !0o6000 } else { mode & !0o4000 }
}
