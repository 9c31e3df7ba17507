//! A file volume as a file system of this machine, through FUSE.
//!
//! The kernel asks over `/dev/fuse`; threads of the `fuser` crate read the requests. Each request
//! becomes one future over the client. It is polled once on the thread that read it: what is
//! answered from memory is answered there, and only what has to wait becomes a task.
//!
//! What the kernel keeps: attributes for [`types::limits::ATTRIBUTE_CACHE_TIME`], names as long as the client
//! hears of changes (see `forget`), and pages of files for as long as nobody else changed the file (see
//! `handles`). Permissions are checked by the kernel.

mod adapter;
mod convert;
mod errno;
mod forget;
mod gate;
mod handles;
mod leave;
mod locks;
mod names;
mod shared;

pub use leave::{Afterwards, Left, Unmounted, tear_down};
pub use names::open_files;

/// How a mount ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Somebody unmounted it (`holdfast unmount`, `umount`).
    Unmounted,
    /// The kernel's connection was torn down, and the mount point is still there, dead.
    Lost,
}

use adapter::Adapter;
use client::Volume;
use forget::{Forgetting, Handed, Kernel};
use fuser::{BackgroundSession, Config, MountOption, SessionACL};
use gate::Gate;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Threads that read requests from the kernel, and carry them out as far as nobody else is needed.
/// Some may wait for the disk meanwhile, so there are more than it takes to be busy.
const READER_THREADS: usize = 4;

/// How far the kernel reads ahead of a program that reads from one end to the other, in KiB. Its
/// own default is 128, and what is asked for at mounting can only make that less.
const READ_AHEAD_KIB: u32 = 1024;

/// How a volume is mounted.
#[derive(Clone, Debug, Default)]
pub struct MountOptions {
    pub read_only: bool,
    /// What `mount` and `df` show as the device.
    pub source: String,
}

/// Why a volume cannot be mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    #[error("{0} is not a folder; make it first")]
    NotFolder(PathBuf),
    #[error(
        "the kernel refused to mount at {path}: {source} (is /dev/fuse there, and are you root?)"
    )]
    Kernel { path: PathBuf, source: io::Error },
}

/// A mounted volume.
#[derive(Debug)]
pub struct Mount {
    session: BackgroundSession,
    volume: Volume,
    path: PathBuf,
    gate: Gate,
    forgetting: Forgetting,
    /// Of the file system, as the kernel's list of mounts has it.
    device: Option<String>,
}

