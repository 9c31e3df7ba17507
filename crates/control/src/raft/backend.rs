//! redb's file, on a disk of the [`world`], so that it can be simulated.
//!
//! Every write of redb goes to the file at once; what a crash may take back is what the world's disk
//! says: everything since the last sync.

use redb::{Database, DatabaseError, StorageBackend};
use std::io::{self, IoSlice};
use world::{Disk, File};

/// Name of the file that holds a member's log, vote and snapshot.
pub const FILE: &str = "raft.redb";

/// Memory for pages of the file. Bytes.
const CACHE_BYTES: usize = 8 << 20;

/// Opens the database of a member, making it when there is none.
///
/// # Errors
/// When the file cannot be opened or is not a database.
pub fn open(disk: &Disk) -> Result<Database, DatabaseError> {
    let file = match disk.open(FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = disk.create(FILE)?;
            disk.sync_folder(".")?;
            file
        }
        opened => opened?,
    };
    Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(Backend { file })
}

#[derive(Debug)]
struct Backend {
    file: File,
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
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, &mut [IoSlice::new(data)])
    }
}
