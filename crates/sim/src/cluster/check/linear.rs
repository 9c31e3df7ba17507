//! Linearizability of one object, decided by porcupine.
//!
//! The search is exponential in the worst case, so it gets a budget of steps; who runs out of it
//! has not passed. Steps and not seconds, so that a seed always gets the same verdict.

use crate::verdict::{Verdict, Violation};
use porcupine_rs::{Model, Operation};
use std::cell::Cell;

/// Steps of the model that one check may take.
const STEPS_MAX: u64 = 3_000_000;

thread_local! {
    static STEPS_LEFT: Cell<u64> = const { Cell::new(0) };
}

/// Takes a step from the budget; false when there is none left. Models ask first of all.
pub(super) fn spend() -> bool {
    STEPS_LEFT.with(|left| {
        let some = left.get() > 0;
        left.set(left.get().saturating_sub(1));
        some
    })
}

/// Demands that the operations on one object are linearizable.
pub(super) fn check<M: Model>(object: &str, operations: &[Operation<M>]) -> Verdict {
    const NAME: &str = "operations are linearizable";
    STEPS_LEFT.with(|left| left.set(STEPS_MAX));
    if porcupine_rs::check_operations::<M>(operations) {
        return Ok(());
    }
    let undecided = STEPS_LEFT.with(Cell::get) == 0;
    let what = if undecided { "undecided" } else { "impossible" };
    let mut what = format!("{object}: {what}, {} operations:", operations.len());
    for operation in operations {
        let done = match operation.return_time {
            i64::MAX => "?".to_owned(),
            place => place.to_string(),
        };
        let client = operation.client_id.unwrap_or(0);
        what.push_str(&format!(
            "\n    {:>6}..{done:<6} client-{client} {:?}",
            operation.call_time, operation.op
        ));
    }
    Err(Violation { invariant: NAME, what })
}
