//! When the leading member need not plan: nothing changed since a plan that found nothing to do.
//!
//! A plan is made from the record, from what nodes say, and from time. The first two are known to be the
//! same by their numbers. What time alone does is that nodes fall silent, which is looked at here, and that
//! waits run out (for a replica to be replaced or taken back, a volume to be purged): while anything waits
//! there is no rest. A plan of a hundred thousand partitions takes a tenth of a second, so without this a
//! member that leads an idle cluster would be busy all the time.

use crate::core::Leading;
use crate::plan::{Inputs, Plan};
use crate::state::{Partition, State, VolumeState};
use std::collections::BTreeSet;
use types::limits::PLAN_IDLE_INTERVAL;
use types::{Moment, NodeId};

/// What a plan that found nothing to do was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Basis {
    revision: u64,
    news: u64,
    silent: BTreeSet<NodeId>,
}

impl Basis {
    pub(crate) fn of(inputs: &Inputs<'_>, revision: u64) -> Basis {
        let nodes = inputs.state.nodes.keys().copied();
        let silent = nodes.filter(|node| inputs.is_silent(*node)).collect();
        Basis { revision, news: inputs.detector.news(), silent }
    }
}

/// Nothing was to be done.
#[derive(Clone, Debug)]
pub(crate) struct Rest {
    basis: Basis,
    until: Moment,
}

impl Rest {
    /// Whether to rest after a plan. Not soon after this member began to lead: what it has not heard yet
    /// is judged by how long it has been listening.
    pub(crate) fn after(plan: &Plan, inputs: &Inputs<'_>, basis: Basis) -> Option<Rest> {
        let idle = plan.is_empty() && plan.residue.is_empty() && plan.rounds.is_empty();
        let whole = || inputs.state.partitions.values().all(|p| is_whole(inputs.state, p));
        let rests = idle && has_listened(inputs) && volumes_rest(inputs) && whole();
        rests.then(|| Rest { basis, until: inputs.now + PLAN_IDLE_INTERVAL })
    }

    /// Whether there is still nothing to do.
    pub(crate) fn holds(&self, now: Moment, basis: &Basis) -> bool {
        now < self.until && self.basis == *basis
    }
}

/// Whether nothing is waited for, of a partition.
fn is_whole(state: &State, partition: &Partition) -> bool {
    let configuration = &partition.configuration;
    let wanted = state.volumes.get(&configuration.volume).map_or(0, |v| usize::from(v.replicas));
    let nothing_else = partition.spare.is_empty() && partition.doomed.is_empty();
    configuration.leader.is_some() && configuration.in_sync.len() == wanted && nothing_else
}

/// Whether no volume is being made, or is about to be purged.
fn volumes_rest(inputs: &Inputs<'_>) -> bool {
    inputs.state.volumes.values().all(|volume| match volume.state {
        VolumeState::Creating | VolumeState::Purging => false,
        VolumeState::Deleting => volume.purge_at.is_some_and(|at| {
            let soon = inputs.date.0 + 2 * PLAN_IDLE_INTERVAL.as_nanos() as i64;
            at.0 > soon
        }),
        VolumeState::Active | VolumeState::Deleted => true,
    })
}

fn has_listened(inputs: &Inputs<'_>) -> bool {
    inputs.detector.listening(inputs.now) >= 2 * inputs.policy.silence_max
}

impl Leading {
    /// Whether a plan would find nothing to do.
    pub(crate) fn rests(&self, now: Moment, basis: &Basis) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.holds(now, basis))
    }
}
