//! `holdfast mount` and `holdfast unmount`.

use super::up::{close, mount_name, wait_for_signal};
use crate::cli::Direct;
use crate::exit::{Exit, Failure, Result};
use crate::{logging, output};
use clap::Args;
use mount::{Mount as Mounted, MountOptions};
use std::path::PathBuf;
use std::sync::Arc;
use world::World;

#[derive(Debug, Args)]
pub(crate) struct Mount {
    /// Volume to mount
    #[arg(value_name = "VOLUME")]
    volume: String,
    /// Folder to mount it on
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Refuse everything that would change the volume
    #[arg(long)]
    read_only: bool,
    /// Stay in the foreground until unmounted or interrupted (what a supervisor runs)
    #[arg(long)]
    foreground: bool,
    #[command(flatten)]
    direct: Direct,
}

#[derive(Debug, Args)]
pub(crate) struct Unmount {
    /// Folder that a volume is mounted on
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Mount {
    pub(crate) fn run(self) -> Result {
        mount::remove_dead(&self.folder).map_err(|error| {
            failed(format!("cannot unmount {}: {error}", self.folder.display()))
        })?;
        if !self.foreground {
            return self.run_behind();
        }
        logging::init("warn");
        let members = self.direct.members()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("holdfast-mount")
            .build()
            .map_err(|error| failed(error.to_string()))?;
        // A world belongs to the runtime that it is made in.
        runtime.block_on(async {
            let world = self.direct.world()?;
            self.serve(world, members).await
        })
    }

    async fn serve(self, world: World, members: Vec<String>) -> Result {
        let metrics = Arc::new(wire::Metrics::default());
        let client = client::Client::new(world, wire::Hub::default(), metrics, members);
        let options = client::Options { name: mount_name(&self.folder), ..Default::default() };
        let volume = client.open_volume(&self.volume, options).await.map_err(|error| {
            let exit = match error {
                client::Error::NotFound(_) | client::Error::Deleted => Exit::NotFound,
                _ => Exit::Unreachable,
            };
            Failure::new(exit, error.to_string(), "see: holdfast volume list; holdfast status")
        })?;
        let options =
            MountOptions { read_only: self.read_only, source: format!("holdfast:{}", self.volume) };
        let mounted = Mounted::new(volume, &self.folder, &options);
        let mounted = mounted.map_err(|error| failed(error.to_string()))?;
        output::talk(&format!("{} is mounted on {}", self.volume, self.folder.display()));
        tokio::select! {
            signal = wait_for_signal() => signal.map_err(|error| failed(error.to_string()))?,
            _ = mounted.wait() => {}
        }
        close(mounted).await
    }

    /// Starts a process of its own that serves the mount, and waits until it is there.
    fn run_behind(self) -> Result {
        use std::os::unix::process::CommandExt;
        let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
        let before = device(&self.folder);
        let mut child = std::process::Command::new(program)
            .args(std::env::args_os().skip(1))
            .arg("--foreground")
            .stdin(std::process::Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        loop {
            if let Ok(Some(status)) = child.try_wait() {
                // It said itself what was wrong.
                let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
                std::process::exit(code.into());
            }
            if device(&self.folder) != before {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// The device of the file system that a folder is on; changes when something is mounted there.
fn device(folder: &std::path::Path) -> Option<u64> {
    rustix::fs::stat(folder).ok().map(|stat| stat.st_dev)
}

impl Unmount {
    pub(crate) fn run(self) -> Result {
        mount::unmount(&self.folder).map_err(|error| {
            let message = format!("cannot unmount {}: {error}", self.folder.display());
            Failure::new(
                Exit::Failed,
                message,
                "is a volume mounted there? see: findmnt -t fuse.holdfast",
            )
        })
    }
}

fn failed(message: String) -> Failure {
    Failure::new(Exit::Failed, message, "see the lines above for what happened")
}
