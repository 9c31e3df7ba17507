//! Random commands, with repeats, restarts and crashes, against the model.

use super::model::Tree;
use super::*;
use crate::kv::Kv;
use proptest::prelude::*;
use types::namespace::{
    AllocateChunks, ChunkMap, Commit, CommitItem, DropChunks, GetXattr, Link, ListXattr, Placement,
    Purge, ReadLink, RemoveXattr, Rename, Reserve, SetAttributes, SetXattr, Unlink, Unreserve,
};

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    Run(Command),
    /// The last request arrives once more.
    Repeat,
    Flush,
    /// The process dies; what was written since the last persist is lost but for some batches.
    Crash {
        batches_kept: usize,
    },
    Persist,
}

fn name() -> impl Strategy<Value = Bytes> {
    // One is as long as names may be.
    prop::sample::select(vec!["a", "b", "c", "d", "e"]).prop_map(|name| match name {
        "e" => Bytes::from("e".repeat(255)),
        name => Bytes::from(name),
    })
}

fn inode() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(ROOT), 10 => 2..16_u64]
}

fn create() -> impl Strategy<Value = Command> {
    let kinds = prop::sample::select(vec![
        FileKind::File,
        FileKind::Folder,
        FileKind::Folder,
        FileKind::Symlink,
        FileKind::Fifo,
    ]);
    (inode(), name(), kinds, any::<bool>(), prop::sample::select(vec![0o755, 0o6755, 0o600]))
        .prop_map(|(parent, name, kind, exclusive, mode)| {
            let target = if kind == FileKind::Symlink { Bytes::from("to") } else { Bytes::new() };
            let kind = kind.into();
            let umask = 0o022;
            Command::Create(Create {
                parent,
                name,
                kind,
                target,
                exclusive,
                mode,
                umask,
                ..Create::default()
            })
        })
}

fn rename() -> impl Strategy<Value = Command> {
    (inode(), name(), inode(), name(), 0..6_u8).prop_map(
        |(parent, name, new_parent, new_name, flags)| {
            let (no_replace, exchange) = (flags == 1, flags >= 4);
            Command::Rename(Rename { parent, name, new_parent, new_name, no_replace, exchange })
        },
    )
}

fn names_change() -> impl Strategy<Value = Command> {
    prop_oneof![
        6 => create(),
        4 => rename(),
        2 => (inode(), inode(), name())
            .prop_map(|(inode, parent, name)| Command::Link(Link { inode, parent, name })),
        4 => (inode(), name(), any::<bool>())
            .prop_map(|(parent, name, folder)| Command::Unlink(Unlink { parent, name, folder })),
        1 => prop::collection::vec(inode(), 0..8)
            .prop_map(|inodes| Command::Purge(Purge { inodes })),
    ]
}

fn xattr_name() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec![Bytes::from("user.a"), Bytes::from("user.b")])
}

fn content_change() -> impl Strategy<Value = Command> {
    let sizes = prop::sample::select(vec![0, 1, 4096, 10_000, 1 << 40]);
    let modes = prop::option::of(prop::sample::select(vec![0o644, 0o6711, 0o4700]));
    prop_oneof![
        (inode(), modes, prop::option::of(0..3_u32), prop::option::of(sizes)).prop_map(
            |(inode, mode, uid, size)| {
                Command::SetAttributes(SetAttributes {
                    inode,
                    mode,
                    uid,
                    size,
                    ..Default::default()
                })
            }
        ),
        (inode(), xattr_name(), 0..3_i32, 0..9_u8).prop_map(|(inode, name, mode, value)| {
            let value = Bytes::from(vec![value; usize::from(value)]);
            Command::SetXattr(SetXattr { inode, name, value, mode, clear_setgid: false })
        }),
        (inode(), xattr_name())
            .prop_map(|(inode, name)| Command::RemoveXattr(RemoveXattr { inode, name })),
        (inode(), prop::collection::vec((0..5_u64, 1..9_u64), 0..4)).prop_map(|(inode, wanted)| {
            let place = |(chunk, partition)| Placement { chunk, partition };
            let wanted = wanted.into_iter().map(place).collect();
            Command::AllocateChunks(AllocateChunks { inode, wanted })
        }),
        (inode(), 0..5_u64).prop_map(|(inode, first)| {
            Command::DropChunks(DropChunks { inode, first, allocated_delta: 0 })
        }),
        prop::collection::vec(commit_item(), 0..3)
            .prop_map(|items| Command::Commit(Commit { items })),
        (0..20_000_u64).prop_map(|bytes| Command::Reserve(Reserve { bytes })),
        (0..20_000_u64).prop_map(|bytes| Command::Unreserve(Unreserve { bytes })),
    ]
}

