//! The kernel's requests as calls of the client.
//!
//! Nothing is decided here: each method takes the request apart, asks the client, and turns the
//! result into the kernel's words.

use super::handles::{Handles, OpenFile, Page};
use super::locks::{Locks, Wanted};
use super::{CACHE_TIME, convert, errno::errno};
use bytes::Bytes;
use client::{Error, Volume};
use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, IoctlFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLock,
    ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;
use tokio::runtime::Handle as Runtime;
use types::InodeId;
use types::limits::{FILE_BYTES_MAX, RECORD_PAYLOAD_BYTES_MAX};
use types::namespace::{
    Attributes, Caller, Create, FailureKind, FileKind, Link, ReadDirectory, Rename, SetAttributes,
    SetXattr, TimeChange, Unlink, XattrMode,
};

/// What the kernel is asked to do for us, where it can.
const WANTED: [InitFlags; 13] = [
    InitFlags::FUSE_ASYNC_READ,
    InitFlags::FUSE_BIG_WRITES,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_POSIX_LOCKS,
    InitFlags::FUSE_FLOCK_LOCKS,
    InitFlags::FUSE_AUTO_INVAL_DATA,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_ASYNC_DIO,
    InitFlags::FUSE_DONT_MASK,
    InitFlags::FUSE_POSIX_ACL,
    InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
    // Without it every write is preceded by a question for `security.capability`.
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
];

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

/// A mounted volume, as `fuser` drives it.
#[derive(Debug)]
pub(super) struct Adapter {
    shared: Arc<Shared>,
    runtime: Runtime,
}

#[derive(Debug)]
struct Shared {
    volume: Volume,
    handles: Handles,
    locks: Locks,
}

type Result<T> = std::result::Result<T, Error>;

fn refuse<T>(kind: FailureKind) -> Result<T> {
    Err(Error::Refused(kind.into()))
}

fn bytes(name: &OsStr) -> Bytes {
    Bytes::copy_from_slice(name.as_bytes())
}

impl Adapter {
    pub(super) fn new(volume: Volume, runtime: Runtime) -> Adapter {
        let shared = Shared { volume, handles: Handles::default(), locks: Locks::default() };
        Adapter { shared: Arc::new(shared), runtime }
    }

    /// Runs a request's future: here and now as far as it gets, the rest as a task.
    fn run(&self, future: impl Future<Output = ()> + Send + 'static) {
        let _entered = self.runtime.enter();
        let mut future = Box::pin(future);
        let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if polled == Poll::Pending {
            self.runtime.spawn(future);
        }
    }

    fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    fn entry(
        &self,
        reply: ReplyEntry,
        work: impl Future<Output = Result<Attributes>> + Send + 'static,
    ) {
        self.run(async move {
            match work.await {
                Ok(found) => reply.entry(
                    &CACHE_TIME,
                    &convert::attributes(&found),
                    Generation(found.generation),
                ),
                Err(error) => reply.error(errno(&error)),
            }
        });
    }

    fn empty(&self, reply: ReplyEmpty, work: impl Future<Output = Result<()>> + Send + 'static) {
        self.run(async move {
            match work.await {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(errno(&error)),
            }
        });
    }

    fn xattr_bytes(
        &self,
        size: u32,
        reply: ReplyXattr,
        work: impl Future<Output = Result<Bytes>> + Send + 'static,
    ) {
        self.run(async move {
            match work.await {
                Ok(value) if size == 0 => {
                    reply.size(u32::try_from(value.len()).expect("values have a limit"));
                }
                Ok(value) if value.len() > size as usize => reply.error(Errno::ERANGE),
                Ok(value) => reply.data(&value),
                Err(error) => reply.error(errno(&error)),
            }
        });
    }
}

impl Shared {
    /// The open file behind a handle. The kernel only uses handles that we gave it.
    fn file(&self, handle: FileHandle) -> Result<Arc<OpenFile>> {
        self.handles.file(handle.0).map_or_else(|| refuse(FailureKind::Stale), Ok)
    }

