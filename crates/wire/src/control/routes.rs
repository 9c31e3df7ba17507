//! Routes: a client finds a volume.

use super::{Configuration, Durability, NodeAddress};

/// Which volume.
#[derive(Clone, PartialEq, Eq, Hash, prost::Oneof)]
pub enum VolumeSelector {
    #[prost(string, tag = "1")]
    Name(String),
    #[prost(uint64, tag = "2")]
    Id(u64),
}

/// A client asks where a volume is. By id once it knows it, so that a new volume of the same name
/// is never taken for the old one.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Routes {
    #[prost(oneof = "VolumeSelector", tags = "1, 2")]
    pub volume: Option<VolumeSelector>,
}

/// Kinds of volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum VolumeKind {
    Unspecified = 0,
    File = 1,
}

/// A volume, as the control plane has it on record.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Volume {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(enumeration = "VolumeKind", tag = "3")]
    pub kind: i32,
    #[prost(uint32, tag = "4")]
    pub replicas: u32,
    /// Bytes of user data, one copy counted.
    #[prost(uint64, tag = "5")]
    pub capacity: u64,
    #[prost(enumeration = "Durability", tag = "6")]
    pub durability: i32,
}

/// Whether there is such a volume. `Deleted` is permanent, and told by the control plane only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum RoutesOutcome {
    Unspecified = 0,
    Found = 1,
    Deleted = 2,
    NotFound = 3,
    /// It is being deleted and still all there: for those who have it open, to finish and leave.
    Deleting = 4,
    /// There is one, and whoever asks shows no right to it, so nothing is said of it. Why not is in
    /// [`RoutesReply::access`].
    Withheld = 5,
}

/// A volume and where its partitions are.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct RoutesReply {
    #[prost(enumeration = "RoutesOutcome", tag = "1")]
    pub outcome: i32,
    #[prost(uint64, tag = "2")]
    pub cluster: u64,
    /// As in [`super::Assignment`].
    #[prost(uint64, tag = "3")]
    pub revision: u64,
    #[prost(message, optional, tag = "4")]
    pub volume: Option<Volume>,
    /// All partitions of the volume, in ascending order; the namespace is among them.
    #[prost(message, repeated, tag = "5")]
    pub configurations: Vec<Configuration>,
    /// The nodes that hold them.
    #[prost(message, repeated, tag = "6")]
    pub nodes: Vec<NodeAddress>,
    /// When a volume that is being deleted goes for good: nanoseconds since 1970; zero otherwise.
    #[prost(sint64, tag = "7")]
    pub purge_at: i64,
    /// What whoever asks may do with it.
    #[prost(enumeration = "super::Access", tag = "8")]
    pub access: i32,
}
