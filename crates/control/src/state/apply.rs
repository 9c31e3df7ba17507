//! One function per command. A refusal leaves the state as it was.

use super::State;
use super::access;
use super::command::{Command, DiskOffer, Joined, Outcome, Placement, Refusal, VolumeSpec};
use super::conditions;
use super::configure::{self, Step};
use super::event::Event;
use super::record::{Disk, Node, Partition, Volume, VolumeState};
use std::collections::{BTreeMap, BTreeSet};
use types::condition::Key;
use types::limits::REPLICAS_MAX;
use types::{
    BootId, ClusterId, Configuration, DiskId, Epoch, Member, NodeId, PartitionId, ReplicaId,
    Timestamp, VolumeId,
};

/// Longest name of a volume, in bytes.
const VOLUME_NAME_BYTES_MAX: usize = 128;

pub(super) fn apply(state: &mut State, command: &Command) -> Result<Outcome, Refusal> {
    match command {
        Command::Initialize { cluster } => Ok(initialize(state, *cluster)),
        Command::Join { identity, boot, address, zone, disks, at } => {
            let life = Life { identity: *identity, boot: *boot, address, zone, at: *at };
            join(state, &life, disks)
        }
        Command::CreateVolume { spec, at } => create_volume(state, spec, *at),
        Command::ExpandVolume { volume, capacity } => expand_volume(state, *volume, *capacity),
        Command::DeleteVolume { volume, at, grace_ms } => {
            delete_volume(state, *volume, *at, *grace_ms)
        }
        Command::UndeleteVolume { volume, at } => undelete_volume(state, *volume, *at),
        Command::NoteStandby { volume, standby, client, at } => {
            Ok(note_standby(state, *volume, *standby, client, *at))
        }
        Command::PurgeVolume { volume, at } => purge_volume(state, *volume, *at),
        Command::PlacePartitions { volume, placements } => {
            place_partitions(state, *volume, placements)
        }
        Command::Configure { partition, expected, step, at } => {
            configure_partition(state, *partition, *expected, step, *at)
        }
        Command::Confirm { made } => Ok(confirm(state, made)),
        Command::Observe { observations } => Ok(conditions::observe(state, observations)),
        Command::Forget { gone, at } => Ok(forget(state, gone, *at)),
        Command::Operation(act) => crate::operation::apply::apply(state, act),
        Command::CreateToken { volume, spec, at } => access::create(state, *volume, spec, *at),
        Command::EndToken { volume, token, why, at } => {
            access::end(state, *volume, *token, *why, *at)
        }
    }
}

fn initialize(state: &mut State, cluster: ClusterId) -> Outcome {
    Outcome::Cluster(*state.cluster.get_or_insert(cluster))
}

/// One start of a node.
struct Life<'a> {
    identity: u64,
    boot: BootId,
    address: &'a str,
    zone: &'a str,
    at: Timestamp,
}

fn join(state: &mut State, life: &Life<'_>, offers: &[DiskOffer]) -> Result<Outcome, Refusal> {
    let cluster = state.cluster.ok_or(Refusal::NotInitialized)?;
    if life.identity == 0 || life.boot.0 == 0 || offers.iter().any(|offer| offer.identity == 0) {
        return Err(Refusal::breaks("an identity of zero is none"));
    }
    let identities: BTreeSet<u64> = offers.iter().map(|offer| offer.identity).collect();
    if identities.len() != offers.len() {
        return Err(Refusal::breaks("the same disk was offered twice"));
    }
    let known = state.nodes.values().find(|node| node.identity == life.identity);
    let known = known.map(|node| (node.id, node.joined, node.boot, node.started, node.life));
    let (id, joined, boot, started, number) =
        known.unwrap_or_else(|| (state.next_node(), life.at, life.boot, life.at, 0));
    let is_same = boot == life.boot && number != 0;
    let node = Node {
        id,
        identity: life.identity,
        boot: life.boot,
        address: life.address.to_owned(),
        zone: life.zone.to_owned(),
        joined,
        started: if boot == life.boot { started } else { life.at },
        life: if is_same { number } else { state.next_life() },
    };
    state.nodes.insert(id, node);
    if !is_same {
        let message = format!("joined from {}", life.address);
        state.events.push(Event::of("node", format!("node/{id}"), "joined", message, life.at));
    }
    let disks: Vec<DiskId> = offers.iter().map(|offer| take_disk(state, id, offer)).collect();
    let spaces = disks.iter().map(|disk| state.conditions.state(Key::space(*disk))).collect();
    Ok(Outcome::Joined(Joined { cluster, node: id, disks, spaces }))
}

