//! One control plane and some storage nodes in this process, each node with a folder of its own.
//!
//! They talk to each other directly, and listen on loopback as well, so that other processes can
//! mount their volumes. On disk it looks like this:
//!
//! ```text
//! DATA/control/        the control plane's state
//! DATA/node-1/disk/    replicas of the first node, and their indexes
//! DATA/node-2/ ...
//! ```

use crate::metrics::Registry;
use anyhow::{Context, Result};
use client::{Client, Options, Volume};
use control::api::volume::Create;
use control::{Embedding, Member};
use node::ballast::Ballast;
use node::space::Watermarks;
use node::{DiskConfig, Node};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use types::volume::VolumeKind;
use wire::{Hub, Metrics};
use world::kv::{Budget, Database};
use world::net::Net;
use world::{Disk, World};

/// What to start.
#[derive(Clone, Debug)]
pub struct Config {
    pub data: PathBuf,
    pub nodes: u64,
    /// Where the admin API listens.
    pub admin_listen: String,
}

/// A running cluster.
#[derive(Debug)]
pub struct Embedded {
    pub world: World,
    pub member: Member,
    /// In the order of their folders, which need not be that of their ids.
    pub nodes: Vec<Node>,
    pub hub: Hub,
    pub metrics: Arc<Metrics>,
    pub registry: Registry,
}

impl Embedded {
    /// Starts all parts, on what is in the data folder already.
    ///
    /// # Errors
    /// When a folder cannot be used, a port is taken, or what is on disk is damaged.
    pub async fn start(config: &Config) -> Result<Embedded> {
        let world = World::real(Net::tcp());
        let (hub, metrics) = (Hub::default(), Arc::new(Metrics::default()));
        let registry = Registry::new(&metrics);
        let member = start_member(config, &world, &hub, &metrics, &registry).await?;
        let members = vec![member.address().to_string()];
        let folder = |number: &u64| config.data.join(format!("node-{number}"));
        let start = |number| start_node(folder(&number), &world, &hub, &metrics, &members);
        // Who is new gets its number when it joins: it is to be that of its folder.
        let (known, new): (Vec<u64>, Vec<u64>) =
            (1..=config.nodes).partition(|number| folder(number).exists());
        let mut nodes = futures::future::try_join_all(known.into_iter().map(start)).await?;
        for number in new {
            nodes.push(start(number).await?);
        }
        nodes.iter().for_each(|node| registry.add_node(node));
        Ok(Embedded { world, member, nodes, hub, metrics, registry })
    }

    /// Starts the node of a folder, `1` being the first: one that was stopped, or one more.
    ///
    /// # Errors
    /// As for [`Embedded::start`].
    pub async fn start_node(&mut self, config: &Config, number: u64) -> Result<()> {
        let folder = config.data.join(format!("node-{number}"));
        let members = vec![self.member.address().to_string()];
        let node = start_node(folder, &self.world, &self.hub, &self.metrics, &members).await?;
        self.registry.add_node(&node);
        self.nodes.push(node);
        Ok(())
    }

    /// Creates a file volume when there is none of that name.
    ///
    /// # Errors
    /// What the control plane says.
    pub async fn ensure_volume(&self, name: &str, replicas: u8) -> Result<()> {
        if self.member.state().volume_named(name).is_some() {
            return Ok(());
        }
        let create = Create { replicas, ..Create::new(name, VolumeKind::File) };
        let created = self.member.create_volume(create).await;
        created.map_err(|error| anyhow::anyhow!("cannot create the volume {name}: {error}"))?;
        Ok(())
    }

    /// Opens a volume from within this process.
    ///
    /// # Errors
    /// See [`client::Error`].
    pub async fn open_volume(&self, name: &str, options: Options) -> Result<Volume> {
        let members = vec![self.member.address().to_string()];
        let client =
            Client::new(self.world.clone(), self.hub.clone(), self.metrics.clone(), members);
        Ok(client.open_volume(name, options).await?)
    }

