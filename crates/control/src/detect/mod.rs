//! What the nodes said lately, and who fell silent.
//!
//! Lives in the memory of the leading member only. A new leader starts with an empty one, so
//! everybody gets the full time of silence again before anything is decided about them: its own
//! deafness so far is no evidence.
//!
//! Each node re-states its whole condition; what it said replaces what it said before, and what
//! arrives late (an older sequence, an earlier life) is dropped. Time is an argument.

use crate::state::changes::{Changes, Mark};
use std::collections::BTreeMap;
use std::time::Duration;
use types::{BootId, DiskId, Epoch, Moment, NodeId, PartitionId, ReplicaId, Sequence, Timestamp};
use wire::control as message;
pub use wire::control::{DiskState, ReplicaState, Role};

/// That something is missing from a node's report counts once this many reports of its life came:
/// the first ones may have been under way for long.
pub const REPORTS_SETTLED: u32 = 3;

/// One disk, by the word of its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskReport {
    pub state: DiskState,
    /// Bytes.
    pub free: u64,
    /// Bytes.
    pub total: u64,
    pub reason: String,
    /// What is known of its space, and by what evidence.
    pub space: Option<wire::condition::Space>,
}

/// One replica, by the word of its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaReport {
    pub partition: PartitionId,
    pub disk: DiskId,
    pub role: Role,
    pub epoch: Epoch,
    pub end: Sequence,
    pub committed: Sequence,
    pub last_record_epoch: Epoch,
    pub lease_expired: bool,
    pub proven: bool,
    pub state: ReplicaState,
    pub reason: String,
    /// Bytes on its disk.
    pub bytes: u64,
}

impl ReplicaReport {
    /// Whether the replica can take part in its partition now.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        matches!(self.state, ReplicaState::Ok | ReplicaState::Damaged)
    }
}

/// The last report of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeReport {
    pub boot: BootId,
    pub sequence: u64,
    /// When it arrived, by the clock of the member that received it.
    pub at: Moment,
    /// How many reports of this life arrived, this one counted.
    pub count: u32,
    pub disks: BTreeMap<DiskId, DiskReport>,
    pub replicas: BTreeMap<ReplicaId, ReplicaReport>,
    /// Bytes and number of the replicas on each disk.
    pub held: BTreeMap<DiskId, Held>,
    /// Which access list it goes by; zero when it has none.
    pub access_version: u64,
    /// What its clock said.
    pub clock: Timestamp,
}

/// What is on a disk, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub bytes: u64,
    pub replicas: u64,
}

impl NodeReport {
    /// Partitions of which it says something else than `before`, as far as plans go by it.
    fn news<'a>(&'a self, before: &'a NodeReport) -> impl Iterator<Item = PartitionId> + 'a {
        let said = |report: &NodeReport, id: &ReplicaId| report.replicas.get(id).map(essence);
        let newer = self.replicas.iter();
        let newer = newer.filter(move |(id, word)| said(before, id) != Some(essence(word)));
        let gone = before.replicas.iter().filter(|(id, _)| !self.replicas.contains_key(id));
        newer.chain(gone).map(|(_, word)| word.partition)
    }

    /// Whether plans for everything on it may change: a new life, its disks, or whether its silence counts.
    fn is_other(&self, before: &NodeReport) -> bool {
        let disks = |report: &NodeReport| -> Vec<(DiskId, DiskState)> {
            report.disks.iter().map(|(id, disk)| (*id, disk.state)).collect()
        };
        let settled = |report: &NodeReport| report.count >= REPORTS_SETTLED;
        self.boot != before.boot || settled(self) != settled(before) || disks(self) != disks(before)
    }

    /// Whether `replica` is certainly not on `disk` any more: the disk works, and the list without
    /// it is no early one.
    #[must_use]
    pub fn proves_gone(&self, replica: ReplicaId, disk: DiskId) -> bool {
        let works = self.disks.get(&disk).is_some_and(|d| d.state != DiskState::Failed);
        works && self.count >= REPORTS_SETTLED && !self.replicas.contains_key(&replica)
    }
}

