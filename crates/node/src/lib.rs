//! A storage node: one loop that owns its replicas, on its disks.
//!
//! Where to look: [`run`] is the loop, [`inbox`] the way into it, [`replica`] one replica with its log and index, [`log`] the
//! files, [`heartbeat`] what the control plane hears, [`service`] where requests come in.

pub mod access;
pub mod addresses;
pub mod ballast;
pub mod codec;
pub mod contents;
pub mod context;
pub mod heartbeat;
pub mod inbox;
pub mod log;
pub mod notices;
pub mod pace;
pub mod replica;
pub mod run;
pub mod service;
pub mod space;
pub mod store;
pub mod telling;
pub mod upkeep;

use addresses::Addresses;
use context::{Context, Counters};
use inbox::Inbox;
use replica::Home;
use run::{NodeEvent, NodeLoop};
use service::NodeService;
use space::DiskSpace;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use store::Identity;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use types::condition::State;
use types::{BootId, DiskId, NodeId};
use upkeep::Upkeep;
use wire::control::{DiskOffer, DiskState, Join, JoinReply};
use wire::{Class, Hub, Members, Metrics, Operation, Peers, Request, Server, Service};
use world::kv::Database;
use world::{Disk, World};

/// What a node is started with.
#[derive(Debug)]
pub struct Config {
    pub world: World,
    pub hub: Hub,
    pub metrics: Arc<Metrics>,
    /// Where the node keeps its own identity; may be one of the disks.
    pub home: Disk,
    pub disks: Vec<DiskConfig>,
    /// `host:port` to listen on; port 0 picks a free one.
    pub listen: String,
    /// What others should dial; empty: what was bound.
    pub advertise: String,
    /// Where the members of the control plane listen.
    pub members: Vec<String>,
    /// What fails together with this node; empty: nobody said.
    pub zone: String,
    pub upkeep: Upkeep,
}

/// One disk of a node.
#[derive(Clone, Debug)]
pub struct DiskConfig {
    pub disk: Disk,
    /// Where indexes live; on the same disk, or they would not share its fate.
    pub database: Database,
    /// Below which it is low or full, where somebody said so.
    pub watermarks: space::Watermarks,
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}: {source}")]
    Listen { address: String, source: std::io::Error },
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("the disk {label} failed: {source}")]
    Disk { label: String, source: std::io::Error },
    #[error("the control plane refused this node: {0}")]
    Join(wire::Error),
    #[error("the control plane's answer makes no sense: {0}")]
    Answer(String),
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    context: Arc<Context>,
    address: String,
    server: Server,
    hub: Hub,
    /// Keeps the service reachable through the hub.
    _service: Arc<dyn Service>,
    running: JoinHandle<()>,
    beating: JoinHandle<()>,
}

impl Node {
    /// Joins the cluster, opens what is on the disks, and serves. Waits for the control plane as
    /// long as it takes.
    ///
    /// # Errors
    /// When the address cannot be bound, a disk fails, or the control plane refuses the node.
    pub async fn start(config: Config) -> Result<Node, Error> {
        let world = config.world.clone();
        let listen = |source| Error::Listen { address: config.listen.clone(), source };
        let listener = world.net().listen(&config.listen).await.map_err(listen)?;
        let bound = listener.local_address().map_err(listen)?.to_string();
        let address = if config.advertise.is_empty() { bound } else { config.advertise.clone() };
        let peers = Peers::new(world.clone(), config.hub.clone(), config.metrics.clone());
        let members = Members::new(peers.clone(), config.members.clone());
        let boot = BootId(world.random());
        let joined = join(&config, &members, boot, &address).await?;
        let inbox = Inbox::new(world.clone());
        let context = Arc::new(Context {
            world: world.clone(),
            peers,
            members,
            node: NodeId(joined.node),
            cluster: joined.cluster,
            boot,
            addresses: RwLock::new(Addresses::default()),
            inbox: inbox.clone(),
            upkeep: config.upkeep,
            counters: Arc::default(),
            pace: Mutex::default(),
            copy_paces: Mutex::default(),
        });
        let homes = homes(&config, &joined);
        let spaces = spaces(&config, &joined);
        let beat = Arc::new(Notify::new());
        let (for_open, now) = (context.clone(), beat.clone());
        let opened = world.blocking(move || NodeLoop::open(for_open, homes, spaces, now)).await;
        let node_loop =
            opened.map_err(|source| Error::Disk { label: config.home.label(), source })?;
        let service: Arc<dyn Service> = Arc::new(NodeService { context: context.clone() });
        config.hub.register(&address, &service);
        let server = Server::start(&world, listener, service.clone(), config.metrics.clone())
            .map_err(listen)?;
        tracing::info!(node = %context.node, address, "node started");
        let running = world.spawn("node", inbox.keep(node_loop));
        let beating = world.spawn("heartbeat", heartbeat::run(context.clone(), beat));
        let hub = config.hub.clone();
        Ok(Node { context, address, server, hub, _service: service, running, beating })
    }

