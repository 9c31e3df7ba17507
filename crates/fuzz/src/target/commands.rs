//! Commands of clients, carried out: whatever a client sends, every replica must survive it, and
//! what it is made from must still hold together.
//!
//! An input is a list of pieces, each with its length in front (two bytes).

use super::{Target, no_seal};
use bytes::Bytes;
use partition::extent::{Command as DataCommand, DataKey, Index};
use partition::log::Location;
use partition::namespace::{Namespace, check};
use prost::Message;
use std::ops::ControlFlow;
use std::sync::Arc;
use types::Sequence;
use types::checksum::block_checksums;
use types::limits::RECORD_PAYLOAD_BYTES_MAX;
use types::namespace::outcome_body::OutcomeBody;
use types::namespace::{
    Caller, Command, Create, FileKind, GetAttributes, Link, Lookup, OpenSession, Query, QueryBody,
    ReadDirectory, Rename, Request, SetAttributes, SetLock, SetXattr, Stamped, Unlink,
};
use world::kv::{Database, Space};

pub(super) const NAMESPACE: Target =
    Target { name: "namespace", run: run_namespace, seeds: namespace_seeds, reseal: no_seal };
pub(super) const DATA: Target =
    Target { name: "data", run: run_data, seeds: data_seeds, reseal: no_seal };

