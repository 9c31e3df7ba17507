//! The real database: fjall, an LSM tree with a journal.
//!
//! What was learned about fjall 3.1 and is built in here:
//! - A batch that names a key twice would insert it twice under one internal sequence number, so
//!   batches are reduced to the last change of each key first.
//! - With more than one worker thread, worker 0 hands compactions back to the queue and spins while
//!   another compacts. One worker it is; an idle database costs no CPU.
//! - After a failed write the database refuses all further ones ("poisoned") until it is opened anew.
//! - `clear` and FIFO compaction are not used; a partition is removed key by key, in steps.
//! - The journal is cut only when every memtable with data in it was flushed; a quiet space is flushed
//!   when the journal reaches its limit, so it stays bounded.

use super::{Space, Usage};
use bytes::Bytes;
use fjall::{
    CompressionType, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode, Readable,
};
use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::ops::Bound;
use std::path::Path;
use types::kv::{Error, Read, Visit};

/// The memory and journal a database may use, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Cached blocks of tables.
    pub cache_bytes: u64,
    /// One memtable; each of the two spaces may hold up to five while it flushes, usually one.
    pub memtable_bytes: u64,
    /// All journals on the disk; fjall allows no less than 64 MiB.
    pub journal_bytes: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { cache_bytes: 24 << 20, memtable_bytes: 8 << 20, journal_bytes: 128 << 20 }
    }
}

const JOURNAL_BYTES_MIN: u64 = 64 << 20;

/// Open tables whose file handles are kept; the rest are opened when needed.
const FILES_OPEN_MAX: usize = 128;

/// Values of the index space at least this long are kept apart from their keys, so that compacting
/// the keys does not copy them.
const SEPARATION_BYTES_MIN: u32 = 16 << 10;

pub(super) struct Database {
    database: fjall::Database,
    metadata: Keyspace,
    index: Keyspace,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("path", &self.metadata.path()).finish_non_exhaustive()
    }
}

impl Database {
    pub(super) fn open(folder: &Path, budget: Budget) -> Result<Database, Error> {
        let doing = "opening the database";
        let database = fjall::Database::builder(folder)
            .cache_size(budget.cache_bytes)
            .max_journaling_size(budget.journal_bytes.max(JOURNAL_BYTES_MIN))
            .max_cached_files(Some(FILES_OPEN_MAX))
            .worker_threads(1)
            .journal_compression(CompressionType::None)
            .open()
            .map_err(|error| explain(doing, &error))?;
        let small = || KeyspaceCreateOptions::default().max_memtable_size(budget.memtable_bytes);
        let large = || {
            let separation =
                KvSeparationOptions::default().separation_threshold(SEPARATION_BYTES_MIN);
            small().with_kv_separation(Some(separation))
        };
        let metadata =
            database.keyspace("metadata", small).map_err(|error| explain(doing, &error))?;
        let index = database.keyspace("index", large).map_err(|error| explain(doing, &error))?;
        Ok(Database { database, metadata, index })
    }

    fn space(&self, space: Space) -> &Keyspace {
        match space {
            Space::Metadata => &self.metadata,
            Space::Index => &self.index,
        }
    }

    pub(super) fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let value = self.space(space).get(key).map_err(|error| explain("reading a key", &error))?;
        Ok(value.map(Bytes::from))
    }

    pub(super) fn scan(
        &self,
        space: Space,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), Error> {
        if until.is_some_and(|until| until <= from) {
            return Ok(());
        }
        visit_all(self.space(space).range::<&[u8], _>(bounds(from, until)), visit)
    }

    pub(super) fn write(
        &self,
        space: Space,
        changes: impl Iterator<Item = (Bytes, Option<Bytes>)>,
    ) -> Result<(), Error> {
        let last = last_of_each_key(changes.collect());
        let keyspace = self.space(space);
        let mut batch = self.database.batch();
        for (key, value) in last {
            match value {
                Some(value) => batch.insert(keyspace, key, value),
                None => batch.remove(keyspace, key),
            }
        }
        batch.commit().map_err(|error| explain("writing a batch", &error))
    }

    pub(super) fn persist(&self) -> Result<(), Error> {
        self.database
            .persist(PersistMode::SyncData)
            .map_err(|error| explain("persisting the journal", &error))
    }

    pub(super) fn snapshot(&self, space: Space) -> Snapshot {
        Snapshot { snapshot: self.database.snapshot(), keyspace: self.space(space).clone() }
    }

    pub(super) fn usage(&self) -> Usage {
        let journal_bytes = self.database.journal_disk_space().unwrap_or(0);
        let tables = self.metadata.disk_space() + self.index.disk_space();
        Usage {
            disk_bytes: journal_bytes + tables,
            journal_bytes,
            memtable_bytes: self.database.write_buffer_size(),
            cache_bytes: self.database.cache_size(),
        }
    }
}

/// The last change of each key. Batches that come in ascending order, as most do, are left as they are.
fn last_of_each_key(changes: Vec<(Bytes, Option<Bytes>)>) -> Vec<(Bytes, Option<Bytes>)> {
    if changes.is_sorted_by(|a, b| a.0 < b.0) {
        return changes;
    }
    changes.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect()
}

/// One moment of one space.
pub(super) struct Snapshot {
    snapshot: fjall::Snapshot,
    keyspace: Keyspace,
}

impl Read for Snapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let value = self.snapshot.get(&self.keyspace, key);
        Ok(value.map_err(|error| explain("reading a key", &error))?.map(Bytes::from))
    }

    fn scan(&self, from: &[u8], until: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), Error> {
        if until.is_some_and(|until| until <= from) {
            return Ok(());
        }
        let range = self.snapshot.range::<&[u8], _>(&self.keyspace, bounds(from, until));
        visit_all(range, visit)
    }
}

fn bounds<'a>(from: &'a [u8], until: Option<&'a [u8]>) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
    (Bound::Included(from), until.map_or(Bound::Unbounded, Bound::Excluded))
}

fn visit_all(pairs: fjall::Iter, visit: &mut Visit<'_>) -> Result<(), Error> {
    for pair in pairs {
        let (key, value) = pair.into_inner().map_err(|error| explain("scanning", &error))?;
        if visit(&key, &value).is_break() {
            break;
        }
    }
    Ok(())
}

/// Says what kind of trouble fjall's error means for us.
fn explain(doing: &'static str, error: &fjall::Error) -> Error {
    use fjall::LsmError;
    let detail = error.to_string();
    match error {
        fjall::Error::Io(io) | fjall::Error::Storage(LsmError::Io(io)) => {
            explain_io(doing, io, detail)
        }
        fjall::Error::Storage(_)
        | fjall::Error::JournalRecovery(_)
        | fjall::Error::InvalidVersion(_)
        | fjall::Error::Decompress(_)
        | fjall::Error::InvalidTrailer
        | fjall::Error::InvalidTag(_)
        | fjall::Error::Unrecoverable => Error::Damaged { doing, detail },
        _ => Error::Io { doing, detail },
    }
}

fn explain_io(doing: &'static str, io: &std::io::Error, detail: String) -> Error {
    match io.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::NoSpace { doing },
        // What fjall read was not what it expected to find.
        ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::NotFound => {
            Error::Damaged { doing, detail }
        }
        _ => Error::Io { doing, detail },
    }
}
