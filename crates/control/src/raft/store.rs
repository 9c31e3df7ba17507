//! The log, the vote and the snapshot of one member, in one redb database.
//!
//! ```text
//! table "meta"  "format" -> 1    "vote", "committed", "purged", "snapshot" -> JSON
//! table "log"   index -> JSON of the entry
//! table "data"  "snapshot" -> the encoded state
//! ```
//!
//! What it promises: a vote and appended entries are on disk when the call returns (the callback is
//! called). What it leaves out: the last committed id is written without waiting for the disk; if it
//! is lost, a restarted member learns it from the leader. A full disk is no failure: see `keeper`.

use super::keeper::{Keeper, Shortage};
use super::{Entry, LogId, SnapshotMeta, StorageError, TypeConfig, Vote};
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{AnyError, ErrorSubject, ErrorVerb, LogState, OptionalSend, RaftLogReader};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use world::{Disk, World};

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const DATA: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("data");

const FORMAT: &str = "format";
const VOTE: &str = "vote";
const COMMITTED: &str = "committed";
const PURGED: &str = "purged";
const SNAPSHOT: &str = "snapshot";

/// Version of the tables and their contents.
pub const FORMAT_VERSION: u32 = 1;

/// Entries handed out at once end before they are larger than this together. Bytes.
const BATCH_BYTES_MAX: usize = 512 << 10;

/// What can go wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the database of the control plane failed: {0}")]
    Database(#[from] redb::Error),
    #[error("the database of the control plane holds a damaged entry: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("the database of the control plane has format {found}, and this program knows {known}")]
    Format { found: u32, known: u32 },
    #[error("the database of the control plane is being opened again")]
    Closed,
}

impl Error {
    /// Whether there was no room to write it.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        matches!(self, Error::Database(redb::Error::Io(error)) if world::disk::is_no_space(error))
    }
}

macro_rules! from_redb {
    ($($kind:ident),+) => {
        $(impl From<redb::$kind> for Error {
            fn from(error: redb::$kind) -> Self {
                Error::Database(error.into())
            }
        })+
    };
}

from_redb!(StorageError, TableError, TransactionError, CommitError, DatabaseError);

/// The database of one member; cheap to clone.
#[derive(Clone)]
pub struct Store {
    keeper: Arc<Keeper>,
}

impl Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    /// Opens the database on a disk, making it when there is none.
    ///
    /// # Errors
    /// When it cannot be read or written, or has a format this program does not know.
    pub fn open(world: World, disk: Disk) -> Result<Store, Error> {
        Store::begin(Keeper::on(world, disk)?)
    }

    /// Takes a database that is open, to look at it.
    ///
    /// # Errors
    /// As for [`Store::open`].
    pub fn of(world: World, database: Database) -> Result<Store, Error> {
        Store::begin(Keeper::of(world, database))
    }

    fn begin(keeper: Keeper) -> Result<Store, Error> {
        keeper.try_now(make_tables)?;
        Ok(Store { keeper: Arc::new(keeper) })
    }

    /// Lets go of the database and of the disk. Whoever still asks is told that it is closed.
    pub fn close(&self) {
        self.keeper.close();
    }

    /// Since when the disk has no room, and what was refused; `None` while it has.
    #[must_use]
    pub fn shortage(&self) -> Option<Shortage> {
        self.keeper.shortage()
    }

    async fn put<T: Serialize>(
        &self,
        key: &'static str,
        value: &T,
        durability: Durability,
    ) -> Result<(), Error> {
        let value = serde_json::to_vec(value)?;
        self.write(durability, move |transaction| {
            transaction.open_table(META)?.insert(key, value.as_slice())?;
            Ok(())
        })
        .await
    }

    /// Runs one transaction where it may wait for the disk, and for room on it.
    async fn write(
        &self,
        durability: Durability,
        work: impl Fn(&redb::WriteTransaction) -> Result<(), Error> + Send + Sync + 'static,
    ) -> Result<(), Error> {
        let transact = move |database: &Database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(durability).map_err(redb::Error::from)?;
            work(&transaction)?;
            transaction.commit()?;
            Ok(())
        };
        self.keeper.write(transact).await
    }

    /// Keeps a snapshot in place of the one before.
    pub(super) async fn save_snapshot(
        &self,
        meta: &SnapshotMeta,
        data: Vec<u8>,
    ) -> Result<(), Error> {
        let meta = serde_json::to_vec(meta)?;
        self.write(Durability::Immediate, move |transaction| {
            transaction.open_table(META)?.insert(SNAPSHOT, meta.as_slice())?;
            transaction.open_table(DATA)?.insert(SNAPSHOT, data.as_slice())?;
            Ok(())
        })
        .await
    }

    /// The snapshot that is kept, if there is one.
    pub(super) async fn snapshot(&self) -> Result<Option<(SnapshotMeta, Vec<u8>)>, Error> {
        self.keeper.read(snapshot).await
    }

    async fn read_value<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        self.keeper.read(|database| get(database, key)).await
    }

    /// Everything in the database, as JSON, for people who look at it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn inspect(&self) -> Result<serde_json::Value, Error> {
        self.keeper.try_now(inspect)
    }
}

