//! The real database: fjall, an LSM tree with a journal.
//!
//! What was learned about fjall 3.1 and is built in here:
//! - A batch that names a key twice would insert it twice under one internal sequence number, so
//!   batches are reduced to the last change of each key first.
//! - With more than one worker thread, worker 0 hands compactions back to the queue and spins while
//!   another compacts. One worker it is; an idle database costs no CPU.
//! - After a failed write the database refuses all further ones ("poisoned") until it is opened anew.
//!   What it has written can still be read. Where the failure was want of room, the node has it opened
//!   anew once there is some: no process has to start again for that.
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
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use types::kv::{Error, Read, Visit};
use types::limits::ROOM_BYTES_MIN;

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

/// What is written to see whether there is room.
const TRIAL_BYTES: usize = 64 << 10;

/// Open tables whose file handles are kept; the rest are opened when needed.
const FILES_OPEN_MAX: usize = 128;

/// Values of the index space at least this long are kept apart from their keys, so that compacting
/// the keys does not copy them.
const SEPARATION_BYTES_MIN: u32 = 16 << 10;

/// The database of a disk, over as many openings as it takes.
pub(super) struct Database {
    folder: PathBuf,
    budget: Budget,
    /// Held for long by `reopen` only. Without a database: why it could not be opened again.
    open: RwLock<Result<Arc<Open>, Error>>,
    /// What stopped it from writing.
    stop: Mutex<Option<Error>>,
}

/// One opening of it.
struct Open {
    database: fjall::Database,
    metadata: Keyspace,
    index: Keyspace,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Open {
    fn new(folder: &Path, budget: Budget) -> Result<Open, Error> {
        let doing = "opening the database";
        super::contents::check(folder)?;
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
        Ok(Open { database, metadata, index })
    }

    fn space(&self, space: Space) -> &Keyspace {
        match space {
            Space::Metadata => &self.metadata,
            Space::Index => &self.index,
        }
    }
}

impl Database {
    pub(super) fn open(folder: &Path, budget: Budget) -> Result<Database, Error> {
        let open = RwLock::new(Ok(Arc::new(Open::new(folder, budget)?)));
        Ok(Database { folder: folder.to_owned(), budget, open, stop: Mutex::default() })
    }

    /// The present opening. Nobody keeps it for longer than one call, but for snapshots.
    fn now(&self) -> Result<Arc<Open>, Error> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn stop(&self) -> MutexGuard<'_, Option<Error>> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn reopen(&self) -> Result<(), Error> {
        let mut slot = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if let Ok(open) = &mut *slot {
            if !matches!(*self.stop(), Some(Error::NoSpace { .. })) {
                return Ok(());
            }
            // The folder stays locked for as long as anything of the old one is there.
            if Arc::get_mut(open).is_none() {
                let detail = "somebody still reads it".to_owned();
                return Err(Error::Io { doing: "opening the database again", detail });
            }
        }
        *slot = Err(Error::NoSpace { doing: "reading a database that is being opened again" });
        *slot = Open::new(&self.folder, self.budget).map(Arc::new);
        if let Err(error) = &*slot {
            return Err(error.clone());
        }
        *self.stop() = None;
        tracing::info!(folder = %self.folder.display(), "the database was opened again");
        Ok(())
    }

    /// Notes what stops the database, and says why nothing was written.
    fn refused(&self, doing: &'static str, error: &fjall::Error) -> Error {
        let mut stop = self.stop();
        let explained = match (error, &*stop) {
            (fjall::Error::Poisoned, Some(stopped)) => return stopped.clone(),
            // Its own thread met the trouble, and told nobody what it was.
            (fjall::Error::Poisoned, None) if self.lacks_room() => Error::NoSpace { doing },
            _ => explain(doing, error),
        };
        stop.get_or_insert(explained).clone()
    }

    fn lacks_room(&self) -> bool {
        let scarce = |stat: rustix::fs::StatVfs| stat.f_bavail * stat.f_frsize < ROOM_BYTES_MIN;
        rustix::fs::statvfs(&self.folder).is_ok_and(scarce) || self.try_write().is_err()
    }

    /// A quota leaves less than what is free.
    fn try_write(&self) -> std::io::Result<()> {
        let path = self.folder.join("room");
        let written = std::fs::write(&path, [1; TRIAL_BYTES])
            .and_then(|()| std::fs::File::open(&path)?.sync_all());
        std::fs::remove_file(&path)?;
        written
    }

    pub(super) fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let open = self.now()?;
        let value = open.space(space).get(key).map_err(|error| explain("reading a key", &error))?;
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
        visit_all(self.now()?.space(space).range::<&[u8], _>(bounds(from, until)), visit)
    }

    pub(super) fn write(
        &self,
        space: Space,
        changes: impl Iterator<Item = (Bytes, Option<Bytes>)>,
    ) -> Result<(), Error> {
        let last = last_of_each_key(changes.collect());
        let open = self.now()?;
        let keyspace = open.space(space);
        let mut batch = open.database.batch();
        for (key, value) in last {
            match value {
                Some(value) => batch.insert(keyspace, key, value),
                None => batch.remove(keyspace, key),
            }
        }
        batch.commit().map_err(|error| self.refused("writing a batch", &error))
    }

    pub(super) fn persist(&self) -> Result<(), Error> {
        let persisted = self.now()?.database.persist(PersistMode::SyncData);
        persisted.map_err(|error| self.refused("persisting the journal", &error))
    }

    pub(super) fn snapshot(&self, space: Space) -> Arc<dyn Read> {
        match self.now() {
            Err(error) => Arc::new(Closed(error)),
            Ok(open) => {
                let (snapshot, keyspace) = (open.database.snapshot(), open.space(space).clone());
                Arc::new(Snapshot { snapshot, keyspace, _open: open })
            }
        }
    }

    pub(super) fn usage(&self) -> Usage {
        let Ok(open) = self.now() else { return Usage::default() };
        let journal_bytes = open.database.journal_disk_space().unwrap_or(0);
        let tables = open.metadata.disk_space() + open.index.disk_space();
        Usage {
            disk_bytes: journal_bytes + tables,
            journal_bytes,
            memtable_bytes: open.database.write_buffer_size(),
            cache_bytes: open.database.cache_size(),
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
struct Snapshot {
    snapshot: fjall::Snapshot,
    keyspace: Keyspace,
    /// Dropped last.
    _open: Arc<Open>,
}

/// A moment at which there was no database.
struct Closed(Error);

impl Read for Closed {
    fn get(&self, _key: &[u8]) -> Result<Option<Bytes>, Error> {
        Err(self.0.clone())
    }

    fn scan(&self, _: &[u8], _: Option<&[u8]>, _: &mut Visit<'_>) -> Result<(), Error> {
        Err(self.0.clone())
    }
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
