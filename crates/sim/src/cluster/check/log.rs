//! A file that is only appended to: a list.

use super::block::Step;
use super::linear::spend;
use crate::cluster::workload::{Action, Outcome};
use porcupine_rs::Model;

#[derive(Clone, Copy, Debug)]
pub(super) struct Log;

impl Model for Log {
    type State = Vec<u32>;
    type Op = Step;
    type Metadata = ();

    fn init() -> Vec<u32> {
        Vec::new()
    }

    fn step(list: &Vec<u32>, (action, outcome): &Step) -> (bool, Vec<u32>) {
        if !spend() {
            return (false, Vec::new());
        }
        match (action, outcome) {
            (Action::Append { value, .. }, outcome) => {
                let fits = match outcome {
                    Some(Outcome::At(at)) => *at == list.len() as u64,
                    _ => true,
                };
                let mut longer = list.clone();
                longer.push(*value);
                (fits, longer)
            }
            (Action::ReadLog, Some(Outcome::Log(seen))) => (seen == list, list.clone()),
            _ => (false, list.clone()),
        }
    }
}
