//! The node's loop: it alone touches the replicas.
//!
//! Events come from the wire (requests, messages of other replicas, assignments), from work that
//! was done elsewhere (syncs, checkpoints, reads that met damage), and from time. A turn takes what
//! has come, hands each event to the replica that it concerns, and lets every touched replica end
//! its turn: so requests that arrive together become one append and one message per follower.
//!
//! We gave up one task per replica: on few cores their wake-ups cost more than they bring. Who runs
//! the loop is told in [`crate::inbox`].

mod again;
mod broken;
mod refuse;
mod report;
mod room;
mod wakes;

use crate::access::{self, AccessTable};
use crate::codec::Native;
use crate::contents;
use crate::context::{Context, Counters};
use crate::inbox::Turns;
use crate::notices;
use crate::replica::{self, Damaged, Found, Holder, Home, REPLICAS_FOLDER};
use crate::space::DiskSpace;
use again::Remains;
use broken::Broken;
use partition::extent::Extent;
use partition::log::Record;
use partition::replica::{Event, Message};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use tokio::sync::oneshot;
use types::configuration::PartitionKind;
use types::limits::{LOOP_IDLE_MAX, LOOP_TEND_INTERVAL};

use types::{Configuration, DiskId, Moment, PartitionId, ReplicaId, Sequence};
use wakes::Wakes;
use wire::control::{Assignment, ChangeConfigurationReply, DiskReport, ReplicaReport};
use wire::{Operation, Request, Responder, Status};

/// Everything that can happen to a node.
#[derive(Debug)]
pub enum NodeEvent {
    Request {
        request: Request,
        responder: Responder,
    },
    Replicate {
        partition: PartitionId,
        native: Native,
    },
    Assigned(Assignment),
    Changed(ChangeConfigurationReply),
    Synced {
        replica: ReplicaId,
        upto: Sequence,
        result: std::io::Result<()>,
    },
    Checkpointed {
        replica: ReplicaId,
        job: replica::CheckpointJob,
        result: Result<(), replica::Trouble>,
    },
    ReadDamaged {
        replica: ReplicaId,
        damaged: Damaged,
    },
    Mended {
        replica: ReplicaId,
        damage: replica::Damage,
        good: Record,
    },
    /// An inspection found damage.
    DamageFound {
        replica: ReplicaId,
        damages: Vec<replica::Damage>,
    },
    /// Damaged places were looked at again: some are good, some are not.
    LookedAgain {
        replica: ReplicaId,
        good: Vec<Extent>,
        damages: Vec<replica::Damage>,
    },
    /// A page of a scrub was read.
    Scrubbed {
        replica: ReplicaId,
        page: Result<replica::Page, String>,
    },
    /// Every replica shall be read again.
    Scrub,
    /// Damage was met where nothing can be said of what is damaged.
    DamageMet {
        replica: ReplicaId,
    },
    /// The log had to be given up to here.
    LogStart {
        replica: ReplicaId,
        start: Sequence,
    },
    SnapshotSent {
        replica: ReplicaId,
        to: ReplicaId,
    },
    /// A follower was fed from the log, and it may get more now.
    LogSent {
        replica: ReplicaId,
        to: ReplicaId,
        stamp: u64,
        upto: Sequence,
    },
    /// What was received of a snapshot is on disk.
    Stored {
        replica: ReplicaId,
        stored: replica::Stored,
    },
    Inspected {
        replica: ReplicaId,
    },
    Compacted {
        replica: ReplicaId,
        progress: replica::Progress,
    },
    Deleted {
        replica: ReplicaId,
        deleted: replica::Deleted,
    },
    /// A probe write on a disk has ended.
    Probed {
        disk: DiskId,
        result: std::io::Result<()>,
    },
    /// Something changed that the control plane should hear of at once.
    HeartbeatNow,
    /// What to say in the next heartbeat?
    Report(oneshot::Sender<Report>),
    Stop(oneshot::Sender<()>),
}

impl Turns for NodeLoop {
    type Event = NodeEvent;

