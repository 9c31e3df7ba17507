//! Where a copy can go: the disk that is least full, of a node that holds none of the partition yet, in a zone
//! that holds none as long as there is one.
//!
//! The disks are kept in order of how full they are, what is planned counted, so that choosing looks at a few
//! of them and not at all: a thousand nodes and a hundred thousand moves take seconds and not hours.

use crate::detect::{DiskState, Held};
use crate::plan::Inputs;
use crate::state::Partition;
use std::collections::{BTreeMap, BTreeSet};
use types::operation::Reason;
use types::{DiskId, NodeId};

/// Order of preference: millionths of the disk that are used, replicas on it, and then the numbers.
type Rank = (u64, u64, NodeId, DiskId);

/// One disk.
#[derive(Clone, Debug)]
struct Place {
    node: NodeId,
    capacity: u64,
    /// Bytes of replicas, those to come counted.
    bytes: u64,
    replicas: u64,
    /// Bytes that can still be put there.
    room: u64,
    open: bool,
}

impl Place {
    fn rank(&self, disk: DiskId) -> Rank {
        let Place { node, capacity, bytes, room, .. } = *self;
        (Filling { node, capacity, bytes, room }.used(), self.replicas, node, disk)
    }
}

/// How full a disk is.
#[derive(Clone, Copy, Debug)]
pub struct Filling {
    pub node: NodeId,
    pub capacity: u64,
    pub bytes: u64,
    pub room: u64,
}

impl Filling {
    /// Millionths of its capacity.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.share(self.bytes)
    }

    #[must_use]
    pub fn with(&self, bytes: u64) -> u64 {
        self.share(self.bytes.saturating_add(bytes))
    }

    #[must_use]
    pub fn without(&self, bytes: u64) -> u64 {
        self.share(self.bytes.saturating_sub(bytes))
    }

    /// Counts bytes that come or go.
    pub fn add(&mut self, bytes: u64, comes: bool) {
        let (held, room) = match comes {
            true => (self.bytes.saturating_add(bytes), self.room.saturating_sub(bytes)),
            false => (self.bytes.saturating_sub(bytes), self.room.saturating_add(bytes)),
        };
        (self.bytes, self.room) = (held, room);
    }

    fn share(&self, bytes: u64) -> u64 {
        let used = u128::from(bytes) * 1_000_000 / u128::from(self.capacity.max(1));
        u64::try_from(used).unwrap_or(u64::MAX)
    }
}

/// Where copies can go.
#[derive(Clone, Debug, Default)]
pub struct Places {
    disks: BTreeMap<DiskId, Place>,
    open: BTreeSet<Rank>,
    mean: u64,
}

impl Places {
    /// Measures every disk.
    #[must_use]
    pub fn of(inputs: &Inputs<'_>) -> Places {
        let mut places = Places::default();
        for node in inputs.state.nodes.values() {
            let Some(report) = inputs.fresh(node.id) else { continue };
            for (disk, word) in &report.disks {
                let open = inputs.state.disks.get(disk).is_some_and(|d| d.node == node.id)
                    && inputs.takes_replicas(node, *disk);
                let room = word.free.saturating_sub(inputs.policy.disk_free_min);
                let Held { bytes, replicas } = report.held.get(disk).copied().unwrap_or_default();
                let capacity = word.total;
                let place = Place { node: node.id, capacity, bytes, replicas, room, open };
                places.disks.insert(*disk, place);
            }
        }
        places.open =
            places.disks.iter().filter(|(_, p)| p.open).map(|(d, p)| p.rank(*d)).collect();
        let disks = places.open_disks();
        let used: u128 = disks.values().map(|disk| u128::from(disk.bytes)).sum();
        let capacity: u128 = disks.values().map(|disk| u128::from(disk.capacity)).sum();
        places.mean = u64::try_from(used * 1_000_000 / capacity.max(1)).unwrap_or(u64::MAX);
        places
    }

