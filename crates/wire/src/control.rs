//! What nodes and clients say to the control plane, and what it answers.
//!
//! Each operation has one request and one reply message, carried as the body of a frame. A reply
//! whose status is not *ok* carries an [`Error`] instead. Any member of the control plane may be
//! asked; one that does not lead answers [`ErrorKind::NotLeader`] with the leader's address, when
//! it knows one.
//!
//! | operation | request | reply | asked by |
//! | --- | --- | --- | --- |
//! | join | [`Join`] | [`JoinReply`] | a node, at every start |
//! | heartbeat | [`Heartbeat`] | [`Assignment`] | a node, every `HEARTBEAT_INTERVAL` |
//! | assign | [`Assignment`] | [`AssignReply`] | the control plane, of a node; losing one is harmless |
//! | contents | [`AskContents`] | [`Contents`] | the control plane, of a node |
//! | change configuration | [`ChangeConfiguration`] | [`ChangeConfigurationReply`] | the leader of a partition |
//! | routes | [`Routes`] | [`RoutesReply`] | a client |
//! | watch | [`Watch`] | [`WatchReply`] | a client, as long as it has a volume open |
//! | raft | [`Raft`] | [`RaftReply`] | a member, of another member |
//! | admin | [`Admin`] | [`AdminReply`] | a member, of the leader |
//!
//! Fields are only ever added, under new numbers; a number is never reused. Ids are carried as
//! plain numbers, and zero stands for "none" where a field may be absent. Words that can be wrong
//! (an unknown kind, a configuration that breaks its promises) are refused by `TryFrom` with
//! [`Invalid`].

mod access;
mod admin;
mod error;
mod heartbeat;
mod routes;
mod watch;

pub use access::{Access, AccessList, Grant, TokenRights, VolumeAccess};
pub use admin::{Admin, AdminReply};
pub use error::{Error, ErrorKind};
pub use heartbeat::{Heartbeat, digest, is_news};
pub use routes::{Routes, RoutesOutcome, RoutesReply, Volume, VolumeKind, VolumeSelector};
pub use watch::{ClientInfo, Partitions, VolumeLife, Watch, WatchReply};

use bytes::Bytes;
use std::collections::BTreeSet;
use types::{
    DiskId, Epoch, NodeId, PartitionId, ReplicaId, VolumeId, configuration::PartitionKind as Kind,
    volume,
};

/// A message from outside that breaks a promise of its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}: {reason}")]
pub struct Invalid {
    /// The message that was being read.
    pub message: &'static str,
    /// What is wrong with it.
    pub reason: &'static str,
}

fn invalid(message: &'static str, reason: &'static str) -> Invalid {
    Invalid { message, reason }
}

// ---------------------------------------------------------------------------------------------
// Configurations

/// What the log of a partition means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum PartitionKind {
    Unspecified = 0,
    Namespace = 1,
    Data = 2,
}

/// When a write counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Durability {
    Unspecified = 0,
    Replicated = 1,
    Synced = 2,
}

impl From<volume::Durability> for Durability {
    fn from(durability: volume::Durability) -> Self {
        match durability {
            volume::Durability::Replicated => Durability::Replicated,
            volume::Durability::Synced => Durability::Synced,
        }
    }
}

impl TryFrom<Durability> for volume::Durability {
    type Error = Invalid;

    fn try_from(durability: Durability) -> Result<Self, Invalid> {
        match durability {
            Durability::Unspecified => Err(invalid("durability", "unknown")),
            Durability::Replicated => Ok(volume::Durability::Replicated),
            Durability::Synced => Ok(volume::Durability::Synced),
        }
    }
}

/// One replica and where it lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct Member {
    #[prost(uint64, tag = "1")]
    pub replica: u64,
    #[prost(uint64, tag = "2")]
    pub node: u64,
    #[prost(uint64, tag = "3")]
    pub disk: u64,
}

/// A partition's configuration, as [`types::Configuration`].
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Configuration {
    #[prost(uint64, tag = "1")]
    pub partition: u64,
    #[prost(uint64, tag = "2")]
    pub volume: u64,
    #[prost(enumeration = "PartitionKind", tag = "3")]
    pub kind: i32,
    #[prost(uint64, tag = "4")]
    pub epoch: u64,
    /// Zero while there is no leader.
    #[prost(uint64, tag = "5")]
    pub leader: u64,
    #[prost(uint64, repeated, tag = "6")]
    pub in_sync: Vec<u64>,
    #[prost(uint64, repeated, tag = "7")]
    pub catching_up: Vec<u64>,
    #[prost(message, repeated, tag = "8")]
    pub members: Vec<Member>,
    #[prost(uint32, tag = "9")]
    pub in_sync_min: u32,
    #[prost(enumeration = "Durability", tag = "10")]
    pub durability: i32,
}

