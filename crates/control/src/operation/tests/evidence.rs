//! What a verdict rests on, and what keeps an operation from one.

use super::*;
use crate::operation::preview::{self, Wanted};
use std::collections::BTreeSet;

/// A node that says nothing of a disk has not said that nothing is on it.
#[test]
fn a_disk_that_nobody_could_read_keeps_it_from_succeeding() {
    let mut bench = Bench::with_volume(&["", "", "", ""]);
    bench.unread.insert(DiskId(1));
    let id = bench.start(DECOMMISSION, node(1));
    bench.work_until(id, OperationState::Incomplete);
    bench.work(2);
    let blocked = bench.operation(id).blocked.clone().unwrap();
    assert_eq!(blocked.reason, Reason::Unreachable);
    assert!(blocked.detail.contains("d1 of n1"), "{}", blocked.detail);
    let verifications = bench.operation(id).verification;
    bench.work(3);
    assert_eq!(bench.operation(id).verification, verifications, "it is not asked all the time");
    bench.unread.clear();
    bench.pass(types::limits::OPERATION_RESCAN_INTERVAL);
    bench.beat(3);
    bench.work_until(id, OperationState::Succeeded);
    assert_eq!(bench.operation(id).blocked, None);
}

/// Whoever leads may be wrong about what is safe: the members look for themselves.
#[test]
fn no_step_of_an_operation_costs_redundancy_whoever_asks() {
    let mut bench = Bench::with_volume(&["", "", "", ""]);
    let id = bench.start(DECOMMISSION, node(3));
    bench.work(1);
    let configuration = bench.state.partitions[&PartitionId(1)].configuration.clone();
    let followers = configuration.in_sync.iter().filter(|r| configuration.leader != Some(**r));
    let step = Step::Suspend { replica: *followers.min().unwrap() };
    let act = Act::Step {
        operation: id,
        lock: LockKind::Move,
        partition: PartitionId(1),
        expected: configuration.epoch,
        step,
        at: bench.date(),
    };
    let before = bench.state.clone();
    let outcome = bench.state.apply(&Command::Operation(act));
    assert!(matches!(outcome, Outcome::Refused(Refusal::Breaks { .. })), "{outcome:?}");
    assert_eq!(bench.state, before);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut bench = Bench::with_volume(&["", "", "", ""]);
    let none = Limits { moves: 0, ..Limits::default() };
    assert!(matches!(
        bench.start_limited(DECOMMISSION, node(1), false, none),
        Outcome::Refused(Refusal::Breaks { .. })
    ));
    for by in ["x".repeat(257), "a\u{1b}[2J".to_owned()] {
        let (kind, target, limits, at) = (DECOMMISSION, node(1), Limits::default(), bench.date());
        let (priority, force, replicas) = (0, false, None);
        let start = Act::Start { kind, target, by, limits, priority, force, at, replicas };
        let outcome = bench.state.apply(&Command::Operation(start));
        assert!(matches!(outcome, Outcome::Refused(Refusal::Breaks { .. })));
    }
}

/// Otherwise what is on it would be nobody's business any more, and the operation succeed with it there.
#[test]
fn a_node_that_changes_its_zone_is_still_emptied() {
    let mut bench = Bench::with_volume(&["a", "b", "c", "d"]);
    let id = bench.start(DECOMMISSION, Target::Zone("a".into()));
    bench.work(1);
    bench.join(1, "b");
    bench.beat(3);
    bench.work_until(id, OperationState::Succeeded);
    assert_eq!(bench.holders_on(NodeId(1)), 0);
}

