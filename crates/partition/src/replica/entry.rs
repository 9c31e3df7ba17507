//! What the log holds: an entry has a place, the epoch of the leader that ordered it, and a body
//! that means nothing here.

use bytes::Bytes;
use types::{Epoch, Sequence};

/// The kind of entry that a new leader writes first; it changes no state.
///
/// It is what makes the log of a new epoch comparable with every older one: whoever holds it holds
/// everything that was acknowledged before. Users of the engine may not submit it.
pub const KIND_BARRIER: u8 = 0;

/// What a caller wants written. Opaque: only its length counts here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryBody {
    /// What the bytes mean to the partition's index; never [`KIND_BARRIER`].
    pub kind: u8,
    /// The structured part: where the payload belongs.
    pub key: Bytes,
    /// The raw part.
    pub payload: Bytes,
}

impl EntryBody {
    /// The body of the entry that a new leader writes first.
    #[must_use]
    pub fn barrier() -> EntryBody {
        EntryBody { kind: KIND_BARRIER, key: Bytes::new(), payload: Bytes::new() }
    }

    /// Bytes it holds in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.key.len() + self.payload.len()
    }
}

/// One record of the log.
///
/// Two entries with the same epoch and sequence are the same entry, and everything before them is
/// the same too: an epoch has one leader, and a leader never gives a place twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Epoch of the configuration under which its leader ordered it.
    pub epoch: Epoch,
    pub sequence: Sequence,
    pub body: EntryBody,
}

impl Entry {
    /// Its place and epoch, which name it.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, sequence: self.sequence }
    }
}

/// Names an entry; ordered by epoch first, as "who knows more" is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub epoch: Epoch,
    pub sequence: Sequence,
}

impl Position {
    /// Before the first entry.
    pub const ZERO: Position = Position { epoch: Epoch::ZERO, sequence: Sequence::ZERO };
}
