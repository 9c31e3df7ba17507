//! From what nodes report, and from silence, to what has changed of conditions.
//!
//! Pure but for [`Watch`], which counts and logs what is refused. Unchanged facts cost nothing here:
//! they are compared with the record and dropped, so the log of the members grows with what happens
//! and not with how long it goes on.

use crate::detect::{
    Detector, DiskReport, DiskState, NodeReport, ReplicaReport, ReplicaState, Spoken,
};
use crate::metrics::Metrics;
use crate::state::State;
use std::collections::BTreeMap;
use std::time::Duration;
use types::condition::{
    Evidence, Key, Observation, Owner, Reason, Refusal, Stamp, State as Condition, Step,
};
use types::{DiskId, Moment, NodeId, ReplicaId, Timestamp};

/// An observation that would change something, or must be refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Follow(Observation),
    Refuse { observation: Observation, before: Option<Condition>, refusal: Refusal },
}

/// Most observations in one command, so that it stays well below the limit of a frame.
const OBSERVATIONS_MAX: usize = 1_000;

/// What changes by a node's report, as far as it spoke of something.
#[must_use]
pub fn changes(
    state: &State,
    node: NodeId,
    report: &NodeReport,
    spoken: &Spoken,
    at: Timestamp,
) -> Vec<Change> {
    let Some(record) = state.nodes.get(&node) else { return Vec::new() };
    let stamp = Stamp { life: record.life, sequence: report.sequence };
    let says = Says { by: Owner::Node(node), stamp, at };
    let detector = Says { by: Owner::Detector, ..says };
    let heard = detector.of(Key::liveness(node), Condition::Ok, Reason::Heard, Evidence::Heard);
    let mut all = vec![heard];
    for (disk, report) in &report.disks {
        all.extend(health(&says, *disk, report));
        all.extend(space(&says, *disk, report));
    }
    let mut look = |replica: &ReplicaId, report: &ReplicaReport| {
        // One that is well and always was has no record.
        let known = || state.conditions.get(Key::data(report.partition, *replica)).is_some();
        if !matches!(report.state, ReplicaState::Ok | ReplicaState::Full) || known() {
            all.extend(data(&says, *replica, report));
        }
    };
    match spoken {
        Spoken::All => report.replicas.iter().for_each(|(id, replica)| look(id, replica)),
        Spoken::Of(some) => some.iter().for_each(|id| look(id, &report.replicas[id])),
    }
    all.into_iter().filter_map(|observation| judge(state, observation)).collect()
}

/// What changes because nodes are silent.
#[must_use]
pub fn silences(
    state: &State,
    detector: &Detector,
    now: Moment,
    bound: Duration,
    at: Timestamp,
) -> Vec<Change> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let silent = state.nodes.values().filter_map(|node| {
        let for_so_long = detector.silence(now, node.id, node.boot);
        if for_so_long < bound {
            return None;
        }
        let key = Key::liveness(node.id);
        let sequence = detector.report(node.id, node.boot).map_or(0, |report| report.sequence);
        let heard = Stamp { life: node.life, sequence };
        let known = state.conditions.get(key).map(|record| record.stamp);
        let known = known.filter(|stamp| stamp.life == node.life);
        let says = Says { by: Owner::Detector, stamp: heard.max(known.unwrap_or(heard)), at };
        let evidence = Evidence::Silence { for_ms: millis(for_so_long), bound_ms: millis(bound) };
        Some(says.of(key, Condition::Silent, Reason::Silence, evidence))
    });
    silent.filter_map(|observation| judge(state, observation)).collect()
}

fn judge(state: &State, observation: Observation) -> Option<Change> {
    let owner = state.owner_of(observation.key)?;
    match state.judge(owner, &observation) {
        Step::Applied(_) => Some(Change::Follow(observation)),
        Step::Same | Step::Stale => None,
        Step::Refused(refusal) => {
            let before = state.conditions.state(observation.key);
            Some(Change::Refuse { observation, before, refusal })
        }
    }
}

/// Who speaks, and when.
#[derive(Clone, Copy)]
struct Says {
    by: Owner,
    stamp: Stamp,
    at: Timestamp,
}

impl Says {
    fn of(&self, key: Key, state: Condition, reason: Reason, evidence: Evidence) -> Observation {
        let Says { by, stamp, at } = *self;
        Observation { key, by, stamp, state, reason, evidence, at }
    }
}

fn health(says: &Says, disk: DiskId, report: &DiskReport) -> Option<Observation> {
    let key = Key::health(disk);
    match report.state {
        DiskState::Unspecified => None,
        DiskState::Failed => {
            let evidence = Evidence::Broken { error: report.reason.clone() };
            Some(says.of(key, Condition::Failed, Reason::IoError, evidence))
        }
        _ => Some(says.of(key, Condition::Ok, Reason::Works, Evidence::Answered)),
    }
}