#[test]
fn a_deletion_that_takes_long_is_said_to() {
    let mut bench = Bench::with_volume(&["", "", "", ""]);
    let id = bench.start(DECOMMISSION, node(1));
    // Its folder is there again every time that it was deleted.
    let clings = |bench: &mut Bench| {
        let configuration = &bench.state.partitions[&PartitionId(1)].configuration;
        if configuration.member(ReplicaId(1)).is_some() {
            return;
        }
        let disk = wire::control::ReplicaReport {
            replica: 1,
            partition: 1,
            disk: 1,
            state: ReplicaState::Ok.into(),
            ..Default::default()
        };
        bench.held.get_mut(&NodeId(1)).unwrap().insert(ReplicaId(1), disk);
        bench.sequence += 1;
        let node = bench.state.nodes[&NodeId(1)].clone();
        bench.report(&node);
    };
    for _ in 0..40 {
        bench.work(1);
        clings(&mut bench);
    }
    assert_eq!(bench.operation(id).state, OperationState::Running, "it takes a moment");
    bench.pass(types::limits::DELETION_SLOW);
    bench.beat(1);
    clings(&mut bench);
    let plan = bench.plan();
    bench.carry_out(&plan);
    assert_eq!(bench.reason(id, 1), Some(Reason::StillThere), "{plan}");
    bench.beat(2);
    bench.pass(types::limits::OPERATION_RESCAN_INTERVAL);
    bench.beat(2);
    bench.work_until(id, OperationState::Succeeded);
}

/// Who copies and who takes it may not reach each other, although the control plane hears both.
#[test]
fn a_copy_that_never_completes_is_given_up() {
    let mut bench = Bench::with_volume(&["", "", "", "", ""]);
    let id = bench.start(DECOMMISSION, node(1));
    for _ in 0..3 {
        let plan = bench.plan();
        bench.carry_out(&plan);
        bench.beat(1);
    }
    let first = bench.operation(id).items[&PartitionId(1)].copy.unwrap();
    bench.pass(types::limits::MOVE_STALLED_MAX);
    bench.beat(3);
    let plan = bench.plan();
    bench.carry_out(&plan);
    let item = &bench.operation(id).items[&PartitionId(1)];
    assert_eq!((item.attempts, item.copy), (1, None), "{plan}");
    // The same note once more, agreed upon late: it is about a copy of before.
    bench.work_until(id, OperationState::Succeeded);
    let (partition, at) = (PartitionId(1), bench.date());
    let why = String::new();
    let note = crate::operation::Note::GivenUp { why, retry_at: at, copy: Some(first.replica) };
    let (notes, blocked, state) = (vec![(partition, note)], None, None);
    bench.state.apply(&Command::Operation(Act::Note { operation: id, notes, blocked, state, at }));
    assert_eq!(bench.operation(id).items[&PartitionId(1)].attempts, 1);
}

/// With a low `repair_rate`, or many moves at a time, copies went more slowly than that: each was given
/// up before its end and begun anew, for ever.
#[test]
fn a_copy_that_grows_is_not_given_up_however_slowly_it_goes() {
    let mut bench = Bench::with_volume(&["", "", "", "", ""]);
    let id = bench.start(DECOMMISSION, node(1));
    for _ in 0..3 {
        let plan = bench.plan();
        bench.carry_out(&plan);
        bench.beat(1);
    }
    let copy = bench.operation(id).items[&PartitionId(1)].copy.unwrap();
    let grow = |bench: &mut Bench| {
        bench.held.get_mut(&copy.node).unwrap().get_mut(&copy.replica).unwrap().bytes += 1;
    };
    let still = |bench: &mut Bench| {
        let plan = bench.plan();
        bench.carry_out(&plan);
        bench.operation(id).items[&PartitionId(1)].copy.is_some()
    };
    for _ in 0..3 {
        grow(&mut bench);
        bench.beat(3);
        bench.pass(types::limits::MOVE_STALLED_MAX / 2);
        bench.beat(3);
        assert!(still(&mut bench), "it became longer a moment ago");
    }
    bench.pass(types::limits::MOVE_STALLED_MAX / 2);
    bench.beat(3);
    assert!(!still(&mut bench), "nothing came for so long");
}

