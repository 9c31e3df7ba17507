use super::*;

#[test]
fn a_write_is_one_append_and_one_message_for_each_follower_that_share_their_entries() {
    let mut leader = serving(&[TWO, THREE]);
    let effects = step(&mut leader, LATER, Event::Submit { token: 5, entry: body() });
    let [
        Effect::Append { entries },
        Effect::Send { to: TWO, message: first },
        Effect::Send { to: THREE, message: second },
    ] = &effects[..]
    else {
        panic!("{effects:?}")
    };
    assert_eq!(entries[..], [entry(1, 2)]);
    for message in [first, second] {
        let Message::Append(append) = message else { panic!("{message:?}") };
        assert_eq!(append.previous, position(1, 1));
        assert_eq!(append.committed, Sequence(1));
        assert!(Arc::ptr_eq(&append.entries, entries), "nothing is copied");
    }
}

#[test]
fn a_write_is_answered_when_the_last_follower_has_it() {
    let mut leader = serving(&[TWO, THREE]);
    step(&mut leader, LATER, Event::Submit { token: 5, entry: body() });
    let answered = |effects: &[Effect]| effects.iter().any(|e| matches!(e, Effect::Answer { .. }));
    assert!(!answered(&step(&mut leader, LATER, Event::Appended { end: Sequence(2) })));
    assert!(!answered(&step(&mut leader, LATER, from(TWO, ack(1, LATER, 2, 0)))));
    let effects = step(&mut leader, LATER, from(THREE, ack(1, LATER, 2, 0)));
    let written = Ok(Answer::Written { sequence: Sequence(2) });
    assert_eq!(
        effects,
        [Effect::Apply { upto: Sequence(2) }, Effect::Answer { token: 5, result: written }]
    );
}

#[test]
fn with_synced_durability_a_write_waits_for_every_disk() {
    let mut leader = fresh(ONE);
    let configuration =
        Configuration { durability: Durability::Synced, ..configuration(1, ONE, &[ONE, TWO]) };
    take_up(&mut leader, LATER, configuration);
    let effects = step(&mut leader, LATER, Event::Appended { end: Sequence(1) });
    assert_eq!(effects, [Effect::Sync { upto: Sequence(1) }]);
    step(&mut leader, LATER, from(TWO, ack(1, LATER, 1, 0)));
    step(&mut leader, LATER, Event::Synced { end: Sequence(1) });
    assert!(!leader.leads(), "the follower's disk is missing");
    step(&mut leader, LATER, from(TWO, ack(1, LATER, 1, 1)));
    assert!(leader.leads());
}

#[test]
fn several_writes_at_once_are_one_append() {
    let mut leader = serving(&[TWO]);
    let effects = step(&mut leader, LATER, Event::SubmitMany(vec![(5, body()), (6, body())]));
    let [Effect::Append { entries }, Effect::Send { to: TWO, .. }] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(entries[..], [entry(1, 2), entry(1, 3)]);
}

#[test]
fn a_flush_waits_for_every_disk_and_asks_for_it() {
    let mut leader = serving(&[TWO]);
    let effects = step(&mut leader, LATER, Event::Flush { token: 8 });
    assert_eq!(effects[0], Effect::Sync { upto: Sequence(1) });
    let (to, Message::Append(asked)) = sent(&effects) else { panic!("{effects:?}") };
    assert_eq!((to, asked.sync_upto), (TWO, Sequence(1)));
    assert_eq!(step(&mut leader, LATER, Event::Synced { end: Sequence(1) }), []);
    let effects = step(&mut leader, LATER, from(TWO, ack(1, LATER, 1, 1)));
    let flushed = Ok(Answer::Flushed { upto: Sequence(1) });
    assert_eq!(effects, [Effect::Answer { token: 8, result: flushed }]);
}

#[test]
fn a_read_needs_a_promise_of_every_in_sync_replica() {
    let mut leader = serving(&[TWO, THREE]);
    let readable = Ok(Answer::Readable { applied: Sequence(1) });
    let effects = step(&mut leader, LATER, Event::Read { token: 9 });
    assert_eq!(effects, [Effect::Answer { token: 9, result: readable }]);

    step(&mut leader, LATER + ms(900), from(TWO, ack(1, LATER + ms(900), 1, 0)));
    let effects = step(&mut leader, LATER + LEASE, Event::Read { token: 9 });
    assert_eq!(effects, [Effect::Answer { token: 9, result: Err(Refusal::NoLease) }]);
}

