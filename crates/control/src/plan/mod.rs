//! From policy, intent and observation to commands. Pure.
//!
//! The plan is a value: a list of commands in a fixed order that prints as a diff. It is made again
//! from scratch every time something changed, so nothing depends on the last plan having been
//! carried out; every step carries the epoch it was planned for, so an old plan does nothing.
//! Planning again after success plans nothing.
//!
//! | part | decides |
//! | --- | --- |
//! | [`place`] | where the partitions of a new volume go, and where a new replica goes |
//! | [`elect`] | who leads a partition whose leader is gone |
//! | [`mend`] | which replicas come back, are made anew, are given up |
//! | [`crate::operation`] | the next steps of decommissions, drains and the like |
//! | [`account`] | which replicas were seen to exist, and which are gone for good |

pub mod account;
pub mod assign;
pub mod elect;
pub mod memory;
pub mod mend;
pub mod place;

#[cfg(test)]
pub(crate) mod property;
#[cfg(test)]
pub(crate) mod tests;

use crate::detect::{Detector, DiskState, NodeReport, ReplicaReport};
use crate::operation;
use crate::state::{Command, Node, Partition, State, TokenEnd, VolumeState};
use elect::Leadership;
pub use memory::Memory;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use types::condition::{Key, State as Condition};
use types::{DiskId, Member, Moment, NodeId, OperationId, Timestamp};

/// What the planner is told to do by people. Times are how long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A node that was silent for this long is taken for gone: somebody else leads.
    pub silence_max: Duration,
    /// A replica whose node was silent for this long is made anew elsewhere.
    pub replace_after: Duration,
    /// A replica that was given up is taken back, when it is well again, after this long at least:
    /// so one that comes and goes does not turn the configuration over and over.
    pub readmit_after: Duration,
    /// A disk with less free room than this gets no new replica. Bytes.
    pub disk_free_min: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            silence_max: types::limits::NODE_SILENCE_MAX,
            replace_after: Duration::from_secs(60),
            readmit_after: Duration::from_secs(5),
            disk_free_min: 256 << 20,
        }
    }
}

/// Everything a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    pub policy: &'a Policy,
    pub state: &'a State,
    pub detector: &'a Detector,
    pub now: Moment,
    /// The date, for what is measured across members: how long ago a spare was set aside.
    pub date: Timestamp,
    /// What operations go by.
    pub sense: operation::Sense<'a>,
}

impl<'a> Inputs<'a> {
    /// How long a node has been silent; `None` when there is no such node.
    #[must_use]
    pub fn silence(&self, node: NodeId) -> Option<Duration> {
        let node = self.state.nodes.get(&node)?;
        Some(self.detector.silence(self.now, node.id, node.boot))
    }

    /// The last report of a node's present life, unless it is too old to be acted on.
    #[must_use]
    pub fn fresh(&self, node: NodeId) -> Option<&'a NodeReport> {
        let node = self.state.nodes.get(&node)?;
        let report = self.detector.report(node.id, node.boot)?;
        (self.now.since(report.at) < self.policy.silence_max).then_some(report)
    }

    /// Whether the node has been silent for so long that it is taken for gone.
    #[must_use]
    pub fn is_silent(&self, node: NodeId) -> bool {
        self.silence(node).is_none_or(|silence| silence >= self.policy.silence_max)
    }

    /// How long ago that date was; nothing when it is yet to come.
    #[must_use]
    pub fn since(&self, date: Timestamp) -> Duration {
        let nanos = self.date.0.saturating_sub(date.0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }

    /// Whether a disk has failed, by the present word of its node.
    #[must_use]
    pub fn has_failed(&self, disk: DiskId) -> bool {
        let node = self.state.disks.get(&disk).map(|disk| disk.node);
        let report = node.and_then(|node| self.fresh(node)?.disks.get(&disk));
        report.is_some_and(|report| report.state == DiskState::Failed)
    }

    /// Whether nobody can say what is on a disk: its node is silent, or does not have it in use any more.
    #[must_use]
    pub fn is_out_of_sight(&self, disk: DiskId) -> bool {
        let Some(node) = self.state.disks.get(&disk).map(|disk| disk.node) else { return false };
        match self.fresh(node) {
            Some(report) => !report.disks.contains_key(&disk),
            None => self.is_silent(node),
        }
    }

    /// What the node of `member` says about it now.
    #[must_use]
    pub fn replica(&self, member: &Member) -> Option<&'a ReplicaReport> {
        self.fresh(member.node)?.replicas.get(&member.replica)
    }

    /// Whether a new replica may be put on the disk now.
    #[must_use]
    pub fn takes_replicas(&self, node: &Node, disk: DiskId) -> bool {
        let report = self.fresh(node.id).and_then(|report| report.disks.get(&disk));
        report.is_some_and(|disk| {
            disk.state == DiskState::Ok && disk.free >= self.policy.disk_free_min
        }) && self.state.operations.duty(node.id, disk).is_none()
            && self
                .state
                .conditions
                .state(Key::space(disk))
                .is_none_or(|state| state == Condition::Ok)
    }

    /// The partitions that are not being deleted, whose volume is not either.
    #[cfg(test)]
    pub(crate) fn live_partitions(&self) -> impl Iterator<Item = &'a Partition> {
        self.state.partitions.values().filter(|p| !p.deleted)
    }
}

