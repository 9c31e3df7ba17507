//! A node that has no bytes: it joins, reports, and does what it is told, in memory.

use prost::Message as _;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use types::{Configuration, DiskId, Epoch, NodeId, ReplicaId};
use wire::control::{self as message, DiskState, ReplicaState, Role};
use wire::{Class, Hub, Operation, Peers, Reply, Request, Responder, Server, Service};
use world::{Net, World};

/// One make-believe replica.
#[derive(Clone, Debug)]
pub(crate) struct Replica {
    pub(crate) configuration: Configuration,
    /// Lost by a restart, until a new epoch gives it back.
    pub(crate) leads: bool,
    pub(crate) proven: bool,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) id: NodeId,
    pub(crate) disk: DiskId,
    cluster: u64,
    boot: u64,
    sequence: u64,
    pub(crate) replicas: BTreeMap<ReplicaId, Replica>,
    /// How often it was told something without asking.
    pub(crate) pushes: usize,
    /// What it says of the leases it swore.
    pub(crate) lease_expired: bool,
    access_version: u64,
    /// The list of tokens it was told.
    pub(crate) access: message::AccessList,
}

/// A make-believe node. Dropping it silences it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) inner: Arc<Mutex<Inner>>,
    server: Server,
    beat: tokio::task::JoinHandle<()>,
    peers: Peers,
    controls: Vec<String>,
    identity: u64,
    world: World,
}

#[derive(Debug)]
struct Ears(Arc<Mutex<Inner>>);

impl Service for Ears {
    fn handle(&self, request: Request, responder: Responder) {
        let mut inner = self.0.lock().unwrap();
        if request.operation == Operation::Contents {
            return responder.reply(Reply::message(&inner.contents()));
        }
        assert_eq!(request.operation, Operation::Assign);
        inner.pushes += 1;
        inner.obey(&request.decode().unwrap());
        responder.reply(Reply::default());
    }
}

impl Inner {
    fn obey(&mut self, assignment: &message::Assignment) {
        assert_eq!(assignment.node, self.id.0, "told what another node should do");
        for configuration in &assignment.configurations {
            let configuration = Configuration::try_from(configuration).unwrap();
            let members = configuration.members.clone();
            let own = self.id;
            for member in members.iter().filter(|member| member.node == own) {
                assert_eq!(member.disk, self.disk);
                self.adopt(member.replica, configuration.clone());
            }
            // One that was taken out learns of it too.
            for replica in self.replicas.values_mut() {
                let same = replica.configuration.partition == configuration.partition;
                if same && replica.configuration.epoch < configuration.epoch {
                    replica.leads = false;
                    replica.configuration = configuration.clone();
                }
            }
        }
        if let Some(access) = &assignment.access {
            self.access_version = assignment.access_version;
            self.access = access.clone();
        }
        for replica in &assignment.deletes {
            self.replicas.remove(&ReplicaId(*replica));
        }
    }

    fn adopt(&mut self, id: ReplicaId, configuration: Configuration) {
        let known = self.replicas.get(&id).map_or(Epoch::ZERO, |r| r.configuration.epoch);
        if known < configuration.epoch {
            let leads = configuration.leader == Some(id);
            let proven = self.replicas.get(&id).is_none_or(|r| r.proven);
            self.replicas.insert(id, Replica { configuration, leads, proven });
        }
    }

    /// What it holds, as if it had read its folders.
    fn contents(&self) -> message::Contents {
        let found = |(id, replica): (&ReplicaId, &Replica)| message::FoundReplica {
            partition: replica.configuration.partition.0,
            replica: id.0,
            disk: self.disk.0,
        };
        let replicas = self.replicas.iter().map(found).collect();
        let (node, boot, listed) = (self.id.0, self.boot, vec![self.disk.0]);
        message::Contents { node, boot, replicas, listed, ..message::Contents::default() }
    }

    fn heartbeat(&mut self) -> message::Heartbeat {
        self.sequence += 1;
        let report = |(id, replica): (&ReplicaId, &Replica)| {
            let configuration = &replica.configuration;
            let role = match () {
                () if replica.leads => Role::Leader,
                () if configuration.leader == Some(*id) => Role::Idle,
                () if configuration.catching_up.contains(id) => Role::CatchingUp,
                () => Role::Follower,
            };
            message::ReplicaReport {
                replica: id.0,
                partition: configuration.partition.0,
                disk: self.disk.0,
                role: role.into(),
                epoch: configuration.epoch.0,
                lease_expired: self.lease_expired,
                proven: replica.proven,
                state: ReplicaState::Ok.into(),
                ..Default::default()
            }
        };
        message::Heartbeat {
            cluster: self.cluster,
            node: self.id.0,
            boot: self.boot,
            sequence: self.sequence,
            disks: vec![message::DiskReport {
                disk: self.disk.0,
                state: DiskState::Ok.into(),
                free: 1 << 40,
                total: 1 << 40,
                reason: String::new(),
                space: None,
            }],
            replicas: self.replicas.iter().map(report).collect(),
            access_version: self.access_version,
            clock: 1,
            ..Default::default()
        }
    }
}

