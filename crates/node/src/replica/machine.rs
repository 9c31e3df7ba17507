//! What the records of a partition mean: the index of its kind.

use super::names::NameFeed;
use bytes::Bytes;
use partition::extent::{Applied, Command, Index};
use partition::kv::{self, Buffered};
use partition::log::Location;
use partition::namespace::{Fault, Namespace};
use prost::Message;
use std::sync::Arc;
use types::Sequence;
use types::configuration::PartitionKind;
use types::namespace::{Outcome, Stamped};
use wire::{Reply, Status};

/// The index of one replica.
#[derive(Debug)]
pub enum Machine {
    Data(Index),
    Namespace(Box<Namespace>),
}

/// A committed record, on its way into the index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub sequence: Sequence,
    pub kind: u8,
    pub key: &'a Bytes,
    pub payload: &'a Bytes,
    pub at: Location,
}

/// What a record did.
#[derive(Debug)]
pub(super) enum Result {
    Nothing,
    Data(Applied),
    Namespace(Box<Outcome>),
}

/// Kind of the records of a namespace partition; part of the format.
pub(super) const KIND_COMMAND: u8 = 1;

/// Why an index cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Kv(#[from] kv::Error),
    #[error(transparent)]
    Namespace(#[from] Fault),
}

impl Error {
    /// Whether there was no room to write something.
    pub(super) fn is_no_space(&self) -> bool {
        match self {
            Error::Kv(error) | Error::Namespace(Fault::Store(error)) => {
                matches!(error, kv::Error::NoSpace { .. })
            }
            Error::Namespace(_) => false,
        }
    }

    /// Whether what was written is not there any more. Everything else passes: a disk has room again,
    /// or answers again, and the replica can be opened.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Error::Kv(error) | Error::Namespace(Fault::Store(error)) => {
                matches!(error, kv::Error::Damaged { .. })
            }
            Error::Namespace(Fault::Value { .. } | Fault::Contradiction { .. }) => true,
            Error::Namespace(Fault::Unfinished) => false,
        }
    }
}

impl Result {
    /// The answer to whoever asked for it.
    pub(super) fn into_reply(self) -> std::result::Result<Reply, (Status, String)> {
        match self {
            Result::Nothing => Ok(Reply::default()),
            Result::Data(Applied::Changed { allocated_delta }) => {
                Ok(Reply::message(&wire::data::Written { allocated_delta }))
            }
            Result::Namespace(outcome) => Ok(Reply::message(outcome.as_ref())),
            Result::Data(Applied::Gone) => Err((Status::Gone, "the object was deleted".into())),
        }
    }
}

impl Machine {
    /// Opens the index of a replica.
    pub(super) fn open(
        kind: PartitionKind,
        kv: Arc<Buffered>,
    ) -> std::result::Result<Machine, Error> {
        match kind {
            PartitionKind::Data => Ok(Machine::Data(Index::open(kv)?)),
            PartitionKind::Namespace => Ok(Machine::Namespace(Box::new(Namespace::open(kv)?))),
        }
    }

    /// The last record that is in the index.
    #[must_use]
    pub fn applied(&self) -> Sequence {
        match self {
            Machine::Data(index) => index.applied(),
            Machine::Namespace(namespace) => namespace.applied(),
        }
    }

    /// Applies a record; `names`, which only a leader has, hears which names that changed.
    pub(super) fn apply(
        &mut self,
        record: &Record<'_>,
        names: Option<&mut NameFeed>,
    ) -> std::result::Result<Result, Error> {
        match self {
            Machine::Data(index) => {
                let Ok(meaning) = Command::decode_key(record.kind, record.key) else {
                    // Written by a newer version; every replica passes over it alike.
                    index.skip(record.sequence);
                    return Ok(Result::Nothing);
                };
                Ok(Result::Data(index.apply(record.sequence, meaning, record.at)?))
            }
            Machine::Namespace(namespace) => {
                let stamped = match Stamped::decode(record.payload.clone()) {
                    Ok(stamped) if record.kind == KIND_COMMAND => stamped,
                    // Written by a newer version; every replica passes over it alike.
                    _ => {
                        namespace.advance(record.sequence)?;
                        return Ok(Result::Nothing);
                    }
                };
                let mut outcome = namespace.apply(record.sequence, &stamped)?;
                if let (Some(names), Some(request)) = (names, &stamped.request) {
                    names.note(request, &outcome);
                    // Whoever changed a name is about to ask for the folder.
                    if let (Some(command), None) = (&request.command, outcome.failure()) {
                        outcome.folders = namespace.folders_of(command)?;
                    }
                }
                Ok(Result::Namespace(Box::new(outcome)))
            }
        }
    }

    pub(super) fn skip(&mut self, sequence: Sequence) -> std::result::Result<(), Error> {
        match self {
            Machine::Data(index) => index.skip(sequence),
            Machine::Namespace(namespace) => namespace.advance(sequence)?,
        }
        Ok(())
    }

    /// Hands what changed to the map below.
    pub(super) fn checkpoint(&mut self) -> std::result::Result<(), Error> {
        match self {
            Machine::Data(index) => index.checkpoint()?,
            Machine::Namespace(namespace) => namespace.flush()?,
        }
        Ok(())
    }

    /// Bytes of user data in the volume, as far as a namespace counts them.
    #[must_use]
    pub fn user_bytes(&self) -> u64 {
        match self {
            Machine::Data(_) => 0,
            Machine::Namespace(namespace) => namespace.usage().used,
        }
    }

    pub(super) fn wants_checkpoint(&self) -> bool {
        match self {
            Machine::Data(index) => index.wants_checkpoint(),
            Machine::Namespace(_) => false,
        }
    }
}