fn space(says: &Says, disk: DiskId, report: &DiskReport) -> Option<Observation> {
    let state = match report.state {
        DiskState::Ok => Condition::Ok,
        DiskState::Low => Condition::Low,
        DiskState::Full => Condition::Full,
        DiskState::Unspecified | DiskState::Failed => return None,
    };
    let (reason, evidence) = report.space.as_ref()?.evidence(state)?;
    Some(says.of(Key::space(disk), state, reason, evidence))
}

fn data(says: &Says, replica: ReplicaId, report: &ReplicaReport) -> Option<Observation> {
    let (state, reason) = match report.state {
        ReplicaState::Unspecified => return None,
        // A replica without room is whole; its disk's space says the rest.
        ReplicaState::Ok | ReplicaState::Full => (Condition::Ok, Reason::Mended),
        ReplicaState::Recovering => (Condition::Recovering, Reason::ReadingLog),
        ReplicaState::Damaged => (Condition::Damaged, Reason::DamageFound),
        ReplicaState::Failed => (Condition::Failed, Reason::Unusable),
    };
    let words = if state == Condition::Ok { String::new() } else { report.reason.clone() };
    Some(says.of(Key::data(report.partition, replica), state, reason, Evidence::Replica { words }))
}

/// What changed and is not agreed upon yet, the newest word of each fact. The leading member's.
#[derive(Debug, Default)]
pub struct Watch {
    pending: BTreeMap<Key, Observation>,
    /// What was refused last of each fact, so that it is logged once and not with every heartbeat.
    refused: BTreeMap<Key, Condition>,
}

impl Watch {
    /// Takes changes; says whether there is something to agree upon.
    pub(crate) fn take(&mut self, changes: Vec<Change>, metrics: &Metrics) -> bool {
        for change in changes {
            match change {
                Change::Follow(observation) => {
                    self.refused.remove(&observation.key);
                    self.pending.insert(observation.key, observation);
                }
                Change::Refuse { observation, before, refusal } => {
                    metrics.refused(&observation);
                    self.refuse(&observation, before, &refusal);
                }
            }
        }
        !self.pending.is_empty()
    }

    fn refuse(&mut self, seen: &Observation, before: Option<Condition>, refusal: &Refusal) {
        if self.refused.insert(seen.key, seen.state) == Some(seen.state) {
            return;
        }
        let before = before.map_or("unknown", Condition::word);
        tracing::warn!(
            condition = %seen.key, from = before, to = %seen.state, by = %seen.by,
            stamp = %seen.stamp, reason = %seen.reason, evidence = %seen.evidence, %refusal,
            "a transition was refused"
        );
    }