/// Asks one member after the other until one answers.
pub(crate) async fn ask(
    peers: &Peers,
    controls: &[String],
    operation: Operation,
    body: &impl prost::Message,
) -> Reply {
    for _ in 0..200 {
        for address in controls {
            let request = Request::new(operation).class(Class::Control).message(body);
            match peers.call(address, request.deadline(Duration::from_secs(2))).await {
                Ok(reply) => return reply,
                Err(wire::Error::Refused { status, message, body })
                    if status != wire::Status::NotLeader && status != wire::Status::Unknown =>
                {
                    let error = message::Error::decode(body).unwrap();
                    panic!("{operation:?} was refused: {message} ({:?})", error.kind());
                }
                Err(_) => {}
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no member answered {operation:?}");
}

impl Node {
    /// Joins and begins to report.
    pub(crate) async fn start(identity: u64, controls: &[String]) -> Node {
        let inner = Arc::new(Mutex::new(Inner {
            id: NodeId(0),
            disk: DiskId(0),
            cluster: 0,
            boot: 0,
            sequence: 0,
            replicas: BTreeMap::new(),
            pushes: 0,
            lease_expired: true,
            access_version: 0,
            access: message::AccessList::default(),
        }));
        Node::start_with(identity, controls, inner).await
    }

    async fn start_with(identity: u64, controls: &[String], inner: Arc<Mutex<Inner>>) -> Node {
        let world = World::real(Net::tcp());
        let listener = world.net().listen("127.0.0.1:0").await.unwrap();
        let ears = Arc::new(Ears(inner.clone()));
        let server = Server::start(&world, listener, ears, Arc::default()).unwrap();
        let peers = Peers::new(world.clone(), Hub::default(), Arc::default());
        let join = message::Join {
            cluster: 0,
            identity,
            boot: world.random(),
            address: server.address().to_string(),
            zone: String::new(),
            disks: vec![message::DiskOffer {
                identity: identity + 1_000,
                label: format!("/disk/{identity}"),
                capacity: 1 << 40,
            }],
        };
        let reply = ask(&peers, controls, Operation::ControlJoin, &join).await;
        let joined: message::JoinReply = reply.decode().unwrap();
        {
            let mut inner = inner.lock().unwrap();
            inner.id = NodeId(joined.node);
            inner.disk = DiskId(joined.disks[0]);
            inner.cluster = joined.cluster;
            inner.boot = join.boot;
            inner.sequence = 0;
        }
        let beat = world.spawn("beat", beat(inner.clone(), peers.clone(), controls.to_vec()));
        let controls = controls.to_vec();
        Node { inner, server, beat, peers, controls, identity, world }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.inner.lock().unwrap().id
    }

    /// Falls silent, and is a new process when it comes back: it keeps its replicas, and leads none.
    pub(crate) async fn restart(self) -> Node {
        let (identity, controls, inner) =
            (self.identity, self.controls.clone(), self.inner.clone());
        drop(self);
        for replica in inner.lock().unwrap().replicas.values_mut() {
            replica.leads = false;
            replica.proven = false;
        }
        Node::start_with(identity, &controls, inner).await
    }

    /// The replicas it leads, by its own word.
    pub(crate) fn leads(&self) -> Vec<ReplicaId> {
        let inner = self.inner.lock().unwrap();
        inner.replicas.iter().filter(|(_, r)| r.leads).map(|(id, _)| *id).collect()
    }

    pub(crate) async fn change(
        &self,
        configuration: &Configuration,
        change: message::Change,
    ) -> message::ChangeConfigurationReply {
        let body = message::ChangeConfiguration {
            partition: configuration.partition.0,
            expected_epoch: configuration.epoch.0,
            leader: configuration.leader.unwrap().0,
            change: Some(change),
        };
        let reply = ask(&self.peers, &self.controls, Operation::ControlChange, &body).await;
        reply.decode().unwrap()
    }

    pub(crate) async fn routes(&self, volume: message::VolumeSelector) -> message::RoutesReply {
        let body = message::Routes { volume: Some(volume) };
        let reply = ask(&self.peers, &self.controls, Operation::ControlRoutes, &body).await;
        reply.decode().unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.beat.abort();
        self.server.stop();
        let _ = &self.world;
    }
}

async fn beat(inner: Arc<Mutex<Inner>>, peers: Peers, controls: Vec<String>) {
    loop {
        let heartbeat = inner.lock().unwrap().heartbeat();
        for address in &controls {
            let request = Request::new(Operation::ControlHeartbeat)
                .class(Class::Control)
                .deadline(Duration::from_millis(500))
                .message(&heartbeat);
            if let Ok(reply) = peers.call(address, request).await {
                inner.lock().unwrap().obey(&reply.decode().unwrap());
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
