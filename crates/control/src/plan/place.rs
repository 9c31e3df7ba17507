//! Where replicas go: on distinct nodes, on distinct zones while there are any left, and then where
//! there are fewest.

use super::{Inputs, Plan};
use crate::state::partitions::Tally;
use crate::state::{Command, Node, State, Volume, command::Placement};
use std::collections::{BTreeMap, BTreeSet};
use types::configuration::PartitionKind;
use types::{DiskId, NodeId};

/// How many replicas and leaders everybody has, those of the plan in the making counted.
#[derive(Clone, Debug, Default)]
pub struct Load {
    node: BTreeMap<NodeId, usize>,
    disk: BTreeMap<DiskId, usize>,
    leaders: BTreeMap<NodeId, usize>,
}

impl Load {
    /// Counts what is on record.
    #[must_use]
    pub fn of(state: &State) -> Load {
        let Tally { node, disk, leads } = state.partitions.tally().clone();
        Load { node, disk, leaders: leads }
    }

    /// Counts one more replica.
    pub fn take(&mut self, node: NodeId, disk: DiskId) {
        *self.node.entry(node).or_default() += 1;
        *self.disk.entry(disk).or_default() += 1;
    }

    /// The best place for one more replica of a partition that is on the nodes `taken`.
    #[must_use]
    pub fn choose(&self, inputs: &Inputs<'_>, taken: &[NodeId]) -> Option<(NodeId, DiskId)> {
        let zone = |id: &NodeId| inputs.state.nodes.get(id).map(|node| node.zone.as_str());
        let zones: BTreeSet<&str> = taken.iter().filter_map(zone).collect();
        let free = inputs.state.nodes.values().filter(|node| !taken.contains(&node.id));
        let offers = free.filter_map(|node| Some((node, self.best_disk(inputs, node)?)));
        let rank = |(node, _): &(&Node, DiskId)| {
            // An empty zone is no zone: nodes without one share nothing that we know of.
            let shared = !node.zone.is_empty() && zones.contains(node.zone.as_str());
            (shared, self.node.get(&node.id).copied().unwrap_or(0), node.id)
        };
        offers.min_by_key(rank).map(|(node, disk)| (node.id, disk))
    }

    /// The disk of a node with the fewest replicas; of equals, the emptiest.
    fn best_disk(&self, inputs: &Inputs<'_>, node: &Node) -> Option<DiskId> {
        let report = inputs.fresh(node.id)?;
        let usable = report.disks.iter().filter(|(disk, _)| {
            let on_record = inputs.state.disks.get(disk).is_some_and(|d| d.node == node.id);
            on_record && inputs.takes_replicas(node, **disk)
        });
        let rank = |(id, disk): &(&DiskId, &crate::detect::DiskReport)| {
            (self.disk.get(id).copied().unwrap_or(0), std::cmp::Reverse(disk.free), **id)
        };
        usable.min_by_key(rank).map(|(disk, _)| *disk)
    }

    /// Moves the one that leads least to the front, where the leader stands.
    fn lead(&mut self, replicas: &mut [(NodeId, DiskId)]) {
        let count = |node: NodeId| self.leaders.get(&node).copied().unwrap_or(0);
        let least = (0..replicas.len()).min_by_key(|i| (count(replicas[*i].0), replicas[*i].0));
        let Some(least) = least else { return };
        replicas.swap(0, least);
        *self.leaders.entry(replicas[0].0).or_default() += 1;
    }
}

/// Gives a volume that is being created a place for each partition, or for none of them.
pub(super) fn plan(inputs: &Inputs<'_>, volume: &Volume, load: &mut Load, plan: &mut Plan) {
    let mut attempt = load.clone();
    let data = std::iter::repeat_n(PartitionKind::Data, usize::from(volume.data_partitions));
    let kinds = std::iter::once(PartitionKind::Namespace).chain(data);
    let place = |kind| place_one(inputs, volume, kind, &mut attempt);
    let placements: Result<Vec<Placement>, usize> = kinds.map(place).collect();
    match placements {
        Ok(placements) => {
            *load = attempt;
            plan.commands.push(Command::PlacePartitions { volume: volume.id, placements });
        }
        Err(found) => plan.residue.push(format!(
            "{:?} waits for {} nodes with room for new replicas, there are {found}",
            volume.id, volume.replicas
        )),
    }
}

/// One placement, or how many places there were.
fn place_one(
    inputs: &Inputs<'_>,
    volume: &Volume,
    kind: PartitionKind,
    load: &mut Load,
) -> Result<Placement, usize> {
    let mut replicas: Vec<(NodeId, DiskId)> = Vec::new();
    let mut taken = Vec::new();
    for _ in 0..volume.replicas {
        let (node, disk) = load.choose(inputs, &taken).ok_or(replicas.len())?;
        load.take(node, disk);
        taken.push(node);
        replicas.push((node, disk));
    }
    load.lead(&mut replicas);
    Ok(Placement { kind, replicas })
}

/// How many data partitions a new volume gets when nobody says: one for each node that could take
/// part, so that all of them share the work, between 3 and 64.
#[must_use]
pub fn data_partitions_default(nodes: usize) -> u16 {
    u16::try_from(nodes.clamp(3, 64)).expect("at most 64")
}