/// A machine that burnt down cannot be asked. Somebody says so, and the verdict says that somebody did.
#[test]
fn a_node_that_is_destroyed_is_believed_to_be_and_its_return_is_caught() {
    let mut bench = Bench::with_volume(&["", "", "", "", ""]);
    let id = bench.start(DECOMMISSION, node(2));
    assert!(bench.operation(id).attested.is_none());
    bench.work(1);
    bench.silent.insert(NodeId(2));
    let held = bench.held[&NodeId(2)].clone();
    for _ in 0..40 {
        bench.work(1);
        bench.leaders_drop(NodeId(2));
    }
    assert_eq!(bench.operation(id).state, OperationState::Incomplete);
    assert_eq!(bench.reason(id, 1), Some(Reason::Unreachable));
    assert_eq!(bench.order(id, Order::Attest), Outcome::Operation(id));
    bench.work_until(id, OperationState::Succeeded);
    let evidence = bench.operation(id).evidence.clone().unwrap();
    assert_eq!((evidence.believed, evidence.witnesses.len()), (vec![DiskId(2)], 0));
    let words = &bench.operation(id).history.back().unwrap().what;
    assert!(words.contains("not proved, by the word of test: [d2] destroyed"), "{words}");
    assert!(matches!(bench.order(id, Order::Attest), Outcome::Refused(_)));
    // It was not.
    bench.silent.clear();
    bench.held.insert(NodeId(2), held);
    let node = bench.state.nodes[&NodeId(2)].clone();
    bench.sequence += 1;
    bench.report(&node);
    let plan = bench.plan();
    bench.carry_out(&plan);
    assert_eq!(bench.operation(id).state, OperationState::Verifying, "{plan}");
    bench.work_until(id, OperationState::Succeeded);
    let evidence = bench.operation(id).evidence.clone().unwrap();
    assert_eq!((evidence.believed, evidence.witnesses.len()), (vec![], 1), "now it is proved");
}

/// Found by random trouble: a partition that had its copy, and could not be led from anywhere else, held on to
/// its place among those that move, so others were never begun, and nothing said why.
#[test]
fn who_waits_with_a_complete_copy_keeps_nobody_from_moving() {
    let mut bench = Bench::with_volume(&["", "", ""]);
    bench.create("single", 1, 12);
    bench.settle(4);
    let led = |bench: &Bench, on: u64| {
        let all = bench.state.partitions.values().map(|p| &p.configuration);
        let here =
            |c: &&types::Configuration| c.leader_member().is_some_and(|l| l.node == NodeId(on));
        all.filter(here).filter(|c| c.members.len() == 1).count()
    };
    assert!(led(&bench, 3) >= 3, "several have their only replica there");
    // Whoever takes a copy may lead nothing by the time that it is complete.
    let limits = Limits { moves_per_disk: 1, moves_per_node: 1, moves: 1, ..Limits::default() };
    let Outcome::Operation(id) = bench.start_limited(DECOMMISSION, node(3), true, limits) else {
        panic!("it is refused")
    };
    bench.work(2);
    bench.start(OperationKind::Drain, node(1));
    bench.start(OperationKind::Drain, node(2));
    for _ in 0..40 {
        bench.work(1);
        let waits = bench.operation(id).state == OperationState::Incomplete;
        if waits && bench.operation(id).residue().count() >= 3 {
            return;
        }
    }
    panic!("what is left is not said: {:#?}", bench.operation(id));
}

#[test]
fn operations_survive_being_written_down() {
    let mut bench = Bench::with_volume(&["", "", "", ""]);
    let id = bench.start(DECOMMISSION, node(1));
    for round in 0..60 {
        bench.work(1);
        bench.state = State::decode(&bench.state.encode()).unwrap();
        if round % 3 == 0 {
            // Another member leads: it knows of no answers.
            bench.contents.clear();
        }
    }
    assert_eq!(bench.operation(id).state, OperationState::Succeeded);
}

/// A node that was to leave and had nowhere to go was away for a moment: its replicas were never taken back,
/// and its partitions were short of one because of the operation (found by seed 1047 of the cluster's simulation).
#[test]
fn who_has_nowhere_to_go_and_was_away_is_taken_back() {
    let mut bench = Bench::with_volume(&["", "", ""]);
    let id = bench.start(DECOMMISSION, node(1));
    bench.work_until(id, OperationState::Incomplete);
    bench.silent.insert(NodeId(1));
    bench.beat(8);
    for _ in 0..3 {
        bench.work(2);
        bench.drop_silent();
    }
    bench.pass(bench.policy.replace_after);
    bench.work(8);
    assert!(bench.state.partitions.values().all(|p| p.spare.len() == 1), "nobody waits for it");
    let in_sync = |bench: &Bench| {
        let all = bench.state.partitions.values().map(|p| p.configuration.in_sync.len());
        all.min().unwrap()
    };
    assert_eq!(in_sync(&bench), 2);
    bench.silent.clear();
    bench.pass(bench.policy.readmit_after);
    bench.work(20);
    assert_eq!(in_sync(&bench), 3);
    let reasons: BTreeSet<Reason> =
        bench.operation(id).residue().map(|(_, _, left)| left.reason).collect();
    assert_eq!(reasons, [Reason::NoTarget].into());
    bench.join(4, "");
    bench.work_until(id, OperationState::Succeeded);
}

