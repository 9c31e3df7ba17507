//! Bodies of messages: the first byte says which message the rest shall be.

use super::{Target, no_seal};
use bytes::Bytes;
use partition::replica::{Append, Entry, EntryBody, Message as Replication, Position};
use prost::Message;
use std::sync::Arc;
use types::{Epoch, ReplicaId, Sequence};
use wire::{control, data, events, inspect, replicate};

pub(super) const TARGET: Target = Target { name: "bodies", run, seeds, reseal: no_seal };

/// Decodes, and says it again.
fn again<M: Message + Default + PartialEq>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    let said = message.encode_to_vec();
    assert!(M::decode(&said[..]).is_ok_and(|read| read == message), "it reads as another message");
    Some(message)
}

fn run(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    match which % 16 {
        0 => drop(again::<data::Write>(bytes)),
        1 => drop(again::<data::Read>(bytes)),
        2 => drop(again::<data::Mend>(bytes)),
        3 => drop(again::<data::ExtentsReply>(bytes)),
        4 => drop(again::<control::Join>(bytes)),
        5 => drop(again::<control::Heartbeat>(bytes)),
        6 => assignment(bytes),
        7 => drop(again::<control::ChangeConfiguration>(bytes)),
        8 => routes(bytes),
        9 => drop(again::<control::Raft>(bytes)),
        10 => drop(again::<events::Poll>(bytes)),
        11 => drop(again::<inspect::Ask>(bytes)),
        12 => drop(again::<replicate::Snapshot>(bytes)),
        13 => drop(again::<types::namespace::Request>(bytes)),
        14 => drop(again::<types::namespace::Query>(bytes)),
        _ => replication(bytes),
    }
}

fn assignment(bytes: &[u8]) {
    let Some(assignment) = again::<control::Assignment>(bytes) else { return };
    for configuration in &assignment.configurations {
        checked(configuration);
    }
}

fn routes(bytes: &[u8]) {
    let Some(routes) = again::<control::RoutesReply>(bytes) else { return };
    for configuration in &routes.configurations {
        checked(configuration);
    }
}

/// What passes the checks keeps its promises.
fn checked(configuration: &control::Configuration) {
    let Ok(configuration) = types::Configuration::try_from(configuration) else { return };
    if let Some(leader) = configuration.leader {
        assert!(configuration.member(leader).is_some(), "a leader that is no member");
    }
    let all = configuration.in_sync.iter().chain(&configuration.catching_up);
    assert!(all.into_iter().all(|replica| configuration.member(*replica).is_some()));
    let said = control::Configuration::from(&configuration);
    assert_eq!(types::Configuration::try_from(&said).ok(), Some(configuration));
}

/// The last part of the bytes, a tenth, is the frame's payload.
fn replication(bytes: &[u8]) {
    let (body, payload) = bytes.split_at(bytes.len() - bytes.len() / 10);
    let Some(message) = again::<replicate::Replicate>(body) else { return };
    let Ok(native) = node::codec::decode(message, &Bytes::copy_from_slice(payload)) else { return };
    let (said, payload) = node::codec::encode(native.from, native.to, &native.message);
    let read = node::codec::decode(said, &payload).expect("what was accepted is said again");
    assert_eq!(format!("{:?}", read.message), format!("{:?}", native.message));
}

fn with(which: u8, message: &impl Message) -> Vec<u8> {
    let mut bytes = vec![which];
    message.encode(&mut bytes).expect("a vector grows");
    bytes
}

fn seeds() -> Vec<Vec<u8>> {
    let member = |replica| control::Member { replica, node: replica + 10, disk: replica + 20 };
    let configuration = control::Configuration {
        partition: 3,
        volume: 1,
        epoch: 9,
        members: vec![member(1), member(2), member(3)],
        leader: 1,
        in_sync_min: 2,
        in_sync: vec![1, 2],
        catching_up: vec![3],
        kind: control::PartitionKind::Data.into(),
        durability: control::Durability::Replicated.into(),
    };
    let write = data::Write { object: 7, offset: 1 << 30, checksums: vec![1; 8].into() };
    let assignment = control::Assignment {
        cluster: 5,
        node: 11,
        revision: 17,
        configurations: vec![configuration.clone()],
        deletes: vec![4, 5],
        nodes: vec![control::NodeAddress { node: 11, address: "10.0.0.1:7402".into() }],
        ..control::Assignment::default()
    };
    let routes = control::RoutesReply {
        revision: 4,
        configurations: vec![configuration],
        ..control::RoutesReply::default()
    };
    let mut replication = with(15, &append().0);
    // A tenth of what follows the first byte is the payload.
    let body = replication.len() - 1;
    replication.extend_from_slice(&vec![0; body / 9]);
    vec![
        with(0, &write),
        with(1, &data::Read { object: 7, offset: 9, length: 4096 }),
        with(6, &assignment),
        with(8, &routes),
        with(14, &types::namespace::Query::default()),
        replication,
    ]
}

fn append() -> (replicate::Replicate, Bytes) {
    let body = EntryBody { kind: 1, key: Bytes::from_static(b"key"), payload: Bytes::new() };
    let entry = Entry { epoch: Epoch(2), sequence: Sequence(11), body };
    let append = Append {
        epoch: Epoch(2),
        stamp: 3,
        life: 1,
        previous: Position { epoch: Epoch(2), sequence: Sequence(10) },
        end: Sequence(11),
        committed: Sequence(10),
        sync_upto: Sequence(0),
        entries: Arc::from([entry]),
    };
    node::codec::encode(ReplicaId(1), ReplicaId(2), &Replication::Append(append))
}
