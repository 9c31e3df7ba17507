//! A request that arrives twice acts once.

use super::*;
use types::limits;
use types::namespace::{CloseSession, Failure, RenewSession, Unlink};

fn unlink(name: &'static str) -> Command {
    Command::Unlink(Unlink { parent: ROOT, name: Bytes::from(name), folder: false })
}

fn kind(outcome: &Outcome) -> Option<FailureKind> {
    outcome.failure().map(Failure::kind)
}

#[test]
fn a_repeated_request_gets_its_first_outcome_and_does_nothing() {
    let mut volume = Volume::new();
    let session = volume.session;
    let first = volume.send(session, 10, 0, create_command(ROOT, "a", FileKind::File));
    let again = volume.send(session, 10, 0, create_command(ROOT, "a", FileKind::File));
    assert_eq!(first, again);
    assert_eq!(volume.usage().inodes, 2);
    // A refusal is an outcome too: it stays a refusal although the name is there by now.
    let refused = volume.send(session, 12, 0, unlink("b"));
    assert_eq!(kind(&refused), Some(FailureKind::NotFound));
    volume.send(session, 13, 0, create_command(ROOT, "b", FileKind::File));
    assert_eq!(volume.send(session, 12, 0, unlink("b")), refused);
    // Numbers may arrive in any order.
    assert_eq!(kind(&volume.send(session, 11, 0, unlink("b"))), None);
    volume.assert_sound();
}

#[test]
fn another_sessions_numbers_are_its_own() {
    let mut volume = Volume::new();
    let (one, two) = (volume.session, volume.open_session(2));
    assert_ne!(one, two);
    assert_eq!(volume.open_session(2), two, "the same nonce gets the same session");
    assert_eq!(kind(&volume.send(one, 1, 0, create_command(ROOT, "a", FileKind::File))), None);
    assert_eq!(kind(&volume.send(two, 1, 0, create_command(ROOT, "b", FileKind::File))), None);
    assert_eq!(volume.usage().inodes, 3);
}

#[test]
fn acknowledged_outcomes_are_forgotten_and_the_rest_is_bounded() {
    let mut volume = Volume::new();
    let session = volume.session;
    for number in 1..=200 {
        volume.send(session, number, number, Command::RenewSession(RenewSession {}));
    }
    let again = volume.send(session, 3, 0, unlink("a"));
    assert_eq!(kind(&again), Some(FailureKind::Forgotten));
    volume.assert_sound();
    let remembered_from = volume.namespace.state.sessions[&session].session.remembered_from;
    assert!(remembered_from > 100, "{remembered_from}");
    let past = remembered_from + limits::OUTCOMES_REMEMBERED_MAX;
    let refused = volume.send(session, past, 0, Command::RenewSession(RenewSession {}));
    assert_eq!(kind(&refused), Some(FailureKind::LimitReached));
    let zero = volume.send(session, 0, 0, Command::RenewSession(RenewSession {}));
    assert_eq!(kind(&zero), Some(FailureKind::Invalid));
    volume.assert_sound();
}

#[test]
fn outcomes_survive_a_restart() {
    let mut volume = Volume::new();
    let session = volume.session;
    let first = volume.send(session, 5, 0, create_command(ROOT, "a", FileKind::File));
    volume.namespace.flush().unwrap();
    volume.namespace = open(&volume.database);
    assert_eq!(volume.send(session, 5, 0, create_command(ROOT, "a", FileKind::File)), first);
    assert_eq!(volume.usage().inodes, 2);
}

#[test]
fn an_ended_session_does_nothing_more() {
    let mut volume = Volume::new();
    let session = volume.session;
    volume.send(session, 1, 0, create_command(ROOT, "a", FileKind::File));
    assert_eq!(kind(&volume.send(session, 2, 0, Command::CloseSession(CloseSession {}))), None);
    for number in [1, 2, 3] {
        let outcome = volume.send(session, number, 0, unlink("a"));
        assert_eq!(kind(&outcome), Some(FailureKind::SessionEnded));
    }
    assert!(volume.lookup(ROOT, "a").is_ok());
    assert_ne!(volume.open_session(1), session, "a new session has a new number");
    volume.assert_sound();
}

#[test]
fn the_cluster_itself_sends_only_what_does_no_harm_twice() {
    let mut volume = Volume::new();
    let outcome = volume.send(0, 0, 0, create_command(ROOT, "a", FileKind::File));
    assert_eq!(kind(&outcome), Some(FailureKind::SessionEnded));
    assert_eq!(volume.usage().inodes, 1);
}

#[test]
fn sessions_are_bounded() {
    let mut volume = Volume::new();
    for nonce in 2..=limits::CLIENT_SESSIONS_MAX as u64 {
        volume.open_session(nonce);
    }
    let one_more = OpenSession { nonce: u64::MAX, name: String::new() };
    let outcome = volume.send(0, 0, 0, open_command(one_more));
    assert_eq!(kind(&outcome), Some(FailureKind::LimitReached));
}
