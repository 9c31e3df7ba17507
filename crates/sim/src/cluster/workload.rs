//! What clients do: names in one folder, blocks of a few files, appends to one file.
//!
//! Each is a small object that a checker knows everything about: see [`super::check`].

use crate::dice::Dice;
use bytes::Bytes;
use client::{Error, File, Volume};
use std::collections::BTreeMap;
use types::InodeId;
use types::limits::CHUNK_BYTES;
use types::namespace::{
    Attributes, Caller, Create, FailureKind, FileKind, ReadDirectory, Rename, Unlink,
};

/// The objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// A few names of the root folder; the file behind a name is known by its owner.
    Names,
    /// One block of a file: holds one value.
    Block { file: u8, block: u8 },
    /// A file that is only appended to.
    Log,
}

/// Files with blocks, and blocks of each; each block lies in a chunk of its own.
pub(super) const FILES: u8 = 2;
pub(super) const BLOCKS: u8 = 2;
const NAMES: [&str; 3] = ["a", "b", "c"];
const BLOCK_BYTES: usize = 8 << 10;
const RECORD_BYTES: usize = 16;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Create {
        name: u8,
        tag: u32,
    },
    Unlink {
        name: u8,
    },
    Rename {
        from: u8,
        to: u8,
        no_replace: bool,
    },
    Lookup {
        name: u8,
    },
    List,
    /// Makes all names durable.
    Flush,
    Write {
        value: u32,
        synced: bool,
    },
    Read,
    Append {
        value: u32,
        synced: bool,
    },
    ReadLog,
}

impl Action {
    /// Whether it only looks.
    pub(super) fn is_read(self) -> bool {
        matches!(self, Action::Lookup { .. } | Action::List | Action::Read | Action::ReadLog)
    }

    /// Whether it makes durable what was there before it began.
    pub(super) fn is_synced(self) -> bool {
        matches!(
            self,
            Action::Flush
                | Action::Write { synced: true, .. }
                | Action::Append { synced: true, .. }
        )
    }
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// Nothing happened, for want of room.
    NoSpace,
    Exists,
    NotFound,
    /// The file that a name leads to.
    Found(u32),
    Names(BTreeMap<u8, u32>),
    Value(u32),
    /// Where an append went, in records.
    At(u64),
    Log(Vec<u32>),
    /// Bytes that nobody ever wrote as one.
    Garbage(String),
}

/// One thing to do.
pub(super) type Task = (Key, Action);

/// Draws what to do next; `value` is one that nobody ever used.
pub(super) fn draw(dice: &mut Dice, value: u32) -> Task {
    let synced = dice.chance(400);
    let name = dice.below(NAMES.len()) as u8;
    let block =
        Key::Block { file: dice.below(FILES.into()) as u8, block: dice.below(BLOCKS.into()) as u8 };
    match dice.below(100) {
        0..12 => (Key::Names, Action::Create { name, tag: value }),
        12..20 => (Key::Names, Action::Unlink { name }),
        20..30 => {
            let to = (name + 1 + dice.below(NAMES.len() - 1) as u8) % NAMES.len() as u8;
            (Key::Names, Action::Rename { from: name, to, no_replace: dice.chance(300) })
        }
        30..38 => (Key::Names, Action::Lookup { name }),
        38..40 => (Key::Names, Action::List),
        40..42 => (Key::Names, Action::Flush),
        42..60 => (block, Action::Write { value, synced }),
        60..80 => (block, Action::Read),
        80..92 => (Key::Log, Action::Append { value, synced }),
        _ => (Key::Log, Action::ReadLog),
    }
}

/// What everybody must be able to do in the end, one after another.
pub(super) fn finale(value: &mut impl FnMut() -> u32) -> Vec<Task> {
    let mut tasks = vec![(Key::Names, Action::List), (Key::Log, Action::ReadLog)];
    for file in 0..FILES {
        for block in 0..BLOCKS {
            let key = Key::Block { file, block };
            tasks.push((key, Action::Read));
            tasks.push((key, Action::Write { value: value(), synced: true }));
        }
    }
    tasks.push((Key::Names, Action::Create { name: 0, tag: value() }));
    tasks.push((Key::Names, Action::Unlink { name: 0 }));
    tasks.push((Key::Names, Action::List));
    tasks.push((Key::Log, Action::Append { value: value(), synced: true }));
    tasks.push((Key::Log, Action::ReadLog));
    tasks
}

