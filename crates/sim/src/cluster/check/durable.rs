//! Acknowledged operations survive; also a failure of all power, when they were flushed.
//!
//! Without such a failure every object's history must be linearizable from beginning to end. Where
//! all power failed, and an acknowledgement did not mean *on disk*, two things are demanded:
//!
//! - everything before the failure is linearizable by itself;
//! - so is the whole, in which everything after the last flush of the object that ended before the
//!   failure counts as *unknown*: it may have happened, then or never. What was read in between is
//!   left out, for it may have been lost since.

use super::block::{Block, Certainty, Step};
use super::linear;
use super::log::Log;
use super::names::Names;
use crate::cluster::history::Operation;
use crate::cluster::workload::{Action, Key, Outcome};
use crate::verdict::Verdict;
use porcupine_rs::Model;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(operations: &[Operation], blackouts: &[u64]) -> Verdict {
    let mut objects: BTreeMap<Key, Vec<Operation>> = BTreeMap::new();
    for operation in operations {
        objects.entry(operation.key).or_default().push(operation.clone());
    }
    for (key, mut history) in objects {
        for blackout in blackouts {
            let before = until(&history, *blackout);
            object(key, &format!("{key:?} until {blackout}"), &before)?;
            history = weaken(history, *blackout);
        }
        let holes = blackouts.last().map_or(history.clone(), |last| hollow(&history, *last));
        object(key, &format!("{key:?}"), &holes)?;
    }
    Ok(())
}

fn object(key: Key, name: &str, history: &[Operation]) -> Verdict {
    match key {
        Key::Block { .. } => linear::check(name, &blocks(&observed(history))),
        Key::Log => list(name, history),
        // A name that was made and never seen may still be in the way of others.
        Key::Names => linear::check(name, &prepared::<Names>(history, |step| step)),
    }
}

/// An append that nobody saw may have taken a place for all that, which a later one tells of. Few
/// did, so that they are looked at only where nothing else explains what is known.
fn list(name: &str, history: &[Operation]) -> Verdict {
    let check = |history: &[Operation]| linear::check(name, &prepared::<Log>(history, |step| step));
    let observed = observed(history);
    match check(&observed) {
        Err(_) if observed.len() < history.len() => check(history),
        verdict => verdict,
    }
}

/// What had begun before a place; what had not ended is unknown.
fn until(history: &[Operation], place: u64) -> Vec<Operation> {
    let mut before: Vec<Operation> =
        history.iter().filter(|operation| operation.call < place).cloned().collect();
    for operation in &mut before {
        if operation.done.as_ref().is_some_and(|(ended, _)| *ended > place) {
            operation.done = None;
        }
    }
    before
}

/// The history of an object in which whatever a failure of all power may have taken is unknown.
fn weaken(history: Vec<Operation>, blackout: u64) -> Vec<Operation> {
    let ended_before =
        |operation: &Operation| operation.done.as_ref().is_some_and(|(ended, _)| *ended < blackout);
    let flushed = history
        .iter()
        .filter(|operation| operation.action.is_synced() && ended_before(operation))
        .map(|operation| operation.call)
        .max()
        .unwrap_or(0);
    let is_safe = |operation: &Operation| {
        let flush = operation.action.is_synced() && ended_before(operation);
        let covered = operation.done.as_ref().is_some_and(|(ended, _)| *ended < flushed);
        operation.call > blackout || covered || (flush && operation.call <= flushed)
    };
    let weakened = history.into_iter().filter_map(|operation| {
        if is_safe(&operation) {
            Some(operation)
        } else {
            (!operation.action.is_read()).then_some(Operation { done: None, ..operation })
        }
    });
    weakened.collect()
}

/// What a failure of all power leaves of an append that was not flushed may be its length alone:
/// names and bytes are kept in different logs. So an append from before it that nobody saw
/// afterwards counts as one of zeros.
fn hollow(history: &[Operation], blackout: u64) -> Vec<Operation> {
    let seen = seen(history);
    let hollowed = |operation: &Operation| match operation.action {
        Action::Append { value, synced }
            if operation.done.is_none() && operation.call < blackout && !seen.contains(&value) =>
        {
            Operation { action: Action::Append { value: 0, synced }, ..operation.clone() }
        }
        _ => operation.clone(),
    };
    history.iter().map(hollowed).collect()
}

/// Every value that was read.
fn seen(history: &[Operation]) -> BTreeSet<u32> {
    let mut seen = BTreeSet::new();
    for operation in history {
        match &operation.done {
            Some((_, Outcome::Value(value))) => {
                seen.insert(*value);
            }
            Some((_, Outcome::Log(values))) => seen.extend(values),
            _ => {}
        }
    }
    seen
}

/// Leaves out what nobody knows the end of and nobody saw the effect of: it may as well never have
/// happened, and costs the search much.
fn observed(history: &[Operation]) -> Vec<Operation> {
    let seen = seen(history);
    let matters = |operation: &&Operation| match operation.action {
        Action::Write { value, .. } | Action::Append { value, .. } => {
            operation.done.is_some() || seen.contains(&value)
        }
        _ => true,
    };
    history.iter().filter(matters).cloned().collect()
}

/// The history of a block, in which every write that ended may have happened twice.
fn blocks(history: &[Operation]) -> Vec<porcupine_rs::Operation<Block>> {
    let ended = |operation: &&Operation| {
        operation.done.is_some() && matches!(operation.action, Action::Write { .. })
    };
    let again: Vec<Operation> = history.iter().filter(ended).cloned().collect();
    let mut all = prepared::<Block>(history, |step| (step, Certainty::Certain));
    all.extend(prepared::<Block>(&again, |step| (step, Certainty::Perhaps)));
    all
}

