//! Operations, as people see them.

use super::Sight;
use crate::operation::{Duty, DutyKind, Limits, Meter, Operation, Residue, Round, record};
use crate::state::State;
use serde::{Deserialize, Serialize};
use types::operation::{Lasting, OperationState};
use types::{OperationId, PartitionId, Timestamp};

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationView {
    pub id: u64,
    pub kind: String,
    pub target: String,
    pub state: String,
    /// What that state means.
    pub means: String,
    pub by: String,
    pub created: String,
    pub started: Option<String>,
    pub ended: Option<String>,
    /// Since when it is in its state.
    pub changed: String,
    pub progress: ProgressView,
    pub limits: Limits,
    pub priority: u8,
    pub force: bool,
    /// What blocks all of it; `null` when something can be done.
    pub blocked: Option<ResidueView>,
    /// What is left, and why.
    pub residue: Vec<ResidueView>,
    /// What the last verdict rests on.
    pub evidence: Option<record::Evidence>,
    /// Who said that what is out of sight of the target is destroyed.
    #[serde(default)]
    pub attested: Option<String>,
    /// How many replicas there were and are to be, of an `expand`.
    #[serde(default)]
    pub replicas: Option<record::Replicas>,
    /// What happened to it, oldest first.
    pub history: Vec<EntryView>,
    /// Its partitions, only where one operation is asked for.
    #[serde(default)]
    pub partitions: Vec<ItemView>,
}

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressView {
    pub partitions_done: u64,
    pub partitions: u64,
    /// Those whose copies are complete, and what was copied of others.
    pub bytes_done: u64,
    pub bytes: u64,
    /// Partitions being moved, and waiting for their turn; `null` where nobody can tell.
    pub underway: Option<u64>,
    pub queued: Option<u64>,
    /// `null` while nobody can tell.
    pub bytes_per_second: Option<u64>,
    pub eta_s: Option<u64>,
    /// What the rate and the time left are taken from.
    pub estimate: String,
}

/// Something left over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResidueView {
    /// `null` for what concerns the whole operation.
    pub partition: Option<u64>,
    pub reason: String,
    /// Whether it passes by itself.
    pub temporary: bool,
    pub detail: String,
    pub action: String,
    pub since: String,
    pub last_checked: String,
    pub holder: Option<LockView>,
    pub attempts: u32,
    /// `null`: it is looked at again in every round.
    pub next_retry: Option<String>,
}

/// A lock on a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockView {
    pub kind: String,
    pub operation: u64,
    /// What the holder does, for instance `decommission node/3`; empty when it is forgotten.
    pub what: String,
    pub since: String,
    pub expires: String,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryView {
    pub at: String,
    pub what: String,
}

/// One partition of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemView {
    pub partition: u64,
    pub done: bool,
    pub bytes: u64,
    /// Node and disk of the copy that takes its place.
    pub copy: Option<(u64, u64)>,
    pub history: Vec<EntryView>,
}

/// What an operation would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanView {
    pub kind: String,
    pub target: String,
    pub partitions: u64,
    pub bytes: u64,
    /// One line for each partition, as a diff.
    pub lines: Vec<String>,
    /// Lines that were left out.
    pub more: u64,
    /// What cannot be done as things are.
    pub residue: Vec<ResidueView>,
    /// Why it would not be started without force; empty when it would.
    pub refused: String,
}

fn entries<'a>(history: impl Iterator<Item = &'a record::Entry>) -> Vec<EntryView> {
    history.map(|e| EntryView { at: e.at.to_string(), what: e.what.clone() }).collect()
}

/// What the member that leads knows of an operation besides the record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Live<'a> {
    pub round: Option<&'a Round>,
    pub meter: Option<&'a Meter>,
}

