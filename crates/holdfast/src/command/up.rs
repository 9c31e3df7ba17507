//! `holdfast up`: a whole cluster in this process.

use super::mount;
use crate::ending::{Ending, Reason};
use crate::exit::{Exit, Failure, Result};
use crate::signals::Signals;
use crate::{logging, output};
use ::mount::{Afterwards, Mount, MountOptions};
use clap::Args;
use holdfast::embedded::{Config, Embedded};
use std::path::PathBuf;
use types::access::Rights;

/// The volume that `up` makes and mounts.
const VOLUME: &str = "main";

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Folder that keeps everything; made when absent
    #[arg(long, value_name = "DIR", default_value = "./holdfast-data")]
    data: PathBuf,
    /// Storage nodes to run, each with a folder of its own
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=16))]
    nodes: u64,
    /// Mount the volume `main` on this folder
    #[arg(long, value_name = "DIR")]
    mount: Option<PathBuf>,
    /// File with a token of that volume, where somebody made one for it
    #[arg(long, value_name = "FILE", env = "HOLDFAST_VOLUME_TOKEN_FILE", hide_env_values = true)]
    volume_token_file: Option<PathBuf>,
    /// Where the admin API listens; only loopback addresses, because `up` knows no credentials
    #[arg(long, value_name = "ADDR", default_value = crate::cli::SERVER_DEFAULT)]
    listen: String,
}

impl Up {
    pub(crate) fn run(self) -> Result {
        logging::init("warn");
        check_loopback(&self.listen)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("holdfast")
            .build()
            .map_err(|error| failed(&error.to_string()))?;
        runtime.block_on(self.serve())
    }

    async fn serve(self) -> Result {
        let config = Config {
            data: self.data.clone(),
            nodes: self.nodes,
            admin_listen: self.listen.clone(),
        };
        let wrong = |error: anyhow::Error| failed(&format!("{error:#}"));
        let cluster = Embedded::start(&config).await.map_err(wrong)?;
        let replicas = u8::try_from(self.nodes.min(3)).expect("at most three");
        cluster.ensure_volume(VOLUME, replicas).await.map_err(wrong)?;
        let mut signals = Signals::listen().map_err(|error| failed(&error.to_string()))?;
        let mount = match &self.mount {
            None => None,
            Some(path) => Some(self.mount(&cluster, path.clone()).await?),
        };
        self.introduce(&cluster)?;
        let asked = match mount {
            Some(mount) => self.watch(&cluster, mount, &mut signals).await?,
            None => None,
        };
        // Whatever became of the mount, the cluster serves others.
        let ended = match asked {
            Some(ended) => ended,
            None => {
                signals.next().await;
                Ok(())
            }
        };
        output::talk("stopping");
        cluster.stop().await;
        ended
    }

    /// Serves the mount until a signal, and says how it ended. Should it end by itself, it says so
    /// loudly, and returns `None`.
    async fn watch(
        &self,
        cluster: &Embedded,
        mounted: Mount,
        signals: &mut Signals,
    ) -> Result<Option<Result>> {
        let reason = tokio::select! {
            reason = mount::watch(&cluster.world, &mounted, None) => Some(reason),
            () = signals.next() => None,
        };
        let asked = reason.is_none();
        let reason = reason.unwrap_or(Reason::Unmounted);
        let world = &cluster.world;
        let how = (LEAVE_DEADLINE, if asked { Afterwards::Ends } else { Afterwards::GoesOn });
        let ending = Ending::of(world, mounted, VOLUME, reason, how, signals).await;
        if !asked || !ending.is_clean() {
            ending.print(false)?;
        }
        if asked {
            return Ok(Some(ending.result()));
        }
        cluster.registry.set_mount(None);
        output::talk(&format!(
            "warning: volume {VOLUME} is not mounted any more; the cluster goes on serving \
             (Ctrl-C stops it)"
        ));
        Ok(None)
    }

    async fn mount(&self, cluster: &Embedded, path: PathBuf) -> Result<Mount> {
        ::mount::remove_dead(&path)
            .map_err(|error| failed(&format!("cannot unmount {}: {error}", path.display())))?;
        std::fs::create_dir_all(&path)
            .map_err(|error| failed(&format!("cannot make {}: {error}", path.display())))?;
        let token = mount::token(self.volume_token_file.as_deref())?;
        let identity = mount::identity(&path, false);
        let name = format!("{}:{}", identity.host, identity.mount_point);
        let options = client::Options { name, identity, token, ..client::Options::default() };
        let volume = cluster.open_volume(VOLUME, options).await;
        let volume = volume.map_err(|error| failed(&format!("{error:#}")))?;
        cluster.registry.set_mount(Some(&volume));
        let read_only = volume.rights() == Rights::ReadOnly;
        let options = MountOptions { read_only, source: format!("holdfast:{VOLUME}") };
        Mount::new(volume, &path, &options).map_err(|error| failed(&error.to_string()))
    }

    fn introduce(&self, cluster: &Embedded) -> Result {
        let admin = cluster.member.admin_address();
        output::data(&format!("control plane  http://{admin}  {}", self.path("control")))?;
        for (number, node) in (1..).zip(&cluster.nodes) {
            let folder = self.path(&format!("node-{number}"));
            output::data(&format!("node {}         {}  {folder}", node.id(), node.address()))?;
        }
        let place = self.mount.as_ref().map(|path| path.display().to_string());
        match &place {
            Some(place) => output::data(&format!("volume {VOLUME}    mounted on {place}"))?,
            None => {
                output::data(&format!("volume {VOLUME}    not mounted (--mount DIR mounts it)"))?
            }
        }
        let server = if self.listen == crate::cli::SERVER_DEFAULT {
            String::new()
        } else {
            format!(" --server {admin}")
        };
        let first = match &place {
            Some(place) => format!("echo hello > {place}/hello && sync {place}/hello"),
            None => format!("holdfast mount {VOLUME} /mnt{server}"),
        };
        output::data("\nto try next:")?;
        output::data(&format!("  {first}"))?;
        output::data(&format!("  holdfast status{server}"))?;
        output::data(&format!(
            "  holdfast volume create more --kind file --capacity 10GiB{server}"
        ))?;
        output::data("\nCtrl-C writes everything back and stops")
    }

    fn path(&self, part: &str) -> String {
        self.data.join(part).display().to_string()
    }
}

/// How long writing back may take when everything stops: there is nobody else who could do it later.
const LEAVE_DEADLINE: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

fn check_loopback(listen: &str) -> Result {
    let host = listen.rsplit_once(':').map_or(listen, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if loopback {
        return Ok(());
    }
    let action =
        "use `holdfast server` with certificates (holdfast ca init) to serve other machines";
    Err(Failure::new(Exit::Usage, format!("{listen} is not a loopback address"), action))
}

fn failed(message: &str) -> Failure {
    Failure::new(Exit::Failed, message.to_owned(), "see the lines above for what happened")
}
