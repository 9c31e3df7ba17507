//! A disk of the machine: plain files below a folder.

use super::Space;
use rustix::fs::{FallocateFlags, Mode, OFlags};
use std::fs;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// The file whose lock says that a process uses the folder. It holds that process's number.
pub const LOCK_FILE: &str = "lock";

/// The folder that holds a disk.
#[derive(Clone, Debug)]
pub struct Root {
    path: Arc<PathBuf>,
    lock: Arc<OnceLock<fs::File>>,
}

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Root> {
        fs::create_dir_all(path)?;
        Ok(Root { path: Arc::new(fs::canonicalize(path)?), lock: Arc::default() })
    }

    /// Held until the last handle is dropped or the process ends, however it ends.
    pub(super) fn lock(&self) -> io::Result<()> {
        let path = self.path.join(LOCK_FILE);
        let mut options = fs::OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder)?;
                let message = format!("in use by process {}", holder.trim());
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
            }
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
        // The number is for people; the lock holds without it, and a full disk has no room for it.
        let _ = file
            .set_len(0)
            .and_then(|()| file.write_all(std::process::id().to_string().as_bytes()));
        let _ = self.lock.set(file);
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn open_file(&self, path: &str, create: bool) -> io::Result<RealFile> {
        let mut flags = OFlags::RDWR | OFlags::CLOEXEC;
        if create {
            flags |= OFlags::CREATE | OFlags::EXCL;
        }
        let fd = rustix::fs::open(self.path.join(path), flags, Mode::from_raw_mode(0o640))?;
        Ok(RealFile { fd: Arc::new(fd) })
    }

    pub(super) fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(path))
    }

    pub(super) fn remove_tree(&self, path: &str) -> io::Result<()> {
        match fs::remove_dir_all(self.path.join(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    pub(super) fn create_folder(&self, path: &str) -> io::Result<()> {
        fs::create_dir_all(self.path.join(path))
    }

    pub(super) fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path.join(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            // Names that are not UTF-8 were not made by us.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    pub(super) fn sync_folder(&self, path: &str) -> io::Result<()> {
        fs::File::open(self.path.join(path))?.sync_all()
    }

    pub(super) fn space(&self) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(self.path.as_path())?;
        let inodes_free = (stat.f_files > 0).then_some(stat.f_favail);
        Ok(Space {
            free: stat.f_bavail * stat.f_frsize,
            total: stat.f_blocks * stat.f_frsize,
            inodes_free,
        })
    }
}

/// An open file of the machine.
#[derive(Clone, Debug)]
pub struct RealFile {
    fd: Arc<OwnedFd>,
}

impl RealFile {
    pub(super) fn write_at(&self, offset: u64, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut offset = offset;
        let mut rest = parts;
        while !rest.is_empty() {
            // The kernel takes at most 1024 slices at a time.
            let batch = rest.len().min(1024);
            let written = match rustix::io::pwritev(&self.fd, &rest[..batch], offset) {
                Err(rustix::io::Errno::INTR) => continue,
                written => written?,
            };
            if written == 0 && rest.iter().any(|part| !part.is_empty()) {
                return Err(io::ErrorKind::WriteZero.into());
            }
            offset += written as u64;
            IoSlice::advance_slices(&mut rest, written);
        }
        Ok(())
    }

    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match rustix::io::pread(&self.fd, &mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(done)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.fd)?)
    }

    pub(super) fn begin_write_back(&self, offset: u64, length: u64) -> io::Result<()> {
        // The kernel begins to write dirty pages of a range that is said not to be needed.
        let length = std::num::NonZeroU64::new(length);
        Ok(rustix::fs::fadvise(&self.fd, offset, length, rustix::fs::Advice::DontNeed)?)
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstat(&self.fd)?;
        u64::try_from(stat.st_size).map_err(io::Error::other)
    }

    pub(super) fn allocated(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstat(&self.fd)?;
        // In units of 512 bytes, whatever the file system's blocks are.
        Ok(u64::try_from(stat.st_blocks).map_err(io::Error::other)? * 512)
    }

    pub(super) fn set_len(&self, length: u64) -> io::Result<()> {
        Ok(rustix::fs::ftruncate(&self.fd, length)?)
    }

    pub(super) fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(&self.fd, flags, offset, length)?)
    }

    pub(super) fn reserve(&self, length: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(&self.fd, FallocateFlags::KEEP_SIZE, 0, length)?)
    }
}
