//! One function per act. A refusal leaves the state as it was.

use super::command::{Act, Note, Order};
use super::record::{Duty, Evidence, Lock, Operation, Residue, member_of};
use super::{kind, recommission};
use crate::state::{Event, Outcome, Refusal, State, Step, configure_partition};
use types::limits::{OPERATION_BY_BYTES_MAX, OPERATIONS_ENDED_MAX, PARTITION_LOCK_LEASE};
use types::operation::{LockKind, OperationKind, OperationState, Target};
use types::{Epoch, NodeId, OperationId, PartitionId, Timestamp, VolumeId};

/// Carries out one act.
pub(crate) fn apply(state: &mut State, act: &Act) -> Result<Outcome, Refusal> {
    match act {
        Act::Start { .. } => start(state, act),
        Act::Step { operation, lock, partition, expected, step, at } => {
            let hold = Hold { operation: *operation, kind: *lock, at: *at };
            take_step(state, hold, *partition, *expected, step)
        }
        Act::Note { operation, notes, blocked, state: next, at } => {
            note(state, *operation, notes, blocked.as_ref(), *next, *at)
        }
        Act::Verdict { operation, evidence, at } => verdict(state, *operation, evidence, *at),
        Act::Order { operation, order, by, at } => give_order(state, *operation, *order, by, *at),
        Act::Recommission { node, by, at } => recommission::node(state, *node, by, *at),
        Act::RecommissionDisk { disk, by, at } => recommission::disk(state, *disk, by, *at),
    }
}

fn start(state: &mut State, act: &Act) -> Result<Outcome, Refusal> {
    let Act::Start { kind, target, by, limits, priority, force, at, replicas } = act else {
        unreachable!("only a start is started")
    };
    state.cluster.ok_or(Refusal::NotInitialized)?;
    check_by(by)?;
    limits.check(*kind).map_err(Refusal::breaks)?;
    check_start(state, *kind, target)?;
    let mut operation = Operation {
        limits: *limits,
        priority: *priority,
        force: *force,
        replicas: *replicas,
        ..Operation::new(*kind, target.clone(), by, *at)
    };
    (kind::of(*kind).begin)(state, &mut operation)?;
    Ok(Outcome::Operation(open(state, operation, &format!("asked for by {by}"))))
}

/// Puts a new operation on record, under the next number.
fn open(state: &mut State, operation: Operation, why: &str) -> OperationId {
    let (id, at) = (OperationId(state.operations.last + 1), operation.created);
    let mut operation = Operation { id, ..operation };
    state.operations.last = id.0;
    operation.note(at, why);
    excuse(state, &operation, at);
    let to = OperationState::Planned.word();
    let words = format!("{} {}, {why}", operation.kind, operation.target);
    state.events.push(Event::of("operation", format!("operation/{id}"), to, words, at));
    state.operations.all.insert(id, operation);
    forget_old(state);
    id
}

/// Shows the deletion of a volume as an operation: a new one, or the one that is at it.
pub(crate) fn volume_deleted(state: &mut State, volume: VolumeId, until: Timestamp, at: Timestamp) {
    let target = Target::Volume(volume);
    let what = format!("what is in it goes at {until}");
    let known = state.operations.at_work_on(OperationKind::Delete, &target).map(|known| known.id);
    match known.and_then(|id| state.operations.all.get_mut(&id)) {
        Some(operation) => operation.note(at, what),
        None => {
            let by = "whoever deleted the volume";
            open(state, Operation::new(OperationKind::Delete, target, by, at), &what);
        }
    }
}

/// The deletion of a volume was taken back.
pub(crate) fn volume_restored(state: &mut State, volume: VolumeId, at: Timestamp) {
    let target = Target::Volume(volume);
    let known = state.operations.at_work_on(OperationKind::Delete, &target).map(|known| known.id);
    if let Some(id) = known {
        let why = "the deletion was taken back; nothing is gone";
        let cancelled = become_state(state, id, OperationState::Cancelled, why, at);
        debug_assert!(cancelled.is_ok(), "what has not ended can be cancelled");
    }
}

/// Who asks is written down and shown: a line of words.
pub(super) fn check_by(by: &str) -> Result<(), Refusal> {
    if by.len() > OPERATION_BY_BYTES_MAX || by.chars().any(char::is_control) {
        return Err(Refusal::breaks("who asks is up to 256 bytes without control characters"));
    }
    Ok(())
}