    fn turn(&mut self, events: impl Iterator<Item = NodeEvent>) -> bool {
        for event in events {
            if let NodeEvent::Stop(done) = event {
                self.close();
                let _ = done.send(());
                return false;
            }
            self.handle(event);
        }
        self.end_turn();
        true
    }

    fn wait(&self) -> std::time::Duration {
        // What was touched at the very end of a turn has its own turn at once.
        if !self.touched.is_empty() {
            return std::time::Duration::ZERO;
        }
        let now = self.context.world.now();
        self.wakes.first().map_or(LOOP_IDLE_MAX, |wake| wake.since(now).min(LOOP_IDLE_MAX))
    }

    fn bytes(event: &NodeEvent) -> usize {
        match event {
            NodeEvent::Request { request, .. } => request.payload.len(),
            NodeEvent::Replicate { native, .. } => match &native.message {
                Message::Append(append) => {
                    append.entries.iter().map(|entry| entry.body.payload.len()).sum()
                }
                _ => 0,
            },
            _ => 0,
        }
    }
}

/// The node's condition, for a heartbeat.
#[derive(Debug, Default)]
pub struct Report {
    pub disks: Vec<DiskReport>,
    pub replicas: Vec<ReplicaReport>,
    /// Which list of tokens it goes by.
    pub access_version: u64,
}

/// What the loop owns.
#[derive(Debug)]
pub struct NodeLoop {
    context: Arc<Context>,
    homes: BTreeMap<DiskId, Home>,
    spaces: BTreeMap<DiskId, DiskSpace>,
    replicas: BTreeMap<ReplicaId, Holder>,
    by_partition: BTreeMap<PartitionId, ReplicaId>,
    /// Replicas that are on a disk and cannot be used, and why.
    broken: BTreeMap<ReplicaId, Broken>,
    /// Replicas that were deleted; nothing makes them again.
    deleted: BTreeSet<ReplicaId>,
    /// Partitions that went with their volume, as far as this life of the node heard of it.
    deleted_partitions: BTreeSet<PartitionId>,
    heartbeat: Arc<tokio::sync::Notify>,
    /// Replicas that something happened to in this turn.
    touched: BTreeSet<ReplicaId>,
    notices: notices::Notices,
    access: AccessTable,
    /// What is left of deleted replicas.
    remains: Vec<Remains>,
    /// When what had found no room was last tried again.
    tried_at: Option<Moment>,
    wakes: Wakes,
    /// When all replicas are looked after again, whatever happens to them.
    tend_at: Moment,
}

impl NodeLoop {
    /// Opens every replica that is on the disks.
    pub fn open(
        context: Arc<Context>,
        homes: Vec<Home>,
        spaces: Vec<DiskSpace>,
        heartbeat: Arc<tokio::sync::Notify>,
    ) -> std::io::Result<NodeLoop> {
        let mut node = NodeLoop {
            context,
            homes: homes.into_iter().map(|home| (home.disk_id, home)).collect(),
            spaces: spaces.into_iter().map(|space| (space.id, space)).collect(),
            replicas: BTreeMap::new(),
            by_partition: BTreeMap::new(),
            broken: BTreeMap::new(),
            deleted: BTreeSet::new(),
            deleted_partitions: BTreeSet::new(),
            heartbeat,
            touched: BTreeSet::new(),
            notices: notices::Notices::default(),
            access: AccessTable::default(),
            remains: Vec::new(),
            tried_at: None,
            wakes: Wakes::default(),
            tend_at: Moment(0),
        };
        let homes: Vec<Home> = node.homes.values().cloned().collect();
        for home in homes {
            node.open_home(&home)?;
        }
        node.measure(node.context.world.now());
        Ok(node)
    }

