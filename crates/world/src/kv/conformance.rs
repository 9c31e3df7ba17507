//! What every `Kv` must do; both implementations run all of it.

use super::{Budget, Database, Kv, Space};
use crate::disk::sim::SimDisk;
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use types::kv::{Batch, Error, Kv as _, Read, Remaining, scan_prefix};

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn all(read: &(impl Read + ?Sized)) -> Pairs {
    range(read, b"", None)
}

fn range(read: &(impl Read + ?Sized), from: &[u8], until: Option<&[u8]>) -> Pairs {
    let mut pairs = Pairs::new();
    read.scan(from, until, &mut |key, value| {
        pairs.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })
    .expect("a scan");
    pairs
}

fn put(kv: &Kv, pairs: &[(&[u8], &[u8])]) {
    let mut batch = Batch::default();
    for (key, value) in pairs {
        batch.put(key.to_vec(), value.to_vec());
    }
    kv.write(batch).expect("a write");
}

fn pairs(pairs: &[(&[u8], &[u8])]) -> Pairs {
    pairs.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

/// Runs `test` on an empty database of each kind.
fn on_each(test: impl Fn(&Database)) {
    test(&Database::simulated());
    let folder = tempfile::tempdir().expect("a folder");
    test(&Database::open(folder.path(), Budget::default()).expect("a database"));
}

#[test]
fn a_value_is_read_back_until_it_is_removed() {
    on_each(|database| {
        let kv = database.handle(Space::Metadata, &b"p1"[..]);
        put(&kv, &[(b"a", b"1"), (b"b", b"")]);
        assert_eq!(kv.get(b"a").unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(kv.get(b"b").unwrap().as_deref(), Some(&b""[..]));
        assert_eq!(kv.get(b"c").unwrap(), None);
        let mut batch = Batch::default();
        batch.remove(&b"a"[..]);
        batch.remove(&b"never there"[..]);
        kv.write(batch).unwrap();
        assert_eq!(all(&kv), pairs(&[(b"b", b"")]));
    });
}

#[test]
fn the_last_change_of_a_key_in_a_batch_wins() {
    on_each(|database| {
        let kv = database.handle(Space::Metadata, &b"p1"[..]);
        let mut batch = Batch::default();
        batch.put(&b"a"[..], &b"1"[..]);
        batch.put(&b"a"[..], &b"2"[..]);
        batch.put(&b"b"[..], &b"1"[..]);
        batch.remove(&b"b"[..]);
        batch.remove(&b"c"[..]);
        batch.put(&b"c"[..], &b"3"[..]);
        kv.write(batch).unwrap();
        assert_eq!(all(&kv), pairs(&[(b"a", b"2"), (b"c", b"3")]));
    });
}

#[test]
fn scans_are_ordered_bounded_and_may_stop() {
    on_each(|database| {
        let kv = database.handle(Space::Metadata, &b"p1"[..]);
        put(&kv, &[(b"b1", b""), (b"a", b""), (b"c", b""), (b"b2", b""), (b"\xff\xff", b"")]);
        let keys = |pairs: Pairs| pairs.into_iter().map(|pair| pair.0).collect::<Vec<_>>();
        assert_eq!(keys(range(&kv, b"b1", Some(b"c"))), [b"b1", b"b2"]);
        assert_eq!(keys(range(&kv, b"c", None)), [b"c".to_vec(), b"\xff\xff".to_vec()]);
        assert!(range(&kv, b"c", Some(b"b")).is_empty());
        let mut seen = Vec::new();
        scan_prefix(&kv, b"b", &mut |key, _| {
            seen.push(key.to_vec());
            ControlFlow::Break(())
        })
        .unwrap();
        assert_eq!(seen, [b"b1"]);
    });
}

#[test]
fn handles_see_their_own_keys_only() {
    on_each(|database| {
        let one = database.handle(Space::Metadata, &b"p1"[..]);
        let last = database.handle(Space::Metadata, &b"\xff\xff"[..]);
        let other_space = database.handle(Space::Index, &b"p1"[..]);
        put(&one, &[(b"a", b"one")]);
        put(&last, &[(b"a", b"last"), (b"\xff", b"edge")]);
        put(&other_space, &[(b"a", b"index")]);
        assert_eq!(all(&one), pairs(&[(b"a", b"one")]));
        assert_eq!(all(&last), pairs(&[(b"a", b"last"), (b"\xff", b"edge")]));
        assert_eq!(all(&other_space), pairs(&[(b"a", b"index")]));
    });
}

#[test]
fn a_snapshot_keeps_showing_its_moment() {
    on_each(|database| {
        let kv = database.handle(Space::Metadata, &b"p1"[..]);
        put(&kv, &[(b"a", b"1"), (b"b", b"1")]);
        let snapshot = kv.snapshot();
        put(&kv, &[(b"a", b"2"), (b"c", b"2")]);
        let mut batch = Batch::default();
        batch.remove(&b"b"[..]);
        kv.write(batch).unwrap();
        assert_eq!(all(snapshot.as_ref()), pairs(&[(b"a", b"1"), (b"b", b"1")]));
        assert_eq!(snapshot.get(b"b").unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(all(&kv), pairs(&[(b"a", b"2"), (b"c", b"2")]));
    });
}

#[test]
fn a_prefix_is_removed_in_steps_and_nothing_else_is() {
    on_each(|database| {
        let kv = database.handle(Space::Metadata, &b"p1"[..]);
        put(&kv, &[(b"a", b""), (b"b1", b""), (b"b2", b""), (b"b3", b""), (b"c", b"")]);
        assert_eq!(kv.remove_prefix(b"b", 2).unwrap(), Remaining::Some);
        assert_eq!(kv.remove_prefix(b"b", 2).unwrap(), Remaining::None);
        assert_eq!(all(&kv), pairs(&[(b"a", b""), (b"c", b"")]));
    });
}

#[test]
fn large_values_come_back_whole() {
    on_each(|database| {
        let kv = database.handle(Space::Index, &b"p1"[..]);
        let large: Vec<u8> = (0..400_000_u32).map(|i| (i % 251) as u8).collect();
        for round in 0..4_u8 {
            let mut value = large.clone();
            value[0] = round;
            let mut batch = Batch::default();
            batch.put(vec![1, 2, 3], value.clone());
            kv.write(batch).unwrap();
            assert_eq!(kv.get(&[1, 2, 3]).unwrap().as_deref(), Some(value.as_slice()));
        }
        assert!(kv.approximate_bytes() > 0);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    /// Random batches leave what an ordered map would hold.
    #[test]
    fn batches_behave_as_an_ordered_map(
        batches in prop::collection::vec(
            prop::collection::vec((prop::collection::vec(0..4_u8, 0..3), prop::option::of(any::<u8>())), 0..8),
            0..20,
        ),
        from in prop::collection::vec(0..4_u8, 0..3),
    ) {
        on_each(|database| {
            let kv = database.handle(Space::Metadata, &b"p1"[..]);
            let mut model = BTreeMap::new();
            for changes in &batches {
                let mut batch = Batch::default();
                for (key, value) in changes {
                    match value {
                        Some(value) => {
                            batch.put(key.clone(), vec![*value]);
                            model.insert(key.clone(), vec![*value]);
                        }
                        None => {
                            batch.remove(key.clone());
                            model.remove(key);
                        }
                    }
                }
                kv.write(batch).unwrap();
            }
            let expected: Pairs = model.range(from.clone()..).map(|(k, v)| (k.clone(), v.clone())).collect();
            assert_eq!(range(&kv, &from, None), expected);
        });
    }
}

#[test]
fn a_real_database_comes_back_after_it_was_closed() {
    let folder = tempfile::tempdir().unwrap();
    {
        let database = Database::open(folder.path(), Budget::default()).unwrap();
        let kv = database.handle(Space::Metadata, &b"p1"[..]);
        put(&kv, &[(b"a", b"1")]);
        kv.persist().unwrap();
        put(&kv, &[(b"b", b"2")]);
    }
    let database = Database::open(folder.path(), Budget::default()).unwrap();
    let kv = database.handle(Space::Metadata, &b"p1"[..]);
    assert_eq!(all(&kv), pairs(&[(b"a", b"1"), (b"b", b"2")]));
}

/// What a dead process leaves is its files as they were; another process opens a copy of them.
#[test]
#[allow(clippy::disallowed_methods)]
fn a_real_database_opens_on_a_torn_journal_with_a_prefix_of_its_batches() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path(), Budget::default()).unwrap();
    let kv = database.handle(Space::Metadata, &b"p1"[..]);
    put(&kv, &[(b"a", b"1")]);
    put(&kv, &[(b"b", b"2"), (b"c", b"2")]);
    kv.persist().unwrap();
    let journal = std::fs::read_dir(folder.path())
        .unwrap()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "jnl"))
        .expect("a journal");
    let bytes = std::fs::read(&journal).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    drop((kv, database));
    std::fs::write(&journal, &bytes[..end - 10]).unwrap();
    let database = Database::open(folder.path(), Budget::default()).unwrap();
    let kv = database.handle(Space::Metadata, &b"p1"[..]);
    assert_eq!(all(&kv), pairs(&[(b"a", b"1")]));
}

#[test]
fn a_simulated_crash_keeps_what_was_persisted_and_a_prefix_of_the_rest() {
    for kept in 0..=2 {
        let database = Database::simulated();
        let faults = database.faults().unwrap();
        let kv = database.handle(Space::Metadata, &b"p1"[..]);
        put(&kv, &[(b"a", b"1")]);
        kv.persist().unwrap();
        put(&kv, &[(b"a", b"2"), (b"b", b"2")]);
        put(&kv, &[(b"c", b"3")]);
        assert_eq!(faults.unpersisted(), 2);
        faults.crash(kept);
        assert!(matches!(kv.get(b"a"), Err(Error::Io { .. })), "an old handle is fenced");
        let after = all(&database.handle(Space::Metadata, &b"p1"[..]));
        let expected: [Pairs; 3] = [
            pairs(&[(b"a", b"1")]),
            pairs(&[(b"a", b"2"), (b"b", b"2")]),
            pairs(&[(b"a", b"2"), (b"b", b"2"), (b"c", b"3")]),
        ];
        assert_eq!(after, expected[kept]);
    }
}

#[test]
fn simulated_damage_and_errors_are_reported_and_heal() {
    let database = Database::simulated();
    let faults = database.faults().unwrap();
    let kv = database.handle(Space::Metadata, &b"p1"[..]);
    put(&kv, &[(b"a", b"1"), (b"b", b"1")]);
    faults.damage(Space::Metadata, b"p1a");
    assert!(matches!(kv.get(b"a"), Err(Error::Damaged { .. })));
    let stop = &mut |_: &[u8], _: &[u8]| ControlFlow::Continue(());
    assert!(matches!(kv.scan(b"", None, stop), Err(Error::Damaged { .. })));
    assert!(kv.get(b"b").is_ok());
    put(&kv, &[(b"a", b"2")]);
    assert_eq!(kv.get(b"a").unwrap(), Some(Bytes::from_static(b"2")));
    faults.fail_writes(Some(Error::NoSpace { doing: "writing a batch" }));
    assert!(matches!(kv.write(Batch::default()), Err(Error::NoSpace { .. })));
    assert!(matches!(kv.persist(), Err(Error::NoSpace { .. })));
    faults.fail_writes(None);
    kv.persist().unwrap();
}

/// A simulated disk that is full stops the database on it as it stops a real one: what was written can
/// be read, and nothing more is written until it is opened again.
#[test]
fn a_simulated_database_without_room_stops_until_it_is_opened_again() {
    let disk = SimDisk::new("d", 1, 1 << 20);
    let database = Database::simulated_on(disk.clone());
    let kv = database.handle(Space::Metadata, &b"p1"[..]);
    put(&kv, &[(b"a", &[1; 1000])]);
    disk.set_capacity(2000);
    let mut batch = Batch::default();
    batch.put(&b"b"[..], vec![2; 1000]);
    assert!(matches!(kv.write(batch.clone()), Err(Error::NoSpace { .. })));
    disk.set_capacity(1 << 20);
    assert!(matches!(kv.write(batch.clone()), Err(Error::NoSpace { .. })), "it has stopped");
    assert!(matches!(kv.persist(), Err(Error::NoSpace { .. })));
    assert_eq!(all(&kv), pairs(&[(b"a", &[1; 1000])]));
    database.reopen().unwrap();
    kv.write(batch).unwrap();
    kv.persist().unwrap();
    assert_eq!(all(&kv).len(), 2);
}

/// A file system of its own, so small that it can be filled. Needs root.
struct Small {
    folder: tempfile::TempDir,
}

impl Small {
    fn new(mib: u64) -> Small {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={mib}M");
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "none"]).arg(folder.path());
        assert!(mount.status().unwrap().success(), "mount (as root?)");
        Small { folder }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}