fn make_tables(database: &Database) -> Result<(), Error> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        let found = match meta.get(FORMAT)? {
            Some(found) => serde_json::from_slice(found.value())?,
            None => 0,
        };
        if found == 0 {
            meta.insert(FORMAT, serde_json::to_vec(&FORMAT_VERSION)?.as_slice())?;
        } else if found != FORMAT_VERSION {
            return Err(Error::Format { found, known: FORMAT_VERSION });
        }
        transaction.open_table(LOG)?;
        transaction.open_table(DATA)?;
    }
    transaction.commit()?;
    Ok(())
}

fn get<T: DeserializeOwned>(database: &Database, key: &str) -> Result<Option<T>, Error> {
    let meta = database.begin_read()?.open_table(META)?;
    let Some(value) = meta.get(key)? else { return Ok(None) };
    Ok(serde_json::from_slice(value.value())?)
}

fn snapshot(database: &Database) -> Result<Option<(SnapshotMeta, Vec<u8>)>, Error> {
    let Some(meta) = get(database, SNAPSHOT)? else { return Ok(None) };
    let data = database.begin_read()?.open_table(DATA)?;
    Ok(data.get(SNAPSHOT)?.map(|data| (meta, data.value().to_vec())))
}

fn entries(
    database: &Database,
    range: impl RangeBounds<u64>,
    bytes_max: usize,
) -> Result<Vec<Entry>, Error> {
    let log = database.begin_read()?.open_table(LOG)?;
    let mut entries = Vec::new();
    let mut bytes = 0;
    for item in log.range(range)? {
        let (_, value) = item?;
        bytes += value.value().len();
        if bytes > bytes_max && !entries.is_empty() {
            break;
        }
        entries.push(serde_json::from_slice(value.value())?);
    }
    Ok(entries)
}

fn log_state(database: &Database) -> Result<LogState<TypeConfig>, Error> {
    let last_purged_log_id: Option<LogId> = get(database, PURGED)?;
    let log = database.begin_read()?.open_table(LOG)?;
    let last = match log.last()? {
        Some((_, value)) => Some(serde_json::from_slice::<Entry>(value.value())?.log_id),
        None => last_purged_log_id,
    };
    Ok(LogState { last_purged_log_id, last_log_id: last })
}

fn inspect(database: &Database) -> Result<serde_json::Value, Error> {
    let state: Option<serde_json::Value> = match snapshot(database)? {
        Some((_, data)) => Some(serde_json::from_slice(&data)?),
        None => None,
    };
    Ok(serde_json::json!({
        "format": get::<u32>(database, FORMAT)?,
        "vote": get::<Vote>(database, VOTE)?,
        "committed": get::<Option<LogId>>(database, COMMITTED)?.flatten(),
        "purged": get::<LogId>(database, PURGED)?,
        "snapshot": { "meta": get::<SnapshotMeta>(database, SNAPSHOT)?, "state": state },
        "log": entries(database, .., usize::MAX)?,
    }))
}

