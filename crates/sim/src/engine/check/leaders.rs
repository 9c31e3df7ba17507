//! No two leaders commit in the same epoch.

use super::{Verdict, demand};
use std::collections::BTreeMap;
use types::{Epoch, ReplicaId};

#[derive(Debug, Default)]
pub(super) struct Leaders {
    by_epoch: BTreeMap<Epoch, ReplicaId>,
}

impl Leaders {
    pub(super) fn on_commit(&mut self, epoch: Epoch, leader: ReplicaId) -> Verdict {
        let first = *self.by_epoch.entry(epoch).or_insert(leader);
        demand(first == leader, "no two leaders commit in one epoch", || {
            format!("{first:?} and {leader:?} both committed in {epoch:?}")
        })
    }
}
