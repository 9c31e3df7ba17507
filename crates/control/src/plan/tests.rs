use super::*;
use crate::state::command::{DiskOffer, VolumeSpec};
use crate::state::{Outcome, Step};
use std::collections::{BTreeMap, BTreeSet};
use types::limits::HEARTBEAT_INTERVAL;
use types::volume::{Durability, VolumeKind};
use types::{BootId, ClusterId, PartitionId, ReplicaId};
use wire::control::{self as message, ReplicaState, Role};

/// Nodes that do whatever they are told, a clock that stands still unless it is moved, and the
/// state that plans are carried out on at once.
pub(crate) struct Bench {
    pub(crate) policy: Policy,
    pub(crate) state: State,
    pub(crate) detector: Detector,
    pub(crate) now: Moment,
    pub(crate) sequence: u64,
    /// What each node holds, by its own word.
    pub(crate) held: BTreeMap<NodeId, BTreeMap<ReplicaId, message::ReplicaReport>>,
    /// Nodes that say nothing.
    pub(crate) silent: BTreeSet<NodeId>,
    /// What the disks say.
    pub(crate) disk_state: BTreeMap<DiskId, DiskState>,
    /// Disks whose folders cannot be read.
    pub(crate) unread: BTreeSet<DiskId>,
    /// What the last plan left at rest.
    pub(crate) memory: std::cell::RefCell<Memory>,
    /// What nodes listed, for operations that asked them.
    pub(crate) contents: BTreeMap<types::OperationId, crate::operation::sense::Contents>,
    /// What is being read, and what came of it.
    pub(crate) readings: crate::operation::Readings,
    /// Partitions of which a replica holds what it should not.
    pub(crate) unwell: BTreeMap<PartitionId, types::operation::Reason>,
}

impl Bench {
    /// `zones` names the zone of each node; every node has one disk of its number.
    pub(crate) fn new(zones: &[&str]) -> Bench {
        let now = Moment(1 << 40);
        let mut bench = Bench {
            policy: Policy::default(),
            state: State::default(),
            detector: Detector::new(now),
            now,
            sequence: 0,
            held: BTreeMap::new(),
            silent: BTreeSet::new(),
            disk_state: BTreeMap::new(),
            unread: BTreeSet::new(),
            memory: std::cell::RefCell::default(),
            contents: BTreeMap::new(),
            readings: crate::operation::Readings::new(),
            unwell: BTreeMap::new(),
        };
        bench.state.apply(&Command::Initialize { cluster: ClusterId(1) });
        for (index, zone) in (1..).zip(zones) {
            bench.join(index, zone);
        }
        bench.beat(3);
        bench
    }

    pub(crate) fn join(&mut self, identity: u64, zone: &str) {
        let disk = DiskOffer { identity: identity + 100, label: "/disk".into(), capacity: 1 << 40 };
        self.state.apply(&Command::Join {
            identity,
            boot: BootId(identity * 1_000),
            address: format!("node-{identity}:1"),
            zone: zone.into(),
            disks: vec![disk],
            at: self.date(),
        });
    }

    pub(crate) fn date(&self) -> Timestamp {
        Timestamp(i64::try_from(self.now.0).unwrap())
    }

    pub(crate) fn create(&mut self, name: &str, replicas: u8, data_partitions: u16) -> Outcome {
        let spec = VolumeSpec {
            name: name.into(),
            kind: VolumeKind::File,
            replicas,
            in_sync_min: replicas.div_ceil(2).max(1),
            capacity: 1 << 30,
            durability: Durability::Replicated,
            data_partitions,
        };
        self.state.apply(&Command::CreateVolume { spec, at: self.date() })
    }

    /// Every node that speaks reports, and does what it is told, so many times.
    pub(crate) fn beat(&mut self, times: usize) {
        for _ in 0..times {
            self.now = self.now + HEARTBEAT_INTERVAL;
            self.sequence += 1;
            for node in self.state.nodes.values().cloned().collect::<Vec<_>>() {
                if !self.silent.contains(&node.id) {
                    self.beat_one(&node);
                }
            }
        }
    }

    fn beat_one(&mut self, node: &Node) {
        self.report(node);
        let report = self.detector.report(node.id, node.boot);
        let assignment = assign::assignment(&self.state, 1, node.id, report);
        obey(self.held.entry(node.id).or_default(), node.id, &assignment);
    }

