//! Answers, read from the state without changing it. Pages are bounded in entries and in bytes.

use super::entry::{Bucket, cookie, cookie_hash};
use super::fault::{Fault, Stop, require};
use super::inode::Inode;
use super::key;
use super::lock_table::normalized;
use super::state::{State, check_name, decode_number};
use bytes::Bytes;
use std::ops::ControlFlow;
use types::limits;
use types::namespace::{
    AnswerBody, ChunkMap, ChunkMapPage, DirectoryEntry, DirectoryPage, Done, FailureKind, FileKind,
    GetLock, GetXattr, ListOrphans, Lookup, Orphan, OrphanPage, Placement, QueryBody,
    ReadDirectory, SessionList, Usage, XattrList,
};

/// Chunks that are listed with an orphan at once.
const ORPHAN_PLACEMENTS_MAX: usize = 64;

/// What an entry with attributes takes in an answer besides its name, about.
const ENTRY_BYTES: usize = 160;

type Answered = Result<AnswerBody, Stop>;

impl State {
    pub(super) fn answer(&self, query: &QueryBody) -> Answered {
        match query {
            QueryBody::Lookup(lookup) => self.lookup(lookup),
            QueryBody::GetAttributes(get) => {
                Ok(AnswerBody::Attributes(self.inode(get.inode)?.attributes()))
            }
            QueryBody::ReadDirectory(read) => self.read_directory(read),
            QueryBody::ReadLink(read) => {
                let inode = self.inode(read.inode)?;
                require(inode.kind == FileKind::Symlink, FailureKind::Invalid)?;
                Ok(AnswerBody::Bytes(inode.target))
            }
            QueryBody::GetXattr(get) => self.get_xattr(get),
            QueryBody::ListXattr(list) => self.list_xattr(list.inode),
            QueryBody::ChunkMap(map) => self.chunk_map(map),
            QueryBody::Statfs(_) => Ok(AnswerBody::Usage(self.usage())),
            QueryBody::GetLock(get) => self.get_lock(get),
            QueryBody::ListSessions(_) => {
                let sessions = self.sessions.values().map(|live| live.session.clone()).collect();
                Ok(AnswerBody::Sessions(SessionList { sessions }))
            }
            QueryBody::ListOrphans(list) => self.list_orphans(list),
        }
    }

    fn lookup(&self, lookup: &Lookup) -> Answered {
        let parent = self.folder(lookup.parent)?;
        check_name(&lookup.name)?;
        let place = self.place(parent.id, &lookup.name)?;
        let entry = place.entry(&lookup.name).ok_or(Stop::from(FailureKind::NotFound))?;
        let inode = self.inode_of(entry.inode, "a name leads to no inode")?;
        Ok(AnswerBody::Attributes(inode.attributes()))
    }

    fn read_directory(&self, read: &ReadDirectory) -> Answered {
        let folder = self.folder(read.inode)?;
        let (mut entries, end) = self.page_of_names(read)?;
        if read.attributes {
            for entry in &mut entries {
                let inode = self.inode_of(entry.inode, "a name leads to no inode")?;
                entry.attributes = Some(inode.attributes());
            }
        }
        let (parent, version) = (folder.parent, folder.version);
        Ok(AnswerBody::Directory(DirectoryPage { entries, end, parent, version }))
    }

