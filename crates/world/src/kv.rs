//! Key-value databases: one per disk, shared by the partitions on that disk.
//!
//! A [`Database`] is opened once per disk. Each partition takes a [`Kv`] handle from it, which sees
//! only the keys that begin with the handle's own prefix; the prefix is added and taken away here, so a
//! partition cannot touch what belongs to another. The contract of a handle is [`types::kv::Kv`];
//! the same conformance suite runs on both kinds of database.
//!
//! All partitions of a disk share one journal: `persist` on one handle makes the writes of all durable.
//!
//! What it leaves out: when to persist and what to do about damage (the node's business).

mod contents;
mod real;
mod simulated;

#[cfg(test)]
mod conformance;

pub use real::Budget;
pub use simulated::Faults;

use crate::disk::sim::SimDisk;
use bytes::Bytes;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use types::kv::{Batch, Error, Read, Visit, prefix_end};

/// The two families of keys of a disk, tuned for what they hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Many small values: inodes and names.
    Metadata,
    /// Few large values, up to some hundred KiB: indexes of chunks.
    Index,
}

/// The database of one disk. Clones share it; it closes when the last handle is gone.
#[derive(Clone, Debug)]
pub struct Database {
    engine: Engine,
}

#[derive(Clone, Debug)]
enum Engine {
    Real(Arc<real::Database>),
    Simulated(simulated::Database),
}

impl Database {
    /// Opens the database in `folder`, and makes it when there is none. Blocks while it reads its journal.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it cannot be read back: remove it and rebuild it from the log.
    pub fn open(folder: &Path, budget: Budget) -> Result<Database, Error> {
        Ok(Database { engine: Engine::Real(Arc::new(real::Database::open(folder, budget)?)) })
    }

    /// An empty database in memory that can crash and be damaged: see [`Database::faults`].
    #[must_use]
    pub fn simulated() -> Database {
        Database { engine: Engine::Simulated(simulated::Database::default()) }
    }

    /// One like it that takes its room from a simulated disk.
    #[must_use]
    pub fn simulated_on(disk: SimDisk) -> Database {
        Database { engine: Engine::Simulated(simulated::Database::on(disk)) }
    }

    /// Opens the database again if a write that found no room has stopped it; otherwise does nothing.
    /// What was written is there again. Whoever reads waits meanwhile. Blocks.
    ///
    /// # Errors
    /// While it is still read from, and when it cannot be opened.
    pub fn reopen(&self) -> Result<(), Error> {
        match &self.engine {
            Engine::Real(database) => database.reopen(),
            Engine::Simulated(database) => {
                database.reopen();
                Ok(())
            }
        }
    }

    /// What may be done to a simulated database; `None` for a real one.
    #[must_use]
    pub fn faults(&self) -> Option<Faults> {
        match &self.engine {
            Engine::Real(_) => None,
            Engine::Simulated(database) => Some(database.faults()),
        }
    }

    /// A handle on the keys of `space` that begin with `prefix`.
    ///
    /// No prefix in use may be the beginning of another; equal lengths see to it.
    #[must_use]
    pub fn handle(&self, space: Space, prefix: impl Into<Bytes>) -> Kv {
        let engine = match &self.engine {
            Engine::Real(database) => Handle::Real(Arc::clone(database), space),
            Engine::Simulated(database) => Handle::Simulated(database.handle(space)),
        };
        Kv { handle: engine, prefix: prefix.into() }
    }

    /// What the database uses, for metrics.
    #[must_use]
    pub fn usage(&self) -> Usage {
        match &self.engine {
            Engine::Real(database) => database.usage(),
            Engine::Simulated(database) => database.usage(),
        }
    }

    /// Returns once everything written so far through any handle would survive a power cut.
    ///
    /// # Errors
    /// [`Error::NoSpace`] or [`Error::Io`]: then nothing new may be assumed durable.
    pub fn persist(&self) -> Result<(), Error> {
        match &self.engine {
            Engine::Real(database) => database.persist(),
            Engine::Simulated(database) => database.handle(Space::Metadata).persist(),
        }
    }
}