    /// Opens every replica that is on a disk, and takes away what belongs to none.
    fn open_home(&mut self, home: &Home) -> std::io::Result<()> {
        home.disk.create_folder(REPLICAS_FOLDER)?;
        let names = home.disk.list(REPLICAS_FOLDER)?;
        let all: BTreeSet<Found> = names.iter().filter_map(|name| Found::parse(name)).collect();
        for found in &all {
            self.open_replica(home, *found);
        }
        match replica::strangers(&home.database, &all) {
            Ok(strangers) => {
                for (found, kind) in strangers {
                    tracing::warn!(replica = %found.replica, "keys of a replica that is gone");
                    self.remove(Remains { found, disk: home.disk_id, kind, writing: Weak::new() });
                }
            }
            // What is damaged is met, and dealt with, by the replicas that are.
            Err(error) => tracing::warn!(disk = %home.disk_id, %error, "cannot look for left keys"),
        }
        Ok(())
    }

    fn open_replica(&mut self, home: &Home, found: Found) {
        match self.try_open(home, found) {
            Ok(mut holder) => {
                self.broken.remove(&found.replica);
                holder.sweep_generations();
                self.keep(holder);
                self.heartbeat.notify_one();
            }
            Err(error) => {
                tracing::error!(
                    partition = %found.partition, replica = %found.replica, %error,
                    "a replica cannot be opened"
                );
                let broken = Broken::unopened(home, found, &error);
                if broken.wants_room {
                    self.refused(home.disk_id, &broken.reason);
                }
                self.broken.insert(found.replica, broken);
            }
        }
    }

    /// Opening writes a little. Without a byte left, what is there could not even be read.
    fn try_open(&self, home: &Home, found: Found) -> Result<Holder, replica::Error> {
        loop {
            match Holder::open(self.context.clone(), home, found) {
                Err(error) if error.is_no_space() && home.ballast.let_go() => {}
                opened => return opened,
            }
        }
    }

    fn keep(&mut self, mut holder: Holder) {
        if let Some(space) = self.spaces.get(&holder.disk_id) {
            holder.set_room(space);
        }
        self.by_partition.insert(holder.partition, holder.id);
        self.touched.insert(holder.id);
        self.replicas.insert(holder.id, holder);
    }

    fn handle(&mut self, event: NodeEvent) {
        match event {
            NodeEvent::Request { request, responder } => self.request(request, responder),
            NodeEvent::Replicate { partition, native } => self.replicate(partition, native),
            NodeEvent::Assigned(assignment) => self.assigned(&assignment),
            NodeEvent::Changed(reply) => {
                if let Some(configuration) = &reply.configuration {
                    self.configure(configuration);
                }
            }
            NodeEvent::Synced { replica, upto, result } => {
                self.with(replica, |holder| holder.synced(upto, result));
            }
            NodeEvent::Checkpointed { replica, job, result } => {
                self.with(replica, |holder| holder.checkpointed(job, result));
            }
            NodeEvent::SnapshotSent { replica, to } => {
                self.with(replica, |holder| holder.snapshot_sent(to));
            }
            NodeEvent::LogSent { replica, to, stamp, upto } => {
                self.with(replica, |holder| holder.handle(Event::LogSent { to, stamp, upto }));
            }
            NodeEvent::Stored { replica, stored } => {
                self.with(replica, |holder| holder.stored(stored));
            }
            NodeEvent::Inspected { replica } => self.with(replica, Holder::inspected),
            NodeEvent::Compacted { replica, progress } => {
                self.with(replica, |holder| holder.compacted(progress));
            }
            NodeEvent::Deleted { replica, deleted } => {
                self.with(replica, |holder| holder.deleted(deleted));
            }
            NodeEvent::Probed { disk, result } => self.probed(disk, result),
            NodeEvent::HeartbeatNow => self.heartbeat.notify_one(),
            NodeEvent::Report(answer) => {
                let _ = answer.send(self.report());
            }
            NodeEvent::Stop(_) => unreachable!("the loop itself takes it"),
            event => self.handle_damage(event),
        }
    }

