//! Attributes, commits, chunks, accounting, extended attributes.

use super::*;
use types::limits;
use types::namespace::{
    AllocateChunks, ChunkMap, Commit, CommitItem, DropChunks, GetXattr, ListXattr, Placement,
    Purge, RemoveXattr, Reserve, SetAttributes, SetCapacity, SetXattr, TimeChange, Unlink,
    Unreserve, XattrMode,
};

fn set(inode: u64) -> SetAttributes {
    SetAttributes { inode, ..SetAttributes::default() }
}

fn commit(item: CommitItem) -> Command {
    Command::Commit(Commit { items: vec![item] })
}

#[test]
fn only_what_is_given_changes_and_each_change_is_a_new_version() {
    let mut volume = Volume::new();
    let before = volume.create(ROOT, "f", FileKind::File);
    let chmod = SetAttributes { mode: Some(0o4711), ..set(before.inode) };
    let after = changed(volume.run(Command::SetAttributes(chmod)).unwrap());
    assert_eq!(after.mode, 0o4711);
    assert!(after.ctime > before.ctime && after.version > before.version);
    assert_eq!((after.mtime, after.atime, after.uid), (before.mtime, before.atime, before.uid));
    let chown = SetAttributes { uid: Some(5), ..set(before.inode) };
    let after = changed(volume.run(Command::SetAttributes(chown)).unwrap());
    assert_eq!((after.uid, after.mode), (5, 0o711), "a change of owner takes suid away");
    let times = SetAttributes {
        atime: Some(TimeChange::at(types::Timestamp(-7))),
        mtime: Some(TimeChange::now()),
        ..set(before.inode)
    };
    let after = changed(volume.run(Command::SetAttributes(times)).unwrap());
    assert_eq!((after.atime, after.mtime), (-7, after.ctime));
}

#[test]
fn a_smaller_size_gives_space_back_and_a_larger_one_takes_none() {
    let mut volume = Volume::new();
    let file = volume.file(ROOT, "f");
    let written =
        CommitItem { size_at_least: Some(10_000), allocated_delta: 12_288, ..Default::default() };
    volume.run(commit(CommitItem { inode: file, ..written })).unwrap();
    assert_eq!(volume.usage().used, 12_288);
    let shrink = SetAttributes { size: Some(1), ..set(file) };
    let after = changed(volume.run(Command::SetAttributes(shrink)).unwrap());
    assert_eq!((after.size, after.allocated, volume.usage().used), (1, 4096, 4096));
    let grow = SetAttributes { size: Some(1 << 50), ..set(file) };
    volume.run(Command::SetAttributes(grow)).unwrap();
    assert_eq!(volume.usage().used, 4096);
    let folder = volume.folder(ROOT, "d");
    let size =
        |inode, size| Command::SetAttributes(SetAttributes { size: Some(size), ..set(inode) });
    assert_eq!(volume.run(size(folder, 0)), Err(FailureKind::IsFolder));
    assert_eq!(volume.run(size(file, u64::MAX)), Err(FailureKind::FileTooLarge));
    volume.assert_sound();
}

#[test]
fn one_commit_carries_many_files_and_refuses_each_by_itself() {
    let mut volume = Volume::new();
    let (a, folder) = (volume.file(ROOT, "a"), volume.folder(ROOT, "d"));
    let item = |inode| CommitItem {
        inode,
        size_at_least: Some(5),
        allocated_delta: 4096,
        ..Default::default()
    };
    let items = vec![item(a), item(folder), item(99)];
    let Ok(OutcomeBody::Committed(done)) = volume.run(Command::Commit(Commit { items })) else {
        panic!()
    };
    let kinds: Vec<_> =
        done.items.iter().map(|item| item.failure.as_ref().map(|f| f.kind())).collect();
    assert_eq!(kinds, [None, Some(FailureKind::Invalid), Some(FailureKind::Stale)]);
    assert_eq!(volume.usage().used, 4096);
    let shorter = CommitItem {
        inode: a,
        size_at_least: Some(3),
        allocated_exact: Some(8192),
        ..Default::default()
    };
    volume.run(commit(shorter)).unwrap();
    assert_eq!((volume.attributes(a).size, volume.usage().used), (5, 8192));
    let many = vec![item(a); limits::ITEMS_PER_COMMAND_MAX + 1];
    let refused = volume.run(Command::Commit(Commit { items: many }));
    assert_eq!(refused, Err(FailureKind::LimitReached));
    volume.assert_sound();
}

