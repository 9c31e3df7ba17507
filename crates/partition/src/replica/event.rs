//! Everything that can happen to a replica.

use super::entry::{EntryBody, Position};
use super::message::Message;
use super::status::{Failure, Room};
use types::{Configuration, Epoch, ReplicaId, Sequence};

/// One thing that happened. Time comes beside it.
///
/// Order that the driver keeps: `Appended` or `AppendFailed` is stepped after the effects that hold
/// its `Append` were carried out and before any other event; everything else may come in any order.
#[derive(Clone, Debug)]
pub enum Event {
    /// The control plane made a configuration (or repeats one).
    Configure(Configuration),
    /// A caller wants this written. Answered by `Written` or a refusal.
    Submit { token: u64, entry: EntryBody },
    /// Several callers at once: one append and one message per follower for all of them.
    SubmitMany(Vec<(u64, EntryBody)>),
    /// A caller wants everything up to now on all disks. Answered by `Flushed` or a refusal.
    Flush { token: u64 },
    /// A caller wants to read committed state. Answered at once, by `Readable` or a refusal.
    Read { token: u64 },
    /// Another replica speaks.
    Message { from: ReplicaId, message: Message },
    /// The log holds everything up to `end` (in the page cache at least).
    Appended { end: Sequence },
    /// The `Sync` in flight is done: everything up to `end` is on disk. Exactly one per `Sync`.
    Synced { end: Sequence },
    /// The log could not take the entries from `from` on; they are cut away again.
    AppendFailed { from: Sequence, failure: Failure },
    /// The `Sync` in flight failed. What was not on disk before may never be, whatever a later
    /// sync says, so this replica writes no more in this life.
    SyncFailed,
    /// A `Persist` is on disk.
    EpochPersisted { epoch: Epoch },
    /// A `Persist` failed. It is asked for again once there is room, if that was why.
    PersistFailed { epoch: Epoch, failure: Failure },
    /// How much room the disk has. Nothing stops for that here: who asks for
    /// writes is refused before they come this far, and a leader that has room counts no longer on
    /// followers that have none.
    Room(Room),
    /// The disk has room again: a replica that stopped for want of space may go on.
    SpaceFreed,
    /// A `SendLog` came to its end, however late: the stamp of its append, and the last entry that was
    /// really sent (or the one before its first, when nothing was).
    LogSent { to: ReplicaId, stamp: u64, upto: Sequence },
    /// A `SendSnapshot` came to its end, well or not.
    SnapshotSent { to: ReplicaId },
    /// A whole snapshot lies beside the log, ready to replace it.
    SnapshotStaged {
        from: ReplicaId,
        /// Epoch of the `SendSnapshot` that made it.
        epoch: Epoch,
        /// The last entry that the snapshot includes.
        at: Position,
    },
    /// The snapshot has replaced log and index, on disk.
    SnapshotInstalled { at: Position },
    /// The staged snapshot could not be installed; log and index are as they were.
    SnapshotRefused { at: Position },
    /// The log now begins at `start`; what was before is in the index only.
    LogStart { start: Sequence },
    /// The session to `replica` broke; what was sent lately may be lost.
    Unreachable { replica: ReplicaId },
    /// Time passed; due by [`super::Replica::wake`].
    Tick,
}
