//! The yardstick: a FUSE file system that does nothing but hand requests on to a folder.
//!
//! It is made as quick as one of its kind can be. Names, attributes and pages stay in the kernel
//! for an hour, because nobody else changes the folder; several threads read requests, each from a
//! descriptor of its own; what the kernel need not ask (`flush`, extended attributes) is answered
//! with `ENOSYS` once and never asked again; `O_DIRECT` reaches this process but not the disk.
//!
//! What it leaves out: whatever the bench does not use (locks, extended attributes, special files).

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem,
    FopenFlags, Generation, INodeNo, InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, SessionACL, TimeOrNow,
    WriteFlags,
};
use rustix::fs::{self as os, AtFlags, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

mod folder;
use folder::{Made, Wanted};

/// How long the kernel keeps what it was told.
const KEEP: Duration = Duration::from_secs(3600);
const THREADS: usize = 4;
const ROOT: u64 = 1;

/// A file or folder that the kernel knows.
#[derive(Debug)]
struct Node {
    fd: Arc<OwnedFd>,
    lookups: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    inode: u64,
    kind: FileType,
    name: OsString,
}

#[derive(Debug, Default)]
struct Tables {
    nodes: RwLock<HashMap<u64, Arc<Node>>>,
    files: RwLock<HashMap<u64, Arc<OwnedFd>>>,
    folders: Mutex<HashMap<u64, Arc<Vec<Entry>>>>,
    handle_next: AtomicU64,
}

/// The file system.
#[derive(Debug)]
pub(crate) struct Passthrough {
    tables: Tables,
}

type Result<T> = std::result::Result<T, Errno>;

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from(io::Error::from(error))
}

fn time(seconds: i64, nanoseconds: u64) -> SystemTime {
    let fraction = Duration::from_nanos(nanoseconds);
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0)) + fraction
}

fn kind_of(mode: u32) -> FileType {
    match mode & 0o170_000 {
        0o040_000 => FileType::Directory,
        0o120_000 => FileType::Symlink,
        _ => FileType::RegularFile,
    }
}

/// Mounts `source` on `target`; unmounted when dropped.
pub(crate) fn mount(source: &Path, target: &Path) -> anyhow::Result<BackgroundSession> {
    let root = os::open(source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let tables = Tables::default();
    let node = Node { fd: Arc::new(root), lookups: AtomicU64::new(1) };
    tables.nodes.write().expect("no holder panics").insert(ROOT, Arc::new(node));
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("passthrough".into()),
        MountOption::DefaultPermissions,
        MountOption::Suid,
        MountOption::Exec,
    ];
    config.acl = SessionACL::All;
    config.n_threads = Some(THREADS);
    config.clone_fd = true;
    Ok(fuser::spawn_mount(Passthrough { tables }, target, &config)?)
}

