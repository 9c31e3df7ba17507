//! Volumes, as people see them.

use super::partition::{PartitionStatus, status_of};
use super::{ConditionView, Sight, Tally, computed, condition, millis, status, tally};
use crate::state::{Volume, VolumeState};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use types::operation::{OperationKind, Target};

status! {
    /// What a volume can do: as much as the worst of its partitions.
    VolumeStatus {
        Healthy => "healthy",
        /// It serves, with fewer replicas than were asked for somewhere.
        Degraded => "degraded",
        /// Some of it takes no writes.
        ReadOnly => "read-only",
        /// Some of it is out of space.
        Full => "full",
        /// Some of it has just been given a leader.
        Starting => "starting",
        /// Its partitions have no place yet.
        Creating => "creating",
        /// Gone for new users; it can be brought back until its time is over.
        Deleting => "deleting",
        /// Its replicas are going.
        Purging => "purging",
        /// Every replica is gone.
        Deleted => "deleted",
        /// No fresh report says.
        Unknown => "unknown",
        /// Some of it has no leader.
        Unavailable => "unavailable",
    }
}

/// One volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeView {
    pub id: u64,
    pub name: String,
    pub kind: String,
    pub status: VolumeStatus,
    /// Age of the oldest report that the status rests on; `null` when it rests on none.
    pub age_ms: Option<u64>,
    pub replicas: u8,
    pub in_sync_min: u8,
    /// Bytes of user data it may hold, one copy counted.
    pub capacity_bytes: u64,
    /// Bytes all its replicas occupy together, by fresh reports; `null` unless all reported.
    pub stored_bytes: Option<u64>,
    /// Bytes of user data in it, by the word of the leader of its names; `null` without a fresh report.
    #[serde(default)]
    pub used_bytes: Option<u64>,
    pub durability: String,
    pub partitions: Tally,
    pub created: String,
    pub deleted: Option<String>,
    /// When what is in it vanishes for good, while its deletion can still be taken back.
    pub purge_at: Option<String>,
    /// The operation that deletes it, or did.
    #[serde(default)]
    pub deletion: Option<u64>,
    /// Whether nobody reaches it without a token.
    #[serde(default)]
    pub token_required: bool,
    /// How full it is, and everything that its partitions stand on and that is not well.
    #[serde(default)]
    pub conditions: Vec<ConditionView>,
}

/// The status of a volume alone, which costs less than the view.
#[must_use]
pub fn status(sight: &Sight<'_>, volume: &Volume) -> VolumeStatus {
    let statuses = sight.state.partitions_of(volume.id).map(|p| status_of(sight, p).0);
    worst(volume, statuses.max())
}

/// Computes the view of a volume.
#[must_use]
pub fn volume(sight: &Sight<'_>, volume: &Volume) -> VolumeView {
    let statuses: Vec<(PartitionStatus, Option<Duration>)> =
        sight.state.partitions_of(volume.id).map(|p| status_of(sight, p)).collect();
    VolumeView {
        id: volume.id.0,
        name: volume.name.clone(),
        kind: volume.kind.to_string(),
        status: worst(volume, statuses.iter().map(|(status, _)| *status).max()),
        age_ms: statuses.iter().filter_map(|(_, age)| *age).max().map(millis),
        replicas: volume.replicas,
        in_sync_min: volume.in_sync_min,
        capacity_bytes: volume.capacity,
        stored_bytes: stored(sight, volume),
        used_bytes: computed::used(sight, volume).map(|(bytes, _)| bytes),
        durability: volume.durability.to_string(),
        partitions: tally(statuses.iter().map(|(status, _)| status)),
        created: volume.created.to_string(),
        deleted: volume.deleted.map(|at| at.to_string()),
        purge_at: (volume.state == VolumeState::Deleting)
            .then(|| volume.purge_at.map(|at| at.to_string()))
            .flatten(),
        deletion: deletion(sight, volume),
        token_required: sight.state.access.is_required(volume.id),
        conditions: conditions(sight, volume),
    }
}

fn deletion(sight: &Sight<'_>, volume: &Volume) -> Option<u64> {
    if volume.state.is_live() {
        return None;
    }
    let target = Target::Volume(volume.id);
    let mut all = sight.state.operations.all.values().rev();
    let last = all.find(|o| o.kind == OperationKind::Delete && o.target == target);
    last.map(|operation| operation.id.0)
}

fn conditions(sight: &Sight<'_>, volume: &Volume) -> Vec<ConditionView> {
    if volume.state != VolumeState::Active {
        return Vec::new();
    }
    let of_partitions =
        sight.state.partitions_of(volume.id).flat_map(|p| condition::of_partition(sight, p));
    let mut unwell: Vec<ConditionView> = of_partitions.filter(|view| !view.well).collect();
    unwell.sort_by(|a, b| a.condition.cmp(&b.condition));
    unwell.dedup();
    unwell.truncate(CONDITIONS_MAX);
    let mut all = vec![computed::quota(sight, volume)];
    all.extend(unwell);
    all
}

/// Most facts that are listed of one volume.
const CONDITIONS_MAX: usize = 100;

fn worst(volume: &Volume, worst: Option<PartitionStatus>) -> VolumeStatus {
    match (volume.state, worst) {
        (VolumeState::Creating, _) => VolumeStatus::Creating,
        (VolumeState::Deleting, _) => VolumeStatus::Deleting,
        (VolumeState::Purging, _) => VolumeStatus::Purging,
        (VolumeState::Deleted, _) => VolumeStatus::Deleted,
        (VolumeState::Active, None) => VolumeStatus::Unknown,
        (VolumeState::Active, Some(worst)) => match worst {
            PartitionStatus::Healthy => VolumeStatus::Healthy,
            PartitionStatus::Degraded => VolumeStatus::Degraded,
            PartitionStatus::ReadOnly => VolumeStatus::ReadOnly,
            PartitionStatus::Full => VolumeStatus::Full,
            PartitionStatus::Starting => VolumeStatus::Starting,
            PartitionStatus::Deleting => VolumeStatus::Purging,
            PartitionStatus::Unknown => VolumeStatus::Unknown,
            PartitionStatus::Leaderless => VolumeStatus::Unavailable,
        },
    }
}

/// What all replicas occupy; `None` when one of them has no fresh report.
fn stored(sight: &Sight<'_>, volume: &Volume) -> Option<u64> {
    let members = sight.state.partitions_of(volume.id).flat_map(|p| p.holders());
    let mut total = 0u64;
    for member in members {
        let (report, _) = sight.fresh(member.node)?;
        total = total.saturating_add(report.replicas.get(&member.replica).map_or(0, |r| r.bytes));
    }
    Some(total)
}
