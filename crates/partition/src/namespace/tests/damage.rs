//! The checker finds what is planted, and damaged values are never taken for good.

use super::super::key::{self, Holding};
use super::super::{Fault, check};
use super::*;
use crate::kv::{Batch, Key, Kv, Read};
use std::ops::ControlFlow;
use types::namespace::{
    AllocateChunks, Delegate, Lock, LockMode, Placement, SetLock, SetXattr, Unlink,
};

/// A volume that has a value of every kind.
fn full() -> Volume {
    let mut volume = Volume::new();
    let folder = volume.folder(ROOT, "d");
    let file = volume.file(folder, "f");
    volume.file(folder, "gone");
    let name = Bytes::from("gone");
    volume.run(Command::Unlink(Unlink { parent: folder, name, folder: false })).unwrap();
    volume.run(Command::Delegate(Delegate { inode: file })).unwrap();
    let lock = Lock { mode: LockMode::Shared.into(), end: 9, ..Lock::default() };
    volume.run(Command::SetLock(SetLock { inode: file, lock: Some(lock) })).unwrap();
    let (name, value) = (Bytes::from("user.a"), Bytes::from("value"));
    volume
        .run(Command::SetXattr(SetXattr { inode: file, name, value, ..SetXattr::default() }))
        .unwrap();
    let wanted = vec![Placement { chunk: 3, partition: 9 }];
    volume.run(Command::AllocateChunks(AllocateChunks { inode: file, wanted })).unwrap();
    volume.assert_sound();
    volume
}

#[test]
fn any_damaged_value_is_found_and_named() {
    let mut volume = full();
    volume.namespace.flush().unwrap();
    let faults = volume.database.faults().unwrap();
    let keys = faults.keys(Space::Metadata);
    let kinds: std::collections::BTreeSet<u8> = keys.iter().map(|key| key[PREFIX.len()]).collect();
    assert_eq!(kinds, b"CEHILORSTX".iter().copied().collect(), "a value of every kind");
    for key in keys {
        faults.alter(Space::Metadata, &key, |value| *value.last_mut().unwrap() ^= 0x10);
        let read = volume.database.handle(Space::Metadata, PREFIX);
        let found = check::findings(&read, 100).unwrap();
        let damaged = |finding: &Finding| matches!(finding, Finding::Damaged { .. });
        assert_eq!(
            found.iter().filter(|finding| damaged(finding)).count(),
            1,
            "{key:?}: {found:?}"
        );
        for finding in found {
            assert!(!finding.to_string().is_empty());
        }
        faults.alter(Space::Metadata, &key, |value| *value.last_mut().unwrap() ^= 0x10);
    }
    volume.assert_sound();
}

#[test]
fn a_damaged_inode_is_a_fault_and_never_an_answer() {
    let mut volume = full();
    volume.namespace.flush().unwrap();
    let file = volume.lookup(volume.lookup(ROOT, "d").unwrap(), "f").unwrap();
    let whole: Vec<u8> = [PREFIX, &key::inode(file)].concat();
    let faults = volume.database.faults().unwrap();
    faults.alter(Space::Metadata, &whole, |value| value[20] ^= 1);
    let query = QueryBody::GetAttributes(GetAttributes { inode: file }).into();
    assert!(matches!(volume.namespace.query(&query), Err(Fault::Value { .. })));
    faults.damage(Space::Metadata, &whole);
    assert!(matches!(volume.namespace.query(&query), Err(Fault::Store(_))));
}

/// Plants a contradiction by changing the state behind the namespace's back.
fn plant(change: impl FnOnce(&mut Volume)) -> Vec<Finding> {
    let mut volume = full();
    change(&mut volume);
    volume.namespace.state.store.commit();
    volume.findings()
}

fn file_of(volume: &Volume) -> u64 {
    volume.lookup(volume.lookup(ROOT, "d").unwrap(), "f").unwrap()
}

fn remove(volume: &mut Volume, key: Key) {
    volume.namespace.state.store.remove(key);
}