impl From<&types::Configuration> for Configuration {
    fn from(from: &types::Configuration) -> Self {
        let member =
            |m: &types::Member| Member { replica: m.replica.0, node: m.node.0, disk: m.disk.0 };
        Configuration {
            partition: from.partition.0,
            volume: from.volume.0,
            kind: match from.kind {
                Kind::Namespace => PartitionKind::Namespace,
                Kind::Data => PartitionKind::Data,
            }
            .into(),
            epoch: from.epoch.0,
            leader: from.leader.map_or(0, |leader| leader.0),
            in_sync: from.in_sync.iter().map(|replica| replica.0).collect(),
            catching_up: from.catching_up.iter().map(|replica| replica.0).collect(),
            members: from.members.iter().map(member).collect(),
            in_sync_min: u32::from(from.in_sync_min),
            durability: Durability::from(from.durability).into(),
        }
    }
}

impl TryFrom<&Configuration> for types::Configuration {
    type Error = Invalid;

    fn try_from(from: &Configuration) -> Result<Self, Invalid> {
        let set = |ids: &[u64]| ids.iter().copied().map(ReplicaId).collect::<BTreeSet<_>>();
        let member = |m: &Member| types::Member {
            replica: ReplicaId(m.replica),
            node: NodeId(m.node),
            disk: DiskId(m.disk),
        };
        let configuration = types::Configuration {
            partition: PartitionId(from.partition),
            volume: VolumeId(from.volume),
            kind: match from.kind() {
                PartitionKind::Unspecified => {
                    return Err(invalid("configuration", "unknown kind of partition"));
                }
                PartitionKind::Namespace => Kind::Namespace,
                PartitionKind::Data => Kind::Data,
            },
            epoch: Epoch(from.epoch),
            leader: (from.leader != 0).then_some(ReplicaId(from.leader)),
            in_sync: set(&from.in_sync),
            catching_up: set(&from.catching_up),
            members: from.members.iter().map(member).collect(),
            in_sync_min: u8::try_from(from.in_sync_min)
                .map_err(|_| invalid("configuration", "in_sync_min is too large"))?,
            durability: from.durability().try_into()?,
        };
        configuration.check().map_err(|reason| invalid("configuration", reason))?;
        Ok(configuration)
    }
}

// ---------------------------------------------------------------------------------------------
// Join: a node says who it is and gets its numbers

/// A disk a node has, whether or not the cluster knows it.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct DiskOffer {
    /// Drawn at random when the disk was first prepared, and kept on it. Never zero.
    #[prost(uint64, tag = "1")]
    pub identity: u64,
    /// What people call it: the folder it is at.
    #[prost(string, tag = "2")]
    pub label: String,
    /// Size in bytes.
    #[prost(uint64, tag = "3")]
    pub capacity: u64,
}

/// A node asks to take part. Asking again with the same identities gets the same numbers.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Join {
    /// The cluster this node belongs to; zero when it never joined one.
    #[prost(uint64, tag = "1")]
    pub cluster: u64,
    /// Drawn at random when the node was first prepared, and kept by it. Never zero.
    #[prost(uint64, tag = "2")]
    pub identity: u64,
    /// This life of the node's process. Never zero.
    #[prost(uint64, tag = "3")]
    pub boot: u64,
    /// Where its wire listener is, as `host:port`.
    #[prost(string, tag = "4")]
    pub address: String,
    /// What fails together with it; empty when nobody said.
    #[prost(string, tag = "5")]
    pub zone: String,
    #[prost(message, repeated, tag = "6")]
    pub disks: Vec<DiskOffer>,
}

/// The numbers a node goes by from now on.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct JoinReply {
    #[prost(uint64, tag = "1")]
    pub cluster: u64,
    #[prost(uint64, tag = "2")]
    pub node: u64,
    /// One for each disk that was offered, in the order of the offer.
    #[prost(uint64, repeated, tag = "3")]
    pub disks: Vec<u64>,
    /// What is on record of the space of each of them, in the same order: a start proves nothing about
    /// room, so the node goes on from there.
    #[prost(enumeration = "DiskState", repeated, tag = "4")]
    pub spaces: Vec<i32>,
}

// ---------------------------------------------------------------------------------------------
// Heartbeat: a node re-states its whole condition

