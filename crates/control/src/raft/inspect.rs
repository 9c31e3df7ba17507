//! Prints a member's database without touching it: all work is done on a copy in memory, because
//! opening a database that was not closed in order repairs it, and a running member may own it.

use super::store::{Error, Store};
use redb::{Database, StorageBackend};
use std::io;
use std::sync::Mutex;
use world::World;

/// Everything in the database `content`, as JSON.
///
/// # Errors
/// When it is not a database of ours, or is damaged.
pub fn inspect(world: World, content: Vec<u8>) -> Result<serde_json::Value, Error> {
    let copy = Copy { content: Mutex::new(content) };
    let mut builder = Database::builder();
    // What is looked at may be damaged, and then an error is wanted and not a panic.
    builder.set_check_integrity_on_open(true);
    let database = builder.create_with_backend(copy)?;
    Store::of(world, database)?.inspect()
}

/// A file in memory.
#[derive(Debug)]
struct Copy {
    content: Mutex<Vec<u8>>,
}

fn index(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}

impl StorageBackend for Copy {
    fn len(&self) -> io::Result<u64> {
        Ok(self.content.lock().expect("no holder panics").len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let content = self.content.lock().expect("no holder panics");
        let start = index(offset)?;
        let end = start.checked_add(out.len()).filter(|end| *end <= content.len());
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(&content[start..end]);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.content.lock().expect("no holder panics").resize(index(length)?, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut content = self.content.lock().expect("no holder panics");
        let start = index(offset)?;
        let end = start.checked_add(data.len()).ok_or(io::ErrorKind::InvalidInput)?;
        if content.len() < end {
            content.resize(end, 0);
        }
        content[start..end].copy_from_slice(data);
        Ok(())
    }
}
