//! What the nodes said lately, and who fell silent.
//!
//! Lives in the memory of the leading member only. A new leader starts with an empty one, so
//! everybody gets the full time of silence again before anything is decided about them: its own
//! deafness so far is no evidence.
//!
//! Each node re-states its whole condition: what it said replaces what it said before, and what
//! arrives late (an older sequence, an earlier life) is dropped. To say it in few words, a heartbeat may
//! be "as the one before, but": that counts only where exactly the one before is known, and where the
//! digest of the whole agrees afterwards; in any other case the node is asked for all of it, so that
//! nothing is ever put together from parts that do not belong together. Time is an argument.

mod report;

pub use report::{
    DiskReport, DiskState, Held, NodeReport, REPORTS_SETTLED, ReplicaReport, ReplicaState, Role,
    Spoken, Taken,
};

use crate::state::changes::{Changes, Mark};
use report::replica_report;
use std::collections::BTreeMap;
use std::time::Duration;
use types::{BootId, Moment, NodeId, PartitionId, ReplicaId};
use wire::control as message;

/// What all nodes said, and since when we listen.
#[derive(Clone, Debug)]
pub struct Detector {
    /// When this member began to lead.
    since: Moment,
    reports: BTreeMap<NodeId, NodeReport>,
    /// The last number handed out for [`NodeReport::news`].
    news: u64,
    /// Partitions of which something else is said than before.
    changes: Changes<PartitionId>,
}

impl Detector {
    /// Begins to listen.
    #[must_use]
    pub fn new(since: Moment) -> Detector {
        Detector { since, reports: BTreeMap::new(), news: 0, changes: Changes::default() }
    }

    /// Takes a heartbeat of `boot`, the life of the node that is on record.
    pub fn observe(&mut self, now: Moment, heartbeat: &message::Heartbeat) -> Taken {
        let node = NodeId(heartbeat.node);
        let boot = BootId(heartbeat.boot);
        let before = self.reports.get(&node).filter(|report| report.boot == boot);
        if before.is_some_and(|report| report.sequence >= heartbeat.sequence) {
            return Taken::Stale;
        }
        let mut changed = Vec::new();
        let mut taken = match heartbeat.base {
            0 => self.replace(now, heartbeat, &mut changed),
            _ => self.follow(now, heartbeat, &mut changed),
        };
        let Taken::Fresh { news, .. } = &mut taken else { return taken };
        let report = self.reports.get_mut(&node).expect("it was just taken");
        if report.heard(now, heartbeat) {
            changed.extend(report.partitions());
            *news = true;
        }
        if *news {
            self.news += 1;
            report.news = self.news;
        }
        changed.into_iter().for_each(|partition| self.changes.note(partition));
        taken
    }

    /// Takes a full heartbeat. It replaces what was known; nothing is merged.
    fn replace(
        &mut self,
        now: Moment,
        heartbeat: &message::Heartbeat,
        changed: &mut Vec<PartitionId>,
    ) -> Taken {
        let (node, boot) = (NodeId(heartbeat.node), BootId(heartbeat.boot));
        let replicas: BTreeMap<ReplicaId, ReplicaReport> =
            heartbeat.replicas.iter().map(|replica| replica_report(replica, now)).collect();
        let (before, same_life) = match self.reports.remove(&node) {
            Some(before) if before.boot == boot => (before, true),
            Some(before) => {
                changed.extend(before.partitions());
                (NodeReport::new(boot, now), false)
            }
            None => (NodeReport::new(boot, now), false),
        };
        let report = before.with(replicas, changed);
        self.reports.insert(node, report);
        Taken::Fresh { news: !same_life || !changed.is_empty(), spoken: Spoken::All }
    }

    /// Takes a heartbeat that says what changed, if it does so of exactly what is known here.
    fn follow(
        &mut self,
        now: Moment,
        heartbeat: &message::Heartbeat,
        changed: &mut Vec<PartitionId>,
    ) -> Taken {
        let boot = BootId(heartbeat.boot);
        let report = self.reports.get_mut(&NodeId(heartbeat.node));
        let known = report.filter(|r| r.boot == boot && r.sequence == heartbeat.base);
        let Some(report) = known else { return Taken::Unfit };
        let Some(digest) = report.digest_after(heartbeat) else { return Taken::Unfit };
        if digest != heartbeat.digest {
            tracing::warn!(
                node = heartbeat.node,
                base = heartbeat.base,
                sequence = heartbeat.sequence,
                "what changed does not fit what is known of this node: asking for all of it"
            );
            return Taken::Unfit;
        }
        report.digest = digest;
        report.change(now, heartbeat, changed)
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

#[cfg(test)]
mod tests {
    use super::*;
    use types::DiskId;

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
            ..Default::default()
        }
    }