    /// The node's number.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.context.node
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What happened on it.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.context.counters
    }

    /// Has every replica read everything it holds again, and mended where it is damaged. It does so
    /// by itself every `SCRUB_INTERVAL`.
    pub fn scrub(&self) {
        self.context.post(NodeEvent::Scrub);
    }

    /// What it would tell the control plane now; `None` once its loop has ended.
    pub async fn report(&self) -> Option<run::Report> {
        let (answer, report) = oneshot::channel();
        self.context.post(NodeEvent::Report(answer));
        report.await.ok()
    }

    /// Stops in order: no new requests, a last checkpoint of every replica.
    pub async fn stop(self) {
        self.hub.remove(&self.address);
        self.server.stop();
        self.beating.abort();
        let (done, stopped) = oneshot::channel();
        self.context.post(NodeEvent::Stop(done));
        let _ = stopped.await;
        self.running.abort();
    }
}

async fn join(
    config: &Config,
    members: &Members,
    boot: BootId,
    address: &str,
) -> Result<JoinReply, Error> {
    let mut identity = identity(&config.world, &config.home, "node")?;
    let mut offers = Vec::new();
    for disk in &config.disks {
        let known = self::identity(&config.world, &disk.disk, "disk")?;
        let failed = |source| Error::Disk { label: disk.disk.label(), source };
        let capacity = disk.disk.space().map_err(failed)?.total;
        let label = disk.disk.label();
        offers.push(DiskOffer { identity: known.identity, label, capacity });
    }
    let join = Join {
        cluster: identity.cluster,
        identity: identity.identity,
        boot: boot.0,
        address: address.to_string(),
        zone: config.zone.clone(),
        disks: offers,
    };
    let reply: JoinReply = ask_to_join(&config.world, members, &join).await?;
    if reply.disks.len() != config.disks.len() {
        return Err(Error::Answer("it numbers another count of disks".into()));
    }
    if (identity.cluster, identity.number) != (reply.cluster, reply.node) {
        (identity.cluster, identity.number) = (reply.cluster, reply.node);
        store::write(&config.home, "node", &identity)?;
    }
    Ok(reply)
}

async fn ask_to_join(world: &World, members: &Members, join: &Join) -> Result<JoinReply, Error> {
    let mut failures = 0;
    loop {
        let request = Request::new(Operation::ControlJoin).class(Class::Control).message(join);
        match members.call(request).await {
            Ok(reply) => return reply.decode().map_err(Error::Join),
            Err(error @ wire::Error::Refused { .. }) if !is_passing(&error) => {
                return Err(Error::Join(error));
            }
            Err(error) => {
                failures += 1;
                if failures % 16 == 4 {
                    tracing::warn!(%error, "waiting for the control plane");
                }
                world.sleep(wire::members::backoff(failures).min(Duration::from_millis(500))).await;
            }
        }
    }
}

/// Whether a refusal only means that no member leads yet.
fn is_passing(error: &wire::Error) -> bool {
    use prost::Message;
    use wire::control::{Error as Detail, ErrorKind};
    let wire::Error::Refused { body, .. } = error else { return true };
    let kind = Detail::decode(body.clone()).map(|detail| detail.kind());
    matches!(kind, Ok(ErrorKind::NotLeader | ErrorKind::Unavailable | ErrorKind::Unspecified))
}

/// Who this node or disk is; drawn at the first start.
fn identity(world: &World, disk: &Disk, path: &str) -> Result<Identity, Error> {
    if let Some(identity) = store::read(disk, path)? {
        return Ok(identity);
    }
    let identity = Identity { identity: world.random(), ..Identity::default() };
    store::write(disk, path, &identity)?;
    Ok(identity)
}

fn homes(config: &Config, joined: &JoinReply) -> Vec<Home> {
    let disks = config.disks.iter().zip(&joined.disks);
    disks
        .map(|(disk, number)| Home {
            disk_id: DiskId(*number),
            disk: disk.disk.clone(),
            database: disk.database.clone(),
            ballast: ballast::Ballast::open(disk.disk.clone()),
        })
        .collect()
}

/// The space of each disk, as far as it is on record.
fn spaces(config: &Config, joined: &JoinReply) -> Vec<DiskSpace> {
    let disks = config.disks.iter().zip(&joined.disks).enumerate();
    let on_record = |at: usize| match joined.spaces.get(at).copied().map(DiskState::try_from) {
        Some(Ok(DiskState::Full)) => State::Full,
        Some(Ok(DiskState::Low)) => State::Low,
        _ => State::Ok,
    };
    disks
        .map(|(at, (config, number))| {
            let disk = (config.disk.clone(), config.database.clone());
            let marks = config.watermarks;
            DiskSpace::new(DiskId(*number), disk, marks, on_record(at))
        })
        .collect()
}
