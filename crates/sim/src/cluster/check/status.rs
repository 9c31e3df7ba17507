//! What the control plane shows was there, within the age it states.
//!
//! Asked once everything has settled. A partition that is shown to serve was led, by the replica
//! and in the epoch that are shown, at a time that the stated age allows; a replica that is shown
//! to be well was, and its log ended where it is said to have ended.

use crate::cluster::watch::{Look, Watch};
use crate::verdict::{Verdict, demand};
use control::view::{PartitionStatus, PartitionView, ReplicaView};
use std::time::Duration;

/// The truth is looked at this often at least, and reports travel this long at most.
const SLACK: Duration = Duration::from_millis(250);

const NAME: &str = "what is shown was there";

/// Compares an answer that was asked for at `asked` and came at `answered` with the truth.
pub(crate) fn check(
    watch: &Watch,
    asked: Duration,
    answered: Duration,
    partitions: &[PartitionView],
) -> Verdict {
    for partition in partitions {
        let serves = matches!(
            partition.status,
            PartitionStatus::Healthy | PartitionStatus::Degraded | PartitionStatus::ReadOnly
        );
        if serves {
            leads(watch, asked, answered, partition)?;
        }
        for replica in &partition.replicas {
            if replica.state == "ok" {
                is_well(watch, asked, answered, partition, replica)?;
            }
        }
    }
    Ok(())
}

fn leads(watch: &Watch, asked: Duration, answered: Duration, shown: &PartitionView) -> Verdict {
    let looks = looks(watch, shown.leader.unwrap_or(0), shown.age_ms, asked, answered);
    let led = looks.iter().any(|look| look.leads && look.epoch == shown.epoch);
    demand(led, NAME, || format!("{asked:?}: {shown:?} but it did not lead: {looks:?}"))
}

fn is_well(
    watch: &Watch,
    asked: Duration,
    answered: Duration,
    partition: &PartitionView,
    shown: &ReplicaView,
) -> Verdict {
    let looks = looks(watch, shown.id, shown.age_ms, asked, answered);
    let well = looks.iter().any(|look| look.ok);
    demand(well, NAME, || {
        format!("{asked:?}: partition {}: {shown:?} but it was not well: {looks:?}", partition.id)
    })?;
    let end = shown.end.unwrap_or(0);
    let lowest = looks.iter().map(|look| look.end).min().unwrap_or(0);
    let highest = looks.iter().map(|look| look.end).max().unwrap_or(0);
    demand(lowest <= end && end <= highest, NAME, || {
        format!("{asked:?}: partition {}: {shown:?} but its end was {looks:?}", partition.id)
    })
}

fn looks(
    watch: &Watch,
    replica: u64,
    age_ms: Option<u64>,
    asked: Duration,
    answered: Duration,
) -> Vec<Look> {
    let age = Duration::from_millis(age_ms.unwrap_or(0));
    watch.between(replica, asked.saturating_sub(age + SLACK), answered + SLACK)
}