    /// Stops all parts in order, with everything on disk.
    pub async fn stop(self) {
        futures::future::join_all(self.nodes.into_iter().map(Node::stop)).await;
        self.member.stop().await;
    }
}

async fn start_member(
    config: &Config,
    world: &World,
    hub: &Hub,
    metrics: &Arc<Metrics>,
    registry: &Registry,
) -> Result<Member> {
    let folder = config.data.join("control");
    let disk = open_disk(&folder)?;
    let embedding = Embedding {
        world: world.clone(),
        disk,
        hub: hub.clone(),
        metrics: registry.control(),
        wire_metrics: metrics.clone(),
    };
    let member = Member::start(embedding, control::Config::alone(&config.admin_listen)).await;
    let member = member.context("cannot start the control plane")?;
    while !member.leads() {
        world.sleep(Duration::from_millis(10)).await;
    }
    Ok(member)
}

async fn start_node(
    folder: PathBuf,
    world: &World,
    hub: &Hub,
    metrics: &Arc<Metrics>,
    members: &[String],
) -> Result<Node> {
    // Reading a long journal takes a while; the nodes do so side by side.
    let place = folder.join("disk");
    let disk = world.blocking(move || storage(&place)).await?;
    let config = node::Config {
        world: world.clone(),
        hub: hub.clone(),
        metrics: metrics.clone(),
        home: disk.disk.clone(),
        disks: vec![disk],
        listen: "127.0.0.1:0".into(),
        advertise: String::new(),
        members: members.to_vec(),
        zone: String::new(),
        upkeep: node::upkeep::Upkeep::default(),
    };
    Node::start(config)
        .await
        .with_context(|| format!("cannot start the node in {}", folder.display()))
}

/// A folder as a node's disk: replicas, and beside them their indexes.
///
/// # Errors
/// When the folder cannot be used, or the indexes in it cannot be opened.
pub fn storage(folder: &Path) -> Result<DiskConfig> {
    let disk = open_disk(folder)?;
    let index = folder.join("index");
    std::fs::create_dir_all(&index)
        .with_context(|| format!("cannot create {}", index.display()))?;
    // Opening it writes a little, and there may not be a byte left.
    let ballast = Ballast::open(disk.clone());
    let database = loop {
        match open_database(folder, &index) {
            Err(error) if is_no_space(&error) && ballast.let_go() => {}
            opened => break opened,
        }
    };
    let database =
        database.with_context(|| format!("cannot open the index in {}", index.display()))?;
    Ok(DiskConfig { disk, database, watermarks: Watermarks::default() })
}

fn is_no_space(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(types::kv::Error::NoSpace { .. }))
}

/// Opens the indexes of a disk. A database that is damaged as a whole is set aside: the replicas
/// whose indexes were in it say so, and are made anew from others.
fn open_database(folder: &Path, index: &Path) -> Result<Database> {
    let opened = Database::open(index, Budget::default());
    let Err(error @ types::kv::Error::Damaged { .. }) = opened else { return Ok(opened?) };
    let aside = (1..).map(|number| folder.join(format!("index.damaged-{number}")));
    let aside = aside.into_iter().find(|path| !path.exists()).expect("numbers do not run out");
    tracing::error!(%error, aside = %aside.display(), "the index is damaged and was set aside");
    std::fs::rename(index, &aside).context("cannot set a damaged index aside")?;
    std::fs::create_dir_all(index)?;
    Ok(Database::open(index, Budget::default())?)
}

/// Opens a folder as a disk, and keeps other processes from doing the same.
///
/// # Errors
/// When the folder can be neither found nor made, or another process uses it.
pub fn open_disk(folder: &Path) -> Result<Disk> {
    let opened = Disk::real(folder).and_then(|disk| disk.lock().map(|()| disk));
    opened.with_context(|| format!("cannot use the folder {}", folder.display()))
}
