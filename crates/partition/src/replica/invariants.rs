//! What is true of a replica after every step. A breach is our own mistake.

use super::Replica;
use super::leader::Leading;
use super::reconcile::Phase;
use super::state::{Core, Role};

/// Stops the program when the state is one that cannot be.
pub(super) fn check(replica: &Replica) {
    let core = &replica.core;
    check_log(core);
    match &replica.role {
        Role::Leading(leading) => check_leader(core, leading),
        Role::Following(following) => {
            assert_ne!(following.leader, core.me, "nobody follows itself");
            let verified = following.verified();
            assert!(verified <= core.log.end || core.failure.is_some(), "verified is in the log");
        }
        Role::Waiting | Role::Retired => {}
    }
    if let Some(adopting) = &replica.adopting {
        assert!(adopting.epoch > core.epoch, "epochs go up");
        let leads = matches!(replica.role, Role::Leading(_));
        assert!(!leads || adopting.continues, "whoever leads on leads the next epoch too");
    }
}

fn check_log(core: &Core) {
    let log = &core.log;
    assert!(log.start <= log.committed.next(), "what the log let go of is committed");
    assert!(log.committed <= log.appended, "what is committed is here");
    assert!(log.appended <= log.end, "what is here was asked for");
    assert!(log.synced <= log.appended, "what is on disk is here");
    let last = log.history.firsts().last();
    assert!(last.is_none_or(|last| last.sequence <= log.end), "history ends with the log");
    assert!(last.is_none_or(|last| last.epoch <= core.epoch), "nothing is from the future");
}

fn check_leader(core: &Core, leading: &Leading) {
    let configuration = core.configuration_now().expect("a leader has its epoch's configuration");
    assert_eq!(configuration.leader, Some(core.me), "a leader is appointed");
    assert!(core.failure.is_none(), "a leader can write");
    assert!(
        matches!(leading.phase, Phase::Comparing { .. }) || core.proven,
        "who writes in an epoch holds everything acknowledged before"
    );
    assert!(leading.window.first() <= core.log.end.next(), "the window ends with the log");
    assert!(
        leading.window.first() > core.log.committed || !leading.phase.serves(),
        "what is committed has left the window"
    );
    let (writes, flushes) = leading.waiting();
    assert!(writes.iter().is_sorted(), "writes are answered in order");
    assert!(flushes.iter().is_sorted_by_key(|(upto, _)| *upto), "flushes are answered in order");
    assert!(writes.front().is_none_or(|(sequence, _)| *sequence > core.log.committed));
    for (replica, progress) in &leading.followers {
        assert_ne!(*replica, core.me, "nobody follows itself");
        assert!(progress.matched < progress.next, "what is matched was sent");
        assert!(progress.next <= core.log.end.next(), "nothing is sent before it is ordered");
        assert!(progress.synced <= progress.matched, "what is on disk is matched");
    }
}