/// Does it.
///
/// # Errors
/// Then it may have happened or not, unless it only looks.
pub(super) async fn perform(volume: &Volume, task: Task) -> Result<Outcome, Error> {
    match task {
        (_, Action::Create { name, tag }) => {
            match create(volume, NAMES[usize::from(name)], tag).await {
                Err(Error::NoSpace) => Ok(Outcome::NoSpace),
                created => refusals(created.map(|_| Outcome::Done)),
            }
        }
        (_, Action::Unlink { name }) => {
            let unlink = Unlink { parent: InodeId::ROOT.0, name: word(name), folder: false };
            refusals(volume.unlink(unlink, Caller::default()).await.map(|_| Outcome::Done))
        }
        (_, Action::Rename { from, to, no_replace }) => {
            let rename = Rename {
                parent: InodeId::ROOT.0,
                name: word(from),
                new_parent: InodeId::ROOT.0,
                new_name: word(to),
                no_replace,
                exchange: false,
            };
            refusals(volume.rename(rename, Caller::default()).await.map(|_| Outcome::Done))
        }
        (_, Action::Lookup { name }) => {
            let found = volume.lookup(InodeId::ROOT, word(name)).await;
            refusals(found.map(|attributes| Outcome::Found(attributes.uid)))
        }
        (_, Action::List) => list(volume).await,
        (_, Action::Flush) => volume.flush_namespace().await.map(|()| Outcome::Done),
        (Key::Block { file, block }, Action::Write { value, synced }) => {
            write(volume, file, block, value, synced).await
        }
        (Key::Block { file, block }, Action::Read) => read(volume, file, block).await,
        (_, Action::Append { value, synced }) => append(volume, value, synced).await,
        (_, Action::ReadLog) => read_log(volume).await,
        (key, action) => unreachable!("nobody draws {action:?} on {key:?}"),
    }
}

/// Makes the files that everybody uses.
///
/// # Errors
/// When the cluster does not answer; then it may be done again.
pub(super) async fn prepare(volume: &Volume) -> Result<(), Error> {
    for file in 0..FILES {
        let file = open_or_create(volume, &block_file(file)).await?;
        for block in 0..BLOCKS {
            file.write(offset_of(block), filled(0)).await?;
        }
        let synced = file.sync().await;
        file.close();
        synced?;
    }
    let log = open_or_create(volume, LOG).await?;
    let synced = log.sync().await;
    log.close();
    synced
}

const LOG: &str = "log";

fn block_file(file: u8) -> String {
    format!("blocks-{file}")
}

fn word(name: u8) -> Bytes {
    Bytes::from_static(NAMES[usize::from(name)].as_bytes())
}

fn offset_of(block: u8) -> u64 {
    u64::from(block) * CHUNK_BYTES
}

fn filled(value: u32) -> Bytes {
    value.to_le_bytes().repeat(BLOCK_BYTES / 4).into()
}

/// Takes the refusals that are answers for what they are.
fn refusals(result: Result<Outcome, Error>) -> Result<Outcome, Error> {
    match result {
        Err(Error::Refused(failure)) => match failure.kind() {
            FailureKind::NotFound => Ok(Outcome::NotFound),
            FailureKind::Exists => Ok(Outcome::Exists),
            _ => Err(Error::Refused(failure)),
        },
        result => result,
    }
}

async fn create(volume: &Volume, name: &str, owner: u32) -> Result<Attributes, Error> {
    let create = Create {
        parent: InodeId::ROOT.0,
        name: Bytes::copy_from_slice(name.as_bytes()),
        kind: FileKind::File.into(),
        mode: 0o644,
        exclusive: true,
        ..Create::default()
    };
    let caller = Caller { uid: owner, ..Caller::default() };
    Ok(volume.create(create, caller).await?.0)
}