    /// A node says what it has, and gets no answer.
    pub(crate) fn report(&mut self, node: &Node) {
        let held = self.held.entry(node.id).or_default();
        let disk = DiskId(node.id.0);
        let state = self.disk_state.get(&disk).copied().unwrap_or(DiskState::Ok);
        let disk = message::DiskReport {
            disk: disk.0,
            state: state.into(),
            free: 1 << 40,
            total: 1 << 40,
            reason: String::new(),
            space: None,
        };
        let heartbeat = message::Heartbeat {
            cluster: 1,
            node: node.id.0,
            boot: node.boot.0,
            sequence: self.sequence,
            disks: vec![disk],
            replicas: held.values().cloned().collect(),
            ..Default::default()
        };
        self.detector.observe(self.now, &heartbeat);
    }

    pub(crate) fn inputs(&self) -> Inputs<'_> {
        Inputs {
            policy: &self.policy,
            state: &self.state,
            detector: &self.detector,
            now: self.now,
            date: self.date(),
            sense: crate::operation::Sense {
                contents: &self.contents,
                readings: &self.readings,
                random: self.now.0,
            },
        }
    }

    /// Plans from everything there is, and from what changed: both must be the same.
    pub(crate) fn plan(&self) -> Plan {
        let plan = plan(&self.inputs());
        assert_eq!(plan_on(&self.inputs(), &mut self.memory.borrow_mut()), plan);
        plan
    }

    /// Carries out a plan; nothing in it may be refused.
    pub(crate) fn carry_out(&mut self, plan: &Plan) {
        for command in &plan.commands {
            let outcome = self.state.apply(command);
            assert!(!matches!(outcome, Outcome::Refused(_)), "{command:?}: {outcome:?}");
            self.state.check().unwrap();
        }
    }

    /// Plans, carries out and lets the nodes follow, so many times.
    pub(crate) fn settle(&mut self, rounds: usize) {
        for _ in 0..rounds {
            let plan = self.plan();
            self.carry_out(&plan);
            self.beat(1);
        }
    }

    /// Three nodes and a volume of three replicas, settled.
    pub(crate) fn with_volume(zones: &[&str]) -> Bench {
        let mut bench = Bench::new(zones);
        bench.create("main", 3, 1);
        bench.settle(3);
        assert!(bench.plan().is_empty(), "{}", bench.plan());
        bench
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    fn replica(&mut self, node: u64, partition: u64) -> &mut message::ReplicaReport {
        let held = self.held.get_mut(&NodeId(node)).unwrap();
        held.values_mut().find(|replica| replica.partition == partition).unwrap()
    }
}

fn obey(
    held: &mut BTreeMap<ReplicaId, message::ReplicaReport>,
    node: NodeId,
    assignment: &message::Assignment,
) {
    for replica in &assignment.deletes {
        held.remove(&ReplicaId(*replica));
    }
    for configuration in &assignment.configurations {
        for member in configuration.members.iter().filter(|member| member.node == node.0) {
            let replica =
                held.entry(ReplicaId(member.replica)).or_insert_with(|| message::ReplicaReport {
                    replica: member.replica,
                    partition: configuration.partition,
                    disk: member.disk,
                    lease_expired: true,
                    proven: true,
                    state: ReplicaState::Ok.into(),
                    ..Default::default()
                });
            replica.epoch = configuration.epoch;
            replica.role = match () {
                () if configuration.leader == member.replica => Role::Leader,
                () if configuration.in_sync.contains(&member.replica) => Role::Follower,
                () => Role::CatchingUp,
            }
            .into();
        }
    }
}

