//! Conditions: what is known of nodes, disks and replicas, one fact at a time.
//!
//! Like the lamps of a dashboard: the one for fuel is wired to the tank and to nothing else. Starting
//! the engine anew, changing the driver or opening a door does not put it out; petrol does.
//!
//! Each *fact* about a *subject* has one *owner*, the only one who may change it: whether a node is
//! alive is for the control plane's detector to say, how much room a disk has is for the node that has
//! the disk. A fact is in a *state*, for a *reason*, by some *evidence*. Which state may follow which,
//! and what has to be shown for it, is one table ([`table::RULES`]); [`mod@step`] moves by it and refuses
//! everything else. The documentation and the tests are made from the same table.
//!
//! Promises, kept by [`mod@step`] whatever arrives in whatever order:
//! - a fact is changed by its owner only, and by words of the owner that are newer than the last ones
//! - `space` leaves `full` only when the node that has the disk measured more room than the mark for
//!   leaving **and** a probe write reached the disk, both after the disk was found full
//! - liveness and space never share a record, so nothing that is said of one can touch the other
//!
//! What it leaves out: who leads a partition and how many replicas are in sync is configuration, which
//! has an owner and a version of its own; what follows from facts and configuration together (that a
//! partition is out of space) is computed when somebody asks, and stored nowhere.

pub mod document;
pub mod evidence;
pub mod fact;
pub mod gate;
pub mod marks;
pub mod step;
pub mod table;

#[cfg(test)]
mod explore;

pub use evidence::{Evidence, Probe, Room};
pub use fact::{Fact, Key, Owner, Reason, Stamp, State, Subject};
pub use gate::Gate;
pub use marks::Marks;
pub use step::{Observation, Record, Refusal, Step, step};