fn pieces(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

fn joined(pieces: &[Vec<u8>]) -> Vec<u8> {
    let length = |piece: &Vec<u8>| u16::try_from(piece.len()).expect("short").to_le_bytes();
    pieces.iter().flat_map(|piece| [&length(piece)[..], piece].concat()).collect()
}

/// A namespace in memory, and where its log ends.
struct Replica {
    database: Database,
    namespace: Namespace,
    end: u64,
}

impl Replica {
    fn new() -> Replica {
        let database = Database::simulated();
        let namespace = Namespace::open(Arc::new(database.handle(Space::Metadata, &b"p"[..])));
        Replica { database, namespace: namespace.expect("an empty one opens"), end: 0 }
    }

    fn apply(&mut self, request: Request) -> Option<OutcomeBody> {
        self.end += 1;
        let time = i64::try_from(self.end).expect("few") * 1_000_000_000;
        let stamped = Stamped { time, request: Some(request) };
        let outcome = self.namespace.apply(Sequence(self.end), &stamped);
        outcome.expect("only damage is a fault").into_result().ok()
    }

    fn take(&mut self, piece: &[u8]) {
        match piece.split_first() {
            Some((0, query)) => {
                let Ok(query) = Query::decode(query) else { return };
                self.namespace.query(&query).expect("only damage is a fault");
            }
            Some((_, command)) => {
                let Ok(request) = Request::decode(command) else { return };
                // As a node does before anything is ordered.
                let opens = matches!(request.command, Some(Command::OpenSession(_)));
                if request.command.is_some() && (opens || request.session != 0) {
                    self.apply(request);
                }
            }
            None => {}
        }
    }

    fn check(&mut self) {
        self.namespace.flush().expect("memory does not fail");
        let kv = self.database.handle(Space::Metadata, &b"p"[..]);
        let mut findings = Vec::new();
        let checked = check::check(&kv, &mut |finding| {
            findings.push(finding.to_string());
            ControlFlow::Continue(())
        });
        checked.expect("what was written can be read");
        assert!(findings.is_empty(), "{findings:?}");
    }
}

fn run_namespace(bytes: &[u8]) {
    let mut replica = Replica::new();
    for piece in pieces(bytes) {
        replica.take(piece);
    }
    replica.check();
}

/// Commands of one session, numbered, on inodes as they come to be.
fn namespace_seeds() -> Vec<Vec<u8>> {
    let mut replica = Replica::new();
    let open = Command::OpenSession(OpenSession { nonce: 1, name: "fuzz".into() });
    let open = Request { command: Some(open), ..Request::default() };
    let Some(OutcomeBody::Opened(opened)) = replica.apply(open.clone()) else {
        panic!("a session is opened");
    };
    let command = |piece: &Request| [vec![1], piece.encode_to_vec()].concat();
    let mut said = vec![command(&open)];
    let mut made = vec![1_u64];
    for (number, step) in steps().into_iter().enumerate() {
        let request = Request {
            again: false,
            session: opened.session,
            number: number as u64 + 1,
            caller: Some(Caller { uid: 0, gid: 0, groups: vec![5] }),
            command: Some(step(&made)),
            ..Request::default()
        };
        if let Some(OutcomeBody::Created(created)) = replica.apply(request.clone()) {
            made.extend(created.attributes.map(|attributes| attributes.inode));
        }
        said.push(command(&request));
    }
    let ask = |body: QueryBody| [vec![0], Query { body: Some(body) }.encode_to_vec()].concat();
    said.push(ask(QueryBody::Lookup(Lookup { parent: 1, name: name("folder") })));
    said.push(ask(QueryBody::GetAttributes(GetAttributes { inode: made[1] })));
    said.push(ask(QueryBody::ReadDirectory(ReadDirectory { inode: 1, ..Default::default() })));
    replica.check();
    // Whole, and without its end.
    vec![joined(&said), joined(&said[..4])]
}

fn name(name: &str) -> Bytes {
    Bytes::copy_from_slice(name.as_bytes())
}

type Step = fn(&[u64]) -> Command;

fn steps() -> Vec<Step> {
    fn create(parent: u64, called: &str, kind: FileKind) -> Command {
        let (name, kind) = (name(called), kind.into());
        Command::Create(Create { parent, name, kind, mode: 0o777, ..Create::default() })
    }
    fn lock(inode: u64) -> Command {
        let lock =
            types::namespace::Lock { owner: 3, end: 100, mode: 1, kind: 1, ..Default::default() };
        Command::SetLock(SetLock { inode, lock: Some(lock) })
    }
    vec![
        |_| create(1, "folder", FileKind::Folder),
        |made| create(made[1], "file", FileKind::File),
        |made| {
            let [parent, inode] = [1, *made.last().unwrap_or(&1)];
            Command::Link(Link { inode, parent, name: name("link") })
        },
        |made| {
            let (inode, value) = (made[1], Bytes::from_static(b"value"));
            Command::SetXattr(SetXattr { inode, name: name("user.x"), value, ..Default::default() })
        },
        |made| {
            let inode = *made.last().unwrap_or(&1);
            Command::SetAttributes(SetAttributes { inode, size: Some(5000), ..Default::default() })
        },
        |made| lock(*made.last().unwrap_or(&1)),
        |made| {
            Command::Rename(Rename {
                parent: made[1],
                name: name("file"),
                new_parent: 1,
                new_name: name("moved"),
                ..Rename::default()
            })
        },
        |_| Command::Unlink(Unlink { parent: 1, name: name("link"), folder: false }),
    ]
}

fn run_data(bytes: &[u8]) {
    let database = Database::simulated();
    let kv = Arc::new(database.handle(Space::Index, &b"p"[..]));
    let mut index = Index::open(kv.clone()).expect("an empty one opens");
    let mut end = 0;
    for piece in pieces(bytes) {
        let Some((what, key)) = piece.split_first() else { continue };
        let Ok(key) = DataKey::decode(key) else { continue };
        let command = match what % 4 {
            0 => write(key),
            1 => DataCommand::Trim(key),
            2 => DataCommand::Delete { object: key.object },
            _ => {
                // As a node limits reads.
                let length = key.length.min(RECORD_PAYLOAD_BYTES_MAX.into());
                let key = DataKey { length, ..key };
                if key.end().is_some() {
                    index.find(&key, &mut Vec::new()).expect("only damage is a fault");
                }
                continue;
            }
        };
        if command.check().is_err() {
            continue;
        }
        end += 1;
        let entry = command.into_entry();
        let meaning = DataCommand::decode_key(entry.kind, &entry.key).expect("it was checked");
        let at = Location { segment: 1, offset: end * 64 };
        index.apply(Sequence(end.into()), meaning, at).expect("only damage is a fault");
    }
    index.checkpoint().expect("memory does not fail");
    let again = Index::open(kv).expect("what was written can be read");
    assert_eq!((again.applied(), again.allocated()), (index.applied(), index.allocated()));
}

fn write(key: DataKey) -> DataCommand {
    // Short enough to be quick, and sometimes not what the key says.
    let payload = vec![7; usize::try_from(key.length.min(20_000)).expect("short")];
    let sums = block_checksums(&payload);
    let checksums: Vec<u8> = sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
    DataCommand::Write { key, checksums: checksums.into(), payload: payload.into() }
}

fn data_seeds() -> Vec<Vec<u8>> {
    let piece = |what: u8, object: u64, offset: u64, length: u64| {
        [vec![what], [object, offset, length].iter().flat_map(|n| n.to_le_bytes()).collect()]
            .concat()
    };
    let steps = [
        piece(0, 9, 0, 5000),
        piece(0, 9, 4096, 8192),
        piece(3, 9, 0, 20_000),
        piece(1, 9, 100, 5000),
        piece(0, 8, (64 << 20) - 4096, 4096),
        piece(0, 8, 1 << 40, 10),
        piece(1, 8, 0, 1 << 41),
        piece(2, 9, 0, 0),
        piece(0, 9, 0, 10),
    ];
    vec![joined(&steps), joined(&steps[..3])]
}
