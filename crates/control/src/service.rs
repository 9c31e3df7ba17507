//! What a member answers to nodes, clients and other members.

use crate::core::{Core, ProposeError};
use crate::plan::assign;
use crate::raft::network;
use crate::state::command::DiskOffer;
use crate::state::{Command, Outcome, Refusal, Step, Volume, VolumeState};
use bytes::Bytes;
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;
use types::access::TokenHash;
use types::limits::WATCH_WAIT_MAX;
use types::{BootId, ClusterId, Configuration, Epoch, NodeId, PartitionId, ReplicaId, VolumeId};
use wire::control::{self as message, ErrorKind};
use wire::{Class, Operation, Reply, Request, Responder, Service, Status};

/// Most disks one node may have.
const DISKS_MAX: usize = 256;

/// The service of a member.
#[derive(Debug)]
pub(crate) struct ControlService {
    pub(crate) core: Arc<Core>,
    pub(crate) admin: crate::api::Admin,
}

/// A request that got no reply of its own.
struct Refused {
    kind: ErrorKind,
    message: String,
}

fn refused(kind: ErrorKind, message: impl Into<String>) -> Refused {
    Refused { kind, message: message.into() }
}

impl From<ProposeError> for Refused {
    fn from(error: ProposeError) -> Refused {
        let kind = match error {
            ProposeError::NotLeader => ErrorKind::NotLeader,
            ProposeError::Unavailable => ErrorKind::Unavailable,
        };
        refused(kind, error.to_string())
    }
}

impl From<prost::DecodeError> for Refused {
    fn from(error: prost::DecodeError) -> Refused {
        refused(ErrorKind::Invalid, error.to_string())
    }
}

fn status(kind: ErrorKind) -> Status {
    match kind {
        ErrorKind::NotLeader => Status::NotLeader,
        ErrorKind::Invalid | ErrorKind::WrongCluster => Status::Invalid,
        ErrorKind::UnknownNode => Status::NotFound,
        ErrorKind::Unavailable | ErrorKind::Unspecified => Status::Unknown,
    }
}

impl Service for ControlService {
    fn handle(&self, request: Request, responder: Responder) {
        match request.operation {
            // Several a second from every node, and nothing in it waits: no task of its own.
            Operation::ControlHeartbeat => self.answer(responder, self.heartbeat(&request)),
            Operation::Ping => responder.reply(Reply::default()),
            Operation::ControlJoin
            | Operation::ControlChange
            | Operation::ControlRoutes
            | Operation::ControlWatch
            | Operation::ControlRaft
            | Operation::ControlAdmin => self.handle_in_task(request, responder),
            other => {
                let message = format!("a control plane does not do {}", other.name());
                responder.refuse(Status::Unsupported, message);
            }
        }
    }
}

impl ControlService {
    fn handle_in_task(&self, request: Request, responder: Responder) {
        let service = ControlService { core: self.core.clone(), admin: self.admin.clone() };
        self.core.world.spawn("control-request", async move {
            match request.operation {
                Operation::ControlRaft => {
                    let core = &service.core;
                    let (raft, network) = (&core.raft, &core.network);
                    let own = (core.config.id, core.store.shortage());
                    let served = network::serve(raft, network, own, &request).await;
                    if served.as_ref().is_ok_and(|served| served.by_leader) {
                        core.hear_leader();
                    }
                    responder.finish(served.map(|served| served.reply));
                }
                Operation::ControlAdmin => responder.finish(service.admin.serve(&request).await),
                Operation::ControlJoin => service.answer(responder, service.join(&request).await),
                Operation::ControlChange => {
                    service.answer(responder, service.change(&request).await);
                }
                Operation::ControlWatch => {
                    service.answer(responder, service.watch(&request).await);
                }
                _ => service.answer(responder, service.routes(&request).await),
            }
        });
    }

    fn answer(&self, responder: Responder, result: Result<Reply, Refused>) {
        match result {
            Ok(reply) => responder.reply(reply),
            Err(Refused { kind, message }) => {
                let leader = match kind {
                    ErrorKind::NotLeader => self.leader_address(),
                    _ => String::new(),
                };
                let error = message::Error { kind: kind.into(), message: message.clone(), leader };
                let body = Bytes::from(error.encode_to_vec());
                responder.refuse_with(status(kind), message, body);
            }
        }
    }

    /// Where the leader is; empty when nobody is known to lead, or this member was thought to.
    fn leader_address(&self) -> String {
        let leader = self.core.leader().filter(|leader| *leader != self.core.config.id);
        let address = leader.and_then(|leader| self.core.config.members.get(&leader));
        address.map(|address| address.wire.clone()).unwrap_or_default()
    }