/// What one database uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes on the disk, journal included.
    pub disk_bytes: u64,
    /// Bytes of the journal on the disk.
    pub journal_bytes: u64,
    /// Bytes written but not yet in tables, in memory.
    pub memtable_bytes: u64,
    /// Bytes of cached blocks, in memory.
    pub cache_bytes: u64,
}

/// One partition's keys in one database. Cheap to clone; implements [`types::kv::Kv`].
#[derive(Clone, Debug)]
pub struct Kv {
    handle: Handle,
    prefix: Bytes,
}

#[derive(Clone, Debug)]
enum Handle {
    Real(Arc<real::Database>, Space),
    Simulated(simulated::Handle),
}

impl Kv {
    fn key(&self, key: &[u8]) -> Bytes {
        joined(&self.prefix, key)
    }
}

impl Read for Kv {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let key = self.key(key);
        match &self.handle {
            Handle::Real(database, space) => database.get(*space, &key),
            Handle::Simulated(handle) => handle.get(&key),
        }
    }

    fn scan(&self, from: &[u8], until: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), Error> {
        within(&self.prefix, from, until, visit, |from, until, visit| match &self.handle {
            Handle::Real(database, space) => database.scan(*space, from, until, visit),
            Handle::Simulated(handle) => handle.scan(from, until, visit),
        })
    }
}

impl types::kv::Kv for Kv {
    fn write(&self, batch: Batch) -> Result<(), Error> {
        let changes = batch.into_iter().map(|(key, value)| (self.key(&key), value));
        match &self.handle {
            Handle::Real(database, space) => database.write(*space, changes),
            Handle::Simulated(handle) => handle.write(changes),
        }
    }

    fn persist(&self) -> Result<(), Error> {
        match &self.handle {
            Handle::Real(database, _) => database.persist(),
            Handle::Simulated(handle) => handle.persist(),
        }
    }

    fn snapshot(&self) -> Arc<dyn Read> {
        let view: Arc<dyn Read> = match &self.handle {
            Handle::Real(database, space) => database.snapshot(*space),
            Handle::Simulated(handle) => Arc::new(handle.snapshot()),
        };
        Arc::new(Scoped { view, prefix: self.prefix.clone() })
    }

    fn approximate_bytes(&self) -> u64 {
        match &self.handle {
            Handle::Real(database, _) => database.usage().disk_bytes,
            Handle::Simulated(handle) => handle.usage().disk_bytes,
        }
    }
}

/// A snapshot, seen through a handle's prefix.
struct Scoped {
    view: Arc<dyn Read>,
    prefix: Bytes,
}

impl Read for Scoped {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.view.get(&joined(&self.prefix, key))
    }

    fn scan(&self, from: &[u8], until: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), Error> {
        within(&self.prefix, from, until, visit, |from, until, visit| {
            self.view.scan(from, until, visit)
        })
    }
}

fn joined(prefix: &[u8], key: &[u8]) -> Bytes {
    let mut whole = Vec::with_capacity(prefix.len() + key.len());
    whole.extend_from_slice(prefix);
    whole.extend_from_slice(key);
    whole.into()
}

/// Runs `scan` over the keys that begin with `prefix`, which its visitor does not see.
fn within(
    prefix: &[u8],
    from: &[u8],
    until: Option<&[u8]>,
    visit: &mut Visit<'_>,
    scan: impl FnOnce(&[u8], Option<&[u8]>, &mut Visit<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let end = match until {
        Some(until) => Some(joined(prefix, until)),
        None => prefix_end(prefix).map(Bytes::from),
    };
    scan(&joined(prefix, from), end.as_deref(), &mut |key, value| match key.get(prefix.len()..) {
        Some(rest) => visit(rest, value),
        None => ControlFlow::Break(()),
    })
}
