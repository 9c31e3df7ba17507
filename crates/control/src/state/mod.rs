//! What the control plane remembers: the replicated state, and how each command changes it.
//!
//! Pure and deterministic: every member applies the same commands in the same order and ends up
//! with the same bytes. Nothing here reads a clock or draws a number; dates and identities come
//! inside the commands. What nodes say about themselves several times a second is **not** here
//! (see [`crate::detect`]): only what must survive everybody's restart.
//!
//! Promises, each checked by [`State::check`] in tests and after loading a snapshot:
//! - ids rise and are never used twice, deleted things included
//! - every configuration keeps the promises of [`types::Configuration`], and a change makes its
//!   epoch exactly one higher
//! - a replica is in one place only: member, spare or doomed of one partition; and a doomed
//!   replica never comes back
//! - the record of a partition outlives every replica of it that was ever made

pub mod access;
pub mod changes;
pub mod command;
pub mod conditions;
pub mod configure;
pub mod event;
pub mod partitions;
pub mod record;

mod apply;
pub(crate) use apply::{check_spec, configure_partition, undelete_volume};
#[cfg(test)]
mod tests;

pub use access::{AccessRecord, Token, TokenEnd, TokenSpec};
pub use command::{Command, Outcome, Refusal};
pub use conditions::Conditions;
pub use configure::Step;
pub use event::{Event, Events};
pub use partitions::Partitions;
pub use record::{Disk, Node, Partition, Spare, Volume, VolumeState};

use crate::operation::Operations;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use types::{ClusterId, DiskId, NodeId, PartitionId, ReplicaId, VolumeId};

/// Format of the encoded state; a member refuses what it does not know.
pub const STATE_VERSION: u32 = 1;

/// The last number handed out of each kind. Numbers start at 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    pub node: u64,
    pub disk: u64,
    pub volume: u64,
    pub partition: u64,
    pub replica: u64,
    /// Lives of nodes.
    #[serde(default)]
    pub life: u64,
}

fn draw(counter: &mut u64) -> u64 {
    *counter += 1;
    *counter
}

/// Everything the control plane remembers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    version: u32,
    /// Drawn by the first leader; `None` before that.
    pub cluster: Option<ClusterId>,
    pub counters: Counters,
    pub nodes: BTreeMap<NodeId, Node>,
    pub disks: BTreeMap<DiskId, Disk>,
    /// Deleted volumes stay, as tombstones: that a volume is gone is a fact people ask for.
    pub volumes: BTreeMap<VolumeId, Volume>,
    pub partitions: Partitions,
    /// What is known of nodes, disks and replicas, as far as it was ever other than well.
    #[serde(default)]
    pub conditions: Conditions,
    /// The last things that happened.
    #[serde(default)]
    pub events: Events,
    /// Long-running work, locks, and who is out of service.
    #[serde(default)]
    pub operations: Operations,
    /// Which volumes need a token, and all tokens.
    #[serde(default)]
    pub access: AccessRecord,
}

impl Default for State {
    fn default() -> Self {
        State {
            version: STATE_VERSION,
            cluster: None,
            counters: Counters::default(),
            nodes: BTreeMap::new(),
            disks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            partitions: Partitions::default(),
            conditions: Conditions::default(),
            events: Events::default(),
            operations: Operations::default(),
            access: AccessRecord::default(),
        }
    }
}

/// An encoded state that cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("the control plane's state is not readable: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("the control plane's state has version {found}, and this program knows {known}")]
    Version { found: u32, known: u32 },
    #[error("the control plane's state breaks a promise: {0}")]
    Broken(String),
}

impl State {
    /// A copy to try on what one more operation would do: what happened before is left out, and the partitions
    /// are shared, so it costs little however many there are.
    #[must_use]
    pub fn sketch(&self) -> State {
        State {
            version: self.version,
            cluster: self.cluster,
            counters: self.counters,
            nodes: self.nodes.clone(),
            disks: self.disks.clone(),
            volumes: self.volumes.clone(),
            partitions: self.partitions.clone(),
            conditions: self.conditions.clone(),
            events: Events::default(),
            operations: self.operations.outline(),
            // No operation asks who may reach a volume.
            access: AccessRecord::default(),
        }
    }

    /// The state as bytes, for snapshots.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("maps keyed by numbers and plain data always encode")
    }

    /// Reads what [`State::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are damaged, of another version, or break a promise.
    pub fn decode(bytes: &[u8]) -> Result<State, DecodeError> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let head: Head = serde_json::from_slice(bytes)?;
        if head.version != STATE_VERSION {
            return Err(DecodeError::Version { found: head.version, known: STATE_VERSION });
        }
        let state: State = serde_json::from_slice(bytes)?;
        state.check().map_err(DecodeError::Broken)?;
        Ok(state)
    }

    /// Carries out one command. The outcome says what happened; a refused command changes nothing.
    pub fn apply(&mut self, command: &Command) -> Outcome {
        apply::apply(self, command).unwrap_or_else(Outcome::Refused)
    }

    /// The volume of that name that is not deleted.
    #[must_use]
    pub fn volume_named(&self, name: &str) -> Option<&Volume> {
        self.volumes.values().find(|v| v.name == name && v.state != VolumeState::Deleted)
    }

    /// The partitions of a volume, in ascending order.
    pub fn partitions_of(&self, volume: VolumeId) -> impl Iterator<Item = &Partition> {
        self.partitions.of(volume)
    }

    /// Says which promise of the state is broken, if any.
    ///
    /// # Errors
    /// A sentence that names the broken promise and where.
    pub fn check(&self) -> Result<(), String> {
        self.operations.check()?;
        self.partitions.check()?;
        let mut seen = BTreeSet::new();
        for (id, partition) in &self.partitions {
            partition.check().map_err(|broken| format!("partition {id}: {broken}"))?;
            for replica in partition.holders().map(|member| member.replica) {
                if !seen.insert(replica) {
                    return Err(format!("replica {replica} is in two places"));
                }
            }
        }
        let counters = &self.counters;
        let highest = [
            ("node", self.nodes.keys().next_back().map(|id| id.0), counters.node),
            ("disk", self.disks.keys().next_back().map(|id| id.0), counters.disk),
            ("volume", self.volumes.keys().next_back().map(|id| id.0), counters.volume),
            ("partition", self.partitions.keys().next_back().map(|id| id.0), counters.partition),
            ("replica", seen.iter().next_back().map(|id| id.0), counters.replica),
        ];
        for (kind, used, drawn) in highest {
            if used > Some(drawn) {
                return Err(format!("a {kind} has a number that was never handed out"));
            }
        }
        Ok(())
    }

    fn next_node(&mut self) -> NodeId {
        NodeId(draw(&mut self.counters.node))
    }

    fn next_disk(&mut self) -> DiskId {
        DiskId(draw(&mut self.counters.disk))
    }

    fn next_volume(&mut self) -> VolumeId {
        VolumeId(draw(&mut self.counters.volume))
    }

    fn next_partition(&mut self) -> PartitionId {
        PartitionId(draw(&mut self.counters.partition))
    }

    fn next_life(&mut self) -> u64 {
        draw(&mut self.counters.life)
    }

    fn next_replica(&mut self) -> ReplicaId {
        ReplicaId(draw(&mut self.counters.replica))
    }
}
