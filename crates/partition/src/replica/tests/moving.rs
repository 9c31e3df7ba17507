use super::*;

#[test]
fn a_newer_epoch_is_persisted_before_anything_is_done_in_it() {
    let mut follower = following(&[1]);
    let message = Message::Append(append(10, position(1, 1), 0, vec![entry(10, 2)]));
    let effects = step(&mut follower, LATER, from(THREE, message));
    let sign_of_life = Message::Stale { epoch: Epoch(10), leader: Some(THREE) };
    assert_eq!(
        effects,
        [
            Effect::Persist { epoch: Epoch(10), configuration: None },
            Effect::Send { to: THREE, message: sign_of_life },
        ]
    );
    assert_eq!(follower.status(LATER).role, RoleName::Waiting);
    let effects = step(&mut follower, LATER, Event::EpochPersisted { epoch: Epoch(10) });
    assert!(matches!(effects[..], [Effect::Append { .. }]), "then what came early is done");
}

#[test]
fn an_older_epoch_is_refused_from_the_moment_a_newer_one_is_known() {
    let mut follower = following(&[1]);
    step(&mut follower, LATER, Event::Configure(configuration(10, THREE, &[TWO, THREE])));
    let old = Message::Append(append(9, position(1, 1), 0, vec![entry(9, 2)]));
    let effects = step(&mut follower, LATER, from(ONE, old));
    let stale = Message::Stale { epoch: Epoch(10), leader: Some(THREE) };
    assert_eq!(effects, [Effect::Send { to: ONE, message: stale }]);
}

#[test]
fn a_leader_that_hears_of_a_newer_epoch_stops() {
    let mut leader = serving(&[TWO]);
    step(&mut leader, LATER, Event::Submit { token: 5, entry: body() });
    let stale = Message::Stale { epoch: Epoch(2), leader: Some(TWO) };
    let effects = step(&mut leader, LATER, from(TWO, stale));
    assert_eq!(
        effects,
        [
            Effect::Answer { token: 5, result: Err(Refusal::Unknown) },
            Effect::Outdated { epoch: Epoch(2) }
        ]
    );
    assert_eq!(leader.status(LATER).role, RoleName::Waiting);
}

#[test]
fn a_leader_whose_own_next_epoch_is_known_elsewhere_first_goes_on() {
    let mut leader = serving(&[TWO]);
    let stale = Message::Stale { epoch: Epoch(2), leader: Some(ONE) };
    let effects = step(&mut leader, LATER, from(TWO, stale));
    assert_eq!(effects, [Effect::Outdated { epoch: Epoch(2) }]);
    assert!(leader.leads());
}

#[test]
fn a_leader_goes_on_in_its_next_epoch_and_starts_anew_when_it_has_missed_one() {
    let mut leader = serving(&[TWO]);
    take_up(&mut leader, LATER, configuration(2, ONE, &[ONE, TWO]));
    assert!(leader.leads());
    let effects = take_up(&mut leader, LATER, configuration(4, ONE, &[ONE, TWO]));
    assert!(!leader.leads());
    assert!(effects.iter().any(|e| matches!(e, Effect::Append { .. })), "a barrier is written");
}

#[test]
fn whoever_restarts_does_not_lead_its_epoch_again() {
    let found = Persisted {
        configuration: Some(configuration(1, ONE, &[ONE, TWO])),
        ..persisted(1, &[1, 1])
    };
    let mut leader = Replica::recover(ONE, found, Moment(0));
    assert_eq!(leader.status(LATER).role, RoleName::Waiting);
    take_up(&mut leader, LATER, configuration(1, ONE, &[ONE, TWO]));
    assert_eq!(leader.status(LATER).role, RoleName::Waiting);
    take_up(&mut leader, LATER, configuration(2, ONE, &[ONE, TWO]));
    assert_eq!(leader.status(LATER).role, RoleName::Reconciling);
}

#[test]
fn whoever_cannot_prove_its_log_writes_nothing_before_all_others_were_heard() {
    let found = Persisted { proven: false, ..persisted(1, &[1, 1]) };
    let mut leader = Replica::recover(ONE, found, Moment(0));
    let effects = take_up(&mut leader, LATER, configuration(2, ONE, &[ONE, TWO, THREE]));
    let compare = Message::Compare { epoch: Epoch(2), stamp: LATER.0 };
    assert_eq!(
        effects,
        [
            Effect::Send { to: TWO, message: compare.clone() },
            Effect::Send { to: THREE, message: compare }
        ]
    );
    assert_eq!(step(&mut leader, LATER, from(TWO, compared(Some(position(1, 1))))), []);
    let effects = step(&mut leader, LATER, from(THREE, compared(Some(position(1, 2)))));
    assert_eq!(effects[0], Effect::MarkProven);
    assert!(matches!(effects[1], Effect::Append { .. }));
}

