//! What can be asked of the replicated state, and what it answers.
//!
//! Commands are kept in the Raft log, so their encoding is a format: variants and fields are only
//! ever added.

use super::access::{Token, TokenEnd, TokenSpec};
use super::configure::Step;
use super::record::Volume;
use crate::operation::Act;
use serde::{Deserialize, Serialize};
use types::condition::{Observation, State as Condition};
use types::volume::{Durability, VolumeKind};
use types::{
    BootId, ClusterId, Configuration, DiskId, Epoch, NodeId, OperationId, PartitionId, ReplicaId,
    Timestamp, TokenId, VolumeId, configuration::PartitionKind,
};

/// A disk as its node offers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskOffer {
    pub identity: u64,
    pub label: String,
    pub capacity: u64,
}

/// Where the replicas of a new partition go. The first one leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    pub kind: PartitionKind,
    pub replicas: Vec<(NodeId, DiskId)>,
}

/// A volume as its user asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSpec {
    pub name: String,
    pub kind: VolumeKind,
    pub replicas: u8,
    pub in_sync_min: u8,
    pub capacity: u64,
    pub durability: Durability,
    pub data_partitions: u16,
}

/// One change of the replicated state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Names the cluster, once.
    Initialize {
        cluster: ClusterId,
    },
    /// A node starts a life.
    Join {
        identity: u64,
        boot: BootId,
        address: String,
        zone: String,
        disks: Vec<DiskOffer>,
        at: Timestamp,
    },
    CreateVolume {
        spec: VolumeSpec,
        at: Timestamp,
    },
    ExpandVolume {
        volume: VolumeId,
        capacity: u64,
    },
    /// Deletes a volume: at once for its users, and its bytes after `grace_ms`.
    DeleteVolume {
        volume: VolumeId,
        at: Timestamp,
        #[serde(default)]
        grace_ms: u64,
    },
    /// Gives a volume that is being created all its partitions at once.
    PlacePartitions {
        volume: VolumeId,
        placements: Vec<Placement>,
    },
    /// One change of one configuration, if its epoch is still the expected one.
    Configure {
        partition: PartitionId,
        expected: Epoch,
        step: Step,
        at: Timestamp,
    },
    /// Replicas that were seen to exist.
    Confirm {
        made: Vec<(PartitionId, ReplicaId)>,
    },
    /// What was seen to have changed of nodes, disks and replicas.
    Observe {
        observations: Vec<Observation>,
    },
    /// Doomed replicas whose nodes say that they are gone.
    Forget {
        gone: Vec<(PartitionId, ReplicaId)>,
        #[serde(default)]
        at: Timestamp,
    },
    /// Takes a deletion back whose grace is not over.
    UndeleteVolume {
        volume: VolumeId,
        at: Timestamp,
    },
    /// Lets go of the bytes of a volume whose grace is over.
    PurgeVolume {
        volume: VolumeId,
        at: Timestamp,
    },
    /// A client says that it uses another volume in the place of one that was deleted.
    NoteStandby {
        volume: VolumeId,
        standby: VolumeId,
        client: String,
        at: Timestamp,
    },
    /// One change of what is on record of operations.
    Operation(Act),
    /// A volume gets one more token; with the first it needs one.
    CreateToken {
        volume: VolumeId,
        spec: TokenSpec,
        at: Timestamp,
    },
    /// A token is good for nothing any more.
    EndToken {
        volume: VolumeId,
        token: TokenId,
        why: TokenEnd,
        at: Timestamp,
    },
}

/// The numbers a node goes by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    pub cluster: ClusterId,
    pub node: NodeId,
    /// In the order of the offer.
    pub disks: Vec<DiskId>,
    /// What is on record of the space of each; `None` when nothing is.
    #[serde(default)]
    pub spaces: Vec<Option<Condition>>,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Done, and there is nothing to add.
    Done,
    Cluster(ClusterId),
    Joined(Joined),
    Volume(Box<Volume>),
    Configuration(Box<Configuration>),
    /// Nothing happened.
    Refused(Refusal),
    Operation(OperationId),
    Token(Box<Token>),
}

/// Why a command did nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    #[error("the cluster has no identity yet")]
    NotInitialized,
    #[error("a volume named '{name}' exists already (id {volume})")]
    NameTaken { name: String, volume: VolumeId },
    #[error("there is no volume {volume}")]
    NoSuchVolume { volume: VolumeId },
    #[error("volume {volume} was deleted")]
    VolumeDeleted { volume: VolumeId },
    #[error("a volume cannot shrink: its capacity is {current} bytes, {asked} were asked for")]
    Shrink { current: u64, asked: u64 },
    #[error("volume {volume} has its partitions already")]
    AlreadyPlaced { volume: VolumeId },
    #[error("there is no partition {partition}")]
    NoSuchPartition { partition: PartitionId },
    #[error("the configuration changed meanwhile: it is at epoch {}", .current.epoch)]
    Conflict { current: Box<Configuration> },
    #[error("there is no operation {operation}")]
    NoSuchOperation { operation: OperationId },
    #[error("there is no {target}")]
    NoSuchTarget { target: String },
    #[error("operation {operation} is at work on that already: {what}")]
    AtWork { operation: OperationId, what: String },
    #[error("partition {partition} is locked by operation {by}")]
    Locked { partition: PartitionId, by: OperationId },
    /// The change, or what it asks for, would break a promise.
    #[error("{reason}")]
    Breaks { reason: String },
    /// It could be asked for, and what is there is not such that it can be done.
    #[error("{reason}")]
    Contradicts { reason: String },
    #[error("volume {volume} is not being deleted: it is {state}")]
    NotDeleting { volume: VolumeId, state: String },
    #[error("the grace of volume {volume} lasts until {until}")]
    InGrace { volume: VolumeId, until: Timestamp },
    #[error("volume {volume} has no token {token}")]
    NoSuchToken { volume: VolumeId, token: TokenId },
}

impl Refusal {
    pub(crate) fn breaks(reason: impl Into<String>) -> Refusal {
        Refusal::Breaks { reason: reason.into() }
    }

    pub(crate) fn contradicts(reason: impl Into<String>) -> Refusal {
        Refusal::Contradicts { reason: reason.into() }
    }
}
