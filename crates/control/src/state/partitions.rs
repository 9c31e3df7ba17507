//! The record of all partitions, and what is looked up in it: who holds what, by node and by volume.
//!
//! What is looked up is derived, kept up with every change, and never written down. A copy of it costs
//! nothing until one of the two is changed, so what *would* happen can be tried on a copy.

use super::changes::{Changes, Mark};
use super::record::Partition;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::Arc;
use types::{DiskId, NodeId, PartitionId, VolumeId};

type All = BTreeMap<PartitionId, Partition>;

/// All partitions. Reads as the map it is; changes go through it, so that nothing derived is forgotten.
#[derive(Clone, Debug, Default)]
pub struct Partitions {
    inner: Arc<Inner>,
}

#[derive(Clone, Debug, Default)]
struct Inner {
    all: All,
    node: BTreeMap<NodeId, BTreeSet<PartitionId>>,
    volume: BTreeMap<VolumeId, BTreeSet<PartitionId>>,
    deleted: BTreeSet<PartitionId>,
    tally: Tally,
    changes: Changes<PartitionId>,
}

/// How many replicas are, or may be, on each node and disk, and how many partitions each node leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub node: BTreeMap<NodeId, usize>,
    pub disk: BTreeMap<DiskId, usize>,
    pub leads: BTreeMap<NodeId, usize>,
}

impl Partitions {
    /// Those of which a replica is, or may be, on the node; ascending.
    pub fn on(&self, node: NodeId) -> impl Iterator<Item = &Partition> {
        let ids = self.inner.node.get(&node).into_iter().flatten();
        ids.filter_map(|id| self.inner.all.get(id))
    }

    /// Those of a volume; ascending.
    pub fn of(&self, volume: VolumeId) -> impl Iterator<Item = &Partition> {
        let ids = self.inner.volume.get(&volume).into_iter().flatten();
        ids.filter_map(|id| self.inner.all.get(id))
    }

    /// Those that are deleted and not gone yet; ascending.
    pub fn deleted(&self) -> impl Iterator<Item = &Partition> {
        self.inner.deleted.iter().filter_map(|id| self.inner.all.get(id))
    }

    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.inner.tally
    }

    /// How far the changes go by now.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.inner.changes.mark()
    }

    /// What changed since `mark`; `None` when that was taken of another record.
    #[must_use]
    pub fn changed_since(&self, mark: &Mark) -> Option<impl Iterator<Item = PartitionId>> {
        self.inner.changes.since(mark)
    }

    /// Adds one, or puts it in the place of what was there.
    pub fn insert(&mut self, id: PartitionId, partition: Partition) {
        let inner = Arc::make_mut(&mut self.inner);
        inner.unlink(id);
        inner.all.insert(id, partition);
        inner.link(id);
    }

    /// Changes one, if it is there.
    pub fn edit<T>(
        &mut self,
        id: PartitionId,
        change: impl FnOnce(&mut Partition) -> T,
    ) -> Option<T> {
        let inner = Arc::make_mut(&mut self.inner);
        inner.unlink(id);
        let outcome = inner.all.get_mut(&id).map(change);
        inner.link(id);
        outcome
    }

    /// All of them, ascending.
    pub fn into_values(self) -> impl Iterator<Item = Partition> {
        Arc::unwrap_or_clone(self.inner).all.into_values()
    }

    /// Forgets one.
    pub fn remove(&mut self, id: PartitionId) {
        let inner = Arc::make_mut(&mut self.inner);
        inner.unlink(id);
        inner.all.remove(&id);
        inner.changes.forget(id);
    }
}

impl Inner {
    /// Takes one out of everything that is derived.
    fn unlink(&mut self, id: PartitionId) {
        let Some(partition) = self.all.get(&id) else { return };
        for member in partition.holders() {
            drop_from(&mut self.node, member.node, id);
            count_down(&mut self.tally.node, member.node);
            count_down(&mut self.tally.disk, member.disk);
        }
        drop_from(&mut self.volume, partition.configuration.volume, id);
        self.deleted.remove(&id);
        if let Some(node) = leader(partition) {
            count_down(&mut self.tally.leads, node);
        }
    }

    fn link(&mut self, id: PartitionId) {
        let Some(partition) = self.all.get(&id) else { return };
        for member in partition.holders() {
            self.node.entry(member.node).or_default().insert(id);
            *self.tally.node.entry(member.node).or_default() += 1;
            *self.tally.disk.entry(member.disk).or_default() += 1;
        }
        self.volume.entry(partition.configuration.volume).or_default().insert(id);
        if partition.deleted {
            self.deleted.insert(id);
        }
        if let Some(node) = leader(partition) {
            *self.tally.leads.entry(node).or_default() += 1;
        }
        self.changes.note(id);
    }
}

fn leader(partition: &Partition) -> Option<NodeId> {
    let leader = partition.configuration.leader_member().filter(|_| !partition.deleted);
    leader.map(|leader| leader.node)
}

fn drop_from<K: Ord>(index: &mut BTreeMap<K, BTreeSet<PartitionId>>, key: K, id: PartitionId) {
    if let Some(ids) = index.get_mut(&key) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(&key);
        }
    }
}

fn count_down<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

impl Deref for Partitions {
    type Target = All;

    fn deref(&self) -> &All {
        &self.inner.all
    }
}

impl<'a> IntoIterator for &'a Partitions {
    type Item = (&'a PartitionId, &'a Partition);
    type IntoIter = std::collections::btree_map::Iter<'a, PartitionId, Partition>;

    fn into_iter(self) -> Self::IntoIter {
        self.inner.all.iter()
    }
}

impl From<All> for Partitions {
    fn from(all: All) -> Partitions {
        let mut inner = Inner { all, ..Inner::default() };
        let ids: Vec<PartitionId> = inner.all.keys().copied().collect();
        ids.into_iter().for_each(|id| inner.link(id));
        Partitions { inner: Arc::new(inner) }
    }
}

/// What is derived follows from what is on record.
impl PartialEq for Partitions {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner) || self.inner.all == other.inner.all
    }
}

impl Eq for Partitions {}

impl Serialize for Partitions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.inner.all.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Partitions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        All::deserialize(deserializer).map(Partitions::from)
    }
}

impl Partitions {
    /// Says whether what is derived is what it should be.
    ///
    /// # Errors
    /// A sentence that says what is not.
    pub fn check(&self) -> Result<(), String> {
        let fresh = Partitions::from(self.inner.all.clone());
        let (here, there) = (&self.inner, &fresh.inner);
        let same = here.node == there.node
            && here.volume == there.volume
            && here.deleted == there.deleted
            && here.tally == there.tally;
        if same { Ok(()) } else { Err("who holds which partition is kept wrongly".to_owned()) }
    }
}
