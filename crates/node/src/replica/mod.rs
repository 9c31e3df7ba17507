//! One replica as the node holds it: the engine, its log, its index, and who waits for what.
//!
//! The engine decides, this carries out. An event goes into the engine; the effects that come out
//! are performed in order; what performing them gives rise to is stepped next. All of it happens on
//! the node's loop, so nothing here is locked. What takes long (syncs, checkpoints, reads from
//! other nodes) runs elsewhere and comes back as an event.

#[cfg(test)]
pub(crate) mod bench;
mod checkpoint;
mod compact;
mod damages;
mod data;
mod delete;
mod effects;
mod feed;
mod fetch;
mod inspect;
mod leftover;
mod machine;
mod names;
mod namespace;
mod open;
mod push;
mod read;
mod reap;
mod reclaim;
mod room;
mod scrub;
mod snapshot;
mod trouble;

pub use checkpoint::CheckpointJob;
pub use compact::Progress;
pub use leftover::strangers;
pub use machine::Machine;
pub use open::{Error, Found, Home, REPLICAS_FOLDER, configuration_of, destroy};
pub use read::{Damage, Damaged};
pub use reap::Deleted;
pub use scrub::Page;
pub use snapshot::Stored;
pub use trouble::Trouble;

use crate::ballast::Ballast;
use crate::context::Context;
use crate::log::Log;
use crate::store::ReplicaState;
use bytes::Bytes;
use checkpoint::Checkpointing;
use partition::kv::Buffered;
use partition::log::Location;
use partition::replica::{EntryBody, Event, Failure, Refusal, Replica, RoleName};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock, Weak};
use types::configuration::PartitionKind;
use types::{Configuration, DiskId, Epoch, Moment, PartitionId, ReplicaId, Sequence, VolumeId};
use wire::control::{ReplicaReport, ReplicaState as Health, Role};
use wire::{Responder, Status};
use world::Disk;
use world::kv::Database;

/// One replica on this node.
#[derive(Debug)]
pub struct Holder {
    pub partition: PartitionId,
    pub id: ReplicaId,
    pub disk_id: DiskId,
    pub kind: PartitionKind,
    context: Arc<Context>,
    disk: Disk,
    database: Database,
    ballast: Ballast,
    folder: String,
    engine: Replica,
    log: Log,
    kv: Arc<Buffered>,
    machine: Machine,
    stored: ReplicaState,
    /// The newest configuration that was offered; where messages are sent by.
    configuration: Option<Configuration>,
    /// Appended and not yet applied, in order.
    unapplied: VecDeque<Unapplied>,
    /// Entries of this turn of the loop, submitted together at its end.
    submits: Vec<(u64, EntryBody)>,
    waiting: HashMap<u64, Waiter>,
    token_next: u64,
    /// What the last applied records did, for answers.
    results: VecDeque<(Sequence, machine::Result)>,
    checkpointing: Checkpointing,
    /// Dead runs of segments that are still kept as log.
    dead: reclaim::Dead,
    compaction: compact::Compaction,
    snapshots: snapshot::Transfers,
    clients: namespace::Clients,
    /// How much room its disk has, by the last word of the node.
    room: room::Room,
    /// The last write that was refused for want of room, until the node asks.
    refused_write: Option<String>,
    /// When it was last tried whether there is room again, while there is none.
    room_probed: Option<Moment>,
    /// Why this replica cannot be used, when it cannot.
    pub failed: Option<String>,
    /// It failed because of damage, which passes by no waiting.
    pub is_damaged: bool,
    /// What is damaged and not yet mended.
    damages: damages::Damages,
    scrub: scrub::Scrub,
    /// Whatever writes to the index beside the loop has a share of it.
    writing: Arc<()>,
    growth: feed::Growth,
    /// Who waits for a place of the log.
    inspections: Vec<inspect::Waiting>,
}

/// A record that is in the log and not yet in the index.
#[derive(Debug)]
struct Unapplied {
    sequence: Sequence,
    epoch: Epoch,
    kind: u8,
    key: Bytes,
    /// Empty where the index does not need it.
    payload: Bytes,
    at: Location,
}

/// Who waits for an answer of the engine, and what is still to be done then.
#[derive(Debug)]
enum Waiter {
    Write(Responder),
    Flush(Responder),
    /// The reaper: its purge, and the flush before it deletes.
    Purge,
    ReapFlush,
    /// One of several that were asked for together: where to note that it was refused.
    Part(Arc<OnceLock<Refusal>>),
    /// Something of our own that nobody waits for.
    Nobody,
}

impl Holder {
    /// The volume that it is of; `None` before its first configuration, when it serves nobody.
    #[must_use]
    pub fn volume(&self) -> Option<VolumeId> {
        self.configuration.as_ref().map(|configuration| configuration.volume)
    }

    /// Alive as long as anything may still write to the index, this replica itself included.
    #[must_use]
    pub fn writing(&self) -> Weak<()> {
        Arc::downgrade(&self.writing)
    }