    /// What has to do with damage, and with looking for it.
    fn handle_damage(&mut self, event: NodeEvent) {
        match event {
            NodeEvent::ReadDamaged { replica, damaged } => {
                self.with(replica, |holder| holder.read_damaged(damaged));
            }
            NodeEvent::Mended { replica, damage, good } => {
                self.with(replica, |holder| holder.mend(&damage, &good));
            }
            NodeEvent::DamageFound { replica, damages } => {
                self.with(replica, |holder| holder.mend_all(damages));
            }
            NodeEvent::LookedAgain { replica, good, damages } => {
                self.with(replica, |holder| holder.looked_again(&good, damages));
            }
            NodeEvent::Scrubbed { replica, page } => {
                self.with(replica, |holder| holder.scrubbed(page));
            }
            NodeEvent::Scrub => {
                self.touched.extend(self.replicas.keys());
                self.replicas.values_mut().for_each(Holder::look_for_damage);
            }
            NodeEvent::DamageMet { replica } => self.with(replica, Holder::look_for_damage),
            NodeEvent::LogStart { replica, start } => {
                self.with(replica, |holder| holder.handle(Event::LogStart { start }));
            }
            event => unreachable!("{event:?} has nothing to do with damage"),
        }
    }

    fn with(&mut self, replica: ReplicaId, work: impl FnOnce(&mut Holder)) {
        if let Some(holder) = self.replicas.get_mut(&replica) {
            work(holder);
            self.touched.insert(replica);
        }
    }

    fn request(&mut self, request: Request, responder: Responder) {
        if request.operation == Operation::Contents {
            let homes = self.homes.values().cloned().collect();
            return contents::answer(&self.context, homes, &request, responder);
        }
        let Some(replica) = self.by_partition.get(&request.partition).copied() else {
            return self.refuse(&request, responder);
        };
        if let Err(refused) = self.check_access(replica, &request) {
            return responder.refuse(refused.status, refused.reason);
        }
        self.with(replica, |holder| match request.operation {
            Operation::Snapshot => holder.take_piece(&request, responder),
            Operation::Inspect | Operation::Scrub => holder.inspect(&request, responder),
            _ => holder.request(request, responder),
        });
    }

    fn check_access(&self, replica: ReplicaId, request: &Request) -> Result<(), access::Refusal> {
        // One without a configuration serves nobody, and says so itself.
        let volume = self.replicas.get(&replica).and_then(Holder::volume);
        let Some(volume) = volume else { return Ok(()) };
        let checked = self.access.check(self.context.world.now(), volume, request);
        if checked.is_err_and(|refused| refused.status != Status::AccessUnknown) {
            Counters::add(&self.context.counters.denied, 1);
        }
        checked
    }

    fn replicate(&mut self, partition: PartitionId, native: Native) {
        if self.by_partition.get(&partition) == Some(&native.to) {
            let Native { from, to, message } = native;
            return self.with(to, |holder| holder.replicate(from, message));
        }
        self.answer_for_broken(partition, &native);
    }

    fn assigned(&mut self, assignment: &Assignment) {
        let meant =
            assignment.cluster == self.context.cluster && assignment.node == self.context.node.0;
        if !meant {
            return tracing::warn!("an assignment for another node was dropped");
        }
        self.learn_addresses(assignment);
        self.note_deleted(assignment);
        self.access.take(self.context.world.now(), assignment);
        self.notices.take(&assignment.notices);
        self.context.copy_paces.lock().expect("no holder panics").set(&assignment.paces);
        for replica in &assignment.deletes {
            self.delete(ReplicaId(*replica));
        }
        for configuration in &assignment.configurations {
            self.configure(configuration);
        }
    }

    fn learn_addresses(&self, assignment: &Assignment) {
        let mut addresses = self.context.addresses.write().expect("no holder panics");
        addresses.take(self.context.world.now(), assignment);
    }

    fn configure(&mut self, configuration: &wire::control::Configuration) {
        let configuration = match Configuration::try_from(configuration) {
            Ok(configuration) => configuration,
            Err(error) => return tracing::error!(%error, "a configuration was refused"),
        };
        let mine = configuration.member_on(self.context.node).copied();
        let held = self.by_partition.get(&configuration.partition).copied();
        let replica = match (held, mine) {
            (Some(held), _) => held,
            (None, Some(member)) if !self.deleted.contains(&member.replica) => {
                if self.broken.contains_key(&member.replica) {
                    return;
                }
                match self.create(&configuration, &member) {
                    Some(replica) => replica,
                    None => return,
                }
            }
            (None, _) => return,
        };
        self.with(replica, |holder| holder.configure(configuration));
        self.heartbeat.notify_one();
    }

