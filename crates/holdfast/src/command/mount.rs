//! `holdfast mount` and `holdfast unmount`.

use crate::cli::Direct;
use crate::ending::{Ending, Reason};
use crate::exit::{Exit, Failure, Result};
use crate::output::Format;
use crate::signals::Signals;
use crate::{logging, output, probe, span};
use clap::{Args, ValueEnum};
use client::{Grade, Identity, OnOutage, Volume};
use holdfast::metrics::Registry;
use mount::{Ended, Mount as Mounted, MountOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use world::World;

/// How a mount behaves, and how it ends.
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
    /// Stay in the foreground until unmounted or interrupted (what a supervisor runs); the last line
    /// on standard output says what happened, and the exit code why
    #[arg(long)]
    foreground: bool,
    /// What programs meet while the cluster does not answer: they wait, or get an error
    #[arg(long, value_enum, default_value_t = Outage::Wait)]
    on_outage: Outage,
    /// With --on-outage error: for how long a request is tried again before it fails (ETIMEDOUT)
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = span::parse)]
    outage_budget: Duration,
    /// Unmount and end once the cluster has answered nothing for so long [default: never]
    #[arg(long, value_name = "TIME", value_parser = span::parse)]
    unreachable_limit: Option<Duration>,
    /// For how long to write back what is buffered when the mount ends
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = span::parse)]
    deadline: Duration,
    /// Answer /healthz, /readyz and /metrics on this address, over plain HTTP
    #[arg(long, value_name = "ADDR")]
    health: Option<String>,
    /// Log lines and the final line as JSON, one object a line
    #[arg(long)]
    json_log: bool,
    #[command(flatten)]
    direct: Direct,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Outage {
    Wait,
    Error,
}

#[derive(Debug, Args)]
pub(crate) struct Unmount {
    /// Folder that a volume is mounted on
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// How often a mount is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

impl Mount {
    pub(crate) fn run(self) -> Result {
        mount::remove_dead(&self.folder).map_err(|error| {
            failed(format!("cannot unmount {}: {error}", self.folder.display()))
        })?;
        if !self.foreground {
            return self.run_behind();
        }
        logging::init_as("warn", self.json_log);
        let members = self.direct.members()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("holdfast-mount")
            .build()
            .map_err(|error| failed(error.to_string()))?;
        // A world belongs to the runtime that it is made in.
        let result = runtime.block_on(async {
            let world = self.direct.world()?;
            self.serve(world, members).await
        });
        // Nobody waits for what still waits for the cluster, or for those who hold files.
        runtime.shutdown_background();
        result
    }

    async fn serve(self, world: World, members: Vec<String>) -> Result {
        let mut signals = Signals::listen().map_err(|error| failed(error.to_string()))?;
        let metrics = Arc::new(wire::Metrics::default());
        let registry = Registry::new(&metrics);
        let client = client::Client::new(world.clone(), wire::Hub::default(), metrics, members);
        let volume = client.open_volume(&self.volume, self.options()).await.map_err(not_opened)?;
        registry.add_mount(&volume);
        let _probe = match &self.health {
            None => None,
            Some(address) => {
                let server = probe::serve(&world, address, volume.clone(), registry).await;
                let server = server.map_err(|error| {
                    failed(format!("cannot answer /healthz on {address}: {error}"))
                })?;
                output::talk(&format!("health on http://{}", server.address()));
                Some(server)
            }
        };
        let options =
            MountOptions { read_only: self.read_only, source: format!("holdfast:{}", self.volume) };
        let mounted = Mounted::new(volume, &self.folder, &options);
        let mounted = mounted.map_err(|error| failed(error.to_string()))?;
        output::talk(&format!("{} is mounted on {}", self.volume, self.folder.display()));
        let reason = tokio::select! {
            reason = watch(&world, &mounted, self.unreachable_limit) => reason,
            () = signals.next() => Reason::Unmounted,
        };
        let ending = Ending::of(mounted, &self.volume, reason, self.deadline, &mut signals).await;
        ending.print(self.json_log || self.direct.remote.output == Format::Json)?;
        ending.result()
    }

    fn options(&self) -> client::Options {
        let on_outage = match self.on_outage {
            Outage::Wait => OnOutage::Wait,
            Outage::Error => OnOutage::Error { after: self.outage_budget },
        };
        let identity = identity(&self.folder, self.read_only);
        let name = format!("{}:{}", identity.host, identity.mount_point);
        client::Options { on_outage, name, identity, ..client::Options::default() }
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

/// Who mounts, for people who list clients.
pub(crate) fn identity(folder: &Path, read_only: bool) -> Identity {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy().into_owned();
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mount_point = folder.display().to_string();
    Identity { host, pid: std::process::id(), mount_point, read_only }
}

/// Waits until a mount is over by itself, and says why. Logs each turn for the better or worse.
pub(crate) async fn watch(
    world: &World,
    mounted: &Mounted,
    unreachable_limit: Option<Duration>,
) -> Reason {
    tokio::select! {
        ended = mounted.wait() => match ended {
            Ended::Unmounted => Reason::Unmounted,
            Ended::Lost => Reason::MountLost,
        },
        _ = mounted.volume().ended() => Reason::VolumeDeleted,
        () = unreachable(world, mounted.volume(), unreachable_limit) => Reason::ClusterUnreachable,
    }
}

async fn unreachable(world: &World, volume: &Volume, limit: Option<Duration>) {
    let mut grade = Grade::Ok;
    loop {
        let health = volume.health();
        if health.grade != grade {
            let (was, is, reason) = (grade.name(), health.grade.name(), &health.reason);
            tracing::warn!(volume = volume.name(), was, is, reason, "health");
            grade = health.grade;
        }
        if limit.is_some_and(|limit| health.unanswered >= limit) {
            return;
        }
        world.sleep(LOOK_INTERVAL).await;
    }
}

fn not_opened(error: client::Error) -> Failure {
    let exit = match error {
        client::Error::NotFound(_) => Exit::NotFound,
        client::Error::Deleted | client::Error::Deleting { .. } => Exit::VolumeDeleted,
        _ => Exit::Unreachable,
    };
    Failure::new(exit, error.to_string(), "see: holdfast volume list; holdfast status")
}

/// The device of the file system that a folder is on; changes when something is mounted there.
fn device(folder: &Path) -> Option<u64> {
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