#[test]
fn a_write_takes_suid_away_and_keeps_times_when_told() {
    let mut volume = Volume::new();
    let file = volume.file(ROOT, "a");
    let chmod = SetAttributes { mode: Some(0o6755), ..set(file) };
    let before = changed(volume.run(Command::SetAttributes(chmod)).unwrap());
    let quiet =
        CommitItem { inode: file, keep_times: true, clear_setid: true, ..Default::default() };
    volume.run(commit(quiet)).unwrap();
    let after = volume.attributes(file);
    assert_eq!((after.mode, after.mtime, after.ctime), (0o755, before.mtime, before.ctime));
    assert!(after.version > before.version);
}

#[test]
fn space_is_granted_up_to_the_capacity_and_comes_back() {
    let mut volume = Volume::new();
    let capacity = SetCapacity { bytes: 10_000, inodes: 0 };
    assert!(volume.send(0, 0, 0, Command::SetCapacity(capacity)).failure().is_none());
    let reserve = |bytes| Command::Reserve(Reserve { bytes });
    volume.run(reserve(8_000)).unwrap();
    assert_eq!(volume.run(reserve(2_001)), Err(FailureKind::NoSpace));
    let file = volume.file(ROOT, "a");
    let written = CommitItem {
        inode: file,
        allocated_delta: 4_096,
        reservation_used: 4_096,
        ..Default::default()
    };
    volume.run(commit(written)).unwrap();
    assert_eq!((volume.usage().used, volume.usage().reserved), (4_096, 3_904));
    let Ok(OutcomeBody::Reserved(left)) =
        volume.run(Command::Unreserve(Unreserve { bytes: u64::MAX }))
    else {
        panic!()
    };
    assert_eq!((left.bytes, left.available), (0, 5_904));
    volume.assert_sound();
    let name = Bytes::from("a");
    volume.run(Command::Unlink(Unlink { parent: ROOT, name, folder: false })).unwrap();
    assert_eq!(volume.run(reserve(6_000)), Err(FailureKind::NoSpace), "an orphan takes space");
    volume.run(Command::Purge(Purge { inodes: vec![file] })).unwrap();
    volume.run(reserve(10_000)).unwrap();
    volume.assert_sound();
}

