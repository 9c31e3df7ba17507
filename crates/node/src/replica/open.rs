//! Making a replica, and finding one again after a restart.
//!
//! A replica is a folder `replicas/<partition>-<replica>` of a disk:
//!
//! ```text
//! state        what must be remembered: epoch, configuration, life   (see `store`)
//! checkpoint-N from where the log has to be read again               (see `store`)
//! log/         segments
//! ```
//!
//! and a set of keys in the disk's index database, under partition, replica and generation.

use super::checkpoint::{Checkpointing, path as checkpoint_path};
use super::{Holder, Machine, Unapplied, snapshot};
use crate::ballast::Ballast;
use crate::context::Context;
use crate::log::{Log, Recovered, Start};
use crate::store::{self, Checkpoint, ReplicaState};
use partition::kv::Buffered;
use partition::log::Location;
use partition::replica::{Failure, History, Persisted, Position, Replica};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use types::configuration::PartitionKind;
use types::volume::Durability;
use types::{Configuration, DiskId, Epoch, Member, PartitionId, ReplicaId, Sequence};
use world::Disk;
use world::kv::{Database, Kv, Space};

/// Where replicas are on a disk.
pub const REPLICAS_FOLDER: &str = "replicas";

/// A replica's folder that was found on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    pub partition: PartitionId,
    pub replica: ReplicaId,
}

impl Found {
    /// Reads the name of a replica's folder.
    #[must_use]
    pub fn parse(name: &str) -> Option<Found> {
        let (partition, replica) = name.split_once('-')?;
        Some(Found { partition: partition.parse().ok()?, replica: replica.parse().ok()? })
    }

    /// The replica's folder.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("{REPLICAS_FOLDER}/{}-{}", self.partition, self.replica)
    }
}

/// Why a replica that is there cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Log(#[from] crate::log::Error),
    #[error(transparent)]
    Index(#[from] partition::kv::Error),
    #[error(transparent)]
    Machine(#[from] super::machine::Error),
    #[error("the state file is missing")]
    NoState,
    #[error("the state file says nothing of the kind of partition")]
    NoKind,
    #[error("the index knows records up to {applied} and the checkpoint speaks of {checkpoint}")]
    IndexBehind { applied: Sequence, checkpoint: Sequence },
    #[error("the log ends at {end} and was certainly on disk up to {least}")]
    LogShort { end: Sequence, least: Sequence },
    #[error("the file of segment {0}, which the index refers to, is missing")]
    NoSegment(u32),
    #[error("the disk failed: {0}")]
    Io(#[from] std::io::Error),
}

impl Error {
    /// Whether there was no room to write something, and nothing else is wrong.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        match self {
            Error::Store(error) => error.is_no_space(),
            Error::Log(error) => error.is_no_space(),
            Error::Index(error) => matches!(error, partition::kv::Error::NoSpace { .. }),
            Error::Machine(error) => error.is_no_space(),
            Error::Io(error) => world::disk::is_no_space(error),
            _ => false,
        }
    }

    /// Whether records that were in the log are certainly not in it any more: waiting brings none of
    /// them back.
    #[must_use]
    pub fn lacks_log(&self) -> bool {
        use crate::log::Error as Log;
        match self {
            Error::Log(error) => matches!(error, Log::Damaged { .. } | Log::DamagedSegment { .. }),
            Error::LogShort { .. } | Error::NoSegment(_) => true,
            _ => false,
        }
    }

    /// Whether something that was written is not there any more. Everything else may pass.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        use crate::log::Error as Log;
        match self {
            Error::Store(error) => matches!(error, store::Error::Damaged { .. }),
            Error::Log(error) => !matches!(error, Log::NoSpace(_) | Log::Io(_)),
            Error::Index(error) => matches!(error, partition::kv::Error::Damaged { .. }),
            Error::Machine(error) => error.is_damage(),
            Error::Io(_) => false,
            Error::NoState
            | Error::NoKind
            | Error::IndexBehind { .. }
            | Error::LogShort { .. }
            | Error::NoSegment(_) => true,
        }
    }
}