/// What plans go by, of what is said about a replica. How far logs go is not worth looking at once more, as
/// long as there is a leader.
fn essence(word: &ReplicaReport) -> impl PartialEq + use<> {
    (word.partition, word.disk, word.role, word.epoch, word.lease_expired, word.proven, word.state)
}

/// How a heartbeat was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It replaced what was known.
    Fresh,
    /// It is not newer than what is known, and was dropped.
    Stale,
}

/// What all nodes said, and since when we listen.
#[derive(Clone, Debug)]
pub struct Detector {
    /// When this member began to lead.
    since: Moment,
    reports: BTreeMap<NodeId, NodeReport>,
    /// Partitions of which something else is said than before.
    changes: Changes<PartitionId>,
}

impl Detector {
    /// Begins to listen.
    #[must_use]
    pub fn new(since: Moment) -> Detector {
        Detector { since, reports: BTreeMap::new(), changes: Changes::default() }
    }

    /// Takes a heartbeat of `boot`, the life of the node that is on record.
    pub fn observe(&mut self, now: Moment, heartbeat: &message::Heartbeat) -> Taken {
        let node = NodeId(heartbeat.node);
        let boot = BootId(heartbeat.boot);
        let before = self.reports.get(&node).filter(|report| report.boot == boot);
        if before.is_some_and(|report| report.sequence >= heartbeat.sequence) {
            return Taken::Stale;
        }
        let count = before.map_or(0, |report| report.count).saturating_add(1);
        let replicas: BTreeMap<_, _> = heartbeat.replicas.iter().map(replica_report).collect();
        let report = NodeReport {
            boot,
            sequence: heartbeat.sequence,
            at: now,
            count,
            disks: heartbeat.disks.iter().map(disk_report).collect(),
            held: sums(replicas.values()),
            replicas,
            access_version: heartbeat.access_version,
            clock: Timestamp(heartbeat.clock),
        };
        self.note_news(node, &report);
        self.reports.insert(node, report);
        Taken::Fresh
    }

    fn note_news(&mut self, node: NodeId, report: &NodeReport) {
        let all = |report: &NodeReport| -> Vec<PartitionId> {
            report.replicas.values().map(|word| word.partition).collect()
        };
        let news: Vec<PartitionId> = match self.reports.get(&node) {
            Some(before) if !report.is_other(before) => report.news(before).collect(),
            Some(before) => all(before).into_iter().chain(all(report)).collect(),
            None => all(report),
        };
        news.into_iter().for_each(|partition| self.changes.note(partition));
    }

    /// How far the news goes by now.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.changes.mark()
    }

    /// Partitions of which something else was said since `mark`; `None` when that is of another detector.
    #[must_use]
    pub fn news_since(&self, mark: &Mark) -> Option<impl Iterator<Item = PartitionId>> {
        self.changes.since(mark)
    }

    /// The last report of a node, however old, if it is of the life `boot`.
    #[must_use]
    pub fn report(&self, node: NodeId, boot: BootId) -> Option<&NodeReport> {
        self.reports.get(&node).filter(|report| report.boot == boot)
    }

    /// How long nothing was heard of that life of the node. Listening counts from when it began.
    #[must_use]
    pub fn silence(&self, now: Moment, node: NodeId, boot: BootId) -> Duration {
        now.since(self.report(node, boot).map_or(self.since, |report| report.at.max(self.since)))
    }

    /// How long this detector has been listening.
    #[must_use]
    pub fn listening(&self, now: Moment) -> Duration {
        now.since(self.since)
    }
}

fn sums<'a>(replicas: impl Iterator<Item = &'a ReplicaReport>) -> BTreeMap<DiskId, Held> {
    let mut sums: BTreeMap<DiskId, Held> = BTreeMap::new();
    for replica in replicas {
        let held = sums.entry(replica.disk).or_default();
        held.bytes = held.bytes.saturating_add(replica.bytes);
        held.replicas += 1;
    }
    sums
}

