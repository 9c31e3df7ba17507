//! `holdfast mount` and `holdfast unmount`.

use crate::cli::Direct;
use crate::ending::{Ending, Reason};
use crate::exit::{Exit, Failure, Result};
use crate::output::Format;
use crate::signals::Signals;
use crate::{file, logging, output, probe, span};
use clap::{Args, ValueEnum};
use client::{Grade, Identity, Life, OnOutage, Volume};
use control::http::HttpServer;
use holdfast::metrics::Registry;
use mount::{Afterwards, Ended, Mount as Mounted, MountOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use types::access::Rights;
use wire::Secret;
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
    /// Should the volume be deleted, mount this one in its place, read-only
    #[arg(long, value_name = "VOLUME")]
    standby: Option<String>,
    /// Let the standby be written to
    #[arg(long, requires = "standby")]
    standby_writable: bool,
    /// File with the token of the volume, where it needs one (see: holdfast volume token)
    #[arg(long, value_name = "FILE", env = "HOLDFAST_VOLUME_TOKEN_FILE", hide_env_values = true)]
    volume_token_file: Option<PathBuf>,
    /// File with the token of the standby [default: that of the volume]
    #[arg(long, value_name = "FILE", requires = "standby")]
    standby_token_file: Option<PathBuf>,
    /// Answer /healthz, /readyz and /metrics on this address, over plain HTTP
    #[arg(long, value_name = "ADDR")]
    health: Option<String>,
    /// Log lines and the final line as JSON, one object a line
    #[arg(long)]
    json_log: bool,
    #[command(flatten)]
    direct: Direct,
}

/// One volume to mount.
struct What {
    volume: String,
    read_only: bool,
    token: Option<Secret>,
    stands_in_for: Option<types::VolumeId>,
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
        self.warn_of_files_underneath();
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

    /// Files in the folder that is mounted on were written there by whoever took it for the mount.
    fn warn_of_files_underneath(&self) {
        if file::has_entries(&self.folder) {
            output::talk(&format!(
                "warning: there are files in {} itself; they are out of sight while it is mounted \
                 on. Were they meant for the volume? Nothing could be written there after: chattr +i",
                self.folder.display()
            ));
        }
    }

    async fn serve(self, world: World, members: Vec<String>) -> Result {
        let mut signals = Signals::listen().map_err(|error| failed(error.to_string()))?;
        let metrics = Arc::new(wire::Metrics::default());
        let registry = Registry::new(&metrics);
        let client = client::Client::new(world.clone(), wire::Hub::default(), metrics, members);
        let mut mounted = self.mount(&client, &self.what(None)?).await?;
        registry.set_mount(Some(mounted.volume()));
        let _probe = self.probe(&world, &registry).await?;
        let mut standby = self.standby.as_ref();
        loop {
            let reason = tokio::select! {
                reason = watch(&world, &mounted, self.unreachable_limit) => reason,
                () = signals.next() => Reason::Unmounted,
            };
            let name = mounted.volume().name();
            let stays = standby.is_some() && reason == Reason::VolumeDeleted;
            let afterwards = if stays { Afterwards::GoesOn } else { Afterwards::Ends };
            let how = (self.deadline, afterwards);
            let mut ending = Ending::of(&world, mounted, &name, reason, how, &mut signals).await;
            let next = standby.take().filter(|_| ending.wants_standby());
            let Some(next) = next else {
                self.print(&ending)?;
                return ending.result();
            };
            let instead = match self.what(Some((next, &ending))) {
                Ok(what) => self.mount(&client, &what).await,
                Err(failure) => Err(failure),
            };
            match instead {
                Ok(instead) => {
                    ending.go_on_with(next);
                    self.print(&ending)?;
                    tracing::error!(deleted = name, standby = next, "a standby is mounted instead");
                    output::talk(&format!(
                        "warning: volume {name} was deleted; volume {next} is mounted in its place"
                    ));
                    registry.set_mount(Some(instead.volume()));
                    mounted = instead;
                }
                Err(failure) => {
                    output::talk(&format!("{failure}\nthe standby {next} is not mounted"));
                    self.print(&ending)?;
                    return ending.result();
                }
            }
        }
    }