fn compared(last: Option<Position>) -> Message {
    Message::Compared { epoch: Epoch(2), stamp: LATER.0, life: 1, last }
}

/// Power failed everywhere, and of one log a part that had been on disk was gone. The others waited for
/// it for ever, although there was nothing to come.
#[test]
fn a_log_that_is_lost_is_not_waited_for_when_another_was_compared() {
    let unproven = || {
        let found = Persisted { proven: false, ..persisted(1, &[1, 1]) };
        let mut leader = Replica::recover(ONE, found, Moment(0));
        take_up(&mut leader, LATER, configuration(2, ONE, &[ONE, TWO, THREE]));
        leader
    };
    let mut leader = unproven();
    assert_eq!(step(&mut leader, LATER, from(TWO, compared(None))), []);
    let effects = step(&mut leader, LATER, from(THREE, compared(Some(position(1, 2)))));
    assert_eq!(effects[0], Effect::MarkProven);
    let mut leader = unproven();
    step(&mut leader, LATER, from(TWO, compared(None)));
    step(&mut leader, LATER, from(THREE, compared(Some(position(1, 3)))));
    assert_eq!(leader.status(LATER).role, RoleName::Waiting, "the other one has more");
    let mut leader = unproven();
    step(&mut leader, LATER, from(TWO, compared(None)));
    assert_eq!(
        step(&mut leader, LATER, from(THREE, compared(None))),
        [],
        "one log is no comparison"
    );
    assert_eq!(leader.status(LATER).role, RoleName::Reconciling, "it waits");
}

#[test]
fn whoever_is_beaten_in_comparison_does_not_lead() {
    let found = Persisted { proven: false, ..persisted(3, &[1, 1, 1]) };
    let mut leader = Replica::recover(ONE, found, Moment(0));
    take_up(&mut leader, LATER, configuration(4, ONE, &[ONE, TWO]));
    let last = Some(position(3, 2));
    let compared = Message::Compared { epoch: Epoch(4), stamp: LATER.0, life: 1, last };
    step(&mut leader, LATER, from(TWO, compared));
    assert_eq!(leader.status(LATER).role, RoleName::Waiting, "a newer epoch beats a longer log");
}

#[test]
fn a_replica_that_is_no_longer_a_member_retires() {
    let mut follower = following(&[1]);
    take_up(&mut follower, LATER, configuration(10, ONE, &[ONE, THREE]));
    assert_eq!(follower.status(LATER).role, RoleName::Retired);
}

#[test]
fn requests_are_sent_on_to_the_leader_that_is_known() {
    let mut follower = following(&[1]);
    let effects = step(&mut follower, LATER, Event::Read { token: 3 });
    let refusal = Refusal::NotLeader { leader: Some(ONE), epoch: Epoch(9) };
    assert_eq!(effects, [Effect::Answer { token: 3, result: Err(refusal) }]);
    assert_eq!(refusal.kind(), types::Kind::Reroute);
}

/// A disk that was full for a moment gave a replica up until its process was started again.
#[test]
fn an_epoch_that_found_no_room_is_persisted_when_there_is_some() {
    let mut follower = following(&[1]);
    let next = configuration(10, TWO, &[TWO, THREE]);
    step(&mut follower, LATER, Event::Configure(next.clone()));
    let refused = Event::PersistFailed { epoch: Epoch(10), failure: Failure::NoSpace };
    step(&mut follower, LATER, refused);
    let status = follower.status(LATER);
    assert_eq!((status.epoch, status.failure), (Epoch(9), Some(Failure::NoSpace)));
    let effects = step(&mut follower, LATER, Event::SpaceFreed);
    let again = Effect::Persist { epoch: Epoch(10), configuration: Some(next) };
    assert_eq!(effects, [again]);
    step(&mut follower, LATER, Event::EpochPersisted { epoch: Epoch(10) });
    assert_eq!(follower.status(LATER).role, RoleName::Reconciling, "it leads");
    assert!(step(&mut follower, LATER, Event::SpaceFreed).is_empty(), "once is enough");
}