#[test]
fn a_new_leader_does_not_serve_before_its_own_promise_has_run_out() {
    let mut leader = Replica::recover(ONE, persisted(3, &[3]), Moment(0));
    let soon = Moment(0) + ms(10);
    take_up(&mut leader, soon, configuration(4, ONE, &[ONE, TWO]));
    step(&mut leader, soon, Event::Appended { end: Sequence(2) });
    step(&mut leader, soon, from(TWO, ack(4, soon, 2, 0)));
    assert!(!leader.leads());
    assert_eq!(leader.wake(soon).map(|wake| wake <= Moment(0) + LEASE + LEASE_MARGIN), Some(true));
    let effects = step(&mut leader, Moment(0) + LEASE + LEASE_MARGIN, Event::Tick);
    assert!(leader.leads());
    assert!(effects.contains(&Effect::Apply { upto: Sequence(2) }));
}

#[test]
fn below_the_minimum_writes_are_refused_and_reads_go_on() {
    let mut leader = fresh(ONE);
    take_up(&mut leader, LATER, Configuration { in_sync_min: 2, ..configuration(1, ONE, &[ONE]) });
    step(&mut leader, LATER, Event::Appended { end: Sequence(1) });
    let effects = step(&mut leader, LATER, Event::Submit { token: 1, entry: body() });
    let refusal = Refusal::BelowMinimum { in_sync: 1, minimum: 2 };
    assert_eq!(effects, [Effect::Answer { token: 1, result: Err(refusal) }]);
    assert_eq!(refusal.kind(), types::Kind::Retry);
    let effects = step(&mut leader, LATER, Event::Read { token: 2 });
    assert!(matches!(effects[..], [Effect::Answer { token: 2, result: Ok(_) }]));
}

#[test]
fn more_than_the_window_holds_is_refused_as_busy() {
    let mut leader = serving(&[TWO]);
    let big = EntryBody { payload: Bytes::from(vec![0; 1 << 20]), ..body() };
    let many = (0..17).map(|token| (token, big.clone())).collect();
    let effects = step(&mut leader, LATER, Event::SubmitMany(many));
    let refused: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Answer { token, result: Err(Refusal::Busy) } => Some(*token),
            _ => None,
        })
        .collect();
    assert_eq!(refused, [15, 16], "15 MiB and their keys fit into the window of 16");
}

#[test]
fn whoever_is_silent_is_to_be_removed_and_nothing_is_acknowledged_until_then() {
    let mut leader = serving(&[TWO, THREE]);
    step(&mut leader, LATER, Event::Submit { token: 5, entry: body() });
    step(&mut leader, LATER, Event::Appended { end: Sequence(2) });
    let mut asked = Vec::new();
    for tick in 1..=20 {
        let now = LATER + ms(100 * tick);
        step(&mut leader, now, from(TWO, ack(1, now, 2, 0)));
        for effect in step(&mut leader, now, Event::Tick) {
            assert!(!matches!(effect, Effect::Answer { .. }), "{effect:?}");
            if let Effect::RequestConfiguration { epoch, change } = effect {
                asked.push((tick, epoch, change));
            }
        }
    }
    let change = Change::Remove { replica: THREE, reason: RemoveReason::Silent };
    assert_eq!(asked, [(16, Epoch(1), change), (20, Epoch(1), change)]);

    let now = LATER + ms(2100);
    let effects = take_up(&mut leader, now, configuration(2, ONE, &[ONE, TWO]));
    let written = Ok(Answer::Written { sequence: Sequence(2) });
    assert!(effects.contains(&Effect::Answer { token: 5, result: written }));
    assert!(leader.leads(), "a change that keeps the leader does not stall it");
}

#[test]
fn a_leader_that_was_asleep_does_not_call_others_silent() {
    let mut leader = serving(&[TWO]);
    let effects = step(&mut leader, LATER + ms(5000), Event::Tick);
    assert!(!effects.iter().any(|e| matches!(e, Effect::RequestConfiguration { .. })));
}

#[test]
fn a_leader_that_cannot_write_stops_and_says_what_is_not_known() {
    let mut leader = serving(&[TWO]);
    step(&mut leader, LATER, Event::Submit { token: 5, entry: body() });
    step(&mut leader, LATER, Event::Flush { token: 6 });
    let failed = Event::AppendFailed { from: Sequence(2), failure: Failure::NoSpace };
    let effects = step(&mut leader, LATER, failed);
    let not_leader = Refusal::NotLeader { leader: None, epoch: Epoch(1) };
    assert_eq!(
        effects,
        [
            Effect::Answer { token: 5, result: Err(Refusal::Unknown) },
            Effect::Answer { token: 6, result: Err(not_leader) },
        ]
    );
    let status = leader.status(LATER);
    assert_eq!((status.role, status.failure), (RoleName::Waiting, Some(Failure::NoSpace)));
    assert_eq!(status.last, position(1, 1));
}

