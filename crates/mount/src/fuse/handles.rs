//! Open files and folders, by the number that the kernel knows them by.

use client::File;
use fuser::FopenFlags;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use types::namespace::{Attributes, DirectoryEntry};

const O_APPEND: i32 = 0o2000;
const O_DIRECT: i32 = 0o40000;

/// An open file.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub file: File,
    /// Every write goes to the end.
    pub append: bool,
    /// Writes are acknowledged by the cluster before they return.
    pub direct: bool,
}

/// An open folder: where the last page ended, and what of it the kernel has not taken yet.
#[derive(Debug, Default)]
pub(super) struct OpenFolder {
    pub page: Mutex<Page>,
}

#[derive(Debug, Default)]
pub(super) struct Page {
    /// The cookie after which `entries` begin.
    pub after: u64,
    pub entries: VecDeque<DirectoryEntry>,
    /// Nothing comes after `entries`.
    pub end: bool,
    pub parent: u64,
}

/// All handles of a mount.
#[derive(Debug, Default)]
pub(super) struct Handles {
    next: AtomicU64,
    files: Mutex<HashMap<u64, Arc<OpenFile>>>,
    folders: Mutex<HashMap<u64, Arc<OpenFolder>>>,
    /// The version of a file when the kernel last began to keep its pages.
    versions: Mutex<HashMap<u64, u64>>,
}

/// Versions remembered before the memory is begun anew.
const VERSIONS_MAX: usize = 1 << 16;

impl Handles {
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Opens a file; tells how the kernel should treat it.
    pub(super) fn open(
        &self,
        file: File,
        attributes: &Attributes,
        flags: i32,
    ) -> (u64, FopenFlags) {
        let append = flags & O_APPEND != 0;
        let direct = flags & O_DIRECT != 0;
        let mut kernel = FopenFlags::empty();
        if append || direct {
            kernel |= FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES;
        } else if self.is_unchanged(attributes) && !file.is_held_elsewhere(attributes) {
            kernel |= FopenFlags::FOPEN_KEEP_CACHE;
        }
        let number = self.number();
        let open = Arc::new(OpenFile { file, append, direct });
        self.files.lock().expect("no holder panics").insert(number, open);
        (number, kernel)
    }

    /// Whether the pages that the kernel may have of a file are those of its present version.
    fn is_unchanged(&self, attributes: &Attributes) -> bool {
        let mut versions = self.versions.lock().expect("no holder panics");
        if versions.len() >= VERSIONS_MAX {
            versions.clear();
        }
        versions.insert(attributes.inode, attributes.version) == Some(attributes.version)
    }

    /// This mount itself brought the file from one version to the next.
    pub(super) fn note_own_change(&self, inode: u64, before: u64, after: u64) {
        let mut versions = self.versions.lock().expect("no holder panics");
        if let Some(version) = versions.get_mut(&inode)
            && *version == before
        {
            *version = after;
        }
    }

    pub(super) fn file(&self, number: u64) -> Option<Arc<OpenFile>> {
        self.files.lock().expect("no holder panics").get(&number).cloned()
    }

    pub(super) fn close(&self, number: u64) -> Option<Arc<OpenFile>> {
        self.files.lock().expect("no holder panics").remove(&number)
    }

    pub(super) fn open_folder(&self) -> u64 {
        let number = self.number();
        let mut folders = self.folders.lock().expect("no holder panics");
        folders.insert(number, Arc::default());
        number
    }

    pub(super) fn folder(&self, number: u64) -> Option<Arc<OpenFolder>> {
        self.folders.lock().expect("no holder panics").get(&number).cloned()
    }

    pub(super) fn close_folder(&self, number: u64) {
        self.folders.lock().expect("no holder panics").remove(&number);
    }
}
