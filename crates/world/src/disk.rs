//! Folders and files: real ones, or simulated ones that fail like real ones.
//!
//! The interface is as small as the storage layer allows, so that every way a disk can fail is one
//! more behaviour of one more implementation. Calls block for as long as the operating system
//! takes: writes land in the page cache and return fast; `sync` waits for the device and belongs
//! on [`crate::World::blocking`].
//!
//! Durability, in words (both implementations):
//! - What was written survives the death of the process.
//! - What was written survives the death of the machine only after [`File::sync`] returned.
//! - A name (created, renamed, removed) survives the death of the machine only after
//!   [`Disk::sync_folder`] on its folder returned.
//! - Until then any part of it may survive, in any order, and a write may be torn.

pub mod real;
pub mod sim;

pub use real::LOCK_FILE;

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

/// One disk: a folder of a file system that all paths are relative to.
#[derive(Clone, Debug)]
pub struct Disk {
    kind: DiskKind,
}

#[derive(Clone, Debug)]
enum DiskKind {
    Real(real::Root),
    Simulated(sim::SimDisk),
}

/// Room on the file system that holds a disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What an unprivileged writer can still use.
    pub free: u64,
    pub total: u64,
    /// Files that can still be created; `None` where the file system has no such limit.
    pub inodes_free: Option<u64>,
}

impl Disk {
    /// Opens the folder `root`, creating it when absent.
    ///
    /// # Errors
    /// When the folder can be neither found nor created.
    pub fn real(root: &Path) -> io::Result<Disk> {
        Ok(Disk { kind: DiskKind::Real(real::Root::open(root)?) })
    }

    /// Wraps a simulated disk.
    #[must_use]
    pub fn simulated(disk: sim::SimDisk) -> Disk {
        Disk { kind: DiskKind::Simulated(disk) }
    }

    /// Keeps every other process from using this disk, for as long as a handle to it lives here.
    /// What only looks (an inspection) needs no lock.
    ///
    /// # Errors
    /// `ResourceBusy` when another process has it; otherwise what the operating system says.
    pub fn lock(&self) -> io::Result<()> {
        match &self.kind {
            DiskKind::Real(root) => root.lock(),
            // One simulated host is one process.
            DiskKind::Simulated(_) => Ok(()),
        }
    }

    /// Where this disk is, for messages to people.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.kind {
            DiskKind::Real(root) => root.path().display().to_string(),
            DiskKind::Simulated(disk) => disk.label(),
        }
    }

    /// The folder on the real file system, for the parts that open files of their own.
    #[must_use]
    pub fn real_path(&self) -> Option<PathBuf> {
        match &self.kind {
            DiskKind::Real(root) => Some(root.path().to_path_buf()),
            DiskKind::Simulated(_) => None,
        }
    }

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// `NotFound` when there is none; otherwise what the operating system says.
    pub fn open(&self, path: &str) -> io::Result<File> {
        let kind = match &self.kind {
            DiskKind::Real(root) => FileKind::Real(root.open_file(path, false)?),
            DiskKind::Simulated(disk) => FileKind::Simulated(disk.open_file(path, false)?),
        };
        Ok(File { kind })
    }

    /// Creates a file that must not exist yet.
    ///
    /// # Errors
    /// `AlreadyExists`; `StorageFull`; otherwise what the operating system says.
    pub fn create(&self, path: &str) -> io::Result<File> {
        let kind = match &self.kind {
            DiskKind::Real(root) => FileKind::Real(root.open_file(path, true)?),
            DiskKind::Simulated(disk) => FileKind::Simulated(disk.open_file(path, true)?),
        };
        Ok(File { kind })
    }

    /// Replaces the whole content of a small file so that a crash leaves the old or the new one,
    /// and returns once the new one is durable.
    ///
    /// # Errors
    /// What the operating system says; the old content is then still there.
    pub fn replace(&self, path: &str, content: &[u8]) -> io::Result<()> {
        let temporary = format!("{path}.new");
        self.remove_if_present(&temporary)?;
        let file = self.create(&temporary)?;
        file.write_at(0, &mut [IoSlice::new(content)])?;
        file.sync()?;
        self.rename(&temporary, path)?;
        self.sync_folder(parent(path))
    }

    /// Reads a whole file; `None` when there is none.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let file = match self.open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = usize::try_from(file.len()?).map_err(io::Error::other)?;
        let mut content = vec![0; length];
        let read = file.read_at(0, &mut content)?;
        content.truncate(read);
        Ok(Some(content))
    }

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn remove(&self, path: &str) -> io::Result<()> {
        match &self.kind {
            DiskKind::Real(root) => root.remove(path),
            DiskKind::Simulated(disk) => disk.remove(path),
        }
    }

    /// Removes a file when it is there.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn remove_if_present(&self, path: &str) -> io::Result<()> {
        match self.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes a folder and all below it, when it is there.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn remove_tree(&self, path: &str) -> io::Result<()> {
        match &self.kind {
            DiskKind::Real(root) => root.remove_tree(path),
            DiskKind::Simulated(disk) => disk.remove_tree(path),
        }
    }

    /// Renames a file, replacing what had the new name.
    ///
    /// # Errors
    /// `NotFound` when `from` is absent.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        match &self.kind {
            DiskKind::Real(root) => root.rename(from, to),
            DiskKind::Simulated(disk) => disk.rename(from, to),
        }
    }

    /// Creates a folder and its parents where they are absent.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn create_folder(&self, path: &str) -> io::Result<()> {
        match &self.kind {
            DiskKind::Real(root) => root.create_folder(path),
            DiskKind::Simulated(disk) => disk.create_folder(path),
        }
    }

    /// Names in a folder, sorted; empty when the folder is absent.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn list(&self, path: &str) -> io::Result<Vec<String>> {
        match &self.kind {
            DiskKind::Real(root) => root.list(path),
            DiskKind::Simulated(disk) => disk.list(path),
        }
    }

    /// Makes the names in a folder durable. Blocks on the device.
    ///
    /// # Errors
    /// What the operating system says; then nothing may be assumed durable.
    pub fn sync_folder(&self, path: &str) -> io::Result<()> {
        match &self.kind {
            DiskKind::Real(root) => root.sync_folder(path),
            DiskKind::Simulated(disk) => disk.sync_folder(path),
        }
    }

    /// Room on the file system.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn space(&self) -> io::Result<Space> {
        match &self.kind {
            DiskKind::Real(root) => root.space(),
            DiskKind::Simulated(disk) => disk.space(),
        }
    }
}

