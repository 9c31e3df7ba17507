//! Consensus between the members: openraft over the wire, with its log and vote in redb.
//!
//! | part | is |
//! | --- | --- |
//! | [`store`] | the log, the vote and the snapshot, on disk |
//! | [`machine`] | the replicated state that committed entries are applied to |
//! | [`network`] | calls to the other members |
//! | `keeper` | that database, opened again when a full disk has room again |
//! | [`backend`] | redb's file, on a disk of the [`world`] |
//!
//! What it promises: a command that was answered is on the disks of a majority. What it leaves out:
//! changing the set of members, which the configuration file decides once.

// openraft's storage error is large, and its traits ask for it as it is.
#![allow(clippy::result_large_err)]

pub mod backend;
pub mod inspect;
mod keeper;
pub mod machine;
pub mod network;
pub mod store;

pub use keeper::Shortage;

use crate::state::{Command, Outcome};
use openraft::{BasicNode, Config, SnapshotPolicy};
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;
use types::limits::{FAILOVER_BOUND, FOLLOWER_GREETING_MAX, HEARTBEAT_INTERVAL, NODE_SILENCE_MAX};

openraft::declare_raft_types!(
    /// The types that openraft works with here.
    pub TypeConfig:
        D = Command,
        R = Outcome,
        NodeId = u64,
        Node = BasicNode,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = Cursor<Vec<u8>>,
        AsyncRuntime = openraft::TokioRuntime,
);

/// A running member of the group.
pub type Raft = openraft::Raft<TypeConfig>;
pub(crate) type Entry = openraft::Entry<TypeConfig>;
pub(crate) type LogId = openraft::LogId<u64>;
pub(crate) type Vote = openraft::Vote<u64>;
pub(crate) type StorageError = openraft::StorageError<u64>;
pub(crate) type StoredMembership = openraft::StoredMembership<u64, BasicNode>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<u64, BasicNode>;

/// How often a leader speaks to its followers.
pub const HEARTBEAT_MS: u64 = 150;
/// A follower that hears nothing for a time between these stands for election. Its word to the old
/// leader holds for the longer time and the wait comes on top, so twice that passes at most.
pub const ELECTION_MS_MIN: u64 = 500;
pub const ELECTION_MS_MAX: u64 = 800;
/// A leader that no majority answered for this long stops acting as one.
pub const QUORUM_SILENCE_MS_MAX: u64 = 1000;
/// Entries since the last snapshot that make a new one due.
const SNAPSHOT_AFTER_ENTRIES: u64 = 2_000;
/// Largest piece of a snapshot in one call. Bytes.
const SNAPSHOT_PIECE_BYTES: u64 = 512 << 10;
/// Entries that are kept behind a snapshot, for members that are a little late.
const ENTRIES_KEPT: u64 = 500;

// A machine may take the leading member and leaders of partitions with it: an election, then the
// time that the new member listens, then the time the new leader waits for the old one.
const _: () = assert!(ELECTION_MS_MIN > 3 * HEARTBEAT_MS);
const _: () = assert!(
    2 * ELECTION_MS_MAX as u128
        + NODE_SILENCE_MAX.as_millis()
        + FOLLOWER_GREETING_MAX.as_millis()
        + 2 * HEARTBEAT_INTERVAL.as_millis()
        < FAILOVER_BOUND.as_millis()
);
const _: () = assert!(SNAPSHOT_PIECE_BYTES <= types::limits::RECORD_PAYLOAD_BYTES_MAX as u64);

/// How long a member waits after the last word of the leader before it stands for election, by its
/// rank among all `members`: nobody stands within the lease of the old leader, and no two at once.
#[must_use]
pub fn election_wait(rank: usize, members: usize) -> Duration {
    let spread = ELECTION_MS_MAX - ELECTION_MS_MIN;
    let share = spread * rank as u64 / members.max(1) as u64;
    Duration::from_millis(ELECTION_MS_MAX + ELECTION_MS_MIN + share)
}

/// How the group is run.
///
/// # Panics
/// Never: the numbers above are consistent.
#[must_use]
pub fn config(group: &str) -> Arc<Config> {
    let config = Config {
        cluster_name: group.to_owned(),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: ELECTION_MS_MIN,
        election_timeout_max: ELECTION_MS_MAX,
        install_snapshot_timeout: 2_000,
        max_payload_entries: 64,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_AFTER_ENTRIES),
        snapshot_max_chunk_size: SNAPSHOT_PIECE_BYTES,
        max_in_snapshot_log_to_keep: ENTRIES_KEPT,
        ..Config::default()
    };
    Arc::new(config.validate().expect("the constants above are consistent"))
}