pub use super::condition::{DiskReport, DiskState};

/// What a replica does, by its own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Role {
    /// Neither leads nor follows: it has no configuration yet, or waits for one that names a leader.
    Idle = 0,
    Leader = 1,
    Follower = 2,
    /// Being brought up.
    CatchingUp = 3,
}

/// Whether a replica can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum ReplicaState {
    Unspecified = 0,
    Ok = 1,
    /// Still reading its own log after a start.
    Recovering = 2,
    /// Cannot be used; the reason says why.
    Failed = 3,
    /// It serves, and some of its bytes are damaged; the reason says which.
    Damaged = 4,
    /// It cannot write for want of room, and goes on by itself when there is some.
    Full = 5,
}

/// One replica, as its node sees it now.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ReplicaReport {
    #[prost(uint64, tag = "1")]
    pub replica: u64,
    #[prost(uint64, tag = "2")]
    pub partition: u64,
    #[prost(uint64, tag = "3")]
    pub disk: u64,
    #[prost(enumeration = "Role", tag = "4")]
    pub role: i32,
    /// Of the newest configuration it has persisted; zero when it has none.
    #[prost(uint64, tag = "5")]
    pub epoch: u64,
    /// Place of the last record of its log; zero when the log is empty.
    #[prost(uint64, tag = "6")]
    pub end: u64,
    /// Place up to which it knows records to be committed.
    #[prost(uint64, tag = "7")]
    pub committed: u64,
    /// Epoch under which the last record of its log was written.
    #[prost(uint64, tag = "8")]
    pub last_record_epoch: u64,
    /// Whether what it swore to the leader of `epoch` has run out: only then may it be made leader
    /// in that leader's place.
    #[prost(bool, tag = "9")]
    pub lease_expired: bool,
    /// Whether it heard from the leader of `epoch` under that epoch, so its log is known to hold
    /// every acknowledged write.
    #[prost(bool, tag = "10")]
    pub proven: bool,
    #[prost(enumeration = "ReplicaState", tag = "11")]
    pub state: i32,
    #[prost(string, tag = "12")]
    pub reason: String,
    /// Bytes it occupies on its disk.
    #[prost(uint64, tag = "13")]
    pub bytes: u64,
    /// A leader that serves nothing yet: it compares logs, or brings the others to its own.
    #[prost(bool, tag = "14")]
    pub preparing: bool,
    /// Of a namespace: bytes of user data in its volume; zero of anything else.
    #[prost(uint64, tag = "15")]
    pub used: u64,
}

/// Where a node is.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct NodeAddress {
    #[prost(uint64, tag = "1")]
    pub node: u64,
    /// `host:port` of its wire listener.
    #[prost(string, tag = "2")]
    pub address: String,
}

/// How much a volume may hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct Capacity {
    #[prost(uint64, tag = "1")]
    pub volume: u64,
    /// Bytes of user data, one copy counted.
    #[prost(uint64, tag = "2")]
    pub bytes: u64,
}

/// What a node should do: the reply to a heartbeat, and what is pushed when something changes.
///
/// It is level-triggered: whatever the node does not do is said again after its next heartbeat.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Assignment {
    #[prost(uint64, tag = "1")]
    pub cluster: u64,
    /// The node this is meant for.
    #[prost(uint64, tag = "2")]
    pub node: u64,
    /// Which state of the control plane this was made from; rises. A node keeps the `nodes` and
    /// `capacities` of the highest revision it saw (configurations go by their own epoch, and
    /// `deletes` are for ever).
    #[prost(uint64, tag = "3")]
    pub revision: u64,
    /// Configurations that are newer than what the node reported, and those of replicas it should
    /// have and does not: it makes those empty, on the disk the configuration names.
    #[prost(message, repeated, tag = "4")]
    pub configurations: Vec<Configuration>,
    /// Replicas to delete, with their bytes. A replica once listed here never comes back.
    #[prost(uint64, repeated, tag = "5")]
    pub deletes: Vec<u64>,
    /// Every node of the cluster, this one too; empty when the node has those of this revision.
    #[prost(message, repeated, tag = "6")]
    pub nodes: Vec<NodeAddress>,
    /// Of the volumes this node has replicas of; sent together with `nodes`.
    #[prost(message, repeated, tag = "7")]
    pub capacities: Vec<Capacity>,
    /// What operations could not do with partitions that are led from here, for the node's log.
    #[prost(message, repeated, tag = "8")]
    pub notices: Vec<Notice>,
    /// Partitions of deleted volumes whose replicas go from this node: who asks for one of them is
    /// told that the volume was deleted.
    #[prost(uint64, repeated, tag = "9")]
    pub deleted_partitions: Vec<u64>,
    /// The newest version of the access list; one at least. Zero: the control plane knows nothing of
    /// tokens.
    #[prost(uint64, tag = "10")]
    pub access_version: u64,
    /// That list; absent when the node has it.
    #[prost(message, optional, tag = "11")]
    pub access: Option<AccessList>,
    /// The heartbeat that the next one may follow: the one that this answers, if it was taken. Zero: the
    /// next one has to be full.
    #[prost(uint64, tag = "12")]
    pub taken: u64,
    /// How fast copies may be made that come from this node or to it, where an operation says so; all others
    /// go as the node sees fit. Those that are not listed any more are not limited any more.
    #[prost(message, repeated, tag = "13")]
    pub paces: Vec<CopyPace>,
}