fn take_disk(state: &mut State, node: NodeId, offer: &DiskOffer) -> DiskId {
    let known = state.disks.values().find(|disk| disk.identity == offer.identity);
    let id = known.map(|disk| disk.id).unwrap_or_else(|| state.next_disk());
    let disk = Disk {
        id,
        identity: offer.identity,
        node,
        label: offer.label.clone(),
        capacity: offer.capacity,
    };
    state.disks.insert(id, disk);
    id
}

fn create_volume(
    state: &mut State,
    spec: &VolumeSpec,
    created: Timestamp,
) -> Result<Outcome, Refusal> {
    state.cluster.ok_or(Refusal::NotInitialized)?;
    check_spec(spec).map_err(Refusal::breaks)?;
    if let Some(taken) = state.volume_named(&spec.name) {
        return Err(Refusal::NameTaken { name: spec.name.clone(), volume: taken.id });
    }
    let id = state.next_volume();
    let volume = Volume {
        id,
        name: spec.name.clone(),
        kind: spec.kind,
        replicas: spec.replicas,
        in_sync_min: spec.in_sync_min,
        capacity: spec.capacity,
        durability: spec.durability,
        data_partitions: spec.data_partitions,
        state: VolumeState::Creating,
        created,
        deleted: None,
        purge_at: None,
    };
    state.volumes.insert(id, volume.clone());
    let name = volume.name.clone();
    state.events.push(Event::of("volume", format!("volume/{id}"), "creating", name, created));
    Ok(Outcome::Volume(Box::new(volume)))
}

/// Says what is wrong with a volume as asked for.
pub(crate) fn check_spec(spec: &VolumeSpec) -> Result<(), &'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name = spec.name.as_str();
    if name.is_empty() || name.len() > VOLUME_NAME_BYTES_MAX || !name.chars().all(allowed) {
        return Err("a volume's name is 1 to 128 of: a-z A-Z 0-9 - _ .");
    }
    // A name that reads as a number would be taken for an id by every command that takes both.
    if name.chars().all(|c| c.is_ascii_digit()) || name.starts_with(['-', '.']) {
        return Err("a volume's name may not be a number, nor begin with '-' or '.'");
    }
    if spec.replicas == 0 || usize::from(spec.replicas) > REPLICAS_MAX {
        return Err("a volume has 1 to 7 replicas");
    }
    if spec.in_sync_min == 0 || spec.in_sync_min > spec.replicas {
        return Err("the minimum of in-sync replicas is between 1 and the number of replicas");
    }
    if spec.capacity == 0 {
        return Err("a volume's capacity is at least one byte");
    }
    if spec.data_partitions == 0 {
        return Err("a volume has at least one data partition");
    }
    Ok(())
}

fn live_volume(state: &mut State, volume: VolumeId) -> Result<&mut Volume, Refusal> {
    let record = state.volumes.get_mut(&volume).ok_or(Refusal::NoSuchVolume { volume })?;
    if record.state.is_live() { Ok(record) } else { Err(Refusal::VolumeDeleted { volume }) }
}

fn expand_volume(state: &mut State, volume: VolumeId, asked: u64) -> Result<Outcome, Refusal> {
    let record = live_volume(state, volume)?;
    if asked < record.capacity {
        return Err(Refusal::Shrink { current: record.capacity, asked });
    }
    record.capacity = asked;
    Ok(Outcome::Volume(Box::new(record.clone())))
}

fn delete_volume(
    state: &mut State,
    volume: VolumeId,
    at: Timestamp,
    grace_ms: u64,
) -> Result<Outcome, Refusal> {
    let record = state.volumes.get_mut(&volume).ok_or(Refusal::NoSuchVolume { volume })?;
    // Whoever deletes it once more chooses another grace. Before graces, replicas went at once.
    let graced = record.state == VolumeState::Deleting && record.purge_at.is_some();
    if !record.state.is_live() && !graced {
        return Err(Refusal::VolumeDeleted { volume });
    }
    let placed = record.state != VolumeState::Creating;
    record.state = VolumeState::Deleting;
    record.deleted = Some(at);
    let grace = i64::try_from(grace_ms).unwrap_or(i64::MAX).saturating_mul(NANOS_PER_MILLI);
    // What was never placed has nothing to come back to.
    let until = if placed { Timestamp(at.0.saturating_add(grace)) } else { at };
    record.purge_at = Some(until);
    let message = format!("{}; what is in it goes at {until}", record.name);
    let record = Box::new(record.clone());
    crate::operation::apply::volume_deleted(state, volume, until, at);
    if until == at {
        return purge_volume(state, volume, at);
    }
    state.events.push(Event::of("volume", format!("volume/{volume}"), "deleting", message, at));
    Ok(Outcome::Volume(record))
}

