//! `holdfast server`

use crate::config::disk::Disk;
use crate::config::{self, Config, Role};
use crate::exit::{Exit, Failure, Result};
use crate::signals::Signals;
use crate::tls::Identity;
use crate::{file, logging, output};
use anyhow::Context;
use clap::Args;
use control::http::HttpServer;
use holdfast::embedded::{open_disk, storage};
use holdfast::metrics::Registry;
use node::DiskConfig;
use node::upkeep::Upkeep;
use std::path::PathBuf;
use std::sync::Arc;
use wire::Hub;
use world::{Net, World};

#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Server {
    /// Configuration file, in TOML
    #[arg(long, value_name = "FILE", required_unless_present = "print_config")]
    config: Option<PathBuf>,
    /// Print a configuration file to begin with, every setting explained, and exit
    #[arg(long)]
    print_config: bool,
    /// Read and check the configuration file, and exit
    #[arg(long, requires = "config")]
    check: bool,
}

impl Server {
    pub(crate) fn run(self) -> Result {
        if self.print_config {
            return output::data(config::EXAMPLE.trim_end());
        }
        let Some(path) = &self.config else { unreachable!("the parser asks for it") };
        let config = Config::parse(&file::read(path)?).map_err(|message| {
            let action = "compare with: holdfast server --print-config";
            Failure::new(Exit::Usage, format!("{}: {message}", path.display()), action)
        })?;
        let identity = config.identity()?;
        let token = config.admin_token()?;
        if self.check {
            output::talk(&format!("{} is in order", path.display()));
            return Ok(());
        }
        logging::init("info");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("holdfast")
            .build()
            .map_err(|error| failed(&error.into()))?;
        runtime.block_on(serve(&config, identity, token))
    }
}

/// Runs the roles of this host until it is told to stop.
async fn serve(config: &Config, identity: Option<Identity>, token: Option<String>) -> Result {
    let mut signals = Signals::listen().map_err(|error| failed(&error.into()))?;
    let net = identity.as_ref().map_or_else(Net::tcp, |identity| Net::tls(identity.mutual.clone()));
    let metrics = Arc::new(wire::Metrics::default());
    let registry = Registry::new(&metrics);
    let host = Host { world: World::real(net), hub: Hub::default(), metrics, registry };
    let _listening = host.metrics_server(config).await.map_err(|error| failed(&error))?;
    let admin_tls = identity.map(|identity| identity.admin);
    let member = match config.has(Role::Control) {
        true => {
            let started = host.member(config, config.control_config(token, admin_tls)).await;
            Some(started.map_err(|error| failed(&error))?)
        }
        false => None,
    };
    let node = match config.has(Role::Node) {
        // A signal must end the wait for a control plane that does not come.
        true => tokio::select! {
            started = host.node(config) => Some(started.map_err(|error| failed(&error))?),
            () = signals.next() => None,
        },
        false => None,
    };
    if node.is_some() || !config.has(Role::Node) {
        output::talk("serving; a signal to terminate stops it in order");
        signals.next().await;
    }
    output::talk("stopping");
    if let Some(node) = node {
        node.stop().await;
    }
    if let Some(member) = member {
        member.stop().await;
    }
    Ok(())
}

/// What the roles of a host share.
struct Host {
    world: World,
    hub: Hub,
    metrics: Arc<wire::Metrics>,
    registry: Registry,
}

impl Host {
    /// Answers Prometheus, where the configuration says so.
    async fn metrics_server(&self, config: &Config) -> anyhow::Result<Option<HttpServer>> {
        let Some(address) = &config.node.metrics_listen else { return Ok(None) };
        let started = self.registry.serve(&self.world, address).await;
        Ok(Some(started.with_context(|| format!("cannot listen on {address}"))?))
    }

    async fn member(
        &self,
        config: &Config,
        control: control::Config,
    ) -> anyhow::Result<control::Member> {
        let embedding = control::Embedding {
            world: self.world.clone(),
            disk: open_disk(&config.data.join("control"))?,
            hub: self.hub.clone(),
            metrics: self.registry.control(),
            wire_metrics: self.metrics.clone(),
        };
        Ok(control::Member::start(embedding, control).await?)
    }

    async fn node(&self, config: &Config) -> anyhow::Result<node::Node> {
        let folders = match config.node.disks.as_slice() {
            [] => vec![Disk::Folder(config.data.join("disk"))],
            disks => disks.to_vec(),
        };
        let open = |disk: Disk| {
            self.world.blocking(move || {
                let watermarks = disk.watermarks().map_err(anyhow::Error::msg)?;
                Ok::<_, anyhow::Error>(DiskConfig { watermarks, ..storage(disk.path())? })
            })
        };
        let disks = futures::future::try_join_all(folders.into_iter().map(open)).await;
        let members = config.cluster.members.iter().map(|member| member.wire.clone()).collect();
        let started = node::Node::start(node::Config {
            world: self.world.clone(),
            hub: self.hub.clone(),
            metrics: self.metrics.clone(),
            home: open_disk(&config.data.join("node"))?,
            disks: disks?,
            listen: config.node.listen.clone(),
            advertise: config.node.address.clone().unwrap_or_default(),
            members,
            zone: config.node.zone.clone(),
            upkeep: Upkeep {
                repair_bytes_per_second: config.node.repair_rate,
                ..Upkeep::default()
            },
        });
        let node = started.await?;
        self.registry.add_node(&node);
        Ok(node)
    }
}

fn failed(error: &anyhow::Error) -> Failure {
    Failure::new(Exit::Failed, format!("{error:#}"), "see the lines above for what happened")
}
