//! Operations: long-running work that ends in a verdict.
//!
//! An operation is a record in the replicated state ([`record`]), changed by commands ([`command`], carried
//! out in [`apply`]) and by nothing else, so it survives everybody's restart. The steps are planned anew in
//! every round ([`plan`], pure) from what is on record and what the nodes say: nothing depends on an earlier
//! plan having been carried out, and every step carries the epoch of the partition it was planned for.
//!
//! What an operation *is* comes from its kind: one file in [`kind`] and a line in its table. A kind says what
//! is left to do, scanned afresh from the record and from the words of the nodes, and what the next step for
//! one partition is. Everything else is here and the same for all: limits, locks, progress, residue, the
//! verdict.
//!
//! ```text
//!   record + words of the nodes --> kind.remaining --> kind.step --> findings --> commands
//!                                        |                              |
//!                                        v                              v
//!                          nothing left, or nothing that can        residue on record, at once
//!                          be done: verifying --> the nodes are asked what is on their disks
//!                                                 --> succeeded | incomplete | running
//! ```
//!
//! Promises; [`apply`] refuses what would break the first two, whoever asks:
//! - an operation is *succeeded* only when a scan of all partitions found nothing left on record, and every
//!   node it is about listed its disks after that and nothing was there
//! - no step of an operation leaves fewer replicas in sync than the volume asks for; with force, than the
//!   volume's minimum
//! - at most one replica of a partition is being moved at a time, and never under somebody else's lock
//! - what could not be done is on record, with a reason, in the round in which it was found
//! - paused, cancelled or failed in any state, an operation leaves partitions that are complete and that
//!   mending brings to exactly as many replicas as were asked for
//!
//! What it leaves out: doing anything (`crate::reconcile`), and damage, lost replicas and elections, which
//! [`crate::plan`] sees to with or without operations.

pub mod apply;
pub mod command;
pub mod kind;
pub mod meter;
pub mod movement;
mod note;
pub mod places;
pub mod plan;
pub mod preview;
pub mod reading;
mod recommission;
pub mod record;
pub mod round;
pub mod scene;
pub mod sense;

#[cfg(test)]
mod property;
#[cfg(test)]
#[allow(clippy::disallowed_methods, clippy::print_stdout, reason = "it measures, and prints")]
pub(crate) mod scale;
#[cfg(test)]
mod tests;

pub use command::{Act, Note, Order};
pub use meter::Meter;
pub use reading::{Outcome as Read, Reading, Readings};
pub use record::{Duty, DutyKind, Holder, Item, Limits, Operation, Operations, Residue};
pub use round::Round;
pub use sense::Sense;
