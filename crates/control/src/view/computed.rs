//! Facts of partitions and volumes that follow from the configuration and from what nodes say.
//!
//! They are shown in the same table as conditions on record, and stored nowhere: nothing can leave them
//! behind. `since` is when the configuration last changed, because that is what is known.

use super::condition::ConditionView;
use super::partition::{PartitionStatus, good, is_out_of_space, status_of};
use super::{Sight, millis};
use crate::detect::ReplicaReport;
use crate::state::{Partition, Volume};
use std::time::Duration;
use types::configuration::PartitionKind;
use types::{Member, Timestamp};

/// A volume is low when it has less left than this share of its capacity.
const QUOTA_LOW_PERCENT: u64 = 10;

/// What a computed fact says.
struct Says {
    state: &'static str,
    reason: &'static str,
    evidence: String,
    advice: &'static str,
}

impl Says {
    fn well(reason: &'static str, evidence: String) -> Says {
        Says { state: "ok", reason, evidence, advice: "" }
    }

    fn row(
        self,
        condition: String,
        since: Option<Timestamp>,
        age: Option<Duration>,
    ) -> ConditionView {
        ConditionView {
            condition,
            state: self.state.to_owned(),
            well: self.state == "ok",
            reason: self.reason.to_owned(),
            evidence: self.evidence,
            since: since.map(|since| since.to_string()).unwrap_or_default(),
            checked_age_ms: age.map(millis),
            advice: self.advice.to_owned(),
        }
    }
}

/// Who leads, whether all have everything, and whether enough do.
#[must_use]
pub fn of_partition(sight: &Sight<'_>, partition: &Partition) -> Vec<ConditionView> {
    if partition.deleted {
        return Vec::new();
    }
    let (status, age) = status_of(sight, partition);
    let id = partition.configuration.partition;
    let row = |fact, says: Says| says.row(format!("partition/{id}/{fact}"), partition.changed, age);
    vec![
        row("leadership", leadership(sight, partition, status)),
        row("sync", sync(sight, partition)),
        row("redundancy", redundancy(sight, partition, status)),
    ]
}

fn leadership(sight: &Sight<'_>, partition: &Partition, status: PartitionStatus) -> Says {
    let configuration = &partition.configuration;
    let epoch = configuration.epoch;
    let Some(leader) = configuration.leader_member() else {
        return Says {
            state: "leaderless",
            reason: "nobody-appointed",
            evidence: format!("no replica is on record as leader of epoch {epoch}"),
            advice: LEADERLESS_ADVICE,
        };
    };
    let who = format!("replica {} on node {}", leader.replica, leader.node);
    let report = told(sight, leader);
    match status {
        PartitionStatus::Unknown => Says {
            state: "unknown",
            reason: "not-heard",
            evidence: format!("{who} is on record as leader; this member has not heard its node"),
            advice: "ask the leading member of the control plane",
        },
        PartitionStatus::Starting => Says {
            state: "starting",
            reason: "taking-over",
            evidence: match report {
                Some(report) if report.preparing && !report.proven => {
                    format!("{who} compares its log with all others, because power was lost")
                }
                Some(report) if report.preparing => {
                    format!("{who} brings the others to its log in epoch {epoch}")
                }
                _ => format!("{who} has not said yet that it leads epoch {epoch}"),
            },
            advice: "wait; if it stays, look at the replicas that are not well below",
        },
        PartitionStatus::Leaderless => Says {
            state: "leaderless",
            reason: "leader-gone",
            evidence: match report {
                Some(report) if !report.is_usable() => format!("{who} says: {}", report.reason),
                Some(_) => format!("{who} says that it does not lead epoch {epoch}"),
                None => format!("{who} is not heard of"),
            },
            advice: LEADERLESS_ADVICE,
        },
        _ => Says::well("leads", format!("{who} leads epoch {epoch}, by its own word")),
    }
}

const LEADERLESS_ADVICE: &str = "another replica is appointed as soon as one may be; `holdfast status` lists what is in the way";

