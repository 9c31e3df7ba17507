//! An ordered map that holds back its changes until the log they came from is durable.
//!
//! An index must never know more than the log: after a power cut it would point to records that are
//! gone. So changes stay in memory until a checkpoint. Then they are frozen; a job, run where
//! blocking is allowed and only after the log was synced, writes them to the map below in one batch
//! and makes it durable. Reads look at the newest changes, then the frozen ones, then below.
//!
//! What must hold: what is durable below is the state at the moment of some freeze, exactly.

use super::{Batch, Error, Key, Kv, Read, Visit};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::collections::btree_map;
use std::fmt;
use std::iter::Peekable;
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, RwLock};

type Layer = BTreeMap<Key, Option<Bytes>>;

/// The buffering map.
pub struct Buffered {
    below: Arc<dyn Kv>,
    layers: RwLock<Layers>,
}

#[derive(Clone, Default)]
struct Layers {
    newest: Arc<Layer>,
    frozen: Option<Arc<Layer>>,
    bytes: usize,
}

impl fmt::Debug for Buffered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffered({} bytes over {:?})", self.buffered_bytes(), self.below)
    }
}

/// Frozen changes on their way down.
#[derive(Debug)]
pub struct FlushJob {
    below: Arc<dyn Kv>,
    frozen: Arc<Layer>,
}

impl FlushJob {
    /// Writes the changes below, and makes them durable.
    ///
    /// # Errors
    /// When the map below cannot be written; the changes stay frozen.
    pub fn run(&self) -> Result<(), Error> {
        let mut batch = Batch::with_capacity(self.frozen.len());
        for (key, value) in self.frozen.iter() {
            match value {
                Some(value) => batch.put(key.clone(), value.clone()),
                None => batch.remove(key.clone()),
            }
        }
        if !batch.is_empty() {
            self.below.write(batch)?;
        }
        self.below.persist()
    }
}

impl Buffered {
    /// Buffers changes to `below`.
    #[must_use]
    pub fn new(below: Arc<dyn Kv>) -> Buffered {
        Buffered { below, layers: RwLock::default() }
    }

    /// Bytes of changes that are held back, about.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.layers.read().expect("no holder panics").bytes
    }

    /// Freezes what has changed, to be written by the job. A frozen layer whose job failed is taken
    /// into the new one.
    #[must_use]
    pub fn freeze(&self) -> FlushJob {
        let mut layers = self.layers.write().expect("no holder panics");
        let newest = std::mem::take(&mut layers.newest);
        let frozen = match layers.frozen.take() {
            None => newest,
            Some(older) => {
                let mut merged = Arc::unwrap_or_clone(older);
                merged.extend(newest.iter().map(|(key, value)| (key.clone(), value.clone())));
                Arc::new(merged)
            }
        };
        layers.frozen = Some(frozen.clone());
        layers.bytes = 0;
        FlushJob { below: self.below.clone(), frozen }
    }

    /// The job is done: what it wrote is found below from now on.
    pub fn forget_frozen(&self, job: &FlushJob) {
        let mut layers = self.layers.write().expect("no holder panics");
        let same = layers.frozen.as_ref().is_some_and(|frozen| Arc::ptr_eq(frozen, &job.frozen));
        assert!(same, "one flush at a time");
        layers.frozen = None;
    }
}

impl Read for Buffered {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let layers = self.layers.read().expect("no holder panics");
        layers.get(self.below.as_ref(), key)
    }

    fn scan(&self, from: &[u8], until: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), Error> {
        let layers = self.layers.read().expect("no holder panics").clone();
        layers.scan(self.below.as_ref(), from, until, visit)
    }
}