/// The folder part of a relative path; the disk's root for a bare name.
#[must_use]
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or(".", |(folder, _)| folder)
}

/// An open file.
#[derive(Clone, Debug)]
pub struct File {
    kind: FileKind,
}

#[derive(Clone, Debug)]
enum FileKind {
    Real(real::RealFile),
    Simulated(sim::SimFile),
}

impl File {
    /// Writes all of `parts`, one after the other, at `offset`. On an error any part of it may be
    /// there. The slices are consumed as they are written.
    ///
    /// # Errors
    /// `StorageFull` and `QuotaExceeded` when there is no room; otherwise what the system says.
    pub fn write_at(&self, offset: u64, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        match &self.kind {
            FileKind::Real(file) => file.write_at(offset, parts),
            FileKind::Simulated(file) => file.write_at(offset, parts),
        }
    }

    /// Reads up to the length of `buffer`; fewer bytes only at the end of the file.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.kind {
            FileKind::Real(file) => file.read_at(offset, buffer),
            FileKind::Simulated(file) => file.read_at(offset, buffer),
        }
    }

    /// Makes everything written so far durable. Blocks on the device.
    ///
    /// # Errors
    /// What the device says; then nothing written since the last success may be assumed durable,
    /// and trying again does not help (the kernel may have dropped the pages).
    pub fn sync(&self) -> io::Result<()> {
        match &self.kind {
            FileKind::Real(file) => file.sync(),
            FileKind::Simulated(file) => file.sync(),
        }
    }

    /// Has the operating system begin to write a range to the device, so that a later [`File::sync`] finds
    /// less to do; promises nothing. May block for a moment.
    ///
    /// # Errors
    /// What the operating system says, of the call; an error of the device is told by the next sync.
    pub fn begin_write_back(&self, offset: u64, length: u64) -> io::Result<()> {
        match &self.kind {
            FileKind::Real(file) => file.begin_write_back(offset, length),
            FileKind::Simulated(_) => Ok(()),
        }
    }

    /// Length in bytes.
    ///
    /// # Errors
    /// What the operating system says.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> io::Result<u64> {
        match &self.kind {
            FileKind::Real(file) => file.len(),
            FileKind::Simulated(file) => file.len(),
        }
    }

    /// Bytes of the disk that it takes up: less than its length where it has holes.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn allocated(&self) -> io::Result<u64> {
        match &self.kind {
            FileKind::Real(file) => file.allocated(),
            FileKind::Simulated(file) => file.allocated(),
        }
    }

    /// Cuts or extends (with zeros) to `length`.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn set_len(&self, length: u64) -> io::Result<()> {
        match &self.kind {
            FileKind::Real(file) => file.set_len(length),
            FileKind::Simulated(file) => file.set_len(length),
        }
    }

    /// Gives the room of a range back to the file system; it reads as zeros afterwards.
    ///
    /// # Errors
    /// `Unsupported` where the file system cannot; otherwise what it says.
    pub fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        match &self.kind {
            FileKind::Real(file) => file.punch(offset, length),
            FileKind::Simulated(file) => file.punch(offset, length),
        }
    }

    /// Asks for room for `length` bytes from the start, without changing the length that is read.
    ///
    /// # Errors
    /// `StorageFull` when there is no room.
    pub fn reserve(&self, length: u64) -> io::Result<()> {
        match &self.kind {
            FileKind::Real(file) => file.reserve(length),
            FileKind::Simulated(file) => file.reserve(length),
        }
    }
}

/// Whether an error means "no room", in any of the ways a file system says it.
#[must_use]
pub fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
