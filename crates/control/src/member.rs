//! A member of the control plane, from start to stop.

use crate::api::Admin;
use crate::config::Config;
use crate::core::{Consensus, Core};
use crate::http::HttpServer;
use crate::metrics::Metrics;
use crate::raft::machine::Machine;
use crate::raft::network::Network;
use crate::raft::store::Store;
use crate::raft::{self, Raft};
use crate::service::ControlService;
use futures::FutureExt;
use openraft::BasicNode;
use openraft::error::{InitializeError, RaftError};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use types::limits::ROOM_PROBE_INTERVAL;
use wire::{Hub, Peers, Server, Service};
use world::{Disk, Net, World};

/// Why a member did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Config(String),
    #[error("the disk of the control plane failed: {0}")]
    Store(#[from] raft::store::Error),
    #[error("consensus does not start: {0}")]
    Raft(String),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: String, source: std::io::Error },
}

/// What a member needs from the process it runs in.
#[derive(Clone, Debug)]
pub struct Embedding {
    pub world: World,
    /// The member's own disk: nothing else writes there.
    pub disk: Disk,
    /// Services of this process; the member enters itself.
    pub hub: Hub,
    pub metrics: Metrics,
    pub wire_metrics: Arc<wire::Metrics>,
}

/// A running member. Dropping it cuts it off at once, as a crash would; [`Member::stop`] waits until
/// it has put its files away.
#[derive(Debug)]
pub struct Member {
    core: Arc<Core>,
    hub: Hub,
    /// Kept, because the hub only borrows it.
    _service: Arc<dyn Service>,
    server: Server,
    api: HttpServer,
    reconcile: JoinHandle<()>,
    stand: JoinHandle<()>,
}

impl Member {
    /// Starts a member. The first start of a group makes it, and later ones take it up again.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(embedding: Embedding, mut config: Config) -> Result<Member, StartError> {
        config.check().map_err(StartError::Config)?;
        let world = &embedding.world;
        let listener = listen(world, world.net(), &config.listen).await?;
        let admin_net = config.admin_tls.clone().map_or_else(|| world.net().plain(), Net::tls);
        let admin_listener = listen(world, &admin_net, &config.admin_listen).await?;

        tell_own_ports(&mut config, &listener, &admin_listener);
        let core = start_core(&embedding, config).await?;
        let admin = Admin::new(core.clone());
        let service: Arc<dyn Service> =
            Arc::new(ControlService { core: core.clone(), admin: admin.clone() });
        let listening = |source| StartError::Listen { address: "its socket".to_owned(), source };
        let wire_metrics = embedding.wire_metrics.clone();
        let server =
            Server::start(world, listener, service.clone(), wire_metrics).map_err(listening)?;
        let answer = Arc::new(move |request| {
            let admin = admin.clone();
            async move { admin.answer(request).await }.boxed()
        });
        let api = HttpServer::start(world, admin_listener, answer).map_err(listening)?;
        embedding.hub.register(&server.address().to_string(), &service);

        initialize(&core).await?;
        let reconcile = world.spawn("control-reconcile", crate::reconcile::run(core.clone()));
        let stand = world.spawn("control-stand", crate::stand::run(core.clone()));
        Ok(Member { core, hub: embedding.hub, _service: service, server, api, reconcile, stand })
    }

    /// Where nodes, clients and other members reach it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Where people reach it.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.api.address()
    }

    /// Whether it leads, with a majority behind it.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.core.leading().is_some() && self.core.term_led().is_some()
    }

    /// A copy of the replicated state, as far as this member has it.
    #[must_use]
    pub fn state(&self) -> crate::state::State {
        self.core.machine.read(|state, _| state.clone())
    }

    /// Creates a volume, as the admin API does. This member must lead.
    ///
    /// # Errors
    /// What the admin API would answer.
    pub async fn create_volume(
        &self,
        create: crate::api::volume::Create,
    ) -> Result<types::VolumeId, crate::api::ApiError> {
        crate::api::volume::make(&self.core, create).await
    }

    /// Stops, and returns once its files are at rest.
    pub async fn stop(self) {
        self.cut_off();
        if let Err(error) = self.core.raft.shutdown().await {
            tracing::warn!(%error, "consensus did not stop in order");
        }
        // Requests that wait may know the store for a while yet; the folder is free from now on.
        self.core.store.close();
    }

    fn cut_off(&self) {
        self.reconcile.abort();
        self.stand.abort();
        self.server.stop();
        self.hub.remove(&self.server.address().to_string());
        self.core.leading().take();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.cut_off();
    }
}

/// Replaces port 0 in this member's own entry by the port that was picked, so that what others are
/// told can be dialled.
fn tell_own_ports(config: &mut Config, wire: &world::Listener, admin: &world::Listener) {
    let Some(own) = config.members.get_mut(&config.id) else { return };
    for (address, listener) in [(&mut own.wire, wire), (&mut own.admin, admin)] {
        if let (true, Ok(bound)) = (address.ends_with(":0"), listener.local_address()) {
            *address = bound.to_string();
        }
    }
}

/// Listens. The process that had the address before may be letting go of it only now.
async fn listen(world: &World, net: &Net, address: &str) -> Result<world::Listener, StartError> {
    let mut tries = 20;
    loop {
        match net.listen(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && tries > 0 => {
                tries -= 1;
                world.sleep(Duration::from_millis(50)).await;
            }
            Err(source) => return Err(StartError::Listen { address: address.to_owned(), source }),
        }
    }
}

async fn start_core(embedding: &Embedding, config: Config) -> Result<Arc<Core>, StartError> {
    let world = embedding.world.clone();
    let store = open_store(&world, &embedding.disk).await?;
    let fatal = |error: &dyn std::error::Error| StartError::Raft(error.to_string());
    let machine = Machine::load(store.clone()).await.map_err(|error| fatal(&error))?;
    let peers = Peers::new(world.clone(), embedding.hub.clone(), embedding.wire_metrics.clone());
    let addresses = config.members.iter().map(|(id, address)| (*id, address.wire.clone()));
    let network = Network {
        group: config.group.as_str().into(),
        addresses: Arc::new(addresses.collect()),
        peers,
        world: world.clone(),
        answered: Arc::default(),
        without_room: Arc::default(),
    };
    let settings = raft::config(&config.group);
    let raft = Raft::new(config.id, settings, network.clone(), store.clone(), machine.clone())
        .await
        .map_err(|error| fatal(&error))?;
    let consensus = Consensus { raft, machine, store };
    Ok(Core::new(world, config, consensus, network, embedding.metrics.clone()))
}

/// Opens the database, as soon as there is room for what opening it writes.
async fn open_store(world: &World, disk: &Disk) -> Result<Store, raft::store::Error> {
    let mut told = false;
    loop {
        let (again, disk) = (world.clone(), disk.clone());
        match world.blocking(move || Store::open(again, disk)).await {
            Err(error) if error.is_no_space() => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%error, "the disk of the control plane is full: waiting for room");
                }
                world.sleep(ROOM_PROBE_INTERVAL).await;
            }
            opened => return opened,
        }
    }
}

/// Makes the group on its first start. Every member does so with the same list, and only an empty
/// one takes it; who starts later learns it from the others as well.
async fn initialize(core: &Core) -> Result<(), StartError> {
    let node = |address: &crate::config::Address| BasicNode::new(&address.wire);
    let members: BTreeMap<u64, BasicNode> =
        core.config.members.iter().map(|(id, address)| (*id, node(address))).collect();
    match core.raft.initialize(members).await {
        Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
        Err(error) => Err(StartError::Raft(error.to_string())),
    }
}