/// What to do now. At most one step for each partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub commands: Vec<Command>,
    /// What should be done and cannot, one sentence each, in a fixed order.
    pub residue: Vec<String>,
    /// What was seen of each operation; shown, and not carried out.
    pub rounds: BTreeMap<OperationId, operation::Round>,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }
}

/// Makes the plan from everything there is. The same inputs give the same plan.
#[must_use]
pub fn plan(inputs: &Inputs<'_>) -> Plan {
    plan_for(inputs, &inputs.state.partitions.values().collect::<Vec<_>>())
}

/// Makes the same plan from what changed since the last one, and from what was not at rest then.
#[must_use]
pub fn plan_on(inputs: &Inputs<'_>, memory: &mut Memory) -> Plan {
    let due = memory.due(inputs);
    let partitions: Vec<&Partition> =
        due.iter().filter_map(|id| inputs.state.partitions.get(id)).collect();
    let plan = plan_for(inputs, &partitions);
    memory.settle(inputs, &partitions);
    plan
}

fn plan_for(inputs: &Inputs<'_>, partitions: &[&Partition]) -> Plan {
    let mut plan = Plan::default();
    account::plan(inputs, partitions, &mut plan);
    let mut load = place::Load::of(inputs.state);
    let going = mend::Going::of(inputs.state);
    let mut unsettled = BTreeMap::new();
    for partition in partitions.iter().filter(|partition| !partition.deleted) {
        match elect::plan(inputs, partition, &mut plan) {
            Leadership::Settled => mend::plan(inputs, partition, &going, &mut load, &mut plan),
            leadership => {
                unsettled.insert(partition.configuration.partition, leadership);
            }
        }
    }
    let repair = operation::kind::repair_of(inputs.state, &plan.commands, inputs.date);
    operation::plan::plan(inputs, unsettled, &mut plan);
    plan.commands.extend(repair.map(Command::Operation));
    for volume in inputs.state.volumes.values().filter(|v| v.state == VolumeState::Deleting) {
        let is_over = volume.purge_at.is_none_or(|until| until <= inputs.date);
        if is_over && !operation::kind::is_deletion_paused(inputs.state, volume.id) {
            plan.commands.push(Command::PurgeVolume { volume: volume.id, at: inputs.date });
        }
    }
    for (volume, token) in inputs.state.access.overdue(inputs.date) {
        let (why, at) = (TokenEnd::Expired, inputs.date);
        plan.commands.push(Command::EndToken { volume, token, why, at });
    }
    for volume in inputs.state.volumes.values().filter(|v| v.state == VolumeState::Creating) {
        place::plan(inputs, volume, &mut load, &mut plan);
    }
    plan
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for command in &self.commands {
            write_command(f, command)?;
        }
        for line in &self.residue {
            writeln!(f, "! {line}")?;
        }
        Ok(())
    }
}

fn write_command(f: &mut fmt::Formatter<'_>, command: &Command) -> fmt::Result {
    match command {
        Command::Configure { partition, expected, step, .. } => {
            writeln!(f, "~ {partition:?} at {expected:?}: {step}")
        }
        Command::PlacePartitions { volume, placements } => {
            writeln!(f, "+ {volume:?}: {} partitions", placements.len())?;
            for placement in placements {
                let kind = format!("{:?}", placement.kind).to_lowercase();
                writeln!(f, "    {kind:<9} {:?}", placement.replicas)?;
            }
            Ok(())
        }
        Command::Operation(act) => writeln!(f, "{act}"),
        Command::Confirm { made } => writeln!(f, "= made: {made:?}"),
        Command::Forget { gone, .. } => writeln!(f, "- gone: {gone:?}"),
        Command::PurgeVolume { volume, .. } => writeln!(f, "- {volume:?}: its grace is over"),
        Command::EndToken { volume, token, .. } => {
            writeln!(f, "- {volume:?}: the time of {token:?} is over")
        }
        other => writeln!(f, "? {other:?}"),
    }
}
