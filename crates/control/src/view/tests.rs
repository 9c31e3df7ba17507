use super::*;
use crate::plan::Policy;
use crate::state::Command;
use crate::state::command::{DiskOffer, Placement, VolumeSpec};
use types::configuration::PartitionKind;
use types::volume::{Durability, VolumeKind};
use types::{BootId, ClusterId, DiskId, PartitionId, ReplicaId, Timestamp, VolumeId};
use wire::control::{self as message, DiskState, ReplicaState, Role};

const AT: Timestamp = Timestamp(0);
const START: Moment = Moment(1 << 40);

/// One node with one disk, and a volume of one replica in one partition.
fn record() -> State {
    let mut state = State::default();
    state.apply(&Command::Initialize { cluster: ClusterId(1) });
    state.apply(&Command::Join {
        identity: 1,
        boot: BootId(5),
        address: "node:1".into(),
        zone: String::new(),
        disks: vec![DiskOffer { identity: 2, label: "/disk".into(), capacity: 100 }],
        at: AT,
    });
    let spec = VolumeSpec {
        name: "main".into(),
        kind: VolumeKind::File,
        replicas: 1,
        in_sync_min: 1,
        capacity: 10,
        durability: Durability::Synced,
        data_partitions: 1,
    };
    state.apply(&Command::CreateVolume { spec, at: AT });
    let replicas = vec![(NodeId(1), DiskId(1))];
    let placements = vec![Placement { kind: PartitionKind::Namespace, replicas }];
    state.apply(&Command::PlacePartitions { volume: VolumeId(1), placements });
    state
}

fn replica(role: Role, state: ReplicaState) -> message::ReplicaReport {
    message::ReplicaReport {
        replica: 1,
        partition: 1,
        disk: 1,
        role: role.into(),
        epoch: 1,
        state: state.into(),
        bytes: 7,
        ..Default::default()
    }
}

fn heard(replicas: Vec<message::ReplicaReport>, disk: DiskState) -> Detector {
    let mut detector = Detector::new(START);
    let disks =
        vec![message::DiskReport { disk: 1, state: disk.into(), free: 60, ..Default::default() }];
    detector.observe(
        START,
        &message::Heartbeat {
            cluster: 1,
            node: 1,
            boot: 5,
            sequence: 1,
            disks,
            replicas,
            ..Default::default()
        },
    );
    detector
}

fn sight<'a>(state: &'a State, detector: &'a Detector, after: Duration) -> Sight<'a> {
    let fresh_max = Policy::default().silence_max;
    Sight { state, detector: Some(detector), now: START + after, fresh_max }
}

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn a_fresh_report_is_shown_with_its_age() {
    let state = record();
    let detector = heard(vec![replica(Role::Leader, ReplicaState::Ok)], DiskState::Low);
    let sight = sight(&state, &detector, Duration::from_millis(250));
    let node = node::node(&sight, &state.nodes[&NodeId(1)]);
    assert_eq!((node.status, node.age_ms, node.leads), (NodeStatus::Online, Some(250), 1));
    let disk = node::disk(&sight, &state.disks[&DiskId(1)]);
    assert_eq!((disk.status, disk.free_bytes), (DiskStatus::Low, Some(60)));
    let volume = volume::volume(&sight, &state.volumes[&VolumeId(1)]);
    assert_eq!((volume.status, volume.age_ms), (VolumeStatus::Healthy, Some(250)));
    assert_eq!(volume.stored_bytes, Some(7));
}

#[test]
fn an_old_report_is_no_evidence_and_its_values_are_not_shown() {
    let state = record();
    let detector = heard(vec![replica(Role::Leader, ReplicaState::Ok)], DiskState::Ok);
    let sight = sight(&state, &detector, LONG);
    let node = node::node(&sight, &state.nodes[&NodeId(1)]);
    assert_eq!((node.status, node.age_ms), (NodeStatus::Silent, Some(3_600_000)));
    let disk = node::disk(&sight, &state.disks[&DiskId(1)]);
    assert_eq!((disk.status, disk.free_bytes), (DiskStatus::Unknown, None));
    let partition = partition::partition(&sight, &state.partitions[&PartitionId(1)]);
    assert_eq!(partition.status, PartitionStatus::Leaderless);
    assert_eq!(
        (partition.replicas[0].state.as_str(), partition.replicas[0].end),
        ("unknown", None)
    );
    let volume = volume::volume(&sight, &state.volumes[&VolumeId(1)]);
    assert_eq!((volume.status, volume.stored_bytes), (VolumeStatus::Unavailable, None));
}

