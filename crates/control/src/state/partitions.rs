//! All partitions, and which of them each node has something of.
//!
//! Who answers a node's heartbeat must not look at a hundred thousand partitions to find the few that
//! are there. Every change goes through here, so the second list cannot say anything else than the first.

use super::Partition;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use types::{NodeId, PartitionId};

/// The partitions by their ids; reads like a map.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<PartitionId, Partition>", into = "BTreeMap<PartitionId, Partition>")]
pub struct Partitions {
    all: BTreeMap<PartitionId, Partition>,
    by_node: BTreeMap<NodeId, BTreeSet<PartitionId>>,
}

impl Partitions {
    /// The partitions of which a replica is, or may still be, on a node; in ascending order.
    pub fn on(&self, node: NodeId) -> impl Iterator<Item = &Partition> {
        let here = self.by_node.get(&node).into_iter().flatten();
        here.filter_map(|id| self.all.get(id))
    }

    pub(crate) fn insert(&mut self, partition: Partition) {
        let id = partition.configuration.partition;
        self.remove(id);
        for member in partition.holders() {
            self.by_node.entry(member.node).or_default().insert(id);
        }
        self.all.insert(id, partition);
    }

    /// Changes a partition, if it is there.
    pub(crate) fn change<T>(
        &mut self,
        id: PartitionId,
        work: impl FnOnce(&mut Partition) -> T,
    ) -> Option<T> {
        let mut partition = self.remove(id)?;
        let result = work(&mut partition);
        self.insert(partition);
        Some(result)
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&Partition) -> bool) {
        let gone: Vec<PartitionId> =
            self.all.iter().filter(|(_, p)| !keep(p)).map(|(id, _)| *id).collect();
        for id in gone {
            self.remove(id);
        }
    }

    /// Whether the two lists agree.
    pub(super) fn check(&self) -> Result<(), String> {
        let again = Partitions::from(self.all.clone());
        let same = again.by_node == self.by_node;
        same.then_some(()).ok_or_else(|| "what is on which node is not up to date".to_owned())
    }

    fn remove(&mut self, id: PartitionId) -> Option<Partition> {
        let partition = self.all.remove(&id)?;
        for member in partition.holders() {
            let Some(here) = self.by_node.get_mut(&member.node) else { continue };
            here.remove(&id);
            if here.is_empty() {
                self.by_node.remove(&member.node);
            }
        }
        Some(partition)
    }
}

impl Deref for Partitions {
    type Target = BTreeMap<PartitionId, Partition>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl<'a> IntoIterator for &'a Partitions {
    type Item = (&'a PartitionId, &'a Partition);
    type IntoIter = std::collections::btree_map::Iter<'a, PartitionId, Partition>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.iter()
    }
}

impl From<BTreeMap<PartitionId, Partition>> for Partitions {
    fn from(all: BTreeMap<PartitionId, Partition>) -> Partitions {
        let mut partitions = Partitions::default();
        for partition in all.into_values() {
            partitions.insert(partition);
        }
        partitions
    }
}

impl From<Partitions> for BTreeMap<PartitionId, Partition> {
    fn from(partitions: Partitions) -> Self {
        partitions.all
    }
}