#[test]
fn the_first_placement_of_a_chunk_wins() {
    let mut volume = Volume::new();
    let file = volume.file(ROOT, "a");
    let place = |chunk, partition| Placement { chunk, partition };
    let allocate = |wanted| Command::AllocateChunks(AllocateChunks { inode: file, wanted });
    volume.run(allocate(vec![place(0, 7), place(5, 8)])).unwrap();
    let Ok(OutcomeBody::Placed(placed)) =
        volume.run(allocate(vec![place(5, 9), place(1, 9), place(0, 9)]))
    else {
        panic!()
    };
    assert_eq!(placed.placements, [place(5, 8), place(1, 9), place(0, 7)]);
    let map = |first, placements_max| {
        move |volume: &Volume| match volume.ask(QueryBody::ChunkMap(ChunkMap {
            inode: file,
            first,
            placements_max,
        })) {
            Ok(AnswerBody::Chunks(page)) => (page.placements, page.end),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(map(0, 9)(&volume), (vec![place(0, 7), place(1, 9), place(5, 8)], true));
    assert_eq!(map(0, 2)(&volume), (vec![place(0, 7), place(1, 9)], false));
    assert_eq!(map(2, 2)(&volume), (vec![place(5, 8)], true));
    assert_eq!(volume.run(allocate(vec![place(1 << 40, 7)])), Err(FailureKind::FileTooLarge));
    assert_eq!(volume.run(allocate(vec![place(2, 0)])), Err(FailureKind::Invalid));
    let drop = |first| Command::DropChunks(DropChunks { inode: file, first, allocated_delta: 0 });
    volume.run(drop(2)).unwrap();
    assert_eq!(map(0, 9)(&volume).0, [place(0, 7), place(1, 9)]);
    volume.assert_sound();
    volume.run(drop(0)).unwrap();
    assert_eq!(map(0, 9)(&volume).0, []);
    volume.assert_sound();
}

#[test]
fn an_orphan_with_many_chunks_is_purged_in_steps() {
    let mut volume = Volume::new();
    let file = volume.file(ROOT, "a");
    let chunks = limits::PURGE_KEYS_MAX as u64 + 100;
    let wanted: Vec<Placement> =
        (1..=chunks).map(|chunk| Placement { chunk, partition: 3 }).collect();
    for some in wanted.chunks(limits::ITEMS_PER_COMMAND_MAX) {
        let allocate = AllocateChunks { inode: file, wanted: some.to_vec() };
        volume.run(Command::AllocateChunks(allocate)).unwrap();
    }
    let name = Bytes::from("a");
    volume.run(Command::Unlink(Unlink { parent: ROOT, name, folder: false })).unwrap();
    let purge = || Command::Purge(Purge { inodes: vec![file] });
    let Ok(OutcomeBody::Purged(first)) = volume.run(purge()) else { panic!() };
    assert_eq!((first.inodes, volume.orphans()), (0, vec![file]));
    volume.assert_sound();
    let Ok(OutcomeBody::Purged(second)) = volume.run(purge()) else { panic!() };
    assert_eq!((second.inodes, volume.orphans()), (1, vec![]));
    volume.assert_sound();
}

fn set_xattr(inode: u64, name: &str, value: &[u8], mode: XattrMode) -> Command {
    let (name, value) = (Bytes::copy_from_slice(name.as_bytes()), Bytes::copy_from_slice(value));
    Command::SetXattr(SetXattr { inode, name, value, mode: mode.into(), clear_setgid: false })
}

#[test]
fn extended_attributes_are_set_replaced_listed_and_removed() {
    let mut volume = Volume::new();
    let file = volume.file(ROOT, "a");
    use XattrMode::{Any, Create, Replace};
    let replace = set_xattr(file, "user.a", b"1", Replace);
    assert_eq!(volume.run(replace), Err(FailureKind::NoAttribute));
    volume.run(set_xattr(file, "user.b", b"1", Create)).unwrap();
    assert_eq!(volume.run(set_xattr(file, "user.b", b"2", Create)), Err(FailureKind::Exists));
    volume.run(set_xattr(file, "user.b", b"", Replace)).unwrap();
    volume.run(set_xattr(file, "user.a", b"value", Any)).unwrap();
    let get =
        |name: &'static str| QueryBody::GetXattr(GetXattr { inode: file, name: Bytes::from(name) });
    assert_eq!(volume.ask(get("user.a")), Ok(AnswerBody::Bytes(Bytes::from("value"))));
    assert_eq!(volume.ask(get("user.b")), Ok(AnswerBody::Bytes(Bytes::new())));
    assert_eq!(volume.ask(get("user.c")), Err(FailureKind::NoAttribute));
    let Ok(AnswerBody::Xattrs(list)) = volume.ask(QueryBody::ListXattr(ListXattr { inode: file }))
    else {
        panic!()
    };
    assert_eq!(list.names, ["user.a", "user.b"]);
    volume.assert_sound();
    let remove = |name: &'static str| {
        Command::RemoveXattr(RemoveXattr { inode: file, name: Bytes::from(name) })
    };
    volume.run(remove("user.a")).unwrap();
    assert_eq!(volume.run(remove("user.a")), Err(FailureKind::NoAttribute));
    assert_eq!(volume.attributes(file).xattrs, 1);
    volume.assert_sound();
}

#[test]
fn extended_attributes_are_bounded() {
    let mut volume = Volume::new();
    let file = volume.file(ROOT, "a");
    let mut any = |name: &str, bytes: usize| {
        volume.run(set_xattr(file, name, &vec![7; bytes], XattrMode::Any))
    };
    assert_eq!(any(&"n".repeat(256), 0), Err(FailureKind::AttributeNameTooLong));
    assert_eq!(any("", 0), Err(FailureKind::Invalid));
    assert_eq!(
        any("user.a", limits::XATTR_VALUE_BYTES_MAX + 1),
        Err(FailureKind::AttributeTooLarge)
    );
    any("user.a", limits::XATTR_VALUE_BYTES_MAX).unwrap();
    for number in 1..limits::XATTRS_PER_INODE_MAX {
        any(&format!("user.{number}"), 1).unwrap();
    }
    assert_eq!(any("user.more", 1), Err(FailureKind::NoSpace));
    any("user.a", 1).unwrap();
    volume.assert_sound();
}