/// Followers that had just been told of a new epoch had not answered in it yet, and for a moment it was said that
/// nobody could take over the lead.
#[test]
fn who_is_just_being_told_of_an_epoch_is_not_missed() {
    let mut bench = Bench::with_volume(&["", "", "", ""]);
    let leader = |bench: &Bench| {
        let configuration = &bench.state.partitions[&PartitionId(1)].configuration;
        configuration.leader_member().unwrap().node
    };
    let id = bench.start(DECOMMISSION, Target::Node(leader(&bench)));
    for _ in 0..20 {
        bench.work(1);
        // The leader has promoted somebody, and is the first to say so.
        let led_from = leader(&bench);
        bench.silent = (1..=4).map(NodeId).filter(|node| *node != led_from).collect();
        bench.beat(2);
        bench.silent.clear();
        let plan = bench.plan();
        bench.carry_out(&plan);
        let items = bench.operation(id).items.values();
        let all: Vec<&str> = items.flat_map(|i| &i.history).map(|e| e.what.as_str()).collect();
        assert!(!all.iter().any(|what| what.contains("UNDER_REPLICATED")), "{all:#?}");
    }
    bench.work_until(id, OperationState::Succeeded);
}

/// A decommission was refused for want of a copy, while all that kept it from one was a scrub.
#[test]
fn what_passes_by_itself_is_no_reason_to_refuse() {
    let mut bench = Bench::with_volume(&["", "", "", "", ""]);
    let wanted = |bench: &Bench, node| {
        let (kind, target) = (DECOMMISSION, Target::Node(node));
        let (force, limits, replicas) = (false, Limits::default(), None);
        let wanted = Wanted { kind, target: &target, force, limits, replicas };
        preview::preview(&bench.inputs(), &wanted).unwrap()
    };
    bench.start(OperationKind::Scrub, Target::Partition(PartitionId(1)));
    while bench.state.operations.locks.is_empty() {
        let plan = bench.plan();
        bench.carry_out(&plan);
        bench.beat(1);
    }
    let members = bench.state.partitions[&PartitionId(1)].configuration.members.clone();
    bench.start(DECOMMISSION, Target::Node(members[1].node));
    let plan = wanted(&bench, members[2].node);
    assert_eq!((plan.residue[0].reason.as_str(), plan.refused.as_str()), ("LOCKED", ""));
    let is_member = |node: &NodeId| members.iter().any(|member| member.node == *node);
    bench.silent = bench.state.nodes.keys().copied().filter(|node| !is_member(node)).collect();
    bench.beat(20);
    bench.order(OperationId(1), Order::Cancel);
    let plan = wanted(&bench, members[2].node);
    assert_ne!((plan.residue[0].reason.as_str(), plan.refused.as_str()), ("LOCKED", ""));
    assert!(plan.refused.contains("fewer replicas than the minimum"), "{plan:?}");
}

