//! The database of a disk's indexes. It is opened as a copy, for opening repairs.

use super::{Error, Inspected};
use partition::extent::index;
use partition::namespace::describe;
use serde_json::json;
use std::ops::ControlFlow;
use std::path::Path;
use types::kv::Read;
use world::kv::{Budget, Database, Space};

/// Partition, replica and generation come before every key.
const PREFIX_BYTES: usize = 20;

pub(super) fn inspect(path: &Path, limit: usize) -> Result<Inspected, Error> {
    let io = |source| Error::Io { path: path.to_path_buf(), source };
    let names = std::fs::read_dir(path).map_err(io)?;
    let is_ours = names.flatten().any(|entry| entry.path().extension().is_some_and(|e| e == "jnl"));
    if !is_ours {
        return Err(Error::Unknown { path: path.to_path_buf() });
    }
    let copy = tempfile::tempdir().map_err(io)?;
    copy_folder(path, copy.path()).map_err(io)?;
    let failed = |reason: String| Error::Database { path: path.to_path_buf(), reason };
    let database = Database::open(copy.path(), Budget::default());
    let database = database.map_err(|error| failed(error.to_string()))?;
    let mut inspected = Inspected::new("index", path);
    for space in [Space::Metadata, Space::Index] {
        let handle = database.handle(space, Vec::new());
        let scanned = handle.scan(&[], None, &mut |key, value| {
            pair(&mut inspected, space, key, value, limit);
            ControlFlow::Continue(())
        });
        if let Err(error) = scanned {
            inspected.damage("-", error);
        }
    }
    Ok(inspected)
}

fn pair(inspected: &mut Inspected, space: Space, key: &[u8], value: &[u8], limit: usize) {
    let shown: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let Some((prefix, own)) = key.split_at_checked(PREFIX_BYTES) else {
        return inspected.damage(shown, "the key is shorter than its prefix");
    };
    let u64_at = |at: usize| u64::from_be_bytes(prefix[at..at + 8].try_into().expect("8 bytes"));
    let generation = u32::from_be_bytes(prefix[16..].try_into().expect("4 bytes"));
    let described = match space {
        Space::Metadata => describe::value(own, value)
            .map(|value| (describe::key(own), value))
            .map_err(|error| error.to_string()),
        Space::Index => index::describe(own, value).map_err(|error| error.to_string()),
    };
    let (meaning, value) = match described {
        Ok(described) => described,
        Err(reason) => return inspected.damage(shown, reason),
    };
    let item = json!({
        "id": shown, "partition": u64_at(0), "replica": u64_at(8), "generation": generation,
        "key": meaning, "value": value,
    });
    inspected.item(limit, item);
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
