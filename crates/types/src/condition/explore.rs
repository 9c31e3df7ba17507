//! Every interleaving of what can happen to one disk, its node and the control plane, up to a depth.
//!
//! The model is as hostile as the real world may be: reports are lost, repeated and overtaken; the node
//! is cut off, restarted, and forgets all but what the control plane tells it when it joins; the member
//! that leads changes, and forgets all that it heard; the disk is taken out of the cluster. What is
//! checked at every move: the record leaves `full` only through a report of the node that has the disk,
//! in which it says that it measured enough room and that a probe write worked, made after the disk was
//! found full.

use super::*;
use crate::{DiskId, NodeId, Timestamp};
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::hash::{Hash, Hasher};

const NODE: NodeId = NodeId(1);
const OWNER: Owner = Owner::Node(NODE);
const MIB: u64 = 1 << 20;
const TOTAL: u64 = 1024 * MIB;
const LIVES_MAX: u64 = 2;
const REPORTS_MAX: u64 = 2;
const FLYING_MAX: usize = 2;

/// Free room, as it matters: below the reserve, between the marks, and plenty.
const LEVELS: [u64; 3] = [10 * MIB, 40 * MIB, 900 * MIB];

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    level: usize,
    /// The node's own view; `None` while its process is down.
    gate: Option<Gate>,
    stamp: Stamp,
    /// Reports under way: any of them may arrive at any time, twice, or never.
    flying: Vec<Observation>,
    /// What is on record: replicated, so it outlives every member.
    space: Option<Record>,
    /// The life that the control plane has on record.
    life: u64,
    /// The newest report that the leading member heard; a new one has heard none.
    heard: Option<Stamp>,
    out: bool,
}

fn start() -> World {
    let mut world = World {
        level: 2,
        gate: Some(Gate::new(State::Ok)),
        stamp: Stamp { life: 1, sequence: 0 },
        flying: Vec::new(),
        space: None,
        life: 1,
        heard: None,
        out: false,
    };
    measure(&mut world);
    world
}

fn measure(world: &mut World) {
    let Some(gate) = &mut world.gate else { return };
    let free = LEVELS[world.level];
    let mut room = Room {
        free,
        total: TOTAL,
        inodes_free: None,
        marks: Marks::of(TOTAL),
        probe: Probe::NotTried,
    };
    if gate.wants_probe(&room) {
        room.probe = Probe::Worked { bytes: 4096, free, inodes_free: None };
    }
    gate.measured(room);
}

fn report(world: &World) -> Option<World> {
    let gate = world.gate.as_ref()?;
    if world.stamp.sequence >= REPORTS_MAX {
        return None;
    }
    let mut next = world.clone();
    next.stamp.sequence += 1;
    if next.flying.len() < FLYING_MAX {
        next.flying.push(Observation {
            key: Key::space(DiskId(1)),
            by: OWNER,
            stamp: next.stamp,
            state: gate.state(),
            reason: gate.reason(),
            evidence: gate.evidence().clone(),
            at: Timestamp(0),
        });
        next.flying.sort_by_key(|report| report.stamp);
    }
    Some(next)
}

/// A report arrives. It stays under way if `again`.
fn arrive(world: &World, at: usize, again: bool) -> World {
    let mut next = world.clone();
    let report = if again { next.flying[at].clone() } else { next.flying.remove(at) };
    // As the real control plane does: words of another life are turned away, old ones are dropped.
    if next.out || report.stamp.life != next.life || Some(report.stamp) <= next.heard {
        return next;
    }
    next.heard = Some(report.stamp);
    match step(next.space.as_ref(), OWNER, &report) {
        Step::Applied(record) => next.space = Some(record),
        Step::Refused(refusal) => panic!("an honest node was refused: {refusal} in {world:?}"),
        Step::Same | Step::Stale => {}
    }
    next
}

/// A new life of the node joins, and is told what is on record.
fn restart(world: &World) -> World {
    let mut next = world.clone();
    next.life += 1;
    next.stamp = Stamp { life: next.life, sequence: 0 };
    let on_record = world.space.as_ref().map_or(State::Ok, |record| record.state);
    next.gate = Some(Gate::new(on_record));
    // A node measures before it says anything.
    measure(&mut next);
    next
}

