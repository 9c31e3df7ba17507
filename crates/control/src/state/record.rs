//! What is on record about one node, disk, volume and partition.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use types::volume::{Durability, VolumeKind};
use types::{BootId, Configuration, DiskId, Member, NodeId, ReplicaId, Timestamp, VolumeId};

/// A node that joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub id: NodeId,
    /// The random number the node keeps; how it is known again, whatever its address.
    pub identity: u64,
    /// The life of the node that joined last; others are not listened to.
    pub boot: BootId,
    /// `host:port` of its wire listener.
    pub address: String,
    /// What fails together with it; empty when nobody said.
    pub zone: String,
    pub joined: Timestamp,
    /// When this life of it joined.
    pub started: Timestamp,
    /// Which life this is, counted over all nodes; zero on records from before lives were counted.
    #[serde(default)]
    pub life: u64,
}

/// A disk that some node offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    pub id: DiskId,
    pub identity: u64,
    /// Where it was offered last.
    pub node: NodeId,
    pub label: String,
    /// Size in bytes.
    pub capacity: u64,
}

/// How far a volume is in its life.
///
/// `creating -> active -> deleting -> purging -> deleted`; `creating` may skip to any later one, and
/// `deleting` goes back to `active` when the deletion is taken back in time. Nothing else goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeState {
    /// Asked for; its partitions have no place yet.
    Creating,
    /// Has its partitions.
    Active,
    /// Gone for new users; whoever had it open finishes and leaves. Everything is still there, until
    /// the time of [`Volume::purge_at`].
    Deleting,
    /// Its replicas are being deleted; there is no way back.
    Purging,
    /// Every replica is gone, by the word of the nodes that held them. A tombstone.
    Deleted,
}

impl VolumeState {
    /// Whether users may still reach the volume.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, VolumeState::Creating | VolumeState::Active)
    }
}

impl fmt::Display for VolumeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            VolumeState::Creating => "creating",
            VolumeState::Active => "active",
            VolumeState::Deleting => "deleting",
            VolumeState::Purging => "purging",
            VolumeState::Deleted => "deleted",
        })
    }
}

/// A volume, as its user asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub id: VolumeId,
    pub name: String,
    pub kind: VolumeKind,
    /// Copies of each partition.
    pub replicas: u8,
    /// Below this many in-sync replicas, writes are refused.
    pub in_sync_min: u8,
    /// Bytes of user data, one copy counted.
    pub capacity: u64,
    pub durability: Durability,
    /// Data partitions to make; the namespace comes on top.
    pub data_partitions: u16,
    pub state: VolumeState,
    pub created: Timestamp,
    /// When its deletion was asked for.
    pub deleted: Option<Timestamp>,
    /// When it may be purged, while its deletion may still be taken back.
    #[serde(default)]
    pub purge_at: Option<Timestamp>,
}

/// A replica that was taken out of its configuration and may be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spare {
    pub member: Member,
    /// When it was taken out.
    pub since: Timestamp,
}

/// A partition: its configuration, and whoever else may still hold a replica of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    pub configuration: Configuration,
    /// Taken out of the configuration, and may be taken back.
    pub spare: BTreeMap<ReplicaId, Spare>,
    /// To be deleted; listed until its node says that it is gone.
    pub doomed: BTreeMap<ReplicaId, Member>,
    /// Replicas that were reported to exist. One of these that is missing was lost, and must not be
    /// made again under its old number, as an empty copy that poses as a full one.
    pub made: BTreeSet<ReplicaId>,
    /// The volume was deleted: every replica is doomed.
    pub deleted: bool,
    /// When its configuration last changed; `None` when it never did since it was made.
    #[serde(default)]
    pub changed: Option<Timestamp>,
}

impl Partition {
    /// Every replica that may exist, in no particular order.
    pub fn holders(&self) -> impl Iterator<Item = &Member> {
        let members = self.configuration.members.iter().filter(|_| !self.deleted);
        members.chain(self.spare.values().map(|spare| &spare.member)).chain(self.doomed.values())
    }

    /// Says which promise is broken, if any.
    ///
    /// # Errors
    /// A sentence that names the broken promise.
    pub fn check(&self) -> Result<(), &'static str> {
        self.configuration.check()?;
        if self.deleted && !self.spare.is_empty() {
            return Err("a deleted partition has spares");
        }
        let mut seen = BTreeSet::new();
        if self.holders().any(|member| !seen.insert(member.replica)) {
            return Err("a replica is in two places");
        }
        if !self.made.is_subset(&seen) {
            return Err("a replica that nobody holds counts as made");
        }
        Ok(())
    }
}
