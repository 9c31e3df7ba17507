//! Random clusters and random failures: whatever happens, the planner keeps its promises.

use super::tests::Bench;
use super::*;
use crate::operation::Act;
use crate::state::{Outcome, Step};
use proptest::prelude::*;
use std::collections::BTreeMap;
use types::{Epoch, PartitionId, ReplicaId};
use wire::control::{ReplicaState, Role};

/// Something that happens to a cluster. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Beat(u8),
    Silence(u8),
    Return(u8),
    /// A node's process restarts; `true` when it lost power and cannot prove its logs.
    Restart(u8, bool),
    /// A replica's files vanish.
    Lose(u8, u8),
    Fail(u8, u8),
    Recover(u8, u8),
    Disk(u8, u8),
    /// A leader removes a follower, or promotes one.
    Remove(u8, u8),
    Promote(u8, u8),
    Create(u8, u8),
    Delete(u8),
    Pass(u16),
    /// Another member of the control plane takes over, having heard nobody yet.
    Failover,
}

pub(crate) fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    prop_oneof![
        4 => (1..8u8).prop_map(Beat),
        2 => any::<u8>().prop_map(Silence),
        3 => any::<u8>().prop_map(Return),
        2 => any::<(u8, bool)>().prop_map(|(n, power)| Restart(n, power)),
        1 => any::<(u8, u8)>().prop_map(|(n, r)| Lose(n, r)),
        1 => any::<(u8, u8)>().prop_map(|(n, r)| Fail(n, r)),
        1 => any::<(u8, u8)>().prop_map(|(n, r)| Recover(n, r)),
        1 => any::<(u8, u8)>().prop_map(|(n, s)| Disk(n, s)),
        2 => any::<(u8, u8)>().prop_map(|(p, r)| Remove(p, r)),
        2 => any::<(u8, u8)>().prop_map(|(p, r)| Promote(p, r)),
        1 => any::<(u8, u8)>().prop_map(|(r, p)| Create(r, p)),
        1 => any::<u8>().prop_map(Delete),
        1 => (0..65_000u16).prop_map(Pass),
        1 => Just(Failover),
    ]
}

pub(crate) fn pick<T: Clone>(all: impl Iterator<Item = T>, index: u8) -> Option<T> {
    let all: Vec<T> = all.collect();
    (!all.is_empty()).then(|| all[usize::from(index) % all.len()].clone())
}

impl Bench {
    fn node(&self, index: u8) -> NodeId {
        pick(self.state.nodes.keys().copied(), index).expect("there are nodes")
    }

    pub(crate) fn happen(&mut self, happening: &Happening) {
        match *happening {
            Happening::Beat(times) => self.beat(usize::from(times)),
            Happening::Silence(n) => {
                self.silent.insert(self.node(n));
            }
            Happening::Return(n) => {
                self.silent.remove(&self.node(n));
            }
            Happening::Restart(n, power) => self.restart(self.node(n), power),
            Happening::Lose(n, r) => {
                let held = self.held.entry(self.node(n)).or_default();
                if let Some(replica) = pick(held.keys().copied(), r) {
                    held.remove(&replica);
                }
            }
            Happening::Fail(n, r) => self.set_state(n, r, ReplicaState::Failed),
            Happening::Recover(n, r) => self.set_state(n, r, ReplicaState::Ok),
            Happening::Disk(n, state) => {
                let states = [DiskState::Ok, DiskState::Low, DiskState::Full, DiskState::Failed];
                let state = states[usize::from(state) % states.len()];
                self.disk_state.insert(DiskId(self.node(n).0), state);
            }
            Happening::Remove(p, r) => self.leader_asks(p, r, true),
            Happening::Promote(p, r) => self.leader_asks(p, r, false),
            Happening::Create(replicas, partitions) => {
                let name = format!("v{}", self.state.counters.volume + 1);
                self.create(&name, replicas % 4 + 1, u16::from(partitions % 3) + 1);
            }
            Happening::Delete(v) => {
                if let Some(volume) = pick(self.state.volumes.keys().copied(), v) {
                    let at = self.date();
                    self.state.apply(&Command::DeleteVolume { volume, at, grace_ms: 0 });
                }
            }
            Happening::Pass(millis) => self.pass(Duration::from_millis(millis.into())),
            Happening::Failover => self.detector = Detector::new(self.now),
        }
    }

    fn restart(&mut self, node: NodeId, power: bool) {
        for replica in self.held.entry(node).or_default().values_mut() {
            replica.role = Role::Idle.into();
            replica.proven &= !power;
        }
    }

    fn set_state(&mut self, n: u8, r: u8, state: ReplicaState) {
        let held = self.held.entry(self.node(n)).or_default();
        if let Some(replica) = pick(held.keys().copied(), r) {
            held.get_mut(&replica).expect("picked from it").state = state.into();
        }
    }

    fn leader_asks(&mut self, p: u8, r: u8, remove: bool) {
        let Some(partition) = pick(self.state.partitions.values().cloned(), p) else { return };
        let configuration = partition.configuration;
        let Some(by) = configuration.leader else { return };
        let Some(member) = pick(configuration.members.iter(), r) else { return };
        let replica = member.replica;
        let step =
            if remove { Step::Remove { by, replica } } else { Step::Promote { by, replica } };
        let (partition, expected) = (configuration.partition, configuration.epoch);
        let at = self.date();
        self.state.apply(&Command::Configure { partition, expected, step, at });
    }

