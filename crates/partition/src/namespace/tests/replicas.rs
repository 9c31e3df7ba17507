//! Replicas agree: after a crash, after a transfer, whenever they write to their stores.

use super::super::{Fault, digest, transfer};
use super::*;
use crate::kv::{Error, Kv, Remaining};

fn filled() -> Volume {
    let mut volume = Volume::new();
    for folder in 0..5 {
        let folder = volume.folder(ROOT, &format!("d{folder}"));
        for file in 0..20 {
            volume.file(folder, &format!("f{file}"));
        }
    }
    volume
}

fn replay(namespace: &mut Namespace, log: &[Stamped]) {
    for (stamped, sequence) in log.iter().zip(1..) {
        namespace.apply(Sequence(sequence), stamped).expect("no fault");
    }
}

#[test]
fn whenever_a_replica_writes_its_state_is_the_same() {
    let mut volume = filled();
    let database = Database::simulated();
    let mut other = open(&database);
    for (stamped, sequence) in volume.log.iter().zip(1..) {
        other.apply(Sequence(sequence), stamped).unwrap();
        if sequence % 7 == 0 {
            other.flush().unwrap();
        }
    }
    let theirs = digest::whole(other.snapshot().unwrap().as_ref()).unwrap();
    assert_eq!(volume.digest(), theirs);
    // And it tells states apart.
    volume.file(ROOT, "one more");
    assert_ne!(volume.digest(), theirs);
}

#[test]
fn a_replica_that_lost_what_was_not_persisted_catches_up_from_the_log() {
    for persisted in [0, 1, 40, 100] {
        for batches_kept in [0, 1, 3] {
            let mut volume = filled();
            let database = Database::simulated();
            let mut other = open(&database);
            for (stamped, sequence) in volume.log.iter().zip(1..) {
                other.apply(Sequence(sequence), stamped).unwrap();
                if sequence % 10 == 0 {
                    other.flush().unwrap();
                }
                if sequence == persisted {
                    other.flush().unwrap();
                    database.handle(Space::Metadata, PREFIX).persist().unwrap();
                }
            }
            database.faults().unwrap().crash(batches_kept);
            let mut other = open(&database);
            assert!(other.applied() >= Sequence(persisted));
            assert!(other.applied() < Sequence(volume.log.len() as u64));
            replay(&mut other, &volume.log);
            let theirs = digest::whole(other.snapshot().unwrap().as_ref()).unwrap();
            assert_eq!(volume.digest(), theirs);
        }
    }
}

#[test]
fn what_was_applied_is_not_applied_again() {
    let mut volume = filled();
    let before = volume.digest();
    let log = volume.log.clone();
    replay(&mut volume.namespace, &log);
    assert_eq!(volume.digest(), before);
    assert_eq!(volume.namespace.applied(), Sequence(log.len() as u64));
    volume.namespace.advance(Sequence(log.len() as u64 + 3)).unwrap();
    assert_eq!(volume.namespace.applied(), Sequence(log.len() as u64 + 3));
    volume.namespace.advance(Sequence(2)).unwrap();
    assert_eq!(volume.namespace.applied(), Sequence(log.len() as u64 + 3), "it only advances");
}

#[test]
fn a_state_is_sent_in_pieces_while_commands_go_on() {
    let mut volume = filled();
    let expected = volume.digest();
    let snapshot = volume.namespace.snapshot().unwrap();
    let database = Database::simulated();
    let kv: Arc<dyn Kv> = Arc::new(database.handle(Space::Metadata, PREFIX));
    // What was there before goes.
    let mut before = Namespace::open(Arc::clone(&kv)).unwrap();
    before.flush().unwrap();
    let receiver = transfer::Receiver::begin(Arc::clone(&kv)).unwrap();
    while receiver.clear(1).unwrap() == Remaining::Some {}
    let mut after: Option<Vec<u8>> = None;
    loop {
        let piece = transfer::piece(snapshot.as_ref(), after.as_deref(), 500).unwrap();
        assert!(piece.pairs.len() < 20);
        let last = piece.pairs.last().map(|pair| pair.key.to_vec());
        let end = piece.end;
        volume.file(ROOT, &format!("meanwhile{}", volume.number));
        receiver.load(piece).unwrap();
        if end {
            break;
        }
        assert_eq!(Namespace::open(Arc::clone(&kv)).unwrap_err(), Fault::Unfinished);
        after = last;
    }
    receiver.finish().unwrap();
    let mut copy = Namespace::open(kv).unwrap();
    let theirs = digest::whole(copy.snapshot().unwrap().as_ref()).unwrap();
    assert_eq!(expected, theirs);
    let applied = copy.applied();
    replay(&mut copy, &volume.log);
    assert!(copy.applied() > applied);
    let theirs = digest::whole(copy.snapshot().unwrap().as_ref()).unwrap();
    assert_eq!(volume.digest(), theirs);
}

