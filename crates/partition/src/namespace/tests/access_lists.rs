//! Access control lists go with modes, as on Linux.

use super::super::acl::{ACCESS, DEFAULT};
use super::*;
use types::namespace::{GetXattr, RemoveXattr, SetAttributes, SetXattr};

/// A list from (tag, permissions, id).
fn list(lines: &[(u16, u16, u32)]) -> Bytes {
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in lines {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&permissions.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    value.into()
}

const NOBODY: u32 = u32::MAX;

fn named(user: u16, named: u16, group: u16, mask: u16, other: u16) -> Bytes {
    list(&[
        (1, user, NOBODY),
        (2, named, 42),
        (4, group, NOBODY),
        (0x10, mask, NOBODY),
        (0x20, other, NOBODY),
    ])
}

fn set(inode: u64, name: &'static [u8], value: Bytes) -> Command {
    let name = Bytes::from_static(name);
    Command::SetXattr(SetXattr { inode, name, value, ..SetXattr::default() })
}

fn get(volume: &Volume, inode: u64, name: &'static [u8]) -> Result<Bytes, FailureKind> {
    let name = Bytes::from_static(name);
    match volume.ask(QueryBody::GetXattr(GetXattr { inode, name }))? {
        AnswerBody::Bytes(value) => Ok(value),
        other => panic!("{other:?}"),
    }
}

#[test]
fn setting_a_list_sets_the_mode_and_chmod_sets_the_mask() {
    let mut volume = Volume::new();
    let file = volume.file(ROOT, "f");
    let after = changed(volume.run(set(file, ACCESS, named(6, 7, 4, 5, 0))).unwrap());
    assert_eq!(after.mode, 0o650);
    let chmod = SetAttributes { inode: file, mode: Some(0o731), ..Default::default() };
    volume.run(Command::SetAttributes(chmod)).unwrap();
    assert_eq!(get(&volume, file, ACCESS), Ok(named(7, 7, 4, 3, 1)));
    volume.assert_sound();
}

#[test]
fn a_list_that_says_no_more_than_a_mode_is_kept_as_the_mode() {
    let mut volume = Volume::new();
    let file = volume.file(ROOT, "f");
    volume.run(set(file, ACCESS, named(6, 7, 4, 5, 0))).unwrap();
    let plain = list(&[(1, 7, NOBODY), (4, 1, NOBODY), (0x20, 2, NOBODY)]);
    let after = changed(volume.run(set(file, ACCESS, plain)).unwrap());
    assert_eq!((after.mode, after.xattrs), (0o712, 0));
    assert_eq!(get(&volume, file, ACCESS), Err(FailureKind::NoAttribute));
    volume.assert_sound();
}

#[test]
fn a_default_list_is_inherited_in_place_of_the_umask() {
    let mut volume = Volume::new();
    let folder = volume.folder(ROOT, "d");
    volume.run(set(folder, DEFAULT, named(7, 7, 5, 7, 0))).unwrap();
    let make = |volume: &mut Volume, name: &str, kind: FileKind, mode: u32| {
        let Command::Create(mut create) = create_command(folder, name, kind) else { panic!() };
        (create.mode, create.umask) = (mode, 0o077);
        created(volume.run(Command::Create(create)).unwrap())
    };
    let file = make(&mut volume, "f", FileKind::File, 0o666);
    assert_eq!((file.mode, file.xattrs), (0o660, 1));
    assert_eq!(get(&volume, file.inode, ACCESS), Ok(named(6, 7, 5, 6, 0)));
    let below = make(&mut volume, "below", FileKind::Folder, 0o777);
    assert_eq!((below.mode, below.xattrs), (0o770, 2));
    assert_eq!(get(&volume, below.inode, DEFAULT), Ok(named(7, 7, 5, 7, 0)));
    let link = make(&mut volume, "l", FileKind::Symlink, 0o777);
    assert_eq!((link.mode, link.xattrs), (0o777, 0));
    volume.assert_sound();
}

#[test]
fn a_removed_default_list_is_inherited_no_more() {
    let mut volume = Volume::new();
    let folder = volume.folder(ROOT, "d");
    volume.run(set(folder, DEFAULT, named(7, 7, 5, 7, 0))).unwrap();
    let remove = RemoveXattr { inode: folder, name: Bytes::from_static(DEFAULT) };
    volume.run(Command::RemoveXattr(remove)).unwrap();
    assert_eq!(volume.create(folder, "f", FileKind::File).xattrs, 0);
    volume.assert_sound();
}

#[test]
fn lists_are_refused_where_they_make_no_sense() {
    let mut volume = Volume::new();
    let file = volume.file(ROOT, "f");
    let link = volume.create(ROOT, "l", FileKind::Symlink).inode;
    let good = || named(7, 7, 5, 7, 0);
    assert_eq!(volume.run(set(file, DEFAULT, good())), Err(FailureKind::NotPermitted));
    assert_eq!(volume.run(set(link, ACCESS, good())), Err(FailureKind::NotSupported));
    let broken = list(&[(1, 7, NOBODY)]);
    assert_eq!(volume.run(set(file, ACCESS, broken)), Err(FailureKind::Invalid));
    assert_eq!(volume.attributes(file).mode, 0o755);
    volume.assert_sound();
}