/// How fast the copies of one operation may be made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct CopyPace {
    /// The copy.
    #[prost(uint64, tag = "1")]
    pub replica: u64,
    /// All of one operation share its rate.
    #[prost(uint64, tag = "2")]
    pub operation: u64,
    #[prost(uint64, tag = "3")]
    pub bytes_per_second: u64,
}

/// A partition that an operation could not deal with, and why.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Notice {
    #[prost(uint64, tag = "1")]
    pub operation: u64,
    #[prost(uint64, tag = "2")]
    pub partition: u64,
    /// As in docs/operations.md, for instance `LOCKED`.
    #[prost(string, tag = "3")]
    pub reason: String,
    /// Sentences for people: what is in the way, and what to do.
    #[prost(string, tag = "4")]
    pub detail: String,
    #[prost(string, tag = "5")]
    pub action: String,
    /// Since when, in RFC 3339.
    #[prost(string, tag = "6")]
    pub since: String,
}

/// A node has seen an [`Assignment`]; what it did with it, its next heartbeat tells.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct AssignReply {}

// ---------------------------------------------------------------------------------------------
// Contents: what is on a node's disks

/// Asks a node to read the folders of its disks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct AskContents {
    /// The node this is meant for: an address may have changed hands.
    #[prost(uint64, tag = "1")]
    pub node: u64,
}

/// A replica that has a folder on a disk, whether or not the node uses it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct FoundReplica {
    #[prost(uint64, tag = "1")]
    pub partition: u64,
    #[prost(uint64, tag = "2")]
    pub replica: u64,
    #[prost(uint64, tag = "3")]
    pub disk: u64,
}

/// What was found just now.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Contents {
    #[prost(uint64, tag = "1")]
    pub node: u64,
    /// The life of the node that looked.
    #[prost(uint64, tag = "2")]
    pub boot: u64,
    #[prost(message, repeated, tag = "3")]
    pub replicas: Vec<FoundReplica>,
    /// Disks whose folders cannot be read: nothing is to be had from them.
    #[prost(uint64, repeated, tag = "4")]
    pub unreadable: Vec<u64>,
    /// Disks whose folders were read; of others it says nothing.
    #[prost(uint64, repeated, tag = "5")]
    pub listed: Vec<u64>,
}

// ---------------------------------------------------------------------------------------------
// Sessions: what happened between a node and others

/// Sessions from one process to one address in one class, since the process started. Calls within one
/// process take no session.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct SessionReport {
    #[prost(string, tag = "1")]
    pub address: String,
    /// As in [`crate::Class`].
    #[prost(uint32, tag = "2")]
    pub class: u32,
    /// Open now; opened since the start.
    #[prost(uint64, tag = "3")]
    pub open: u64,
    #[prost(uint64, tag = "4")]
    pub opened: u64,
    /// Requests that wait for an answer now; sent since the start.
    #[prost(uint64, tag = "5")]
    pub in_flight: u64,
    #[prost(uint64, tag = "6")]
    pub requests: u64,
    /// Replies that answered no request; each closed its session.
    #[prost(uint64, tag = "7")]
    pub mismatched: u64,
    #[prost(uint64, tag = "8")]
    pub cancelled: u64,
    #[prost(uint64, tag = "9")]
    pub timed_out: u64,
    #[prost(uint64, tag = "10")]
    pub malformed: u64,
}

