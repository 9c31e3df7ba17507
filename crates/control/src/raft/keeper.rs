//! The database of a member, over as many openings as it takes.
//!
//! redb does nothing more after a write that failed, and openraft gives up a member whose storage
//! reports an error. For a full disk that is too much: the room comes back. So whoever meets one waits
//! here, and goes on where it was once there is clearly room, a probe file was written, and the database
//! was opened again. Meanwhile the member neither votes nor acknowledges anything: all of it needs the
//! disk. It cannot lead either, and says so (see [`Keeper::shortage`]); another member with room is elected.
//!
//! What it leaves out: any other failure of the disk, after which the member does stop.

use super::backend;
use super::store::Error;
use redb::Database;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use types::Moment;
use types::condition::Marks;
use types::limits::{ROOM_PROBE_BYTES, ROOM_PROBE_INTERVAL};
use world::{Disk, World};

/// Name of the probe file, beside the database.
const PROBE_FILE: &str = "probe";

/// A member's disk has no room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// When a write was first refused.
    pub since: Moment,
    pub reason: String,
}

#[derive(Debug)]
pub(super) struct Keeper {
    world: World,
    /// `None`: what is only looked at, or closed, is never opened again.
    disk: Mutex<Option<Disk>>,
    /// The file refused something for want of room.
    refused: Arc<AtomicBool>,
    /// Without one, opening it again did not work yet.
    open: RwLock<Option<Arc<Database>>>,
    /// How often it was opened again.
    openings: AtomicU64,
    shortage: Mutex<Option<Shortage>>,
}

impl Keeper {
    /// Opens the database on a disk, making it when there is none.
    pub(super) fn on(world: World, disk: Disk) -> Result<Keeper, Error> {
        let refused = Arc::<AtomicBool>::default();
        let database = backend::open(&disk, &refused)?;
        Ok(Keeper { disk: Mutex::new(Some(disk)), refused, ..Keeper::of(world, database) })
    }

    /// Takes a database that is already open.
    pub(super) fn of(world: World, database: Database) -> Keeper {
        let (open, shortage) = (RwLock::new(Some(Arc::new(database))), Mutex::default());
        let openings = AtomicU64::new(0);
        let (disk, refused) = (Mutex::default(), Arc::default());
        Keeper { world, disk, refused, open, openings, shortage }
    }

    /// Lets go of the database and of the disk, whoever else still knows this keeper.
    pub(super) fn close(&self) {
        *self.disk.lock().unwrap_or_else(PoisonError::into_inner) = None;
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn disk(&self) -> Option<Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Since when there is no room, and what was refused.
    pub(super) fn shortage(&self) -> Option<Shortage> {
        self.shortage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn now(&self) -> Result<Arc<Database>, Error> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.clone().ok_or(Error::Closed)
    }

    /// Does something with the database, where nothing waits for want of room.
    pub(super) fn try_now<T>(
        &self,
        work: impl Fn(&Database) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let database = self.now()?;
        work(&database)
    }

    /// Reads, as soon as that is possible.
    pub(super) async fn read<T>(
        &self,
        look: impl Fn(&Database) -> Result<T, Error>,
    ) -> Result<T, Error> {
        loop {
            let opening = self.opening();
            match self.try_now(&look) {
                Err(_) if opening != self.opening() => {}
                Err(error) if self.is_for_room() => self.wait_for_room(&error).await,
                done => return done,
            }
        }
    }

    /// Does something that may wait for the disk, as soon as there is room for it.
    pub(super) async fn write(
        self: &Arc<Keeper>,
        work: impl Fn(&Database) -> Result<(), Error> + Send + Sync + 'static,
    ) -> Result<(), Error> {
        let work = Arc::new(work);
        loop {
            let (keeper, work) = (self.clone(), work.clone());
            let opening = self.opening();
            match self.world.blocking(move || keeper.try_now(|database| work(database))).await {
                // What failed was the one before.
                Err(_) if opening != self.opening() => {}
                Err(error) if self.is_for_room() => self.wait_for_room(&error).await,
                done => return done,
            }
        }
    }

    /// Whether what failed just now failed because of a file that has no room.
    fn is_for_room(&self) -> bool {
        self.refused.load(Ordering::Acquire) && self.disk().is_some()
    }

    async fn wait_for_room(&self, error: &Error) {
        {
            let mut shortage = self.shortage.lock().unwrap_or_else(PoisonError::into_inner);
            if shortage.is_none() {
                let reason = error.to_string();
                tracing::warn!(reason, "the disk of the control plane is full: waiting for room");
                *shortage = Some(Shortage { since: self.world.now(), reason });
            }
        }
        while self.disk().is_some() {
            self.world.sleep(ROOM_PROBE_INTERVAL).await;
            match self.open_again() {
                Ok(()) => return,
                Err(error) => tracing::debug!(%error, "the control plane's disk"),
            }
        }
    }

    /// Proves that there is room, and opens the database again. Blocks for one sync, and for as long as
    /// it takes to read a small database.
    fn open_again(&self) -> Result<(), Error> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if !self.refused.load(Ordering::Acquire) {
            self.end_shortage();
            return Ok(());
        }
        let disk = self.disk().ok_or(Error::Closed)?;
        probe(&disk).map_err(redb::Error::Io)?;
        // Whoever reads has done so in a moment.
        if open.as_mut().is_some_and(|database| Arc::get_mut(database).is_none()) {
            return Err(Error::Closed);
        }
        *open = None;
        self.refused.store(false, Ordering::Release);
        let opened = backend::open(&disk, &self.refused);
        *open =
            Some(Arc::new(opened.inspect_err(|_| self.refused.store(true, Ordering::Release))?));
        self.openings.fetch_add(1, Ordering::Release);
        self.end_shortage();
        tracing::info!("the disk of the control plane has room again");
        Ok(())
    }

    fn opening(&self) -> u64 {
        self.openings.load(Ordering::Acquire)
    }

    fn end_shortage(&self) {
        *self.shortage.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Whether there is more room than the reserve of such a disk, and a file can be written.
fn probe(disk: &Disk) -> io::Result<()> {
    let space = disk.space()?;
    let inodes = space.inodes_free.is_some_and(|free| free == 0);
    if space.free < Marks::of(space.total).full_bytes || inodes {
        return Err(io::ErrorKind::StorageFull.into());
    }
    disk.remove_if_present(PROBE_FILE)?;
    let tried = disk.create(PROBE_FILE).and_then(|file| {
        file.write_at(0, &mut [IoSlice::new(&[0; ROOM_PROBE_BYTES])])?;
        file.sync()
    });
    disk.remove_if_present(PROBE_FILE)?;
    tried
}
