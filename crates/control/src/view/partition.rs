//! Partitions and their replicas, as people see them.

use super::{ConditionView, Sight, condition, millis, status};
use crate::detect::{ReplicaState, Role};
use crate::state::Partition;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use types::{Configuration, Member, ReplicaId, configuration::PartitionKind};

status! {
    /// What a partition can do, from best to worst.
    PartitionStatus {
        /// Its leader leads, and as many replicas are in sync as were asked for.
        Healthy => "healthy",
        /// It serves, with fewer good replicas than were asked for.
        Degraded => "degraded",
        /// Too few replicas are in sync for writes; reads go on.
        ReadOnly => "read-only",
        /// Its disks are out of space: no writes; reads and deletes go on.
        Full => "full",
        /// Its leader has not said yet that it leads, or serves nothing yet: it compares logs with the
        /// others, or brings them to its own.
        Starting => "starting",
        /// Its volume was deleted; its replicas are going.
        Deleting => "deleting",
        /// No fresh report says.
        Unknown => "unknown",
        /// Its leader is gone, and there is no other yet.
        Leaderless => "leaderless",
    }
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionView {
    pub id: u64,
    pub status: PartitionStatus,
    /// Age of the report that the status rests on; `null` when it rests on none.
    pub age_ms: Option<u64>,
    pub volume: u64,
    pub kind: String,
    pub epoch: u64,
    /// Replica that leads, by the record.
    pub leader: Option<u64>,
    pub in_sync: Vec<u64>,
    pub catching_up: Vec<u64>,
    pub replicas: Vec<ReplicaView>,
    /// Everything that is known of what it stands on; what is not well comes first.
    #[serde(default)]
    pub conditions: Vec<ConditionView>,
}

/// One replica of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaView {
    pub id: u64,
    pub node: u64,
    pub disk: u64,
    /// What it is on record as: `leader`, `in-sync`, `catching-up`, `spare` or `doomed`.
    pub place: String,
    /// What it says it is, by a fresh report: `ok`, `recovering`, `failed`, `damaged`, `full`, or
    /// `missing` when its node does not list it; `unknown` without a fresh report.
    pub state: String,
    pub reason: String,
    /// End of its log, by a fresh report; `null` without one.
    pub end: Option<u64>,
    pub committed: Option<u64>,
    pub bytes: Option<u64>,
    pub age_ms: Option<u64>,
}

/// Computes the view of a partition.
#[must_use]
pub fn partition(sight: &Sight<'_>, partition: &Partition) -> PartitionView {
    let configuration = &partition.configuration;
    let (status, age) = status_of(sight, partition);
    let mut replicas: Vec<ReplicaView> =
        partition.holders().map(|member| replica(sight, partition, member)).collect();
    replicas.sort_by_key(|replica| replica.id);
    PartitionView {
        id: configuration.partition.0,
        status,
        age_ms: age.map(millis),
        volume: configuration.volume.0,
        kind: kind(configuration.kind).to_owned(),
        epoch: configuration.epoch.0,
        leader: configuration.leader.map(|leader| leader.0).filter(|_| !partition.deleted),
        in_sync: configuration.in_sync.iter().map(|replica| replica.0).collect(),
        catching_up: configuration.catching_up.iter().map(|replica| replica.0).collect(),
        replicas,
        conditions: condition::of_partition(sight, partition),
    }
}

/// The status of a partition, and the age of the report it rests on.
#[must_use]
pub fn status_of(sight: &Sight<'_>, partition: &Partition) -> (PartitionStatus, Option<Duration>) {
    if partition.deleted {
        return (PartitionStatus::Deleting, None);
    }
    let configuration = &partition.configuration;
    let Some(detector) = sight.detector else { return (PartitionStatus::Unknown, None) };
    let Some(leader) = configuration.leader_member() else {
        return (PartitionStatus::Leaderless, None);
    };
    let Some((report, age)) = sight.fresh(leader.node) else {
        let listens_long = detector.listening(sight.now) >= sight.fresh_max;
        let status =
            if listens_long { PartitionStatus::Leaderless } else { PartitionStatus::Unknown };
        return (status, None);
    };
    let status = match report.replicas.get(&leader.replica) {
        None if partition.made.contains(&leader.replica) => PartitionStatus::Leaderless,
        None => PartitionStatus::Starting,
        // A replica that could not even be opened knows no epoch: this comes first.
        Some(replica) if !replica.is_usable() => PartitionStatus::Leaderless,
        Some(replica) if replica.epoch < configuration.epoch => PartitionStatus::Starting,
        Some(replica) if replica.role != Role::Leader => PartitionStatus::Leaderless,
        Some(replica) if replica.preparing => PartitionStatus::Starting,
        Some(_) => serving(sight, configuration),
    };
    (status, Some(age))
}

