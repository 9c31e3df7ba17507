//! Operations: long-running work that ends in a verdict.
//!
//! Like moving house with a removal firm that hands over the keys only after somebody has walked through
//! every empty room: *done* is not "the last box was carried out" but "we looked, and nothing is left".
//!
//! An [`OperationKind`] says what is done, a [`Target`] to what. The states are one table
//! ([`state::TRANSITIONS`]); what could not be done is a [`Reason`] from one table with what to do about it;
//! which operations may work on one partition at the same time is the table of [`LockKind`].
//!
//! What it leaves out: how each kind works, which is the control plane's (`control/src/operation/kind`).

pub mod document;
pub mod kind;
pub mod lock;
pub mod reason;
pub mod state;

pub use kind::{OperationKind, Target};
pub use lock::LockKind;
pub use reason::{Lasting, Reason};
pub use state::OperationState;
