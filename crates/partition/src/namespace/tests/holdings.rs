//! Locks and delegations, and how they end with their session.

use super::*;
use types::limits;
use types::namespace::{
    CloseSession, Commit, CommitItem, Delegate, ExpireSession, Failure, GetLock, Lock, LockKind,
    LockMode, Purge, ReleaseLocks, Reserve, SetAttributes, SetLock, Undelegate, Unlink,
};

fn lock(kind: LockKind, mode: LockMode, owner: u64, start: u64, end: u64) -> Lock {
    Lock { kind: kind.into(), mode: mode.into(), start, end, session: 0, owner, pid: 100 }
}

fn posix(mode: LockMode, owner: u64, start: u64, end: u64) -> Lock {
    lock(LockKind::Posix, mode, owner, start, end)
}

fn set(inode: u64, lock: Lock) -> Command {
    Command::SetLock(SetLock { inode, lock: Some(lock) })
}

#[test]
fn a_conflict_names_the_holder_and_the_end_of_its_session_frees_the_lock() {
    let mut volume = Volume::new();
    let (one, two) = (volume.session, volume.open_session(2));
    let file = volume.file(ROOT, "f");
    volume.run(set(file, posix(LockMode::Exclusive, 1, 10, 19))).unwrap();
    volume.number += 1;
    let refused = volume.send(two, volume.number, 0, set(file, posix(LockMode::Shared, 1, 0, 10)));
    let failure = refused.failure().unwrap();
    assert_eq!((failure.kind(), failure.holder), (FailureKind::Locked, one));
    assert_eq!(failure.lock.map(|lock| (lock.start, lock.end, lock.pid)), Some((10, 19, 100)));
    let ask = |start, end| {
        let lock = Some(Lock { session: two, ..posix(LockMode::Shared, 1, start, end) });
        QueryBody::GetLock(GetLock { inode: file, lock })
    };
    assert!(matches!(volume.ask(ask(0, 10)), Ok(AnswerBody::Lock(held)) if held.session == one));
    assert!(matches!(volume.ask(ask(0, 9)), Ok(AnswerBody::Done(_))));
    volume.assert_sound();
    volume.send(0, 0, 0, Command::ExpireSession(ExpireSession { session: one }));
    volume.run_as(two, set(file, posix(LockMode::Exclusive, 1, 0, u64::MAX))).unwrap();
    volume.assert_sound();
}

#[test]
fn flock_and_posix_locks_do_not_see_each_other_and_are_released_by_owner() {
    let mut volume = Volume::new();
    let file = volume.file(ROOT, "f");
    volume.run(set(file, posix(LockMode::Exclusive, 1, 0, 9))).unwrap();
    volume.run(set(file, lock(LockKind::Flock, LockMode::Exclusive, 2, 5, 5))).unwrap();
    let other = set(file, lock(LockKind::Flock, LockMode::Shared, 3, 900, 901));
    assert_eq!(volume.run(other), Err(FailureKind::Locked), "a flock is on the whole file");
    let release = |owner, kind: LockKind| {
        Command::ReleaseLocks(ReleaseLocks { inode: file, owner, kind: kind.into() })
    };
    volume.run(release(2, LockKind::Flock)).unwrap();
    volume.run(set(file, lock(LockKind::Flock, LockMode::Shared, 3, 0, 0))).unwrap();
    volume.run(release(3, LockKind::Flock)).unwrap();
    volume.run(release(1, LockKind::Posix)).unwrap();
    assert_eq!(volume.namespace.state.sessions[&volume.session].holdings, 0);
    volume.assert_sound();
}

#[test]
fn locks_are_bounded_and_make_sense() {
    let mut volume = Volume::new();
    let file = volume.file(ROOT, "f");
    let backwards = set(file, posix(LockMode::Shared, 1, 9, 8));
    assert_eq!(volume.run(backwards), Err(FailureKind::Invalid));
    for number in 0..limits::LOCKS_PER_INODE_MAX as u64 {
        volume.run(set(file, posix(LockMode::Shared, 1, number * 2, number * 2))).unwrap();
    }
    let one_more = set(file, posix(LockMode::Shared, 1, 1 << 40, 1 << 40));
    assert_eq!(volume.run(one_more), Err(FailureKind::LimitReached));
    let merged = set(file, posix(LockMode::Shared, 1, 0, u64::MAX));
    volume.run(merged).unwrap();
    assert_eq!(volume.namespace.state.locks(file).unwrap().locks.len(), 1);
    volume.assert_sound();
}

/// Found by fuzzing: such a lock was kept, could not be read back, and took the namespace for damaged.
#[test]
fn a_lock_of_a_kind_that_nobody_knows_is_refused() {
    let mut volume = Volume::new();
    let file = volume.file(ROOT, "f");
    let good = posix(LockMode::Shared, 1, 0, 9);
    for lock in [Lock { kind: 100, ..good }, Lock { mode: 100, ..good }] {
        assert_eq!(volume.run(set(file, lock)), Err(FailureKind::Invalid));
    }
    volume.assert_sound();
}

