//! `holdfast up`: a whole cluster in this process.

use crate::exit::{Exit, Failure, Result};
use crate::{logging, output};
use clap::Args;
use holdfast::embedded::{Config, Embedded};
use mount::{Mount, MountOptions};
use std::path::PathBuf;

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
        let mount = match &self.mount {
            None => None,
            Some(path) => Some(self.mount(&cluster, path.clone()).await?),
        };
        self.introduce(&cluster)?;
        wait_for_signal().await.map_err(|error| failed(&error.to_string()))?;
        output::talk("stopping");
        if let Some(mount) = mount {
            close(mount).await?;
        }
        cluster.stop().await;
        Ok(())
    }

    async fn mount(&self, cluster: &Embedded, path: PathBuf) -> Result<Mount> {
        mount::remove_dead(&path)
            .map_err(|error| failed(&format!("cannot unmount {}: {error}", path.display())))?;
        std::fs::create_dir_all(&path)
            .map_err(|error| failed(&format!("cannot make {}: {error}", path.display())))?;
        let options = client::Options { name: mount_name(&path), ..client::Options::default() };
        let volume = cluster.open_volume(VOLUME, options).await;
        let volume = volume.map_err(|error| failed(&format!("{error:#}")))?;
        let options = MountOptions { read_only: false, source: format!("holdfast:{VOLUME}") };
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

/// Unmounts and writes back, unless a second signal says that it takes too long.
pub(crate) async fn close(mount: Mount) -> Result {
    let long = tokio::time::sleep(CLOSE_PATIENCE);
    let closing = mount.close();
    tokio::pin!(closing, long);
    let mut told = false;
    let closed = loop {
        tokio::select! {
            closed = &mut closing => break closed,
            () = &mut long, if !told => {
                told = true;
                output::talk("still writing back what is buffered: the cluster does not take it; \
                              Ctrl-C again gives up and loses it");
            }
            signal = wait_for_signal() => {
                signal.map_err(|error| failed(&error.to_string()))?;
                return Err(failed("given up: what was not written back is lost"));
            }
        }
    };
    closed.map_err(|error| failed(&format!("what was written is not all safe: {error}")))
}

/// How long closing may take before a person is told what it waits for.
const CLOSE_PATIENCE: std::time::Duration = std::time::Duration::from_secs(3);

/// Who holds a mount, for people who list clients.
pub(crate) fn mount_name(path: &std::path::Path) -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy().into_owned();
    format!("{host}:{}", path.display())
}

/// Waits for Ctrl-C or a request to terminate.
pub(crate) async fn wait_for_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

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
