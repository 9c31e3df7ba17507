//! Tests of the namespace as a whole: each family of commands, then random commands against a model.

mod access_lists;
mod attributes;
mod damage;
mod exactly_once;
mod holdings;
mod model;
mod names;
mod random;
mod replicas;

use super::check::{Finding, findings};
use super::{Namespace, digest};
use bytes::Bytes;
use std::sync::Arc;
use types::Sequence;
use types::namespace::outcome_body::OutcomeBody;
use types::namespace::{
    AnswerBody, Attributes, Caller, Command, Create, DirectoryEntry, DirectoryPage, FailureKind,
    FileKind, GetAttributes, ListOrphans, Lookup, OpenSession, Outcome, QueryBody, ReadDirectory,
    Request, Stamped, Statfs, Usage,
};
use world::kv::{Database, Space};

pub(super) const ROOT: u64 = 1;
const PREFIX: &[u8] = b"p7";

/// A namespace on a simulated database, with one client session, its log kept.
pub(super) struct Volume {
    pub database: Database,
    pub namespace: Namespace,
    /// All commands so far; the first has sequence 1.
    pub log: Vec<Stamped>,
    pub session: u64,
    pub number: u64,
    pub caller: Caller,
}

impl Volume {
    pub(super) fn new() -> Volume {
        let database = Database::simulated();
        let namespace = open(&database);
        let caller = Caller { uid: 1000, gid: 1000, groups: vec![] };
        let mut volume = Volume { database, namespace, log: vec![], session: 0, number: 0, caller };
        volume.session = volume.open_session(1);
        volume
    }

    pub(super) fn open_session(&mut self, nonce: u64) -> u64 {
        let open = OpenSession { nonce, name: format!("host:/mnt/{nonce}") };
        let outcome = self.send(0, 0, 0, open_command(open));
        match outcome.into_result() {
            Ok(OutcomeBody::Opened(opened)) => opened.session,
            other => panic!("a session was expected, not {other:?}"),
        }
    }

    /// Sends a command with everything said.
    pub(super) fn send(
        &mut self,
        session: u64,
        number: u64,
        acknowledged_below: u64,
        command: Command,
    ) -> Outcome {
        let caller = Some(self.caller.clone());
        let request = Request {
            session,
            number,
            acknowledged_below,
            caller,
            again: false,
            command: Some(command),
        };
        self.enter(request)
    }

    pub(super) fn enter(&mut self, request: Request) -> Outcome {
        let time = 1_000_000 * (self.log.len() as i64 + 1);
        let stamped = Stamped { time, request: Some(request) };
        self.log.push(stamped.clone());
        let sequence = Sequence(self.log.len() as u64);
        self.namespace.apply(sequence, &stamped).expect("no fault")
    }

    /// Sends the session's next command.
    pub(super) fn run(&mut self, command: Command) -> Result<OutcomeBody, FailureKind> {
        self.run_as(self.session, command)
    }

    /// The next command of another session; numbers are drawn from one counter for all.
    pub(super) fn run_as(
        &mut self,
        session: u64,
        command: Command,
    ) -> Result<OutcomeBody, FailureKind> {
        self.number += 1;
        let number = self.number;
        let outcome = self.send(session, number, number, command);
        outcome.into_result().map_err(|failure| failure.kind())
    }

    pub(super) fn create(&mut self, parent: u64, name: &str, kind: FileKind) -> Attributes {
        created(self.run(create_command(parent, name, kind)).expect("created"))
    }

    pub(super) fn file(&mut self, parent: u64, name: &str) -> u64 {
        self.create(parent, name, FileKind::File).inode
    }

    pub(super) fn folder(&mut self, parent: u64, name: &str) -> u64 {
        self.create(parent, name, FileKind::Folder).inode
    }

    pub(super) fn ask(&self, query: QueryBody) -> Result<AnswerBody, FailureKind> {
        let answer = self.namespace.query(&query.into()).expect("no fault");
        answer.into_result().map_err(|failure| failure.kind())
    }

