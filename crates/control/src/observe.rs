//! From what nodes report, and from silence, to what has changed of conditions.
//!
//! Pure but for [`Watch`], which counts and logs what is refused. Unchanged facts cost nothing here:
//! they are compared with the record and dropped, so the log of the members grows with what happens
//! and not with how long it goes on.

use crate::detect::{Detector, DiskReport, DiskState, NodeReport, ReplicaReport, ReplicaState};
use crate::metrics::Metrics;
use crate::state::State;
use std::collections::BTreeMap;
use std::time::Duration;
use types::condition::{
    Evidence, Key, Observation, Owner, Reason, Refusal, Stamp, State as Condition, Step,
};
use types::{DiskId, Moment, NodeId, ReplicaId, Timestamp};

/// An observation that would change something, or must be refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Follow(Observation),
    Refuse { observation: Observation, before: Option<Condition>, refusal: Refusal },
}

/// Most observations in one command, so that it stays well below the limit of a frame.
const OBSERVATIONS_MAX: usize = 1_000;

/// What changes by a node's report.
#[must_use]
pub fn changes(state: &State, node: NodeId, report: &NodeReport, at: Timestamp) -> Vec<Change> {
    let Some(record) = state.nodes.get(&node) else { return Vec::new() };
    let stamp = Stamp { life: record.life, sequence: report.sequence };
    let says = Says { by: Owner::Node(node), stamp, at };
    let detector = Says { by: Owner::Detector, ..says };
    let heard = detector.of(Key::liveness(node), Condition::Ok, Reason::Heard, Evidence::Heard);
    let mut all = vec![heard];
    for (disk, report) in &report.disks {
        all.extend(health(&says, *disk, report));
        all.extend(space(&says, *disk, report));
    }
    for (replica, report) in &report.replicas {
        // One that is well and always was has no record.
        let known = || state.conditions.get(Key::data(report.partition, *replica)).is_some();
        if !matches!(report.state, ReplicaState::Ok | ReplicaState::Full) || known() {
            all.extend(data(&says, *replica, report));
        }
    }
    all.into_iter().filter_map(|observation| judge(state, observation)).collect()
}

/// What changes because nodes are silent.
#[must_use]
pub fn silences(
    state: &State,
    detector: &Detector,
    now: Moment,
    bound: Duration,
    at: Timestamp,
) -> Vec<Change> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let silent = state.nodes.values().filter_map(|node| {
        let for_so_long = detector.silence(now, node.id, node.boot);
        if for_so_long < bound {
            return None;
        }
        let key = Key::liveness(node.id);
        let sequence = detector.report(node.id, node.boot).map_or(0, |report| report.sequence);
        let heard = Stamp { life: node.life, sequence };
        let known = state.conditions.get(key).map(|record| record.stamp);
        let known = known.filter(|stamp| stamp.life == node.life);
        let says = Says { by: Owner::Detector, stamp: heard.max(known.unwrap_or(heard)), at };
        let evidence = Evidence::Silence { for_ms: millis(for_so_long), bound_ms: millis(bound) };
        Some(says.of(key, Condition::Silent, Reason::Silence, evidence))
    });
    silent.filter_map(|observation| judge(state, observation)).collect()
}

fn judge(state: &State, observation: Observation) -> Option<Change> {
    let owner = state.owner_of(observation.key)?;
    match state.judge(owner, &observation) {
        Step::Applied(_) => Some(Change::Follow(observation)),
        Step::Same | Step::Stale => None,
        Step::Refused(refusal) => {
            let before = state.conditions.state(observation.key);
            Some(Change::Refuse { observation, before, refusal })
        }
    }
}

/// Who speaks, and when.
#[derive(Clone, Copy)]
struct Says {
    by: Owner,
    stamp: Stamp,
    at: Timestamp,
}

impl Says {
    fn of(&self, key: Key, state: Condition, reason: Reason, evidence: Evidence) -> Observation {
        let Says { by, stamp, at } = *self;
        Observation { key, by, stamp, state, reason, evidence, at }
    }
}

fn health(says: &Says, disk: DiskId, report: &DiskReport) -> Option<Observation> {
    let key = Key::health(disk);
    match report.state {
        DiskState::Unspecified => None,
        DiskState::Failed => {
            let evidence = Evidence::Broken { error: report.reason.clone() };
            Some(says.of(key, Condition::Failed, Reason::IoError, evidence))
        }
        _ => Some(says.of(key, Condition::Ok, Reason::Works, Evidence::Answered)),
    }
}

fn space(says: &Says, disk: DiskId, report: &DiskReport) -> Option<Observation> {
    let state = match report.state {
        DiskState::Ok => Condition::Ok,
        DiskState::Low => Condition::Low,
        DiskState::Full => Condition::Full,
        DiskState::Unspecified | DiskState::Failed => return None,
    };
    let (reason, evidence) = report.space.as_ref()?.evidence(state)?;
    Some(says.of(Key::space(disk), state, reason, evidence))
}

fn data(says: &Says, replica: ReplicaId, report: &ReplicaReport) -> Option<Observation> {
    let (state, reason) = match report.state {
        ReplicaState::Unspecified => return None,
        // A replica without room is whole; its disk's space says the rest.
        ReplicaState::Ok | ReplicaState::Full => (Condition::Ok, Reason::Mended),
        ReplicaState::Recovering => (Condition::Recovering, Reason::ReadingLog),
        ReplicaState::Damaged => (Condition::Damaged, Reason::DamageFound),
        ReplicaState::Failed => (Condition::Failed, Reason::Unusable),
    };
    let words = if state == Condition::Ok { String::new() } else { report.reason.clone() };
    Some(says.of(Key::data(report.partition, replica), state, reason, Evidence::Replica { words }))
}

/// What changed and is not agreed upon yet, the newest word of each fact. The leading member's.
#[derive(Debug, Default)]
pub struct Watch {
    pending: BTreeMap<Key, Observation>,
    /// What was refused last of each fact, so that it is logged once and not with every heartbeat.
    refused: BTreeMap<Key, Condition>,
}

impl Watch {
    /// Takes changes; says whether there is something to agree upon.
    pub(crate) fn take(&mut self, changes: Vec<Change>, metrics: &Metrics) -> bool {
        for change in changes {
            match change {
                Change::Follow(observation) => {
                    self.refused.remove(&observation.key);
                    self.pending.insert(observation.key, observation);
                }
                Change::Refuse { observation, before, refusal } => {
                    metrics.refused(&observation);
                    self.refuse(&observation, before, &refusal);
                }
            }
        }
        !self.pending.is_empty()
    }

    fn refuse(&mut self, seen: &Observation, before: Option<Condition>, refusal: &Refusal) {
        if self.refused.insert(seen.key, seen.state) == Some(seen.state) {
            return;
        }
        let before = before.map_or("unknown", Condition::word);
        tracing::warn!(
            condition = %seen.key, from = before, to = %seen.state, by = %seen.by,
            stamp = %seen.stamp, reason = %seen.reason, evidence = %seen.evidence, %refusal,
            "a transition was refused"
        );
    }

    pub(crate) fn drain(&mut self) -> Vec<Observation> {
        let mut taken = Vec::new();
        while taken.len() < OBSERVATIONS_MAX {
            let Some((_, observation)) = self.pending.pop_first() else { break };
            taken.push(observation);
        }
        taken
    }
}