fn check_start(state: &State, kind: OperationKind, target: &Target) -> Result<(), Refusal> {
    let rules = kind::of(kind);
    if !(rules.takes)(target) {
        return Err(Refusal::breaks(format!("a {kind} is not done to {target}")));
    }
    kind::check_target(state, target)?;
    if let Some(other) = state.operations.at_work_on(kind, target) {
        return Err(Refusal::AtWork { operation: other.id, what: format!("{kind} {target}") });
    }
    let Some(wanted) = rules.duty else { return Ok(()) };
    let (nodes, disks) = kind::places(state, target);
    let operations = &state.operations;
    let nodes = nodes.iter().filter_map(|node| operations.nodes.get(node));
    let mut duties = nodes.chain(disks.iter().filter_map(|disk| operations.disks.get(disk)));
    // One that asks for less, or for the same while another is at it.
    let in_the_way = |duty: &&Duty| {
        let ended = operations.all.get(&duty.operation).is_none_or(|o| o.state.has_ended());
        wanted < duty.kind || (wanted == duty.kind && !ended)
    };
    match duties.find(in_the_way) {
        Some(duty) => {
            let what = format!("a part of {target} is {:?}", duty.kind).to_lowercase();
            Err(Refusal::AtWork { operation: duty.operation, what })
        }
        None => Ok(()),
    }
}

/// Excuses the places an operation is about, where it has to.
fn excuse(state: &mut State, operation: &Operation, at: Timestamp) {
    let Some(kind) = kind::of(operation.kind).duty else { return };
    let duty = Duty { kind, operation: operation.id, since: at };
    let (nodes, disks) = kind::places(state, &operation.target);
    for node in nodes {
        state.operations.nodes.insert(node, duty);
    }
    for disk in disks {
        state.operations.disks.insert(disk, duty);
    }
}

fn unexcuse(state: &mut State, operation: OperationId) {
    state.operations.nodes.retain(|_, duty| duty.operation != operation);
    state.operations.disks.retain(|_, duty| duty.operation != operation);
}

/// The oldest of those that ended and excuse nobody are forgotten once there are too many.
fn forget_old(state: &mut State) {
    let operations = &mut state.operations;
    let duties = operations.nodes.values().chain(operations.disks.values());
    let in_use: std::collections::BTreeSet<_> = duties.map(|duty| duty.operation).collect();
    let ended = operations.all.values().filter(|o| o.state.has_ended() && !in_use.contains(&o.id));
    let ended: Vec<OperationId> = ended.map(|operation| operation.id).collect();
    let surplus = ended.len().saturating_sub(OPERATIONS_ENDED_MAX);
    for id in &ended[..surplus] {
        operations.all.remove(id);
    }
}

fn find(state: &mut State, id: OperationId) -> Result<&mut Operation, Refusal> {
    state.operations.all.get_mut(&id).ok_or(Refusal::NoSuchOperation { operation: id })
}

/// A lock that an operation wants to have or has.
#[derive(Clone, Copy)]
struct Hold {
    operation: OperationId,
    kind: LockKind,
    at: Timestamp,
}

/// Takes or renews the lock, then does the change; neither when one of them is refused.
fn take_step(
    state: &mut State,
    hold: Hold,
    partition: PartitionId,
    expected: Epoch,
    step: &Step,
) -> Result<Outcome, Refusal> {
    let operation = find(state, hold.operation)?;
    if !operation.state.is_at_work() {
        let now = operation.state;
        return Err(Refusal::breaks(format!("operation {} is {now}", hold.operation)));
    }
    if let Some(holder) =
        state.operations.lock_against(partition, hold.kind, hold.operation, hold.at)
    {
        return Err(Refusal::Locked { partition, by: holder.operation });
    }
    let force = state.operations.all[&hold.operation].force;
    check_redundancy(state, partition, step, force)?;
    let before = members(state, partition);
    let outcome = configure_partition(state, partition, expected, step, hold.at)?;
    lock(state, hold, partition);
    if let Outcome::Configuration(configuration) = &outcome {
        let added = configuration.members.iter().find(|member| !before.contains(&member.replica));
        let added = added.and_then(|m| member_of(&configuration.members, m.replica));
        let operation = find(state, hold.operation)?;
        let item = operation.items.entry(partition).or_default();
        if let Some(copy) = added {
            item.copy = Some(copy);
            item.begun = Some(hold.at);
            item.note(
                hold.at,
                format!("copy {:?} begun on {:?} {:?}", copy.replica, copy.node, copy.disk),
            );
        } else {
            item.note(hold.at, format!("configured, epoch {}", configuration.epoch));
        }
    }
    Ok(outcome)
}

