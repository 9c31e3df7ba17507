//! The simulated database: an ordered map that crashes, loses what was not persisted, and can be damaged.
//!
//! Durability model: batches reach the disk in order. After a crash everything up to the last `persist`
//! is there, plus as many of the batches after it, in order, as the crash lets survive. Handles made
//! before a crash are fenced: they belong to a process that is dead.
//!
//! It may live on a simulated disk, whose room it then takes. Like the real one, it writes nothing more
//! after a write that found no room, until it is opened again.

use super::{Space, Usage};
use crate::disk::sim::SimDisk;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};
use types::kv::{Error, Read, Visit};

/// A key with its space, so that spaces are apart.
type Key = (Space, Bytes);
type Map = BTreeMap<Key, Bytes>;

/// What one batch overwrote, newest change first: undoing it takes the batch back.
type Undo = Vec<(Key, Option<Bytes>)>;

#[derive(Default)]
struct State {
    map: Arc<Map>,
    /// Batches since the last `persist`, oldest first.
    unpersisted: Vec<Undo>,
    /// Goes up at each crash.
    incarnation: u64,
    damaged: BTreeSet<Key>,
    write_error: Option<Error>,
    read_error: Option<Error>,
    disk: Option<SimDisk>,
    /// A write found no room.
    stopped: bool,
    /// Sum of all keys and values.
    bytes: u64,
}

#[derive(Clone, Default)]
pub(super) struct Database {
    state: Arc<Mutex<State>>,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("simulated::Database")
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Database {
    pub(super) fn on(disk: SimDisk) -> Database {
        let database = Database::default();
        lock(&database.state).disk = Some(disk);
        database
    }

    pub(super) fn reopen(&self) {
        lock(&self.state).stopped = false;
    }

    pub(super) fn faults(&self) -> Faults {
        Faults { database: self.clone() }
    }

    pub(super) fn handle(&self, space: Space) -> Handle {
        let incarnation = lock(&self.state).incarnation;
        Handle { database: self.clone(), space, incarnation }
    }

    pub(super) fn usage(&self) -> Usage {
        Usage { disk_bytes: lock(&self.state).bytes, ..Usage::default() }
    }
}

impl State {
    /// Whether `bytes` may be written.
    fn make_room(&mut self, bytes: u64, doing: &'static str) -> Result<(), Error> {
        self.stopped |= self.disk.as_ref().is_some_and(|disk| !disk.has_room(bytes));
        if self.stopped { Err(Error::NoSpace { doing }) } else { Ok(()) }
    }

    fn note_size(&self) {
        if let Some(disk) = &self.disk {
            disk.set_taken(self.bytes);
        }
    }

    fn set(&mut self, key: Key, value: Option<Bytes>) -> Option<Bytes> {
        let map = Arc::make_mut(&mut self.map);
        let key_bytes = key.1.len() as u64;
        if let Some(value) = &value {
            self.bytes += key_bytes + value.len() as u64;
        }
        self.damaged.remove(&key);
        let before = match value {
            Some(value) => map.insert(key, value),
            None => map.remove(&key),
        };
        if let Some(before) = &before {
            self.bytes -= key_bytes + before.len() as u64;
        }
        before
    }
}

#[derive(Clone)]
pub(super) struct Handle {
    database: Database,
    space: Space,
    incarnation: u64,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("simulated::Handle")
            .field("space", &self.space)
            .field("incarnation", &self.incarnation)
            .finish_non_exhaustive()
    }
}