    pub(super) fn attributes(&self, inode: u64) -> Attributes {
        match self.ask(QueryBody::GetAttributes(GetAttributes { inode })) {
            Ok(AnswerBody::Attributes(attributes)) => attributes,
            other => panic!("attributes of {inode} were expected, not {other:?}"),
        }
    }

    pub(super) fn lookup(&self, parent: u64, name: &str) -> Result<u64, FailureKind> {
        let name = Bytes::copy_from_slice(name.as_bytes());
        match self.ask(QueryBody::Lookup(Lookup { parent, name }))? {
            AnswerBody::Attributes(attributes) => Ok(attributes.inode),
            other => panic!("attributes were expected, not {other:?}"),
        }
    }

    pub(super) fn page(&self, inode: u64, after: u64, entries_max: u32) -> DirectoryPage {
        let read = ReadDirectory { inode, after, entries_max, attributes: true };
        match self.ask(QueryBody::ReadDirectory(read)) {
            Ok(AnswerBody::Directory(page)) => page,
            other => panic!("a page was expected, not {other:?}"),
        }
    }

    /// All entries of a folder, read in small pages.
    pub(super) fn list(&self, inode: u64) -> Vec<DirectoryEntry> {
        let mut entries = Vec::new();
        loop {
            let after = entries.last().map_or(0, |entry: &DirectoryEntry| entry.cookie);
            let page = self.page(inode, after, 3);
            entries.extend(page.entries);
            if page.end {
                return entries;
            }
        }
    }

    pub(super) fn usage(&self) -> Usage {
        match self.ask(QueryBody::Statfs(Statfs {})) {
            Ok(AnswerBody::Usage(usage)) => usage,
            other => panic!("usage was expected, not {other:?}"),
        }
    }

    pub(super) fn orphans(&self) -> Vec<u64> {
        let list = ListOrphans { after: 0, orphans_max: 1000 };
        match self.ask(QueryBody::ListOrphans(list)) {
            Ok(AnswerBody::Orphans(page)) => {
                page.orphans.iter().filter_map(|orphan| Some(orphan.attributes?.inode)).collect()
            }
            other => panic!("orphans were expected, not {other:?}"),
        }
    }

    /// What a full scan finds.
    pub(super) fn findings(&mut self) -> Vec<Finding> {
        let snapshot = self.namespace.snapshot().expect("a snapshot");
        findings(snapshot.as_ref(), 100).expect("a check")
    }

    pub(super) fn digest(&mut self) -> u64 {
        let snapshot = self.namespace.snapshot().expect("a snapshot");
        digest::whole(snapshot.as_ref()).expect("a digest")
    }

    #[track_caller]
    pub(super) fn assert_sound(&mut self) {
        assert_eq!(self.findings(), []);
    }
}

pub(super) fn open(database: &Database) -> Namespace {
    Namespace::open(Arc::new(database.handle(Space::Metadata, PREFIX))).expect("a namespace")
}

pub(super) fn open_command(open: OpenSession) -> Command {
    Command::OpenSession(open)
}

pub(super) fn create_command(parent: u64, name: &str, kind: FileKind) -> Command {
    let name = Bytes::copy_from_slice(name.as_bytes());
    let target = if kind == FileKind::Symlink { Bytes::from("target") } else { Bytes::new() };
    let kind = kind.into();
    Command::Create(Create {
        parent,
        name,
        kind,
        target,
        mode: 0o755,
        exclusive: true,
        ..Create::default()
    })
}

pub(super) fn created(body: OutcomeBody) -> Attributes {
    match body {
        OutcomeBody::Created(created) => created.attributes.expect("attributes"),
        other => panic!("something created was expected, not {other:?}"),
    }
}

pub(super) fn changed(body: OutcomeBody) -> Attributes {
    match body {
        OutcomeBody::Changed(changed) => changed.attributes.expect("attributes"),
        other => panic!("changed attributes were expected, not {other:?}"),
    }
}
