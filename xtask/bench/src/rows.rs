//! The rows of the table: what is run, what it is compared with, and what is to be reached.

use crate::target::{Kind, Target};
use crate::workload::{self as work, Done, Scale};
use anyhow::Result;
use std::fs;
use std::path::{Path, PathBuf};

/// One row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub name: &'static str,
    pub title: &'static str,
    /// What it is compared with.
    pub reference: Kind,
    /// The least share of the reference's speed.
    pub goal: f64,
    /// What one unit of the figures is.
    pub unit: Unit,
    pub run: fn(&Run<'_>) -> Result<Done>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    Operations,
    Seconds,
}

/// One run of a row on one target.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub target: &'a Target,
    pub scale: &'a Scale,
    /// Where the tree to unpack and clone lies.
    pub base: &'a Path,
}

impl Run<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.target.folder.join(name)
    }

    /// A file of a length, made once per target.
    fn file(&self, name: &str, bytes: u64) -> Result<PathBuf> {
        let path = self.path(name);
        if fs::metadata(&path).map(|found| found.len()).unwrap_or(0) != bytes {
            work::sequential_write(self.target, &path, bytes)?;
        }
        Ok(path)
    }

    /// A folder of small files, made once per target.
    fn folder(&self) -> Result<PathBuf> {
        let folder = self.path("entries");
        if !folder.exists() {
            fs::create_dir(&folder)?;
            work::create_some(&folder, self.scale.folder_entries)?;
        }
        Ok(folder)
    }

    fn create(&self, threads: u64) -> Result<Done> {
        let folder = self.path("create");
        let done = work::create(self.target, &folder, self.scale.creates, threads)?;
        fs::remove_dir_all(&folder)?;
        Ok(done)
    }

    fn random(&self, writes: bool) -> Result<Done> {
        let path = self.file("random", self.scale.random_bytes)?;
        if !writes {
            // What is compared is the way through the system and not the disk.
            work::sequential_read(self.target, &path, self.scale.random_bytes)?;
        }
        work::random_direct(self.target, &path, self.scale, 8, writes)
    }

    /// Renames and unlinks go together: the one leaves what the other takes.
    fn renamed(&self) -> Result<(Done, PathBuf)> {
        let folder = self.path("names");
        fs::create_dir(&folder)?;
        work::create_some(&folder, self.scale.creates)?;
        Ok((work::rename(self.target, &folder, self.scale.creates)?, folder))
    }

    fn untar(&self) -> Result<(Done, PathBuf)> {
        let folder = self.path("untar");
        Ok((work::untar(self.target, self.base, &folder, self.scale.tree_files)?, folder))
    }
}