    /// The names after a cookie, and whether they are the last.
    fn page_of_names(&self, read: &ReadDirectory) -> Result<(Vec<DirectoryEntry>, bool), Fault> {
        let entries_max = (read.entries_max as usize).min(limits::DIRECTORY_PAGE_ENTRIES_MAX);
        let mut entries: Vec<DirectoryEntry> = Vec::new();
        let (mut bytes, mut end) = (0, true);
        let from = key::entry(read.inode, cookie_hash(read.after));
        let until = key::after(&key::one(key::ENTRY, read.inode));
        self.store.scan(&from, &until, |key, body| {
            let hash = key::entry_hash(key).unwrap_or(0);
            let bucket = Bucket::decode(body)
                .map_err(|source| Fault::Value { key: super::store::shown(key), source })?;
            for found in bucket.entries {
                let cookie = cookie(hash, found.slot);
                if cookie <= read.after {
                    continue;
                }
                if entries.len() >= entries_max || bytes >= limits::PAGE_BYTES {
                    end = false;
                    return Ok(ControlFlow::Break(()));
                }
                bytes += ENTRY_BYTES + found.name.len();
                let (inode, kind, name) = (found.inode, found.kind.into(), found.name);
                entries.push(DirectoryEntry { name, inode, kind, cookie, attributes: None });
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((entries, end))
    }

    fn get_xattr(&self, get: &GetXattr) -> Answered {
        let inode = self.inode(get.inode)?;
        if inode.xattrs == 0 {
            // The kernel asks for `security.capability` before every write; nearly no file has it.
            return Err(FailureKind::NoAttribute.into());
        }
        let value = self.xattr(inode.id, &get.name)?;
        Ok(AnswerBody::Bytes(value.ok_or(Stop::from(FailureKind::NoAttribute))?))
    }

    fn list_xattr(&self, inode: u64) -> Answered {
        let inode = self.inode(inode)?;
        let mut names = Vec::new();
        if inode.xattrs > 0 {
            let prefix = key::one(key::XATTR, inode.id);
            self.store.scan_prefix(&prefix, |key, _| {
                names.push(Bytes::copy_from_slice(&key[prefix.len()..]));
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(AnswerBody::Xattrs(XattrList { names }))
    }

    fn chunk_map(&self, map: &ChunkMap) -> Answered {
        let inode = self.inode(map.inode)?;
        let wanted = (map.placements_max as usize).min(limits::ITEMS_PER_COMMAND_MAX);
        let (placements, end) = self.placements(&inode, map.first, wanted)?;
        Ok(AnswerBody::Chunks(ChunkMapPage { placements, end }))
    }

    /// The placed chunks from `first` on, `placements_max` at most, and whether they are the last.
    fn placements(
        &self,
        inode: &Inode,
        first: u64,
        placements_max: usize,
    ) -> Result<(Vec<Placement>, bool), Fault> {
        let mut placements = Vec::new();
        let mut end = true;
        if first == 0 && inode.first_chunk != 0 {
            placements.push(Placement { chunk: 0, partition: inode.first_chunk });
        }
        if inode.chunks {
            let from = key::two(key::CHUNK, inode.id, first);
            let until = key::after(&key::one(key::CHUNK, inode.id));
            self.store.scan(&from, &until, |key, body| {
                if placements.len() >= placements_max {
                    end = false;
                    return Ok(ControlFlow::Break(()));
                }
                let chunk = key::number(key, 9).unwrap_or(0);
                let partition = decode_number(body)
                    .map_err(|source| Fault::Value { key: super::store::shown(key), source })?;
                placements.push(Placement { chunk, partition });
                Ok(ControlFlow::Continue(()))
            })?;
        }
        if placements.len() > placements_max {
            placements.truncate(placements_max);
            end = false;
        }
        Ok((placements, end))
    }

    pub(super) fn usage(&self) -> Usage {
        let totals = &self.totals;
        Usage {
            capacity: totals.capacity,
            used: totals.used,
            reserved: totals.reserved,
            inodes: totals.inodes,
            inodes_max: totals.inodes_max,
            orphans: totals.orphans,
        }
    }

    fn get_lock(&self, get: &GetLock) -> Answered {
        let inode = self.inode(get.inode)?;
        let wanted = normalized(get.lock.ok_or(Stop::from(FailureKind::Invalid))?);
        require(wanted.start <= wanted.end, FailureKind::Invalid)?;
        let table = self.locks(inode.id)?;
        Ok(match table.conflict(&wanted) {
            Some(holder) => AnswerBody::Lock(*holder),
            None => AnswerBody::Done(Done {}),
        })
    }

    fn list_orphans(&self, list: &ListOrphans) -> Answered {
        let orphans_max = (list.orphans_max as usize).min(limits::ITEMS_PER_COMMAND_MAX);
        let from = key::one(key::ORPHAN, list.after.saturating_add(1));
        let mut ids = Vec::new();
        self.store.scan(&from, &key::after(&[key::ORPHAN]), |key, _| {
            ids.push(key::number(key, 1).unwrap_or(0));
            let enough = ids.len() > orphans_max;
            Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        let end = ids.len() <= orphans_max;
        ids.truncate(orphans_max);
        let mut orphans = Vec::with_capacity(ids.len());
        for id in ids {
            let inode = self.inode_of(id, "a listed orphan does not exist")?;
            let (placements, all) = self.placements(&inode, 0, ORPHAN_PLACEMENTS_MAX)?;
            let attributes = Some(inode.attributes());
            orphans.push(Orphan { attributes, placements, placements_more: !all });
        }
        Ok(AnswerBody::Orphans(OrphanPage { orphans, end }))
    }
}
