//! Who holds a partition in one epoch, and in which role.

use crate::{DiskId, Epoch, NodeId, PartitionId, ReplicaId, VolumeId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The kinds of partition, which differ in what their log means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartitionKind {
    /// Inodes, names, extended attributes, chunk maps, locks and client sessions of a file volume.
    Namespace,
    /// The bytes of chunks.
    Data,
}

/// One replica and where it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    pub replica: ReplicaId,
    pub node: NodeId,
    pub disk: DiskId,
}

/// A partition's configuration: made by the control plane only, compared and set by epoch.
///
/// What must hold (checked by [`Configuration::check`]):
/// - `leader ∈ in_sync` when there is a leader
/// - `in_sync ∩ catching_up = ∅` and `in_sync ≠ ∅`
/// - `members` holds exactly the replicas of `in_sync ∪ catching_up`, each once, on distinct nodes
/// - `1 <= in_sync_min`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    pub partition: PartitionId,
    pub volume: VolumeId,
    pub kind: PartitionKind,
    pub epoch: Epoch,
    /// Orders writes. `None` while the control plane waits for a replica that may lead.
    pub leader: Option<ReplicaId>,
    /// Replicas that have every acknowledged write.
    pub in_sync: BTreeSet<ReplicaId>,
    /// Replicas that are being brought up; they do not count for acknowledgement.
    pub catching_up: BTreeSet<ReplicaId>,
    /// Where each replica lives, in ascending order of replica.
    pub members: Vec<Member>,
    /// Below this many in-sync replicas writes are refused (and reads go on).
    pub in_sync_min: u8,
    /// When a write counts as done.
    pub durability: crate::volume::Durability,
}

impl Configuration {
    /// Says which promise of the type is broken, if any.
    ///
    /// # Errors
    /// A sentence that names the broken promise.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.in_sync.is_empty() {
            return Err("in_sync is empty");
        }
        if !self.in_sync.is_disjoint(&self.catching_up) {
            return Err("a replica is both in sync and catching up");
        }
        if self.leader.is_some_and(|leader| !self.in_sync.contains(&leader)) {
            return Err("the leader is not in sync");
        }
        if self.in_sync_min == 0 {
            return Err("in_sync_min is zero");
        }
        let listed: BTreeSet<ReplicaId> = self.members.iter().map(|m| m.replica).collect();
        let named: BTreeSet<ReplicaId> = self.in_sync.union(&self.catching_up).copied().collect();
        if listed != named || listed.len() != self.members.len() {
            return Err("members differ from in_sync and catching_up");
        }
        let nodes: BTreeSet<NodeId> = self.members.iter().map(|m| m.node).collect();
        if nodes.len() != self.members.len() {
            return Err("two replicas share a node");
        }
        Ok(())
    }

    /// Where `replica` lives, when it is a member.
    #[must_use]
    pub fn member(&self, replica: ReplicaId) -> Option<&Member> {
        self.members.iter().find(|member| member.replica == replica)
    }

    /// The member on `node`, when there is one.
    #[must_use]
    pub fn member_on(&self, node: NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.node == node)
    }

    /// Where the leader lives, when there is a leader.
    #[must_use]
    pub fn leader_member(&self) -> Option<&Member> {
        self.leader.and_then(|leader| self.member(leader))
    }

    /// Whether enough replicas are in sync for writes to be accepted.
    #[must_use]
    pub fn accepts_writes(&self) -> bool {
        self.in_sync.len() >= usize::from(self.in_sync_min)
    }
}
