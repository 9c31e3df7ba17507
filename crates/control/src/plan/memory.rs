//! What the last plan left at rest, so that the next one need not look at it again.
//!
//! Like a nurse on the night round: who is well and asleep is looked in on only when something stirs. A
//! partition is *at rest* when every replica that it should have is there, in sync, heard of and well, and
//! nobody else holds anything of it. Nothing can be planned for it until one of these changes:
//!
//! | what stirs | how it is seen |
//! | --- | --- |
//! | its record | the record notes what changed ([`crate::state::Partitions::changed_since`]) |
//! | what a node says of a replica, or a node's life and disks | the detector does ([`crate::detect::Detector::news_since`]) |
//! | a node falls silent, or is heard again | compared in every round, node by node |
//! | a disk is full, or is not any more | compared in every round, as far as it is on record |
//! | what its volume asks for | compared in every round, volume by volume |
//!
//! Everything that is not at rest is looked at in every round, for time alone may change what is to be done.
//! Whoever leads anew remembers nothing, and looks at everything once.

use super::Inputs;
use crate::detect::Role;
use crate::state::changes::Mark;
use crate::state::{Partition, VolumeState};
use std::collections::{BTreeMap, BTreeSet};
use types::{BootId, DiskId, NodeId, PartitionId, VolumeId};

/// What is remembered from one plan to the next.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// How far the record's changes, and the detector's, were followed.
    marks: Option<(Mark, Mark)>,
    restless: BTreeSet<PartitionId>,
    /// Nodes that are heard of, with their lives.
    heard: BTreeMap<NodeId, BootId>,
    full: BTreeSet<DiskId>,
    volumes: BTreeMap<VolumeId, (VolumeState, u8, u8)>,
}

impl Memory {
    /// The partitions to look at now, ascending.
    pub(super) fn due(&mut self, inputs: &Inputs<'_>) -> BTreeSet<PartitionId> {
        let partitions = &inputs.state.partitions;
        let marks = self.marks.replace((partitions.mark(), inputs.detector.mark()));
        let stirred = self.stirred(inputs);
        let changed = marks.as_ref().and_then(|(record, news)| {
            let record = partitions.changed_since(record)?;
            Some(record.chain(inputs.detector.news_since(news)?))
        });
        let Some(changed) = changed else { return partitions.keys().copied().collect() };
        self.restless.iter().copied().chain(changed).chain(stirred).collect()
    }

    /// Partitions of nodes, disks and volumes that are not as they were.
    fn stirred(&mut self, inputs: &Inputs<'_>) -> Vec<PartitionId> {
        let state = inputs.state;
        let heard = heard(inputs);
        let mut nodes = differing(&self.heard, &heard);
        let full: BTreeSet<DiskId> =
            state.disks.keys().copied().filter(|disk| state.conditions.is_full(*disk)).collect();
        let other = self.full.symmetric_difference(&full);
        nodes.extend(other.filter_map(|disk| Some(state.disks.get(disk)?.node)));
        let volumes: BTreeMap<_, _> =
            state.volumes.values().map(|v| (v.id, (v.state, v.replicas, v.in_sync_min))).collect();
        let asked = differing(&self.volumes, &volumes);
        (self.heard, self.full, self.volumes) = (heard, full, volumes);
        let on_nodes = nodes.into_iter().flat_map(|node| state.partitions.on(node));
        let of_volumes = asked.into_iter().flat_map(|volume| state.partitions.of(volume));
        on_nodes.chain(of_volumes).map(|p| p.configuration.partition).collect()
    }

    /// Remembers which of those that were looked at are not at rest.
    pub(super) fn settle(&mut self, inputs: &Inputs<'_>, looked_at: &[&Partition]) {
        let restless = looked_at.iter().filter(|partition| !is_at_rest(inputs, partition));
        self.restless = restless.map(|partition| partition.configuration.partition).collect();
    }
}

fn heard(inputs: &Inputs<'_>) -> BTreeMap<NodeId, BootId> {
    let nodes = inputs.state.nodes.keys();
    nodes.filter_map(|node| Some((*node, inputs.fresh(*node)?.boot))).collect()
}

/// The keys of which the two say different things.
fn differing<K: Ord + Copy, V: PartialEq>(a: &BTreeMap<K, V>, b: &BTreeMap<K, V>) -> BTreeSet<K> {
    let one = a.iter().filter(|(key, value)| b.get(key) != Some(value));
    let other = b.iter().filter(|(key, value)| a.get(key) != Some(value));
    one.chain(other).map(|(key, _)| *key).collect()
}

/// Whether nothing can be planned for it until something changes.
fn is_at_rest(inputs: &Inputs<'_>, partition: &Partition) -> bool {
    let configuration = &partition.configuration;
    let volume = inputs.state.volumes.get(&configuration.volume);
    let wanted = volume.map_or(0, |volume| usize::from(volume.replicas));
    let is_whole = !partition.deleted
        && partition.spare.is_empty()
        && partition.doomed.is_empty()
        && configuration.catching_up.is_empty()
        && configuration.members.len() == wanted
        && configuration.in_sync.len() == wanted;
    let is_well = |member: &types::Member| {
        let leads = configuration.leader == Some(member.replica);
        let report = inputs.replica(member);
        report.is_some_and(|report| {
            report.is_usable()
                && report.proven
                && report.epoch == configuration.epoch
                && (report.role == Role::Leader) == leads
        }) && partition.made.contains(&member.replica)
            && !(leads && inputs.state.conditions.is_full(member.disk))
    };
    is_whole && configuration.leader.is_some() && configuration.members.iter().all(is_well)
}
