//! Random clusters, random trouble, random orders: whatever happens, operations keep their promises.

use super::command::{Act, Order};
use super::kind::{self, Area};
use super::record::{Limits, Operation};
use crate::plan::Plan;
use crate::plan::property::{Happening, happening, pick};
use crate::plan::tests::Bench;
use crate::state::{Command, Outcome, Step};
use proptest::prelude::*;
use std::collections::BTreeMap;
use types::operation::{OperationKind, OperationState, Reason, Target};
use types::{NodeId, OperationId, PartitionId, ReplicaId};
use wire::control::ReplicaState;

/// Something that happens to a cluster, or that somebody asks of it.
#[derive(Clone, Debug)]
enum Event {
    Trouble(Happening),
    /// Kind, target, and whether with force.
    Start(u8, u8, bool),
    Order(u8, u8),
    Recommission(u8),
    /// Leaders promote whoever has caught up.
    Promote,
    /// A node holds a folder that nobody knows of any more.
    Stray(u8, u8),
    /// A partition has so much in it.
    Write(u8, u8),
    /// A partition is damaged, or its replicas differ, or it is well again.
    Unwell(u8, u8),
    /// The folders of a disk cannot be read, or can be again.
    Unread(u8, bool),
    /// A volume is to be deleted after so many seconds, or is not any more.
    Delete(u8, u8),
    Restore(u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => happening().prop_map(Event::Trouble),
        2 => any::<(u8, u8, bool)>().prop_map(|(k, t, f)| Event::Start(k, t, f)),
        2 => any::<(u8, u8)>().prop_map(|(o, w)| Event::Order(o, w)),
        1 => any::<u8>().prop_map(Event::Recommission),
        6 => Just(Event::Promote),
        1 => any::<(u8, u8)>().prop_map(|(n, r)| Event::Stray(n, r)),
        3 => any::<(u8, u8)>().prop_map(|(p, b)| Event::Write(p, b)),
        1 => any::<(u8, bool)>().prop_map(|(n, unread)| Event::Unread(n, unread)),
        1 => any::<(u8, u8)>().prop_map(|(p, how)| Event::Unwell(p, how)),
        1 => any::<(u8, u8)>().prop_map(|(v, grace)| Event::Delete(v, grace)),
        1 => any::<u8>().prop_map(Event::Restore),
    ]
}

impl Bench {
    fn any_node(&self, index: u8) -> NodeId {
        pick(self.state.nodes.keys().copied(), index).expect("there are nodes")
    }

    fn meet(&mut self, event: &Event) {
        match event {
            Event::Trouble(happening) => self.happen(happening),
            Event::Start(kind, which, force) => {
                self.begin(*kind, *which, *force);
            }
            Event::Order(which, order) => {
                let orders = [Order::Pause, Order::Resume, Order::Cancel, Order::Retry];
                if let Some(id) = pick(self.state.operations.all.keys().copied(), *which) {
                    self.order(id, orders[usize::from(*order) % orders.len()]);
                }
            }
            Event::Recommission(which) => {
                let (node, by, at) = (self.any_node(*which), "test".to_owned(), self.date());
                self.state.apply(&Command::Operation(Act::Recommission { node, by, at }));
            }
            Event::Promote => self.promote_all(),
            Event::Stray(which, replica) => self.stray(self.any_node(*which), *replica),
            Event::Write(which, bytes) => {
                if let Some(id) = pick(self.state.partitions.keys().copied(), *which) {
                    self.fill(id, Some(u64::from(*bytes) << 30));
                }
            }
            Event::Unwell(which, how) => {
                let Some(id) = pick(self.state.partitions.keys().copied(), *which) else { return };
                match how % 3 {
                    0 => self.unwell.insert(id, Reason::Damaged),
                    1 => self.unwell.insert(id, Reason::Differs),
                    _ => self.unwell.remove(&id),
                };
            }
            Event::Delete(which, grace) => self.delete(*which, *grace),
            Event::Restore(which) => self.restore(*which),
            Event::Unread(which, unread) => {
                let disk = types::DiskId(self.any_node(*which).0);
                if *unread {
                    self.unread.insert(disk)
                } else {
                    self.unread.remove(&disk)
                };
            }
        }
    }