    async fn join(&self, request: &Request) -> Result<Reply, Refused> {
        let join: message::Join = request.decode()?;
        if join.disks.len() > DISKS_MAX {
            return Err(refused(ErrorKind::Invalid, "a node has at most 256 disks"));
        }
        self.check_leads()?;
        self.check_cluster(join.cluster)?;
        let offer = |disk: message::DiskOffer| DiskOffer {
            identity: disk.identity,
            label: disk.label,
            capacity: disk.capacity,
        };
        let command = Command::Join {
            identity: join.identity,
            boot: BootId(join.boot),
            address: join.address,
            zone: join.zone,
            disks: join.disks.into_iter().map(offer).collect(),
            at: self.core.world.timestamp(),
        };
        match self.core.propose(command).await? {
            Outcome::Joined(joined) => Ok(Reply::message(&message::JoinReply {
                cluster: joined.cluster.0,
                node: joined.node.0,
                disks: joined.disks.iter().map(|disk| disk.0).collect(),
                spaces: joined.spaces.iter().map(|space| disk_state(*space).into()).collect(),
            })),
            Outcome::Refused(refusal) => Err(refused(ErrorKind::Invalid, refusal.to_string())),
            other => unreachable!("a join cannot end in {other:?}"),
        }
    }

    fn check_leads(&self) -> Result<(), Refused> {
        match self.core.leading().is_some() {
            true => Ok(()),
            false => Err(ProposeError::NotLeader.into()),
        }
    }

    /// Turns away who says to belong to another cluster. Zero is nobody's.
    fn check_cluster(&self, cluster: u64) -> Result<(), Refused> {
        let own = self.core.machine.read(|state, _| state.cluster);
        if cluster == 0 || own == Some(ClusterId(cluster)) {
            return Ok(());
        }
        let own = own.map_or_else(|| "none yet".to_owned(), |own| own.to_string());
        let theirs = ClusterId(cluster);
        let message = format!("this control plane is of cluster {own}, the caller of {theirs}");
        Err(refused(ErrorKind::WrongCluster, message))
    }

    fn heartbeat(&self, request: &Request) -> Result<Reply, Refused> {
        let taken = self.take_heartbeat(request);
        if taken.is_err() {
            self.core.metrics.heartbeats_refused.inc();
        }
        taken
    }

    fn take_heartbeat(&self, request: &Request) -> Result<Reply, Refused> {
        let heartbeat: message::Heartbeat = request.decode()?;
        self.check_cluster(heartbeat.cluster)?;
        let mut leading = self.core.leading();
        let Some(leading) = leading.as_mut().filter(|_| self.core.term_led().is_some()) else {
            return Err(ProposeError::NotLeader.into());
        };
        let (node, boot) = (NodeId(heartbeat.node), BootId(heartbeat.boot));
        let known = |state: &crate::state::State| {
            state.nodes.get(&node).is_some_and(|record| record.boot == boot)
        };
        if !self.core.machine.read(|state, _| known(state)) {
            let message = format!("this life of node {node} has not joined");
            return Err(refused(ErrorKind::UnknownNode, message));
        }
        let when = (self.core.world.now(), self.core.world.timestamp());
        let heard = self.core.machine.read(|state, revision| {
            leading.hear((state, revision), &heartbeat, when, &self.core.metrics)
        });
        if heard.poke {
            self.core.poke.notify_one();
        }
        Ok(Reply::message(&heard.assignment))
    }

    async fn change(&self, request: &Request) -> Result<Reply, Refused> {
        let change: message::ChangeConfiguration = request.decode()?;
        self.check_leads()?;
        let by = ReplicaId(change.leader);
        let step = match change.change {
            Some(message::Change::Remove(replica)) => {
                Step::Remove { by, replica: ReplicaId(replica) }
            }
            Some(message::Change::Promote(replica)) => {
                Step::Promote { by, replica: ReplicaId(replica) }
            }
            None => return Err(refused(ErrorKind::Invalid, "no change is named")),
        };
        let partition = PartitionId(change.partition);
        let command = Command::Configure {
            partition,
            expected: Epoch(change.expected_epoch),
            step,
            at: self.core.world.timestamp(),
        };
        let outcome = self.core.propose(command).await?;
        let current = self
            .core
            .machine
            .read(|state, _| state.partitions.get(&partition).map(|p| p.configuration.clone()));
        Ok(Reply::message(&change_reply(outcome, current)))
    }

