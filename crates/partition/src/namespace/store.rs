//! The store of a namespace: a `Kv` with the changes on top that were not written to it yet.
//!
//! Commands change values here; [`Store::flush`] writes the changes of many commands as one batch, so that
//! a folder into which a thousand files are created is written once. Nothing is lost by that: the log
//! is the truth, and what was applied is part of the same batch. A command that is refused half way is
//! undone by [`Store::rollback`].

use super::codec::{seal, unseal};
use super::fault::Fault;
use crate::kv::{Batch, Key, Kv};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound::{Excluded, Included};
use std::ops::ControlFlow;
use std::sync::Arc;

/// A change that waits.
#[derive(Clone, Debug)]
struct Change {
    /// What to put, or `None` to remove.
    body: Option<Bytes>,
    /// The map below has nothing under this key, so that removing it leaves nothing to be done.
    fresh: bool,
}

#[derive(Debug)]
pub(super) struct Store {
    kv: Arc<dyn Kv>,
    pending: BTreeMap<Key, Change>,
    /// What the running command replaced in `pending`, oldest first.
    undo: Vec<(Key, Option<Change>)>,
    /// Keys and bodies in `pending`, about.
    pending_bytes: usize,
}

fn damaged(key: &[u8]) -> impl FnOnce(super::codec::Malformed) -> Fault + '_ {
    move |source| Fault::Value { key: shown(key), source }
}

/// A key as people read it: its letter and the rest in hex.
pub(super) fn shown(key: &[u8]) -> String {
    let Some((kind, rest)) = key.split_first() else { return String::new() };
    let hex: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}{hex}", char::from(*kind))
}

impl Store {
    pub(super) fn new(kv: Arc<dyn Kv>) -> Store {
        Store { kv, pending: BTreeMap::new(), undo: Vec::new(), pending_bytes: 0 }
    }

    pub(super) fn kv(&self) -> &Arc<dyn Kv> {
        &self.kv
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        if let Some(change) = self.pending.get(key) {
            return Ok(change.body.clone());
        }
        let Some(value) = self.kv.get(key)? else { return Ok(None) };
        let body = unseal(key, &value).map_err(damaged(key))?;
        Ok(Some(value.slice_ref(body)))
    }

    /// The value of `key`, read by `decode`.
    pub(super) fn read<T>(
        &self,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Result<T, super::codec::Malformed>,
    ) -> Result<Option<T>, Fault> {
        match self.get(key)? {
            None => Ok(None),
            Some(body) => decode(&body).map(Some).map_err(damaged(key)),
        }
    }

    pub(super) fn put(&mut self, key: Key, body: impl Into<Bytes>) {
        let body = Some(body.into());
        self.change(key, body, |before| before.is_some_and(|change| change.fresh));
    }

    /// Puts a body under a key that was never used before. When it is removed before it was ever
    /// written, the map below does not hear of it: outcomes of commands come and go like that.
    pub(super) fn put_fresh(&mut self, key: Key, body: impl Into<Bytes>) {
        debug_assert!(matches!(self.get(&key), Ok(None)), "a key was used before");
        let body = Some(body.into());
        self.change(key, body, |before| before.is_none_or(|change| change.fresh));
    }

    pub(super) fn remove(&mut self, key: Key) {
        match self.pending.entry(key) {
            Entry::Occupied(found) if found.get().fresh => {
                let (key, change) = found.remove_entry();
                self.undo.push((key, Some(change)));
            }
            entry => {
                self.pending_bytes += entry.key().len();
                self.undo.push(replace(entry, Change { body: None, fresh: false }));
            }
        }
    }

    /// Replaces what waits under a key; whether that is fresh follows from what waited there.
    fn change(
        &mut self,
        key: Key,
        body: Option<Bytes>,
        is_fresh: impl FnOnce(Option<&Change>) -> bool,
    ) {
        self.pending_bytes += key.len() + body.as_ref().map_or(0, Bytes::len);
        let entry = self.pending.entry(key);
        let fresh = is_fresh(match &entry {
            Entry::Occupied(found) => Some(found.get()),
            Entry::Vacant(_) => None,
        });
        self.undo.push(replace(entry, Change { body, fresh }));
    }

    /// Visits bodies in the order of keys: at least `from`, below `until`.
    pub(super) fn scan(
        &self,
        from: &[u8],
        until: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Fault>,
    ) -> Result<(), Fault> {
        if from >= until {
            return Ok(());
        }
        let mut waiting =
            self.pending.range::<[u8], _>((Included(from), Excluded(until))).peekable();
        let mut fault = None;
        let mut stopped = false;
        self.kv.scan(from, Some(until), &mut |key, value| {
            let mut step = || -> Result<ControlFlow<()>, Fault> {
                let earlier = std::iter::from_fn(|| waiting.next_if(|(other, _)| &other[..] < key));
                if visit_waiting(earlier, &mut visit)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                let changed = waiting.next_if(|(other, _)| &other[..] == key);
                match changed.map(|(_, change)| change.body.as_ref()) {
                    Some(None) => Ok(ControlFlow::Continue(())),
                    Some(Some(body)) => visit(key, body),
                    None => visit(key, unseal(key, value).map_err(damaged(key))?),
                }
            };
            let flow = step().unwrap_or_else(|found| {
                fault = Some(found);
                ControlFlow::Break(())
            });
            stopped = flow.is_break();
            flow
        })?;
        if let Some(fault) = fault {
            return Err(fault);
        }
        if stopped {
            return Ok(());
        }
        visit_waiting(&mut waiting, visit).map(drop)
    }

