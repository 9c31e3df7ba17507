//! The only places where a configuration changes.
//!
//! Each step takes a partition at epoch *e* and gives it at *e + 1*, or refuses. (Discarding a spare
//! leaves the configuration, and so its epoch, as it is.) The steps know what keeps a configuration sound; *whether* a step is wise (is that node really gone?) is
//! decided before, with evidence, by [`crate::plan`] or by the partition's leader.
//!
//! ```text
//!            readmit                promote
//!   spare ---------> catching up -----------> in sync
//!     |  <---------        ^  <---------------  |
//!     |    suspend         |       remove       |
//!     |  <-----------------|--------------------+
//!     | discard            | add       suspend
//!     v                  (new)
//!   doomed --> gone (its node says so)
//! ```

use super::command::Refusal;
use super::record::{Partition, Spare};
use serde::{Deserialize, Serialize};
use std::fmt;
use types::{DiskId, Member, NodeId, ReplicaId, Timestamp};

/// One change of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The leader `by` counts on `replica` no more: it catches up from now on. For one that does so
    /// already, it only makes a new epoch.
    Remove { by: ReplicaId, replica: ReplicaId },
    /// The leader `by` says that `replica` has everything.
    Promote { by: ReplicaId, replica: ReplicaId },
    /// `replica` leads from now on; nothing else changes.
    Appoint { replica: ReplicaId },
    /// Brings a spare back.
    Readmit { replica: ReplicaId },
    /// Makes a new replica there.
    Add { node: NodeId, disk: DiskId },
    /// Gives up on a member that does not lead: it becomes a spare.
    Suspend { replica: ReplicaId },
    /// Gives up on a spare for good.
    Discard { replica: ReplicaId },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Remove { by, replica } => write!(f, "remove {replica:?} (leader {by:?} asks)"),
            Step::Promote { by, replica } => write!(f, "promote {replica:?} (leader {by:?} asks)"),
            Step::Appoint { replica } => write!(f, "appoint {replica:?}"),
            Step::Readmit { replica } => write!(f, "readmit {replica:?}"),
            Step::Add { node, disk } => write!(f, "add a replica on {node:?} {disk:?}"),
            Step::Suspend { replica } => write!(f, "suspend {replica:?}"),
            Step::Discard { replica } => write!(f, "discard {replica:?}"),
        }
    }
}

/// The partition after `step`. `fresh` is the number a new replica gets, if the step makes one.
pub(super) fn configure(
    before: &Partition,
    step: &Step,
    fresh: ReplicaId,
    at: Timestamp,
) -> Result<Partition, Refusal> {
    let mut after = before.clone();
    match step {
        Step::Remove { by, replica } => {
            led_by(before, *by)?;
            demote(&mut after, *replica)?;
        }
        Step::Promote { by, replica } => promote(&mut after, *by, *replica)?,
        Step::Appoint { replica } => appoint(&mut after, *replica)?,
        Step::Readmit { replica } => readmit(&mut after, *replica)?,
        Step::Add { node, disk } => {
            admit(&mut after, Member { replica: fresh, node: *node, disk: *disk })?;
        }
        Step::Suspend { replica } => {
            if before.configuration.leader == Some(*replica) {
                return Err(Refusal::breaks("a leader is not suspended"));
            }
            set_aside(&mut after, *replica, at)?;
        }
        Step::Discard { replica } => {
            let spare = after.spare.remove(replica);
            let spare = spare.ok_or_else(|| Refusal::breaks("only a spare is discarded"))?;
            after.doomed.insert(*replica, spare.member);
        }
    }
    if !matches!(step, Step::Discard { .. }) {
        after.configuration.epoch = before.configuration.epoch.next();
        after.changed = Some(at);
    }
    after.check().map_err(Refusal::breaks)?;
    Ok(after)
}

fn led_by(partition: &Partition, replica: ReplicaId) -> Result<(), Refusal> {
    if partition.configuration.leader == Some(replica) {
        return Ok(());
    }
    Err(Refusal::breaks(format!("replica {replica} does not lead")))
}

/// Takes a member out of the configuration and keeps it as a spare.
fn set_aside(
    partition: &mut Partition,
    replica: ReplicaId,
    since: Timestamp,
) -> Result<(), Refusal> {
    let member = *partition
        .configuration
        .member(replica)
        .ok_or_else(|| Refusal::breaks(format!("replica {replica} is not a member")))?;
    partition.configuration.in_sync.remove(&replica);
    partition.configuration.catching_up.remove(&replica);
    partition.configuration.members.retain(|m| m.replica != replica);
    partition.spare.insert(replica, Spare { member, since });
    Ok(())
}

fn demote(partition: &mut Partition, replica: ReplicaId) -> Result<(), Refusal> {
    let configuration = &mut partition.configuration;
    if configuration.leader == Some(replica) {
        return Err(Refusal::breaks("a leader cannot remove itself"));
    }
    if configuration.member(replica).is_none() {
        return Err(Refusal::breaks(format!("replica {replica} is not a member")));
    }
    configuration.in_sync.remove(&replica);
    configuration.catching_up.insert(replica);
    Ok(())
}

fn promote(partition: &mut Partition, by: ReplicaId, replica: ReplicaId) -> Result<(), Refusal> {
    led_by(partition, by)?;
    if !partition.configuration.catching_up.remove(&replica) {
        return Err(Refusal::breaks(format!("replica {replica} is not catching up")));
    }
    partition.configuration.in_sync.insert(replica);
    Ok(())
}

fn appoint(partition: &mut Partition, replica: ReplicaId) -> Result<(), Refusal> {
    if !partition.configuration.in_sync.contains(&replica) {
        return Err(Refusal::breaks(format!("replica {replica} is not in sync and cannot lead")));
    }
    partition.configuration.leader = Some(replica);
    Ok(())
}

fn readmit(partition: &mut Partition, replica: ReplicaId) -> Result<(), Refusal> {
    let spare = partition.spare.remove(&replica);
    let spare =
        spare.ok_or_else(|| Refusal::breaks(format!("replica {replica} is not a spare")))?;
    admit(partition, spare.member)
}

/// Makes `member` a member that is catching up.
fn admit(partition: &mut Partition, member: Member) -> Result<(), Refusal> {
    if partition.deleted {
        return Err(Refusal::breaks("the partition is deleted"));
    }
    if partition.configuration.members.len() >= types::limits::REPLICAS_MAX {
        return Err(Refusal::breaks("the partition has as many replicas as there may be"));
    }
    partition.configuration.catching_up.insert(member.replica);
    partition.configuration.members.push(member);
    partition.configuration.members.sort_by_key(|m| m.replica);
    Ok(())
}
