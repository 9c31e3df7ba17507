//! A block of a file: a register.

use super::linear::spend;
use crate::cluster::workload::{Action, Outcome};
use porcupine_rs::Model;

#[derive(Clone, Copy, Debug)]
pub(super) struct Block;

/// What was done and how it ended; `None` when nobody knows.
pub(super) type Step = (Action, Option<Outcome>);

impl Model for Block {
    type State = u32;
    type Op = Step;
    type Metadata = ();

    fn init() -> u32 {
        0
    }

    fn step(value: &u32, (action, outcome): &Step) -> (bool, u32) {
        if !spend() {
            return (false, *value);
        }
        match (action, outcome) {
            (Action::Write { value, .. }, _) => (true, *value),
            (Action::Read, Some(Outcome::Value(seen))) => (seen == value, *value),
            _ => (false, *value),
        }
    }
}