impl Filesystem for Passthrough {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for flag in [
            InitFlags::FUSE_ASYNC_READ,
            InitFlags::FUSE_BIG_WRITES,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_ASYNC_DIO,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_HANDLE_KILLPRIV_V2,
        ] {
            let _ = config.add_capabilities(flag);
        }
        let _ = config.set_max_write(1 << 20);
        let _ = config.set_max_readahead(1 << 20);
        let _ = config.set_max_background(64);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        Self::entry(reply, self.find(parent, name));
    }

    fn forget(&self, _request: &Request, inode: INodeNo, count: u64) {
        let mut nodes = self.tables.nodes.write().expect("no holder panics");
        let Some(node) = nodes.get(&inode.0) else { return };
        if node.lookups.fetch_sub(count, Ordering::Relaxed) == count && inode.0 != ROOT {
            nodes.remove(&inode.0);
        }
    }

    fn getattr(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        match self.stat(inode) {
            Ok(found) => reply.attr(&KEEP, &found),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _request: &Request,
        inode: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _created: Option<SystemTime>,
        _changed: Option<SystemTime>,
        _backup: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let wanted = Wanted { mode, uid, gid, size, atime, mtime };
        let changed = self.change(inode, &wanted).map_err(errno);
        match changed.and_then(|()| self.stat(inode)) {
            Ok(found) => reply.attr(&KEEP, &found),
            Err(error) => reply.error(error),
        }
    }

    fn readlink(&self, _request: &Request, inode: INodeNo, reply: ReplyData) {
        let target = self
            .node(inode)
            .and_then(|node| os::readlinkat(&node.fd, "", Vec::new()).map_err(errno));
        match target {
            Ok(target) => reply.data(target.as_bytes()),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let made = self.node(parent).and_then(|node| {
            os::mkdirat(&node.fd, name, Mode::from_raw_mode(mode & !umask)).map_err(errno)
        });
        Self::entry(reply, made.and_then(|()| self.find(parent, name)));
    }

    fn symlink(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let made =
            self.node(parent).and_then(|node| os::symlinkat(target, &node.fd, name).map_err(errno));
        Self::entry(reply, made.and_then(|()| self.find(parent, name)));
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        match self.node(parent) {
            Ok(node) => Self::empty(reply, os::unlinkat(&node.fd, name, AtFlags::empty())),
            Err(error) => reply.error(error),
        }
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        match self.node(parent) {
            Ok(node) => Self::empty(reply, os::unlinkat(&node.fd, name, AtFlags::REMOVEDIR)),
            Err(error) => reply.error(error),
        }
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (Ok(from), Ok(to)) = (self.node(parent), self.node(new_parent)) else {
            return reply.error(Errno::ESTALE);
        };
        let flags = os::RenameFlags::from_bits_truncate(flags.bits());
        Self::empty(reply, os::renameat_with(&from.fd, name, &to.fd, new_name, flags));
    }

    fn link(
        &self,
        _request: &Request,
        inode: INodeNo,
        parent: INodeNo,
        name: &OsStr,
        reply: ReplyEntry,
    ) {
        let (Ok(node), Ok(to)) = (self.node(inode), self.node(parent)) else {
            return reply.error(Errno::ESTALE);
        };
        let path = Self::again(&node);
        let flags = AtFlags::SYMLINK_FOLLOW;
        let linked = os::linkat(os::CWD, &path, &to.fd, name, flags).map_err(errno);
        Self::entry(reply, linked.and_then(|()| self.find(parent, name)));
    }

    fn open(&self, _request: &Request, inode: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        const ACCESS: i32 = 0o3;
        let access = OFlags::from_bits_truncate((flags.0 & ACCESS).unsigned_abs());
        let opened = self.node(inode).and_then(|node| {
            let flags = access | OFlags::CLOEXEC;
            os::open(Self::again(&node), flags, Mode::empty()).map_err(errno)
        });
        let direct = flags.0 & 0o40000 != 0;
        match opened {
            Ok(fd) => reply.opened(self.keep_file(Arc::new(fd)), how(direct)),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        match self.make(parent, name, mode & 0o7777 & !umask, flags) {
            Ok(Made { attributes, handle }) => {
                let direct = flags & 0o40000 != 0;
                reply.created(&KEEP, &attributes, Generation(0), handle, how(direct));
            }
            Err(error) => reply.error(error),
        }
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
        let mut bytes = vec![0; size as usize];
        let read = self
            .file(handle)
            .and_then(|file| rustix::io::pread(&*file, &mut bytes, offset).map_err(errno));
        match read {
            Ok(count) => reply.data(&bytes[..count]),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self
            .file(handle)
            .and_then(|file| rustix::io::pwrite(&*file, data, offset).map_err(errno));
        match written {
            Ok(count) => reply.written(u32::try_from(count).unwrap_or(u32::MAX)),
            Err(error) => reply.error(error),
        }
    }

    fn flush(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn release(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.tables.files.write().expect("no holder panics").remove(&handle.0);
        reply.ok();
    }

    fn fsync(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        data_only: bool,
        reply: ReplyEmpty,
    ) {
        let sync =
            |file: Arc<OwnedFd>| if data_only { os::fdatasync(&*file) } else { os::fsync(&*file) };
        match self.file(handle) {
            Ok(file) => Self::empty(reply, sync(file)),
            Err(error) => reply.error(error),
        }
    }

    fn opendir(&self, _request: &Request, _inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let handle = self.tables.handle_next.fetch_add(1, Ordering::Relaxed);
        let keep = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR;
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
        let entries = match self.listed(inode, handle) {
            Ok(entries) => entries,
            Err(error) => return reply.error(error),
        };
        for (entry, place) in entries.iter().zip(1u64..).skip(usize::try_from(offset).unwrap_or(0))
        {
            if reply.add(INodeNo(entry.inode), place, entry.kind, &entry.name) {
                break;
            }
        }
        reply.ok();
    }

    fn readdirplus(
        &self,
        _request: &Request,
        inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let (entries, parent) = match (self.listed(inode, handle), self.node(inode)) {
            (Ok(entries), Ok(parent)) => (entries, parent),
            (Err(error), _) | (_, Err(error)) => return reply.error(error),
        };
        for (entry, place) in entries.iter().zip(1u64..).skip(usize::try_from(offset).unwrap_or(0))
        {
            let Ok(found) = self.visit(&parent, entry) else { continue };
            let full = reply.add(found.ino, place, &entry.name, &KEEP, &found, Generation(0));
            if full {
                // The kernel was not told of this one.
                if entry.name != "." && entry.name != ".." {
                    self.forget(_request, found.ino, 1);
                }
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.tables.folders.lock().expect("no holder panics").remove(&handle.0);
        reply.ok();
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = self
            .node(inode)
            .and_then(|node| os::openat(&node.fd, ".", flags, Mode::empty()).map_err(errno));
        match folder {
            Ok(folder) => Self::empty(reply, os::fsync(&folder)),
            Err(error) => reply.error(error),
        }
    }

    fn statfs(&self, _request: &Request, inode: INodeNo, reply: ReplyStatfs) {
        let stat = self.node(inode).and_then(|node| os::fstatvfs(&node.fd).map_err(errno));
        match stat {
            Ok(s) => {
                let size = u32::try_from(s.f_bsize).unwrap_or(4096);
                reply.statfs(
                    s.f_blocks, s.f_bfree, s.f_bavail, s.f_files, s.f_ffree, size, 255, size,
                );
            }
            Err(error) => reply.error(error),
        }
    }

    fn getxattr(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _name: &OsStr,
        _size: u32,
        reply: ReplyXattr,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn listxattr(&self, _request: &Request, _inode: INodeNo, _size: u32, reply: ReplyXattr) {
        reply.error(Errno::ENOSYS);
    }
}

fn how(direct: bool) -> FopenFlags {
    if direct {
        FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES
    } else {
        FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH
    }
}