#[test]
fn only_the_delegate_may_change_a_delegated_file() {
    let mut volume = Volume::new();
    let (one, two) = (volume.session, volume.open_session(2));
    let Command::Create(mut create) = create_command(ROOT, "f", FileKind::File) else { panic!() };
    create.delegate = true;
    let file = created(volume.run(Command::Create(create)).unwrap());
    assert_eq!(file.delegate, one);
    let inode = file.inode;
    let truncate =
        || Command::SetAttributes(SetAttributes { inode, size: Some(1), ..Default::default() });
    let delegate = || Command::Delegate(Delegate { inode });
    volume.number += 1;
    let busy = volume.send(two, volume.number, 0, delegate());
    assert_eq!(
        busy.failure().map(|failure| (failure.kind(), failure.holder)),
        Some((FailureKind::Busy, one))
    );
    assert_eq!(volume.run_as(two, truncate()), Err(FailureKind::Busy));
    let item = CommitItem { inode, size_at_least: Some(9), ..Default::default() };
    let Ok(OutcomeBody::Committed(done)) =
        volume.run_as(two, Command::Commit(Commit { items: vec![item] }))
    else {
        panic!()
    };
    assert_eq!(done.items[0].failure.as_ref().map(Failure::kind), Some(FailureKind::Busy));
    let chmod = SetAttributes { inode, mode: Some(0o600), ..Default::default() };
    volume.run_as(two, Command::SetAttributes(chmod)).unwrap();
    volume.run(truncate()).unwrap();
    volume.assert_sound();
    volume.run_as(two, Command::Undelegate(Undelegate { inodes: vec![inode] })).unwrap();
    assert_eq!(volume.attributes(inode).delegate, one, "not its to give back");
    volume.run(Command::Undelegate(Undelegate { inodes: vec![inode, 99] })).unwrap();
    volume.run_as(two, delegate()).unwrap();
    volume.assert_sound();
}

#[test]
fn the_end_of_a_session_releases_all_it_had() {
    let mut volume = Volume::new();
    let (one, two) = (volume.session, volume.open_session(2));
    let (f, g) = (volume.file(ROOT, "f"), volume.file(ROOT, "g"));
    for inode in [f, g] {
        volume.run_as(two, Command::Delegate(Delegate { inode })).unwrap();
        volume.run_as(two, set(inode, posix(LockMode::Shared, 1, 0, 9))).unwrap();
    }
    volume.run(set(f, posix(LockMode::Shared, 1, 0, 9))).unwrap();
    volume.run_as(two, Command::Reserve(Reserve { bytes: 1000 })).unwrap();
    volume.assert_sound();
    volume.run_as(two, Command::CloseSession(CloseSession {})).unwrap();
    assert_eq!(volume.usage().reserved, 0);
    assert_eq!((volume.attributes(f).delegate, volume.attributes(g).delegate), (0, 0));
    let left = volume.namespace.state.locks(f).unwrap();
    assert_eq!(left.locks.iter().map(|lock| lock.session).collect::<Vec<_>>(), [one]);
    volume.assert_sound();
}

/// How far the data goes that a client synced is not known when it ends while it has the delegation.
#[test]
fn a_file_stays_unsettled_until_somebody_who_has_the_delegation_says_how_long_it_is() {
    let mut volume = Volume::new();
    let two = volume.open_session(2);
    let inode = volume.file(ROOT, "f");
    let delegate = || Command::Delegate(Delegate { inode });
    let commit = |settled| {
        let item = CommitItem { inode, size_at_least: Some(9), settled, ..Default::default() };
        Command::Commit(Commit { items: vec![item] })
    };
    volume.run_as(two, delegate()).unwrap();
    let before = volume.attributes(inode);
    volume.run_as(two, Command::CloseSession(CloseSession {})).unwrap();
    let after = volume.attributes(inode);
    assert!(after.unsettled && after.version > before.version, "what was cached may be old");
    volume.run(commit(true)).unwrap();
    assert!(volume.attributes(inode).unsettled, "somebody else may have had it meanwhile");
    volume.run(delegate()).unwrap();
    volume.run(commit(false)).unwrap();
    assert!(volume.attributes(inode).unsettled, "a commit as any other");
    volume.run(commit(true)).unwrap();
    assert!(!volume.attributes(inode).unsettled);
    let truncate = SetAttributes { inode, size: Some(2), ..Default::default() };
    volume.run(Command::SetAttributes(truncate)).unwrap();
    volume.run(commit(true)).unwrap();
    assert_eq!(volume.attributes(inode).size, 2, "who settles looked before the truncation");
    volume.assert_sound();
}

#[test]
fn a_truncated_file_is_as_long_as_was_said() {
    let mut volume = Volume::new();
    let two = volume.open_session(2);
    let inode = volume.file(ROOT, "f");
    volume.run_as(two, Command::Delegate(Delegate { inode })).unwrap();
    volume.run_as(two, Command::CloseSession(CloseSession {})).unwrap();
    let truncate = SetAttributes { inode, size: Some(5), ..Default::default() };
    volume.run(Command::SetAttributes(truncate)).unwrap();
    let settled = volume.attributes(inode);
    assert_eq!((settled.size, settled.unsettled), (5, false));
}

#[test]
fn a_purged_inode_takes_its_locks_and_delegation_along() {
    let mut volume = Volume::new();
    let file = volume.file(ROOT, "f");
    volume.run(Command::Delegate(Delegate { inode: file })).unwrap();
    volume.run(set(file, posix(LockMode::Shared, 1, 0, 9))).unwrap();
    let unlink = Unlink { parent: ROOT, name: Bytes::from("f"), folder: false };
    volume.run(Command::Unlink(unlink)).unwrap();
    volume.assert_sound();
    volume.run(Command::Purge(Purge { inodes: vec![file] })).unwrap();
    assert_eq!(volume.namespace.state.sessions[&volume.session].holdings, 0);
    volume.assert_sound();
}
