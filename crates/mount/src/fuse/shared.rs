//! What takes more than one call of the client, or what a mount knows itself: handles and locks.

use super::handles::{Handles, OpenFile, Page};
use super::locks::Locks;
use bytes::Bytes;
use client::{Error, Volume};
use fuser::{FileHandle, FopenFlags, INodeNo, LockOwner, OpenFlags, WriteFlags};
use std::sync::Arc;
use types::InodeId;
use types::limits::FILE_BYTES_MAX;
use types::namespace::{
    Attributes, Caller, Create, FailureKind, FileKind, ReadDirectory, SetAttributes,
};

/// Entries of a folder that are asked for at a time.
const PAGE_ENTRIES: u32 = 512;
/// Cookies of the two entries that every folder has; those of real ones are larger.
const COOKIE_SELF: u64 = 1;
const COOKIE_PARENT: u64 = 2;

const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;
const FALLOCATE_KEEP_SIZE: i32 = 1;
const FALLOCATE_PUNCH_HOLE: i32 = 2;
const FALLOCATE_ZERO_RANGE: i32 = 16;

pub(super) type Result<T> = std::result::Result<T, Error>;

pub(super) fn refuse<T>(kind: FailureKind) -> Result<T> {
    Err(Error::Refused(kind.into()))
}

/// What all requests of a mount share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) volume: Volume,
    pub(super) handles: Handles,
    pub(super) locks: Locks,
}

impl Shared {
    /// The open file behind a handle. The kernel only uses handles that we gave it.
    pub(super) fn file(&self, handle: FileHandle) -> Result<Arc<OpenFile>> {
        self.handles.file(handle.0).map_or_else(|| refuse(FailureKind::Stale), Ok)
    }

    pub(super) async fn set_attributes(
        &self,
        inode: INodeNo,
        handle: Option<FileHandle>,
        mut change: SetAttributes,
        caller: Caller,
    ) -> Result<Attributes> {
        change.inode = inode.0;
        let Some(size) = change.size.take() else {
            if change.mtime.is_some() || change.atime.is_some() {
                // Times that an application sets must not be overwritten by a later write-back.
                self.flush_if_open(inode).await?;
            }
            return self.volume.set_attributes(change, caller).await;
        };
        if size > FILE_BYTES_MAX {
            return refuse(FailureKind::FileTooLarge);
        }
        // The kernel leaves this to us, and `fuser` does not say for which callers. Root may keep
        // the bits; whoever else changes the length loses them.
        change.clear_setid = caller.uid != 0;
        let open = handle.and_then(|handle| self.handles.file(handle.0));
        if let Some(open) = open {
            return open.file.truncate(size, change, caller).await;
        }
        let found = self.volume.attributes(InodeId(inode.0)).await?;
        let file = self.volume.open_file(&found);
        let result = file.truncate(size, change, caller).await;
        file.close();
        result
    }

    pub(super) async fn flush_if_open(&self, inode: INodeNo) -> Result<()> {
        match self.volume.file_if_open(InodeId(inode.0)) {
            Some(file) => file.write_back().await,
            None => Ok(()),
        }
    }

    pub(super) async fn open(&self, inode: INodeNo, flags: OpenFlags) -> Result<(u64, FopenFlags)> {
        let found = self.volume.attributes(InodeId(inode.0)).await?;
        let file = self.volume.open_file(&found);
        Ok(self.handles.open(file, &found, flags.0))
    }

    pub(super) async fn write(
        &self,
        handle: FileHandle,
        offset: u64,
        data: Bytes,
        kind: WriteFlags,
    ) -> Result<()> {
        let open = self.file(handle)?;
        let clear_setid = kind.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        if clear_setid {
            open.file.clear_setid();
        }
        if kind.contains(WriteFlags::FUSE_WRITE_CACHE) {
            // A page that was changed through `mmap`: it belongs where it is, and the kernel hands
            // it over by any handle it likes, also by one for appending.
            open.file.write(offset, data).await?;
        } else if open.append {
            open.file.append(data).await?;
            if open.direct {
                return self.flush(&open).await;
            }
        } else if open.direct {
            open.file.write_through(offset, data).await?;
        } else {
            open.file.write(offset, data).await?;
        }
        if clear_setid && open.file.may_be_setid() {
            // Nobody shall execute with these rights what was written without them.
            return self.flush(&open).await;
        }
        Ok(())
    }

    /// Writes back what a handle's file has buffered, and tells whoever holds the handle of what
    /// went wrong since it was last asked.
    pub(super) async fn flush(&self, open: &OpenFile) -> Result<()> {
        let before = open.file.version();
        let flushed = open.file.flush().await;
        self.note_version(open, before);
        flushed
    }

    /// As `flush`, and makes durable what was written.
    pub(super) async fn sync(&self, open: &OpenFile) -> Result<()> {
        let before = open.file.version();
        let synced = open.file.sync().await;
        self.note_version(open, before);
        synced
    }

