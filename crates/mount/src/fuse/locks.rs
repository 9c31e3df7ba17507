//! Locks of files, shared by all mounts of a volume.
//!
//! The `fuser` crate does not say whether a request came from `flock` or from `fcntl`. Both are
//! therefore kept in one table, as NFS does: a whole-file `flock` and a `fcntl` lock of the whole
//! file exclude each other. Their owners differ (an open file, or a process), and the kernel says
//! which owner has gone.

use client::{Error, Volume};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;
use types::InodeId;
use types::namespace::{FailureKind, Lock, LockKind, LockMode};

/// F_RDLCK, F_WRLCK and F_UNLCK.
const READ: i32 = 0;
const WRITE: i32 = 1;
const UNLOCK: i32 = 2;

/// How often a lock that somebody else holds is tried again: at first, and at most.
const RETRY_FIRST: Duration = Duration::from_millis(2);
const RETRY_MAX: Duration = Duration::from_millis(50);

/// Which inodes this mount has taken locks on, so that closing others costs nothing.
#[derive(Debug, Default)]
pub(super) struct Locks {
    held: Mutex<BTreeSet<(InodeId, u64)>>,
}

/// A lock as the kernel names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub owner: u64,
    pub start: u64,
    pub end: u64,
    pub mode: i32,
    pub pid: u32,
}

impl Wanted {
    fn lock(&self) -> Option<Lock> {
        let mode = match self.mode {
            READ => LockMode::Shared,
            WRITE => LockMode::Exclusive,
            UNLOCK => LockMode::Unlocked,
            _ => return None,
        };
        Some(Lock {
            owner: self.owner,
            start: self.start,
            end: self.end,
            mode: mode.into(),
            kind: LockKind::Posix.into(),
            pid: self.pid,
            ..Lock::default()
        })
    }
}

impl Locks {
    /// Takes or releases a lock; waits for it when told to.
    pub(super) async fn set(
        &self,
        volume: &Volume,
        inode: InodeId,
        wanted: Wanted,
        wait: bool,
    ) -> Result<(), Error> {
        let Some(lock) = wanted.lock() else {
            return Err(Error::Refused(FailureKind::Invalid.into()));
        };
        if wanted.mode != UNLOCK {
            // Noted first: a lock may be held even when its answer was lost.
            self.held.lock().expect("no holder panics").insert((inode, wanted.owner));
        }
        let mut pause = RETRY_FIRST;
        loop {
            match volume.set_lock(inode, lock).await {
                Err(Error::Refused(failure)) if wait && failure.kind() == FailureKind::Locked => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
                result => return result,
            }
        }
    }

    /// The lock that is in the way: start, end, mode and process; `None` when none is.
    pub(super) async fn get(
        volume: &Volume,
        inode: InodeId,
        wanted: Wanted,
    ) -> Result<Option<(u64, u64, i32, u32)>, Error> {
        let Some(lock) = wanted.lock() else {
            return Err(Error::Refused(FailureKind::Invalid.into()));
        };
        let found = volume.get_lock(inode, lock).await?;
        Ok(found.map(|lock| {
            let mode = if lock.mode() == LockMode::Exclusive { WRITE } else { READ };
            (lock.start, lock.end, mode, lock.pid)
        }))
    }

    /// Releases what an owner that is gone still holds on an inode.
    pub(super) async fn release(
        &self,
        volume: &Volume,
        inode: InodeId,
        owner: u64,
    ) -> Result<(), Error> {
        let held = self.held.lock().expect("no holder panics").remove(&(inode, owner));
        if held { volume.release_locks(inode, owner, LockKind::Posix).await } else { Ok(()) }
    }
}