    async fn routes(&self, request: &Request) -> Result<Reply, Refused> {
        let routes: message::Routes = request.decode()?;
        self.check_leads()?;
        // A deleted volume, or one that was just made, must be seen whoever leads by now.
        self.core.catch_up().await?;
        let shown = request.access.map(|secret| secret.hash());
        let by_a_node = request.class == Class::Background;
        Ok(Reply::message(&self.core.machine.read(|state, revision| {
            let volume = match &routes.volume {
                Some(message::VolumeSelector::Id(id)) => state.volumes.get(&VolumeId(*id)),
                Some(message::VolumeSelector::Name(name)) => state.volume_named(name),
                None => None,
            };
            let access = volume.map(|volume| state.access.check(volume.id, shown).0);
            let reply = routes_reply(state, revision, volume);
            match access {
                Some(access) if !by_a_node && !access.lets_in() => withheld(&reply, access),
                access => message::RoutesReply {
                    access: access.unwrap_or(message::Access::Unspecified).into(),
                    ..reply
                },
            }
        })))
    }
}

impl ControlService {
    /// Notes that a client is there, and waits until its volume is no longer what it believes.
    async fn watch(&self, request: &Request) -> Result<Reply, Refused> {
        let watch: message::Watch = request.decode()?;
        let until = self.core.world.now() + WATCH_WAIT_MAX;
        let volume = VolumeId(watch.volume);
        let shown = request.access.map(|secret| secret.hash());
        let look = || self.core.machine.read(|state, _| watch_reply(state, volume, shown));
        let mut revision = self.core.machine.watch();
        // Once: should the client leave while this waits, it must not come back by that.
        if let Some(note) = self.attach(volume, &watch, shown) {
            self.core.propose(note).await?;
        }
        loop {
            self.check_leads()?;
            let reply = look();
            let tells = watch.full.is_some() && reply.full.is_some();
            let fuller = tells && watch.full != reply.full;
            let news = (reply.life, reply.purge_at) != (watch.seen, watch.purge_at) || fuller;
            // Whoever knows nothing of tokens is answered in time, and goes on asking.
            let news = news || (watch.access != 0 && watch.access != reply.access);
            if news || watch.leaving || self.core.world.now() >= until {
                // Whoever acts on this must not act on what another leader has changed by now.
                self.core.catch_up().await?;
                return Ok(Reply::message(&look()));
            }
            let left = until.since(self.core.world.now()).min(WATCH_LOOK_INTERVAL);
            tokio::select! {
                biased;
                changed = revision.changed() => if changed.is_err() {
                    return Err(ProposeError::NotLeader.into());
                },
                () = self.core.world.sleep(left) => {}
            }
        }
    }

    /// Keeps the list of clients; returns what is to be remembered of a new one.
    fn attach(
        &self,
        volume: VolumeId,
        watch: &message::Watch,
        shown: Option<TokenHash>,
    ) -> Option<Command> {
        let (access, token) = self.core.machine.read(|state, _| state.access.check(volume, shown));
        let now = self.core.world.now();
        let mut leading = self.core.leading();
        let (Some(leading), Some(client)) = (leading.as_mut(), &watch.client) else { return None };
        if watch.leaving {
            leading.attached.leave(volume, client.id);
            return None;
        }
        if access.is_end() {
            // It is about to leave.
            return None;
        }
        let new = leading.attached.hear(now, volume, client.clone(), token);
        (new && client.stands_in_for != 0).then(|| Command::NoteStandby {
            volume: VolumeId(client.stands_in_for),
            standby: volume,
            client: crate::attached::name(client),
            at: self.core.world.timestamp(),
        })
    }
}

/// How often a member looks whether it still leads, while clients wait at it.
const WATCH_LOOK_INTERVAL: Duration = Duration::from_millis(500);

fn watch_reply(
    state: &crate::state::State,
    volume: VolumeId,
    shown: Option<TokenHash>,
) -> message::WatchReply {
    use message::VolumeLife;
    let record = state.volumes.get(&volume);
    let life = match record.map(|volume| volume.state) {
        None => VolumeLife::NotFound,
        Some(VolumeState::Creating | VolumeState::Active) => VolumeLife::Live,
        Some(VolumeState::Deleting) => VolumeLife::Deleting,
        Some(VolumeState::Purging | VolumeState::Deleted) => VolumeLife::Deleted,
    };
    let deleting = record.filter(|_| life == VolumeLife::Deleting);
    let purge_at = deleting.and_then(|volume| volume.purge_at).map_or(0, |at| at.0);
    let cluster = state.cluster.map_or(0, |cluster| cluster.0);
    let access = state.access.check(volume, shown).0;
    let full = access.lets_in().then(|| full_partitions(state, volume));
    message::WatchReply { life: life.into(), cluster, purge_at, full, access: access.into() }
}