/// No step takes a replica out of sync when fewer than are due would be left.
fn check_redundancy(
    state: &State,
    partition: PartitionId,
    step: &Step,
    force: bool,
) -> Result<(), Refusal> {
    let (Step::Suspend { replica }, Some(record)) = (step, state.partitions.get(&partition)) else {
        return Ok(());
    };
    let configuration = &record.configuration;
    if !configuration.in_sync.contains(replica) {
        return Ok(());
    }
    let volume = state.volumes.get(&configuration.volume);
    let wanted = volume.map_or(1, |volume| usize::from(volume.replicas));
    let min = usize::from(configuration.in_sync_min).min(wanted);
    let floor = if force { min } else { wanted }.max(1);
    let after = configuration.in_sync.len() - 1;
    if after < floor {
        let reason = format!("{after} replicas would be left in sync, and {floor} are due");
        return Err(Refusal::breaks(reason));
    }
    Ok(())
}

fn members(state: &State, partition: PartitionId) -> Vec<types::ReplicaId> {
    let record = state.partitions.get(&partition);
    record.map_or(Vec::new(), |p| p.configuration.members.iter().map(|m| m.replica).collect())
}

/// Takes a lock, or renews it. Those that ran out go.
fn lock(state: &mut State, hold: Hold, partition: PartitionId) {
    let locks = state.operations.locks.entry(partition).or_default();
    locks.retain(|lock| lock.expires > hold.at);
    let expires = later(hold.at, PARTITION_LOCK_LEASE);
    let own = |lock: &&mut Lock| lock.operation == hold.operation && lock.kind == hold.kind;
    match locks.iter_mut().find(own) {
        Some(lock) => lock.expires = expires,
        None => {
            locks.push(Lock { kind: hold.kind, operation: hold.operation, since: hold.at, expires })
        }
    }
}

/// A date so much later.
pub(crate) fn later(at: Timestamp, by: std::time::Duration) -> Timestamp {
    Timestamp(at.0.saturating_add(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX)))
}

/// Lets go of what the operation holds of one partition.
fn unlock(state: &mut State, operation: OperationId, partition: PartitionId) {
    let all = &mut state.operations.locks;
    let Some(locks) = all.get_mut(&partition) else { return };
    locks.retain(|lock| lock.operation != operation);
    if locks.is_empty() {
        all.remove(&partition);
    }
}

fn unlock_all(state: &mut State, operation: OperationId) {
    let all = &mut state.operations.locks;
    all.values_mut().for_each(|locks| locks.retain(|lock| lock.operation != operation));
    all.retain(|_, locks| !locks.is_empty());
}

fn note(
    state: &mut State,
    id: OperationId,
    notes: &[(PartitionId, Note)],
    blocked: Option<&Option<Residue>>,
    next: Option<OperationState>,
    at: Timestamp,
) -> Result<Outcome, Refusal> {
    let operation = find(state, id)?;
    // Seen before somebody cancelled or paused it, and agreed upon after that.
    let was_stopped = match operation.state {
        OperationState::Cancelled | OperationState::Failed => true,
        OperationState::Paused => next.is_some(),
        _ => false,
    };
    if was_stopped {
        return Err(Refusal::breaks(format!("operation {id} is {}", operation.state)));
    }
    let ends_well = operation.state == OperationState::Succeeded;
    if ends_well
        && next.is_none()
        && notes.iter().any(|(_, note)| matches!(note, Note::Found { .. }))
    {
        return Err(Refusal::breaks("what succeeded has nothing left unless it verifies again"));
    }
    if let Some(next) = next {
        check_move(operation, next)?;
        if next == OperationState::Succeeded || next == OperationState::Incomplete {
            return Err(Refusal::breaks("a verdict needs evidence"));
        }
    }
    note_each(state, id, notes, at)?;
    let operation = find(state, id)?;
    if let Some(blocked) = blocked {
        if let Some(residue) = blocked {
            operation.note(at, format!("blocked: {}: {}", residue.reason, residue.detail));
        }
        operation.blocked.clone_from(blocked);
    }
    match next {
        Some(next) => {
            let failed = next == OperationState::Failed;
            let operation = &state.operations.all[&id];
            let void = failed.then(|| (kind::of(operation.kind).void)(state, operation)).flatten();
            become_state(state, id, next, &void.unwrap_or_default(), at)
        }
        None => Ok(Outcome::Operation(id)),
    }
}

