//! Small files that people write and read: configuration, tokens, certificates.
//!
//! The only place of this crate that touches the file system itself: these files are on no disk of
//! the cluster, and nothing of what [`world`] simulates concerns them.
#![allow(clippy::disallowed_methods)]

use crate::exit::{Exit, Failure, Result};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Reads a text file.
pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| {
        let message = format!("cannot read {}: {error}", path.display());
        Failure::new(Exit::Usage, message, "name a file that exists and that you may read")
    })
}

/// Whether there is anything in a folder, as far as can be seen.
pub(crate) fn has_entries(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

/// Writes a file that must not exist yet. A secret one can be read by its owner only.
pub(crate) fn create(path: &Path, content: &str, secret: bool) -> Result {
    let failed = |error: std::io::Error| {
        let message = format!("cannot write {}: {error}", path.display());
        let action = match error.kind() {
            std::io::ErrorKind::AlreadyExists => "move the existing file away first",
            _ => "choose a folder that you may write to",
        };
        Failure::new(Exit::Failed, message, action)
    };
    let mode = if secret { 0o600 } else { 0o644 };
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(content.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

/// Whether there is something at this path.
pub(crate) fn exists(path: &Path) -> bool {
    path.exists()
}

/// Makes a folder, and those above it, where they are absent.
pub(crate) fn create_folder(path: &Path) -> Result {
    std::fs::create_dir_all(path).map_err(|error| {
        let message = format!("cannot make the folder {}: {error}", path.display());
        Failure::new(Exit::Failed, message, "choose another folder")
    })
}
