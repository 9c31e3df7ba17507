//! Leaving a mount in order: nothing new is taken, what is buffered is written back, and no dead
//! mount point stays behind. All of it within a deadline.
//!
//! 1. Whatever would change the volume is refused from now on, with `ENODEV`.
//! 2. The kernel hands over the pages that programs changed through `mmap`, and everything buffered
//!    is written back. From then on pages are refused, too: whoever calls `msync` hears of it.
//! 3. The file system is unmounted; torn down when it is in use, so that its place is free at once
//!    and programs that still hold files meet errors (`ENOTCONN`, `ECONNABORTED`), and never wait.
//! 4. Whatever still waits for the cluster is told that it is over, and the session ends, with all
//!    locks.
//!
//! What is not written back by then is lost, and [`Left`] says how much and of which files.

use super::Mount;
use super::names::open_files;
use client::{Error, Volume};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::timeout;
use types::InodeId;

/// How a file system went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmounted {
    /// Nobody used it.
    Clean,
    /// It was in use; those who hold files in it meet errors.
    Detached,
    /// It was not mounted any more.
    Already,
    /// It is still there; the kernel refused.
    Stuck,
}

impl Unmounted {
    /// The word for people and programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Unmounted::Clean => "clean",
            Unmounted::Detached => "detached",
            Unmounted::Already => "already",
            Unmounted::Stuck => "stuck",
        }
    }
}

/// What became of a mount.
#[derive(Clone, Debug)]
pub struct Left {
    /// Bytes that were written back while leaving.
    pub flushed_bytes: u64,
    /// Bytes that were buffered and are lost.
    pub unflushed_bytes: u64,
    /// The files that these bytes belong to, and those of which something else could not be told.
    pub unflushed_files: BTreeSet<InodeId>,
    /// What these are called within the volume, as far as programs had them open.
    pub unflushed_names: BTreeMap<InodeId, String>,
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

/// How long the cluster, and the kernel, get past the deadline.
const FAREWELL: Duration = Duration::from_secs(2);

impl Mount {
    /// Leaves, writing back what can be written back within `deadline`.
    pub async fn leave(self, deadline: Duration, afterwards: Afterwards) -> Left {
        let mut names = self.names().await;
        self.gate.close();
        let landed_before = self.volume.landed_bytes();
        let served = (!self.session.guard.is_finished()).then(|| self.path.clone());
        let mut error = write_back(&self.volume, served, deadline).await;
        if error.is_some() {
            // Nobody shall wait any more, while unmounting least of all.
            self.volume.give_up();
        }
        self.gate.shut();
        let volume = self.volume.clone();
        let unmounted = take_away(self, afterwards).await;
        close(&volume, &mut error).await;
        let lost = volume.lost();
        let mut unflushed_files = lost.files;
        unflushed_files.extend(volume.unflushed());
        names.retain(|inode, _| unflushed_files.contains(inode));
        Left {
            flushed_bytes: volume.landed_bytes().saturating_sub(landed_before),
            unflushed_bytes: lost.bytes + volume.dirty_bytes(),
            unflushed_files,
            unflushed_names: names,
            unmounted,
            error,
        }
    }
}

impl Mount {
    /// Files that may turn out to be unwritten, by name. To be asked before any program meets an error,
    /// and lets go of its files.
    async fn names(&self) -> BTreeMap<InodeId, String> {
        let volume = &self.volume;
        let nothing = volume.dirty_bytes() == 0
            && volume.unflushed().is_empty()
            && volume.lost().files.is_empty();
        if nothing && volume.life().is_live() {
            return BTreeMap::new();
        }
        let place = self.path.clone();
        timeout(FAREWELL, blocking(move || open_files(&place))).await.unwrap_or_default()
    }
}

/// What becomes of the process when the mount is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    Ends,
    /// Nothing of the mount may be left in it.
    GoesOn,
}