fn prepared<M: Model>(
    history: &[Operation],
    step: impl Fn(Step) -> M::Op,
) -> Vec<porcupine_rs::Operation<M>> {
    let known = |operation: &&Operation| operation.done.is_some() || !operation.action.is_read();
    let place = |place: u64| i64::try_from(place).expect("histories are short");
    let prepare = |operation: &Operation| porcupine_rs::Operation {
        client_id: u32::try_from(operation.client).ok(),
        call_time: place(operation.call),
        return_time: operation.done.as_ref().map_or(i64::MAX, |(ended, _)| place(*ended)),
        op: step((operation.action, operation.done.as_ref().map(|(_, outcome)| outcome.clone()))),
        metadata: None,
    };
    history.iter().filter(known).map(prepare).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: Key = Key::Block { file: 0, block: 0 };

    fn write(value: u32, synced: bool, call: u64, ended: Option<u64>) -> Operation {
        let done = ended.map(|ended| (ended, Outcome::Done));
        Operation { client: 1, key: BLOCK, action: Action::Write { value, synced }, call, done }
    }

    fn read(value: u32, call: u64) -> Operation {
        let done = Some((call + 1, Outcome::Value(value)));
        Operation { client: 2, key: BLOCK, action: Action::Read, call, done }
    }

    #[test]
    fn a_lost_write_is_found() {
        let history = [write(7, false, 1, Some(2)), read(0, 3)];
        assert!(check(&history, &[]).is_err());
    }

    /// What is seen early, replaced by another, and back again was sent twice; but not after it
    /// has returned.
    #[test]
    fn a_write_may_take_effect_twice_while_it_lasts() {
        let other = |call, ended| Operation { client: 3, ..write(8, false, call, Some(ended)) };
        let twice = [write(7, false, 1, Some(9)), read(7, 2), other(4, 5), read(7, 10)];
        assert_eq!(check(&twice, &[]), Ok(()));
        let late = [write(7, false, 1, Some(3)), read(7, 2), other(4, 5), read(7, 10)];
        assert!(check(&late, &[]).is_err());
    }

    #[test]
    fn a_write_of_unknown_outcome_may_happen_late_or_never() {
        let history = [write(7, false, 1, None), read(0, 3), read(7, 5)];
        assert_eq!(check(&history, &[]), Ok(()));
        let history = [write(7, false, 1, None), read(0, 3)];
        assert_eq!(check(&history, &[]), Ok(()));
        let back = [write(7, false, 1, None), read(7, 3), read(0, 5)];
        assert!(check(&back, &[]).is_err());
    }

    #[test]
    fn a_blackout_takes_what_was_not_flushed_and_nothing_else() {
        let lost = [write(7, false, 1, Some(2)), read(7, 3), read(0, 11)];
        assert_eq!(check(&lost, &[10]), Ok(()));
        assert!(check(&lost, &[]).is_err());
        let flushed = [write(7, true, 1, Some(2)), read(7, 3), read(0, 11)];
        assert!(check(&flushed, &[10]).is_err());
        let older =
            [write(6, false, 1, Some(2)), write(7, true, 3, Some(4)), read(6, 11), read(7, 13)];
        assert!(check(&older, &[10]).is_err());
        let newer =
            [write(6, true, 1, Some(2)), write(7, false, 3, Some(4)), read(7, 11), read(6, 13)];
        assert!(check(&newer, &[10]).is_err(), "it is there or it is not");
    }

    #[test]
    fn a_blackout_may_leave_the_length_of_an_append_and_not_its_bytes() {
        let append = |value, synced, call| Operation {
            client: 1,
            key: Key::Log,
            action: Action::Append { value, synced },
            call,
            done: Some((call + 1, Outcome::At(call / 2))),
        };
        let read = |values: &[u32], call| Operation {
            client: 2,
            key: Key::Log,
            action: Action::ReadLog,
            call,
            done: Some((call + 1, Outcome::Log(values.to_vec()))),
        };
        let hole = [append(5, true, 0), append(6, false, 2), read(&[5, 0], 11)];
        assert_eq!(check(&hole, &[10]), Ok(()));
        assert!(check(&hole, &[]).is_err());
        let flushed = [append(5, true, 0), append(6, true, 2), read(&[5, 0], 11)];
        assert!(check(&flushed, &[10]).is_err());
    }

    /// The first failure makes the first append unknown, the second comes before anybody reads it.
    #[test]
    fn an_append_that_nobody_saw_still_took_a_place() {
        let append = |value, synced, call, ended, at| Operation {
            client: value as usize,
            key: Key::Log,
            action: Action::Append { value, synced },
            call,
            done: Some((ended, Outcome::At(at))),
        };
        let history = [append(5, false, 1, 4, 0), append(6, true, 3, 5, 1)];
        assert_eq!(check(&history, &[10, 20]), Ok(()));
        let alone = [append(6, true, 3, 5, 1)];
        assert!(check(&alone, &[10, 20]).is_err());
    }

    #[test]
    fn a_lie_before_a_blackout_is_a_lie() {
        let history = [write(7, false, 1, Some(2)), read(0, 3), read(7, 11)];
        assert!(check(&history, &[10]).is_err());
    }

    #[test]
    fn a_command_that_acts_twice_is_found() {
        let create = Action::Create { name: 0, tag: 1 };
        let operation = |call, outcome| Operation {
            client: 1,
            key: Key::Names,
            action: create,
            call,
            done: Some((call + 1, outcome)),
        };
        assert_eq!(check(&[operation(1, Outcome::Done)], &[]), Ok(()));
        assert!(check(&[operation(1, Outcome::Exists)], &[]).is_err());
    }
}