impl Mount {
    /// Mounts `volume` on the folder `path`.
    ///
    /// # Errors
    /// When the folder is missing or the kernel refuses.
    ///
    /// # Panics
    /// When called outside a tokio runtime.
    pub fn new(volume: Volume, path: &Path, options: &MountOptions) -> Result<Mount, MountError> {
        if !path.is_dir() {
            return Err(MountError::NotFolder(path.to_path_buf()));
        }
        let kernel = |source| MountError::Kernel { path: path.to_path_buf(), source };
        // The kernel lists it by this name, wherever this process goes.
        let path = path.canonicalize().map_err(kernel)?;
        let runtime = tokio::runtime::Handle::current();
        let gate = Gate::default();
        let handed = Handed::default();
        let adapter = Adapter::new(volume.clone(), runtime, gate.clone(), handed.clone());
        let kernel = |source| MountError::Kernel { path: path.clone(), source };
        let session = fuser::Session::new(adapter, &path, &config(options)).map_err(kernel)?;
        let connection = session.as_fd().try_clone_to_owned().map_err(kernel)?;
        let session = session.spawn().map_err(kernel)?;
        let forgetting = Forgetting::start(
            volume.follow_names(),
            handed,
            Kernel { notifier: session.notifier(), device: connection },
        );
        let device = device_of(&mounts(), &path).map(str::to_owned);
        if let Some(device) = &device {
            read_ahead(device);
        }
        Ok(Mount { session, volume, path, gate, forgetting, device })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The mounted volume.
    #[must_use]
    pub fn volume(&self) -> &Volume {
        &self.volume
    }

    /// Waits until it is no longer served.
    pub async fn wait(&self) -> Ended {
        while !self.session.guard.is_finished() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if self.is_listed() { Ended::Lost } else { Ended::Unmounted }
    }

    /// Whether the kernel lists it among its mounts, dead or alive.
    fn is_listed(&self) -> bool {
        let Some(device) = &self.device else { return false };
        device_of(&mounts(), &self.path) == Some(device)
    }

    /// Whether anything is mounted at its place, this or something else.
    fn is_place_taken(&self) -> bool {
        device_of(&mounts(), &self.path).is_some()
    }
}

/// Unmounts what is mounted at `path`, detaching it when it is in use.
///
/// # Errors
/// What the kernel says.
pub fn unmount(path: &Path) -> io::Result<()> {
    use rustix::mount::UnmountFlags;
    match rustix::mount::unmount(path, UnmountFlags::empty()) {
        Err(rustix::io::Errno::BUSY) => Ok(rustix::mount::unmount(path, UnmountFlags::DETACH)?),
        result => Ok(result?),
    }
}

/// Takes away a mount of ours at `path` whose process is gone, as a killed one leaves it behind.
///
/// # Errors
/// What the kernel says.
pub fn remove_dead(path: &Path) -> io::Result<()> {
    let dead = |error: &io::Error| error.kind() == io::ErrorKind::NotConnected;
    if !std::fs::metadata(path).is_err_and(|error| dead(&error)) {
        return Ok(());
    }
    tracing::warn!(path = %path.display(), "a mount whose process is gone is taken away");
    unmount(path)
}

/// Lets the kernel read ahead further. It is only slower when this does not succeed.
#[expect(clippy::disallowed_methods, reason = "the kernel is real")]
fn read_ahead(device: &str) {
    let setting = format!("/sys/class/bdi/{device}/read_ahead_kb");
    if let Err(error) = std::fs::write(&setting, READ_AHEAD_KIB.to_string()) {
        tracing::debug!(setting, %error, "the kernel reads ahead as far as it likes");
    }
}

#[expect(clippy::disallowed_methods, reason = "the kernel is real")]
fn mounts() -> String {
    std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()
}

/// The device number of what was last mounted on `path`. Asking the path itself would be a request
/// to us, on a thread that may be needed to answer it.
fn device_of<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let escaped =
        path.to_str()?.replace('\\', "\\134").replace(' ', "\\040").replace('\t', "\\011");
    let lines = mounts.lines().rev().map(|line| line.split(' ').collect::<Vec<&str>>());
    lines.into_iter().find(|fields| fields.get(4) == Some(&escaped.as_str()))?.get(2).copied()
}

fn config(options: &MountOptions) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(options.source.clone()),
        MountOption::Subtype("holdfast".into()),
        MountOption::DefaultPermissions,
        MountOption::Dev,
        MountOption::Suid,
        MountOption::Exec,
    ];
    if options.read_only {
        config.mount_options.push(MountOption::RO);
    }
    config.acl = SessionACL::All;
    config.n_threads = Some(READER_THREADS);
    config.clone_fd = true;
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_of_a_mount_is_found_by_its_path() {
        let mounts = "\
            22 1 254:0 / / rw - ext4 /dev/vda rw\n\
            60 22 0:40 / /mnt/a\\040b rw - fuse.holdfast holdfast:main rw\n\
            61 22 0:41 / /mnt/a\\040b rw - fuse.holdfast holdfast:main rw\n";
        assert_eq!(device_of(mounts, Path::new("/mnt/a b")), Some("0:41"));
        assert_eq!(device_of(mounts, Path::new("/")), Some("254:0"));
        assert_eq!(device_of(mounts, Path::new("/mnt")), None);
    }
}
