//! Makes anew what was lost, and brings up what is behind. Shows what mending does, and ends in a verdict like
//! everything else; mending itself ([`crate::plan::mend`]) waits for nobody's operation.
//!
//! It begins by itself when a replica is made anew, one for the whole cluster at a time, and has to do with every
//! partition that lacks replicas in sync until none does. A replica that was away for a moment and comes back
//! begins none.

use super::{Job, Kind, NOTHING_ELSE};
use crate::operation::command::Act;
use crate::operation::record::{Limits, Operation};
use crate::operation::scene::{Finding, Scene};
use crate::state::{Command, Partition, Refusal, State, Step};
use std::collections::BTreeMap;
use types::operation::{LockKind, OperationKind, Reason, Target};
use types::{PartitionId, Timestamp};

pub(super) static KIND: Kind = Kind {
    takes: |target| matches!(target, Target::Cluster),
    // Mending takes no lock and waits for none.
    lock: LockKind::Lead,
    remaining,
    step,
    on_record,
    bound: |_, _, _| {
        Err(Refusal::contradicts("a repair cannot be stopped: redundancy comes first"))
    },
    ..NOTHING_ELSE
};

/// What mending has to do with: what lacks replicas in sync that are not an operation's to make.
fn lacking(state: &State) -> impl Iterator<Item = &Partition> {
    let expanding = state.operations.expanding();
    state.partitions.values().filter(move |partition| {
        let configuration = &partition.configuration;
        let volume = state.volumes.get(&configuration.volume).filter(|_| !partition.deleted);
        let wanted = volume
            .map_or(0, |volume| expanding.get(&volume.id).copied().unwrap_or(volume.replicas));
        configuration.in_sync.len() < usize::from(wanted)
    })
}

fn remaining(scene: &Scene<'_>, _: &Operation) -> BTreeMap<PartitionId, Job> {
    let job = |partition: &Partition| {
        let members = partition.configuration.in_sync.iter();
        let members = members.filter_map(|id| partition.configuration.member(*id));
        let bytes = members.map(|member| scene.bytes(partition, member)).max().unwrap_or(0);
        (partition.configuration.partition, Job::of(bytes))
    };
    lacking(scene.inputs.state).map(job).collect()
}

fn step(scene: &mut Scene<'_>, _: &Operation, id: PartitionId, _: &Job) -> Finding {
    let Some(partition) = scene.inputs.state.partitions.get(&id) else { return Finding::Underway };
    if scene.touched.contains(&id) {
        return Finding::Underway;
    }
    if let Some(leaderless) = scene.leaderless(id) {
        return leaderless;
    }
    let configuration = &partition.configuration;
    let behind = configuration.catching_up.iter().filter_map(|id| configuration.member(*id));
    let mut behind = behind.peekable();
    if behind.peek().is_some() {
        let silent = behind.find(|member| scene.inputs.is_silent(member.node));
        return silent.map_or(Finding::Underway, |member| {
            let detail = format!("{:?}, which has {:?}, is silent", member.node, member.replica);
            Finding::left(Reason::Unreachable, detail)
        });
    }
    if scene.come_back(partition).next().is_some() {
        return Finding::Underway;
    }
    if scene.places.choose(scene.inputs, partition, 0, |_, _| true).is_some() {
        return Finding::Underway;
    }
    let (reason, detail) = scene.places.why_none(scene.inputs, partition);
    Finding::left(reason, detail)
}

fn on_record(state: &State, _: &Operation) -> u64 {
    lacking(state).count() as u64
}

/// Begins one when the plan makes a replica anew, unless one is going on.
pub(super) fn begin(state: &State, plan: &[Command], at: Timestamp) -> Option<Act> {
    let is_made =
        |command: &Command| matches!(command, Command::Configure { step: Step::Add { .. }, .. });
    let (kind, target) = (OperationKind::Repair, Target::Cluster);
    if !plan.iter().any(is_made) || state.operations.at_work_on(kind, &target).is_some() {
        return None;
    }
    let (by, limits) = ("the control plane".to_owned(), Limits::default());
    let (priority, force, replicas) = (0, false, None);
    Some(Act::Start { kind, target, by, limits, priority, force, at, replicas })
}

#[cfg(test)]
mod tests {
    use crate::plan::tests::Bench;
    use types::operation::{OperationKind, OperationState, Reason};
    use types::{NodeId, OperationId};

    const ID: OperationId = OperationId(1);

    fn bench(zones: &[&str]) -> Bench {
        let mut bench = Bench::new(zones);
        bench.create("main", 3, 5);
        bench.settle(4);
        assert!(bench.state.operations.all.is_empty(), "making a volume repairs nothing");
        bench
    }

    /// A node is lost for good.
    fn lose(bench: &mut Bench, node: u64) {
        bench.silent.insert(NodeId(node));
        bench.held.remove(&NodeId(node));
        bench.beat(8);
        bench.drop_silent();
        bench.pass(bench.policy.replace_after);
        bench.beat(8);
    }

    #[test]
    fn a_node_that_is_lost_is_repaired_and_the_operation_ends() {
        let mut bench = bench(&["", "", "", ""]);
        lose(&mut bench, 1);
        for _ in 0..80 {
            bench.work(1);
            bench.drop_silent();
        }
        let operation = bench.operation(ID);
        assert_eq!(
            (operation.kind, operation.state),
            (OperationKind::Repair, OperationState::Succeeded)
        );
        let progress = operation.progress();
        assert!(progress.partitions > 0 && progress.partitions == progress.partitions_done);
        assert_eq!(bench.state.operations.all.len(), 1, "one for all of it");
        assert!(bench.plan().is_empty(), "{}", bench.plan());
    }

    #[test]
    fn who_comes_back_soon_begins_none() {
        let mut bench = bench(&["", "", "", ""]);
        bench.silent.insert(NodeId(1));
        bench.beat(8);
        bench.drop_silent();
        bench.work(10);
        bench.silent.clear();
        bench.pass(bench.policy.readmit_after);
        bench.work(20);
        assert!(bench.state.operations.all.is_empty(), "{:#?}", bench.state.operations.all);
    }

    #[test]
    fn without_a_node_to_spare_it_says_so() {
        let mut bench = bench(&["", "", "", ""]);
        lose(&mut bench, 1);
        bench.work(2);
        lose(&mut bench, 2);
        for _ in 0..40 {
            bench.work(1);
            bench.drop_silent();
        }
        assert_eq!(bench.operation(ID).state, OperationState::Incomplete);
        let mut reasons = bench.operation(ID).residue().map(|(_, _, left)| left.reason);
        assert!(reasons.all(|reason| [Reason::NoTarget, Reason::Unreachable].contains(&reason)));
    }
}