    /// Visits all bodies whose key begins with `prefix`.
    pub(super) fn scan_prefix(
        &self,
        prefix: &[u8],
        visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Fault>,
    ) -> Result<(), Fault> {
        self.scan(prefix, &super::key::after(prefix), visit)
    }

    /// The first keys, `keys_max` at most, that begin with `prefix`.
    pub(super) fn keys(&self, prefix: &[u8], keys_max: usize) -> Result<Vec<Key>, Fault> {
        let mut keys = Vec::new();
        self.scan_prefix(prefix, |key, _| {
            if keys.len() == keys_max {
                return Ok(ControlFlow::Break(()));
            }
            keys.push(Key::from(key));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(keys)
    }

    /// Ends a command: its changes stay.
    pub(super) fn commit(&mut self) {
        self.undo.clear();
    }

    /// Ends a command: its changes are undone.
    pub(super) fn rollback(&mut self) {
        for (key, before) in self.undo.drain(..).rev() {
            match before {
                Some(change) => self.pending.insert(key, change),
                None => self.pending.remove(&key),
            };
        }
    }

    /// About how many bytes wait to be written.
    pub(super) fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Writes all changes as one batch. When that fails they stay here, and it may be tried again.
    pub(super) fn flush(&mut self) -> Result<(), Fault> {
        assert!(self.undo.is_empty(), "a command is still running");
        let mut batch = Batch::with_capacity(self.pending.len());
        for (key, change) in &self.pending {
            match &change.body {
                Some(body) => batch.put(key.clone(), seal(key, body)),
                None => batch.remove(key.clone()),
            }
        }
        self.kv.write(batch)?;
        self.pending.clear();
        self.pending_bytes = 0;
        Ok(())
    }
}

/// Puts a change in the place of what waits there; returns what is needed to undo it.
fn replace(entry: Entry<'_, Key, Change>, change: Change) -> (Key, Option<Change>) {
    let key = entry.key().clone();
    match entry {
        Entry::Occupied(mut found) => (key, Some(found.insert(change))),
        Entry::Vacant(free) => {
            free.insert(change);
            (key, None)
        }
    }
}

/// Visits what waits, as far as it is not to be removed.
fn visit_waiting<'a>(
    waiting: impl Iterator<Item = (&'a Key, &'a Change)>,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Fault>,
) -> Result<ControlFlow<()>, Fault> {
    for (key, change) in waiting {
        if let Some(body) = &change.body
            && visit(key, body)?.is_break()
        {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use world::kv::{Database, Space};

    fn store() -> Store {
        let database = Database::simulated();
        Store::new(Arc::new(database.handle(Space::Metadata, &b"store"[..])))
    }

    fn waiting(store: &Store) -> Vec<&[u8]> {
        store.pending.keys().map(|key| &key[..]).collect()
    }

    #[test]
    fn what_came_and_went_between_two_flushes_is_not_written() {
        let mut store = store();
        store.put(b"known".into(), Bytes::from_static(b"1"));
        store.commit();
        store.flush().unwrap();
        store.put_fresh(b"a".into(), Bytes::from_static(b"1"));
        store.put(b"a".into(), Bytes::from_static(b"2"));
        store.remove(b"a".into());
        store.put_fresh(b"b".into(), Bytes::from_static(b"1"));
        store.remove(b"known".into());
        assert_eq!(waiting(&store), [&b"b"[..], &b"known"[..]]);
    }

    #[test]
    fn a_fresh_value_that_was_written_is_removed_below_too() {
        let mut store = store();
        store.put_fresh(b"a".into(), Bytes::from_static(b"1"));
        store.commit();
        store.flush().unwrap();
        store.remove(b"a".into());
        store.commit();
        store.flush().unwrap();
        assert_eq!(store.get(b"a").unwrap(), None);
    }

    #[test]
    fn undoing_a_removal_brings_a_fresh_value_back() {
        let mut store = store();
        store.put_fresh(b"a".into(), Bytes::from_static(b"1"));
        store.commit();
        store.remove(b"a".into());
        assert_eq!(store.get(b"a").unwrap(), None);
        store.rollback();
        assert_eq!(store.get(b"a").unwrap(), Some(Bytes::from_static(b"1")));
        store.remove(b"a".into());
        store.commit();
        assert!(!store.has_pending());
    }
}
