//! A client learns what becomes of its volume.

/// What became of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum VolumeLife {
    /// Nothing is known yet.
    Unspecified = 0,
    Live = 1,
    /// It is being deleted; the deletion may still be taken back.
    Deleting = 2,
    /// It was deleted for good.
    Deleted = 3,
    /// This control plane has no record of such a volume: no statement that it was deleted.
    NotFound = 4,
}

/// A client that has a volume open, for people to see.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ClientInfo {
    /// Drawn by the client when it opened the volume.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(string, tag = "2")]
    pub host: String,
    #[prost(uint32, tag = "3")]
    pub pid: u32,
    /// Where it is mounted; empty for what is no mount.
    #[prost(string, tag = "4")]
    pub mount_point: String,
    #[prost(string, tag = "5")]
    pub version: String,
    #[prost(bool, tag = "6")]
    pub read_only: bool,
    /// Bytes that were written and are in this client only.
    #[prost(uint64, tag = "7")]
    pub dirty_bytes: u64,
    /// When it opened the volume: nanoseconds since 1970, by its own clock.
    #[prost(sint64, tag = "8")]
    pub since: i64,
    /// The volume in whose place it uses this one, because that was deleted; zero for none.
    #[prost(uint64, tag = "9")]
    pub stands_in_for: u64,
}

/// "I have this volume open; tell me when it is no longer what I believe it is." Answered at once
/// when it is not, and after [`types::limits::WATCH_WAIT_MAX`] otherwise.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Watch {
    #[prost(uint64, tag = "1")]
    pub volume: u64,
    #[prost(message, optional, tag = "2")]
    pub client: Option<ClientInfo>,
    #[prost(enumeration = "VolumeLife", tag = "3")]
    pub seen: i32,
    /// The last message: the client has closed the volume.
    #[prost(bool, tag = "4")]
    pub leaving: bool,
    /// When a volume that is being deleted goes for good, as far as the client knows.
    #[prost(sint64, tag = "5")]
    pub purge_at: i64,
    /// The partitions that have no room, as far as the client knows; absent when it does not care.
    #[prost(message, optional, tag = "6")]
    pub full: Option<Partitions>,
    /// What the client may do, as far as it knows.
    #[prost(enumeration = "super::Access", tag = "7")]
    pub access: i32,
}

/// Some of a volume's partitions, in ascending order.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Partitions {
    #[prost(uint64, repeated, tag = "1")]
    pub ids: Vec<u64>,
}

/// What a majority of the control plane knows of the volume.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct WatchReply {
    #[prost(enumeration = "VolumeLife", tag = "1")]
    pub life: i32,
    #[prost(uint64, tag = "2")]
    pub cluster: u64,
    /// When a volume that is being deleted goes for good: nanoseconds since 1970; zero otherwise.
    #[prost(sint64, tag = "3")]
    pub purge_at: i64,
    /// The partitions that take no writes for want of room; absent for who has no right to the volume.
    #[prost(message, optional, tag = "4")]
    pub full: Option<Partitions>,
    /// What the client may do with it.
    #[prost(enumeration = "super::Access", tag = "5")]
    pub access: i32,
}
