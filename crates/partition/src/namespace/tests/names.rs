//! Creating, linking, unlinking, renaming, and reading folders.

use super::*;
use types::limits;
use types::namespace::{Link, Purge, ReadLink, Rename, SetAttributes, Unlink};

fn unlink(parent: u64, name: &str) -> Command {
    let name = Bytes::copy_from_slice(name.as_bytes());
    Command::Unlink(Unlink { parent, name, folder: false })
}

fn rmdir(parent: u64, name: &str) -> Command {
    let name = Bytes::copy_from_slice(name.as_bytes());
    Command::Unlink(Unlink { parent, name, folder: true })
}

fn link(inode: u64, parent: u64, name: &str) -> Command {
    Command::Link(Link { inode, parent, name: Bytes::copy_from_slice(name.as_bytes()) })
}

fn rename(parent: u64, name: &str, new_parent: u64, new_name: &str) -> Rename {
    let bytes = |name: &str| Bytes::copy_from_slice(name.as_bytes());
    Rename { parent, name: bytes(name), new_parent, new_name: bytes(new_name), ..Rename::default() }
}

fn names(volume: &Volume, folder: u64) -> Vec<String> {
    let mut names: Vec<String> = volume
        .list(folder)
        .into_iter()
        .map(|entry| String::from_utf8(entry.name.to_vec()).unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn every_kind_can_be_made_and_found() {
    let mut volume = Volume::new();
    let kinds = [
        ("file", FileKind::File),
        ("folder", FileKind::Folder),
        ("link", FileKind::Symlink),
        ("fifo", FileKind::Fifo),
        ("socket", FileKind::Socket),
    ];
    for (name, kind) in kinds {
        let made = volume.create(ROOT, name, kind);
        assert_eq!(made.kind(), kind);
        assert_eq!((made.uid, made.gid), (1000, 1000));
        assert_eq!(volume.attributes(volume.lookup(ROOT, name).unwrap()), made);
    }
    let device = Create {
        parent: ROOT,
        name: Bytes::from("device"),
        kind: FileKind::CharDevice.into(),
        mode: 0o7666,
        umask: 0o7022,
        rdev: 0x103,
        ..Create::default()
    };
    let device = created(volume.run(Command::Create(device)).unwrap());
    assert_eq!((device.rdev, device.mode), (0x103, 0o7644), "the umask takes permissions only");
    let link = volume.lookup(ROOT, "link").unwrap();
    let target = volume.ask(QueryBody::ReadLink(ReadLink { inode: link }));
    assert_eq!(target, Ok(AnswerBody::Bytes(Bytes::from("target"))));
    assert_eq!(volume.attributes(link).mode, 0o777);
    let root = volume.attributes(ROOT);
    assert_eq!((root.nlink, root.size, root.mtime), (3, 6, device.ctime));
    assert_eq!(volume.usage().inodes, 7);
    volume.assert_sound();
}

#[test]
fn names_are_bounded_and_unique() {
    let mut volume = Volume::new();
    volume.file(ROOT, "a");
    let mut refused = |parent, name: &str, kind| volume.run(create_command(parent, name, kind));
    use FailureKind::{Exists, Invalid, NameTooLong, NotFolder, Stale};
    assert_eq!(refused(ROOT, "a", FileKind::File), Err(Exists));
    assert_eq!(refused(ROOT, "a", FileKind::Folder), Err(Exists));
    assert_eq!(refused(ROOT, "", FileKind::File), Err(Invalid));
    assert_eq!(refused(ROOT, ".", FileKind::File), Err(Invalid));
    assert_eq!(refused(ROOT, "..", FileKind::Folder), Err(Invalid));
    assert_eq!(refused(ROOT, "a/b", FileKind::File), Err(Invalid));
    assert_eq!(refused(ROOT, &"n".repeat(256), FileKind::File), Err(NameTooLong));
    assert_eq!(refused(2, "b", FileKind::File), Err(NotFolder));
    assert_eq!(refused(99, "b", FileKind::File), Err(Stale));
    volume.file(ROOT, &"n".repeat(255));
    volume.assert_sound();
}

#[test]
fn opening_what_exists_makes_nothing() {
    let mut volume = Volume::new();
    let file = volume.file(ROOT, "a");
    let Command::Create(mut create) = create_command(ROOT, "a", FileKind::File) else { panic!() };
    create.exclusive = false;
    let before = volume.attributes(ROOT);
    let Ok(OutcomeBody::Created(found)) = volume.run(Command::Create(create)) else { panic!() };
    assert!(found.existed);
    assert_eq!(found.attributes.unwrap().inode, file);
    assert_eq!(volume.attributes(ROOT), before);
}

#[test]
fn symbolic_links_have_a_target_of_bounded_length() {
    let mut volume = Volume::new();
    let mut link = |name: &str, target: Bytes| {
        let name = Bytes::copy_from_slice(name.as_bytes());
        let kind = FileKind::Symlink.into();
        volume.run(Command::Create(Create {
            parent: ROOT,
            name,
            kind,
            target,
            ..Create::default()
        }))
    };
    assert_eq!(link("a", Bytes::new()), Err(FailureKind::NotFound));
    let long = vec![b'x'; limits::SYMLINK_BYTES_MAX + 1];
    assert_eq!(link("a", long.clone().into()), Err(FailureKind::NameTooLong));
    let made = created(link("a", long[1..].to_vec().into()).unwrap());
    assert_eq!(made.size, limits::SYMLINK_BYTES_MAX as u64);
}

#[test]
fn setgid_folders_hand_on_their_group() {
    let mut volume = Volume::new();
    let folder = volume.folder(ROOT, "shared");
    let set =
        SetAttributes { inode: folder, mode: Some(0o2775), gid: Some(50), ..Default::default() };
    volume.run(Command::SetAttributes(set)).unwrap();
    let below = volume.create(folder, "below", FileKind::Folder);
    assert_eq!((below.gid, below.mode), (50, 0o2755));
    let setgid_file = |volume: &mut Volume, name: &str| {
        let Command::Create(mut create) = create_command(folder, name, FileKind::File) else {
            panic!()
        };
        create.mode = 0o2775;
        created(volume.run(Command::Create(create)).unwrap()).mode
    };
    assert_eq!(setgid_file(&mut volume, "outsider"), 0o775);
    volume.caller.groups = vec![50];
    assert_eq!(setgid_file(&mut volume, "member"), 0o2775);
    volume.assert_sound();
}

#[test]
fn an_inode_lives_as_long_as_it_has_names_and_then_as_an_orphan() {
    let mut volume = Volume::new();
    let file = volume.file(ROOT, "a");
    volume.run(link(file, ROOT, "b")).unwrap();
    assert_eq!(volume.attributes(file).nlink, 2);
    volume.run(unlink(ROOT, "a")).unwrap();
    assert!(volume.orphans().is_empty());
    let Ok(OutcomeBody::Unlinked(gone)) = volume.run(unlink(ROOT, "b")) else { panic!() };
    assert_eq!(gone.attributes.unwrap().nlink, 0);
    assert_eq!(volume.orphans(), [file]);
    assert_eq!(volume.attributes(file).nlink, 0, "still readable by its number");
    assert_eq!(volume.run(link(file, ROOT, "c")), Err(FailureKind::NotFound));
    volume.assert_sound();
    assert_eq!(volume.usage().inodes, 2);
    let purge = || Command::Purge(Purge { inodes: vec![file, ROOT, 77] });
    let Ok(OutcomeBody::Purged(purged)) = volume.run(purge()) else { panic!() };
    assert_eq!(purged.inodes, 1, "neither the root nor what does not exist");
    assert_eq!(volume.usage().inodes, 1);
    let stale = volume.ask(QueryBody::GetAttributes(GetAttributes { inode: file }));
    assert_eq!(stale, Err(FailureKind::Stale));
    assert!(volume.file(ROOT, "d") > file, "numbers are never used again");
    volume.assert_sound();
}

#[test]
fn folders_are_removed_empty_and_by_rmdir_only() {
    let mut volume = Volume::new();
    let folder = volume.folder(ROOT, "d");
    volume.file(folder, "f");
    assert_eq!(volume.run(unlink(ROOT, "d")), Err(FailureKind::IsFolder));
    assert_eq!(volume.run(rmdir(folder, "f")), Err(FailureKind::NotFolder));
    assert_eq!(volume.run(rmdir(ROOT, "d")), Err(FailureKind::NotEmpty));
    assert_eq!(volume.run(rmdir(ROOT, "none")), Err(FailureKind::NotFound));
    assert_eq!(volume.run(link(folder, ROOT, "hard")), Err(FailureKind::NotPermitted));
    volume.run(unlink(folder, "f")).unwrap();
    volume.run(rmdir(ROOT, "d")).unwrap();
    assert_eq!(volume.attributes(ROOT).nlink, 2);
    let into_removed = volume.run(create_command(folder, "x", FileKind::File));
    assert_eq!(into_removed, Err(FailureKind::NotFound));
    assert_eq!(volume.list(folder), [], "an open folder that was removed reads as empty");
    volume.assert_sound();
}

#[test]
fn links_are_bounded() {
    let mut volume = Volume::new();
    let file = volume.file(ROOT, "a");
    let mut inode = volume.namespace.state.find_inode(file).unwrap().unwrap();
    inode.nlink = limits::LINKS_MAX;
    volume.namespace.state.put_inode(&inode);
    volume.namespace.state.store.commit();
    assert_eq!(volume.run(link(file, ROOT, "b")), Err(FailureKind::TooManyLinks));
}

#[test]
fn a_rename_moves_replaces_and_refuses() {
    let mut volume = Volume::new();
    let (from, to) = (volume.folder(ROOT, "from"), volume.folder(ROOT, "to"));
    let (a, b) = (volume.file(from, "a"), volume.file(to, "b"));
    let no_replace = Rename { no_replace: true, ..rename(from, "a", to, "b") };
    assert_eq!(volume.run(Command::Rename(no_replace)), Err(FailureKind::Exists));
    let Ok(OutcomeBody::Renamed(done)) = volume.run(Command::Rename(rename(from, "a", to, "b")))
    else {
        panic!()
    };
    assert_eq!(done.replaced.unwrap().inode, b);
    assert_eq!(
        (volume.lookup(to, "b"), volume.lookup(from, "a")),
        (Ok(a), Err(FailureKind::NotFound))
    );
    assert_eq!(volume.orphans(), [b]);
    let missing = volume.run(Command::Rename(rename(from, "a", to, "c")));
    assert_eq!(missing, Err(FailureKind::NotFound));
    volume.run(Command::Rename(rename(to, "b", to, "c"))).unwrap();
    assert_eq!(names(&volume, to), ["c"]);
    // Onto another name of the same inode: nothing happens, both names stay.
    volume.run(link(a, from, "other")).unwrap();
    volume.run(Command::Rename(rename(to, "c", from, "other"))).unwrap();
    assert_eq!(
        (names(&volume, to), names(&volume, from)),
        (vec!["c".into()], vec!["other".into()])
    );
    volume.assert_sound();
}

#[test]
fn a_folder_never_moves_below_itself() {
    let mut volume = Volume::new();
    let a = volume.folder(ROOT, "a");
    let b = volume.folder(a, "b");
    let c = volume.folder(b, "c");
    volume.folder(ROOT, "x");
    assert_eq!(volume.run(Command::Rename(rename(ROOT, "a", c, "a"))), Err(FailureKind::Invalid));
    assert_eq!(volume.run(Command::Rename(rename(ROOT, "a", a, "a"))), Err(FailureKind::Invalid));
    let exchange = Rename { exchange: true, ..rename(b, "c", ROOT, "a") };
    assert_eq!(volume.run(Command::Rename(exchange)), Err(FailureKind::Invalid));
    assert_eq!(volume.run(Command::Rename(rename(b, "c", ROOT, "a"))), Err(FailureKind::NotEmpty));
    volume.run(Command::Rename(rename(a, "b", ROOT, "x"))).unwrap();
    assert_eq!(volume.attributes(b).parent, ROOT);
    assert_eq!((volume.attributes(ROOT).nlink, volume.attributes(a).nlink), (4, 2));
    volume.assert_sound();
}

#[test]
fn kinds_must_fit_when_a_name_is_replaced() {
    let mut volume = Volume::new();
    volume.folder(ROOT, "d");
    volume.file(ROOT, "f");
    let (over_folder, over_file) = (rename(ROOT, "f", ROOT, "d"), rename(ROOT, "d", ROOT, "f"));
    assert_eq!(volume.run(Command::Rename(over_folder)), Err(FailureKind::IsFolder));
    assert_eq!(volume.run(Command::Rename(over_file)), Err(FailureKind::NotFolder));
}

#[test]
fn an_exchange_swaps_a_file_and_a_folder_across_folders() {
    let mut volume = Volume::new();
    let (p, q) = (volume.folder(ROOT, "p"), volume.folder(ROOT, "q"));
    let (file, folder) = (volume.file(p, "x"), volume.folder(q, "y"));
    volume.file(folder, "inside");
    let exchange = Rename { exchange: true, ..rename(p, "x", q, "y") };
    volume.run(Command::Rename(exchange)).unwrap();
    assert_eq!((volume.lookup(p, "x"), volume.lookup(q, "y")), (Ok(folder), Ok(file)));
    assert_eq!(volume.attributes(folder).parent, p);
    assert_eq!((volume.attributes(p).nlink, volume.attributes(q).nlink), (3, 2));
    let nothing = Rename { exchange: true, ..rename(p, "x", q, "none") };
    assert_eq!(volume.run(Command::Rename(nothing)), Err(FailureKind::NotFound));
    let both = Rename { exchange: true, no_replace: true, ..rename(p, "x", q, "y") };
    assert_eq!(volume.run(Command::Rename(both)), Err(FailureKind::Invalid));
    volume.assert_sound();
}

#[test]
fn cookies_stay_good_while_names_come_and_go() {
    let mut volume = Volume::new();
    let folder = volume.folder(ROOT, "d");
    for number in 0..50 {
        volume.file(folder, &format!("stays{number}"));
        volume.file(folder, &format!("goes{number}"));
    }
    let mut seen = Vec::new();
    let mut after = 0;
    for round in 0.. {
        let page = volume.page(folder, after, 7);
        seen.extend(page.entries.iter().map(|entry| entry.name.clone()));
        after = page.entries.last().map_or(after, |entry| entry.cookie);
        if page.end {
            break;
        }
        let _ = volume.run(unlink(folder, &format!("goes{}", round % 50)));
        volume.file(folder, &format!("comes{round}"));
    }
    let unique: std::collections::BTreeSet<_> = seen.iter().collect();
    assert_eq!(unique.len(), seen.len(), "no name twice");
    for number in 0..50 {
        assert!(seen.contains(&Bytes::from(format!("stays{number}"))), "stays{number}");
    }
    volume.assert_sound();
}

#[test]
fn the_number_of_inodes_is_bounded_when_the_volume_says_so() {
    let mut volume = Volume::new();
    let set = types::namespace::SetCapacity { bytes: 1 << 30, inodes: 2 };
    assert!(volume.send(0, 0, 0, Command::SetCapacity(set)).failure().is_none());
    volume.file(ROOT, "a");
    assert_eq!(volume.run(create_command(ROOT, "b", FileKind::File)), Err(FailureKind::NoSpace));
}
