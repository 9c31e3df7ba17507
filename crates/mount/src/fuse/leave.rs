//! Leaving a mount in order: nothing new is taken, what is buffered is written back, and no dead
//! mount point stays behind. All of it within a deadline.
//!
//! 1. Whatever would change the volume is refused from now on, with `ENODEV`.
//! 2. The kernel hands over the pages that programs changed through `mmap`, and everything buffered
//!    is written back.
//! 3. The file system is unmounted; detached when it is in use, so that its place is free at once
//!    and programs that still hold files meet errors instead of waiting.
//! 4. Whatever still waits for the cluster is told that it is over, and the session ends.

use super::{Mount, unmount};
use client::{Error, Volume};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use types::InodeId;

/// How a file system went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmounted {
    /// Nobody used it.
    Clean,
    /// It was in use; those who hold files in it meet errors.
    Detached,
    /// Somebody else had unmounted it.
    Already,
}

impl Unmounted {
    /// The word for people and programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Unmounted::Clean => "clean",
            Unmounted::Detached => "detached",
            Unmounted::Already => "already",
        }
    }
}

/// What became of a mount.
#[derive(Clone, Debug)]
pub struct Left {
    /// Bytes that were buffered and were written back.
    pub flushed_bytes: u64,
    /// Bytes that were buffered and are lost.
    pub unflushed_bytes: u64,
    /// The files that these bytes, or earlier failed writes, belong to.
    pub unflushed_files: Vec<InodeId>,
    pub unmounted: Unmounted,
    /// The first thing that went wrong.
    pub error: Option<String>,
}

impl Left {
    /// Whether everything that was written is safe.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.unflushed_bytes == 0 && self.unflushed_files.is_empty() && self.error.is_none()
    }
}

/// How long the cluster gets to hear that the session is over, past the deadline.
const FAREWELL: Duration = Duration::from_secs(2);

impl Mount {
    /// Leaves, writing back what can be written back within `deadline`.
    pub async fn leave(self, deadline: Duration) -> Left {
        let Mount { session, volume, path, gate } = self;
        gate.close();
        let mut error = None;
        let hand_over = blocking(sync_pages(path.clone()));
        if tokio::time::timeout(deadline / 2, hand_over).await.is_err() {
            error.get_or_insert("the kernel did not hand over all changed pages in time".into());
        }
        let before = volume.dirty_bytes();
        match tokio::time::timeout(deadline, volume.flush_all()).await {
            Ok(Ok(())) => {}
            Ok(Err(failed)) => drop(error.get_or_insert(failed.to_string())),
            Err(_) => drop(error.get_or_insert("the cluster did not take it in time".into())),
        }
        let unflushed_files = volume.unflushed();
        let unflushed_bytes = volume.dirty_bytes();
        if error.is_some() {
            volume.give_up();
        }
        let unmounted = blocking(move || take_away(session, path)).await;
        close(&volume, &mut error).await;
        Left {
            flushed_bytes: before.saturating_sub(unflushed_bytes),
            unflushed_bytes,
            unflushed_files,
            unmounted,
            error,
        }
    }
}

/// Ends the session. That of a volume that is gone ended with it.
async fn close(volume: &Volume, error: &mut Option<String>) {
    let closed = tokio::time::timeout(FAREWELL, volume.close()).await;
    volume.give_up();
    if let Ok(Err(failed)) = closed
        && !matches!(failed, Error::Deleted | Error::Unavailable { .. })
    {
        error.get_or_insert(failed.to_string());
    }
}

#[expect(clippy::disallowed_methods, reason = "the kernel is real, and these calls block")]
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it does not panic")
}

/// Makes the kernel write the pages that it alone has.
#[expect(clippy::disallowed_methods, reason = "the kernel is real")]
fn sync_pages(path: PathBuf) -> impl FnOnce() + Send {
    move || {
        let synced = std::fs::File::open(&path)
            .and_then(|root| rustix::fs::syncfs(&root).map_err(io::Error::from));
        if let Err(error) = synced {
            tracing::debug!(path = %path.display(), %error, "the kernel's pages were not synced");
        }
    }
}

fn take_away(session: fuser::BackgroundSession, path: PathBuf) -> Unmounted {
    if session.guard.is_finished() {
        return Unmounted::Already;
    }
    use rustix::mount::UnmountFlags;
    let unmounted = match rustix::mount::unmount(&path, UnmountFlags::empty()) {
        Ok(()) => Unmounted::Clean,
        Err(rustix::io::Errno::BUSY) => match unmount(&path) {
            Ok(()) => Unmounted::Detached,
            Err(_) => Unmounted::Already,
        },
        Err(_) => Unmounted::Already,
    };
    if unmounted == Unmounted::Clean {
        let _ = session.join();
    } else {
        // Its threads go on for those who still hold files, as long as this process runs.
        std::mem::forget(session);
    }
    unmounted
}