#[test]
fn a_follower_that_restarted_is_asked_anew_where_it_is() {
    let mut leader = serving(&[TWO]);
    step(&mut leader, LATER, Event::Submit { token: 5, entry: body() });
    step(&mut leader, LATER, Event::Appended { end: Sequence(2) });
    let now = LATER + ms(50);
    let restarted = Reject { epoch: Epoch(1), stamp: now.0, life: 2, hint: position(0, 0) };
    let effects = step(&mut leader, now, from(TWO, Message::Reject(restarted)));
    let (to, Message::Append(probe)) = sent(&effects) else { panic!("{effects:?}") };
    assert_eq!((to, probe.previous, probe.life), (TWO, Position::ZERO, 2));
    assert_eq!(leader.status(now).followers[0].matched, Sequence::ZERO);
}

#[test]
fn what_is_no_longer_in_memory_is_sent_from_the_log_and_what_is_not_there_by_snapshot() {
    let mut leader = Replica::recover(ONE, persisted(1, &[1, 1, 1, 1]), Moment(0));
    take_up(&mut leader, LATER, with_catching_up(2, ONE, &[ONE], &[TWO]));
    step(&mut leader, LATER, Event::Appended { end: Sequence(5) });
    let effects = step(&mut leader, LATER, from(TWO, ack(2, LATER, 1, 0)));
    let [Effect::SendLog { to: TWO, append, upto: Sequence(5) }] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(append.previous, position(1, 1));

    step(&mut leader, LATER, Event::LogStart { start: Sequence(4) });
    step(&mut leader, LATER, Event::LogSent { to: TWO, stamp: LATER.0, upto: Sequence(1) });
    let now = LATER + ms(1);
    let reject = Reject { epoch: Epoch(2), stamp: now.0, life: 1, hint: position(1, 1) };
    let effects = step(&mut leader, now, from(TWO, Message::Reject(reject)));
    assert_eq!(effects, [Effect::SendSnapshot { to: TWO, epoch: Epoch(2) }]);
}

/// A leader of epoch 2 whose log ends at 5, and what it has read from the log for `TWO`.
fn feeding_from_log() -> (Replica, Vec<Effect>) {
    let mut leader = Replica::recover(ONE, persisted(1, &[1, 1, 1, 1]), Moment(0));
    take_up(&mut leader, LATER, with_catching_up(2, ONE, &[ONE], &[TWO]));
    step(&mut leader, LATER, Event::Appended { end: Sequence(5) });
    let effects = step(&mut leader, LATER, from(TWO, ack(2, LATER, 1, 0)));
    (leader, effects)
}

/// Whoever was fed slowly had acknowledged what it got before the driver said that it was sent. That
/// was taken for a failure, and each time it was asked anew where its log ends.
#[test]
fn a_follower_that_answers_before_the_driver_says_that_it_was_sent_gets_the_next_at_once() {
    let (mut leader, _) = feeding_from_log();
    let now = LATER + ms(16);
    assert_eq!(step(&mut leader, now, from(TWO, ack(2, LATER, 3, 0))), [], "it rests");
    let sent = Event::LogSent { to: TWO, stamp: LATER.0, upto: Sequence(3) };
    let effects = step(&mut leader, now, sent);
    let [Effect::SendLog { to: TWO, append, upto: Sequence(5) }] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(append.previous, position(1, 3));
}

#[test]
fn what_was_sent_in_an_earlier_epoch_is_not_taken_for_what_is_sent_now() {
    let (mut leader, _) = feeding_from_log();
    take_up(&mut leader, LATER, configuration(3, THREE, &[ONE, TWO, THREE]));
    let now = LATER + ms(5000);
    take_up(&mut leader, now, with_catching_up(4, ONE, &[ONE], &[TWO]));
    step(&mut leader, now, Event::Appended { end: Sequence(6) });
    let effects = step(&mut leader, now, from(TWO, ack(4, now, 1, 0)));
    assert!(matches!(effects[..], [Effect::SendLog { to: TWO, .. }]), "{effects:?}");
    let old = Event::LogSent { to: TWO, stamp: LATER.0, upto: Sequence(4) };
    assert_eq!(step(&mut leader, now, old), []);
    assert_eq!(step(&mut leader, now, from(TWO, ack(4, now, 4, 0))), [], "the present one goes on");
    let present = Event::LogSent { to: TWO, stamp: now.0, upto: Sequence(4) };
    assert!(matches!(step(&mut leader, now, present)[..], [Effect::SendLog { to: TWO, .. }]));
}