fn disk_report(from: &message::DiskReport) -> (DiskId, DiskReport) {
    let report = DiskReport {
        state: from.state(),
        free: from.free,
        total: from.total,
        reason: from.reason.clone(),
        space: from.space.clone(),
    };
    (DiskId(from.disk), report)
}

fn replica_report(from: &message::ReplicaReport) -> (ReplicaId, ReplicaReport) {
    let report = ReplicaReport {
        partition: PartitionId(from.partition),
        disk: DiskId(from.disk),
        role: from.role(),
        epoch: Epoch(from.epoch),
        end: Sequence(from.end),
        committed: Sequence(from.committed),
        last_record_epoch: Epoch(from.last_record_epoch),
        lease_expired: from.lease_expired,
        proven: from.proven,
        state: from.state(),
        reason: from.reason.clone(),
        bytes: from.bytes,
    };
    (ReplicaId(from.replica), report)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(1);
    const BOOT: BootId = BootId(7);

    fn heartbeat(boot: u64, sequence: u64, free: u64) -> message::Heartbeat {
        let state = message::DiskState::Ok.into();
        let disk = message::DiskReport { disk: 1, state, free, ..Default::default() };
        message::Heartbeat {
            cluster: 1,
            node: NODE.0,
            boot,
            sequence,
            disks: vec![disk],
            replicas: vec![],
            ..Default::default()
        }
    }

    fn free(detector: &Detector) -> u64 {
        detector.report(NODE, BOOT).unwrap().disks[&DiskId(1)].free
    }

    #[test]
    fn late_heartbeats_are_dropped() {
        let mut detector = Detector::new(Moment(0));
        assert_eq!(detector.observe(Moment(10), &heartbeat(7, 5, 50)), Taken::Fresh);
        assert_eq!(detector.observe(Moment(11), &heartbeat(7, 4, 40)), Taken::Stale);
        assert_eq!(detector.observe(Moment(12), &heartbeat(7, 5, 99)), Taken::Stale);
        assert_eq!(free(&detector), 50);
        assert_eq!(detector.report(NODE, BOOT).unwrap().at, Moment(10));
    }

    #[test]
    fn a_report_replaces_and_never_merges() {
        let mut detector = Detector::new(Moment(0));
        detector.observe(Moment(10), &heartbeat(7, 1, 50));
        let empty = message::Heartbeat { disks: vec![], ..heartbeat(7, 2, 0) };
        detector.observe(Moment(20), &empty);
        assert!(detector.report(NODE, BOOT).unwrap().disks.is_empty());
    }

    #[test]
    fn a_new_life_starts_afresh() {
        let mut detector = Detector::new(Moment(0));
        detector.observe(Moment(10), &heartbeat(7, 900, 50));
        assert_eq!(detector.observe(Moment(20), &heartbeat(8, 1, 60)), Taken::Fresh);
        assert!(detector.report(NODE, BOOT).is_none(), "the old life has nothing to say");
        assert_eq!(detector.report(NODE, BootId(8)).unwrap().count, 1);
    }

    #[test]
    fn silence_counts_from_when_listening_began() {
        let mut detector = Detector::new(Moment(1_000));
        let silence = |d: &Detector, now| d.silence(Moment(now), NODE, BOOT).as_nanos();
        assert_eq!(silence(&detector, 1_500), 500);
        detector.observe(Moment(1_600), &heartbeat(7, 1, 0));
        assert_eq!(silence(&detector, 1_700), 100);
    }

    #[test]
    fn missing_is_gone_only_on_a_working_disk_and_after_a_few_reports() {
        let mut detector = Detector::new(Moment(0));
        let gone = |d: &Detector, disk| {
            d.report(NODE, BOOT).unwrap().proves_gone(ReplicaId(3), DiskId(disk))
        };
        for sequence in 1..REPORTS_SETTLED {
            detector.observe(Moment(sequence.into()), &heartbeat(7, sequence.into(), 0));
            assert!(!gone(&detector, 1));
        }
        detector.observe(Moment(9), &heartbeat(7, REPORTS_SETTLED.into(), 0));
        assert!(gone(&detector, 1));
        assert!(!gone(&detector, 2), "a disk that is not reported proves nothing");
    }
}