    fn print(&self, ending: &Ending) -> Result {
        ending.print(self.json_log || self.direct.remote.output == Format::Json)
    }

    /// What to mount: the volume that was asked for, or a standby in the place of one that ended.
    fn what(&self, standby: Option<(&String, &Ending)>) -> Result<What> {
        let own = self.volume_token_file.as_deref();
        Ok(match standby {
            None => What {
                volume: self.volume.clone(),
                read_only: self.read_only,
                token: token(own)?,
                stands_in_for: None,
            },
            Some((standby, ending)) => What {
                volume: standby.clone(),
                read_only: self.read_only || !self.standby_writable,
                token: token(self.standby_token_file.as_deref().or(own))?,
                stands_in_for: Some(ending.volume_id()),
            },
        })
    }

    async fn mount(&self, client: &client::Client, what: &What) -> Result<Mounted> {
        let on_outage = match self.on_outage {
            Outage::Wait => OnOutage::Wait,
            Outage::Error => OnOutage::Error { after: self.outage_budget },
        };
        let identity = Identity {
            stands_in_for: what.stands_in_for,
            ..identity(&self.folder, what.read_only)
        };
        let name = format!("{}:{}", identity.host, identity.mount_point);
        let token = what.token;
        let options = client::Options { on_outage, name, identity, token, ..Default::default() };
        let volume = client.open_volume(&what.volume, options).await.map_err(not_opened)?;
        let read_only = what.read_only || volume.rights() == Rights::ReadOnly;
        if read_only && !what.read_only {
            output::talk("its token has no right to change anything: it is mounted read-only");
        }
        let options = MountOptions { read_only, source: format!("holdfast:{}", what.volume) };
        let mounted = Mounted::new(volume, &self.folder, &options);
        let mounted = mounted.map_err(|error| failed(error.to_string()))?;
        output::talk(&format!("{} is mounted on {}", what.volume, self.folder.display()));
        Ok(mounted)
    }

    async fn probe(&self, world: &World, registry: &Registry) -> Result<Option<HttpServer>> {
        let Some(address) = &self.health else { return Ok(None) };
        let server = probe::serve(world, address, registry.clone()).await;
        let server = server
            .map_err(|error| failed(format!("cannot answer /healthz on {address}: {error}")))?;
        output::talk(&format!("health on http://{}", server.address()));
        Ok(Some(server))
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
    Identity { host, pid: std::process::id(), mount_point, read_only, stands_in_for: None }
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
        life = mounted.volume().ended() => match life {
            Life::Revoked(_) => Reason::AccessRevoked,
            _ => Reason::VolumeDeleted,
        },
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

/// Reads a token from its file.
pub(crate) fn token(path: Option<&Path>) -> Result<Option<Secret>> {
    let Some(path) = path else { return Ok(None) };
    let secret = file::read(path)?.parse().map_err(|error| {
        let message = format!("{} holds no token: {error}", path.display());
        Failure::new(Exit::Usage, message, "make one with: holdfast volume token create")
    })?;
    Ok(Some(secret))
}

/// What to say where a volume needs a token, and none that is good was shown.
pub(crate) fn denied(error: &client::Error) -> Failure {
    let action =
        "show a token with --volume-token-file; make one with: holdfast volume token create";
    Failure::new(Exit::Denied, error.to_string(), action)
}

fn not_opened(error: client::Error) -> Failure {
    let exit = match error {
        client::Error::NotFound(_) => Exit::NotFound,
        client::Error::Deleted | client::Error::Deleting { .. } => Exit::VolumeDeleted,
        client::Error::Revoked(_) => Exit::AccessRevoked,
        client::Error::NoAccess(_) => return denied(&error),
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
