//! What replicas say to each other. Every message names its epoch and positions, so that it means
//! the same when it is lost, doubled, late or out of order.

use super::entry::{Entry, Position};
use super::status::{Failure, Room};
use std::sync::Arc;
use types::{Epoch, ReplicaId, Sequence};

/// One message between two replicas of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Leader to follower: entries, or none to renew the lease.
    Append(Append),
    /// Follower to leader: the append matched.
    Ack(Ack),
    /// Follower to leader: the append does not continue my log.
    Reject(Reject),
    /// To a sender whose epoch is old; or to the leader of an epoch that is still on its way to
    /// disk here, as a sign of life that promises nothing.
    Stale {
        /// The newest epoch the sender of this message knows.
        epoch: Epoch,
        /// Who leads that epoch, as far as the sender knows.
        leader: Option<ReplicaId>,
    },
    /// Leader that cannot prove its log whole, to all in-sync replicas: what do you have?
    Compare { epoch: Epoch, stamp: u64 },
    /// Answer to `Compare`. Without a last entry: of this log some is certainly lost for good, so that
    /// there is nothing to compare with.
    Compared { epoch: Epoch, stamp: u64, life: u64, last: Option<Position> },
}

impl Message {
    /// The epoch the sender speaks in.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        match self {
            Message::Append(append) => append.epoch,
            Message::Ack(ack) => ack.epoch,
            Message::Reject(reject) => reject.epoch,
            Message::Stale { epoch, .. }
            | Message::Compare { epoch, .. }
            | Message::Compared { epoch, .. } => *epoch,
        }
    }
}

/// Entries that follow `previous` in the leader's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    pub epoch: Epoch,
    /// The leader's clock when this was sent, in nanoseconds; the answer repeats it, and the lease
    /// counts from it. Means nothing to the follower.
    pub stamp: u64,
    /// The follower's life as the leader knows it; zero when it knows none. A follower that
    /// restarted knows by it that the leader has noticed.
    pub life: u64,
    /// The entry right before `entries`.
    pub previous: Position,
    /// End of the leader's log when this was sent.
    pub end: Sequence,
    /// Everything up to here is committed.
    pub committed: Sequence,
    /// The leader wants everything up to here on the follower's disk.
    pub sync_upto: Sequence,
    /// Consecutive, ascending; shared with the leader's own append, so sending copies nothing.
    pub entries: Arc<[Entry]>,
}

impl Append {
    /// The same message with these entries, which must follow `previous`.
    #[must_use]
    pub fn with_entries(&self, entries: Arc<[Entry]>) -> Append {
        debug_assert!(
            entries.first().is_none_or(|first| first.sequence == self.previous.sequence.next())
        );
        Append { entries, ..self.clone() }
    }

    /// The same message, empty, placed after `previous`: for the next piece of a long run.
    #[must_use]
    pub fn after(&self, previous: Position) -> Append {
        Append { previous, entries: Arc::default(), ..self.clone() }
    }

    /// The last entry it speaks of.
    #[must_use]
    pub fn last(&self) -> Sequence {
        self.entries.last().map_or(self.previous.sequence, |entry| entry.sequence)
    }
}

/// What a follower has of its leader's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    pub epoch: Epoch,
    /// Stamp of the newest append this answers.
    pub stamp: u64,
    /// Which life of the follower speaks; each restart has a greater one.
    pub life: u64,
    /// My log equals yours up to here.
    pub matched: Sequence,
    /// Of that, this much is on my disk.
    pub synced: Sequence,
    /// My log surely holds everything I ever acknowledged.
    pub proven: bool,
    /// I cannot write any more, for this reason.
    pub failure: Option<Failure>,
    /// How much room my disk has.
    pub room: Room,
}

/// Where leader and follower should compare next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    pub epoch: Epoch,
    pub stamp: u64,
    pub life: u64,
    /// My last entry that could be in your log.
    pub hint: Position,
}
