//! What a replica says about itself in heartbeats: facts of this moment, nothing remembered.

use super::entry::Position;
use std::time::Duration;
use types::{Epoch, ReplicaId, Sequence};

/// The condition of one replica at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub role: RoleName,
    pub epoch: Epoch,
    /// Which life of the replica speaks.
    pub life: u64,
    /// The last entry of the log.
    pub last: Position,
    /// The first entry the log still has.
    pub log_start: Sequence,
    pub synced: Sequence,
    pub committed: Sequence,
    /// No leader can be serving reads on this replica's word any more. The control plane appoints
    /// nobody who has not said so (and who is appointed too soon waits).
    pub lease_expired: bool,
    /// The log surely holds everything this replica acknowledged.
    pub proven: bool,
    pub failure: Option<Failure>,
    /// What the leader knows of its followers; empty elsewhere.
    pub followers: Vec<FollowerStatus>,
}

/// The role of a replica, as shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RoleName {
    /// Knows no leader: just started, or stopped leading, or turned the appointment down.
    Waiting,
    Following,
    /// Appointed; brings the followers to its log and serves nothing yet.
    Reconciling,
    /// Orders writes and serves reads.
    Leading,
    /// No longer a member.
    Retired,
}

/// How much room the disk of a replica has, as its node sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Room {
    #[default]
    Enough,
    /// No more than its reserve: no writes of clients, but deletes go on, and a copy that is behind
    /// goes on catching up, because there may be deletes in what it lacks.
    Reserve,
    /// Half of its reserve is gone: the rest is not for catching up.
    Scarce,
}

impl Room {
    /// Whether there is no room for writes.
    #[must_use]
    pub fn is_full(self) -> bool {
        self != Room::Enough
    }
}

/// Why a replica cannot write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Failure {
    /// The disk is full. Ends with `SpaceFreed`.
    NoSpace,
    /// The disk failed. Ends with a restart that finds the log good.
    Io,
    /// Its log contradicts the leader's where both call it committed: our own mistake or damage.
    /// It stops rather than cut. Ends by being copied anew.
    Diverged,
}

/// A follower, as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowerStatus {
    pub replica: ReplicaId,
    /// Its acknowledgement is waited for (in sync, or its promotion was asked for).
    pub counts: bool,
    pub matched: Sequence,
    pub synced: Sequence,
    /// Time since its last valid answer.
    pub silent_for: Duration,
    pub failure: Option<Failure>,
}
