//! Everything a replica can ask of its driver.

use super::entry::{Entry, Position};
use super::message::{Append, Message};
use super::status::Failure;
use std::sync::Arc;
use types::{Configuration, Epoch, Kind, ReplicaId, Sequence};

/// One thing to do. The driver carries effects out in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Put this on disk, then step `EpochPersisted` (or `PersistFailed`). Done in the
    /// order given, so that an older epoch never overwrites a newer one. Without a configuration, the one stored before stays.
    Persist { epoch: Epoch, configuration: Option<Configuration> },
    /// Write to the end of the log at once (buffered), then step `Appended` or `AppendFailed`. When
    /// one fails, any later one of the same step fails too, without a report of its own.
    Append { entries: Arc<[Entry]> },
    /// Bring the log to disk up to `upto` or further, then step `Synced`; may take its time. There
    /// is never more than one under way.
    Sync { upto: Sequence },
    /// Cut every entry after `after`, at once. The next `Sync` makes the cut durable too.
    Truncate { after: Sequence },
    /// Send this; it may be lost.
    Send { to: ReplicaId, message: Message },
    /// Read the log from right after `append.previous` up to `upto` and send it, as one or more
    /// appends made with [`Append::with_entries`] and [`Append::after`]; then step `LogSent`.
    /// The driver may stop short of `upto` (by bytes). When the epoch of the replica has changed
    /// since, nothing is sent.
    SendLog { to: ReplicaId, append: Append, upto: Sequence },
    /// Bring a snapshot of the applied state to `to`, resuming what is there already; then step
    /// `SnapshotSent`. The log keeps what comes after the snapshot until then. The receiver's driver steps `SnapshotStaged` with this epoch.
    SendSnapshot { to: ReplicaId, epoch: Epoch },
    /// Replace log and index by the staged snapshot; then step `SnapshotInstalled`, or
    /// `SnapshotRefused`. Nothing is appended until then.
    InstallSnapshot { at: Position },
    /// The staged snapshot is of no use.
    DiscardSnapshot { at: Position },
    /// Entries up to here are committed: apply them.
    Apply { upto: Sequence },
    /// Tell the caller.
    Answer { token: u64, result: Result<Answer, Refusal> },
    /// Ask the control plane for this change, valid only while the configuration has this epoch.
    /// Repeated until a newer configuration comes.
    RequestConfiguration { epoch: Epoch, change: Change },
    /// A configuration of at least this epoch exists: fetch it.
    Outdated { epoch: Epoch },
    /// From now on the log is proven whole: remember it together with the boot of this machine.
    MarkProven,
}

/// What a leader asks of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// Take it out of the in-sync set (into the catching-up set when it may come back). Asked for
    /// a replica whose promotion is not known to have failed, it still makes a new epoch.
    Remove { replica: ReplicaId, reason: RemoveReason },
    /// It has everything and receives what is new: put it into the in-sync set.
    Promote { replica: ReplicaId },
}

/// Why a leader wants a follower out of the in-sync set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RemoveReason {
    /// It said nothing for `FOLLOWER_SILENCE_MAX`.
    Silent,
    /// It answers, but its log or disk made no progress for `FOLLOWER_STALL_MAX`.
    Stalled,
    /// It said itself that it cannot write.
    Failed(Failure),
}

/// A request that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Committed at this place. Its `Apply` comes before this answer.
    Written { sequence: Sequence },
    /// Everything up to here is on the disk of every in-sync replica.
    Flushed { upto: Sequence },
    /// The state applied up to here is as new as any acknowledged write.
    Readable { applied: Sequence },
}

/// A request that was not done, or not surely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this replica does not lead the partition (epoch {epoch})")]
    NotLeader { leader: Option<ReplicaId>, epoch: Epoch },
    #[error("the new leader is still bringing its followers to its log")]
    Reconciling,
    #[error("too much is in flight")]
    Busy,
    #[error("{in_sync} replicas are in sync, and writes need {minimum}")]
    BelowMinimum { in_sync: u8, minimum: u8 },
    #[error("not every in-sync replica answered lately, so another leader may exist")]
    NoLease,
    #[error("leadership ended before the write was known to be committed; it may have happened")]
    Unknown,
}

impl Refusal {
    /// What the caller should do next.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Refusal::NotLeader { .. } => Kind::Reroute,
            Refusal::Unknown => Kind::Unknown,
            Refusal::Reconciling
            | Refusal::Busy
            | Refusal::BelowMinimum { .. }
            | Refusal::NoLease => Kind::Retry,
        }
    }
}
