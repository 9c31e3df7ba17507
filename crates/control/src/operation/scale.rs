//! How planning grows: the decommission of one rack of a thousand nodes.
//!
//! `cargo xtask bench planner` runs the large ones and prints the table of docs/performance.md.

use super::Sense;
use super::preview::{Preview, Wanted, plan_all};
use super::record::Limits;
use super::scene::Finding;
use crate::detect::Detector;
use crate::operation::Act;
use crate::plan::{Inputs, Memory, Plan, Policy, plan_on};
use crate::state::command::{DiskOffer, Placement, VolumeSpec};
use crate::state::{Command, Outcome, State, Step};
use std::time::Duration;
use types::configuration::PartitionKind;
use types::operation::{OperationKind, Target};
use types::volume::{Durability, VolumeKind};
use types::{BootId, ClusterId, DiskId, Moment, NodeId, Timestamp, VolumeId};
use wire::control::{self as message, DiskState, ReplicaState, Role};

const RACKS: u64 = 20;
const DISK_BYTES: u64 = 64 << 40;
const AT: Timestamp = Timestamp(1_000_000_000);

/// A cluster of `nodes` nodes, one disk each, in racks.
pub(crate) struct Fleet {
    nodes: u64,
    pub(crate) state: State,
    detector: Detector,
}

impl Fleet {
    /// With so many partitions of three replicas.
    pub(crate) fn new(nodes: u64, partitions: u64) -> Fleet {
        let mut state = State::default();
        state.apply(&Command::Initialize { cluster: ClusterId(1) });
        for identity in 1..=nodes {
            let disk = DiskOffer { identity, label: "/disk".into(), capacity: DISK_BYTES };
            state.apply(&Command::Join {
                identity,
                boot: BootId(identity),
                address: format!("node-{identity}:1"),
                zone: format!("rack-{}", (identity - 1) % RACKS),
                disks: vec![disk],
                at: AT,
            });
        }
        let mut fleet = Fleet { nodes, state, detector: Detector::new(Moment(0)) };
        let mut made = 0;
        while made < partitions {
            let count = (partitions - made).min(60_000);
            fleet.volume(made, count);
            made += count;
        }
        fleet.beat();
        fleet.confirm();
        fleet
    }

    /// All replicas were seen to be there, long ago.
    fn confirm(&mut self) {
        let seen = |p: &crate::state::Partition| {
            let id = p.configuration.partition;
            p.configuration.members.iter().map(move |m| (id, m.replica)).collect::<Vec<_>>()
        };
        let made = self.state.partitions.values().flat_map(seen).collect();
        self.state.apply(&Command::Confirm { made });
    }

    fn volume(&mut self, first: u64, count: u64) {
        let spec = VolumeSpec {
            name: format!("volume-{first}"),
            kind: VolumeKind::File,
            replicas: 3,
            in_sync_min: 2,
            capacity: 1 << 50,
            durability: Durability::Replicated,
            data_partitions: u16::try_from(count).unwrap(),
        };
        self.state.apply(&Command::CreateVolume { spec, at: AT });
        let volume = VolumeId(self.state.counters.volume);
        let placements = (first..first + count).map(|index| self.placement(index)).collect();
        let placed = Command::PlacePartitions { volume, placements };
        assert_eq!(self.state.apply(&placed), Outcome::Done);
    }

    /// Three racks apart, and evenly over the nodes of each.
    fn placement(&self, index: u64) -> Placement {
        let in_rack = self.nodes / RACKS;
        let place = |copy: u64| {
            let rack = (index + copy * 7) % RACKS;
            let within = (index / RACKS + copy * 11) % in_rack;
            let node = within * RACKS + rack + 1;
            (NodeId(node), DiskId(node))
        };
        Placement { kind: PartitionKind::Data, replicas: (0..3).map(place).collect() }
    }

    fn beat(&mut self) {
        for heartbeat in self.reports() {
            self.detector.observe(Moment(1), &heartbeat);
        }
    }

    /// What everybody has: partitions of 512 MiB to 1.5 GiB.
    pub(crate) fn reports(&self) -> Vec<message::Heartbeat> {
        let mut replicas = vec![Vec::new(); usize::try_from(self.nodes).unwrap() + 1];
        for partition in self.state.partitions.values() {
            let configuration = &partition.configuration;
            for member in &configuration.members {
                let leads = configuration.leader == Some(member.replica);
                let role = if leads { Role::Leader } else { Role::Follower };
                replicas[usize::try_from(member.node.0).unwrap()].push(message::ReplicaReport {
                    replica: member.replica.0,
                    partition: configuration.partition.0,
                    disk: member.disk.0,
                    role: role.into(),
                    epoch: configuration.epoch.0,
                    proven: true,
                    state: ReplicaState::Ok.into(),
                    bytes: (512 + configuration.partition.0 * 7919 % 1024) << 20,
                    ..Default::default()
                });
            }
        }
        let heartbeat = |(node, replicas): (u64, Vec<message::ReplicaReport>)| {
            let disk = message::DiskReport {
                disk: node,
                state: DiskState::Ok.into(),
                free: DISK_BYTES / 2,
                total: DISK_BYTES,
                ..Default::default()
            };
            let disks = vec![disk];
            let (cluster, boot, sequence) = (1, node, 1);
            message::Heartbeat {
                cluster,
                node,
                boot,
                sequence,
                disks,
                replicas,
                ..Default::default()
            }
        };
        (0..).zip(replicas).skip(1).map(heartbeat).collect()
    }