/// Writes back what the kernel and this process have buffered; returns what went wrong.
async fn write_back(
    volume: &Volume,
    served: Option<PathBuf>,
    deadline: Duration,
) -> Option<String> {
    let volume = volume.clone();
    // A task of its own: what it has taken out of the buffer must not vanish with a time-out.
    let mut task = spawn(async move {
        let mut error = None;
        if let Some(path) = served
            && timeout(deadline / 2, blocking(sync_pages(path))).await.is_err()
        {
            error = Some("the kernel did not hand over all changed pages in time".to_owned());
        }
        let flushed = volume.flush_all().await;
        error.or(flushed.err().map(|failed| failed.to_string()))
    });
    match timeout(deadline, &mut task).await {
        Ok(done) => done.unwrap_or_else(|panic| Some(panic.to_string())),
        Err(_) => Some("the cluster did not take everything in time".to_owned()),
    }
}

/// Ends the session. That of a volume that is gone ended with it.
async fn close(volume: &Volume, error: &mut Option<String>) {
    let closed = timeout(FAREWELL, volume.close()).await;
    volume.give_up();
    if let Ok(Err(failed)) = closed
        && !matches!(failed, Error::Deleted | Error::Revoked(_) | Error::Unavailable { .. })
    {
        error.get_or_insert(failed.to_string());
    }
}

#[expect(clippy::disallowed_methods, reason = "a mount lives in a real process")]
fn spawn<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    tokio::spawn(work)
}

#[expect(clippy::disallowed_methods, reason = "the kernel is real, and these calls block")]
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it does not panic")
}

/// Makes the kernel write the pages that it alone has. By another process: a thread of this one that
/// waits for its own mount would keep the process, were it killed meanwhile, half dead for ever, and
/// with it everybody who uses the mount.
fn sync_pages(path: PathBuf) -> impl FnOnce() + Send {
    use std::process::{Command, Stdio};
    move || {
        let mut sync = Command::new("sync");
        sync.arg("--file-system").arg(&path);
        let quiet = sync.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match quiet.status() {
            Ok(status) if status.success() => {}
            synced => tracing::debug!(path = %path.display(), ?synced, "pages were not synced"),
        }
    }
}

/// Unmounts; takes a dead mount point away too.
async fn take_away(mount: Mount, afterwards: Afterwards) -> Unmounted {
    let place = mount.path.clone();
    mount.forgetting.stop();
    let unmounted = if mount.is_listed() {
        match timeout(FAREWELL, blocking(move || unmount_plainly(&place))).await {
            Ok(unmounted) => unmounted,
            Err(_) if tear_down(&mount.path).is_ok() => Unmounted::Detached,
            Err(_) => Unmounted::Stuck,
        }
    } else {
        // What is there by now is somebody else's.
        Unmounted::Already
    };
    let by_us = matches!(unmounted, Unmounted::Clean | Unmounted::Detached);
    if afterwards == Afterwards::GoesOn && by_us && !mount.is_place_taken() {
        let session = mount.session;
        blocking(move || drop(session)).await;
    } else {
        // Its threads end with the connection. Dropping would unmount what somebody may have mounted
        // here since.
        std::mem::forget(mount.session);
    }
    unmounted
}

fn unmount_plainly(path: &Path) -> Unmounted {
    use rustix::io::Errno;
    use rustix::mount::UnmountFlags;
    match rustix::mount::unmount(path, UnmountFlags::empty()) {
        Ok(()) => Unmounted::Clean,
        Err(Errno::BUSY) if tear_down(path).is_ok() => Unmounted::Detached,
        Err(Errno::BUSY) => Unmounted::Stuck,
        Err(_) => Unmounted::Already,
    }
}

/// Takes a mount away from under those who use it: they meet errors from now on, whatever they do.
///
/// # Errors
/// What the kernel says.
pub fn tear_down(path: &Path) -> io::Result<()> {
    use rustix::mount::UnmountFlags;
    // Forced, the kernel cuts the connection first. Were it cut by the end of this process instead,
    // a request on its way would end in EIO, which is the word for damage.
    Ok(rustix::mount::unmount(path, UnmountFlags::FORCE | UnmountFlags::DETACH)?)
}