/// A disk that replicas live on.
#[derive(Clone, Debug)]
pub struct Home {
    pub disk_id: DiskId,
    pub disk: Disk,
    pub database: Database,
    pub ballast: Ballast,
}

impl Holder {
    /// Makes an empty replica that `configuration` names as `member`.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn create(
        context: Arc<Context>,
        home: &Home,
        configuration: &Configuration,
        member: &Member,
    ) -> Result<Holder, Error> {
        let found = Found { partition: configuration.partition, replica: member.replica };
        let folder = found.folder();
        home.disk.create_folder(&format!("{folder}/log"))?;
        let kind = match configuration.kind {
            PartitionKind::Data => wire::control::PartitionKind::Data,
            PartitionKind::Namespace => wire::control::PartitionKind::Namespace,
        };
        let state = ReplicaState {
            proven_boot: context.world.os_boot(),
            kind: kind.into(),
            disk: home.disk_id.0,
            ..ReplicaState::default()
        };
        store::write(&home.disk, &format!("{folder}/state"), &state)?;
        home.disk.sync_folder(REPLICAS_FOLDER)?;
        Holder::open(context, home, found)
    }

    /// Opens a replica that an earlier life left behind.
    ///
    /// # Errors
    /// When something of it is damaged: it must be made anew from a good replica.
    pub fn open(context: Arc<Context>, home: &Home, found: Found) -> Result<Holder, Error> {
        let folder = found.folder();
        let mut stored = read_state(home, found)?;
        let kind = kind_of(&stored)?;
        let checkpoint = read_checkpoint(home, &folder, stored.generation)?;
        let (kv, machine) = open_index(home, found, kind, (&stored, &checkpoint))?;
        let power_lost = !stored.clean && stored.proven_boot != context.world.os_boot();
        announce(home, found, &mut stored)?;
        let mut recovery = Recovery::new(&machine, &checkpoint);
        let (mut log, recovered) =
            recovery.read_log(home, found, start_of(&checkpoint, power_lost))?;
        log.set_segment_bytes(context.upkeep.segment_bytes);
        check_whole(&machine, &log, &stored, &checkpoint)?;
        stored.cut |= recovered.cut || machine.applied() > log.end();
        stored.opening = false;
        let persisted = recovery.persisted(&stored, &log, power_lost, &checkpoint);
        stored.life += 1;
        stored.clean = false;
        store::write(&home.disk, &state_path(found), &stored)?;
        let configuration = persisted.configuration.clone();
        let engine = Replica::recover(found.replica, persisted, context.world.now());
        tracing::info!(
            partition = %found.partition, replica = %found.replica, ?kind, end = %log.end(),
            applied = %machine.applied(), cut = recovered.cut, "replica opened"
        );
        Ok(Holder {
            partition: found.partition,
            id: found.replica,
            disk_id: home.disk_id,
            kind,
            disk: home.disk.clone(),
            database: home.database.clone(),
            ballast: home.ballast.clone(),
            folder,
            engine,
            log,
            kv,
            machine,
            stored,
            configuration,
            unapplied: recovery.unapplied,
            submits: Vec::new(),
            waiting: HashMap::new(),
            token_next: 0,
            results: VecDeque::new(),
            checkpointing: Checkpointing::new(&checkpoint),
            dead: Default::default(),
            compaction: Default::default(),
            snapshots: snapshot::Transfers::default(),
            clients: Default::default(),
            room: super::room::Room::default(),
            refused_write: None,
            room_probed: None,
            failed: None,
            is_damaged: false,
            damages: Default::default(),
            scrub: super::scrub::Scrub::new(context.world.now()),
            writing: Arc::default(),
            growth: Default::default(),
            inspections: Vec::new(),
            context,
        })
    }

    pub(super) fn store_state(&self) -> Result<(), store::Error> {
        store::write(&self.disk, &format!("{}/state", self.folder), &self.stored)
    }
}