impl SessionReport {
    /// What was counted.
    #[must_use]
    pub fn of(address: String, class: crate::Class, counted: &crate::Metrics) -> SessionReport {
        use std::sync::atomic::{AtomicU64, Ordering};
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SessionReport {
            address,
            class: class as u32,
            open: counted.sessions_open(),
            opened: read(&counted.sessions_opened),
            in_flight: read(&counted.requests_in_flight),
            requests: read(&counted.requests),
            mismatched: read(&counted.replies_mismatched),
            cancelled: read(&counted.requests_cancelled),
            timed_out: read(&counted.requests_timed_out),
            malformed: read(&counted.frames_malformed),
        }
    }
}

/// All of them.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Sessions {
    #[prost(uint64, tag = "1")]
    pub node: u64,
    #[prost(message, repeated, tag = "2")]
    pub sessions: Vec<SessionReport>,
}

// ---------------------------------------------------------------------------------------------
// Change configuration: compare and set

/// What a leader asks for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Oneof)]
pub enum Change {
    /// Count on this replica no more: its leader cannot reach it, or it failed. It catches up from
    /// then on; for one that does so already this only makes a new epoch.
    #[prost(uint64, tag = "4")]
    Remove(u64),
    /// Move this replica from catching up to in sync: it has everything, and receives new writes.
    #[prost(uint64, tag = "5")]
    Promote(u64),
}

/// The leader of a partition asks for the next configuration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct ChangeConfiguration {
    #[prost(uint64, tag = "1")]
    pub partition: u64,
    /// Nothing happens unless this is the epoch of the current configuration.
    #[prost(uint64, tag = "2")]
    pub expected_epoch: u64,
    /// The replica that asks: the leader of that configuration.
    #[prost(uint64, tag = "3")]
    pub leader: u64,
    #[prost(oneof = "Change", tags = "4, 5")]
    pub change: Option<Change>,
}

/// How a change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum ChangeOutcome {
    Unspecified = 0,
    /// Done; the new configuration is attached.
    Changed = 1,
    /// The epoch was not the expected one, and nothing happened; the current configuration is
    /// attached.
    Conflict = 2,
    /// The epoch was right, but the change would break a promise; `reason` says which.
    Refused = 3,
    /// There is no such partition (any more).
    NotFound = 4,
}

/// The configuration after (or instead of) the change.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ChangeConfigurationReply {
    #[prost(enumeration = "ChangeOutcome", tag = "1")]
    pub outcome: i32,
    #[prost(message, optional, tag = "2")]
    pub configuration: Option<Configuration>,
    #[prost(string, tag = "3")]
    pub reason: String,
}

// ---------------------------------------------------------------------------------------------
// Raft: between members

/// Calls of the consensus protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum RaftCall {
    Unspecified = 0,
    Append = 1,
    Vote = 2,
    /// One piece of a snapshot; the piece's bytes are the frame's payload.
    Snapshot = 3,
}

/// One call; what is inside is the business of the control plane alone.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Raft {
    /// The group this belongs to, so that members of two clusters never mix.
    #[prost(string, tag = "1")]
    pub group: String,
    /// The member this is meant for: an address may have changed hands.
    #[prost(uint64, tag = "2")]
    pub target: u64,
    #[prost(enumeration = "RaftCall", tag = "3")]
    pub call: i32,
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
}

/// What the member answered.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct RaftReply {
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    fn configuration() -> types::Configuration {
        let member = |n| types::Member { replica: ReplicaId(n), node: NodeId(n), disk: DiskId(n) };
        types::Configuration {
            partition: PartitionId(4),
            volume: VolumeId(2),
            kind: Kind::Data,
            epoch: Epoch(9),
            leader: Some(ReplicaId(1)),
            in_sync: [1, 2].map(ReplicaId).into(),
            catching_up: [3].map(ReplicaId).into(),
            members: vec![member(1), member(2), member(3)],
            in_sync_min: 1,
            durability: volume::Durability::Synced,
        }
    }

    #[test]
    fn a_configuration_survives_the_wire() {
        let before = configuration();
        let bytes = Configuration::from(&before).encode_to_vec();
        let after = Configuration::decode(bytes.as_slice()).unwrap();
        assert_eq!(types::Configuration::try_from(&after), Ok(before));
    }

    #[test]
    fn a_configuration_that_breaks_a_promise_is_refused() {
        let mut hostile = Configuration::from(&configuration());
        hostile.in_sync.clear();
        let refused = types::Configuration::try_from(&hostile).unwrap_err();
        assert_eq!(refused.to_string(), "configuration: in_sync is empty");

        let mut newer = Configuration::from(&configuration());
        newer.kind = 77;
        assert!(types::Configuration::try_from(&newer).is_err());
    }
}