async fn open(volume: &Volume, name: &str) -> Result<File, Error> {
    let name = Bytes::copy_from_slice(name.as_bytes());
    let attributes = volume.lookup(InodeId::ROOT, name).await?;
    Ok(volume.open_file(&attributes))
}

async fn open_or_create(volume: &Volume, name: &str) -> Result<File, Error> {
    match create(volume, name, 0).await {
        Ok(attributes) => Ok(volume.open_file(&attributes)),
        Err(Error::Refused(failure)) if failure.kind() == FailureKind::Exists => {
            open(volume, name).await
        }
        Err(error) => Err(error),
    }
}

async fn list(volume: &Volume) -> Result<Outcome, Error> {
    let read =
        ReadDirectory { inode: InodeId::ROOT.0, after: 0, entries_max: 100, attributes: true };
    let page = volume.read_directory(read).await?;
    let mut names = BTreeMap::new();
    for entry in page.entries {
        let number = NAMES.iter().position(|name| name.as_bytes() == entry.name);
        if let (Some(number), Some(attributes)) = (number, entry.attributes) {
            names.insert(number as u8, attributes.uid);
        }
    }
    Ok(Outcome::Names(names))
}

async fn write(
    volume: &Volume,
    file: u8,
    block: u8,
    value: u32,
    synced: bool,
) -> Result<Outcome, Error> {
    let file = open(volume, &block_file(file)).await?;
    let written = async {
        file.write(offset_of(block), filled(value)).await?;
        if synced { file.sync().await } else { file.flush().await }
    };
    let written = written.await;
    file.close();
    written.map(|()| Outcome::Done)
}

async fn read(volume: &Volume, file: u8, block: u8) -> Result<Outcome, Error> {
    let file = open(volume, &block_file(file)).await?;
    let bytes = file.read(offset_of(block), BLOCK_BYTES).await;
    file.close();
    let bytes = bytes?;
    let words: Vec<u32> = words(&bytes);
    match words.first() {
        Some(first) if bytes.len() == BLOCK_BYTES && words.iter().all(|word| word == first) => {
            Ok(Outcome::Value(*first))
        }
        _ => Ok(Outcome::Garbage(garbage(&bytes))),
    }
}

fn words(bytes: &[u8]) -> Vec<u32> {
    let word = |chunk: &[u8]| u32::from_le_bytes(chunk.try_into().expect("four bytes"));
    bytes.chunks_exact(4).map(word).collect()
}

fn garbage(bytes: &[u8]) -> String {
    let mut runs: Vec<(u32, usize)> = Vec::new();
    for word in words(bytes) {
        match runs.last_mut() {
            Some((last, count)) if *last == word => *count += 1,
            _ => runs.push((word, 1)),
        }
    }
    runs.truncate(8);
    format!("{} bytes: {runs:?}", bytes.len())
}

async fn append(volume: &Volume, value: u32, synced: bool) -> Result<Outcome, Error> {
    let file = open(volume, LOG).await?;
    let appended = async {
        let at = file.append(value.to_le_bytes().repeat(RECORD_BYTES / 4).into()).await?;
        if synced {
            file.sync().await?
        } else {
            file.flush().await?
        }
        Ok(at)
    };
    let appended: Result<u64, Error> = appended.await;
    file.close();
    let at = appended?;
    if at.is_multiple_of(RECORD_BYTES as u64) {
        Ok(Outcome::At(at / RECORD_BYTES as u64))
    } else {
        Ok(Outcome::Garbage(format!("an append at {at}")))
    }
}

async fn read_log(volume: &Volume) -> Result<Outcome, Error> {
    let file = open(volume, LOG).await?;
    let bytes = file.read(0, 1 << 20).await;
    file.close();
    let bytes = bytes?;
    let mut values = Vec::new();
    for record in bytes.chunks(RECORD_BYTES) {
        let words = words(record);
        let whole = record.len() == RECORD_BYTES && words.iter().all(|word| *word == words[0]);
        if !whole {
            return Ok(Outcome::Garbage(garbage(&bytes)));
        }
        values.push(words[0]);
    }
    Ok(Outcome::Log(values))
}
