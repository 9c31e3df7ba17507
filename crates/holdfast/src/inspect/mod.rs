//! Printing what the system writes: segments, states, checkpoints, identities, indexes, and the
//! database of a member of the control plane.
//!
//! Nothing that is looked at is changed: databases are opened as copies. What a running process
//! writes at the same moment may be half there, and then looks damaged at its end.

mod index;
mod sealed;
mod segment;

use serde::Serialize;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// What a file holds.
#[derive(Clone, Debug, Serialize)]
pub struct Inspected {
    /// `segment`, `state`, `checkpoint`, `node`, `disk`, `index`, `raft`, `lock`.
    pub kind: &'static str,
    pub path: PathBuf,
    /// What the file says about itself.
    pub head: Map<String, Value>,
    /// Its parts, in order; each has an `id`.
    pub items: Vec<Map<String, Value>>,
    /// Parts that were not printed, because of the limit.
    pub more: u64,
    /// What does not verify, with its place.
    pub damages: Vec<Damage>,
}

/// Something that does not verify.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Offset in the file; the key, for databases.
    pub at: String,
    pub reason: String,
}

/// Why nothing can be said about a path.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{} is nothing that this system writes", path.display())]
    Unknown { path: PathBuf },
    #[error("cannot open the database {}: {reason}", path.display())]
    Database { path: PathBuf, reason: String },
}

impl Inspected {
    fn new(kind: &'static str, path: &Path) -> Inspected {
        Inspected {
            kind,
            path: path.to_path_buf(),
            head: Map::new(),
            items: Vec::new(),
            more: 0,
            damages: Vec::new(),
        }
    }

    fn damage(&mut self, at: impl ToString, reason: impl ToString) {
        self.damages.push(Damage { at: at.to_string(), reason: reason.to_string() });
    }

    /// Adds a part, unless there are enough.
    fn item(&mut self, limit: usize, item: Value) {
        let Value::Object(item) = item else { unreachable!("items are objects") };
        if self.items.len() < limit {
            self.items.push(item);
        } else {
            self.more += 1;
        }
    }
}

/// Prints what is at `path`, with at most `limit` parts.
///
/// # Errors
/// When it cannot be read, or is of no kind of ours. Damage is no error: it is in the answer.
pub fn inspect(path: &Path, limit: usize) -> Result<Inspected, Error> {
    let io = |source| Error::Io { path: path.to_path_buf(), source };
    if std::fs::metadata(path).map_err(io)?.is_dir() {
        return index::inspect(path, limit);
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if is_ballast(path, name) {
        return Ok(ballast(path, std::fs::metadata(path).map_err(io)?.len()));
    }
    let content = std::fs::read(path).map_err(io)?;
    if content.starts_with(b"HFSG") || name.ends_with(".segment") {
        return Ok(segment::inspect(path, &content, limit));
    }
    if content.starts_with(b"HFST") || sealed::is_name(name) {
        return Ok(sealed::inspect(path, name, &content));
    }
    if content.starts_with(b"redb") || name.ends_with(".redb") {
        return raft(path, content);
    }
    if name == world::disk::LOCK_FILE {
        return Ok(lock(path, &content));
    }
    Err(Error::Unknown { path: path.to_path_buf() })
}

/// The file whose lock keeps a folder for one process; it names the last one.
/// A piece of room that a disk holds back; there is nothing in it to be recognised by.
fn is_ballast(path: &Path, name: &str) -> bool {
    let folder = path.parent().and_then(Path::file_name);
    folder.is_some_and(|folder| folder == node::ballast::FOLDER) && name.parse::<u8>().is_ok()
}

fn ballast(path: &Path, bytes: u64) -> Inspected {
    let mut inspected = Inspected::new("ballast", path);
    inspected.head.insert("bytes".into(), bytes.into());
    inspected
}

fn lock(path: &Path, content: &[u8]) -> Inspected {
    let mut inspected = Inspected::new("lock", path);
    match std::str::from_utf8(content).ok().and_then(|text| text.parse::<u32>().ok()) {
        Some(process) => drop(inspected.head.insert("process".into(), process.into())),
        None => inspected.damage(0, "holds no process number"),
    }
    inspected
}

fn raft(path: &Path, content: Vec<u8>) -> Result<Inspected, Error> {
    let mut inspected = Inspected::new("raft", path);
    let world = world::World::real(world::net::Net::tcp());
    match control::raft::inspect::inspect(world, content) {
        Ok(Value::Object(all)) => inspected.head = all,
        Ok(other) => drop(inspected.head.insert("content".into(), other)),
        Err(error) => inspected.damage("-", error),
    }
    Ok(inspected)
}