fn failed(subject: ErrorSubject<u64>, verb: ErrorVerb) -> impl FnOnce(Error) -> StorageError {
    move |error| StorageError::from_io_error(subject, verb, std::io::Error::other(error))
}

fn log_failed(error: Error) -> StorageError {
    failed(ErrorSubject::Logs, ErrorVerb::Read)(error)
}

pub(super) fn snapshot_failed(verb: ErrorVerb) -> impl FnOnce(Error) -> StorageError {
    failed(ErrorSubject::Snapshot(None), verb)
}

/// An error of the state machine, for openraft.
pub(super) fn machine_failed(error: &(dyn std::error::Error + 'static)) -> StorageError {
    StorageError::IO {
        source: openraft::StorageIOError::new(
            ErrorSubject::StateMachine,
            ErrorVerb::Write,
            AnyError::error(error.to_string()),
        ),
    }
}

impl RaftLogReader<TypeConfig> for Store {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let bounds = (range.start_bound().cloned(), range.end_bound().cloned());
        let read = self.keeper.read(|database| entries(database, bounds, usize::MAX));
        read.await.map_err(log_failed)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, StorageError> {
        let range = (Bound::Included(start), Bound::Excluded(end));
        let read = self.keeper.read(|database| entries(database, range, BATCH_BYTES_MAX));
        read.await.map_err(log_failed)
    }
}

impl RaftLogStorage<TypeConfig> for Store {
    type LogReader = Store;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        self.keeper.read(log_state).await.map_err(log_failed)
    }

    async fn get_log_reader(&mut self) -> Store {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let saved = self.put(VOTE, vote, Durability::Immediate).await;
        saved.map_err(failed(ErrorSubject::Vote, ErrorVerb::Write))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        self.read_value(VOTE).await.map_err(failed(ErrorSubject::Vote, ErrorVerb::Read))
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        let saved = self.put(COMMITTED, &committed, Durability::None).await;
        saved.map_err(failed(ErrorSubject::Store, ErrorVerb::Write))
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        let read = self.read_value::<Option<LogId>>(COMMITTED).await.map(Option::flatten);
        read.map_err(failed(ErrorSubject::Store, ErrorVerb::Read))
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<TypeConfig>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let encode = |entry: Entry| Ok((entry.log_id.index, serde_json::to_vec(&entry)?));
        let entries: Result<Vec<(u64, Vec<u8>)>, Error> = entries.into_iter().map(encode).collect();
        let entries = entries.map_err(failed(ErrorSubject::Logs, ErrorVerb::Write))?;
        let written = self.write(Durability::Immediate, move |transaction| {
            let mut log = transaction.open_table(LOG)?;
            for (index, entry) in &entries {
                log.insert(index, entry.as_slice())?;
            }
            Ok(())
        });
        written.await.map_err(failed(ErrorSubject::Logs, ErrorVerb::Write))?;
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let cut = self.write(Durability::Immediate, move |transaction| {
            transaction.open_table(LOG)?.retain_in(log_id.index.., |_, _| false)?;
            Ok(())
        });
        cut.await.map_err(failed(ErrorSubject::Logs, ErrorVerb::Delete))
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let purged = self.write(Durability::Immediate, move |transaction| {
            let encoded = serde_json::to_vec(&log_id)?;
            transaction.open_table(META)?.insert(PURGED, encoded.as_slice())?;
            transaction.open_table(LOG)?.retain_in(..=log_id.index, |_, _| false)?;
            Ok(())
        });
        purged.await.map_err(failed(ErrorSubject::Logs, ErrorVerb::Delete))
    }
}
