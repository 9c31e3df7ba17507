//! Operations, as people see them.

use super::Sight;
use crate::operation::{Duty, DutyKind, Holder, Limits, Meter, Operation, Residue, Round, record};
use crate::state::State;
use serde::{Deserialize, Serialize};
use types::operation::{Lasting, OperationState};
use types::{DiskId, OperationId, PartitionId, Timestamp};

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
    pub evidence: Option<EvidenceView>,
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

/// What a verdict rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceView {
    /// Which verification it was, counted from 1.
    pub round: u32,
    pub at: String,
    /// Partitions of the whole cluster that were looked at.
    pub scanned: u64,
    /// Partitions that the operation had dealt with.
    pub processed: u64,
    /// Partitions that are left.
    pub left: u64,
    pub witnesses: Vec<WitnessView>,
    /// Disks of the target that have failed, by the word of their nodes: nobody looked at them.
    pub dead: Vec<u64>,
    /// Disks that are destroyed, by somebody's word. Believed, and not proved.
    pub believed: Vec<u64>,
}

/// One node that said what is on its disks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessView {
    pub node: u64,
    /// The life of its process, in hexadecimal digits.
    pub boot: String,
    /// Replicas of the target that it found in its folders.
    pub found: u64,
    /// The disks of the target whose folders it read.
    pub disks: Vec<u64>,
}

impl From<&record::Evidence> for EvidenceView {
    fn from(from: &record::Evidence) -> EvidenceView {
        let numbers = |disks: &[DiskId]| disks.iter().map(|disk| disk.0).collect();
        let witness = |witness: &record::Witness| WitnessView {
            node: witness.node.0,
            boot: format!("{:016x}", witness.boot.0),
            found: witness.found,
            disks: numbers(&witness.disks),
        };
        EvidenceView {
            round: from.round,
            at: from.at.to_string(),
            scanned: from.scanned,
            processed: from.processed,
            left: from.left,
            witnesses: from.witnesses.iter().map(witness).collect(),
            dead: numbers(&from.dead),
            believed: numbers(&from.believed),
        }
    }
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
        evidence: operation.evidence.as_ref().map(EvidenceView::from),
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
    let is_at_work = operation.state.is_at_work();
    // Of one that has ended the last round says nothing any more.
    let round = live.round.filter(|_| !operation.state.has_ended());
    let bytes_done = done.bytes_done.saturating_add(round.map_or(0, |round| round.in_flight));
    let rate = live.meter.and_then(Meter::rate).filter(|_| is_at_work);
    // What is left over for a reason takes as long as that.
    let waits = operation.residue().count() as u64;
    let waits_for_others = waits > 0 && waits >= done.partitions - done.partitions_done;
    let left = done.bytes.saturating_sub(bytes_done);
    let eta = rate.filter(|(rate, _)| *rate > 0 && !waits_for_others);
    let eta = eta.map(|(rate, _)| left.saturating_sub(waiting(operation)).div_ceil(rate));
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    ProgressView {
        partitions_done: done.partitions_done,
        partitions: done.partitions,
        bytes_done,
        bytes: done.bytes,
        underway: round.map(|round| count(round.underway)),
        queued: round.map(|round| count(round.queued)),
        bytes_per_second: rate.map(|(rate, _)| rate),
        eta_s: eta,
        estimate: match rate {
            _ if operation.state.has_ended() => "it has ended".to_owned(),
            _ if operation.state == OperationState::Paused => "it is paused".to_owned(),
            _ if waits_for_others => {
                "nobody can tell: all that is left waits for something".to_owned()
            }
            Some((_, span)) if waits > 0 => {
                let span = span.as_secs();
                format!("from the bytes of the last {span} s, without the {waits} that wait")
            }
            Some((_, span)) => format!("from the bytes of the last {} s", span.as_secs()),
            None => "not yet: it takes a second of work".to_owned(),
        },
    }
}

/// Bytes of what is left over for a reason.
fn waiting(operation: &Operation) -> u64 {
    operation.residue().fold(0, |sum, (_, item, _)| sum.saturating_add(item.bytes))
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
        holder: left.holder.map(|holder| lock(state, &present(state, partition, holder))),
        attempts: 0,
        next_retry: left.next_retry.map(|at| at.to_string()),
    }
}