const NANOS_PER_MILLI: i64 = 1_000_000;

/// The volume, when its deletion may be taken back or carried out.
fn deleting_volume(state: &mut State, volume: VolumeId) -> Result<&mut Volume, Refusal> {
    let record = state.volumes.get_mut(&volume).ok_or(Refusal::NoSuchVolume { volume })?;
    match record.state {
        VolumeState::Deleting => Ok(record),
        VolumeState::Purging | VolumeState::Deleted => Err(Refusal::VolumeDeleted { volume }),
        state => Err(Refusal::NotDeleting { volume, state: state.to_string() }),
    }
}

pub(crate) fn undelete_volume(
    state: &mut State,
    volume: VolumeId,
    at: Timestamp,
) -> Result<Outcome, Refusal> {
    let record = deleting_volume(state, volume)?;
    // One whose deletion began before there was a grace has lost replicas already.
    if record.purge_at.is_none_or(|until| until <= at) {
        return Err(Refusal::VolumeDeleted { volume });
    }
    record.state = VolumeState::Active;
    record.deleted = None;
    record.purge_at = None;
    let record = Box::new(record.clone());
    crate::operation::apply::volume_restored(state, volume, at);
    let message = format!("{}; its deletion was taken back", record.name);
    state.events.push(Event::of("volume", format!("volume/{volume}"), "active", message, at));
    Ok(Outcome::Volume(record))
}

fn purge_volume(state: &mut State, volume: VolumeId, at: Timestamp) -> Result<Outcome, Refusal> {
    let record = deleting_volume(state, volume)?;
    if let Some(until) = record.purge_at.filter(|until| at < *until) {
        return Err(Refusal::InGrace { volume, until });
    }
    record.state = VolumeState::Purging;
    let name = record.name.clone();
    state.events.push(Event::of("volume", format!("volume/{volume}"), "purging", name, at));
    let all: Vec<PartitionId> =
        state.partitions_of(volume).map(|p| p.configuration.partition).collect();
    for id in all {
        state.partitions.edit(id, doom);
    }
    bury(state, at);
    Ok(Outcome::Volume(Box::new(state.volumes[&volume].clone())))
}

/// Every replica of the partition is to go.
fn doom(partition: &mut Partition) {
    let holders: Vec<Member> = partition.holders().copied().collect();
    partition.doomed = holders.into_iter().map(|m| (m.replica, m)).collect();
    partition.spare = BTreeMap::new();
    partition.deleted = true;
    partition.configuration.epoch = partition.configuration.epoch.next();
}

/// Remembers it once: a client says it again to every new leader.
fn note_standby(
    state: &mut State,
    volume: VolumeId,
    standby: VolumeId,
    client: &str,
    at: Timestamp,
) -> Outcome {
    let (Some(gone), Some(used)) = (state.volumes.get(&volume), state.volumes.get(&standby)) else {
        return Outcome::Done;
    };
    let message = format!("{client} uses volume {} in the place of {}", used.name, gone.name);
    let event = Event::of("volume", format!("volume/{volume}"), "standby", message, at);
    if !state.events.tells(&event) {
        state.events.push(event);
    }
    Outcome::Done
}

/// Volumes that are being deleted and have nothing left become tombstones.
fn bury(state: &mut State, at: Timestamp) {
    let empty = state.partitions.deleted().filter(|p| p.doomed.is_empty());
    let empty: Vec<PartitionId> = empty.map(|p| p.configuration.partition).collect();
    empty.into_iter().for_each(|id| state.partitions.remove(id));
    for volume in state.volumes.values_mut() {
        let is_left = state.partitions.of(volume.id).next().is_some();
        if volume.state == VolumeState::Purging && !is_left {
            volume.state = VolumeState::Deleted;
            let message = format!("{}; every replica is gone", volume.name);
            let subject = format!("volume/{}", volume.id);
            state.events.push(Event::of("volume", subject, "deleted", message, at));
            state.access.forget(volume.id, at);
        }
    }
}

