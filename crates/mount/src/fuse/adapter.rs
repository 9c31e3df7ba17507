//! The kernel's requests as calls of the client.
//!
//! Nothing is decided here: each method takes the request apart, asks the client, and turns the
//! result into the kernel's words.

use super::forget::Handed;
use super::gate::Gate;
use super::handles::Handles;
use super::locks::{Locks, Wanted};
use super::shared::{Result, Shared};
use super::{convert, errno::errno};
use bytes::Bytes;
use client::Volume;
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
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle as Runtime;
use types::InodeId;
use types::limits::{ATTRIBUTE_CACHE_TIME, RECORD_PAYLOAD_BYTES_MAX};
use types::namespace::{
    Attributes, Create, FileKind, Link, Rename, SetAttributes, SetXattr, TimeChange, Unlink,
    XattrMode,
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

/// A mounted volume, as `fuser` drives it.
#[derive(Debug)]
pub(super) struct Adapter {
    shared: Arc<Shared>,
    runtime: Runtime,
    gate: Gate,
    handed: Handed,
    /// Whether the kernel can let the time of a name run out.
    expires: bool,
}

/// Whether an extended attribute is the label of SELinux, which a FUSE mount cannot have: where
/// SELinux is on, one label counts for the whole mount. Programs that are told so ask once, and not
/// for every file (`ls -l` does).
fn is_label(name: &OsStr) -> bool {
    name == "security.selinux"
}

fn bytes(name: &OsStr) -> Bytes {
    Bytes::copy_from_slice(name.as_bytes())
}

/// A name on its way to the kernel.
struct Naming {
    volume: Volume,
    /// None where the kernel could not be told that it has changed.
    ticket: Option<client::Ticket>,
}

impl Naming {
    fn cache_time(&self) -> Duration {
        let time = self.ticket.as_ref().map(|ticket| self.volume.name_cache_time(ticket));
        time.unwrap_or(ATTRIBUTE_CACHE_TIME)
    }

    /// The kernel has it.
    fn settle(self) {
        if let Some(ticket) = self.ticket {
            self.volume.settle_name(ticket);
        }
    }
}

impl Adapter {
    pub(super) fn new(volume: Volume, runtime: Runtime, gate: Gate, handed: Handed) -> Adapter {
        let shared = Shared { volume, handles: Handles::default(), locks: Locks::default() };
        Adapter { shared: Arc::new(shared), runtime, gate, handed, expires: false }
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

    fn naming(&self, folder: INodeNo, name: &Bytes) -> Naming {
        let volume = self.shared.volume.clone();
        let ticket = self.expires.then(|| volume.name_ticket(InodeId(folder.0), name));
        Naming { volume, ticket }
    }

    /// Hands a name to the kernel, once it is found or made.
    fn entry(
        &self,
        reply: ReplyEntry,
        (folder, name): (INodeNo, &Bytes),
        work: impl Future<Output = Result<Attributes>> + Send + 'static,
    ) {
        let naming = self.naming(folder, name);
        self.run(async move {
            match work.await {
                Ok(found) => {
                    let time = naming.cache_time();
                    let attributes = convert::attributes(&found);
                    let generation = Generation(found.generation);
                    reply.entry_with_ttls(&ATTRIBUTE_CACHE_TIME, &time, &attributes, generation);
                    naming.settle();
                }
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

impl Filesystem for Adapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for flag in WANTED {
            // A kernel that cannot is told by what it does not send.
            let _ = config.add_capabilities(flag);
        }
        self.expires = config.add_capabilities(InitFlags::FUSE_HAS_EXPIRE_ONLY).is_ok();
        let _ = config.set_max_write(RECORD_PAYLOAD_BYTES_MAX);
        let _ = config.set_max_readahead(RECORD_PAYLOAD_BYTES_MAX);
        let _ = config.set_max_background(64);
        let _ = config.set_time_granularity(std::time::Duration::from_nanos(1));
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (shared, name) = (self.shared(), bytes(name));
        let place = (parent, &name.clone());
        self.entry(
            reply,
            place,
            async move { shared.volume.lookup(InodeId(parent.0), name).await },
        );
    }

    fn getattr(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        if let Some((found, time)) = self.shared.volume.folder_told(InodeId(inode.0)) {
            return reply.attr(&time, &convert::attributes(&found));
        }
        let shared = self.shared();
        self.run(async move {
            match shared.volume.attributes(InodeId(inode.0)).await {
                Ok(found) => reply.attr(&ATTRIBUTE_CACHE_TIME, &convert::attributes(&found)),
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
        if self.gate.is_closed() {
            return reply.error(LEAVING);
        }
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
                Ok(found) => reply.attr(&ATTRIBUTE_CACHE_TIME, &convert::attributes(&found)),
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
        if self.gate.is_closed() {
            return reply.error(LEAVING);
        }
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
        let place = (parent, &create.name.clone());
        self.entry(reply, place, async move { shared.make(create, caller).await });
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
        if self.gate.is_closed() {
            return reply.error(LEAVING);
        }
        let create = Create {
            parent: parent.0,
            name: bytes(name),
            kind: FileKind::Folder.into(),
            mode: mode & 0o7777,
            umask,
            ..Create::default()
        };
        let (shared, caller) = (self.shared(), convert::caller(request));
        let place = (parent, &create.name.clone());
        self.entry(reply, place, async move { shared.make(create, caller).await });
    }

    fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        if self.gate.is_closed() {
            return reply.error(LEAVING);
        }
        let create = Create {
            parent: parent.0,
            name: bytes(name),
            kind: FileKind::Symlink.into(),
            mode: 0o777,
            target: bytes(target.as_os_str()),
            ..Create::default()
        };
        let (shared, caller) = (self.shared(), convert::caller(request));
        let place = (parent, &create.name.clone());
        self.entry(reply, place, async move { shared.make(create, caller).await });
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        if self.gate.is_closed() {
            return reply.error(LEAVING);
        }
        let unlink = Unlink { parent: parent.0, name: bytes(name), folder: false };
        let (shared, caller) = (self.shared(), convert::caller(request));
        self.empty(reply, async move { shared.volume.unlink(unlink, caller).await.map(drop) });
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        if self.gate.is_closed() {
            return reply.error(LEAVING);
        }
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
        if self.gate.is_closed() {
            return reply.error(LEAVING);
        }
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
        if self.gate.is_closed() {
            return reply.error(LEAVING);
        }
        let link = Link { inode: inode.0, parent: parent.0, name: bytes(name) };
        let (shared, caller) = (self.shared(), convert::caller(request));
        let place = (parent, &link.name.clone());
        self.entry(reply, place, async move { shared.volume.link(link, caller).await });
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
        if self.gate.is_closed() {
            return reply.error(LEAVING);
        }
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
        let (handed, naming) = (self.handed.clone(), self.naming(parent, &create.name));
        self.run(async move {
            match shared.volume.create(create, caller).await {
                // Somebody else was quicker. The kernel takes what is made here for new, and would
                // neither check rights nor truncate; told this, it looks again and opens it.
                Ok((_, existed)) if existed => reply.error(Errno::ESTALE),
                Ok((made, _)) => {
                    let file = shared.volume.open_file(&made);
                    let (handle, flags) = shared.handles.open(file, &made, flags);
                    let (attributes, handle) = (convert::attributes(&made), FileHandle(handle));
                    let generation = Generation(made.generation);
                    // For name and attributes alike; the latter are taken back in time.
                    let time = naming.cache_time();
                    reply.created(&time, &attributes, generation, handle, flags);
                    if time > ATTRIBUTE_CACHE_TIME {
                        handed.note(attributes.ino);
                    }
                    naming.settle();
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
        let page = write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
        if self.gate.is_shut() || (self.gate.is_closed() && !page) {
            return reply.error(LEAVING);
        }
        let size = u32::try_from(data.len()).expect("the kernel's writes are short");
        let (shared, data) = (self.shared(), Bytes::copy_from_slice(data));
        self.run(async move {
            match shared.write(handle, offset, data, write_flags).await {
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
            shared.sync(&open).await
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
                reply.add(
                    INodeNo(inode),
                    cookie,
                    name,
                    &ATTRIBUTE_CACHE_TIME,
                    &attributes,
                    Generation(1),
                )
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
        if self.gate.is_closed() {
            return reply.error(LEAVING);
        }
        if is_label(name) {
            return reply.error(Errno::EOPNOTSUPP);
        }
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
        if is_label(name) {
            return reply.error(Errno::EOPNOTSUPP);
        }
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
        if self.gate.is_closed() {
            return reply.error(LEAVING);
        }
        if is_label(name) {
            return reply.error(Errno::EOPNOTSUPP);
        }
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
        if self.gate.is_closed() {
            return reply.error(LEAVING);
        }
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

/// What whoever would change a volume is told once its mount is being left.
const LEAVING: Errno = Errno::ENODEV;

/// What `df -i` shows where inodes are bounded by space only.
const INODES_SHOWN: u64 = 1 << 32;