fn commit_item() -> impl Strategy<Value = CommitItem> {
    (inode(), prop::option::of(0..9000_u64), -2..4_i64, 0..5000_u64, any::<bool>()).prop_map(
        |(inode, size_at_least, blocks, reservation_used, clear_setid)| CommitItem {
            inode,
            size_at_least,
            allocated_delta: blocks * 4096,
            reservation_used,
            clear_setid,
            ..CommitItem::default()
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        60 => names_change().prop_map(Event::Run),
        30 => content_change().prop_map(Event::Run),
        6 => Just(Event::Repeat),
        3 => Just(Event::Flush),
        1 => Just(Event::Persist),
        1 => (0..4_usize).prop_map(|batches_kept| Event::Crash { batches_kept }),
    ]
}

/// Lets everything happen to a volume and to the model.
fn play(events: Vec<Event>) -> (Volume, Tree) {
    let mut volume = Volume::new();
    let mut tree = Tree::new();
    let capacity = types::namespace::SetCapacity { bytes: 40_000, inodes: 0 };
    volume.send(0, 0, 0, Command::SetCapacity(capacity));
    tree.capacity = 40_000;
    let mut last: Option<(Request, Outcome)> = None;
    for event in events {
        match event {
            Event::Run(command) => {
                let expected = tree.run(&command);
                volume.number += 1;
                let (session, number) = (volume.session, volume.number);
                let caller = Some(volume.caller.clone());
                let acknowledged_below = number;
                let command = Some(command);
                let again = false;
                let request =
                    Request { session, number, acknowledged_below, caller, again, command };
                let outcome = volume.enter(request.clone());
                let got =
                    outcome.clone().into_result().map(|_| ()).map_err(|failure| failure.kind());
                assert_eq!(got, expected, "{request:?}");
                last = Some((request, outcome));
            }
            Event::Repeat => {
                if let Some((request, outcome)) = &last {
                    assert_eq!(&volume.enter(request.clone()), outcome);
                }
            }
            Event::Flush => volume.namespace.flush().unwrap(),
            Event::Persist => {
                volume.namespace.flush().unwrap();
                volume.database.handle(Space::Metadata, PREFIX).persist().unwrap();
            }
            Event::Crash { batches_kept } => {
                volume.database.faults().unwrap().crash(batches_kept);
                volume.namespace = open(&volume.database);
                let log = volume.log.clone();
                for (stamped, sequence) in log.iter().zip(1..) {
                    volume.namespace.apply(Sequence(sequence), stamped).unwrap();
                }
            }
        }
    }
    (volume, tree)
}

/// The volume must show exactly what the model holds.
fn compare(volume: &mut Volume, tree: &Tree) {
    let usage = volume.usage();
    assert_eq!(usage.inodes, tree.nodes.len() as u64);
    assert_eq!((usage.used, usage.reserved), (tree.used(), tree.reserved));
    assert_eq!(volume.orphans(), tree.orphans().into_iter().collect::<Vec<_>>());
    for (id, node) in &tree.nodes {
        let shown = volume.attributes(*id);
        assert_eq!((shown.kind, shown.mode), (node.kind, node.mode), "inode {id}");
        assert_eq!((shown.uid, shown.gid), node.owner, "inode {id}");
        assert_eq!(u64::from(shown.nlink), tree.nlink(*id), "inode {id}");
        assert_eq!(shown.allocated, node.allocated, "inode {id}");
        if node.is_folder() {
            let mut names = std::collections::BTreeMap::new();
            for entry in volume.list(*id) {
                assert_eq!(entry.attributes.unwrap(), volume.attributes(entry.inode));
                assert!(names.insert(entry.name.to_vec(), entry.inode).is_none());
            }
            assert_eq!(names, node.names, "folder {id}");
            assert_eq!(shown.size, node.names.len() as u64);
        } else {
            assert_eq!(shown.size, node.size, "inode {id}");
        }
        if node.kind == i32::from(FileKind::Symlink) {
            let target = volume.ask(QueryBody::ReadLink(ReadLink { inode: *id }));
            assert_eq!(target, Ok(AnswerBody::Bytes(node.target.clone().into())));
        }
        compare_belongings(volume, *id, node);
    }
}

fn compare_belongings(volume: &Volume, inode: u64, node: &super::model::Node) {
    let Ok(AnswerBody::Xattrs(list)) = volume.ask(QueryBody::ListXattr(ListXattr { inode })) else {
        panic!()
    };
    let xattrs = list.names.into_iter().map(|name| {
        let get = GetXattr { inode, name: name.clone() };
        let Ok(AnswerBody::Bytes(value)) = volume.ask(QueryBody::GetXattr(get)) else { panic!() };
        (name.to_vec(), value.to_vec())
    });
    assert_eq!(xattrs.collect::<std::collections::BTreeMap<_, _>>(), node.xattrs);
    let map = ChunkMap { inode, first: 0, placements_max: 100 };
    let Ok(AnswerBody::Chunks(page)) = volume.ask(QueryBody::ChunkMap(map)) else { panic!() };
    let chunks = page.placements.into_iter().map(|place| (place.chunk, place.partition));
    assert_eq!(chunks.collect::<std::collections::BTreeMap<_, _>>(), node.chunks);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_namespace_does_what_the_model_does(events in prop::collection::vec(event(), 1..160)) {
        let (mut volume, tree) = play(events);
        compare(&mut volume, &tree);
        prop_assert_eq!(volume.findings(), []);
        // A replica that enters the same log into an empty store has the same state.
        let database = Database::simulated();
        let mut other = open(&database);
        for (stamped, sequence) in volume.log.iter().zip(1..) {
            other.apply(Sequence(sequence), stamped).unwrap();
        }
        let theirs = digest::whole(other.snapshot().unwrap().as_ref()).unwrap();
        prop_assert_eq!(volume.digest(), theirs);
    }
}