/// Takes everything of a replica off its disk, opened or not.
///
/// # Errors
/// When the disk fails; trying again goes on where it stopped.
pub fn destroy(
    disk: &Disk,
    database: &Database,
    found: Found,
    kind: PartitionKind,
) -> Result<(), Error> {
    use partition::kv::{Kv as _, Remaining};
    // The state file goes first: without it nobody takes the rest for a replica.
    disk.remove_if_present(&format!("{}/state", found.folder()))?;
    disk.sync_folder(&found.folder()).or_else(ignore_missing)?;
    // What takes the most room, before the index asks for some to note what is gone from it.
    disk.remove_tree(&format!("{}/log", found.folder()))?;
    let mut prefix = found.partition.0.to_be_bytes().to_vec();
    prefix.extend_from_slice(&found.replica.0.to_be_bytes());
    let kv = database.handle(space_of(kind), Vec::new());
    while kv.remove_prefix(&prefix, 4096)? == Remaining::Some {}
    disk.remove_tree(&found.folder())?;
    Ok(disk.sync_folder(REPLICAS_FOLDER)?)
}

/// The configuration of a replica that cannot be opened, as far as its state file says.
#[must_use]
pub fn configuration_of(disk: &Disk, found: Found) -> Option<Configuration> {
    let state = store::read::<ReplicaState>(disk, &state_path(found)).ok()??;
    Configuration::try_from(state.configuration.as_ref()?).ok()
}

fn state_path(found: Found) -> String {
    format!("{}/state", found.folder())
}

fn read_state(home: &Home, found: Found) -> Result<ReplicaState, Error> {
    store::read(&home.disk, &state_path(found))?.ok_or(Error::NoState)
}

/// Notes that a replica is being opened, before anything of its log is cut. After a stop in order
/// nothing is, or it is noticed.
fn announce(home: &Home, found: Found, stored: &mut ReplicaState) -> Result<(), store::Error> {
    stored.cut |= stored.opening;
    if stored.clean {
        return Ok(());
    }
    stored.opening = true;
    store::write(&home.disk, &state_path(found), stored)
}

