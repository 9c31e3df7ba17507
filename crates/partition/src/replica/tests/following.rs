use super::*;

#[test]
fn what_continues_the_log_is_appended_and_then_acknowledged() {
    let mut follower = following(&[1, 1]);
    let append = append(9, position(1, 2), 2, vec![entry(9, 3)]);
    let entries = Arc::clone(&append.entries);
    let effects = step(&mut follower, LATER, from(ONE, Message::Append(append)));
    assert_eq!(effects, [Effect::Append { entries }]);
    let effects = step(&mut follower, LATER, Event::Appended { end: Sequence(3) });
    let ack = Ack {
        epoch: Epoch(9),
        stamp: 77,
        life: 1,
        matched: Sequence(3),
        synced: Sequence(2),
        proven: true,
        failure: None,
        room: Room::Enough,
    };
    assert_eq!(
        effects,
        [Effect::Apply { upto: Sequence(2) }, Effect::Send { to: ONE, message: Message::Ack(ack) }]
    );
}

#[test]
fn a_gap_is_answered_with_the_last_entry_that_may_be_shared() {
    let mut follower = following(&[1, 1, 4]);
    let late = append(9, position(3, 9), 0, vec![]);
    let effects = step(&mut follower, LATER, from(ONE, Message::Append(late)));
    let (_, Message::Reject(reject)) = sent(&effects) else { panic!("{effects:?}") };
    assert_eq!(reject.hint, position(1, 2), "epoch 4 is not in a log that is of epoch 3 at 9");
}

#[test]
fn what_diverges_is_cut_even_when_it_is_longer() {
    let mut follower = following(&[1, 1, 4, 4, 4]);
    let append = append(9, position(1, 2), 0, vec![entry(5, 3)]);
    let entries = Arc::clone(&append.entries);
    let effects = step(&mut follower, LATER, from(ONE, Message::Append(append)));
    assert_eq!(effects, [Effect::Truncate { after: Sequence(2) }, Effect::Append { entries }]);
}