/// Whether all members have everything that was acknowledged.
fn sync(sight: &Sight<'_>, partition: &Partition) -> Says {
    let configuration = &partition.configuration;
    let in_sync = configuration.in_sync.len();
    if configuration.catching_up.is_empty() {
        return Says::well("all-in-sync", format!("all {in_sync} members are in sync"));
    }
    let leader = configuration.leader_member().and_then(|leader| told(sight, leader));
    let behind = configuration.catching_up.iter().filter_map(|id| configuration.member(*id));
    let one = |member: &Member| {
        let who = format!("replica {} on node {}", member.replica, member.node);
        match (told(sight, member), leader) {
            (Some(report), Some(leader)) if leader.end >= report.end => {
                format!("{who} has {} of {} records", report.end, leader.end)
            }
            (Some(_), _) => format!("{who} catches up"),
            (None, _) => format!("{who} is not heard of"),
        }
    };
    Says {
        state: "behind",
        reason: "catching-up",
        evidence: behind.map(one).collect::<Vec<_>>().join("; "),
        advice: "wait: it is brought up by its leader; writes do not wait for it",
    }
}

/// How many good copies there are, of how many that were asked for.
fn redundancy(sight: &Sight<'_>, partition: &Partition, status: PartitionStatus) -> Says {
    let configuration = &partition.configuration;
    let wanted = sight.state.volumes.get(&configuration.volume).map_or(0, |v| v.replicas);
    let least = configuration.in_sync_min;
    let in_sync = configuration.in_sync.iter().filter_map(|id| configuration.member(*id));
    let unheard = in_sync.filter(|member| told(sight, member).is_none()).count();
    let good = good(sight, configuration).saturating_sub(unheard);
    let mut counted = format!("{good} of {wanted} copies are in sync and say that they are well");
    if unheard > 0 {
        counted.push_str(&format!(", {unheard} more are not heard of"));
    }
    match () {
        () if status == PartitionStatus::Unknown => Says {
            state: "unknown",
            reason: "not-heard",
            evidence: "this member has not heard the nodes".to_owned(),
            advice: "ask the leading member of the control plane",
        },
        () if is_out_of_space(sight, configuration) => Says {
            state: "full",
            reason: "no-room",
            evidence: format!("{counted}; too few of their disks have room, {least} are needed"),
            advice: "delete files or make room on the full disks; writes resume by themselves",
        },
        () if !configuration.accepts_writes() => Says {
            state: "read-only",
            reason: "too-few-in-sync",
            evidence: format!("{counted}; writes need {least} in sync"),
            advice: "bring back the nodes and disks that are missing, or wait for a new copy",
        },
        () if good < usize::from(wanted) => Says {
            state: "degraded",
            reason: "too-few-copies",
            evidence: counted,
            advice: "wait: copies are made anew where there is room, see `holdfast status`",
        },
        () => Says::well("all-there", counted),
    }
}

fn told<'a>(sight: &Sight<'a>, member: &Member) -> Option<&'a ReplicaReport> {
    sight.fresh(member.node).and_then(|(report, _)| report.replicas.get(&member.replica))
}

/// Bytes of user data that a volume holds, by the word of the leader of its names, and how old that is.
#[must_use]
pub fn used(sight: &Sight<'_>, volume: &Volume) -> Option<(u64, Duration)> {
    let mut partitions = sight.state.partitions_of(volume.id);
    let names = partitions.find(|p| p.configuration.kind == PartitionKind::Namespace)?;
    let leader = names.configuration.leader_member()?;
    let (report, _) = sight.fresh(leader.node)?;
    let replica = report.replicas.get(&leader.replica)?;
    Some((replica.used, report.age_of(replica, sight.now)))
}

/// How much of its capacity a volume uses.
#[must_use]
pub fn quota(sight: &Sight<'_>, volume: &Volume) -> ConditionView {
    let condition = format!("volume/{}/quota", volume.id);
    let Some((used, age)) = used(sight, volume) else {
        let evidence = "the leader of its names is not heard of".to_owned();
        let says = Says { state: "unknown", reason: "not-heard", evidence, advice: "" };
        return says.row(condition, None, None);
    };
    let (capacity, mib) = (volume.capacity, |bytes: u64| bytes >> 20);
    let evidence = format!("{} of {} MiB are used", mib(used), mib(capacity));
    let left = capacity.saturating_sub(used);
    let says = match () {
        () if left == 0 => Says {
            state: "full",
            reason: "capacity-used",
            evidence,
            advice: "delete files, or raise it with `holdfast volume expand`; writes end in ENOSPC",
        },
        () if left < capacity / 100 * QUOTA_LOW_PERCENT => Says {
            state: "low",
            reason: "capacity-used",
            evidence,
            advice: "delete files, or raise it with `holdfast volume expand`",
        },
        () => Says::well("capacity-left", evidence),
    };
    says.row(condition, None, Some(age))
}
