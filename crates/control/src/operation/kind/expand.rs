//! Gives a volume more replicas of everything.
//!
//! From the moment it is asked for the volume asks for so many, and shows as degraded until it has them. New
//! replicas are made by this operation alone, so many at a time; what is lost meanwhile is mended as ever. It
//! has succeeded when every partition of the volume has as many in sync. How many have to be in sync for writes
//! stays as it was.

use super::{Job, Kind, NOTHING_ELSE};
use crate::operation::movement;
use crate::operation::record::{Operation, Replicas};
use crate::operation::scene::{Finding, Scene};
use crate::state::{Partition, Refusal, State, Volume};
use std::collections::BTreeMap;
use types::limits::REPLICAS_MAX;
use types::operation::{LockKind, Target};
use types::{PartitionId, Timestamp, VolumeId};

pub(super) static KIND: Kind = Kind {
    takes: |target| matches!(target, Target::Volume(_)),
    lock: LockKind::Move,
    remaining,
    step,
    on_record,
    begin,
    void,
    cancel,
    cancelled: "the volume asks for as many replicas as before, and those that were added are taken away",
    ..NOTHING_ELSE
};

fn volume_of<'a>(state: &'a State, operation: &Operation) -> Option<&'a Volume> {
    let Target::Volume(volume) = operation.target else { return None };
    state.volumes.get(&volume)
}

/// The partitions that have fewer in sync than were asked for.
fn lacking<'a>(state: &'a State, operation: &'a Operation) -> impl Iterator<Item = &'a Partition> {
    let wanted = operation.replicas.map_or(0, |replicas| usize::from(replicas.to));
    let volume = volume_of(state, operation).map(|volume| volume.id);
    let all = volume.into_iter().flat_map(|volume| state.partitions.of(volume));
    all.filter(move |p| !p.deleted && p.configuration.in_sync.len() < wanted)
}

fn remaining(scene: &Scene<'_>, operation: &Operation) -> BTreeMap<PartitionId, Job> {
    let job = |partition: &Partition| {
        let members = partition.configuration.members.iter();
        let bytes = members.map(|member| scene.bytes(partition, member)).max().unwrap_or(0);
        (partition.configuration.partition, Job::of(bytes))
    };
    lacking(scene.inputs.state, operation).map(job).collect()
}

fn step(scene: &mut Scene<'_>, operation: &Operation, id: PartitionId, _: &Job) -> Finding {
    let from = operation.replicas.map_or(0, |replicas| replicas.from);
    match scene.inputs.state.partitions.get(&id) {
        Some(partition) => movement::grow(scene, operation, partition, usize::from(from)),
        None => Finding::Underway,
    }
}

fn on_record(state: &State, operation: &Operation) -> u64 {
    lacking(state, operation).count() as u64
}

fn begin(state: &mut State, operation: &mut Operation) -> Result<(), Refusal> {
    let Some(Replicas { to, .. }) = operation.replicas else {
        return Err(Refusal::breaks("how many replicas there are to be is not said"));
    };
    let volume = volume_of(state, operation).filter(|volume| volume.state.is_live());
    let volume =
        volume.ok_or_else(|| Refusal::breaks(format!("{} was deleted", operation.target)))?;
    let (id, from) = (volume.id, volume.replicas);
    if to <= from || usize::from(to) > REPLICAS_MAX {
        let reason = format!("the volume has {from} replicas, and may have up to {REPLICAS_MAX}");
        return Err(Refusal::breaks(reason));
    }
    operation.replicas = Some(Replicas { from, to });
    ask_for(state, id, to);
    Ok(())
}

fn ask_for(state: &mut State, volume: VolumeId, replicas: u8) {
    if let Some(volume) = state.volumes.get_mut(&volume) {
        volume.replicas = replicas;
    }
}

fn cancel(state: &mut State, operation: &Operation, _: Timestamp) {
    if let (Target::Volume(volume), Some(replicas)) = (&operation.target, operation.replicas) {
        ask_for(state, *volume, replicas.from);
    }
}

fn void(state: &State, operation: &Operation) -> Option<String> {
    let is_live = volume_of(state, operation).is_some_and(|volume| volume.state.is_live());
    (!is_live).then(|| format!("{} was deleted", operation.target))
}

#[cfg(test)]
mod tests {
    use crate::operation::command::{Act, Order};
    use crate::operation::record::{Limits, Replicas};
    use crate::plan::tests::Bench;
    use crate::state::{Command, Outcome};
    use types::operation::{OperationKind, OperationState, Reason, Target};
    use types::{OperationId, VolumeId};

    fn expand(bench: &mut Bench, to: u8) -> Outcome {
        let (kind, target) = (OperationKind::Expand, Target::Volume(VolumeId(1)));
        let limits = Limits { moves: 2, ..Limits::default() };
        let (by, priority, force, at) = ("test".into(), 0, false, bench.date());
        let replicas = Some(Replicas { from: 0, to });
        let start = Act::Start { kind, target, by, limits, priority, force, at, replicas };
        bench.state.apply(&Command::Operation(start))
    }

    fn in_sync(bench: &Bench) -> Vec<usize> {
        bench.state.partitions.values().map(|p| p.configuration.in_sync.len()).collect()
    }

    #[test]
    fn a_volume_gets_more_replicas_so_many_at_a_time() {
        let mut bench = Bench::new(&["", "", "", "", ""]);
        bench.create("main", 2, 5);
        bench.settle(4);
        let Outcome::Operation(id) = expand(&mut bench, 4) else { panic!("it is refused") };
        for _ in 0..60 {
            let copying =
                bench.state.partitions.values().filter(|p| !p.configuration.catching_up.is_empty());
            assert!(copying.count() <= 2, "two at a time, and nobody else makes them");
            bench.work(1);
        }
        assert_eq!(bench.operation(id).state, OperationState::Succeeded);
        assert_eq!(in_sync(&bench), [4; 6]);
        assert!(bench.plan().is_empty(), "{}", bench.plan());
        for wrong in [4, 8] {
            assert!(matches!(expand(&mut bench, wrong), Outcome::Refused(_)), "{wrong}");
        }
    }

    #[test]
    fn without_a_node_to_spare_it_says_so_and_a_cancel_takes_it_back() {
        let mut bench = Bench::new(&["", "", ""]);
        bench.create("main", 2, 3);
        bench.settle(4);
        let Outcome::Operation(id) = expand(&mut bench, 4) else { panic!("it is refused") };
        bench.work_until(id, OperationState::Incomplete);
        assert_eq!(in_sync(&bench), [3; 4]);
        assert_eq!(bench.operation(id).blocked.as_ref().unwrap().reason, Reason::NoTarget);
        bench.order(id, Order::Cancel);
        bench.work(12);
        assert_eq!(in_sync(&bench), [2; 4]);
        assert_eq!(bench.state.volumes[&VolumeId(1)].replicas, 2);
        assert!(bench.plan().is_empty(), "{}", bench.plan());
    }

    #[test]
    fn a_deleted_volume_gets_no_more_replicas() {
        let mut bench = Bench::new(&["", "", ""]);
        bench.create("main", 2, 3);
        bench.settle(4);
        expand(&mut bench, 3);
        bench.work(1);
        let (volume, at) = (VolumeId(1), bench.date());
        bench.state.apply(&Command::DeleteVolume { volume, at, grace_ms: 60_000 });
        bench.work(2);
        let operation = bench.operation(OperationId(1));
        assert_eq!(operation.state, OperationState::Failed);
        assert!(operation.history.back().unwrap().what.contains("was deleted"));
    }
}
