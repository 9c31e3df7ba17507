//! Who may be made leader, decided from what the replicas say about themselves.
//!
//! The control plane asks this when it looks at a partition, and only ever changes `leader`: a
//! replica leaves the in-sync set only because a leader that can prove its log asked for it. That
//! is what makes a wrong choice, from reports that were outdated a moment later, harmless: the
//! appointed replica finds everybody who may know more in its configuration, and asks them.
//!
//! The rule, in order:
//!
//! 1. A leader that leads stays.
//! 2. A **proven** in-sync replica holds everything acknowledged; any of them will do.
//! 3. When nobody is proven (power was lost everywhere), the logs are compared, **all** of them:
//!    whoever has the greatest last entry, by epoch and then by place, holds everything that any
//!    disk still has of what was acknowledged. One silent replica may be the one that knows more.
//! 4. Nobody is appointed before its promise to the old leader has run out.
//! 5. Whoever cannot write cannot lead.

use super::entry::Position;
use super::status::{Failure, RoleName, Status};
use std::collections::BTreeMap;
use types::{Configuration, ReplicaId};

/// What is to be done about the leader of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// It has one.
    Keep,
    /// Make this one leader, in the next epoch, and change nothing else.
    Lead(ReplicaId),
    /// Nobody may lead yet; this is in the way, replica by replica.
    Wait(Vec<(ReplicaId, Obstacle)>),
}

/// Why an in-sync replica cannot be made leader now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// There is no recent report of it. It is needed only when nobody else is proven.
    Silent,
    /// Its promise to the old leader has not run out; it will within `LEASE + LEASE_MARGIN`.
    LeaseRuns,
    /// It cannot write.
    Failed(Failure),
    /// It lost power and cannot prove its log; somebody else has, or may have, more.
    Unproven,
    /// It was appointed and has not taken up its epoch yet.
    Appointed,
}

/// Decides from the configuration and the recent reports of its in-sync replicas. Reports that are
/// older than `NODE_SILENCE_MAX` must not be among them.
#[must_use]
pub fn choose(configuration: &Configuration, reports: &BTreeMap<ReplicaId, Status>) -> Choice {
    let report = |replica: &ReplicaId| reports.get(replica);
    let leader = configuration.leader.and_then(|leader| report(&leader));
    let mut obstacles = Vec::new();
    let proven = best_proven(configuration, reports, &mut obstacles);
    match leader.map(|status| standing(configuration, status)) {
        Some(Standing::Leads) => Choice::Keep,
        Some(Standing::Compares) if proven.is_none() => Choice::Keep,
        Some(Standing::NotYet) => {
            let leader = configuration.leader.expect("it has a report");
            Choice::Wait(vec![(leader, Obstacle::Appointed)])
        }
        Some(Standing::Compares | Standing::Stopped) | None => {
            let chosen = proven.or_else(|| best_of_all(configuration, reports));
            chosen.map_or(Choice::Wait(obstacles), Choice::Lead)
        }
    }
}

/// How the appointed leader stands to its appointment.
enum Standing {
    Leads,
    /// Leads, but must first hear from all others, because it cannot prove its log.
    Compares,
    /// Has not taken up the epoch.
    NotYet,
    /// Restarted, failed, or turned it down: it will not lead in this epoch any more.
    Stopped,
}

fn standing(configuration: &Configuration, status: &Status) -> Standing {
    if status.epoch < configuration.epoch && status.failure.is_none() {
        return Standing::NotYet;
    }
    match status.role {
        RoleName::Leading => Standing::Leads,
        RoleName::Reconciling if status.proven => Standing::Leads,
        RoleName::Reconciling => Standing::Compares,
        RoleName::Waiting | RoleName::Following | RoleName::Retired => Standing::Stopped,
    }
}

/// The proven replica with the most, when one may lead; otherwise what is in the way of each.
fn best_proven(
    configuration: &Configuration,
    reports: &BTreeMap<ReplicaId, Status>,
    obstacles: &mut Vec<(ReplicaId, Obstacle)>,
) -> Option<ReplicaId> {
    let mut best: Option<(Position, ReplicaId)> = None;
    for replica in &configuration.in_sync {
        match obstacle(reports.get(replica)) {
            Some(obstacle) => obstacles.push((*replica, obstacle)),
            None => {
                let last = reports[replica].last;
                if best.is_none_or(|(most, _)| last > most) {
                    best = Some((last, *replica));
                }
            }
        }
    }
    best.map(|(_, replica)| replica)
}

fn obstacle(report: Option<&Status>) -> Option<Obstacle> {
    let Some(status) = report else { return Some(Obstacle::Silent) };
    if let Some(failure) = status.failure {
        return Some(Obstacle::Failed(failure));
    }
    if !status.proven {
        return Some(Obstacle::Unproven);
    }
    (!status.lease_expired).then_some(Obstacle::LeaseRuns)
}

/// The replica with the greatest last entry when all have reported; it must be able to lead.
fn best_of_all(
    configuration: &Configuration,
    reports: &BTreeMap<ReplicaId, Status>,
) -> Option<ReplicaId> {
    let all: Option<Vec<(ReplicaId, &Status)>> = configuration
        .in_sync
        .iter()
        .map(|replica| reports.get(replica).map(|status| (*replica, status)))
        .collect();
    let all = all?;
    let most = all.iter().map(|(_, status)| status.last).max()?;
    let mut able = all.iter().filter(|(_, status)| {
        status.last == most && status.lease_expired && status.failure.is_none()
    });
    // A proven replica that cannot lead just now is worth waiting for.
    let proven_soon = all.iter().any(|(_, status)| status.proven && status.failure.is_none());
    if proven_soon { None } else { able.next().map(|(replica, _)| *replica) }
}