    /// Lets the engine take an event, and carries out what follows from it.
    pub fn handle(&mut self, event: Event) {
        let mut effects = Vec::new();
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = self.context.world.now();
            self.engine.step(now, event, &mut effects);
            for effect in effects.drain(..) {
                self.perform(effect, &mut events);
            }
        }
    }

    /// Ends a turn of the loop: submits what came in during it, all at once.
    pub fn end_turn(&mut self) {
        self.submit_turn();
        self.checkpoint_if_due();
    }

    fn submit_turn(&mut self) {
        if !self.submits.is_empty() {
            let submits = std::mem::take(&mut self.submits);
            self.handle(Event::SubmitMany(submits));
        }
    }

    /// Takes a configuration from the control plane.
    pub fn configure(&mut self, configuration: Configuration) {
        let newer = self.configuration.as_ref().is_none_or(|c| c.epoch < configuration.epoch);
        if newer {
            self.growth.keep_members(&configuration);
            self.configuration = Some(configuration.clone());
        }
        self.handle(Event::Configure(configuration));
    }

    /// When the engine next wants to be woken.
    #[must_use]
    pub fn wake(&self, now: Moment) -> Option<Moment> {
        let engine = self.engine.wake(now);
        let checkpoint = self.checkpointing.due_at(self.context.upkeep.checkpoint_interval);
        let inspection = self.inspections.iter().map(|waiting| waiting.until).min();
        let names = self.clients.reaper.wake();
        [engine, checkpoint, inspection, names].into_iter().flatten().min()
    }

    /// Whether this replica serves as leader.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.engine.leads()
    }

    /// The epoch it acts in.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.engine.status(self.context.world.now()).epoch
    }

    /// The newest configuration it was offered.
    #[must_use]
    pub fn configuration(&self) -> Option<&Configuration> {
        self.configuration.as_ref()
    }

    /// The index and what it means.
    #[must_use]
    pub fn machine(&mut self) -> &mut Machine {
        &mut self.machine
    }

    fn wait(&mut self, waiter: Waiter) -> u64 {
        self.token_next += 1;
        self.waiting.insert(self.token_next, waiter);
        self.token_next
    }

    /// Submits an entry at the end of this turn; `waiter` learns what became of it.
    fn submit(&mut self, entry: EntryBody, waiter: Waiter) {
        let token = self.wait(waiter);
        self.submits.push((token, entry));
    }

    /// Whether committed state may be read here now.
    ///
    /// # Errors
    /// Why not, ready to be answered.
    fn check_readable(&mut self) -> Result<(), Refusal> {
        // What came before in this turn must be ordered before.
        let mut effects = Vec::new();
        let now = self.context.world.now();
        self.engine.step(now, Event::Read { token: 0 }, &mut effects);
        let mut verdict = Err(Refusal::Busy);
        let mut events = VecDeque::new();
        for effect in effects {
            match effect {
                partition::replica::Effect::Answer { token: 0, result } => {
                    verdict = result.map(|_| ());
                }
                effect => self.perform(effect, &mut events),
            }
        }
        for event in events {
            self.handle(event);
        }
        verdict
    }

    /// What to tell the control plane about this replica.
    #[must_use]
    pub fn report(&self) -> ReplicaReport {
        let status = self.engine.status(self.context.world.now());
        let catching_up =
            self.configuration.as_ref().is_some_and(|c| c.catching_up.contains(&self.id));
        let role = match status.role {
            RoleName::Leading | RoleName::Reconciling => Role::Leader,
            RoleName::Following if catching_up => Role::CatchingUp,
            RoleName::Following => Role::Follower,
            RoleName::Waiting | RoleName::Retired => Role::Idle,
        };
        let failure = self.failed.clone().or(status.failure.map(|f| format!("{f:?}")));
        let full = self.failed.is_none() && status.failure == Some(Failure::NoSpace);
        let (state, reason) = match (failure, self.damages.describe()) {
            (Some(reason), _) if full => (Health::Full, reason),
            (Some(reason), _) => (Health::Failed, reason),
            (None, Some(reason)) => (Health::Damaged, reason),
            (None, None) => (Health::Ok, String::new()),
        };
        ReplicaReport {
            replica: self.id.0,
            partition: self.partition.0,
            disk: self.disk_id.0,
            role: role.into(),
            epoch: status.epoch.0,
            end: status.last.sequence.0,
            committed: status.committed.0,
            last_record_epoch: status.last.epoch.0,
            lease_expired: status.lease_expired,
            proven: status.proven,
            state: state.into(),
            reason,
            bytes: self.log.bytes() + self.snapshots.staged_bytes(),
            preparing: status.role == RoleName::Reconciling,
            used: self.machine.user_bytes(),
        }
    }

    /// Whether others are in sync, so that what is lost here is lost nowhere else.
    #[must_use]
    pub fn has_others_in_sync(&self) -> bool {
        let others = |c: &Configuration| c.in_sync.iter().any(|replica| *replica != self.id);
        self.configuration.as_ref().is_some_and(others)
    }

    /// Notes that something found no room, for the node to ask.
    fn note_refused(&mut self, trouble: &Trouble) {
        if trouble.no_space {
            self.refused_write = Some(trouble.reason.clone());
        }
    }

    /// Gives up because of its index.
    fn fail_index(&mut self, error: &machine::Error) {
        self.is_damaged |= error.is_damage();
        self.fail(format!("the index failed: {error}"));
    }

    /// Gives up: nothing can be served from here until the replica is made anew.
    fn fail(&mut self, reason: String) {
        tracing::error!(partition = %self.partition, replica = %self.id, reason, "replica failed");
        self.failed.get_or_insert(reason);
    }
}

/// The status that a refusal of the engine has on the wire.
fn status_of(refusal: Refusal) -> Status {
    match refusal {
        Refusal::NotLeader { .. } | Refusal::Reconciling | Refusal::NoLease => Status::NotLeader,
        Refusal::Busy => Status::Busy,
        Refusal::BelowMinimum { .. } => Status::UnderReplicated,
        Refusal::Unknown => Status::Unknown,
    }
}