/// It was asked where its log begins only when all that its earlier life was sent had not been
/// answered, and then from the very first entry on: where the log begins later, by a snapshot.
#[test]
fn a_follower_that_restarts_while_it_is_fed_from_the_log_is_asked_anew_where_it_is() {
    let (mut leader, _) = feeding_from_log();
    step(&mut leader, LATER, Event::LogStart { start: Sequence(3) });
    let now = LATER + ms(16);
    let restarted = Reject { epoch: Epoch(2), stamp: now.0, life: 2, hint: position(1, 2) };
    let effects = step(&mut leader, now, from(TWO, Message::Reject(restarted)));
    let (to, Message::Append(probe)) = sent(&effects) else { panic!("{effects:?}") };
    assert_eq!((to, probe.previous, probe.life), (TWO, position(1, 2), 2));
    let late = Event::LogSent { to: TWO, stamp: LATER.0, upto: Sequence(5) };
    assert_eq!(step(&mut leader, now, late), []);
}

#[test]
fn whoever_has_everything_is_waited_for_before_its_promotion_is_asked_for() {
    let mut leader = fresh(ONE);
    take_up(&mut leader, LATER, with_catching_up(1, ONE, &[ONE], &[TWO]));
    step(&mut leader, LATER, Event::Appended { end: Sequence(1) });
    step(&mut leader, LATER, from(TWO, ack(1, LATER, 0, 0)));
    step(&mut leader, LATER, Event::LogSent { to: TWO, stamp: LATER.0, upto: Sequence(1) });
    step(&mut leader, LATER, from(TWO, ack(1, LATER, 1, 0)));
    assert!(leader.status(LATER).followers[0].counts, "it is waited for at once");
    let effects = step(&mut leader, LATER, from(TWO, ack(1, LATER, 1, 0)));
    let change = Change::Promote { replica: TWO };
    assert_eq!(effects, [Effect::RequestConfiguration { epoch: Epoch(1), change }]);

    step(&mut leader, LATER, Event::Submit { token: 5, entry: body() });
    let effects = step(&mut leader, LATER, Event::Appended { end: Sequence(2) });
    assert_eq!(effects, [], "nothing is acknowledged without it any more");
}

/// Says that the disk of `TWO` is full, and lets the leader look at it.
fn full_follower(replica: &mut Replica, now: Moment) -> Vec<Effect> {
    let Message::Ack(ack) = ack(1, now, 1, 1) else { unreachable!() };
    let mut effects =
        step(replica, now, from(TWO, Message::Ack(Ack { room: Room::Reserve, ..ack })));
    effects.extend(step(replica, now, Event::Tick));
    effects
}

fn removal_of_two(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| {
        let Effect::RequestConfiguration { change, .. } = effect else { return false };
        let reason = RemoveReason::Failed(Failure::NoSpace);
        *change == Change::Remove { replica: TWO, reason }
    })
}

#[test]
fn a_leader_with_room_counts_no_longer_on_a_follower_without() {
    let (mut leader, now) = (serving(&[TWO, THREE]), LATER);
    assert!(removal_of_two(&full_follower(&mut leader, now)));
    assert!(!leader.lacks_room(), "writes go on with the others");
}

#[test]
fn a_leader_without_room_keeps_its_followers_and_takes_no_writes() {
    let (mut leader, now) = (serving(&[TWO, THREE]), LATER);
    step(&mut leader, now, Event::Room(Room::Reserve));
    assert!(leader.lacks_room());
    assert!(!removal_of_two(&full_follower(&mut leader, now)));
    step(&mut leader, now, Event::Room(Room::Enough));
    assert!(removal_of_two(&step(&mut leader, now, Event::Tick)));
}

/// All disks were full and their reserves nearly used up, so a copy that had been away was not fed;
/// with too few in sync nothing could be deleted, and so room never came. Found by the campaign.
#[test]
fn a_copy_without_room_is_fed_all_the_same_when_nothing_can_be_deleted_without_it() {
    let (mut leader, now) = (fresh(ONE), LATER);
    let alone = Configuration { in_sync_min: 2, ..with_catching_up(1, ONE, &[ONE], &[TWO]) };
    take_up(&mut leader, now, alone.clone());
    step(&mut leader, now, Event::Appended { end: Sequence(1) });
    step(&mut leader, now, Event::Room(Room::Scarce));
    let Message::Ack(ack) = ack(1, now, 0, 0) else { unreachable!() };
    let scarce = Message::Ack(Ack { room: Room::Scarce, ..ack });
    let fed = |effects: &[Effect]| {
        effects.iter().any(|effect| match effect {
            Effect::Send { message: Message::Append(append), .. } => !append.entries.is_empty(),
            Effect::SendLog { .. } => true,
            _ => false,
        })
    };
    assert!(fed(&step(&mut leader, now, from(TWO, scarce.clone()))), "it is needed");

    let mut leader = fresh(ONE);
    take_up(&mut leader, now, Configuration { in_sync_min: 1, ..alone });
    step(&mut leader, now, Event::Appended { end: Sequence(1) });
    assert!(!fed(&step(&mut leader, now, from(TWO, scarce))), "the reserve is for others");
}