/// Computes the view of an operation; `whole` with its partitions.
#[must_use]
pub fn operation(
    sight: &Sight<'_>,
    operation: &Operation,
    live: Live<'_>,
    whole: bool,
) -> OperationView {
    let checked = live.round.map(|round| round.at);
    let left = operation.residue().map(|(partition, item, left)| {
        let attempts = item.attempts;
        ResidueView { attempts, ..residue(sight.state, Some(partition), left, checked) }
    });
    let blocked = operation.blocked.as_ref();
    let items = operation.items.iter().filter(|_| whole);
    OperationView {
        id: operation.id.0,
        kind: operation.kind.to_string(),
        target: operation.target.to_string(),
        state: operation.state.to_string(),
        means: operation.state.means().to_owned(),
        by: operation.by.clone(),
        created: operation.created.to_string(),
        started: operation.started.map(|at| at.to_string()),
        ended: operation.ended.map(|at| at.to_string()),
        changed: operation.changed.to_string(),
        progress: progress(operation, live),
        limits: operation.limits,
        priority: operation.priority,
        force: operation.force,
        blocked: blocked.map(|left| residue(sight.state, None, left, checked)),
        residue: left.collect(),
        evidence: operation.evidence.clone(),
        attested: operation.attested.clone(),
        replicas: operation.replicas,
        history: entries(operation.history.iter()),
        partitions: items
            .map(|(partition, item)| ItemView {
                partition: partition.0,
                done: item.done,
                bytes: item.bytes,
                copy: item.copy.map(|copy| (copy.node.0, copy.disk.0)),
                history: entries(item.history.iter()),
            })
            .collect(),
    }
}

fn progress(operation: &Operation, live: Live<'_>) -> ProgressView {
    let done = operation.progress();
    let bytes_done = done.bytes_done.saturating_add(live.round.map_or(0, |r| r.in_flight));
    let is_at_work = operation.state.is_at_work();
    let rate = live.meter.and_then(Meter::rate).filter(|_| is_at_work);
    let left = done.bytes.saturating_sub(bytes_done);
    let eta = rate.filter(|(rate, _)| *rate > 0).map(|(rate, _)| left.div_ceil(rate));
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    ProgressView {
        partitions_done: done.partitions_done,
        partitions: done.partitions,
        bytes_done,
        bytes: done.bytes,
        underway: live.round.map(|round| count(round.underway)),
        queued: live.round.map(|round| count(round.queued)),
        bytes_per_second: rate.map(|(rate, _)| rate),
        eta_s: eta,
        estimate: match rate {
            Some((_, span)) => format!("from the bytes of the last {} s", span.as_secs()),
            None => "not yet: it takes a second of work".to_owned(),
        },
    }
}

/// Computes the view of something left over. `checked` is when the leader looked last.
#[must_use]
pub fn residue(
    state: &State,
    partition: Option<PartitionId>,
    left: &Residue,
    checked: Option<Timestamp>,
) -> ResidueView {
    let last_checked = checked.unwrap_or(left.last_checked).max(left.last_checked);
    ResidueView {
        partition: partition.map(|partition| partition.0),
        reason: left.reason.to_string(),
        temporary: left.reason.lasting() == Lasting::Temporary,
        detail: left.detail.clone(),
        action: left.reason.action().to_owned(),
        since: left.since.to_string(),
        last_checked: last_checked.to_string(),
        holder: left.holder.map(|holder| LockView {
            kind: holder.kind.to_string(),
            operation: holder.operation.0,
            what: what(state, holder.operation),
            since: holder.since.to_string(),
            expires: holder.expires.to_string(),
        }),
        attempts: 0,
        next_retry: left.next_retry.map(|at| at.to_string()),
    }
}

fn what(state: &State, operation: OperationId) -> String {
    let operation = state.operations.all.get(&operation);
    operation.map(|o| format!("{} {}", o.kind, o.target)).unwrap_or_default()
}

/// Computes the view of the locks on a partition that have not run out.
#[must_use]
pub fn locks(state: &State, partition: PartitionId, now: Timestamp) -> Vec<LockView> {
    let locks = state.operations.locks.get(&partition).into_iter().flatten();
    let held = locks.filter(|lock| lock.expires > now);
    held.map(|lock| LockView {
        kind: lock.kind.to_string(),
        operation: lock.operation.0,
        what: what(state, lock.operation),
        since: lock.since.to_string(),
        expires: lock.expires.to_string(),
    })
    .collect()
}

/// What a place is excused from, in a word.
#[must_use]
pub fn duty(state: &State, duty: Option<&Duty>) -> String {
    let ended = |duty: &Duty| {
        let operation = state.operations.all.get(&duty.operation);
        operation.is_some_and(|operation| operation.state == OperationState::Succeeded)
    };
    let word = match duty {
        None => "in-service",
        Some(duty) if duty.kind == DutyKind::Drained => "drained",
        Some(duty) if ended(duty) => "left",
        Some(_) => "leaving",
    };
    word.to_owned()
}