#[test]
fn planted_contradictions_of_names_are_found() {
    let found = plant(|volume| {
        let mut inode = volume.namespace.state.find_inode(file_of(volume)).unwrap().unwrap();
        inode.nlink = 2;
        volume.namespace.state.put_inode(&inode);
    });
    assert!(matches!(found[..], [Finding::Links { stored: 2, counted: 1, .. }]), "{found:?}");
    let found = plant(|volume| {
        let id = file_of(volume);
        remove(volume, key::inode(id));
    });
    assert!(found.iter().any(|f| matches!(f, Finding::DanglingName { .. })), "{found:?}");
    assert!(found.iter().any(|f| matches!(f, Finding::Stray { what: "a chunk", .. })), "{found:?}");
    assert!(found.iter().any(|f| matches!(f, Finding::Total { what: "inodes", .. })), "{found:?}");
    let found = plant(|volume| {
        let folder = volume.lookup(ROOT, "d").unwrap();
        let mut inode = volume.namespace.state.find_inode(folder).unwrap().unwrap();
        inode.parent = folder;
        inode.size = 7;
        volume.namespace.state.put_inode(&inode);
    });
    assert!(found.iter().any(|f| matches!(f, Finding::Parent { .. })), "{found:?}");
    assert!(found.iter().any(|f| matches!(f, Finding::Unreachable { .. })), "{found:?}");
    assert!(found.iter().any(|f| matches!(f, Finding::FolderSize { stored: 7, .. })), "{found:?}");
    let found = plant(|volume| {
        let mut place = volume.namespace.state.place(ROOT, b"d").unwrap();
        place.remove(b"d").unwrap();
        volume.namespace.state.put_place(place);
        let mut root = volume.namespace.state.find_inode(ROOT).unwrap().unwrap();
        (root.size, root.nlink) = (0, 2);
        volume.namespace.state.put_inode(&root);
    });
    assert!(matches!(found[..], [Finding::FolderNames { counted: 0, .. }]), "{found:?}");
}

#[test]
fn planted_contradictions_of_holdings_and_totals_are_found() {
    let found = plant(|volume| volume.namespace.state.totals.used += 1);
    assert!(matches!(found[..], [Finding::Total { what: "used", stored: 1, counted: 0 }]));
    let found = plant(|volume| {
        let (id, session) = (file_of(volume), volume.session);
        remove(volume, key::holding(session, Holding::Delegation, id));
    });
    assert!(matches!(found[..], [Finding::Holding { what: "delegation", .. }]), "{found:?}");
    let found = plant(|volume| {
        let id = file_of(volume);
        remove(volume, key::one(key::LOCKS, id));
    });
    assert!(matches!(found[..], [Finding::Holding { what: "locks", .. }]), "{found:?}");
    let found = plant(|volume| {
        let session = volume.session;
        remove(volume, key::one(key::SESSION, session));
    });
    assert!(found.iter().any(|f| matches!(f, Finding::StraySession { .. })), "{found:?}");
    let found = plant(|volume| {
        let orphan = volume.orphans()[0];
        remove(volume, key::one(key::ORPHAN, orphan));
    });
    assert!(
        matches!(found[..], [Finding::OrphanList { listed: false, nlink: 0, .. }]),
        "{found:?}"
    );
    let found = plant(|volume| {
        let id = file_of(volume);
        remove(volume, key::xattr(id, b"user.a"));
    });
    assert!(matches!(found[..], [Finding::Xattrs { stored: 1, counted: 0, .. }]), "{found:?}");
    let found = plant(|volume| volume.namespace.state.store.put(b"Zwhat".into(), Bytes::new()));
    assert!(matches!(found[..], [Finding::UnknownKey { .. }]), "{found:?}");
}

#[test]
fn a_check_stops_when_its_reader_has_enough() {
    let mut volume = full();
    volume.namespace.state.totals.used += 1;
    volume.namespace.state.totals.orphans += 1;
    let snapshot = volume.namespace.snapshot().unwrap();
    let mut found = 0;
    check::check(snapshot.as_ref(), &mut |_| {
        found += 1;
        ControlFlow::Break(())
    })
    .unwrap();
    assert_eq!(found, 1);
}

#[test]
fn an_empty_store_is_no_state_to_a_checker() {
    let database = Database::simulated();
    let kv = database.handle(Space::Metadata, PREFIX);
    let found = check::findings(&kv, 10).unwrap();
    assert_eq!(found, [Finding::Missing { what: "totals" }, Finding::Missing { what: "the root" }]);
    let mut batch = Batch::default();
    batch.put(&b"T"[..], &b"nonsense"[..]);
    kv.write(batch).unwrap();
    assert!(kv.get(b"T").unwrap().is_some());
    assert!(matches!(Namespace::open(Arc::new(kv)), Err(Fault::Value { .. })));
}