#[test]
fn a_member_that_hears_nobody_says_unknown() {
    let state = record();
    let deaf = Sight { state: &state, detector: None, now: START, fresh_max: LONG };
    let just_began = Detector::new(START);
    let young = sight(&state, &just_began, Duration::from_millis(10));
    for sight in [deaf, young] {
        assert_eq!(node::node(&sight, &state.nodes[&NodeId(1)]).status, NodeStatus::Unknown);
        assert_eq!(node::disk(&sight, &state.disks[&DiskId(1)]).status, DiskStatus::Unknown);
        let volume = volume::volume(&sight, &state.volumes[&VolumeId(1)]);
        assert_eq!((volume.status, volume.age_ms), (VolumeStatus::Unknown, None));
    }
}

#[test]
fn what_the_record_says_is_shown_only_once_the_replica_says_so_too() {
    let state = record();
    let status = |replicas| {
        let detector = heard(replicas, DiskState::Ok);
        let sight = sight(&state, &detector, Duration::ZERO);
        partition::status_of(&sight, &state.partitions[&PartitionId(1)]).0
    };
    assert_eq!(status(vec![]), PartitionStatus::Starting);
    let behind = message::ReplicaReport { epoch: 0, ..replica(Role::Leader, ReplicaState::Ok) };
    assert_eq!(status(vec![behind]), PartitionStatus::Starting);
    let idle = replica(Role::Idle, ReplicaState::Ok);
    assert_eq!(status(vec![idle]), PartitionStatus::Leaderless);
    let failed = replica(Role::Leader, ReplicaState::Failed);
    assert_eq!(status(vec![failed]), PartitionStatus::Leaderless);
    let leader = replica(Role::Leader, ReplicaState::Ok);
    assert_eq!(status(vec![leader]), PartitionStatus::Healthy);
}

/// A leader that waits for others served nothing and was shown as leading.
#[test]
fn a_leader_that_serves_nothing_yet_is_starting_and_says_why() {
    let state = record();
    let comparing = message::ReplicaReport {
        preparing: true,
        proven: false,
        ..replica(Role::Leader, ReplicaState::Ok)
    };
    let detector = heard(vec![comparing], DiskState::Ok);
    let sight = sight(&state, &detector, Duration::from_millis(40));
    let view = partition::partition(&sight, &state.partitions[&PartitionId(1)]);
    assert_eq!(view.status, PartitionStatus::Starting);
    let row = view.conditions.iter().find(|row| row.condition == "partition/1/leadership").unwrap();
    assert_eq!((row.state.as_str(), row.well, row.checked_age_ms), ("starting", false, Some(40)));
    assert!(row.evidence.contains("compares its log") && !row.advice.is_empty(), "{row:?}");
}

fn rows(sight: &Sight<'_>) -> Vec<(String, String)> {
    let view = partition::partition(sight, &sight.state.partitions[&PartitionId(1)]);
    let own = view.conditions.into_iter().filter(|row| row.condition.starts_with("partition/"));
    own.map(|row| (row.condition, row.state)).collect()
}