#[test]
fn a_transfer_without_its_end_or_with_damage_is_not_a_state() {
    let mut volume = filled();
    let snapshot = volume.namespace.snapshot().unwrap();
    let mut piece = transfer::piece(snapshot.as_ref(), None, 1000).unwrap();
    assert!(!piece.end);
    let database = Database::simulated();
    let kv: Arc<dyn Kv> = Arc::new(database.handle(Space::Metadata, PREFIX));
    let receiver = transfer::Receiver::begin(Arc::clone(&kv)).unwrap();
    receiver.load(piece.clone()).unwrap();
    let mut value = piece.pairs[1].value.to_vec();
    value[7] ^= 1;
    piece.pairs[1].value = value.into();
    assert!(matches!(receiver.load(piece), Err(Fault::Value { .. })));
    assert_eq!(receiver.finish().unwrap_err(), Fault::Unfinished);
    assert_eq!(Namespace::open(kv).unwrap_err(), Fault::Unfinished);
}

#[test]
fn ranges_of_a_digest_meet() {
    let mut volume = filled();
    let snapshot = volume.namespace.snapshot().unwrap();
    let (mut pairs, mut after, mut ranges) = (0, None::<Vec<u8>>, 0);
    loop {
        let range = digest::range(snapshot.as_ref(), after.as_deref(), 50).unwrap();
        pairs += range.pairs;
        ranges += 1;
        match range.last {
            Some(last) => after = Some(last),
            None => break,
        }
    }
    let whole = digest::range(snapshot.as_ref(), None, u64::MAX).unwrap();
    assert_eq!(pairs, whole.pairs);
    assert_eq!(ranges, pairs.div_ceil(50));
}

#[test]
fn a_full_disk_is_a_fault_and_nothing_is_lost() {
    let mut volume = filled();
    let faults = volume.database.faults().unwrap();
    faults.fail_writes(Some(Error::NoSpace { doing: "writing a batch" }));
    let fault = volume.namespace.flush().unwrap_err();
    assert_eq!(fault, Fault::Store(Error::NoSpace { doing: "writing a batch" }));
    volume.file(ROOT, "in memory");
    faults.fail_writes(None);
    volume.namespace.flush().unwrap();
    let namespace = open(&volume.database);
    assert_eq!(namespace.applied(), Sequence(volume.log.len() as u64));
    volume.assert_sound();
}

#[test]
fn a_read_error_stops_a_command_and_changes_nothing() {
    let mut volume = filled();
    volume.namespace.flush().unwrap();
    let faults = volume.database.faults().unwrap();
    let before = volume.digest();
    faults.fail_reads(Some(Error::Io { doing: "reading a key", detail: "injected".into() }));
    let command = Some(create_command(ROOT, "x", FileKind::File));
    let session = volume.session;
    let request = Request { session, number: 4000, command, ..Request::default() };
    let sequence = Sequence(volume.log.len() as u64 + 1);
    let stamped = Stamped { time: 1, request: Some(request) };
    assert!(volume.namespace.apply(sequence, &stamped).is_err());
    faults.fail_reads(None);
    assert_eq!(volume.namespace.applied(), Sequence(volume.log.len() as u64));
    assert_eq!(volume.digest(), before);
}