    fn inputs<'a>(&'a self, policy: &'a Policy) -> Inputs<'a> {
        Inputs {
            policy,
            state: &self.state,
            detector: &self.detector,
            now: Moment(2),
            date: AT,
            sense: Sense::blank(),
        }
    }

    /// Plans the decommission of one rack, as a dry run does.
    fn plan(&self) -> (Duration, Preview) {
        let policy = Policy::default();
        let inputs = self.inputs(&policy);
        let target = rack();
        let (kind, limits) = (OperationKind::Decommission, Limits::default());
        let wanted = Wanted { kind, target: &target, force: false, limits, replicas: None };
        let begun = processor_time();
        let (_, preview) = plan_all(&inputs, self.state.sketch(), &wanted).unwrap();
        (processor_time().saturating_sub(begun), preview)
    }

    /// One round, carried out; how long the planning took.
    fn round(&mut self, memory: &mut Memory) -> (Duration, Plan) {
        let policy = Policy::default();
        let begun = processor_time();
        let plan = plan_on(&self.inputs(&policy), memory);
        let took = processor_time().saturating_sub(begun);
        for command in &plan.commands {
            let outcome = self.state.apply(command);
            assert!(!matches!(outcome, Outcome::Refused(_)), "{command:?}: {outcome:?}");
        }
        (took, plan)
    }

    /// What rounds cost: the first of a new leader, one in which nothing changed, the one that takes up a
    /// decommission of a rack, and one in the midst of it.
    fn rounds(&mut self) -> [Duration; 4] {
        let mut memory = Memory::default();
        let (first, plan) = self.round(&mut memory);
        assert!(plan.is_empty(), "all is well: {} commands", plan.commands.len());
        let (idle, _) = self.round(&mut memory);
        let (kind, target) = (OperationKind::Decommission, rack());
        let (by, limits, at) = (String::new(), Limits::default(), AT);
        let (priority, force, replicas) = (0, false, None);
        let start = Act::Start { kind, target, by, limits, priority, force, at, replicas };
        assert!(matches!(self.state.apply(&Command::Operation(start)), Outcome::Operation(_)));
        let (begins, _) = self.round(&mut memory);
        self.round(&mut memory);
        let (midst, _) = self.round(&mut memory);
        [first, idle, begins, midst]
    }
}

fn rack() -> Target {
    Target::Zone("rack-0".to_owned())
}

/// Processor time of this thread: what others do meanwhile does not count.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("the kernel counts it"))
}

/// Bytes of this process, at most so far.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) << 10
}

/// What planning took, and how well it did.
struct Measured {
    took: Duration,
    rounds: [Duration; 4],
    moves: usize,
    /// Replicas that have to move.
    least: usize,
    /// How much fuller the fullest disk would be than the emptiest, in thousandths.
    spread: u64,
}

/// Plans, and checks where everything goes.
fn measure(nodes: u64, partitions: u64) -> Measured {
    let mut fleet = Fleet::new(nodes, partitions);
    let (took, preview) = fleet.plan();
    let zone = |node: NodeId| fleet.state.nodes[&node].zone.as_str();
    let holders = fleet.state.partitions.values().flat_map(|p| p.holders());
    let least = holders.filter(|member| zone(member.node) == "rack-0").count();
    for (partition, _, finding) in &preview.steps {
        let Finding::Step(Step::Add { node, .. }) = finding else { panic!("{finding:?}") };
        let members = &fleet.state.partitions[partition].configuration.members;
        let shared = members.iter().any(|member| zone(member.node) == zone(*node));
        assert!(!shared, "not within the rack, and no two replicas in one");
    }
    let (emptiest, fullest) = preview.spread.unwrap();
    let spread = (fullest - emptiest) * 1_000 / fullest.max(1);
    let moves = preview.steps.len();
    let rounds = fleet.rounds();
    Measured { took, rounds, moves, least, spread }
}

#[test]
fn a_rack_is_planned_with_as_few_moves_as_there_can_be_and_stays_even() {
    let measured = measure(200, 10_000);
    assert_eq!((measured.moves, measured.least), (1_500, 1_500));
    assert!(measured.spread <= 50, "{} thousandths", measured.spread);
}

#[test]
#[ignore = "takes gigabytes: cargo xtask bench planner"]
fn print_how_planning_grows() {
    println!(
        "| partitions | moves | least | dry run | memory | spread | first | idle | begins | midst |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for partitions in [1_000, 10_000, 100_000, 1_000_000] {
        let Measured { took, rounds, moves, least, spread } = measure(1_000, partitions);
        let (millis, mib) = (took.as_millis(), memory() >> 20);
        let (whole, tenth) = (spread / 10, spread % 10);
        let rounds = rounds.map(|round| format!("{:.1} ms", round.as_secs_f64() * 1e3)).join(" | ");
        println!(
            "| {partitions} | {moves} | {least} | {millis} ms | {mib} MiB | {whole}.{tenth} % | {rounds} |"
        );
    }
}
