//! Conditions, as people see them: every fact that matters to a thing, with its evidence and its age.

use super::{Sight, computed, millis};
use crate::state::{Node, Partition, VolumeState};
use serde::{Deserialize, Serialize};
use types::condition::{Fact, Key, Record, State, Subject, table};
use types::{DiskId, Member, NodeId};

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionView {
    /// What, for instance `disk/3/space`.
    pub condition: String,
    /// Its state; `unknown` when nothing was ever heard.
    pub state: String,
    pub well: bool,
    pub reason: String,
    /// What the state rests on.
    pub evidence: String,
    /// When it came into this state; empty when nothing was ever heard.
    pub since: String,
    /// How long ago its owner last spoke of it; `null` when the answering member has not heard it.
    pub checked_age_ms: Option<u64>,
    /// What to do about it; empty when nothing.
    pub advice: String,
}

/// A fact that is on record.
fn on_record(key: Key, record: &Record, checked_age_ms: Option<u64>) -> ConditionView {
    ConditionView {
        condition: key.to_string(),
        state: record.state.to_string(),
        well: record.state == State::Ok,
        reason: record.reason.to_string(),
        evidence: record.evidence.to_string(),
        since: record.since.to_string(),
        checked_age_ms,
        advice: table::advice(key.fact, record.state).to_owned(),
    }
}

fn unknown(key: Key) -> ConditionView {
    ConditionView {
        condition: key.to_string(),
        state: "unknown".to_owned(),
        well: false,
        reason: String::new(),
        evidence: "nothing was heard of it yet".to_owned(),
        since: String::new(),
        checked_age_ms: None,
        advice: String::new(),
    }
}

fn view(sight: &Sight<'_>, key: Key, owner: NodeId) -> ConditionView {
    let age = sight.report(owner).map(|(_, age)| millis(age));
    let record = sight.state.conditions.get(key);
    if key.fact == Fact::Liveness
        && record.is_some_and(|record| record.state == State::Silent)
        && let Some((_, age)) = sight.fresh(owner)
    {
        return heard_again(key, millis(age));
    }
    record.map_or_else(|| unknown(key), |record| on_record(key, record, age))
}

/// A node that was silent and is heard again: the members are about to agree on that, and whoever
/// looks meanwhile is not told what is known to be over.
fn heard_again(key: Key, age_ms: u64) -> ConditionView {
    ConditionView {
        state: State::Ok.to_string(),
        well: true,
        evidence: "a heartbeat came; the record follows".to_owned(),
        checked_age_ms: Some(age_ms),
        ..unknown(key)
    }
}

/// Of the disk of a member, which has no room.
#[must_use]
pub fn of_member(
    member: u64,
    words: &str,
    since: String,
    checked_age_ms: Option<u64>,
) -> ConditionView {
    ConditionView {
        condition: format!("member/{member}/space"),
        state: State::Full.to_string(),
        well: false,
        reason: types::condition::Reason::WriteRefused.to_string(),
        evidence: words.to_owned(),
        since,
        checked_age_ms,
        advice: "make room on the disk of this member of the control plane; it goes on by itself"
            .to_owned(),
    }
}

/// Of a node, and of its disks.
#[must_use]
pub fn of_node(sight: &Sight<'_>, node: &Node) -> Vec<ConditionView> {
    let disks = sight.state.disks.values().filter(|disk| disk.node == node.id);
    let mut all = vec![view(sight, Key::liveness(node.id), node.id)];
    for disk in disks {
        all.extend(of_disk_alone(sight, disk.id, node.id));
    }
    all
}

/// Of a disk, and whether its node is there.
#[must_use]
pub fn of_disk(sight: &Sight<'_>, disk: DiskId, node: NodeId) -> Vec<ConditionView> {
    let mut all = of_disk_alone(sight, disk, node);
    all.push(view(sight, Key::liveness(node), node));
    all
}

fn of_disk_alone(sight: &Sight<'_>, disk: DiskId, node: NodeId) -> Vec<ConditionView> {
    vec![view(sight, Key::space(disk), node), view(sight, Key::health(disk), node)]
}

/// Of everything that a partition stands on.
#[must_use]
pub fn of_partition(sight: &Sight<'_>, partition: &Partition) -> Vec<ConditionView> {
    let id = partition.configuration.partition;
    let mut all = computed::of_partition(sight, partition);
    for member in partition.holders() {
        all.extend(of_disk(sight, member.disk, member.node));
        let key = Key::data(id, member.replica);
        match sight.state.conditions.get(key) {
            Some(_) => all.push(view(sight, key, member.node)),
            None => all.extend(never_unwell(sight, key, member)),
        }
    }
    all.sort_by(|a, b| (a.well, &a.condition).cmp(&(b.well, &b.condition)));
    all.dedup();
    all
}

/// A replica that was heard of and was never other than well has no record.
fn never_unwell(sight: &Sight<'_>, key: Key, member: &Member) -> Option<ConditionView> {
    let (report, age) = sight.report(member.node)?;
    report.replicas.get(&member.replica)?;
    Some(ConditionView {
        state: "ok".to_owned(),
        well: true,
        evidence: "was never reported otherwise".to_owned(),
        checked_age_ms: Some(millis(age)),
        ..unknown(key)
    })
}

/// Everything that is not well: what is on record, the worst kinds first, and then what follows from it.
#[must_use]
pub fn unwell(sight: &Sight<'_>) -> Vec<ConditionView> {
    let live = sight.state.volumes.values().filter(|v| v.state == VolumeState::Active);
    let quotas = live.map(|volume| computed::quota(sight, volume));
    let partitions = sight.state.partitions.values().flat_map(|p| computed::of_partition(sight, p));
    let unwell = quotas.chain(partitions).filter(|view| !view.well).take(COMPUTED_UNWELL_MAX);
    let mut all = unwell_on_record(sight);
    all.extend(unwell);
    all
}

/// Most facts of partitions and volumes in one list: with a node they may all be unwell at once.
const COMPUTED_UNWELL_MAX: usize = 100;

fn unwell_on_record(sight: &Sight<'_>) -> Vec<ConditionView> {
    let owner = |key: Key| match key.subject {
        Subject::Node(node) => Some(node),
        Subject::Disk(disk) => sight.state.disks.get(&disk).map(|disk| disk.node),
        Subject::Replica(partition, replica) => {
            let mut holders = sight.state.partitions.get(&partition)?.holders();
            holders.find(|member| member.replica == replica).map(|member| member.node)
        }
    };
    let records = sight.state.conditions.iter().filter(|(_, record)| record.state != State::Ok);
    let mut all: Vec<(State, ConditionView)> = records
        .filter_map(|(key, record)| Some((record.state, view(sight, key, owner(key)?))))
        .collect();
    all.retain(|(_, view)| !view.well);
    all.sort_by(|(a, _), (b, _)| b.cmp(a));
    all.into_iter().map(|(_, view)| view).collect()
}

/// Whether a disk has no room, by what is on record or by what its node says just now.
#[must_use]
pub fn is_full(sight: &Sight<'_>, member: &Member) -> bool {
    let says = sight.fresh(member.node).and_then(|(report, _)| report.disks.get(&member.disk));
    sight.state.conditions.is_full(member.disk)
        || says.is_some_and(|disk| disk.state == crate::detect::DiskState::Full)
}