#[test]
fn a_new_volume_is_spread_over_zones_and_leaders_over_nodes() {
    let mut bench = Bench::new(&["a", "a", "b", "b", "c", "c"]);
    bench.create("main", 3, 3);
    let plan = bench.plan();
    insta::assert_snapshot!(plan, @r"
    + v1: 4 partitions
        namespace [(n1, d1), (n3, d3), (n5, d5)]
        data      [(n2, d2), (n4, d4), (n6, d6)]
        data      [(n3, d3), (n1, d1), (n5, d5)]
        data      [(n4, d4), (n2, d2), (n6, d6)]
    ");
    bench.carry_out(&plan);
    assert!(bench.plan().is_empty(), "the nodes have not even heard of it");
    bench.beat(2);
    insta::assert_snapshot!(bench.plan(), @"= made: [(p1, r1), (p1, r2), (p1, r3), (p2, r4), (p2, r5), (p2, r6), (p3, r7), (p3, r8), (p3, r9), (p4, r10), (p4, r11), (p4, r12)]");
    bench.settle(1);
    assert!(bench.plan().is_empty());
}

#[test]
fn a_volume_waits_for_nodes_with_room() {
    let mut bench = Bench::new(&["", "", ""]);
    bench.disk_state.insert(DiskId(2), DiskState::Full);
    bench.beat(1);
    bench.create("main", 3, 1);
    insta::assert_snapshot!(bench.plan(), @"! v1 waits for 3 nodes with room for new replicas, there are 2");
    bench.disk_state.clear();
    bench.beat(1);
    assert_eq!(bench.plan().commands.len(), 1);
}

/// Beats after which a node has been silent for too long.
const SILENT_BEATS: usize = (types::limits::NODE_SILENCE_MAX.as_millis()
    / types::limits::HEARTBEAT_INTERVAL.as_millis()) as usize
    + 1;

#[test]
fn a_silent_leader_is_succeeded_after_its_time_and_when_leases_are_out() {
    let mut bench = Bench::with_volume(&["", "", ""]);
    let leader =
        bench.state.partitions[&PartitionId(1)].configuration.leader_member().unwrap().node;
    assert_eq!(leader, NodeId(1));
    bench.silent.insert(leader);
    for node in [2, 3] {
        for partition in [1, 2] {
            bench.replica(node, partition).lease_expired = false;
        }
    }
    bench.beat(SILENT_BEATS - 1);
    assert!(bench.plan().is_empty(), "it is not silent for long enough: {}", bench.plan());
    bench.beat(1);
    insta::assert_snapshot!(bench.plan(), @"! p1 has no leader: r1 on n1 is not heard of; r2 on n2 waits for its lease to the old leader to run out; r3 on n3 waits for its lease to the old leader to run out");
    bench.replica(3, 1).lease_expired = true;
    bench.beat(1);
    let plan = bench.plan();
    insta::assert_snapshot!(plan, @"~ p1 at e1: appoint r3");
    bench.carry_out(&plan);
    assert!(bench.plan().is_empty(), "one appointment is enough");
    let stale = bench.state.clone().apply(&plan.commands[0]);
    assert!(matches!(stale, Outcome::Refused(_)), "an old plan does nothing");
}

#[test]
fn a_new_member_believes_followers_that_miss_their_leader() {
    let mut bench = Bench::with_volume(&["", "", ""]);
    bench.silent.insert(NodeId(1));
    let at_once = |bench: &mut Bench| {
        bench.detector = Detector::new(bench.now);
        bench.beat(3);
        bench.plan().to_string()
    };
    // As long as one of them still hears from the leader, the wait is the usual one.
    bench.replica(3, 1).lease_expired = false;
    assert!(!at_once(&mut bench).contains("p1"));
    bench.replica(3, 1).lease_expired = true;
    bench.replica(3, 1).role = Role::Idle.into();
    assert!(!at_once(&mut bench).contains("p1"), "who has just started has missed nobody");
    bench.replica(3, 1).role = Role::Follower.into();
    bench.detector = Detector::new(bench.now);
    bench.beat(2);
    assert!(!bench.plan().to_string().contains("p1"), "some heartbeats are waited for");
    bench.beat(1);
    insta::assert_snapshot!(bench.plan(), @"~ p1 at e1: appoint r2");
}

#[test]
fn a_restarted_leader_is_succeeded_by_one_who_was_there() {
    let mut bench = Bench::with_volume(&["", "", ""]);
    let restarted = bench.replica(1, 1);
    restarted.role = Role::Idle.into();
    restarted.proven = false;
    bench.replica(2, 1).end = 7;
    bench.replica(3, 1).end = 9;
    bench.beat(1);
    insta::assert_snapshot!(bench.plan(), @"~ p1 at e1: appoint r3");
}

#[test]
fn after_a_restart_of_everything_all_are_heard_and_the_longest_log_leads() {
    let mut bench = Bench::with_volume(&["", "", ""]);
    for (node, (last_record_epoch, end)) in (1..).zip([(1, 8), (2, 5), (2, 4)]) {
        let replica = bench.replica(node, 1);
        replica.role = Role::Idle.into();
        replica.proven = false;
        (replica.last_record_epoch, replica.end) = (last_record_epoch, end);
    }
    bench.silent.insert(NodeId(3));
    bench.pass(bench.policy.silence_max);
    bench.beat(1);
    let waits = bench.plan().to_string();
    assert!(waits.contains("r3 on n3 is not heard of"), "{waits}");
    assert!(!waits.contains("p1 at e1: appoint"), "{waits}");
    bench.silent.clear();
    bench.beat(1);
    insta::assert_snapshot!(bench.plan(), @"~ p1 at e1: appoint r2");
}

#[test]
fn a_replica_that_was_away_for_long_is_made_anew_elsewhere() {
    let mut bench = Bench::with_volume(&["", "", "", ""]);
    let gone = NodeId(3);
    bench.silent.insert(gone);
    bench.beat(8);
    // Its leader notices first, and takes it out of the in-sync set.
    let configuration = bench.state.partitions[&PartitionId(1)].configuration.clone();
    let lost = configuration.member_on(gone).unwrap().replica;
    bench.state.apply(&Command::Configure {
        partition: PartitionId(1),
        expected: configuration.epoch,
        step: Step::Remove { by: configuration.leader.unwrap(), replica: lost },
        at: bench.date(),
    });
    bench.beat(2);
    assert!(!bench.plan().to_string().contains("p1"), "{}", bench.plan());
    bench.pass(bench.policy.replace_after);
    bench.beat(1);
    let steps = |bench: &Bench| -> Vec<String> {
        bench
            .plan()
            .to_string()
            .lines()
            .filter(|l| l.contains("p1 at"))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(steps(&bench), ["~ p1 at e2: suspend r3"]);
    bench.settle(1);
    assert!(steps(&bench).is_empty(), "the leader takes up the new epoch first");
    bench.beat(1);
    assert_eq!(steps(&bench), ["~ p1 at e3: add a replica on n4 d4"]);
    bench.settle(2);
    assert!(steps(&bench).is_empty(), "the old one is kept while the new one catches up");
    let configuration = bench.state.partitions[&PartitionId(1)].configuration.clone();
    let new = *configuration.catching_up.iter().next().unwrap();
    bench.state.apply(&Command::Configure {
        partition: PartitionId(1),
        expected: configuration.epoch,
        step: Step::Promote { by: configuration.leader.unwrap(), replica: new },
        at: bench.date(),
    });
    bench.beat(2);
    assert_eq!(steps(&bench), ["~ p1 at e5: discard r3"]);
    bench.settle(2);
    assert!(steps(&bench).is_empty());
    // When it comes back, it is deleted, and then forgotten.
    bench.silent.clear();
    bench.settle(6);
    assert!(bench.state.partitions[&PartitionId(1)].doomed.is_empty());
    assert!(!bench.held[&gone].contains_key(&lost));
}

#[test]
fn a_lost_replica_is_never_made_again_under_its_number() {
    let mut bench = Bench::with_volume(&["", "", ""]);
    let lost =
        bench.state.partitions[&PartitionId(1)].configuration.member_on(NodeId(2)).unwrap().replica;
    bench.held.get_mut(&NodeId(2)).unwrap().remove(&lost);
    bench.beat(2);
    assert!(!bench.held[&NodeId(2)].contains_key(&lost), "nobody told its node to make it");
    bench.settle(12);
    let configuration = &bench.state.partitions[&PartitionId(1)].configuration;
    assert!(configuration.member(lost).is_none());
    let new = configuration.member_on(NodeId(2)).unwrap().replica;
    assert!(new > lost && configuration.catching_up.contains(&new), "a new copy, a new number");
}

#[test]
fn a_deleted_volume_leaves_nothing_behind() {
    let mut bench = Bench::with_volume(&["", "", ""]);
    let volume = types::VolumeId(1);
    bench.silent.insert(NodeId(2));
    bench.state.apply(&Command::DeleteVolume { volume, at: bench.date(), grace_ms: 0 });
    bench.settle(5);
    assert_eq!(bench.state.volumes[&volume].state, VolumeState::Purging, "node 2 has not said so");
    assert_eq!(bench.state.partitions.len(), 2);
    bench.silent.clear();
    bench.settle(5);
    assert_eq!(bench.state.volumes[&volume].state, VolumeState::Deleted);
    assert!(bench.held.values().all(BTreeMap::is_empty));
    assert!(bench.state.partitions.is_empty());
}

#[test]
fn replicas_on_a_failed_disk_are_not_taken_for_deleted() {
    let mut bench = Bench::with_volume(&["", "", ""]);
    let kept = bench.held.insert(NodeId(2), BTreeMap::new()).unwrap();
    bench.disk_state.insert(DiskId(2), DiskState::Failed);
    bench.state.apply(&Command::DeleteVolume {
        volume: types::VolumeId(1),
        at: bench.date(),
        grace_ms: 0,
    });
    bench.settle(6);
    assert_eq!(bench.state.partitions.len(), 2, "a disk that is gone proves nothing");
    bench.disk_state.clear();
    bench.held.insert(NodeId(2), kept);
    bench.settle(5);
    assert!(bench.state.partitions.is_empty());
}

#[test]
fn a_replica_nobody_has_on_record_is_deleted_and_one_from_the_future_is_not() {
    let mut bench = Bench::with_volume(&["", "", ""]);
    let stray =
        |replica, partition| message::ReplicaReport { replica, partition, ..Default::default() };
    let held = bench.held.get_mut(&NodeId(1)).unwrap();
    // A stale leader of the control plane must not delete what a later one had made.
    for (replica, partition) in [(900, 1), (901, 77)] {
        held.insert(ReplicaId(replica), stray(replica, partition));
    }
    bench.state.counters.replica += 1;
    let known = bench.state.counters.replica;
    let held = bench.held.get_mut(&NodeId(1)).unwrap();
    held.insert(ReplicaId(known), stray(known, 1));
    bench.beat(1);
    let held: Vec<u64> = bench.held[&NodeId(1)].keys().map(|replica| replica.0).collect();
    assert!(held.contains(&900) && held.contains(&901) && !held.contains(&known), "{held:?}");
}

/// Found by the random clusters: a node fell silent before it made its replica, which became a
/// spare; when the node came back there was nothing to take back, and nothing was made instead.
#[test]
fn a_spare_that_was_never_made_is_not_waited_for() {
    let mut bench = Bench::new(&["", "", "", ""]);
    bench.create("main", 3, 1);
    let plan = bench.plan();
    bench.silent.insert(NodeId(3));
    bench.carry_out(&plan);
    bench.settle(8);
    let configuration = bench.state.partitions[&PartitionId(1)].configuration.clone();
    let (by, unmade) = (configuration.leader.unwrap(), configuration.member_on(NodeId(3)).unwrap());
    bench.state.apply(&Command::Configure {
        partition: PartitionId(1),
        expected: configuration.epoch,
        step: Step::Remove { by, replica: unmade.replica },
        at: bench.date(),
    });
    bench.silent.insert(NodeId(4));
    bench.pass(bench.policy.replace_after);
    bench.settle(4);
    assert!(bench.state.partitions[&PartitionId(1)].spare.contains_key(&unmade.replica));
    bench.silent.clear();
    bench.settle(12);
    let partition = &bench.state.partitions[&PartitionId(1)];
    assert_eq!(partition.configuration.members.len(), 3);
    assert!(partition.spare.is_empty());
}

/// A copy on a disk that is too small for it would catch up for ever.
#[test]
fn a_copy_that_is_behind_on_a_disk_that_stays_full_is_made_elsewhere() {
    use types::condition::{Evidence, Key, Observation, Owner, Reason, Stamp, State as Condition};
    let mut bench = Bench::with_volume(&["", "", "", ""]);
    let configuration = bench.state.partitions[&PartitionId(1)].configuration.clone();
    let small = configuration.member_on(NodeId(3)).unwrap().replica;
    bench.state.apply(&Command::Configure {
        partition: PartitionId(1),
        expected: configuration.epoch,
        step: Step::Remove { by: configuration.leader.unwrap(), replica: small },
        at: bench.date(),
    });
    let node = bench.state.nodes[&NodeId(3)].clone();
    let full = Observation {
        key: Key::space(DiskId(3)),
        by: Owner::Node(NodeId(3)),
        stamp: Stamp { life: node.life, sequence: 1 },
        state: Condition::Full,
        reason: Reason::WriteRefused,
        evidence: Evidence::WriteRefused { error: "no space left".into() },
        at: bench.date(),
    };
    bench.state.apply(&Command::Observe { observations: vec![full] });
    assert!(bench.state.conditions.is_full(DiskId(3)));
    bench.disk_state.insert(DiskId(3), DiskState::Full);
    let steps = |bench: &Bench| {
        let plan = bench.plan().to_string();
        plan.lines().filter(|l| l.contains("p1 at")).map(str::to_owned).collect::<Vec<_>>()
    };
    bench.beat(3);
    assert!(steps(&bench).is_empty(), "room may come back: {:?}", steps(&bench));
    bench.pass(bench.policy.replace_after);
    bench.beat(1);
    assert_eq!(steps(&bench), ["~ p1 at e2: suspend r3"]);
    bench.settle(1);
    bench.beat(1);
    assert_eq!(steps(&bench), ["~ p1 at e3: add a replica on n4 d4"]);
    bench.settle(2);
    assert!(steps(&bench).is_empty(), "it is not taken back meanwhile: {:?}", steps(&bench));
}
