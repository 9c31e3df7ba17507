//! What the leading member does with a heartbeat. Pure but for what it counts and logs.
//!
//! Its cost is what changed, not what is there: a node with thousands of replicas to which nothing happens
//! is heard in microseconds (`cargo xtask bench heartbeat`). So what was found to need nothing is not looked
//! at again before the record or the node's word changes.

use crate::core::Leading;
use crate::detect::{NodeReport, Spoken, Taken};
use crate::metrics::Metrics;
use crate::observe;
use crate::plan::assign;
use crate::state::State;
use types::limits::HEARTBEATS_PER_SWEEP;
use types::{BootId, Moment, NodeId, Timestamp};
use wire::control::{Assignment, Heartbeat};

/// A node for which there was nothing to do: by which state, and by which word of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    revision: u64,
    boot: BootId,
    news: u64,
}

/// What came of a heartbeat.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) assignment: Assignment,
    /// The planner should look at once.
    pub(crate) poke: bool,
}

impl Leading {
    /// Takes a heartbeat of a life that has joined.
    pub(crate) fn hear(
        &mut self,
        (state, revision): (&State, u64),
        heartbeat: &Heartbeat,
        (now, at): (Moment, Timestamp),
        metrics: &Metrics,
    ) -> Heard {
        let (node, boot) = (NodeId(heartbeat.node), BootId(heartbeat.boot));
        let taken = self.detector.observe(now, heartbeat);
        metrics.heard(&taken);
        if heartbeat.clock != 0 {
            let ahead_ms = heartbeat.clock.saturating_sub(at.0) / 1_000_000;
            self.clocks.insert(node, ahead_ms);
        }
        let Some(report) = self.detector.report(node, boot) else {
            let greeting = assign::greeting(state, revision, node, None);
            return Heard { assignment: Assignment { taken: 0, ..greeting }, poke: false };
        };
        let mut poke = false;
        if let Taken::Fresh { news, spoken } = &taken {
            let sweeps = heartbeat.sequence.is_multiple_of(HEARTBEATS_PER_SWEEP);
            let spoken = if sweeps { &Spoken::All } else { spoken };
            let changes = observe::changes(state, node, report, spoken, at);
            poke = self.watch.take(changes, metrics) | *news;
        }
        let mut assignment = self.assignment((state, revision), node, heartbeat.revision);
        assignment.taken = if taken.is_fresh() { heartbeat.sequence } else { 0 };
        Heard { assignment, poke }
    }

    /// What a node should do, unless it is known that there is nothing. `has` is the revision of the
    /// addresses that it has.
    fn assignment(
        &mut self,
        (state, revision): (&State, u64),
        node: NodeId,
        has: u64,
    ) -> Assignment {
        let boot = state.nodes.get(&node).map_or(BootId(0), |record| record.boot);
        let report = self.detector.report(node, boot);
        let news = report.map_or(0, |report: &NodeReport| report.news);
        let settled = Settled { revision, boot, news };
        if self.settled.get(&node) == Some(&settled) && has == revision {
            return assign::nothing(state, revision, node, report);
        }
        let mut assignment = assign::assignment(state, revision, node, report);
        if assign::is_nothing(&assignment) {
            self.settled.insert(node, settled);
        }
        if has == revision {
            (assignment.nodes, assignment.capacities) = (Vec::new(), Vec::new());
        }
        assignment
    }
}