/// The database refused all further writes until its process was started again.
#[test]
#[allow(clippy::disallowed_methods)]
fn a_real_database_without_room_goes_on_when_there_is_some() {
    let small = Small::new(24);
    let (budget, ballast) = (Budget::default(), small.folder.path().join("ballast"));
    let database = Database::open(&small.folder.path().join("index"), budget).unwrap();
    let kv = database.handle(Space::Metadata, &b"p1"[..]);
    let value = vec![7; 64 << 10];
    put(&kv, &[(b"a", &value)]);
    kv.persist().unwrap();
    let full = std::fs::write(&ballast, vec![1; 24 << 20]);
    assert!(full.is_err(), "nothing is left");
    let mut batch = Batch::default();
    (0..64_u8).for_each(|number| batch.put(vec![b'b', number], value.clone()));
    let refused = kv.write(batch.clone()).and_then(|()| kv.persist());
    assert!(matches!(refused, Err(Error::NoSpace { .. })), "{refused:?}");
    assert_eq!(kv.get(b"a").unwrap().as_deref(), Some(&value[..]), "what was written is there");

    std::fs::remove_file(&ballast).unwrap();
    let view = kv.snapshot();
    assert!(matches!(database.reopen(), Err(Error::Io { .. })), "somebody reads it");
    assert_eq!(view.get(b"a").unwrap().as_deref(), Some(&value[..]));
    drop(view);
    database.reopen().unwrap();
    kv.write(batch).unwrap();
    kv.persist().unwrap();
    assert_eq!(all(&kv).len(), 65);
    database.reopen().expect("nothing to be done");
}