fn note_each(
    state: &mut State,
    id: OperationId,
    notes: &[(PartitionId, Note)],
    at: Timestamp,
) -> Result<(), Refusal> {
    for (partition, note) in notes {
        match note {
            Note::Renew(kind) => renew(state, Hold { operation: id, kind: *kind, at }, *partition),
            Note::Lock(kind) => {
                take_lock(state, Hold { operation: id, kind: *kind, at }, *partition);
            }
            note => note_one(state, id, *partition, note, at)?,
        }
    }
    Ok(())
}

fn note_one(
    state: &mut State,
    id: OperationId,
    partition: PartitionId,
    note: &Note,
    at: Timestamp,
) -> Result<(), Refusal> {
    let operation = find(state, id)?;
    let item = operation.items.entry(partition).or_default();
    if item.take(note, at) {
        unlock(state, id, partition);
    }
    Ok(())
}

/// Takes a lock where nobody else has one that excludes it; whoever wants to work under it looks first.
fn take_lock(state: &mut State, hold: Hold, partition: PartitionId) {
    let is_at_work = state.operations.all[&hold.operation].state.is_at_work();
    let Hold { operation, kind, at } = hold;
    if is_at_work && state.operations.lock_against(partition, kind, operation, at).is_none() {
        lock(state, hold, partition);
    }
}

/// Prolongs a lock that is still held. One that ran out may be somebody else's by the next step.
fn renew(state: &mut State, hold: Hold, partition: PartitionId) {
    let held = state.operations.locks.get(&partition);
    let own =
        |l: &Lock| l.operation == hold.operation && l.kind == hold.kind && l.expires > hold.at;
    if held.is_some_and(|locks| locks.iter().any(own)) {
        lock(state, hold, partition);
    }
}

fn check_move(operation: &Operation, next: OperationState) -> Result<(), Refusal> {
    let before = operation.state;
    if before.may_become(next) {
        return Ok(());
    }
    let reason = format!("operation {} is {before} and cannot be {next}", operation.id);
    Err(Refusal::contradicts(reason))
}

/// The one place where an operation changes its state.
pub(super) fn become_state(
    state: &mut State,
    id: OperationId,
    next: OperationState,
    why: &str,
    at: Timestamp,
) -> Result<Outcome, Refusal> {
    let operation = find(state, id)?;
    check_move(operation, next)?;
    let before = operation.state;
    (operation.state, operation.changed) = (next, at);
    if next == OperationState::Running {
        operation.started.get_or_insert(at);
    }
    if next == OperationState::Verifying {
        operation.verification += 1;
    }
    operation.ended = next.has_ended().then_some(at);
    if next.has_ended() {
        operation.blocked = None;
    }
    let words = if why.is_empty() { next.to_string() } else { format!("{next}: {why}") };
    operation.note(at, words);
    let about = format!("{} {}", operation.kind, operation.target);
    let message = if why.is_empty() { about } else { format!("{about}: {why}") };
    let event = Event::of("operation", format!("operation/{id}"), next.word(), message, at);
    state.events.push(Event { from: before.word().to_owned(), ..event });
    if next.has_ended() || next == OperationState::Paused {
        unlock_all(state, id);
    }
    if matches!(next, OperationState::Cancelled | OperationState::Failed) {
        unexcuse(state, id);
    }
    Ok(Outcome::Operation(id))
}