    fn create(
        &mut self,
        configuration: &Configuration,
        member: &types::Member,
    ) -> Option<ReplicaId> {
        // An in-sync replica that is not here was lost: an empty one must not take its place. Only
        // the first configuration of a partition may name replicas that are still to be made.
        let fresh = configuration.catching_up.contains(&member.replica)
            || configuration.epoch.0 <= FIRST_EPOCHS;
        if !fresh {
            tracing::error!(partition = %configuration.partition, "an in-sync replica is missing");
            return None;
        }
        let home = self.homes.get(&member.disk)?.clone();
        match Holder::create(self.context.clone(), &home, configuration, member) {
            Ok(holder) => {
                let replica = holder.id;
                self.keep(holder);
                Some(replica)
            }
            Err(error) => {
                tracing::error!(partition = %configuration.partition, %error, "cannot make a replica");
                if error.is_no_space() {
                    self.refused(member.disk, &error.to_string());
                }
                None
            }
        }
    }

    fn delete(&mut self, replica: ReplicaId) {
        self.deleted.insert(replica);
        if let Some(holder) = self.replicas.remove(&replica) {
            self.by_partition.remove(&holder.partition);
            tracing::info!(partition = %holder.partition, %replica, "replica deleted");
            let (disk, kind) = (holder.disk_id, holder.kind);
            let found = Found { partition: holder.partition, replica };
            let writing = holder.writing();
            drop(holder);
            self.remove(Remains { found, disk, kind, writing });
        } else if let Some(Broken { found, disk, writing, .. }) = self.broken.remove(&replica) {
            for kind in [PartitionKind::Data, PartitionKind::Namespace] {
                self.remove(Remains { found, disk, kind, writing: writing.clone() });
            }
        } else {
            return;
        }
        self.heartbeat.notify_one();
    }

    fn end_turn(&mut self) {
        let now = self.context.world.now();
        self.measure(now);
        if now >= self.tend_at {
            self.tend_at = now + LOOP_TEND_INTERVAL;
            self.touched.extend(self.replicas.keys());
        }
        for replica in self.wakes.take_due(now) {
            self.with(replica, |holder| holder.handle(Event::Tick));
        }
        for replica in std::mem::take(&mut self.touched) {
            self.end_turn_of(replica, now);
        }
        self.try_again(now);
    }

    /// Lets a replica do what is to be done once in a turn.
    fn end_turn_of(&mut self, replica: ReplicaId, now: Moment) {
        let Some(holder) = self.replicas.get_mut(&replica) else {
            return self.wakes.set(replica, None);
        };
        holder.end_turn();
        holder.tend_room(now);
        holder.tend(now);
        let (wake, disk) = (holder.wake(now), holder.disk_id);
        let (refused, failed) = (holder.take_refused_write(), holder.failed.is_some());
        self.wakes.set(replica, wake);
        if let Some(error) = refused {
            self.refused(disk, &error);
        }
        if failed {
            self.give_up(replica);
        }
    }

    /// A replica that failed takes no further part, so that its leader, or the control plane, sees
    /// that it is gone and has it made anew.
    fn give_up(&mut self, replica: ReplicaId) {
        let holder = self.replicas.remove(&replica).expect("it was just seen");
        self.wakes.set(replica, None);
        self.by_partition.remove(&holder.partition);
        let found = Found { partition: holder.partition, replica };
        let broken = Broken::failed(&holder, found);
        self.broken.insert(replica, broken);
        self.heartbeat.notify_one();
    }

    fn close(&mut self) {
        for (_, holder) in std::mem::take(&mut self.replicas) {
            holder.close();
        }
    }
}

/// Up to this epoch a partition has nothing that could be lost: its replicas are being made.
const FIRST_EPOCHS: u64 = 1;
