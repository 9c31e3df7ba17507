//! One event at a time: what a replica in a known state does about it, effect by effect.
//! Everything that takes luck to find is in the simulation instead.

mod electing;
mod following;
mod leading;
mod moving;

use super::*;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use types::configuration::PartitionKind;
use types::limits::{LEASE, LEASE_MARGIN};
use types::volume::Durability;
use types::{DiskId, Epoch, Member, NodeId, PartitionId, Sequence, VolumeId};

/// The leader in most tests; the others follow.
const ONE: ReplicaId = ReplicaId(1);
const TWO: ReplicaId = ReplicaId(2);
const THREE: ReplicaId = ReplicaId(3);

/// A time at which every promise made at time zero has run out.
const LATER: Moment = Moment(10_000_000_000);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn position(epoch: u64, sequence: u64) -> Position {
    Position { epoch: Epoch(epoch), sequence: Sequence(sequence) }
}

fn entry(epoch: u64, sequence: u64) -> Entry {
    Entry { epoch: Epoch(epoch), sequence: Sequence(sequence), body: body() }
}

fn body() -> EntryBody {
    EntryBody { kind: 7, key: Bytes::from_static(b"key"), payload: Bytes::from_static(b"payload") }
}

fn configuration(epoch: u64, leader: ReplicaId, in_sync: &[ReplicaId]) -> Configuration {
    with_catching_up(epoch, leader, in_sync, &[])
}

fn with_catching_up(
    epoch: u64,
    leader: ReplicaId,
    in_sync: &[ReplicaId],
    catching_up: &[ReplicaId],
) -> Configuration {
    let mut all: Vec<ReplicaId> = in_sync.iter().chain(catching_up).copied().collect();
    all.sort();
    let member = |replica: &ReplicaId| Member {
        replica: *replica,
        node: NodeId(replica.0),
        disk: DiskId(replica.0),
    };
    Configuration {
        partition: PartitionId(1),
        volume: VolumeId(1),
        kind: PartitionKind::Data,
        epoch: Epoch(epoch),
        leader: Some(leader),
        in_sync: in_sync.iter().copied().collect(),
        catching_up: catching_up.iter().copied().collect::<BTreeSet<_>>(),
        members: all.iter().map(member).collect(),
        in_sync_min: 1,
        durability: Durability::Replicated,
    }
}

/// What a replica finds whose log has one entry per epoch given, from the first place on.
fn persisted(epoch: u64, epochs: &[u64]) -> Persisted {
    let mut history = History::default();
    for (index, epoch) in epochs.iter().enumerate() {
        history.push(position(*epoch, index as u64 + 1));
    }
    Persisted {
        life: 1,
        epoch: Epoch(epoch),
        configuration: None,
        log_start: Sequence(1),
        log_end: Sequence(epochs.len() as u64),
        synced: Sequence(epochs.len() as u64),
        applied: Sequence::ZERO,
        history: history.firsts().to_vec(),
        proven: true,
        failure: None,
    }
}

fn fresh(me: ReplicaId) -> Replica {
    Replica::recover(me, persisted(0, &[]), Moment(0))
}

/// Steps one event and returns what it asks for.
fn step(replica: &mut Replica, now: Moment, event: Event) -> Vec<Effect> {
    let mut effects = Vec::new();
    replica.step(now, event, &mut effects);
    effects
}

/// Takes up a configuration, persisted at once.
fn take_up(replica: &mut Replica, now: Moment, configuration: Configuration) -> Vec<Effect> {
    let epoch = configuration.epoch;
    step(replica, now, Event::Configure(configuration));
    step(replica, now, Event::EpochPersisted { epoch })
}

fn from(from: ReplicaId, message: Message) -> Event {
    Event::Message { from, message }
}

fn ack(epoch: u64, now: Moment, matched: u64, synced: u64) -> Message {
    Message::Ack(Ack {
        epoch: Epoch(epoch),
        stamp: now.0,
        life: 1,
        matched: Sequence(matched),
        synced: Sequence(synced),
        proven: true,
        failure: None,
        room: Room::Enough,
    })
}

fn append(epoch: u64, previous: Position, committed: u64, entries: Vec<Entry>) -> Append {
    let end = entries.last().map_or(previous.sequence, |entry| entry.sequence);
    Append {
        epoch: Epoch(epoch),
        stamp: 77,
        life: 1,
        previous,
        end: end.max(Sequence(committed)),
        committed: Sequence(committed),
        sync_upto: Sequence::ZERO,
        entries: Arc::from(entries),
    }
}

/// A leader of epoch 1 that serves, with `followers` in sync, whose log holds its barrier.
fn serving(followers: &[ReplicaId]) -> Replica {
    let in_sync: Vec<ReplicaId> = [ONE].iter().chain(followers).copied().collect();
    let mut leader = fresh(ONE);
    take_up(&mut leader, LATER, configuration(1, ONE, &in_sync));
    step(&mut leader, LATER, Event::Appended { end: Sequence(1) });
    for follower in followers {
        step(&mut leader, LATER, from(*follower, ack(1, LATER, 0, 0)));
        step(&mut leader, LATER, from(*follower, ack(1, LATER, 1, 0)));
    }
    assert!(leader.leads());
    leader
}

/// A follower of ONE in epoch 1 whose log has `epochs`.
fn following(epochs: &[u64]) -> Replica {
    let mut follower = Replica::recover(TWO, persisted(0, epochs), Moment(0));
    take_up(&mut follower, LATER, configuration(9, ONE, &[ONE, TWO]));
    follower
}

/// The one message among `effects`.
fn sent(effects: &[Effect]) -> (ReplicaId, Message) {
    let mut sent = effects.iter().filter_map(|effect| match effect {
        Effect::Send { to, message } => Some((*to, message.clone())),
        _ => None,
    });
    let one = sent.next().expect("something is sent");
    assert_eq!(sent.next(), None, "one thing is sent");
    one
}