    fn free(detector: &Detector) -> u64 {
        detector.report(NODE, BOOT).unwrap().disks[&DiskId(1)].free
    }

    #[test]
    fn late_heartbeats_are_dropped() {
        let mut detector = Detector::new(Moment(0));
        assert!(detector.observe(Moment(10), &heartbeat(7, 5, 50)).is_fresh());
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

    fn replica(id: u64, end: u64) -> message::ReplicaReport {
        message::ReplicaReport { replica: id, partition: id, end, ..Default::default() }
    }

    fn with(sequence: u64, replicas: Vec<message::ReplicaReport>) -> message::Heartbeat {
        message::Heartbeat { replicas, ..heartbeat(7, sequence, 50) }
    }

    /// Listens to two replicas, of which the second has got to the end.
    fn listening_to_two() -> Detector {
        let mut detector = Detector::new(Moment(0));
        detector.observe(Moment(10), &with(5, vec![replica(1, 4), replica(2, 4)]));
        detector
    }

    /// A heartbeat that says that the second replica got to 9.
    fn change(base: u64) -> message::Heartbeat {
        let digest = message::digest(&replica(1, 4)).wrapping_add(message::digest(&replica(2, 9)));
        message::Heartbeat { base, digest, ..with(6, vec![replica(2, 9)]) }
    }

    #[test]
    fn a_change_is_taken_on_top_of_exactly_what_it_follows() {
        let mut detector = listening_to_two();
        let taken = detector.observe(Moment(20), &change(5));
        let spoken = Spoken::Of(vec![ReplicaId(2)]);
        assert_eq!(taken, Taken::Fresh { news: false, spoken });
        let report = detector.report(NODE, BOOT).unwrap();
        let ends: Vec<_> = report.replicas.values().map(|r| r.end.0).collect();
        assert_eq!((ends, report.sequence, report.at), (vec![4, 9], 6, Moment(20)));
        assert_eq!(detector.observe(Moment(21), &change(5)), Taken::Stale, "it came twice");
    }

    #[test]
    fn a_change_of_anything_else_is_not_taken_and_leaves_no_trace() {
        let other_life = message::Heartbeat { boot: 8, ..change(5) };
        let wrong_sum = message::Heartbeat { digest: 1, ..change(5) };
        let never_listed = message::Heartbeat { gone: vec![3], ..change(5) };
        let both = message::Heartbeat { gone: vec![2], ..change(5) };
        let twice = message::Heartbeat { replicas: vec![replica(2, 9); 2], ..change(5) };
        for unfit in [change(4), other_life, wrong_sum, never_listed, both, twice] {
            let mut detector = listening_to_two();
            let before = detector.report(NODE, BOOT).cloned();
            assert_eq!(detector.observe(Moment(20), &unfit), Taken::Unfit, "{unfit:?}");
            assert_eq!(detector.report(NODE, BOOT).cloned(), before, "{unfit:?}");
        }
        let mut fresh = Detector::new(Moment(0));
        assert_eq!(fresh.observe(Moment(20), &change(5)), Taken::Unfit, "another member leads");
        assert!(fresh.report(NODE, BOOT).is_none());
    }

    #[test]
    fn what_is_gone_is_said_and_is_news() {
        let mut detector = listening_to_two();
        let digest = message::digest(&replica(1, 4));
        let gone = message::Heartbeat { base: 5, gone: vec![2], digest, ..with(6, vec![]) };
        let spoken = Spoken::Of(vec![]);
        assert_eq!(detector.observe(Moment(20), &gone), Taken::Fresh { news: true, spoken });
        assert_eq!(detector.report(NODE, BOOT).unwrap().replicas.len(), 1);
    }

    #[test]
    fn what_was_held_back_is_as_old_as_when_it_was_told() {
        let mut detector = listening_to_two();
        detector.observe(Moment(20), &message::Heartbeat { held_back: 1, ..change(5) });
        let report = detector.report(NODE, BOOT).unwrap();
        let age = |id| report.age_of(&report.replicas[&ReplicaId(id)], Moment(30)).as_nanos();
        assert_eq!((age(1), age(2)), (20, 10));
    }

    #[test]
    fn a_new_life_starts_afresh() {
        let mut detector = Detector::new(Moment(0));
        detector.observe(Moment(10), &heartbeat(7, 900, 50));
        assert!(detector.observe(Moment(20), &heartbeat(8, 1, 60)).is_fresh());
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