impl Kv for Buffered {
    fn write(&self, batch: Batch) -> Result<(), Error> {
        let mut layers = self.layers.write().expect("no holder panics");
        let mut bytes = 0;
        // Copies only while a scan or a snapshot still looks at the layer.
        let newest = Arc::make_mut(&mut layers.newest);
        for (key, value) in batch {
            bytes += key.len() + value.as_ref().map_or(0, Bytes::len) + 64;
            newest.insert(key, value);
        }
        layers.bytes += bytes;
        Ok(())
    }

    /// Writes everything below and makes it durable, at once. Checkpoints use [`Buffered::freeze`].
    fn persist(&self) -> Result<(), Error> {
        let job = self.freeze();
        job.run()?;
        self.forget_frozen(&job);
        Ok(())
    }

    fn snapshot(&self) -> Arc<dyn Read> {
        let layers = self.layers.read().expect("no holder panics");
        Arc::new(Snapshot { layers: layers.clone(), below: self.below.snapshot() })
    }

    fn approximate_bytes(&self) -> u64 {
        self.below.approximate_bytes()
    }
}

struct Snapshot {
    layers: Layers,
    below: Arc<dyn Read>,
}

impl Read for Snapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.layers.get(self.below.as_ref(), key)
    }

    fn scan(&self, from: &[u8], until: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), Error> {
        self.layers.scan(self.below.as_ref(), from, until, visit)
    }
}

type Range<'a> = Peekable<btree_map::Range<'a, Key, Option<Bytes>>>;

impl Layers {
    fn get<R: Read + ?Sized>(&self, below: &R, key: &[u8]) -> Result<Option<Bytes>, Error> {
        if let Some(value) = self.newest.get(key) {
            return Ok(value.clone());
        }
        if let Some(value) = self.frozen.as_ref().and_then(|frozen| frozen.get(key)) {
            return Ok(value.clone());
        }
        below.get(key)
    }

    fn scan<R: Read + ?Sized>(
        &self,
        below: &R,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), Error> {
        let empty = until.is_some_and(|until| until <= from);
        if empty {
            return Ok(());
        }
        let none = Layer::new();
        let bounds = (Bound::Included(from), until.map_or(Bound::Unbounded, Bound::Excluded));
        let mut newest = self.newest.range::<[u8], _>(bounds).peekable();
        let frozen = self.frozen.as_deref().unwrap_or(&none);
        let mut frozen = frozen.range::<[u8], _>(bounds).peekable();
        let mut stopped = false;
        below.scan(from, until, &mut |key, value| {
            stopped = emit_before(&mut newest, &mut frozen, Some(key), visit).is_break();
            if stopped {
                return ControlFlow::Break(());
            }
            let changed = take(&mut newest, key);
            let changed_before = take(&mut frozen, key);
            stopped = match changed.or(changed_before) {
                None => visit(key, value).is_break(),
                Some(Some(value)) => visit(key, value).is_break(),
                Some(None) => false,
            };
            if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if !stopped {
            let _ = emit_before(&mut newest, &mut frozen, None, visit);
        }
        Ok(())
    }
}

/// Visits the buffered pairs below `limit`, the newer of two with the same key.
fn emit_before(
    newest: &mut Range<'_>,
    frozen: &mut Range<'_>,
    limit: Option<&[u8]>,
    visit: &mut Visit<'_>,
) -> ControlFlow<()> {
    loop {
        let next = [newest.peek(), frozen.peek()].into_iter().flatten().map(|(key, _)| *key).min();
        let Some(key) = next.filter(|key| limit.is_none_or(|limit| key.as_ref() < limit)) else {
            return ControlFlow::Continue(());
        };
        let key = key.clone();
        let (newer, older) = (take(newest, &key), take(frozen, &key));
        if let Some(Some(value)) = newer.or(older) {
            visit(&key, value)?;
        }
    }
}

/// Takes the pair of exactly `key`, when it is next.
fn take<'a>(range: &mut Range<'a>, key: &[u8]) -> Option<Option<&'a Bytes>> {
    let (_, value) = range.next_if(|(next, _)| next.as_ref() == key)?;
    Some(value.as_ref())
}