    /// As `flush`, where nobody asks for errors: they are kept for who does.
    async fn write_back(&self, open: &OpenFile) -> Result<()> {
        let before = open.file.version();
        let written = open.file.write_back().await;
        self.note_version(open, before);
        written
    }

    fn note_version(&self, open: &OpenFile, before: Option<u64>) {
        if let (Some(before), Some(after)) = (before, open.file.version()) {
            self.handles.note_own_change(open.file.inode().0, before, after);
        }
    }

    pub(super) async fn close(
        &self,
        handle: FileHandle,
        flock_owner: Option<LockOwner>,
    ) -> Result<()> {
        let Some(open) = self.handles.close(handle.0) else { return Ok(()) };
        // The kernel tells nobody what this is answered with.
        let flushed = self.write_back(&open).await;
        let released = match flock_owner {
            Some(owner) => self.locks.release(&self.volume, open.file.inode(), owner.0).await,
            None => Ok(()),
        };
        open.file.close();
        flushed.and(released)
    }

    pub(super) async fn make(&self, create: Create, caller: Caller) -> Result<Attributes> {
        let create = Create { exclusive: true, ..create };
        self.volume.create(create, caller).await.map(|(made, _)| made)
    }

    pub(super) async fn fallocate(
        &self,
        handle: FileHandle,
        (offset, length): (u64, u64),
        mode: i32,
        caller: Caller,
    ) -> Result<()> {
        let open = self.file(handle)?;
        if caller.uid != 0 {
            open.file.clear_setid();
        }
        let end = offset.checked_add(length).filter(|end| *end <= FILE_BYTES_MAX);
        let Some(end) = end else { return refuse(FailureKind::FileTooLarge) };
        let keep_size = mode & FALLOCATE_KEEP_SIZE != 0;
        match mode & !FALLOCATE_KEEP_SIZE {
            0 => {
                self.volume.check_space(length).await?;
                if keep_size { Ok(()) } else { open.file.extend(end).await }
            }
            FALLOCATE_PUNCH_HOLE => open.file.punch(offset, length).await,
            FALLOCATE_ZERO_RANGE => {
                open.file.punch(offset, length).await?;
                if keep_size { Ok(()) } else { open.file.extend(end).await }
            }
            _ => refuse(FailureKind::NotSupported),
        }
    }

    pub(super) async fn seek(
        &self,
        handle: FileHandle,
        offset: i64,
        whence: i32,
    ) -> Result<Option<u64>> {
        let open = self.file(handle)?;
        let Ok(offset) = u64::try_from(offset) else { return Ok(None) };
        self.write_back(&open).await?;
        if offset >= open.file.attributes().await?.size {
            return Ok(None);
        }
        match whence {
            SEEK_DATA => open.file.seek_data(offset).await,
            SEEK_HOLE => open.file.seek_hole(offset).await.map(Some),
            _ => refuse(FailureKind::Invalid),
        }
    }

    /// Makes sure that the page of a folder that begins after `after` is at hand.
    pub(super) async fn page(
        &self,
        inode: INodeNo,
        handle: FileHandle,
        after: u64,
    ) -> Result<Page> {
        let Some(folder) = self.handles.folder(handle.0) else {
            return refuse(FailureKind::Stale);
        };
        let kept = std::mem::take(&mut *folder.page.lock().expect("no holder panics"));
        let fits = kept.after == after && (!kept.entries.is_empty() || kept.end) && after != 0;
        if fits {
            return Ok(kept);
        }
        let read =
            ReadDirectory { inode: inode.0, after, entries_max: PAGE_ENTRIES, attributes: true };
        let page = self.volume.read_directory(read).await?;
        Ok(Page { after, entries: page.entries.into(), end: page.end, parent: page.parent })
    }

    /// Hands entries to the kernel until it has enough, and keeps the rest.
    pub(super) async fn list(
        &self,
        inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut add: impl FnMut(u64, u64, FileKind, &[u8], Option<&Attributes>) -> bool,
    ) -> Result<()> {
        let after = if offset <= COOKIE_PARENT { 0 } else { offset };
        let mut page = self.page(inode, handle, after).await?;
        let full = (offset < COOKIE_SELF
            && add(inode.0, COOKIE_SELF, FileKind::Folder, b".", None))
            || (offset < COOKIE_PARENT
                && add(page.parent, COOKIE_PARENT, FileKind::Folder, b"..", None));
        loop {
            if full {
                break;
            }
            let Some(entry) = page.entries.front() else {
                if page.end {
                    break;
                }
                page = self.page(inode, handle, page.after).await?;
                continue;
            };
            let (found, kind) = (entry.attributes.as_ref(), entry.kind());
            if add(entry.inode, entry.cookie, kind, &entry.name, found) {
                break;
            }
            page.after = entry.cookie;
            page.entries.pop_front();
        }
        if let Some(folder) = self.handles.folder(handle.0) {
            *folder.page.lock().expect("no holder panics") = page;
        }
        Ok(())
    }
}