    async fn set_attributes(
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

    async fn flush_if_open(&self, inode: INodeNo) -> Result<()> {
        match self.volume.file_if_open(InodeId(inode.0)) {
            Some(file) => file.flush().await,
            None => Ok(()),
        }
    }

    async fn open(&self, inode: INodeNo, flags: OpenFlags) -> Result<(u64, FopenFlags)> {
        let found = self.volume.attributes(InodeId(inode.0)).await?;
        let file = self.volume.open_file(&found);
        Ok(self.handles.open(file, &found, flags.0))
    }

    async fn write(
        &self,
        handle: FileHandle,
        offset: u64,
        data: Bytes,
        clear_setid: bool,
    ) -> Result<()> {
        let open = self.file(handle)?;
        if clear_setid {
            open.file.clear_setid();
        }
        if open.append {
            open.file.append(data).await?;
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

    /// Writes back what a handle's file has buffered, and keeps count of its version.
    async fn flush(&self, open: &OpenFile) -> Result<()> {
        let before = open.file.version();
        open.file.flush().await?;
        let after = open.file.version();
        if let (Some(before), Some(after)) = (before, after) {
            self.handles.note_own_change(open.file.inode().0, before, after);
        }
        Ok(())
    }

    async fn close(&self, handle: FileHandle, flock_owner: Option<LockOwner>) -> Result<()> {
        let Some(open) = self.handles.close(handle.0) else { return Ok(()) };
        let flushed = self.flush(&open).await;
        let released = match flock_owner {
            Some(owner) => self.locks.release(&self.volume, open.file.inode(), owner.0).await,
            None => Ok(()),
        };
        open.file.close();
        flushed.and(released)
    }

    async fn make(&self, create: Create, caller: Caller) -> Result<Attributes> {
        let create = Create { exclusive: true, ..create };
        self.volume.create(create, caller).await.map(|(made, _)| made)
    }

    async fn fallocate(
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

    async fn seek(&self, handle: FileHandle, offset: i64, whence: i32) -> Result<Option<u64>> {
        let open = self.file(handle)?;
        let Ok(offset) = u64::try_from(offset) else { return Ok(None) };
        self.flush(&open).await?;
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
    async fn page(&self, inode: INodeNo, handle: FileHandle, after: u64) -> Result<Page> {
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
    async fn list(
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

impl Filesystem for Adapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for flag in WANTED {
            // A kernel that cannot is told by what it does not send.
            let _ = config.add_capabilities(flag);
        }
        let _ = config.set_max_write(RECORD_PAYLOAD_BYTES_MAX);
        let _ = config.set_max_readahead(RECORD_PAYLOAD_BYTES_MAX);
        let _ = config.set_max_background(64);
        let _ = config.set_time_granularity(std::time::Duration::from_nanos(1));
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (shared, name) = (self.shared(), bytes(name));
        self.entry(reply, async move { shared.volume.lookup(InodeId(parent.0), name).await });
    }

    fn getattr(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        let shared = self.shared();
        self.run(async move {
            match shared.volume.attributes(InodeId(inode.0)).await {
                Ok(found) => reply.attr(&CACHE_TIME, &convert::attributes(&found)),
                Err(error) => reply.error(errno(&error)),
            }
        });
    }

    fn setattr(
        &self,
        request: &Request,
        inode: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        handle: Option<FileHandle>,
        _created: Option<SystemTime>,
        _changed: Option<SystemTime>,
        _backup: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = SetAttributes {
            mode: mode.map(|mode| mode & 0o7777),
            uid,
            gid,
            size,
            atime: atime.map(convert::time_change),
            mtime: mtime.map(convert::time_change).or(size.map(|_| TimeChange::now())),
            ..SetAttributes::default()
        };
        let (shared, caller) = (self.shared(), convert::caller(request));
        self.run(async move {
            match shared.set_attributes(inode, handle, change, caller).await {
                Ok(found) => reply.attr(&CACHE_TIME, &convert::attributes(&found)),
                Err(error) => reply.error(errno(&error)),
            }
        });
    }

    fn readlink(&self, _request: &Request, inode: INodeNo, reply: ReplyData) {
        let shared = self.shared();
        self.run(async move {
            match shared.volume.read_link(InodeId(inode.0)).await {
                Ok(target) => reply.data(&target),
                Err(error) => reply.error(errno(&error)),
            }
        });
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let Some(kind) = convert::kind_of_mode(mode) else { return reply.error(Errno::EINVAL) };
        let create = Create {
            parent: parent.0,
            name: bytes(name),
            kind: kind.into(),
            mode: mode & 0o7777,
            umask,
            rdev,
            ..Create::default()
        };
        let (shared, caller) = (self.shared(), convert::caller(request));
        self.entry(reply, async move { shared.make(create, caller).await });
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let create = Create {
            parent: parent.0,
            name: bytes(name),
            kind: FileKind::Folder.into(),
            mode: mode & 0o7777,
            umask,
            ..Create::default()
        };
        let (shared, caller) = (self.shared(), convert::caller(request));
        self.entry(reply, async move { shared.make(create, caller).await });
    }

    fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let create = Create {
            parent: parent.0,
            name: bytes(name),
            kind: FileKind::Symlink.into(),
            mode: 0o777,
            target: bytes(target.as_os_str()),
            ..Create::default()
        };
        let (shared, caller) = (self.shared(), convert::caller(request));
        self.entry(reply, async move { shared.make(create, caller).await });
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let unlink = Unlink { parent: parent.0, name: bytes(name), folder: false };
        let (shared, caller) = (self.shared(), convert::caller(request));
        self.empty(reply, async move { shared.volume.unlink(unlink, caller).await.map(drop) });
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let unlink = Unlink { parent: parent.0, name: bytes(name), folder: true };
        let (shared, caller) = (self.shared(), convert::caller(request));
        self.empty(reply, async move { shared.volume.unlink(unlink, caller).await.map(drop) });
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let known = RenameFlags::RENAME_NOREPLACE | RenameFlags::RENAME_EXCHANGE;
        if !known.contains(flags) {
            return reply.error(Errno::EINVAL);
        }
        let rename = Rename {
            parent: parent.0,
            name: bytes(name),
            new_parent: new_parent.0,
            new_name: bytes(new_name),
            no_replace: flags.contains(RenameFlags::RENAME_NOREPLACE),
            exchange: flags.contains(RenameFlags::RENAME_EXCHANGE),
        };
        let (shared, caller) = (self.shared(), convert::caller(request));
        self.empty(reply, async move { shared.volume.rename(rename, caller).await.map(drop) });
    }

    fn link(
        &self,
        request: &Request,
        inode: INodeNo,
        parent: INodeNo,
        name: &OsStr,
        reply: ReplyEntry,
    ) {
        let link = Link { inode: inode.0, parent: parent.0, name: bytes(name) };
        let (shared, caller) = (self.shared(), convert::caller(request));
        self.entry(reply, async move { shared.volume.link(link, caller).await });
    }

    fn open(&self, _request: &Request, inode: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let shared = self.shared();
        self.run(async move {
            match shared.open(inode, flags).await {
                Ok((handle, flags)) => reply.opened(FileHandle(handle), flags),
                Err(error) => reply.error(errno(&error)),
            }
        });
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        const O_EXCL: i32 = 0o200;
        let create = Create {
            parent: parent.0,
            name: bytes(name),
            kind: FileKind::File.into(),
            mode: mode & 0o7777,
            umask,
            exclusive: flags & O_EXCL != 0,
            ..Create::default()
        };
        let (shared, caller) = (self.shared(), convert::caller(request));
        self.run(async move {
            match shared.volume.create(create, caller).await {
                Ok((made, _)) => {
                    let file = shared.volume.open_file(&made);
                    let (handle, flags) = shared.handles.open(file, &made, flags);
                    let (attributes, handle) = (convert::attributes(&made), FileHandle(handle));
                    let generation = Generation(made.generation);
                    reply.created(&CACHE_TIME, &attributes, generation, handle, flags);
                }
                Err(error) => reply.error(errno(&error)),
            }
        });
    }

    fn read(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let shared = self.shared();
        self.run(async move {
            let read = async { shared.file(handle)?.file.read(offset, size as usize).await };
            match read.await {
                Ok(bytes) => reply.data(&bytes),
                Err(error) => reply.error(errno(&error)),
            }
        });
    }

    fn write(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let size = u32::try_from(data.len()).expect("the kernel's writes are short");
        let (shared, data) = (self.shared(), Bytes::copy_from_slice(data));
        let clear_setid = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        self.run(async move {
            match shared.write(handle, offset, data, clear_setid).await {
                Ok(()) => reply.written(size),
                Err(error) => reply.error(errno(&error)),
            }
        });
    }

    fn flush(
        &self,
        _request: &Request,
        inode: INodeNo,
        handle: FileHandle,
        lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        let shared = self.shared();
        self.empty(reply, async move {
            let open = shared.file(handle)?;
            let flushed = shared.flush(&open).await;
            shared.locks.release(&shared.volume, InodeId(inode.0), lock_owner.0).await?;
            flushed
        });
    }

    fn release(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let shared = self.shared();
        self.empty(reply, async move { shared.close(handle, lock_owner).await });
    }

    fn fsync(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        let shared = self.shared();
        self.empty(reply, async move {
            let open = shared.file(handle)?;
            shared.flush(&open).await?;
            open.file.sync().await
        });
    }

    fn opendir(&self, _request: &Request, _inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let handle = self.shared.handles.open_folder();
        // The kernel compares the folder's times, which it knows for as long as it may keep
        // attributes, before it lists from its own memory.
        let keep = FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE;
        reply.opened(FileHandle(handle), keep);
    }

    fn readdir(
        &self,
        _request: &Request,
        inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let shared = self.shared();
        self.run(async move {
            let add = |inode: u64, cookie: u64, kind, name: &[u8], _: Option<&Attributes>| {
                let kind = convert::kind(kind);
                reply.add(INodeNo(inode), cookie, kind, OsStr::from_bytes(name))
            };
            match shared.list(inode, handle, offset, add).await {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(errno(&error)),
            }
        });
    }

    fn readdirplus(
        &self,
        _request: &Request,
        inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let shared = self.shared();
        self.run(async move {
            let add = |inode: u64, cookie: u64, kind, name: &[u8], found: Option<&Attributes>| {
                let bare = Attributes {
                    inode,
                    kind: FileKind::into(kind),
                    generation: 1,
                    ..Attributes::default()
                };
                let attributes: FileAttr = convert::attributes(found.unwrap_or(&bare));
                // The kernel ignores the attributes of `.` and `..`.
                let name = OsStr::from_bytes(name);
                reply.add(INodeNo(inode), cookie, name, &CACHE_TIME, &attributes, Generation(1))
            };
            match shared.list(inode, handle, offset, add).await {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(errno(&error)),
            }
        });
    }

    fn releasedir(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.shared.handles.close_folder(handle.0);
        reply.ok();
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        let shared = self.shared();
        self.empty(reply, async move { shared.volume.flush_namespace().await });
    }

    fn statfs(&self, _request: &Request, _inode: INodeNo, reply: ReplyStatfs) {
        const BLOCK: u64 = 4096;
        let shared = self.shared();
        self.run(async move {
            match shared.volume.usage().await {
                Ok(usage) => {
                    let taken = (usage.used + usage.reserved).min(usage.capacity);
                    // What this client has set aside is free as far as its applications go.
                    let free = usage.capacity - taken + shared.volume.reserved();
                    let free = free.min(usage.capacity) / BLOCK;
                    let inodes_max =
                        if usage.inodes_max == 0 { INODES_SHOWN } else { usage.inodes_max };
                    let inodes_free = inodes_max.saturating_sub(usage.inodes);
                    let name_bytes = u32::try_from(types::limits::NAME_BYTES_MAX).unwrap_or(255);
                    let (blocks, size) = (usage.capacity / BLOCK, BLOCK as u32);
                    reply.statfs(
                        blocks,
                        free,
                        free,
                        inodes_max,
                        inodes_free,
                        size,
                        name_bytes,
                        size,
                    );
                }
                Err(error) => reply.error(errno(&error)),
            }
        });
    }

    fn setxattr(
        &self,
        request: &Request,
        inode: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let mode = match flags {
            1 => XattrMode::Create,
            2 => XattrMode::Replace,
            _ => XattrMode::Any,
        };
        let set = SetXattr {
            inode: inode.0,
            name: bytes(name),
            value: Bytes::copy_from_slice(value),
            mode: mode.into(),
            clear_setgid: false,
        };
        let (shared, caller) = (self.shared(), convert::caller(request));
        self.empty(reply, async move { shared.volume.set_xattr(set, caller).await });
    }

    fn getxattr(
        &self,
        _request: &Request,
        inode: INodeNo,
        name: &OsStr,
        size: u32,
        reply: ReplyXattr,
    ) {
        let (shared, name) = (self.shared(), bytes(name));
        let work = async move { shared.volume.xattr(InodeId(inode.0), name).await };
        self.xattr_bytes(size, reply, work);
    }

    fn listxattr(&self, _request: &Request, inode: INodeNo, size: u32, reply: ReplyXattr) {
        let shared = self.shared();
        let work = async move {
            let names = shared.volume.xattrs(InodeId(inode.0)).await?;
            let mut list = Vec::new();
            for name in names {
                list.extend_from_slice(&name);
                list.push(0);
            }
            Ok(Bytes::from(list))
        };
        self.xattr_bytes(size, reply, work);
    }

    fn removexattr(&self, request: &Request, inode: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (shared, name, caller) = (self.shared(), bytes(name), convert::caller(request));
        self.empty(reply, async move {
            shared.volume.remove_xattr(InodeId(inode.0), name, caller).await
        });
    }

    fn getlk(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        lock_owner: LockOwner,
        start: u64,
        end: u64,
        mode: i32,
        pid: u32,
        reply: ReplyLock,
    ) {
        const UNLOCKED: i32 = 2;
        let shared = self.shared();
        let wanted = Wanted { owner: lock_owner.0, start, end, mode, pid };
        self.run(async move {
            match Locks::get(&shared.volume, InodeId(inode.0), wanted).await {
                Ok(Some((start, end, mode, pid))) => reply.locked(start, end, mode, pid),
                Ok(None) => reply.locked(start, end, UNLOCKED, 0),
                Err(error) => reply.error(errno(&error)),
            }
        });
    }

    fn setlk(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        lock_owner: LockOwner,
        start: u64,
        end: u64,
        mode: i32,
        pid: u32,
        sleep: bool,
        reply: ReplyEmpty,
    ) {
        let shared = self.shared();
        let wanted = Wanted { owner: lock_owner.0, start, end, mode, pid };
        self.empty(reply, async move {
            shared.locks.set(&shared.volume, InodeId(inode.0), wanted, sleep).await
        });
    }

    fn fallocate(
        &self,
        request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let (shared, caller) = (self.shared(), convert::caller(request));
        self.empty(
            reply,
            async move { shared.fallocate(handle, (offset, length), mode, caller).await },
        );
    }

    fn ioctl(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _flags: IoctlFlags,
        _command: u32,
        _data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    fn lseek(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let shared = self.shared();
        self.run(async move {
            match shared.seek(handle, offset, whence).await {
                Ok(Some(found)) => reply.offset(i64::try_from(found).unwrap_or(i64::MAX)),
                Ok(None) => reply.error(Errno::ENXIO),
                Err(error) => reply.error(errno(&error)),
            }
        });
    }
}

/// What `df -i` shows where inodes are bounded by space only.
const INODES_SHOWN: u64 = 1 << 32;
