//! Nodes and disks, as people see them.

use super::{ConditionView, Sight, condition, millis, status};
use crate::detect::{self, DiskState};
use crate::state::{Disk, Node};
use serde::{Deserialize, Serialize};
use types::DiskId;
use types::condition::{Key, State};

status! {
    /// Whether a node is there.
    NodeStatus {
        /// It reported lately.
        Online => "online",
        /// It did not report for too long.
        Silent => "silent",
        /// The answering member cannot tell.
        Unknown => "unknown",
    }
}

status! {
    /// What a disk can do.
    DiskStatus {
        Ok => "ok",
        /// Takes writes to what it has, and no new replicas.
        Low => "low",
        /// Takes reads and deletes only.
        Full => "full",
        /// Gone or broken.
        Failed => "failed",
        /// No fresh report says.
        Unknown => "unknown",
    }
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    pub id: u64,
    pub status: NodeStatus,
    /// Since its last report; `null` when the answering member had none.
    pub age_ms: Option<u64>,
    pub address: String,
    pub zone: String,
    pub joined: String,
    /// When its present process started.
    pub started: String,
    pub disks: Vec<u64>,
    /// Replicas on record there, those to be deleted too.
    pub replicas: usize,
    /// Partitions it leads, by the record.
    pub leads: usize,
    /// `in-service`, `drained` (keeps what it has, gets nothing new), `leaving` or `left`.
    #[serde(default)]
    pub duty: String,
    /// Everything that is known of it and of its disks.
    #[serde(default)]
    pub conditions: Vec<ConditionView>,
}

/// One disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskView {
    pub id: u64,
    pub status: DiskStatus,
    /// Why the status is not ok.
    pub reason: String,
    pub node: u64,
    pub label: String,
    /// Size as offered when its node started.
    pub capacity_bytes: u64,
    /// Room left by the last fresh report; `null` when there is none.
    pub free_bytes: Option<u64>,
    pub age_ms: Option<u64>,
    /// Replicas on record there, those to be deleted too.
    pub replicas: usize,
    /// As for a node; `in-service` says nothing of its node.
    #[serde(default)]
    pub duty: String,
    /// Everything that is known of it, and whether its node is there.
    #[serde(default)]
    pub conditions: Vec<ConditionView>,
}

/// Computes the view of a node.
#[must_use]
pub fn node(sight: &Sight<'_>, node: &Node) -> NodeView {
    let here = |disk: &&Disk| disk.node == node.id;
    let members = || sight.state.partitions.on(node.id).flat_map(crate::state::Partition::holders);
    let leads = |partition: &&crate::state::Partition| {
        let leader = partition.configuration.leader_member();
        !partition.deleted && leader.is_some_and(|leader| leader.node == node.id)
    };
    NodeView {
        id: node.id.0,
        status: match sight.detector {
            None => NodeStatus::Unknown,
            Some(_) if sight.fresh(node.id).is_some() => NodeStatus::Online,
            // One that just began to listen cannot tell silence from its own deafness.
            Some(detector) if detector.silence(sight.now, node.id, node.boot) < sight.fresh_max => {
                NodeStatus::Unknown
            }
            Some(_) => NodeStatus::Silent,
        },
        age_ms: sight.report(node.id).map(|(_, age)| millis(age)),
        address: node.address.clone(),
        zone: node.zone.clone(),
        joined: node.joined.to_string(),
        started: node.started.to_string(),
        disks: sight.state.disks.values().filter(here).map(|disk| disk.id.0).collect(),
        replicas: members().filter(|member| member.node == node.id).count(),
        leads: sight.state.partitions.on(node.id).filter(leads).count(),
        duty: super::operation::duty(sight.state, sight.state.operations.nodes.get(&node.id)),
        conditions: condition::of_node(sight, node),
    }
}

/// Computes the view of a disk.
#[must_use]
pub fn disk(sight: &Sight<'_>, disk: &Disk) -> DiskView {
    let report = sight.report(disk.node);
    let fresh = sight.fresh(disk.node).and_then(|(report, _)| report.disks.get(&disk.id));
    DiskView {
        id: disk.id.0,
        status: disk_status(sight, disk.id, fresh),
        reason: disk_reason(sight, disk.id, fresh),
        node: disk.node.0,
        label: disk.label.clone(),
        capacity_bytes: disk.capacity,
        free_bytes: fresh.map(|disk| disk.free),
        age_ms: report.map(|(_, age)| millis(age)),
        replicas: replicas_on(sight, disk),
        duty: super::operation::duty(sight.state, sight.state.operations.disks.get(&disk.id)),
        conditions: condition::of_disk(sight, disk.id, disk.node),
    }
}

fn replicas_on(sight: &Sight<'_>, disk: &Disk) -> usize {
    let holders = sight.state.partitions.on(disk.node).flat_map(crate::state::Partition::holders);
    holders.filter(|member| member.disk == disk.id).count()
}

/// In this order: what is on record as broken or full stays so however old the last report is, because
/// nothing has proved otherwise; then, without a fresh report nobody can tell; then the worse of what is
/// on record and what the node says just now.
fn disk_status(sight: &Sight<'_>, disk: DiskId, fresh: Option<&detect::DiskReport>) -> DiskStatus {
    let conditions = &sight.state.conditions;
    let says = fresh.map(|report| report.state);
    let (health, space) = (conditions.state(Key::health(disk)), conditions.state(Key::space(disk)));
    match (says, health, space) {
        (Some(DiskState::Failed), _, _) | (_, Some(State::Failed), _) => DiskStatus::Failed,
        (Some(DiskState::Full), _, _) | (_, _, Some(State::Full)) => DiskStatus::Full,
        (None | Some(DiskState::Unspecified), _, _) => DiskStatus::Unknown,
        (Some(DiskState::Low), _, _) | (_, _, Some(State::Low)) => DiskStatus::Low,
        (Some(DiskState::Ok), _, _) => DiskStatus::Ok,
    }
}

/// Why a disk is not well: what its node says, or what is on record.
fn disk_reason(sight: &Sight<'_>, disk: DiskId, fresh: Option<&detect::DiskReport>) -> String {
    if let Some(says) = fresh.map(|report| &report.reason).filter(|reason| !reason.is_empty()) {
        return says.clone();
    }
    let keys = [Key::health(disk), Key::space(disk)];
    let mut records = keys.iter().filter_map(|key| sight.state.conditions.get(*key));
    let unwell = records.find(|record| record.state != State::Ok);
    unwell.map(|record| record.evidence.to_string()).unwrap_or_default()
}