#[test]
fn a_disk_that_left_is_taken_back_and_gets_replicas_again() {
    let mut bench = Bench::with_volume(&["", "", "", ""]);
    let back = |bench: &mut Bench, disk| {
        let (disk, by, at) = (DiskId(disk), "test".to_owned(), bench.date());
        bench.state.apply(&Command::Operation(Act::RecommissionDisk { disk, by, at }))
    };
    let refused = |outcome| match outcome {
        Outcome::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused(back(&mut bench, 77)), Refusal::NoSuchTarget { .. }));
    assert!(matches!(refused(back(&mut bench, 1)), Refusal::Contradicts { .. }), "in service");
    let id = bench.start(DECOMMISSION, Target::Disk(DiskId(1)));
    bench.work_until(id, OperationState::Succeeded);
    bench.create("new", 3, 3);
    bench.work(4);
    assert_eq!(bench.holders_on(NodeId(1)), 0);
    assert_eq!(back(&mut bench, 1), Outcome::Operation(id));
    bench.create("newer", 3, 3);
    bench.work(4);
    assert!(bench.holders_on(NodeId(1)) > 0);
    // In the midst of it: cancelled, and in order.
    let id = bench.start(DECOMMISSION, Target::Disk(DiskId(1)));
    bench.work(2);
    back(&mut bench, 1);
    assert_eq!(bench.operation(id).state, OperationState::Cancelled);
    bench.work(20);
    assert!(bench.plan().is_empty(), "{}", bench.plan());
    bench.start(DECOMMISSION, node(1));
    let why = refused(back(&mut bench, 1)).to_string();
    assert!(why.contains("recommission node 1"), "{why}");
}

/// What was copied was forgotten while it was paused, and the bytes that were done went back.
#[test]
fn what_was_copied_still_counts_while_it_is_paused() {
    let mut bench = Bench::with_volume(&["", "", "", ""]);
    let fill = |bench: &mut Bench, bytes| {
        [1, 2].into_iter().for_each(|id| bench.fill(PartitionId(id), Some(bytes)));
        bench.beat(1);
    };
    fill(&mut bench, 100);
    let id = bench.start(DECOMMISSION, node(1));
    for _ in 0..3 {
        let plan = bench.plan();
        bench.carry_out(&plan);
        bench.beat(1);
    }
    fill(&mut bench, 30);
    let round = |bench: &Bench| bench.plan().rounds[&id].clone();
    let before = round(&bench);
    assert_eq!((before.in_flight, before.underway), (60, 2));
    bench.order(id, Order::Pause);
    let paused = round(&bench);
    assert_eq!((paused.in_flight, paused.underway), (60, 2));
}

/// It was said that too few replicas would be left in sync, and to add some, while all of them were there.
#[test]
fn when_all_others_are_excused_there_is_no_target() {
    let mut bench = Bench::with_volume(&["", "", ""]);
    let leader = |bench: &Bench| {
        let configuration = &bench.state.partitions[&PartitionId(1)].configuration;
        configuration.leader_member().unwrap().node
    };
    for _ in 0..2 {
        let id = bench.start(OperationKind::Drain, Target::Node(leader(&bench)));
        bench.work_until(id, OperationState::Succeeded);
    }
    let last = leader(&bench);
    let id = bench.start(OperationKind::Drain, Target::Node(last));
    bench.work_until(id, OperationState::Incomplete);
    assert_eq!(bench.reason(id, 1), Some(Reason::NoTarget));
    let (by, at) = ("test".to_owned(), bench.date());
    let node = bench.state.nodes.keys().copied().find(|node| *node != last).unwrap();
    bench.state.apply(&Command::Operation(Act::Recommission { node, by, at }));
    bench.work_until(id, OperationState::Succeeded);
}

/// While a replica elsewhere was about to be taken back it was said that somebody had to act.
#[test]
fn who_is_about_to_come_back_is_not_missing() {
    let mut bench = Bench::with_volume(&["", "", ""]);
    bench.silent.insert(NodeId(2));
    bench.beat(8);
    for _ in 0..3 {
        bench.work(2);
        bench.drop_silent();
    }
    bench.pass(bench.policy.replace_after);
    bench.work(8);
    assert!(bench.state.partitions.values().all(|p| p.spare.len() == 1));
    let Outcome::Operation(id) = bench.try_start(DECOMMISSION, node(1), true) else { panic!() };
    bench.work_until(id, OperationState::Incomplete);
    assert_eq!(bench.reason(id, 1), Some(Reason::UnderReplicated), "nobody says that it comes");
    bench.state.partitions.values().for_each(|p| assert_eq!(p.configuration.in_sync.len(), 2));
    bench.silent.clear();
    bench.beat(4);
    let plan = bench.plan();
    bench.carry_out(&plan);
    assert_eq!(bench.reason(id, 1), Some(Reason::Repairing));
    bench.pass(bench.policy.readmit_after);
    bench.work_until(id, OperationState::Succeeded);
}
