use super::super::election::{Choice, Obstacle, choose};
use super::*;
use std::collections::BTreeMap;

fn report(epoch: u64, role: RoleName, last: Position, proven: bool) -> Status {
    Status {
        role,
        epoch: Epoch(epoch),
        life: 1,
        last,
        log_start: Sequence(1),
        synced: last.sequence,
        committed: Sequence::ZERO,
        lease_expired: true,
        proven,
        failure: None,
        followers: Vec::new(),
    }
}

fn reports(list: &[(ReplicaId, Status)]) -> BTreeMap<ReplicaId, Status> {
    list.iter().cloned().collect()
}

const ALL: &[ReplicaId] = &[ONE, TWO, THREE];

#[test]
fn a_leader_that_leads_stays() {
    let leads = report(5, RoleName::Leading, position(5, 9), true);
    let reports = reports(&[(ONE, leads)]);
    assert_eq!(choose(&configuration(5, ONE, ALL), &reports), Choice::Keep);
}

#[test]
fn a_leader_that_restarted_is_appointed_anew_or_replaced() {
    let restarted = report(5, RoleName::Waiting, position(5, 9), true);
    let follower = report(5, RoleName::Following, position(5, 8), true);
    let reports = reports(&[(ONE, restarted), (TWO, follower)]);
    assert_eq!(choose(&configuration(5, ONE, ALL), &reports), Choice::Lead(ONE));
}

#[test]
fn whoever_still_stands_by_its_promise_is_waited_for() {
    let mut follower = report(5, RoleName::Following, position(5, 8), true);
    follower.lease_expired = false;
    let reports = reports(&[(TWO, follower)]);
    let waits =
        vec![(ONE, Obstacle::Silent), (TWO, Obstacle::LeaseRuns), (THREE, Obstacle::Silent)];
    assert_eq!(choose(&configuration(5, ONE, ALL), &reports), Choice::Wait(waits));
}

#[test]
fn a_proven_replica_goes_before_one_that_has_more_but_lost_power() {
    let more = report(5, RoleName::Waiting, position(5, 9), false);
    let proven = report(5, RoleName::Following, position(5, 8), true);
    let reports = reports(&[(TWO, more), (THREE, proven)]);
    assert_eq!(choose(&configuration(5, ONE, ALL), &reports), Choice::Lead(THREE));
}

#[test]
fn after_a_loss_of_power_everywhere_the_newest_epoch_wins_once_all_have_reported() {
    let longer = report(5, RoleName::Waiting, position(3, 12), false);
    let newer = report(5, RoleName::Waiting, position(4, 10), false);
    let third = report(5, RoleName::Waiting, position(4, 9), false);
    let mut heard = reports(&[(ONE, longer), (TWO, newer)]);
    let waits =
        vec![(ONE, Obstacle::Unproven), (TWO, Obstacle::Unproven), (THREE, Obstacle::Silent)];
    assert_eq!(choose(&configuration(5, ONE, ALL), &heard), Choice::Wait(waits));
    heard.insert(THREE, third);
    assert_eq!(choose(&configuration(5, ONE, ALL), &heard), Choice::Lead(TWO));
}

#[test]
fn whoever_cannot_write_cannot_lead_but_what_it_has_counts() {
    let mut most = report(5, RoleName::Waiting, position(5, 9), false);
    most.failure = Some(Failure::Io);
    let less = report(5, RoleName::Waiting, position(5, 8), false);
    let reports = reports(&[(ONE, most), (TWO, less)]);
    let waits = vec![(ONE, Obstacle::Failed(Failure::Io)), (TWO, Obstacle::Unproven)];
    assert_eq!(choose(&configuration(5, ONE, &[ONE, TWO]), &reports), Choice::Wait(waits));
}

#[test]
fn an_unproven_leader_that_compares_gives_way_to_a_proven_replica_only() {
    let compares = report(5, RoleName::Reconciling, position(5, 9), false);
    let unproven = report(5, RoleName::Following, position(5, 9), false);
    let mut heard = reports(&[(ONE, compares), (TWO, unproven)]);
    let configuration = configuration(5, ONE, &[ONE, TWO]);
    assert_eq!(choose(&configuration, &heard), Choice::Keep);
    heard.get_mut(&TWO).expect("it is there").proven = true;
    assert_eq!(choose(&configuration, &heard), Choice::Lead(TWO));
}

#[test]
fn an_appointment_is_given_time_to_arrive() {
    let not_yet = report(4, RoleName::Following, position(4, 9), true);
    let reports = reports(&[(ONE, not_yet.clone()), (TWO, not_yet)]);
    let waits = vec![(ONE, Obstacle::Appointed)];
    assert_eq!(choose(&configuration(5, ONE, ALL), &reports), Choice::Wait(waits));
}