/// The data partitions that take no writes for want of room, by what is on record: where the leader's
/// disk is full, or so many of the others' that too few would be left.
fn full_partitions(state: &crate::state::State, volume: VolumeId) -> message::Partitions {
    let lacks_room = |configuration: &Configuration| {
        let full = |member: &types::Member| state.conditions.is_full(member.disk);
        let in_sync = configuration.in_sync.iter().filter_map(|id| configuration.member(*id));
        let roomy = in_sync.filter(|member| !full(member)).count();
        configuration.leader_member().is_some_and(full)
            || roomy < usize::from(configuration.in_sync_min)
    };
    let configurations = state.partitions_of(volume).map(|p| &p.configuration);
    let data = configurations.filter(|c| c.kind == types::configuration::PartitionKind::Data);
    message::Partitions { ids: data.filter(|c| lacks_room(c)).map(|c| c.partition.0).collect() }
}

fn disk_state(space: Option<types::condition::State>) -> message::DiskState {
    use types::condition::State;
    match space {
        Some(State::Full) => message::DiskState::Full,
        Some(State::Low) => message::DiskState::Low,
        _ => message::DiskState::Ok,
    }
}

fn change_reply(
    outcome: Outcome,
    current: Option<Configuration>,
) -> message::ChangeConfigurationReply {
    use message::ChangeOutcome;
    let attach = |configuration: &Configuration| message::Configuration::from(configuration);
    let reply = |outcome: ChangeOutcome, configuration, reason: String| {
        message::ChangeConfigurationReply { outcome: outcome.into(), configuration, reason }
    };
    match outcome {
        Outcome::Configuration(new) => {
            reply(ChangeOutcome::Changed, Some(attach(&new)), String::new())
        }
        Outcome::Refused(refusal) => {
            let reason = refusal.to_string();
            match refusal {
                Refusal::Conflict { current } => {
                    reply(ChangeOutcome::Conflict, Some(attach(&current)), reason)
                }
                Refusal::NoSuchPartition { .. } => reply(ChangeOutcome::NotFound, None, reason),
                _ => reply(ChangeOutcome::Refused, current.as_ref().map(attach), reason),
            }
        }
        other => unreachable!("a change of a configuration cannot end in {other:?}"),
    }
}

fn routes_reply(
    state: &crate::state::State,
    revision: u64,
    volume: Option<&Volume>,
) -> message::RoutesReply {
    use message::RoutesOutcome;
    let mut reply = message::RoutesReply {
        outcome: RoutesOutcome::NotFound.into(),
        cluster: state.cluster.map_or(0, |cluster| cluster.0),
        revision,
        ..Default::default()
    };
    let Some(volume) = volume else { return reply };
    reply.volume = Some(volume_message(volume));
    reply.outcome = match volume.state {
        VolumeState::Creating | VolumeState::Active => RoutesOutcome::Found,
        VolumeState::Deleting => RoutesOutcome::Deleting,
        VolumeState::Purging | VolumeState::Deleted => RoutesOutcome::Deleted,
    }
    .into();
    reply.purge_at = volume.purge_at.map_or(0, |at| at.0);
    if reply.outcome() == RoutesOutcome::Deleted {
        return reply;
    }
    let partitions: Vec<_> = state.partitions_of(volume.id).map(|p| &p.configuration).collect();
    reply.configurations = partitions.iter().map(|c| message::Configuration::from(*c)).collect();
    let holds = |node| partitions.iter().any(|c| c.member_on(node).is_some());
    reply.nodes = assign::addresses(state, holds);
    reply
}

/// What is left of an answer for who has no right to the volume: that it was deleted for good, as
/// somebody may have it open; of one that is there, only that a token is needed.
fn withheld(reply: &message::RoutesReply, access: message::Access) -> message::RoutesReply {
    use message::RoutesOutcome;
    let outcome = match reply.outcome() {
        RoutesOutcome::Deleted => RoutesOutcome::Deleted,
        _ => RoutesOutcome::Withheld,
    };
    message::RoutesReply {
        outcome: outcome.into(),
        cluster: reply.cluster,
        revision: reply.revision,
        access: access.into(),
        ..message::RoutesReply::default()
    }
}

fn volume_message(volume: &Volume) -> message::Volume {
    message::Volume {
        id: volume.id.0,
        name: volume.name.clone(),
        kind: match volume.kind {
            types::volume::VolumeKind::File => message::VolumeKind::File,
        }
        .into(),
        replicas: u32::from(volume.replicas),
        capacity: volume.capacity,
        durability: message::Durability::from(volume.durability).into(),
    }
}