fn place_partitions(
    state: &mut State,
    volume: VolumeId,
    placements: &[Placement],
) -> Result<Outcome, Refusal> {
    let record = live_volume(state, volume)?.clone();
    if record.state != VolumeState::Creating {
        return Err(Refusal::AlreadyPlaced { volume });
    }
    if placements.is_empty() {
        return Err(Refusal::breaks("a volume has at least one partition"));
    }
    // First everything that can be refused, then everything that changes: a refusal leaves no trace.
    let before = state.counters;
    let partitions: Result<Vec<Partition>, Refusal> =
        placements.iter().map(|placement| place(state, &record, placement)).collect();
    let partitions = partitions.inspect_err(|_| state.counters = before)?;
    for partition in partitions {
        state.partitions.insert(partition.configuration.partition, partition);
    }
    live_volume(state, volume)?.state = VolumeState::Active;
    Ok(Outcome::Done)
}

fn place(state: &mut State, volume: &Volume, placement: &Placement) -> Result<Partition, Refusal> {
    let known = |(node, disk): &(NodeId, DiskId)| {
        state.nodes.contains_key(node) && state.disks.get(disk).is_some_and(|d| d.node == *node)
    };
    if !placement.replicas.iter().all(known) {
        return Err(Refusal::breaks("a placement names a node or disk that is not known"));
    }
    let partition = state.next_partition();
    let mut member =
        |&(node, disk): &(NodeId, DiskId)| Member { replica: state.next_replica(), node, disk };
    let members: Vec<Member> = placement.replicas.iter().map(&mut member).collect();
    let configuration = Configuration {
        partition,
        volume: volume.id,
        kind: placement.kind,
        epoch: Epoch::ZERO.next(),
        leader: members.first().map(|m| m.replica),
        in_sync: members.iter().map(|m| m.replica).collect(),
        catching_up: BTreeSet::new(),
        members,
        in_sync_min: volume.in_sync_min,
        durability: volume.durability,
    };
    configuration.check().map_err(Refusal::breaks)?;
    Ok(Partition {
        configuration,
        spare: BTreeMap::new(),
        doomed: BTreeMap::new(),
        made: BTreeSet::new(),
        deleted: false,
        changed: None,
    })
}

pub(crate) fn configure_partition(
    state: &mut State,
    partition: PartitionId,
    expected: Epoch,
    step: &Step,
    at: Timestamp,
) -> Result<Outcome, Refusal> {
    let before = state.partitions.get(&partition).filter(|p| !p.deleted);
    let before = before.ok_or(Refusal::NoSuchPartition { partition })?;
    if before.configuration.epoch != expected {
        return Err(Refusal::Conflict { current: Box::new(before.configuration.clone()) });
    }
    if let Step::Add { node, disk } = step
        && state.disks.get(disk).is_none_or(|d| d.node != *node)
    {
        return Err(Refusal::breaks("the disk is not known, or not on that node"));
    }
    let fresh = ReplicaId(state.counters.replica + 1);
    let after = configure::configure(before, step, fresh, at)?;
    if matches!(step, Step::Add { .. }) {
        state.counters.replica = fresh.0;
    }
    let configuration = Box::new(after.configuration.clone());
    state.events.push(Event::configured(partition, expected, &configuration, step, at));
    state.partitions.insert(partition, after);
    Ok(Outcome::Configuration(configuration))
}

fn confirm(state: &mut State, made: &[(PartitionId, ReplicaId)]) -> Outcome {
    for (partition, replica) in made {
        state.partitions.edit(*partition, |record| {
            if record.holders().any(|member| member.replica == *replica) {
                record.made.insert(*replica);
            }
        });
    }
    Outcome::Done
}

fn forget(state: &mut State, gone: &[(PartitionId, ReplicaId)], at: Timestamp) -> Outcome {
    for (partition, replica) in gone {
        let was_doomed = state.partitions.edit(*partition, |record| {
            let was_doomed = record.doomed.remove(replica).is_some();
            was_doomed && {
                record.made.remove(replica);
                true
            }
        });
        if was_doomed == Some(true) {
            state.conditions.forget(*partition, *replica);
        }
    }
    bury(state, at);
    Outcome::Done
}