/// The status of a partition whose leader leads.
fn serving(sight: &Sight<'_>, configuration: &Configuration) -> PartitionStatus {
    let wanted = sight.state.volumes.get(&configuration.volume).map_or(0, |v| v.replicas);
    if is_out_of_space(sight, configuration) {
        PartitionStatus::Full
    } else if !configuration.accepts_writes() {
        PartitionStatus::ReadOnly
    } else if good(sight, configuration) < usize::from(wanted) {
        PartitionStatus::Degraded
    } else {
        PartitionStatus::Healthy
    }
}

/// Whether its leader takes no writes for want of room: on its own disk, or on so many of its followers'
/// that too few would be left. The leader goes by the same rule.
pub(super) fn is_out_of_space(sight: &Sight<'_>, configuration: &Configuration) -> bool {
    let members = configuration.in_sync.iter().filter_map(|id| configuration.member(*id));
    let (full, roomy): (Vec<&Member>, Vec<&Member>) =
        members.partition(|member| condition::is_full(sight, member));
    full.iter().any(|member| configuration.leader == Some(member.replica))
        || (!full.is_empty() && roomy.len() < usize::from(configuration.in_sync_min))
}

/// How many replicas are in sync and do not say that something is wrong with them.
pub(super) fn good(sight: &Sight<'_>, configuration: &Configuration) -> usize {
    let is_bad = |replica: &ReplicaId| {
        let node = configuration.member(*replica).map(|member| member.node);
        let report = node.and_then(|node| sight.fresh(node)).map(|(report, _)| report);
        let report = report.and_then(|report| report.replicas.get(replica));
        report.is_some_and(|report| {
            let bad = [ReplicaState::Damaged, ReplicaState::Failed, ReplicaState::Full];
            bad.contains(&report.state)
        })
    };
    configuration.in_sync.iter().filter(|replica| !is_bad(replica)).count()
}

fn replica(sight: &Sight<'_>, partition: &Partition, member: &Member) -> ReplicaView {
    let fresh = sight.fresh(member.node);
    let report = fresh.and_then(|(report, _)| report.replicas.get(&member.replica));
    let state = match (fresh, report) {
        (None, _) => "unknown",
        (Some(_), None) => "missing",
        (Some(_), Some(report)) => match report.state {
            ReplicaState::Unspecified => "unknown",
            ReplicaState::Ok => "ok",
            ReplicaState::Recovering => "recovering",
            ReplicaState::Failed => "failed",
            ReplicaState::Damaged => "damaged",
            ReplicaState::Full => "full",
        },
    };
    ReplicaView {
        id: member.replica.0,
        node: member.node.0,
        disk: member.disk.0,
        place: place(partition, member).to_owned(),
        state: state.to_owned(),
        reason: report.map(|report| report.reason.clone()).unwrap_or_default(),
        end: report.map(|report| report.end.0),
        committed: report.map(|report| report.committed.0),
        bytes: report.map(|report| report.bytes),
        age_ms: age(sight, member).map(millis),
    }
}

/// How old what is known of a replica is. What was missing in a report is as old as that.
fn age(sight: &Sight<'_>, member: &Member) -> Option<Duration> {
    let (report, age) = sight.report(member.node)?;
    let replica = report.replicas.get(&member.replica);
    Some(replica.map_or(age, |replica| report.age_of(replica, sight.now)))
}

fn place(partition: &Partition, member: &Member) -> &'static str {
    let configuration = &partition.configuration;
    if partition.doomed.contains_key(&member.replica) {
        "doomed"
    } else if partition.spare.contains_key(&member.replica) {
        "spare"
    } else if configuration.leader == Some(member.replica) {
        "leader"
    } else if configuration.in_sync.contains(&member.replica) {
        "in-sync"
    } else {
        "catching-up"
    }
}

/// The word for a kind of partition.
#[must_use]
pub fn kind(kind: PartitionKind) -> &'static str {
    match kind {
        PartitionKind::Namespace => "namespace",
        PartitionKind::Data => "data",
    }
}
