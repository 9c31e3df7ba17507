//! redb's file, on a disk of the [`world`], so that it can be simulated.
//!
//! Every write of redb goes to the file at once; what a crash may take back is what the world's disk
//! says: everything since the last sync.

use redb::{Database, DatabaseError, StorageBackend};
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use world::disk::is_no_space;
use world::{Disk, File};

/// Name of the file that holds a member's log, vote and snapshot.
pub const FILE: &str = "raft.redb";

/// Memory for pages of the file. Bytes.
const CACHE_BYTES: usize = 8 << 20;

/// Opens the database of a member, making it when there is none. `refused` is set as soon as the file
/// refuses something for want of room.
///
/// # Errors
/// When the file cannot be opened or is not a database.
pub fn open(disk: &Disk, refused: &Arc<AtomicBool>) -> Result<Database, DatabaseError> {
    let file = match disk.open(FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = disk.create(FILE).inspect_err(|error| {
                refused.fetch_or(is_no_space(error), Ordering::AcqRel);
            })?;
            disk.sync_folder(".")?;
            file
        }
        opened => opened?,
    };
    let backend = Backend { file, refused: refused.clone() };
    Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend)
}

#[derive(Debug)]
struct Backend {
    file: File,
    refused: Arc<AtomicBool>,
}

impl Backend {
    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| {
            if is_no_space(error) {
                self.refused.store(true, Ordering::Release);
            }
        })
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < out.len() {
            match self.file.read_at(offset + done as u64, &mut out[done..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => done += read,
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.note(self.file.set_len(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.note(self.file.sync())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.note(self.file.write_at(offset, &mut [IoSlice::new(data)]))
    }
}