/// Says how a verification ended. What the verdict is follows from the evidence, and from a look at the
/// record here: whoever proposes it cannot get it wrong.
fn verdict(
    state: &mut State,
    id: OperationId,
    evidence: &Evidence,
    at: Timestamp,
) -> Result<Outcome, Refusal> {
    let operation = find(state, id)?.clone();
    if operation.state != OperationState::Verifying || operation.verification != evidence.round {
        return Err(Refusal::breaks("the evidence is of another verification"));
    }
    let open = operation.items.values().filter(|item| !item.done).count();
    let on_record = (kind::of(operation.kind).on_record)(state, &operation);
    let wanted = kind::witnesses(state, &operation);
    let unheard: Vec<NodeId> = wanted
        .into_iter()
        .filter(|node| {
            let boot = state.nodes.get(node).map(|node| node.boot);
            let heard = evidence.witnesses.iter().any(|w| w.node == *node && Some(w.boot) == boot);
            !heard && !kind::is_believed_gone(state, &operation, evidence, *node)
        })
        .collect();
    let unseen = kind::unseen(state, &operation, evidence);
    let is_clean = open == 0
        && on_record == 0
        && evidence.left == 0
        && evidence.witnesses.iter().all(|witness| witness.found == 0);
    let next = match is_clean && unheard.is_empty() && unseen.is_empty() {
        true => OperationState::Succeeded,
        false => OperationState::Incomplete,
    };
    let why = match next {
        OperationState::Succeeded => success(&operation, evidence),
        _ if is_clean && unheard.is_empty() => {
            format!("nothing left on record, but nobody saw what is on {unseen:?}")
        }
        _ if is_clean => format!("nothing left on record, but not heard of: {unheard:?}"),
        _ => format!("{} partitions left", evidence.left.max(open as u64).max(on_record)),
    };
    find(state, id)?.evidence = Some(evidence.clone());
    become_state(state, id, next, &why, at)
}

fn success(operation: &Operation, evidence: &Evidence) -> String {
    let mut words = format!(
        "{} partitions scanned, {} dealt with, {} nodes listed their disks, nothing left",
        evidence.scanned,
        evidence.processed,
        evidence.witnesses.len()
    );
    if !evidence.believed.is_empty() {
        let who = operation.attested.as_deref().unwrap_or_default();
        let believed = &evidence.believed;
        words.push_str(&format!(
            "; believed and not proved, by the word of {who}: {believed:?} destroyed"
        ));
    }
    words
}

fn give_order(
    state: &mut State,
    id: OperationId,
    order: Order,
    by: &str,
    at: Timestamp,
) -> Result<Outcome, Refusal> {
    check_by(by)?;
    let operation = find(state, id)?;
    let why = format!("by {by}");
    match order {
        Order::Pause => {
            let operation = operation.clone();
            (kind::of(operation.kind).bound)(state, &operation, at)?;
            become_state(state, id, OperationState::Paused, &why, at)?;
        }
        Order::Cancel => {
            let rules = kind::of(operation.kind);
            let (words, before) = (rules.cancelled, operation.clone());
            (rules.bound)(state, &before, at)?;
            become_state(state, id, OperationState::Cancelled, &format!("{why}; {words}"), at)?;
            (rules.cancel)(state, &before, at);
        }
        Order::Resume if operation.state != OperationState::Paused => {
            let now = operation.state;
            return Err(Refusal::contradicts(format!("operation {id} is {now}, not paused")));
        }
        Order::Resume => {
            become_state(state, id, OperationState::Running, &why, at)?;
        }
        Order::Retry => retry(state, id, &why, at)?,
        Order::Attest => attest(state, id, by, at)?,
    }
    Ok(Outcome::Operation(id))
}

fn attest(state: &mut State, id: OperationId, by: &str, at: Timestamp) -> Result<(), Refusal> {
    let operation = find(state, id)?;
    if !kind::of(operation.kind).asks_disks {
        let kind = operation.kind;
        return Err(Refusal::breaks(format!("a {kind} asks nobody what is on its disks")));
    }
    if operation.state.has_ended() {
        let now = operation.state;
        let reason = format!("operation {id} is {now}; there is nothing to say");
        return Err(Refusal::contradicts(reason));
    }
    operation.attested = Some(by.to_owned());
    let words = format!("{} is destroyed, as far as nobody can see it: by {by}", operation.target);
    operation.note(at, words.clone());
    let state_now = operation.state.word();
    let event = Event::of("operation", format!("operation/{id}"), state_now, words, at);
    state.events.push(event);
    Ok(())
}

fn retry(state: &mut State, id: OperationId, why: &str, at: Timestamp) -> Result<(), Refusal> {
    let operation = find(state, id)?;
    let failed = operation.state == OperationState::Failed;
    if operation.state.has_ended() && !failed || operation.state == OperationState::Paused {
        let now = operation.state;
        let reason = format!("operation {id} is {now}; there is nothing to retry");
        return Err(Refusal::contradicts(reason));
    }
    for item in operation.items.values_mut() {
        item.retry_at = None;
    }
    operation.note(at, format!("retry {why}"));
    if failed {
        let operation = operation.clone();
        check_start(state, operation.kind, &operation.target)?;
        become_state(state, id, OperationState::Running, why, at)?;
        excuse(state, &operation, at);
    }
    Ok(())
}
