//! Looks at the tables of contents of a database's files before the library does.
//!
//! The library reserves memory for as many entries as a table says that it has, before it compares the checksum of the
//! table. One flipped bit can so ask for more memory than there is, which ends the process. A table that names more
//! entries than its file has room for is damaged.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use types::kv::Error;

/// The end of a file: magic, version, kind of checksum, checksum, place and length of its table of contents.
const TRAILER_BYTES: u64 = 4 + 1 + 1 + 16 + 8 + 8;
const TRAILER_MAGIC: &[u8] = b"SFA!";
const TRAILER_PLACE: usize = 4 + 1 + 1 + 16;
/// The beginning of a table: magic, number of entries.
const TABLE_HEAD_BYTES: usize = 4 + 4;
/// Of an entry: at least where it begins and how long it is.
const ENTRY_BYTES_MIN: u64 = 8 + 8;

/// Looks at every file below `folder`.
pub(super) fn check(folder: &Path) -> Result<(), Error> {
    let doing = "opening the database";
    match find_damaged(folder) {
        Ok(None) => Ok(()),
        Ok(Some(path)) => {
            let detail = format!("the table of contents of {path} has no end within the file");
            Err(Error::Damaged { doing, detail })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::Io { doing, detail: error.to_string() }),
    }
}

fn find_damaged(folder: &Path) -> io::Result<Option<String>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let found = if path.is_dir() {
            find_damaged(&path)?
        } else {
            is_damaged(&path)?.then(|| path.display().to_string())
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// What is not of this format is left to the library.
fn is_damaged(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let Some(at) = bytes.checked_sub(TRAILER_BYTES) else { return Ok(false) };
    let mut trailer = [0; TRAILER_BYTES as usize];
    file.read_exact_at(&mut trailer, at)?;
    if !trailer.starts_with(TRAILER_MAGIC) {
        return Ok(false);
    }
    let (place, _) = trailer[TRAILER_PLACE..].split_first_chunk().expect("it is in the trailer");
    let place = u64::from_le_bytes(*place);
    let mut head = [0; TABLE_HEAD_BYTES];
    let has_head = place.checked_add(TABLE_HEAD_BYTES as u64).is_some_and(|end| end <= at);
    if !has_head {
        return Ok(true);
    }
    file.read_exact_at(&mut head, place)?;
    let (entries, _) = head[4..].split_first_chunk().expect("it is in the head");
    Ok(u64::from(u32::from_le_bytes(*entries)) > (at - place) / ENTRY_BYTES_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of no content and so many entries, by its own word.
    fn file(entries: u32, place: u64) -> Vec<u8> {
        let mut bytes = b"TOC!".to_vec();
        bytes.extend(entries.to_le_bytes());
        bytes.extend([0; 40]);
        bytes.extend(TRAILER_MAGIC);
        bytes.extend([1, 0]);
        bytes.extend([0; 16]);
        bytes.extend(place.to_le_bytes());
        bytes.extend(48_u64.to_le_bytes());
        bytes
    }

    #[test]
    fn a_table_that_does_not_fit_into_its_file_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(check(&folder.path().join("none")), Ok(()), "it is made");
        fs::write(folder.path().join("other"), b"something else").unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        for (entries, place, is_good) in [
            (0, 0, true),
            (2, 0, true),
            (0x4000_0001, 0, false),
            (1, 45, false),
            (1, u64::MAX, false),
        ] {
            fs::write(inner.join("table"), file(entries, place)).unwrap();
            let result = check(folder.path());
            assert_eq!(result.is_ok(), is_good, "{entries} at {place}: {result:?}");
        }
    }
}