#[test]
fn who_leads_who_is_behind_and_how_many_there_are_is_shown() {
    let mut state = record();
    let leader = replica(Role::Leader, ReplicaState::Ok);
    let detector = heard(vec![leader], DiskState::Ok);
    let all = |states: [&str; 3]| {
        ["leadership", "redundancy", "sync"]
            .iter()
            .zip(states)
            .map(|(fact, state)| (format!("partition/1/{fact}"), state.to_owned()))
            .collect::<std::collections::BTreeSet<_>>()
    };
    let shown = |state: &State, after| {
        rows(&sight(state, &detector, after)).into_iter().collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(shown(&state, Duration::ZERO), all(["ok", "ok", "ok"]));
    assert_eq!(shown(&state, LONG), all(["leaderless", "degraded", "ok"]));
    state.volumes.get_mut(&VolumeId(1)).unwrap().replicas = 2;
    assert_eq!(shown(&state, Duration::ZERO), all(["ok", "degraded", "ok"]));
    state.partitions.edit(PartitionId(1), |p| {
        let member = types::Member { replica: ReplicaId(9), node: NodeId(1), disk: DiskId(1) };
        p.configuration.members.push(member);
        p.configuration.catching_up.insert(ReplicaId(9));
    });
    assert_eq!(shown(&state, Duration::ZERO), all(["ok", "degraded", "behind"]));
    let listed = condition::unwell(&sight(&state, &detector, Duration::ZERO));
    let listed: Vec<_> = listed.iter().map(|row| row.condition.as_str()).collect();
    assert!(listed.contains(&"partition/1/sync"), "{listed:?}");
    assert!(listed.contains(&"partition/1/redundancy"), "all of them: {listed:?}");
}

#[test]
fn how_full_a_volume_is_is_what_the_leader_of_its_names_says() {
    let mut state = record();
    state.partitions.edit(PartitionId(1), |p| p.configuration.kind = PartitionKind::Namespace);
    let quota = |used, after| {
        let leader = message::ReplicaReport { used, ..replica(Role::Leader, ReplicaState::Ok) };
        let detector = heard(vec![leader], DiskState::Ok);
        let sight = sight(&state, &detector, after);
        let view = volume::volume(&sight, &state.volumes[&VolumeId(1)]);
        (view.used_bytes, view.conditions[0].state.clone())
    };
    assert_eq!(quota(1, Duration::ZERO), (Some(1), "ok".to_owned()));
    assert_eq!(quota(10, Duration::ZERO), (Some(10), "full".to_owned()));
    assert_eq!(quota(10, LONG), (None, "unknown".to_owned()));
}

#[test]
fn a_volume_is_as_bad_as_its_worst_partition() {
    let mut state = record();
    let mut second = state.partitions[&PartitionId(1)].clone();
    second.configuration.partition = PartitionId(2);
    state.partitions.insert(PartitionId(2), second);
    state.volumes.get_mut(&VolumeId(1)).unwrap().replicas = 2;
    let detector = heard(vec![replica(Role::Leader, ReplicaState::Ok)], DiskState::Ok);
    let sight_now = sight(&state, &detector, Duration::ZERO);
    let view = volume::volume(&sight_now, &state.volumes[&VolumeId(1)]);
    assert_eq!(view.status, VolumeStatus::Degraded, "one replica of two");
    state.partitions.edit(PartitionId(2), |partition| partition.configuration.leader = None);
    let sight_now = sight(&state, &detector, Duration::ZERO);
    let view = volume::volume(&sight_now, &state.volumes[&VolumeId(1)]);
    assert_eq!(view.status, VolumeStatus::Unavailable);
    assert_eq!(view.partitions, [("degraded".to_owned(), 1), ("leaderless".to_owned(), 1)].into());
}

#[test]
fn a_deleted_volume_is_shown_as_what_it_is() {
    let mut state = record();
    state.apply(&Command::DeleteVolume { volume: VolumeId(1), at: AT, grace_ms: 0 });
    let detector = heard(vec![replica(Role::Leader, ReplicaState::Ok)], DiskState::Ok);
    let sight = sight(&state, &detector, Duration::ZERO);
    let view = volume::volume(&sight, &state.volumes[&VolumeId(1)]);
    assert_eq!((view.status, view.deleted.is_some()), (VolumeStatus::Purging, true));
    let view = partition::partition(&sight, &state.partitions[&PartitionId(1)]);
    assert_eq!(
        (view.status, view.replicas[0].place.as_str()),
        (PartitionStatus::Deleting, "doomed")
    );
}
