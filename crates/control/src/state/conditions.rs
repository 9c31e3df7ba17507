//! Conditions on record, and the one command that changes them.
//!
//! Only what changed comes here, in batches: what nodes re-state several times a second stays in the
//! memory of the leading member, which shows how old it is. A replica that was never other than well
//! has no record, so that a million of them cost nothing.

use super::State;
use super::command::Outcome;
use super::event::Event;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use types::condition::{
    Fact, Key, Observation, Owner, Record, State as Condition, Step, Subject, step,
};
use types::{DiskId, PartitionId, ReplicaId};

/// What is known, by subject and fact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Conditions {
    records: BTreeMap<Key, Record>,
}

impl Conditions {
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&Record> {
        self.records.get(&key)
    }

    /// The state of a fact; `None` when nothing is known of it.
    #[must_use]
    pub fn state(&self, key: Key) -> Option<Condition> {
        self.records.get(&key).map(|record| record.state)
    }

    /// Whether a disk is known to have no room.
    #[must_use]
    pub fn is_full(&self, disk: DiskId) -> bool {
        self.state(Key::space(disk)) == Some(Condition::Full)
    }

    /// Every fact on record.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &Record)> {
        self.records.iter().map(|(key, record)| (*key, record))
    }

    /// Forgets what was known of a replica that is no more.
    pub(super) fn forget(&mut self, partition: PartitionId, replica: ReplicaId) {
        self.records.remove(&Key::data(partition, replica));
    }
}

impl State {
    /// Who may change a fact; `None` when there is no such subject.
    #[must_use]
    pub fn owner_of(&self, key: Key) -> Option<Owner> {
        match (key.subject, key.fact) {
            (Subject::Node(node), Fact::Liveness) => {
                self.nodes.contains_key(&node).then_some(Owner::Detector)
            }
            (Subject::Disk(disk), Fact::Space | Fact::Health) => {
                self.disks.get(&disk).map(|disk| Owner::Node(disk.node))
            }
            (Subject::Replica(partition, replica), Fact::Data) => {
                let mut holders = self.partitions.get(&partition)?.holders();
                let member = holders.find(|member| member.replica == replica)?;
                Some(Owner::Node(member.node))
            }
            _ => None,
        }
    }

    /// What an observation would do. Pure: the leader asks before it has it agreed upon.
    #[must_use]
    pub fn judge(&self, owner: Owner, observation: &Observation) -> Step {
        let life = match (observation.by, observation.key.subject) {
            (Owner::Node(node), _) | (Owner::Detector, Subject::Node(node)) => {
                self.nodes.get(&node).map(|node| node.life)
            }
            _ => None,
        };
        // Words of a life that is over, or of one that never joined.
        if life != Some(observation.stamp.life) {
            return Step::Stale;
        }
        step(self.conditions.get(observation.key), owner, observation)
    }
}

pub(super) fn observe(state: &mut State, observations: &[Observation]) -> Outcome {
    for observation in observations {
        let Some(owner) = state.owner_of(observation.key) else { continue };
        if let Step::Applied(record) = state.judge(owner, observation) {
            let before = state.conditions.records.insert(observation.key, record);
            state.events.push(event(observation, before.as_ref()));
        }
    }
    Outcome::Done
}

fn event(observation: &Observation, before: Option<&Record>) -> Event {
    Event {
        cursor: 0,
        at: observation.at,
        kind: "condition".to_owned(),
        subject: observation.key.to_string(),
        from: before.map_or("unknown", |record| record.state.word()).to_owned(),
        to: observation.state.word().to_owned(),
        message: format!("{}: {}", observation.reason, observation.evidence),
    }
}