/// The lock as it is now: it may have been renewed since that was written down.
fn present(state: &State, partition: Option<PartitionId>, holder: Holder) -> Holder {
    let locks = partition.and_then(|partition| state.operations.locks.get(&partition));
    let mut locks = locks.into_iter().flatten();
    let same = |l: &&record::Lock| (l.operation, l.kind) == (holder.operation, holder.kind);
    locks.find(same).map_or(holder, record::Lock::holder)
}

fn lock(state: &State, holder: &Holder) -> LockView {
    LockView {
        kind: holder.kind.to_string(),
        operation: holder.operation.0,
        what: what(state, holder.operation),
        since: holder.since.to_string(),
        expires: holder.expires.to_string(),
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
    held.map(|held| lock(state, &held.holder())).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::Item;
    use std::time::Duration;
    use types::Moment;
    use types::operation::{OperationKind, Reason, Target};

    const MIB: u64 = 1 << 20;

    /// A decommission of three partitions, of which the first is done.
    fn underway(left: &[u64]) -> Operation {
        let target = Target::Node(types::NodeId(1));
        let mut operation = Operation::new(OperationKind::Decommission, target, "me", Timestamp(1));
        operation.state = OperationState::Running;
        for id in 1..=3 {
            let residue = left.contains(&id).then(|| Residue {
                reason: Reason::Locked,
                detail: String::new(),
                since: Timestamp(1),
                last_checked: Timestamp(1),
                holder: None,
                next_retry: None,
            });
            let item = Item { bytes: 100 * MIB, done: id == 1, residue, ..Item::default() };
            operation.items.insert(PartitionId(id), item);
        }
        operation
    }

    fn shown(operation: &Operation) -> ProgressView {
        let mut meter = Meter::default();
        for second in 0..=10 {
            meter.note(Moment(second * 1_000_000_000), second * 10 * MIB);
        }
        assert_eq!(meter.rate(), Some((10 * MIB, Duration::from_secs(10))));
        let round = Round { underway: 1, in_flight: 50 * MIB, ..Round::default() };
        progress(operation, Live { round: Some(&round), meter: Some(&meter) })
    }

    /// What waited for somebody else's lock was to be done within seconds, it was said, for as long as it waited.
    #[test]
    fn what_waits_for_something_has_no_time_left() {
        assert_eq!(shown(&underway(&[])).eta_s, Some(15));
        let some = shown(&underway(&[3]));
        assert_eq!((some.eta_s, some.bytes_done), (Some(5), 150 * MIB));
        assert!(some.estimate.ends_with("without the 1 that wait"), "{}", some.estimate);
        let all = shown(&underway(&[2, 3]));
        assert_eq!((all.eta_s, all.bytes_per_second), (None, Some(10 * MIB)));
        assert!(all.estimate.starts_with("nobody can tell"), "{}", all.estimate);
    }

    #[test]
    fn of_what_has_ended_nothing_is_under_way() {
        let mut operation = underway(&[]);
        operation.state = OperationState::Cancelled;
        let ended = shown(&operation);
        assert_eq!((ended.underway, ended.eta_s, ended.bytes_per_second), (None, None, None));
        assert_eq!((ended.bytes_done, &*ended.estimate), (100 * MIB, "it has ended"));
    }

    #[test]
    fn a_lock_is_shown_as_it_is_now() {
        let mut state = State::default();
        let (id, operation) = (PartitionId(1), OperationId(7));
        let held = |expires| record::Lock {
            kind: types::operation::LockKind::Scrub,
            operation,
            since: Timestamp(1),
            expires: Timestamp(expires),
        };
        let mut left = underway(&[1]).items[&id].residue.clone().unwrap();
        left.holder = Some(held(60_000_000_000).holder());
        let expires = |state: &State| residue(state, Some(id), &left, None).holder.unwrap().expires;
        let first = expires(&state);
        state.operations.locks.insert(id, vec![held(90_000_000_000)]);
        assert!(expires(&state) > first, "it was renewed");
    }
}