/// One file of a database: where, its bytes up to the zeros at its end, and its length.
struct Image {
    path: std::path::PathBuf,
    bytes: Vec<u8>,
    length: u64,
}

#[allow(clippy::disallowed_methods)]
fn images(root: &std::path::Path, folder: &std::path::Path, found: &mut Vec<Image>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            images(root, &path, found);
            continue;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        let length = bytes.len() as u64;
        bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
        found.push(Image { path: path.strip_prefix(root).unwrap().to_owned(), bytes, length });
    }
}

/// Lays the files out in `folder`, with one byte of one file flipped.
#[allow(clippy::disallowed_methods)]
fn lay_out(images: &[Image], folder: &std::path::Path, flip: (usize, usize)) {
    for (number, image) in images.iter().enumerate() {
        let path = folder.join(&image.path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut bytes = image.bytes.clone();
        if number == flip.0 {
            bytes[flip.1] ^= 0x40;
        }
        std::fs::write(&path, bytes).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_len(image.length).unwrap();
    }
}

#[test]
fn a_real_database_never_returns_damaged_bytes_as_good() {
    let budget = Budget { memtable_bytes: 64 << 10, ..Budget::default() };
    let mut expected = Pairs::new();
    let folder = tempfile::tempdir().unwrap();
    {
        let database = Database::open(folder.path(), budget).unwrap();
        let kv = database.handle(Space::Metadata, &b"p1"[..]);
        for number in 0..3000_u32 {
            let (key, value) = (number.to_be_bytes().to_vec(), vec![number as u8; 100]);
            put(&kv, &[(&key, &value)]);
            expected.push((key, value));
        }
        kv.persist().unwrap();
    }
    let mut files = Vec::new();
    images(folder.path(), folder.path(), &mut files);
    let mut damage_noticed = 0;
    for (number, file) in files.iter().enumerate() {
        for at in (0..file.bytes.len()).step_by((file.bytes.len() / 4).max(1)) {
            let copy = tempfile::tempdir().unwrap();
            lay_out(&files, copy.path(), (number, at));
            match read_all(copy.path(), budget) {
                Err(_) => damage_noticed += 1,
                // A journal that breaks off early is a prefix of what was written.
                Ok(pairs) => assert!(expected.starts_with(&pairs), "{:?} at {at}", file.path),
            }
        }
    }
    assert!(damage_noticed > 5, "{damage_noticed}");
}

fn read_all(folder: &std::path::Path, budget: Budget) -> Result<Pairs, Error> {
    let database = Database::open(folder, budget)?;
    let kv = database.handle(Space::Metadata, &b"p1"[..]);
    let mut pairs = Pairs::new();
    kv.scan(b"", None, &mut |key, value| {
        pairs.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })?;
    Ok(pairs)
}
