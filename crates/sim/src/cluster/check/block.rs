//! A block of a file: a register.
//!
//! A write whose answer got lost is sent again, and may take effect a second time until it returns
//! (`docs/semantics.md`). So each write stands twice in a history: once for certain, and once
//! *perhaps*, within the same time. What the block holds is then one of several values, until a
//! read tells which.

use super::linear::spend;
use crate::cluster::workload::{Action, Outcome};
use porcupine_rs::Model;
use std::collections::BTreeSet;

#[derive(Clone, Copy, Debug)]
pub(super) struct Block;

/// What was done and how it ended; `None` when nobody knows.
pub(super) type Step = (Action, Option<Outcome>);

/// Whether a step happened for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certainty {
    Certain,
    Perhaps,
}

impl Model for Block {
    type State = BTreeSet<u32>;
    type Op = (Step, Certainty);
    type Metadata = ();

    fn init() -> BTreeSet<u32> {
        BTreeSet::from([0])
    }

    fn step(values: &BTreeSet<u32>, (step, certainty): &(Step, Certainty)) -> (bool, Self::State) {
        if !spend() {
            return (false, values.clone());
        }
        match step {
            (Action::Write { value, .. }, _) => {
                let mut after = BTreeSet::from([*value]);
                if *certainty == Certainty::Perhaps {
                    after.extend(values);
                }
                (true, after)
            }
            (Action::Read, Some(Outcome::Value(seen))) if values.contains(seen) => {
                (true, BTreeSet::from([*seen]))
            }
            _ => (false, values.clone()),
        }
    }
}