fn ignore_missing(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// The keys of one generation of a replica's index.
pub(super) fn index_prefix(found: Found, generation: u32) -> Vec<u8> {
    let mut prefix = found.partition.0.to_be_bytes().to_vec();
    prefix.extend_from_slice(&found.replica.0.to_be_bytes());
    prefix.extend_from_slice(&generation.to_be_bytes());
    prefix
}

pub(super) fn space_of(kind: PartitionKind) -> Space {
    match kind {
        PartitionKind::Namespace => Space::Metadata,
        PartitionKind::Data => Space::Index,
    }
}

/// A handle on one generation of a replica's index.
pub(super) fn index_handle(
    database: &Database,
    found: Found,
    kind: PartitionKind,
    generation: u32,
) -> Kv {
    database.handle(space_of(kind), index_prefix(found, generation))
}

fn read_checkpoint(home: &Home, folder: &str, generation: u32) -> Result<Checkpoint, Error> {
    Ok(store::read(&home.disk, &checkpoint_path(folder, generation))?.unwrap_or_default())
}

fn start_of(checkpoint: &Checkpoint, power_lost: bool) -> Start {
    // The checkpoint's own record is read again: it shows that the place is the right one.
    let at = (checkpoint.segment > 0)
        .then_some(Location { segment: checkpoint.segment, offset: checkpoint.offset });
    let sequence = match at {
        Some(_) => Sequence(checkpoint.sequence).previous(),
        None => Sequence(checkpoint.sequence),
    };
    let (segment_min, log_start) = (checkpoint.segment_min, Sequence(checkpoint.log_start));
    Start { sequence, epoch: Epoch::ZERO, at, segment_min, log_start, power_lost }
}

fn kind_of(stored: &ReplicaState) -> Result<PartitionKind, Error> {
    match stored.kind() {
        wire::control::PartitionKind::Data => Ok(PartitionKind::Data),
        wire::control::PartitionKind::Namespace => Ok(PartitionKind::Namespace),
        wire::control::PartitionKind::Unspecified => Err(Error::NoKind),
    }
}

/// Opens the index, which must know all that the checkpoint speaks of.
fn open_index(
    home: &Home,
    found: Found,
    kind: PartitionKind,
    (stored, checkpoint): (&ReplicaState, &Checkpoint),
) -> Result<(Arc<Buffered>, Machine), Error> {
    let kv = index_handle(&home.database, found, kind, stored.generation);
    let kv = Arc::new(Buffered::new(Arc::new(kv)));
    let machine = Machine::open(kind, kv.clone())?;
    let (applied, known) = (machine.applied(), Sequence(checkpoint.sequence));
    if applied < known {
        return Err(Error::IndexBehind { applied, checkpoint: known });
    }
    Ok((kv, machine))
}

/// Checks that nothing of the log is missing that certainly was there: to serve, and worse to lead,
/// with less would turn damage into loss.
fn check_whole(
    machine: &Machine,
    log: &Log,
    stored: &ReplicaState,
    checkpoint: &Checkpoint,
) -> Result<(), Error> {
    // What was committed is never cut again; what was only synced may have been, but not after a
    // stop in order.
    let least = if stored.clean { checkpoint.synced } else { checkpoint.sequence };
    if log.end() < Sequence(least) {
        return Err(Error::LogShort { end: log.end(), least: Sequence(least) });
    }
    let Machine::Data(index) = machine else { return Ok(()) };
    let live = index.segments().iter().filter(|(_, bytes)| **bytes > 0);
    match live.map(|(number, _)| *number).find(|number| !log.segments().contains_key(number)) {
        Some(number) => Err(Error::NoSegment(number)),
        None => Ok(()),
    }
}

/// What is gathered while the log is read.
struct Recovery {
    applied: Sequence,
    history: History,
    unapplied: VecDeque<Unapplied>,
}

impl Recovery {
    fn new(machine: &Machine, checkpoint: &Checkpoint) -> Recovery {
        let firsts = checkpoint.history.chunks_exact(2);
        let firsts =
            firsts.map(|pair| Position { epoch: Epoch(pair[0]), sequence: Sequence(pair[1]) });
        Recovery {
            applied: machine.applied(),
            history: History::from_stored(firsts.collect()),
            unapplied: VecDeque::new(),
        }
    }

    fn read_log(
        &mut self,
        home: &Home,
        found: Found,
        start: Start,
    ) -> Result<(Log, Recovered), Error> {
        let (folder, whose) = (format!("{}/log", found.folder()), (found.partition, found.replica));
        let take = &mut |entry, at| self.take(&entry, at);
        Ok(Log::recover(home.disk.clone(), folder, whose, start, take)?)
    }

    fn take(&mut self, entry: &partition::replica::Entry, at: Location) {
        self.history.push(entry.position());
        if entry.sequence > self.applied {
            self.unapplied.push_back(Unapplied::of(entry, at));
        }
    }

    fn persisted(
        &self,
        stored: &ReplicaState,
        log: &Log,
        power_lost: bool,
        checkpoint: &Checkpoint,
    ) -> Persisted {
        let configuration: Option<Configuration> =
            stored.configuration.as_ref().and_then(|c| c.try_into().ok());
        let always_synced =
            configuration.as_ref().is_some_and(|c| c.durability == Durability::Synced);
        let short = self.applied > log.end();
        if stored.cut {
            tracing::warn!(end = %log.end(), applied = %self.applied, "the log's tail was cut");
        }
        let synced = if stored.clean { log.end() } else { Sequence(checkpoint.synced) };
        let mut history = self.history.clone();
        history.truncate(log.end());
        Persisted {
            life: stored.life + 1,
            epoch: Epoch(stored.epoch),
            configuration,
            log_start: log.start(),
            log_end: log.end(),
            synced: synced.min(log.end()),
            applied: self.applied.min(log.end()),
            history: history.firsts().to_vec(),
            proven: !stored.cut && (!power_lost || always_synced),
            failure: short.then_some(Failure::Io),
        }
    }
}
