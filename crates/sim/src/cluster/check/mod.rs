//! The promises, one file each, checked against what clients saw.
//!
//! | file | promise |
//! | --- | --- |
//! | [`linear`] | per object, all operations look as if each happened at one moment between its call and its answer (so a write that was acknowledged is never lost, and a retried command acts once) |
//! | [`block`], [`names`], [`log`] | what the objects are |
//! | [`durable`] | ... also across a failure of all power, but for what was neither flushed nor promised to be on disk |
//! | [`whole`] | bytes that are read were written as one |
//! | [`status`] | what the control plane shows is what was there within the age it states |
//! | [`super::watch`] | one leader an epoch |

mod block;
mod durable;
mod linear;
mod log;
mod names;
pub(super) mod status;
mod whole;

use super::history::History;
use super::scenario::Scenario;
use crate::verdict::Verdict;
use types::volume::Durability;

/// Checks what clients saw in one run.
pub(super) fn history(scenario: &Scenario, history: &History) -> Verdict {
    let operations = history.operations();
    whole::check(&operations)?;
    // A write on disk everywhere outlives any failure of power: then history is of one piece.
    let blackouts = match scenario.durability {
        Durability::Synced => Vec::new(),
        Durability::Replicated => history.blackouts(),
    };
    durable::check(&operations, &blackouts)
}
