//! The folder behind the passthrough, and what the kernel knows of it.

use super::*;

impl Passthrough {
    pub(super) fn node(&self, inode: INodeNo) -> Result<Arc<Node>> {
        let nodes = self.tables.nodes.read().expect("no holder panics");
        nodes.get(&inode.0).cloned().ok_or(Errno::ESTALE)
    }

    pub(super) fn file(&self, handle: FileHandle) -> Result<Arc<OwnedFd>> {
        let files = self.tables.files.read().expect("no holder panics");
        files.get(&handle.0).cloned().ok_or(Errno::EBADF)
    }

    pub(super) fn keep_file(&self, fd: Arc<OwnedFd>) -> FileHandle {
        let handle = self.tables.handle_next.fetch_add(1, Ordering::Relaxed);
        self.tables.files.write().expect("no holder panics").insert(handle, fd);
        FileHandle(handle)
    }

    pub(super) fn attributes(stat: &Stat, inode: u64) -> FileAttr {
        FileAttr {
            ino: INodeNo(inode),
            size: u64::try_from(stat.st_size).unwrap_or(0),
            blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
            atime: time(stat.st_atime, stat.st_atime_nsec),
            mtime: time(stat.st_mtime, stat.st_mtime_nsec),
            ctime: time(stat.st_ctime, stat.st_ctime_nsec),
            crtime: UNIX_EPOCH,
            kind: kind_of(stat.st_mode),
            perm: u16::try_from(stat.st_mode & 0o7777).unwrap_or(0),
            nlink: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
            uid: stat.st_uid,
            gid: stat.st_gid,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    /// Counts one more lookup of an inode; `open` is called when it was not known.
    pub(super) fn know(
        &self,
        inode: u64,
        open: impl FnOnce() -> Result<Arc<OwnedFd>>,
    ) -> Result<()> {
        let known = self.tables.nodes.read().expect("no holder panics").get(&inode).cloned();
        if let Some(node) = known {
            node.lookups.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let fd = open()?;
        let mut nodes = self.tables.nodes.write().expect("no holder panics");
        let fresh = || Arc::new(Node { fd, lookups: AtomicU64::new(0) });
        nodes.entry(inode).or_insert_with(fresh).lookups.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn find(&self, parent: INodeNo, name: &OsStr) -> Result<FileAttr> {
        let parent = self.node(parent)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = os::openat(&parent.fd, name, flags, Mode::empty()).map_err(errno)?;
        let stat = os::fstat(&fd).map_err(errno)?;
        self.know(stat.st_ino, || Ok(Arc::new(fd)))?;
        Ok(Self::attributes(&stat, stat.st_ino))
    }

    pub(super) fn entry(reply: ReplyEntry, found: Result<FileAttr>) {
        match found {
            Ok(found) => reply.entry(&KEEP, &found, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    pub(super) fn empty<T>(reply: ReplyEmpty, result: rustix::io::Result<T>) {
        match result {
            Ok(_) => reply.ok(),
            Err(error) => reply.error(errno(error)),
        }
    }

    pub(super) fn stat(&self, inode: INodeNo) -> Result<FileAttr> {
        let node = self.node(inode)?;
        let stat = os::fstat(&node.fd).map_err(errno)?;
        Ok(Self::attributes(&stat, inode.0))
    }

    pub(super) fn again(node: &Node) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", node.fd.as_raw_fd()))
    }

    pub(super) fn change(&self, inode: INodeNo, wanted: &Wanted) -> rustix::io::Result<()> {
        let Ok(node) = self.node(inode) else { return Err(rustix::io::Errno::STALE) };
        let path = Self::again(&node);
        if let Some(mode) = wanted.mode {
            os::chmod(&path, Mode::from_raw_mode(mode & 0o7777))?;
        }
        if wanted.uid.is_some() || wanted.gid.is_some() {
            let (uid, gid) = (wanted.uid.map(Uid::from_raw), wanted.gid.map(Gid::from_raw));
            os::chownat(&node.fd, "", uid, gid, AtFlags::EMPTY_PATH)?;
        }
        if let Some(size) = wanted.size {
            let fd = os::open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
            os::ftruncate(&fd, size)?;
        }
        if wanted.atime.is_some() || wanted.mtime.is_some() {
            let times = Timestamps {
                last_access: spec(wanted.atime),
                last_modification: spec(wanted.mtime),
            };
            os::utimensat(os::CWD, &path, &times, AtFlags::empty())?;
        }
        Ok(())
    }

    pub(super) fn make(
        &self,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        flags: i32,
    ) -> Result<Made> {
        let parent = self.node(parent)?;
        let exclusive = if flags & 0o200 != 0 { OFlags::EXCL } else { OFlags::empty() };
        let truncate = if flags & 0o1000 != 0 { OFlags::TRUNC } else { OFlags::empty() };
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | exclusive | truncate;
        let fd = os::openat(&parent.fd, name, flags, Mode::from_raw_mode(mode)).map_err(errno)?;
        let fd = Arc::new(fd);
        let stat = os::fstat(&fd).map_err(errno)?;
        self.know(stat.st_ino, || Ok(fd.clone()))?;
        Ok(Made { attributes: Self::attributes(&stat, stat.st_ino), handle: self.keep_file(fd) })
    }

    pub(super) fn list(&self, inode: INodeNo) -> Result<Vec<Entry>> {
        let node = self.node(inode)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = os::openat(&node.fd, ".", flags, Mode::empty()).map_err(errno)?;
        let mut entries = Vec::new();
        for entry in os::Dir::new(fd).map_err(errno)? {
            let entry = entry.map_err(errno)?;
            let kind = match entry.file_type() {
                os::FileType::Directory => FileType::Directory,
                os::FileType::Symlink => FileType::Symlink,
                _ => FileType::RegularFile,
            };
            let name = OsString::from_vec(entry.file_name().to_bytes().to_vec());
            entries.push(Entry { inode: entry.ino(), kind, name });
        }
        Ok(entries)
    }

    pub(super) fn listed(&self, inode: INodeNo, handle: FileHandle) -> Result<Arc<Vec<Entry>>> {
        let mut folders = self.tables.folders.lock().expect("no holder panics");
        if let Some(entries) = folders.get(&handle.0) {
            return Ok(entries.clone());
        }
        let entries = Arc::new(self.list(inode)?);
        folders.insert(handle.0, entries.clone());
        Ok(entries)
    }

    /// The attributes of an entry, known to the kernel from now on.
    pub(super) fn visit(&self, parent: &Node, entry: &Entry) -> Result<FileAttr> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let stat = os::statat(&parent.fd, &entry.name, flags).map_err(errno)?;
        if entry.name != "." && entry.name != ".." {
            self.know(stat.st_ino, || {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = os::openat(&parent.fd, &entry.name, flags, Mode::empty());
                fd.map(Arc::new).map_err(errno)
            })?;
        }
        Ok(Self::attributes(&stat, stat.st_ino))
    }
}

pub(super) struct Made {
    pub(super) attributes: FileAttr,
    pub(super) handle: FileHandle,
}

pub(super) struct Wanted {
    pub(super) mode: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) size: Option<u64>,
    pub(super) atime: Option<TimeOrNow>,
    pub(super) mtime: Option<TimeOrNow>,
}

fn spec(wanted: Option<TimeOrNow>) -> Timespec {
    match wanted {
        None => Timespec { tv_sec: 0, tv_nsec: os::UTIME_OMIT },
        Some(TimeOrNow::Now) => Timespec { tv_sec: 0, tv_nsec: os::UTIME_NOW },
        Some(TimeOrNow::SpecificTime(at)) => {
            let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
            let tv_sec = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
            Timespec { tv_sec, tv_nsec: since.subsec_nanos().into() }
        }
    }
}