    /// The best place for a copy of `partition`, of so many bytes, that `fits` lets through.
    #[must_use]
    pub fn choose(
        &self,
        inputs: &Inputs<'_>,
        partition: &Partition,
        bytes: u64,
        fits: impl Fn(NodeId, DiskId) -> bool,
    ) -> Option<(NodeId, DiskId)> {
        let zone = |node: NodeId| inputs.state.nodes.get(&node).map_or("", |n| n.zone.as_str());
        let taken: Vec<NodeId> = partition.holders().map(|member| member.node).collect();
        // Who is leaving makes room in its zone.
        let staying = partition.holders().filter(|m| !inputs.state.operations.is_leaving(m));
        let zones: Vec<&str> = staying.map(|m| zone(m.node)).filter(|z| !z.is_empty()).collect();
        let mut second = None;
        for (_, _, node, disk) in &self.open {
            if taken.contains(node) || self.disks[disk].room < bytes || !fits(*node, *disk) {
                continue;
            }
            if !zones.contains(&zone(*node)) {
                return Some((*node, *disk));
            }
            second = second.or(Some((*node, *disk)));
        }
        second
    }

    /// How full a disk is that takes replicas.
    #[must_use]
    pub fn filling(&self, disk: DiskId) -> Option<Filling> {
        let place = self.disks.get(&disk).filter(|place| place.open)?;
        let Place { node, capacity, bytes, room, .. } = *place;
        Some(Filling { node, capacity, bytes, room })
    }

    /// How full they were altogether when they were measured, in millionths.
    #[must_use]
    pub fn mean(&self) -> u64 {
        self.mean
    }

    /// How full the disks are that take replicas.
    #[must_use]
    pub fn open_disks(&self) -> BTreeMap<DiskId, Filling> {
        self.disks.keys().filter_map(|disk| Some((*disk, self.filling(*disk)?))).collect()
    }

    /// Counts a copy that is to come.
    pub fn take(&mut self, disk: DiskId, bytes: u64) {
        let Some(place) = self.disks.get_mut(&disk) else { return };
        self.open.remove(&place.rank(disk));
        place.bytes = place.bytes.saturating_add(bytes);
        place.replicas += 1;
        place.room = place.room.saturating_sub(bytes);
        if place.open {
            self.open.insert(place.rank(disk));
        }
    }

    /// How full the disks are that take replicas: the least and the most, in millionths.
    #[must_use]
    pub fn spread(&self) -> Option<(u64, u64)> {
        Some((self.open.first()?.0, self.open.last()?.0))
    }

    /// Why there is no place, in words.
    #[must_use]
    pub fn why_none(&self, inputs: &Inputs<'_>, partition: &Partition) -> (Reason, String) {
        let taken: Vec<NodeId> = partition.holders().map(|member| member.node).collect();
        let (mut holding, mut silent, mut leaving, mut full) = (0, 0, 0, 0);
        for node in inputs.state.nodes.keys() {
            let excused = inputs.state.operations.nodes.contains_key(node);
            match () {
                () if taken.contains(node) => holding += 1,
                () if excused => leaving += 1,
                () if inputs.fresh(*node).is_none() => silent += 1,
                () if self.has_working_disk(inputs, *node) => full += 1,
                () => leaving += 1,
            }
        }
        let nodes = inputs.state.nodes.len();
        let detail = format!(
            "of {nodes} nodes {holding} hold a replica of it, {leaving} take none (leaving, drained \
             or without a disk that works), {silent} are silent, {full} have no room"
        );
        (if full > 0 { Reason::OutOfSpace } else { Reason::NoTarget }, detail)
    }

    fn has_working_disk(&self, inputs: &Inputs<'_>, node: NodeId) -> bool {
        let Some(report) = inputs.fresh(node) else { return false };
        report.disks.iter().any(|(disk, word)| {
            word.state != DiskState::Failed && !inputs.state.operations.disks.contains_key(disk)
        })
    }
}