impl Handle {
    /// The state, unless this handle's process has crashed.
    fn alive(&self, doing: &'static str) -> Result<MutexGuard<'_, State>, Error> {
        let state = lock(&self.database.state);
        if state.incarnation == self.incarnation {
            return Ok(state);
        }
        Err(Error::Io { doing, detail: "this process has crashed".to_owned() })
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let key = (self.space, Bytes::copy_from_slice(key));
        let state = self.alive("reading a key")?;
        if let Some(error) = &state.read_error {
            return Err(error.clone());
        }
        undamaged(&state.damaged, &key)?;
        Ok(state.map.get(&key).cloned())
    }

    pub(super) fn scan(
        &self,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), Error> {
        drop(self.alive("scanning")?);
        self.snapshot().scan(from, until, visit)
    }

    pub(super) fn write(
        &self,
        changes: impl Iterator<Item = (Bytes, Option<Bytes>)>,
    ) -> Result<(), Error> {
        let mut state = self.alive("writing a batch")?;
        if let Some(error) = &state.write_error {
            return Err(error.clone());
        }
        let changes: Vec<(Bytes, Option<Bytes>)> = changes.collect();
        let length = |(key, value): &(Bytes, Option<Bytes>)| {
            (key.len() + value.as_ref().map_or(0, Bytes::len)) as u64
        };
        state.make_room(changes.iter().map(length).sum(), "writing a batch")?;
        let mut undo = Undo::new();
        for (key, value) in changes {
            let key = (self.space, key);
            let before = state.set(key.clone(), value);
            undo.push((key, before));
        }
        undo.reverse();
        state.unpersisted.push(undo);
        state.note_size();
        Ok(())
    }

    pub(super) fn persist(&self) -> Result<(), Error> {
        let mut state = self.alive("persisting")?;
        if let Some(error) = &state.write_error {
            return Err(error.clone());
        }
        state.make_room(0, "persisting")?;
        state.unpersisted.clear();
        Ok(())
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let state = lock(&self.database.state);
        Snapshot {
            map: Arc::clone(&state.map),
            space: self.space,
            damaged: state.damaged.clone(),
            error: state.read_error.clone(),
        }
    }

    pub(super) fn usage(&self) -> Usage {
        self.database.usage()
    }
}

fn undamaged(damaged: &BTreeSet<Key>, key: &Key) -> Result<(), Error> {
    if damaged.contains(key) {
        let detail = format!("checksum of the block with key {:02x?}", key.1.as_ref());
        return Err(Error::Damaged { doing: "reading a key", detail });
    }
    Ok(())
}

/// One moment of one space.
pub(super) struct Snapshot {
    map: Arc<Map>,
    space: Space,
    damaged: BTreeSet<Key>,
    error: Option<Error>,
}

impl Read for Snapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        let key = (self.space, Bytes::copy_from_slice(key));
        undamaged(&self.damaged, &key)?;
        Ok(self.map.get(&key).cloned())
    }

    fn scan(&self, from: &[u8], until: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), Error> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        if until.is_some_and(|until| until <= from) {
            return Ok(());
        }
        let from = Bound::Included((self.space, Bytes::copy_from_slice(from)));
        let until = match until {
            Some(until) => Bound::Excluded((self.space, Bytes::copy_from_slice(until))),
            None => Bound::Unbounded,
        };
        for (key, value) in self.map.range((from, until)) {
            if key.0 != self.space {
                break;
            }
            undamaged(&self.damaged, key)?;
            if visit(&key.1, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// What a test may do to a simulated database.
#[derive(Clone, Debug)]
pub struct Faults {
    database: Database,
}

impl Faults {
    /// Kills the process: of the batches written since the last `persist`, the first
    /// `batches_kept` survive. Old handles and their writes are fenced; take new ones.
    pub fn crash(&self, batches_kept: usize) {
        let mut state = lock(&self.database.state);
        let kept = batches_kept.min(state.unpersisted.len());
        for undo in state.unpersisted.split_off(kept).into_iter().rev() {
            for (key, before) in undo {
                state.set(key, before);
            }
        }
        state.unpersisted.clear();
        state.incarnation += 1;
        state.note_size();
        state.stopped = false;
        state.write_error = None;
        state.read_error = None;
    }

    /// Batches that a crash could lose.
    #[must_use]
    pub fn unpersisted(&self) -> usize {
        lock(&self.database.state).unpersisted.len()
    }

    /// Makes `key` (with its handle's prefix) unreadable until it is written again.
    pub fn damage(&self, space: Space, key: &[u8]) {
        lock(&self.database.state).damaged.insert((space, Bytes::copy_from_slice(key)));
    }

    /// Changes the value of `key` (with its handle's prefix) behind everybody's back.
    pub fn alter(&self, space: Space, key: &[u8], change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = lock(&self.database.state);
        let key = (space, Bytes::copy_from_slice(key));
        let mut value = state.map.get(&key).map(|value| value.to_vec()).unwrap_or_default();
        change(&mut value);
        state.set(key, Some(value.into()));
    }

    /// All keys of `space`, with their handles' prefixes.
    #[must_use]
    pub fn keys(&self, space: Space) -> Vec<Bytes> {
        let state = lock(&self.database.state);
        state.map.keys().filter(|key| key.0 == space).map(|key| key.1.clone()).collect()
    }

    /// Lets every write and `persist` fail with `error` from now on; `None` heals.
    pub fn fail_writes(&self, error: Option<Error>) {
        lock(&self.database.state).write_error = error;
    }

    /// Lets every read fail with `error` from now on; `None` heals.
    pub fn fail_reads(&self, error: Option<Error>) {
        lock(&self.database.state).read_error = error;
    }
}