    fn delete(&mut self, which: u8, grace: u8) {
        if let Some(volume) = pick(self.state.volumes.keys().copied(), which) {
            let (at, grace_ms) = (self.date(), u64::from(grace % 64) * 1000);
            self.state.apply(&Command::DeleteVolume { volume, at, grace_ms });
        }
    }

    fn restore(&mut self, which: u8) {
        if let Some(volume) = pick(self.state.volumes.keys().copied(), which) {
            let at = self.date();
            self.state.apply(&Command::UndeleteVolume { volume, at });
        }
    }

    /// Asks for an operation of some kind.
    fn begin(&mut self, kind: u8, which: u8, force: bool) {
        let node = self.any_node(which);
        if kind % 8 == 5 {
            return self.expand(which);
        }
        let zone = || Target::Zone(self.state.nodes[&node].zone.clone());
        let (kind, target) = match kind % 8 {
            0 => (OperationKind::Decommission, Target::Node(node)),
            1 => (OperationKind::Decommission, Target::Disk(types::DiskId(node.0))),
            2 => (OperationKind::Decommission, zone()),
            3 => (OperationKind::Rebalance, Target::Cluster),
            6 => (OperationKind::Scrub, Target::Cluster),
            7 => (OperationKind::Scrub, Target::Node(node)),
            _ => (OperationKind::Drain, Target::Node(node)),
        };
        let limits = Limits { moves_per_disk: 1, moves_per_node: 1, moves: 2, ..Limits::default() };
        self.start_limited(kind, target, force, limits);
    }

    /// Asks for one more replica of a volume than it has, up to five.
    fn expand(&mut self, which: u8) {
        let Some(volume) = pick(self.state.volumes.values().cloned(), which) else { return };
        let (kind, target) = (OperationKind::Expand, Target::Volume(volume.id));
        let limits = Limits { moves_per_disk: 1, moves_per_node: 1, moves: 2, ..Limits::default() };
        let (by, priority, force, at) = ("test".to_owned(), 0, false, self.date());
        let to = (volume.replicas + 1).min(5);
        let replicas = Some(super::record::Replicas { from: 0, to });
        let start = Act::Start { kind, target, by, limits, priority, force, at, replicas };
        self.state.apply(&Command::Operation(start));
    }

    fn stray(&mut self, node: NodeId, index: u8) {
        let highest = self.state.counters.replica.max(1);
        let replica = u64::from(index) % highest + 1;
        let on_record = self.state.partitions.values().flat_map(|p| p.holders());
        if on_record.into_iter().any(|member| member.replica == ReplicaId(replica)) {
            return;
        }
        let report = wire::control::ReplicaReport {
            replica,
            partition: 1,
            disk: node.0,
            state: ReplicaState::Ok.into(),
            ..Default::default()
        };
        self.held.entry(node).or_default().insert(ReplicaId(replica), report);
    }

    /// What steps of operations must not do, looked up afresh.
    fn check_steps(&self, plan: &Plan) {
        for command in &plan.commands {
            let Command::Operation(Act::Step { operation, partition, step, .. }) = command else {
                continue;
            };
            let record = &self.state.partitions[partition];
            let configuration = &record.configuration;
            let wanted = usize::from(self.state.volumes[&configuration.volume].replicas);
            let operation = self.operation(*operation);
            assert!(operation.state.is_at_work());
            if let Step::Suspend { replica } = step
                && configuration.in_sync.contains(replica)
            {
                let after = configuration.in_sync.len() - 1;
                let min = usize::from(configuration.in_sync_min);
                let floor = if operation.force { min.min(wanted) } else { wanted };
                assert!(after >= floor.max(1), "{after} in sync, {floor} are due");
            }
            if let Step::Add { node, disk } = step {
                assert_eq!(self.state.operations.duty(*node, *disk), None);
            }
        }
    }