/// A liar or a mistake: words that nobody may say. That the node was cut off, is silent, came back,
/// leads or follows are words of the detector about the node, and this is what they do to space: nothing.
fn check_forgeries(world: &World) {
    let Some(record) = world.space.as_ref().filter(|record| record.state == State::Full) else {
        return;
    };
    let stamp = Stamp { life: record.stamp.life, sequence: record.stamp.sequence + 1 };
    for by in [OWNER, Owner::Detector, Owner::Node(NodeId(9))] {
        let silence = Evidence::Silence { for_ms: 1500, bound_ms: 1500 };
        for evidence in [Evidence::Heard, Evidence::Answered, silence] {
            for state in [State::Ok, State::Low] {
                let forged = Observation {
                    key: Key::space(DiskId(1)),
                    by,
                    stamp,
                    state,
                    reason: Reason::Heard,
                    evidence: evidence.clone(),
                    at: Timestamp(0),
                };
                let step = step(Some(record), OWNER, &forged);
                assert!(matches!(step, Step::Refused(_)), "{forged:?} had an effect: {step:?}");
            }
        }
    }
}

fn successors(world: &World) -> Vec<(&'static str, World)> {
    let mut next: Vec<(&'static str, World)> = Vec::new();
    let mut push = |name, change: &dyn Fn(&mut World)| {
        let mut after = world.clone();
        change(&mut after);
        next.push((name, after));
    };
    push("fills", &|w| w.level = 0);
    push("is half freed", &|w| w.level = 1);
    push("is freed", &|w| w.level = 2);
    push("measures", &measure);
    if world.gate.is_some() {
        push("meets ENOSPC", &|w| {
            w.level = 0;
            w.gate.as_mut().unwrap().refused("no space left on device".into(), false);
        });
        push("crashes", &|w| w.gate = None);
    }
    push("is cut off", &|w| w.flying.clear());
    push("another member leads", &|w| w.heard = None);
    push("is decommissioned", &|w| (w.out, w.space) = (true, None));
    if world.life < LIVES_MAX {
        next.push(("restarts", restart(world)));
    }
    next.extend(report(world).map(|after| ("reports", after)));
    for at in 0..world.flying.len() {
        next.push(("a report arrives", arrive(world, at, false)));
        next.push(("a report arrives, and will again", arrive(world, at, true)));
        if world.flying.len() > 1 {
            let mut lost = world.clone();
            lost.flying.remove(at);
            next.push(("a report is lost", lost));
        }
    }
    next
}

/// The property, for one move.
fn check(name: &str, before: &World, after: &World) {
    let state = |world: &World| world.space.as_ref().map(|record| record.state);
    if after.out || state(before) != Some(State::Full) || state(after) == Some(State::Full) {
        return;
    }
    let (old, new) = (before.space.as_ref().unwrap(), after.space.as_ref().unwrap());
    assert!(name.starts_with("a report arrives"), "full was left because the node {name}");
    assert!(new.stamp > old.stamp, "{old:?} was left by older words: {new:?}");
    let Evidence::Room(room) = &new.evidence else { panic!("{new:?}") };
    let Probe::Worked { bytes, free, .. } = room.probe else { panic!("no probe: {new:?}") };
    assert!(bytes > 0 && free >= room.marks.full_leave_bytes, "{new:?}");
}

fn fingerprint(world: &World) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

#[test]
fn full_is_left_only_by_fresh_proof_in_every_interleaving() {
    let mut seen: HashSet<u64> = HashSet::from([fingerprint(&start())]);
    let mut queue: VecDeque<World> = VecDeque::from([start()]);
    let mut kinds: BTreeSet<&str> = BTreeSet::new();
    let (mut left_full, mut moves) = (0u64, 0u64);
    while let Some(world) = queue.pop_front() {
        check_forgeries(&world);
        for (name, after) in successors(&world) {
            moves += 1;
            kinds.insert(name);
            check(name, &world, &after);
            let was = |w: &World| w.space.as_ref().is_some_and(|r| r.state == State::Full);
            left_full += u64::from(was(&world) && !was(&after) && !after.out);
            // A disk that is out stays out, so nothing follows from there.
            if !after.out && seen.insert(fingerprint(&after)) {
                queue.push_back(after);
            }
        }
    }
    assert_eq!(kinds.len(), 14, "{kinds:?}");
    assert!(left_full > 100, "full was left {left_full} times in {moves} moves");
    assert!(seen.len() > 10_000, "{} worlds", seen.len());
}
