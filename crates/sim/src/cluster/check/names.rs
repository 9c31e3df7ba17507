//! Names in a folder: a map from name to file, where a file is known by its owner.
//!
//! A create, rename or unlink that acts twice, as when it is sent again after a failover, does not
//! fit here: it would say *exists*, or *not found*, of what it did itself.

use super::block::Step;
use super::linear::spend;
use crate::cluster::workload::{Action, Outcome};
use porcupine_rs::Model;
use std::collections::BTreeMap;

type Folder = BTreeMap<u8, u32>;

#[derive(Clone, Copy, Debug)]
pub(super) struct Names;

impl Model for Names {
    type State = Folder;
    type Op = Step;
    type Metadata = ();

    fn init() -> Folder {
        Folder::new()
    }

    fn step(folder: &Folder, (action, outcome): &Step) -> (bool, Folder) {
        if !spend() {
            return (false, Folder::new());
        }
        if *outcome == Some(Outcome::NoSpace) {
            return (true, folder.clone());
        }
        let (answer, after) = act(folder, *action);
        (outcome.as_ref().is_none_or(|outcome| *outcome == answer), after)
    }
}

/// What must be answered, and what the folder is then.
fn act(folder: &Folder, action: Action) -> (Outcome, Folder) {
    let mut after = folder.clone();
    let answer = match action {
        Action::Create { name, tag } => {
            if folder.contains_key(&name) {
                Outcome::Exists
            } else {
                after.insert(name, tag);
                Outcome::Done
            }
        }
        Action::Unlink { name } => after.remove(&name).map_or(Outcome::NotFound, |_| Outcome::Done),
        Action::Rename { from, to, no_replace } => match folder.get(&from) {
            None => Outcome::NotFound,
            Some(_) if no_replace && folder.contains_key(&to) => Outcome::Exists,
            Some(tag) => {
                after.remove(&from);
                after.insert(to, *tag);
                Outcome::Done
            }
        },
        Action::Lookup { name } => {
            folder.get(&name).map_or(Outcome::NotFound, |tag| Outcome::Found(*tag))
        }
        Action::Flush => Outcome::Done,
        Action::List => Outcome::Names(folder.clone()),
        other => unreachable!("names do not {other:?}"),
    };
    (answer, after)
}
