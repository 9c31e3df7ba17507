//! What can be asked of operations. Part of the replicated commands: variants and fields are only ever added.

use super::record::{Evidence, Limits, Relocation, Replicas, Residue};
use crate::state::Step;
use serde::{Deserialize, Serialize};
use std::fmt;
use types::operation::{LockKind, OperationKind, OperationState, Target};
use types::{DiskId, Epoch, NodeId, OperationId, PartitionId, ReplicaId, Timestamp};

/// What a person asks of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    Pause,
    Resume,
    Cancel,
    /// Try again at once what waits, or what failed.
    Retry,
    /// What is out of sight of its target is destroyed, by the word of who says so.
    Attest,
}

/// What became of one partition of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Note {
    /// It is to be dealt with.
    Found {
        bytes: u64,
        #[serde(default)]
        relocation: Option<Relocation>,
    },
    /// It is dealt with.
    Done,
    /// It cannot be dealt with for now.
    Left(Residue),
    /// It can be dealt with again.
    Freed,
    /// Its copy was given up; another one is begun at `retry_at`.
    GivenUp {
        why: String,
        retry_at: Timestamp,
        /// Which copy; a later one is not meant.
        #[serde(default)]
        copy: Option<ReplicaId>,
    },
    /// Its lock is still needed.
    Renew(LockKind),
    /// There is no need to deal with it any more.
    Moot { why: String },
    /// It takes a lock, unless somebody else has one that excludes it.
    Lock(LockKind),
    /// It was read, so many bytes of it altogether, and is as it should be.
    Verified { bytes: u64 },
}

/// One change of what is on record of operations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    Start {
        kind: OperationKind,
        target: Target,
        by: String,
        limits: Limits,
        priority: u8,
        force: bool,
        at: Timestamp,
        /// For kinds that change how many there are.
        #[serde(default)]
        replicas: Option<Replicas>,
    },
    /// One change of a partition's configuration, under a lock of the operation.
    Step {
        operation: OperationId,
        lock: LockKind,
        partition: PartitionId,
        expected: Epoch,
        step: Step,
        at: Timestamp,
    },
    /// What was seen in a round.
    Note {
        operation: OperationId,
        notes: Vec<(PartitionId, Note)>,
        /// What blocks all of it now; `None` leaves that as it is.
        blocked: Option<Option<Residue>>,
        /// The state it takes.
        state: Option<OperationState>,
        at: Timestamp,
    },
    /// The verdict of a verification: succeeded when nothing is left, incomplete otherwise.
    Verdict {
        operation: OperationId,
        evidence: Evidence,
        at: Timestamp,
    },
    Order {
        operation: OperationId,
        order: Order,
        by: String,
        at: Timestamp,
    },
    /// Takes a node back into service: its drains and decommissions are cancelled.
    Recommission {
        node: NodeId,
        by: String,
        at: Timestamp,
    },
    /// The same for a disk that was taken out of service by itself.
    RecommissionDisk {
        disk: DiskId,
        by: String,
        at: Timestamp,
    },
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Start { kind, target, by, .. } => write!(f, "+ {kind} {target}, by {by}"),
            Act::Step { operation, partition, expected, step, .. } => {
                write!(f, "~ {partition:?} at {expected:?}: {step} ({operation:?})")
            }
            Act::Note { operation, notes, blocked, state, .. } => {
                write!(f, "= {operation:?}:")?;
                if let Some(state) = state {
                    write!(f, " {state}")?;
                }
                match blocked {
                    Some(Some(residue)) => write!(f, " blocked: {}", residue.reason)?,
                    Some(None) => write!(f, " not blocked")?,
                    None => {}
                }
                notes.iter().try_for_each(|(partition, note)| write!(f, " {partition:?} {note}"))
            }
            Act::Verdict { operation, evidence, .. } => {
                write!(f, "= {operation:?}: verdict, {} left", evidence.left)
            }
            Act::Order { operation, order, by, .. } => {
                write!(f, "~ {operation:?}: {order:?} by {by}")
            }
            Act::Recommission { node, by, .. } => write!(f, "~ {node:?}: recommissioned by {by}"),
            Act::RecommissionDisk { disk, by, .. } => {
                write!(f, "~ {disk:?}: recommissioned by {by}")
            }
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Found { .. } => f.write_str("found"),
            Note::Done => f.write_str("done"),
            Note::Left(residue) => write!(f, "left {}", residue.reason),
            Note::Freed => f.write_str("freed"),
            Note::GivenUp { why, .. } => write!(f, "given up ({why})"),
            Note::Renew(kind) => write!(f, "renew {kind}"),
            Note::Moot { why } => write!(f, "moot ({why})"),
            Note::Verified { bytes } => write!(f, "verified, {bytes} bytes"),
            Note::Lock(kind) => write!(f, "lock {kind}"),
        }
    }
}