    /// What must be true of an appointment, looked up afresh.
    fn check_appointment(&self, partition: PartitionId, replica: ReplicaId) {
        let inputs = self.inputs();
        let configuration = &self.state.partitions[&partition].configuration;
        assert!(configuration.in_sync.contains(&replica), "who is appointed is in sync");
        let member = configuration.member(replica).unwrap();
        let report = inputs.replica(member).expect("who is appointed was heard of lately");
        assert!(report.lease_expired, "no lease to the old leader runs");
        assert_ne!(report.state, ReplicaState::Failed);
        if !report.proven {
            for other in &configuration.in_sync {
                let other = inputs.replica(configuration.member(*other).unwrap());
                let other = other.expect("everybody in sync was heard of");
                let rank = |r: &ReplicaReport| (r.last_record_epoch, r.end);
                assert!(rank(report) >= rank(other), "nobody knows more");
            }
        }
        if let Some(leader) = configuration.leader_member().and_then(|l| inputs.replica(l)) {
            let leads = leader.role == Role::Leader && leader.epoch == configuration.epoch;
            assert!(!leads || !leader.proven, "who leads stays");
        }
    }

    pub(crate) fn check_plan(&self, plan: &Plan) {
        let mut touched = std::collections::BTreeSet::new();
        for command in &plan.commands {
            let (partition, expected, step, by_operation) = match command {
                Command::Configure { partition, expected, step, .. } => {
                    (partition, expected, step, false)
                }
                Command::Operation(Act::Step { partition, expected, step, .. }) => {
                    (partition, expected, step, true)
                }
                _ => continue,
            };
            assert!(touched.insert(*partition), "one step at a time");
            let record = &self.state.partitions[partition];
            assert_eq!(*expected, record.configuration.epoch);
            assert!(!record.deleted);
            match step {
                Step::Appoint { replica } if by_operation => {
                    assert!(record.configuration.in_sync.contains(replica));
                }
                Step::Appoint { replica } => self.check_appointment(*partition, *replica),
                Step::Remove { .. } | Step::Promote { .. } => {
                    panic!("only a leader removes and promotes")
                }
                Step::Add { node, .. } => {
                    let mut holders = record.holders();
                    assert!(holders.all(|member| member.node != *node), "one node, one replica");
                    assert!(self.inputs().fresh(*node).is_some());
                }
                _ => {}
            }
        }
    }
}

fn epochs(state: &State) -> BTreeMap<PartitionId, Epoch> {
    state.partitions.iter().map(|(id, p)| (*id, p.configuration.epoch)).collect()
}

proptest! {
    #[test]
    fn whatever_happens_the_planner_keeps_its_promises(
        nodes in 1..7usize,
        happenings in prop::collection::vec(happening(), 1..60),
    ) {
        let zones = ["a", "b", "c", "a", "b", "c"];
        let mut bench = Bench::new(&zones[..nodes]);
        bench.create("first", u8::try_from(nodes.min(3)).unwrap(), 2);
        let mut doomed = std::collections::BTreeSet::new();
        for happening in &happenings {
            bench.happen(happening);
            let before = epochs(&bench.state);
            let plan = bench.plan();
            prop_assert_eq!(&bench.plan(), &plan, "the same inputs, the same plan");
            bench.check_plan(&plan);
            bench.carry_out(&plan);
            for (partition, epoch) in epochs(&bench.state) {
                let before = before.get(&partition).copied().unwrap_or(Epoch::ZERO);
                prop_assert!(epoch == before || epoch == before.next());
            }
            for partition in bench.state.partitions.values() {
                for replica in partition.configuration.members.iter().filter(|_| !partition.deleted) {
                    prop_assert!(!doomed.contains(&replica.replica), "what is doomed stays so");
                }
                doomed.extend(partition.doomed.keys().copied());
            }
            for command in &plan.commands {
                if let Command::Configure { step, .. } = command
                    && !matches!(step, Step::Discard { .. })
                {
                    let stale = bench.state.clone().apply(command);
                    prop_assert!(matches!(stale, Outcome::Refused(_)), "an old plan does nothing");
                }
            }
        }
    }

    #[test]
    fn when_failures_end_the_planner_comes_to_rest(
        happenings in prop::collection::vec(happening(), 1..30),
    ) {
        let mut bench = Bench::new(&["a", "b", "c", "d"]);
        bench.create("first", 3, 2);
        for happening in &happenings {
            bench.happen(happening);
            let plan = bench.plan();
            bench.carry_out(&plan);
        }
        // Everybody is back and well, and leaders do their part.
        bench.silent.clear();
        bench.disk_state.clear();
        for replica in bench.held.values_mut().flat_map(BTreeMap::values_mut) {
            replica.state = ReplicaState::Ok.into();
            replica.proven = true;
        }
        for _ in 0..12 {
            bench.beat(3);
            bench.pass(bench.policy.readmit_after);
            bench.settle(4);
            for p in 0..u8::try_from(bench.state.partitions.len()).unwrap() {
                for r in 0..4 {
                    bench.leader_asks(p, r, false);
                }
            }
        }
        bench.settle(8);
        prop_assert!(bench.plan().is_empty(), "still planning: {}", bench.plan());
        for partition in bench.inputs().live_partitions() {
            // When every copy that had everything is lost, nobody can bring the partition back.
            let survives = |replica: &ReplicaId| bench.held.values().any(|h| h.contains_key(replica));
            if !partition.configuration.in_sync.iter().any(survives) {
                continue;
            }
            let wanted = bench.state.volumes[&partition.configuration.volume].replicas;
            prop_assert_eq!(partition.configuration.in_sync.len(), usize::from(wanted));
        }
    }
}