    pub(crate) fn drain(&mut self) -> Vec<Observation> {
        let mut taken = Vec::new();
        while taken.len() < OBSERVATIONS_MAX {
            let Some((_, observation)) = self.pending.pop_first() else { break };
            taken.push(observation);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Command;
    use crate::state::command::DiskOffer;
    use types::condition::{Marks, Probe, Room};
    use types::{BootId, ClusterId};
    use wire::control as message;

    const AT: Timestamp = Timestamp(1);
    const NODE: NodeId = NodeId(1);
    const DISK: DiskId = DiskId(1);
    const MIB: u64 = 1 << 20;
    const PLENTY: u64 = 900 * MIB;

    fn join(state: &mut State, boot: u64) -> Option<Condition> {
        let disks = vec![DiskOffer { identity: 2, label: "/disk".into(), capacity: 1024 * MIB }];
        let (address, zone) = ("node:1".into(), String::new());
        let join = Command::Join { identity: 1, boot: BootId(boot), address, zone, disks, at: AT };
        match state.apply(&join) {
            crate::state::Outcome::Joined(joined) => joined.spaces[0],
            other => panic!("{other:?}"),
        }
    }

    fn state() -> State {
        let mut state = State::default();
        state.apply(&Command::Initialize { cluster: ClusterId(1) });
        join(&mut state, 5);
        state
    }

    fn report(boot: u64, sequence: u64, disk: DiskState, room: (u64, Probe)) -> NodeReport {
        let (free, probe) = room;
        let (total, inodes_free) = (1024 * MIB, None);
        let room = Room { free, total, inodes_free, marks: Marks::of(total), probe };
        let space = wire::condition::Space::of(Reason::RoomEnough, &Evidence::Room(room));
        let state = disk.into();
        let disk = message::DiskReport { disk: 1, state, free, total, space, ..Default::default() };
        let heartbeat = message::Heartbeat {
            cluster: 1,
            node: 1,
            boot,
            sequence,
            disks: vec![disk],
            ..Default::default()
        };
        let mut detector = Detector::new(Moment(0));
        detector.observe(Moment(1), &heartbeat);
        detector.report(NODE, BootId(boot)).unwrap().clone()
    }

    /// Takes a report as the leader does; says how many words were refused.
    fn take(state: &mut State, report: &NodeReport) -> usize {
        let changes = changes(state, NODE, report, &Spoken::All, AT);
        let refused = changes.iter().filter(|c| matches!(c, Change::Refuse { .. })).count();
        let follow = |change| match change {
            Change::Follow(observation) => Some(observation),
            Change::Refuse { .. } => None,
        };
        let observations = changes.into_iter().filter_map(follow).collect();
        state.apply(&Command::Observe { observations });
        refused
    }

    fn worked() -> (u64, Probe) {
        (PLENTY, Probe::Worked { bytes: 4096, free: PLENTY, inodes_free: None })
    }

    #[test]
    fn a_full_disk_stays_so_through_restarts_and_failovers_until_room_is_proved() {
        let mut state = state();
        assert_eq!(take(&mut state, &report(5, 1, DiskState::Full, (0, Probe::NotTried))), 0);
        assert!(state.conditions.is_full(DISK));
        // Another member leads: what it has is what was written down.
        let mut state = State::decode(&state.encode()).unwrap();
        let unproven = report(5, 2, DiskState::Ok, (PLENTY, Probe::NotTried));
        assert_eq!(take(&mut state, &unproven), 1, "it is refused");
        assert!(state.conditions.is_full(DISK));
        assert_eq!(join(&mut state, 6), Some(Condition::Full), "a new life is told");
        take(&mut state, &report(6, 1, DiskState::Ok, worked()));
        assert!(!state.conditions.is_full(DISK), "the present life proved it");
        take(&mut state, &report(6, 3, DiskState::Full, (0, Probe::NotTried)));
        take(&mut state, &report(6, 2, DiskState::Ok, worked()));
        assert!(state.conditions.is_full(DISK), "an older word is no news");
    }

    #[test]
    fn silence_and_return_leave_space_alone() {
        let mut state = state();
        take(&mut state, &report(5, 1, DiskState::Full, (0, Probe::NotTried)));
        let before = state.conditions.get(Key::space(DISK)).cloned();
        let detector = Detector::new(Moment(0));
        let bound = Duration::from_millis(1500);
        let late = Moment(0) + Duration::from_secs(9);
        let silent = silences(&state, &detector, late, bound, AT);
        let [Change::Follow(observation)] = &silent[..] else { panic!("{silent:?}") };
        state.apply(&Command::Observe { observations: vec![observation.clone()] });
        assert_eq!(state.conditions.state(Key::liveness(NODE)), Some(Condition::Silent));
        assert!(silences(&state, &detector, late, bound, AT).is_empty(), "said once");
        take(&mut state, &report(5, 2, DiskState::Full, (0, Probe::NotTried)));
        assert_eq!(state.conditions.state(Key::liveness(NODE)), Some(Condition::Ok));
        assert_eq!(state.conditions.get(Key::space(DISK)).cloned(), before);
        let moved = state.events.after(0, 100).unwrap();
        let subjects: Vec<_> = moved.iter().map(|event| event.subject.as_str()).collect();
        let wanted = ["node/1", "node/1/liveness", "disk/1/health", "disk/1/space"];
        assert_eq!(subjects[0], wanted[0]);
        assert!(wanted.iter().all(|subject| subjects.contains(subject)), "{subjects:?}");
    }

    #[test]
    fn what_does_not_change_is_not_agreed_upon() {
        let mut state = state();
        take(&mut state, &report(5, 1, DiskState::Ok, (PLENTY, Probe::NotTried)));
        let next = report(5, 2, DiskState::Ok, (PLENTY - 1, Probe::NotTried));
        assert_eq!(changes(&state, NODE, &next, &Spoken::All, AT), []);
    }

    /// What was logged.
    #[derive(Clone, Default)]
    struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl Log {
        fn lines(&self) -> Vec<String> {
            let bytes = self.0.lock().unwrap().clone();
            String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
        }
    }

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What no rule allows is counted every time and logged once, with both states and the evidence.
    #[test]
    fn a_word_that_no_rule_allows_is_counted_and_logged() {
        let mut state = state();
        take(&mut state, &report(5, 1, DiskState::Full, (0, Probe::NotTried)));
        let (metrics, mut watch) = (Metrics::new(std::sync::Arc::default()), Watch::default());
        let log = Log::default();
        let lines = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || lines.clone());
        let subscriber = subscriber.finish();
        tracing::subscriber::with_default(subscriber, || {
            for sequence in 2..5 {
                let unproven = report(5, sequence, DiskState::Ok, (PLENTY, Probe::NotTried));
                let changes = changes(&state, NODE, &unproven, &Spoken::All, AT);
                assert!(!watch.take(changes, &metrics), "nothing to agree upon");
            }
        });
        let text = metrics.text();
        let counted = "transitions_refused_total{fact=\"space\",to=\"ok\"} 3";
        assert!(text.contains(counted), "{text}");
        let lines = log.lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        for word in ["WARN", "disk/1/space", "from=\"full\"", "to=ok", "evidence="] {
            assert!(lines[0].contains(word), "{word}: {lines:?}");
        }
    }
}
