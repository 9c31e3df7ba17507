//! What the nodes' replicas were doing, seen on the spot: the truth that others are measured by.

use crate::verdict::{Verdict, Violation, demand};
use node::run::Report;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use types::NodeId;
use wire::control::{ReplicaReport, ReplicaState, Role};

/// Looks are kept this long: longer than any report that counts as evidence is old.
const KEPT: Duration = Duration::from_secs(12);

/// All looks at all nodes; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    looks: Vec<Look>,
    /// Who was seen to lead: by partition and epoch.
    leaders: BTreeMap<(u64, u64), u64>,
    trouble: Option<Violation>,
}

/// One replica at one moment.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) at: Duration,
    pub(super) replica: u64,
    pub(super) epoch: u64,
    pub(super) leads: bool,
    pub(super) ok: bool,
    pub(super) end: u64,
}

impl Watch {
    /// Notes what a node says of its replicas.
    pub(super) fn look(&self, node: NodeId, report: &Report) {
        let at = turmoil::sim_elapsed().unwrap_or_default();
        let mut state = self.state.lock().expect("no holder panics");
        state.looks.retain(|look| look.at + KEPT > at);
        for replica in &report.replicas {
            state.note(at, node, replica);
        }
    }

    /// No two replicas of a partition were seen to lead in the same epoch.
    pub(super) fn verdict(&self) -> Verdict {
        let state = self.state.lock().expect("no holder panics");
        state.trouble.clone().map_or(Ok(()), Err)
    }

    /// What was seen of a replica in a span of time.
    pub(super) fn between(&self, replica: u64, from: Duration, until: Duration) -> Vec<Look> {
        let state = self.state.lock().expect("no holder panics");
        let in_span = |look: &&Look| look.replica == replica && look.at >= from && look.at <= until;
        state.looks.iter().filter(in_span).cloned().collect()
    }
}

impl State {
    fn note(&mut self, at: Duration, node: NodeId, replica: &ReplicaReport) {
        let leads = replica.role() == Role::Leader;
        self.looks.push(Look {
            at,
            replica: replica.replica,
            epoch: replica.epoch,
            leads,
            ok: replica.state() == ReplicaState::Ok,
            end: replica.end,
        });
        if !leads {
            return;
        }
        let key = (replica.partition, replica.epoch);
        let leader = *self.leaders.entry(key).or_insert(replica.replica);
        let one = demand(leader == replica.replica, "one leader an epoch", || {
            let (partition, epoch) = key;
            format!(
                "partition {partition}, epoch {epoch}: replica {leader} led, and at {at:?} replica {} on node {node} does",
                replica.replica
            )
        });
        if let Err(violation) = one {
            self.trouble.get_or_insert(violation);
        }
    }
}