/// All rows, in the order in which they are run.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "seq-write",
        title: "sequential write, 1 MiB blocks, fsync at the end",
        reference: Kind::Local,
        goal: 0.30,
        unit: Unit::Bytes,
        run: |run| {
            work::sequential_write(run.target, &run.path("sequential"), run.scale.sequential_bytes)
        },
    },
    Row {
        name: "seq-read-cold",
        title: "sequential read, cold",
        reference: Kind::Passthrough,
        goal: 0.9,
        unit: Unit::Bytes,
        run: |run| {
            let path = run.file("sequential", run.scale.sequential_bytes)?;
            work::drop_caches()?;
            work::sequential_read(run.target, &path, run.scale.sequential_bytes)
        },
    },
    Row {
        name: "seq-read-warm",
        title: "sequential read, warm",
        reference: Kind::Local,
        goal: 0.8,
        unit: Unit::Bytes,
        run: |run| {
            let path = run.file("sequential", run.scale.sequential_bytes)?;
            work::sequential_read(run.target, &path, run.scale.sequential_bytes)?;
            work::sequential_read(run.target, &path, run.scale.sequential_bytes)
        },
    },
    Row {
        name: "rand-read-direct-8",
        title: "random read 4 KiB, direct, 8 threads",
        reference: Kind::Passthrough,
        goal: 0.6,
        unit: Unit::Operations,
        run: |run| run.random(false),
    },
    Row {
        name: "rand-write-direct-8",
        title: "random write 4 KiB, direct, 8 threads",
        reference: Kind::Passthrough,
        goal: 0.4,
        unit: Unit::Operations,
        run: |run| run.random(true),
    },
    Row {
        name: "rand-write-buffered",
        title: "random write 4 KiB, buffered, fsync at the end",
        reference: Kind::Passthrough,
        goal: 0.4,
        unit: Unit::Operations,
        run: |run| {
            let path = run.file("random", run.scale.random_bytes)?;
            work::random_buffered(run.target, &path, run.scale)
        },
    },
    Row {
        name: "append-fsync-1",
        title: "append 4 KiB + fsync, 1 thread",
        reference: Kind::Local,
        goal: 0.5,
        unit: Unit::Operations,
        run: |run| work::append_fsync(run.target, run.scale, 1),
    },
    Row {
        name: "append-fsync-8",
        title: "append 4 KiB + fsync, 8 threads",
        reference: Kind::Local,
        goal: 0.4,
        unit: Unit::Operations,
        run: |run| work::append_fsync(run.target, run.scale, 8),
    },
    Row {
        name: "create-1",
        title: "create 4 KiB files, 1 thread",
        reference: Kind::Passthrough,
        goal: 0.5,
        unit: Unit::Operations,
        run: |run| run.create(1),
    },
    Row {
        name: "create-8",
        title: "create 4 KiB files, 8 threads",
        reference: Kind::Passthrough,
        goal: 0.6,
        unit: Unit::Operations,
        run: |run| run.create(8),
    },
    Row {
        name: "stat",
        title: "stat, warm",
        reference: Kind::Passthrough,
        goal: 0.9,
        unit: Unit::Operations,
        run: |run| {
            let folder = run.folder()?;
            work::stat(run.target, &folder, run.scale.folder_entries)?;
            work::stat(run.target, &folder, run.scale.folder_entries)
        },
    },
    Row {
        name: "readdir",
        title: "readdir, warm",
        reference: Kind::Passthrough,
        goal: 0.9,
        unit: Unit::Operations,
        run: |run| {
            let folder = run.folder()?;
            work::read_folder(run.target, &folder, run.scale.folder_entries)?;
            work::read_folder(run.target, &folder, run.scale.folder_entries)
        },
    },
    Row {
        name: "ls-l",
        title: "ls -l, warm",
        reference: Kind::Passthrough,
        goal: 0.9,
        unit: Unit::Operations,
        run: |run| {
            let folder = run.folder()?;
            work::list_long(run.target, &folder, run.scale.folder_entries)?;
            work::list_long(run.target, &folder, run.scale.folder_entries)
        },
    },
    Row {
        name: "rename",
        title: "rename",
        reference: Kind::Passthrough,
        goal: 0.5,
        unit: Unit::Operations,
        run: |run| {
            let (done, folder) = run.renamed()?;
            fs::remove_dir_all(folder)?;
            Ok(done)
        },
    },
    Row {
        name: "unlink",
        title: "unlink",
        reference: Kind::Passthrough,
        goal: 0.5,
        unit: Unit::Operations,
        run: |run| {
            let (_, folder) = run.renamed()?;
            let done = work::unlink(run.target, &folder, run.scale.creates)?;
            fs::remove_dir(folder)?;
            Ok(done)
        },
    },
    Row {
        name: "untar",
        title: "untar of 5,000 files",
        reference: Kind::Passthrough,
        goal: 0.5,
        unit: Unit::Seconds,
        run: |run| {
            let (done, folder) = run.untar()?;
            fs::remove_dir_all(folder)?;
            Ok(done)
        },
    },
    Row {
        name: "git-clone",
        title: "git clone of 5,000 files",
        reference: Kind::Passthrough,
        goal: 0.5,
        unit: Unit::Seconds,
        run: |run| {
            let folder = run.path("clone");
            let done = work::clone(run.target, run.base, &folder, run.scale.tree_files)?;
            fs::remove_dir_all(folder)?;
            Ok(done)
        },
    },
    Row {
        name: "rm-rf",
        title: "rm -rf of 5,000 files",
        reference: Kind::Passthrough,
        goal: 0.5,
        unit: Unit::Seconds,
        run: |run| {
            let (_, folder) = run.untar()?;
            work::remove_tree(run.target, &folder, run.scale.tree_files)
        },
    },
];