    /// Who says *succeeded* has nothing on its target, by the record and by the last word of its nodes.
    fn check_verdicts(&self, before: &BTreeMap<OperationId, OperationState>) {
        for operation in self.state.operations.all.values() {
            if operation.state != OperationState::Succeeded {
                continue;
            }
            let is_new = before.get(&operation.id) != Some(&OperationState::Succeeded);
            let duties = self.state.operations.nodes.values();
            let mut duties = duties.chain(self.state.operations.disks.values());
            if is_new || duties.any(|duty| duty.operation == operation.id) {
                let left = (kind::of(operation.kind).on_record)(&self.state, operation);
                // A leader may come back to a drained node by election, and is moved off again.
                let back = operation.kind == OperationKind::Drain && !is_new;
                // What has enough may lose some in the same round, where force was asked for.
                let forced = self.state.operations.all.values().any(|o| o.force);
                let back = back || (operation.kind == OperationKind::Expand && forced);
                // What comes to its target later was not there to be read, or lost.
                let later = [OperationKind::Scrub, OperationKind::Repair];
                let back = back || later.contains(&operation.kind);
                assert!(left == 0 || back, "{left} left of {operation:#?}");
            }
            if is_new && operation.kind == OperationKind::Decommission {
                self.check_listed(operation);
            }
        }
    }

    fn check_listed(&self, operation: &Operation) {
        let area = Area::of(&self.state, operation);
        let inputs = self.inputs();
        for node in area.nodes(&self.state) {
            if let Some(report) = inputs.fresh(node) {
                let here = report.replicas.values().filter(|r| area.is_at(node, r.disk));
                let left = here.filter(|r| !inputs.has_failed(r.disk)).count();
                assert_eq!(left, 0, "{node:?} still lists something");
            }
            let evidence = operation.evidence.as_ref().expect("a verdict has evidence");
            assert!(evidence.witnesses.iter().any(|w| w.node == node && w.found == 0));
            assert_eq!(kind::unseen(&self.state, operation, evidence), []);
        }
    }

    fn round(&mut self) {
        let before: BTreeMap<OperationId, OperationState> =
            self.state.operations.all.iter().map(|(id, o)| (*id, o.state)).collect();
        let plan = self.plan();
        assert_eq!(self.plan(), plan, "the same inputs, the same plan");
        self.check_plan(&plan);
        self.check_steps(&plan);
        self.carry_out(&plan);
        self.answer(&plan);
        self.check_verdicts(&before);
        for command in &plan.commands {
            if let Command::Operation(Act::Step { step, .. }) = command
                && !matches!(step, Step::Discard { .. })
            {
                let stale = self.state.clone().apply(command);
                assert!(matches!(stale, Outcome::Refused(_)), "an old plan does nothing");
            }
        }
    }

    /// Everybody is back and well, and leaders do their part.
    fn heal(&mut self) {
        self.silent.clear();
        self.disk_state.clear();
        self.unread.clear();
        self.unwell.clear();
        for replica in self.held.values_mut().flat_map(BTreeMap::values_mut) {
            replica.state = ReplicaState::Ok.into();
            replica.proven = true;
        }
        for round in 0..160 {
            let settled =
                |o: &Operation| o.state.has_ended() || o.state == OperationState::Incomplete;
            // Locks of operations that cannot go on run out.
            let locked = self
                .state
                .operations
                .all
                .values()
                .any(|o| o.residue().any(|(_, _, residue)| residue.reason == Reason::Locked));
            if self.plan().is_empty()
                && !locked
                && self.state.operations.all.values().all(settled)
                && round > 30
            {
                return;
            }
            self.round();
            self.beat(2);
            self.promote_all();
            if round % 5 == 0 {
                self.pass(self.policy.readmit_after);
                self.beat(3);
            }
        }
    }