#[test]
fn what_is_there_already_is_not_appended_twice() {
    let mut follower = following(&[1, 1]);
    let doubled = append(9, Position::ZERO, 0, vec![entry(1, 1), entry(1, 2), entry(9, 3)]);
    let effects = step(&mut follower, LATER, from(ONE, Message::Append(doubled.clone())));
    let [Effect::Append { entries }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(entries[..], [entry(9, 3)]);
    step(&mut follower, LATER, Event::Appended { end: Sequence(3) });
    let effects = step(&mut follower, LATER, from(ONE, Message::Append(doubled)));
    assert!(matches!(sent(&effects), (ONE, Message::Ack(Ack { matched: Sequence(3), .. }))));
}

#[test]
fn what_is_committed_is_never_cut_the_replica_stops_instead() {
    let mut follower = following(&[1, 1]);
    let append_two = append(9, position(1, 2), 2, vec![]);
    step(&mut follower, LATER, from(ONE, Message::Append(append_two)));
    assert_eq!(follower.status(LATER).committed, Sequence(2));
    take_up(&mut follower, LATER, configuration(10, THREE, &[TWO, THREE]));
    let contradiction = append(10, position(1, 1), 0, vec![entry(3, 2)]);
    let effects = step(&mut follower, LATER, from(THREE, Message::Append(contradiction)));
    let (_, Message::Ack(ack)) = sent(&effects) else { panic!("{effects:?}") };
    assert_eq!((ack.matched, ack.failure), (Sequence::ZERO, Some(Failure::Diverged)));
}

/// A copy outside the in-sync set had applied what a loss of power everywhere took back, and took
/// it for shared with the new leader; it was promoted with entries that nobody else had. Found by
/// seed 16826.
#[test]
fn what_is_committed_is_not_acknowledged_before_an_append_has_shown_it_to_match() {
    let found = Persisted { applied: Sequence(3), ..persisted(0, &[1, 1, 1]) };
    let mut follower = Replica::recover(TWO, found, Moment(0));
    take_up(&mut follower, LATER, with_catching_up(9, ONE, &[ONE], &[TWO]));
    let probe = append(9, position(1, 1), 1, vec![]);
    let effects = step(&mut follower, LATER, from(ONE, Message::Append(probe)));
    assert!(matches!(sent(&effects), (ONE, Message::Ack(Ack { matched: Sequence(1), .. }))));
}

/// The part of an append that came before the failure is in the log, and must be acknowledged, or
/// the follower never gets on. Found by seed 624.
#[test]
fn what_came_before_a_failed_append_is_in_the_log() {
    let mut follower = following(&[1, 1]);
    let append_three = append(9, position(1, 2), 0, vec![entry(9, 3), entry(9, 4)]);
    step(&mut follower, LATER, from(ONE, Message::Append(append_three)));
    let failed = Event::AppendFailed { from: Sequence(4), failure: Failure::NoSpace };
    let effects = step(&mut follower, LATER, failed);
    let (_, Message::Ack(ack)) = sent(&effects) else { panic!("{effects:?}") };
    assert_eq!((ack.matched, ack.failure), (Sequence(3), Some(Failure::NoSpace)));
    let effects = step(&mut follower, LATER, Event::SpaceFreed);
    let (_, Message::Ack(ack)) = sent(&effects) else { panic!("{effects:?}") };
    assert_eq!(ack.failure, None);
}

#[test]
fn a_sync_that_was_under_way_when_the_log_was_cut_counts_for_nothing() {
    let found = Persisted { synced: Sequence::ZERO, ..persisted(0, &[1, 4, 4]) };
    let mut follower = Replica::recover(TWO, found, Moment(0));
    take_up(&mut follower, LATER, configuration(9, ONE, &[ONE, TWO]));
    let ask = Append { sync_upto: Sequence(1), ..append(9, position(1, 1), 0, vec![]) };
    let effects = step(&mut follower, LATER, from(ONE, Message::Append(ask)));
    assert_eq!(effects[0], Effect::Sync { upto: Sequence(3) });
    let cut = append(9, position(1, 1), 0, vec![entry(5, 2), entry(5, 3)]);
    step(&mut follower, LATER, from(ONE, Message::Append(cut)));
    step(&mut follower, LATER, Event::Appended { end: Sequence(3) });
    let effects = step(&mut follower, LATER, Event::Synced { end: Sequence(3) });
    assert_eq!(effects[0], Effect::Sync { upto: Sequence(3) }, "it is done again");
    assert_eq!(follower.status(LATER).synced, Sequence::ZERO);
}

#[test]
fn an_append_that_contradicts_itself_is_not_taken() {
    let mut follower = following(&[1, 1]);
    for entries in
        [vec![entry(9, 4)], vec![entry(9, 3), entry(8, 4)], vec![entry(10, 3)], vec![entry(0, 3)]]
    {
        let end = Sequence(9);
        let bad = Append { end, ..append(9, position(1, 2), 0, entries) };
        assert_eq!(step(&mut follower, LATER, from(ONE, Message::Append(bad))), []);
    }
}

#[test]
fn a_restarted_follower_is_proven_only_by_a_leader_that_knows_of_its_restart() {
    let found = Persisted { life: 5, proven: false, ..persisted(9, &[1, 1]) };
    let mut follower = Replica::recover(TWO, found, Moment(0));
    let to_earlier_life = Append { life: 4, ..append(9, position(1, 2), 0, vec![]) };
    step(&mut follower, LATER, from(ONE, Message::Append(to_earlier_life)));
    assert!(!follower.status(LATER).proven);
    let tail = Append { life: 5, end: Sequence(3), ..append(9, position(1, 2), 0, vec![]) };
    step(&mut follower, LATER, from(ONE, Message::Append(tail)));
    assert!(!follower.status(LATER).proven, "the third entry is missing");
    let tail = Append { life: 5, ..append(9, position(1, 2), 0, vec![entry(9, 3)]) };
    step(&mut follower, LATER, from(ONE, Message::Append(tail)));
    let effects = step(&mut follower, LATER, Event::Appended { end: Sequence(3) });
    assert_eq!(effects[0], Effect::MarkProven);
}

#[test]
fn a_snapshot_is_installed_only_where_the_log_does_not_reach_it() {
    let mut follower = following(&[1, 1]);
    step(&mut follower, LATER, from(ONE, Message::Append(append(9, position(1, 9), 0, vec![]))));
    let staged = |at| Event::SnapshotStaged { from: ONE, epoch: Epoch(9), at };
    let here = position(1, 2);
    assert_eq!(step(&mut follower, LATER, staged(here)), [Effect::DiscardSnapshot { at: here }]);
    let at = position(5, 7);
    assert_eq!(step(&mut follower, LATER, staged(at)), [Effect::InstallSnapshot { at }]);
    let effects = step(&mut follower, LATER, Event::SnapshotInstalled { at });
    assert!(matches!(sent(&effects), (ONE, Message::Ack(Ack { matched: Sequence(7), .. }))));
    assert_eq!(follower.status(LATER).log_start, Sequence(8));
}

/// The copy of the story above had trimmed its log: it could not compare what it had let go of, and
/// took it for equal, although it was of an epoch newer than anything it ever had. Found by seed
/// 13876.
#[test]
fn what_was_let_go_of_is_not_taken_for_equal_when_its_epoch_is_too_new() {
    let found = Persisted {
        log_start: Sequence(6),
        log_end: Sequence(5),
        synced: Sequence(5),
        applied: Sequence(5),
        history: vec![position(2, 5)],
        ..persisted(2, &[])
    };
    let mut follower = Replica::recover(TWO, found, Moment(0));
    take_up(&mut follower, LATER, with_catching_up(9, ONE, &[ONE], &[TWO]));
    let old = append(9, position(1, 3), 0, vec![]);
    let effects = step(&mut follower, LATER, from(ONE, Message::Append(old)));
    assert!(matches!(sent(&effects), (ONE, Message::Ack(Ack { matched: Sequence(3), .. }))));
    let anew = append(9, position(1, 3), 0, vec![entry(3, 4)]);
    let effects = step(&mut follower, LATER, from(ONE, Message::Append(anew)));
    let (_, Message::Ack(ack)) = sent(&effects) else { panic!("{effects:?}") };
    assert_eq!((ack.matched, ack.failure), (Sequence(3), Some(Failure::Diverged)));
}