    /// Partitions of which a good copy survives somewhere.
    fn survives(&self, partition: PartitionId) -> bool {
        let in_sync = &self.state.partitions[&partition].configuration.in_sync;
        in_sync.iter().any(|replica| self.held.values().any(|held| held.contains_key(replica)))
    }
}

/// Whether it is right that an operation is not done although nothing goes wrong any more.
fn is_stuck_rightly(bench: &Bench, operation: &Operation) -> bool {
    let lasting = |reason: Reason| {
        matches!(reason, Reason::NoTarget | Reason::OutOfSpace | Reason::UnderReplicated)
    };
    // What nobody can do anything about has a name.
    operation.residue().next().is_some()
        && operation.residue().all(|(partition, _, residue)| {
            // A partition that is lost has nobody who leads, and nothing that could be copied.
            lasting(residue.reason)
            || bench.state.partitions.get(&partition).is_none_or(|_| !bench.survives(partition))
            // Kept because too few others are in sync, and no place to make any.
            || residue.reason == Reason::Repairing
        })
}

/// A cluster with a volume, after all that happened to it.
fn after(zones: &[&str], events: &[Event]) -> Bench {
    let mut bench = Bench::new(zones);
    bench.create("first", 3, 3);
    bench.settle(3);
    for event in events {
        bench.meet(event);
        bench.round();
    }
    bench
}

/// So many cases as `PROPTEST_CASES` asks for, or 96.
fn cases() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(asked.unwrap_or(96)) }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn whatever_happens_operations_keep_their_promises(
        nodes in 3..8usize,
        events in prop::collection::vec(event(), 1..80),
    ) {
        let zones = ["a", "b", "c", "a", "b", "c", "d"];
        after(&zones[..nodes], &events);
    }

    #[test]
    fn when_trouble_ends_operations_end(
        events in prop::collection::vec(event(), 1..50),
    ) {
        let mut bench = after(&["a", "b", "c", "d", "a", "b"], &events);
        let paused: Vec<OperationId> = bench.state.operations.all.values()
            .filter(|o| o.state == OperationState::Paused).map(|o| o.id).collect();
        for id in paused {
            bench.order(id, Order::Resume);
        }
        bench.heal();
        for operation in bench.state.operations.all.values() {
            let ends = operation.state.has_ended()
                || (operation.state == OperationState::Incomplete && is_stuck_rightly(&bench, operation));
            prop_assert!(ends, "{operation:#?}\n{}\n{:?}", bench.plan(), bench.plan().rounds);
        }
    }

    #[test]
    fn what_is_cancelled_leaves_everything_in_order(
        events in prop::collection::vec(event(), 1..50),
    ) {
        let mut bench = after(&["a", "b", "c", "d", "a", "b"], &events);
        for id in bench.state.operations.all.keys().copied().collect::<Vec<_>>() {
            bench.order(id, Order::Cancel);
        }
        for node in bench.state.nodes.keys().copied().collect::<Vec<_>>() {
            let (by, at) = ("test".to_owned(), bench.date());
            bench.state.apply(&Command::Operation(Act::Recommission { node, by, at }));
        }
        let disks: Vec<_> = bench.state.operations.disks.keys().copied().collect();
        for disk in disks {
            // A disk that left for good stays so.
            prop_assert!(bench.state.operations.all[&bench.state.operations.disks[&disk].operation].state.has_ended());
        }
        bench.heal();
        prop_assert!(bench.plan().is_empty(), "still planning: {}", bench.plan());
        let free = bench.state.nodes.len() - bench.state.operations.disks.len();
        for partition in bench.inputs().live_partitions() {
            let id = partition.configuration.partition;
            let wanted = usize::from(bench.state.volumes[&partition.configuration.volume].replicas);
            if bench.survives(id) && free > wanted {
                prop_assert_eq!(partition.configuration.in_sync.len(), wanted);
                prop_assert_eq!(partition.configuration.members.len(), wanted);
            }
        }
        prop_assert!(bench.state.operations.locks.is_empty());
    }
}
