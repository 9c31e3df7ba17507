use super::command::{DiskOffer, Placement, VolumeSpec};
use super::*;
use types::configuration::PartitionKind;
use types::volume::{Durability, VolumeKind};
use types::{BootId, Configuration, Epoch, Timestamp};

const AT: Timestamp = Timestamp(1_000);

fn join(identity: u64) -> Command {
    join_as(identity, identity + 500, "host:1")
}

fn join_as(identity: u64, boot: u64, address: &str) -> Command {
    let disk = DiskOffer { identity: identity + 100, label: "/disk".into(), capacity: 1 << 40 };
    Command::Join {
        identity,
        boot: BootId(boot),
        address: address.into(),
        zone: String::new(),
        disks: vec![disk],
        at: AT,
    }
}

fn spec(name: &str) -> VolumeSpec {
    VolumeSpec {
        name: name.into(),
        kind: VolumeKind::File,
        replicas: 3,
        in_sync_min: 2,
        capacity: 1 << 30,
        durability: Durability::Replicated,
        data_partitions: 1,
    }
}

fn create(name: &str) -> Command {
    Command::CreateVolume { spec: spec(name), at: AT }
}

fn place(volume: u64) -> Command {
    let replicas = (1..=3).map(|n| (NodeId(n), DiskId(n))).collect();
    let placement = Placement { kind: PartitionKind::Namespace, replicas };
    Command::PlacePartitions { volume: VolumeId(volume), placements: vec![placement] }
}

/// Three nodes, and volume 1 with partition 1 of replicas 1, 2 and 3, led by 1.
fn state() -> State {
    let mut state = State::default();
    state.apply(&Command::Initialize { cluster: ClusterId(9) });
    for identity in 1..=3 {
        state.apply(&join(identity));
    }
    state.apply(&create("main"));
    assert_eq!(state.apply(&place(1)), Outcome::Done);
    state.check().unwrap();
    state
}

fn configure(state: &mut State, step: Step) -> Outcome {
    let expected = state.partitions[&PartitionId(1)].configuration.epoch;
    configure_at(state, expected, step)
}

fn configure_at(state: &mut State, expected: Epoch, step: Step) -> Outcome {
    let before = state.partitions[&PartitionId(1)].configuration.epoch;
    let discards = matches!(step, Step::Discard { .. });
    let command = Command::Configure { partition: PartitionId(1), expected, step, at: AT };
    let outcome = state.apply(&command);
    state.check().unwrap();
    let after = state.partitions[&PartitionId(1)].configuration.epoch;
    match &outcome {
        Outcome::Refused(_) => assert_eq!(after, before),
        _ if discards => assert_eq!(after, before),
        _ => assert_eq!(after, before.next(), "one change, one epoch"),
    }
    outcome
}

fn configuration(state: &State) -> &Configuration {
    &state.partitions[&PartitionId(1)].configuration
}

fn refused(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused(_))
}

const R1: ReplicaId = ReplicaId(1);
const R2: ReplicaId = ReplicaId(2);
const R3: ReplicaId = ReplicaId(3);

#[test]
fn a_cluster_is_named_once_and_needed_for_everything_else() {
    let mut state = State::default();
    assert_eq!(state.apply(&join(1)), Outcome::Refused(Refusal::NotInitialized));
    assert_eq!(state.apply(&create("main")), Outcome::Refused(Refusal::NotInitialized));
    let name = |id| Command::Initialize { cluster: ClusterId(id) };
    assert_eq!(state.apply(&name(5)), Outcome::Cluster(ClusterId(5)));
    assert_eq!(state.apply(&name(6)), Outcome::Cluster(ClusterId(5)));
}

#[test]
fn a_node_is_known_by_its_identity_wherever_it_is() {
    let mut state = state();
    let before = state.nodes[&NodeId(2)].clone();
    let Outcome::Joined(joined) = state.apply(&join_as(2, 777, "elsewhere:2")) else { panic!() };
    assert_eq!((joined.node, joined.disks), (NodeId(2), vec![DiskId(2)]));
    let after = &state.nodes[&NodeId(2)];
    assert_eq!((after.address.as_str(), after.boot), ("elsewhere:2", BootId(777)));
    assert_eq!(after.joined, before.joined);
    let Outcome::Joined(joined) = state.apply(&join(4)) else { panic!() };
    assert_eq!(joined.node, NodeId(4), "numbers rise");
}

#[test]
fn joins_that_cannot_be_are_refused_and_leave_no_trace() {
    let mut state = state();
    let before = state.clone();
    assert!(refused(&state.apply(&join_as(0, 1, "a:1"))));
    assert!(refused(&state.apply(&join_as(7, 0, "a:1"))));
    let Command::Join { disks, .. } = join(8) else { unreachable!() };
    let twice = Command::Join {
        identity: 8,
        boot: BootId(8),
        address: "a:1".into(),
        zone: String::new(),
        disks: [disks.clone(), disks].concat(),
        at: AT,
    };
    assert!(refused(&state.apply(&twice)));
    assert_eq!(state, before);
}

#[test]
fn volumes_that_cannot_be_are_refused() {
    let mut state = state();
    let with = |change: fn(&mut VolumeSpec)| {
        let mut spec = spec("other");
        change(&mut spec);
        Command::CreateVolume { spec, at: AT }
    };
    let before = state.clone();
    for wrong in [
        with(|s| s.name = String::new()),
        with(|s| s.name = "../x".into()),
        with(|s| s.name = "12".into()),
        with(|s| s.name = "-x".into()),
        with(|s| s.name = "x".repeat(129)),
        with(|s| s.replicas = 0),
        with(|s| s.replicas = 8),
        with(|s| s.in_sync_min = 0),
        with(|s| s.in_sync_min = 4),
        with(|s| s.capacity = 0),
        with(|s| s.data_partitions = 0),
        create("main"),
    ] {
        assert!(refused(&state.apply(&wrong)), "{wrong:?}");
    }
    assert_eq!(state, before);
}

#[test]
fn a_volume_grows_and_never_shrinks() {
    let mut state = state();
    let expand = |capacity| Command::ExpandVolume { volume: VolumeId(1), capacity };
    assert!(refused(&state.apply(&expand((1 << 30) - 1))));
    assert!(!refused(&state.apply(&expand(1 << 31))));
    assert_eq!(state.volumes[&VolumeId(1)].capacity, 1 << 31);
}

#[test]
fn partitions_are_placed_once_and_on_what_is_there() {
    let mut state = state();
    let again = state.apply(&place(1));
    assert_eq!(again, Outcome::Refused(Refusal::AlreadyPlaced { volume: VolumeId(1) }));
    state.apply(&create("other"));
    let before = state.clone();
    let placement = |replicas: Vec<(NodeId, DiskId)>| Command::PlacePartitions {
        volume: VolumeId(2),
        placements: vec![
            Placement { kind: PartitionKind::Namespace, replicas: vec![(NodeId(1), DiskId(1))] },
            Placement { kind: PartitionKind::Data, replicas },
        ],
    };
    for wrong in [
        vec![(NodeId(9), DiskId(1))],
        vec![(NodeId(1), DiskId(2))],
        vec![(NodeId(1), DiskId(1)), (NodeId(1), DiskId(1))],
        vec![],
    ] {
        assert!(refused(&state.apply(&placement(wrong))));
        assert_eq!(state, before, "not even a number is used up");
    }
}

#[test]
fn a_stale_step_does_nothing_and_tells_how_things_are() {
    let mut state = state();
    let remove = |replica| Step::Remove { by: R1, replica };
    assert!(!refused(&configure_at(&mut state, Epoch(1), remove(R2))));
    let current = Box::new(configuration(&state).clone());
    let late = configure_at(&mut state, Epoch(1), remove(R3));
    assert_eq!(late, Outcome::Refused(Refusal::Conflict { current }));
}

#[test]
fn a_leader_removes_and_promotes_others() {
    let mut state = state();
    assert!(refused(&configure(&mut state, Step::Remove { by: R2, replica: R3 })));
    assert!(refused(&configure(&mut state, Step::Remove { by: R1, replica: R1 })));
    assert!(refused(&configure(&mut state, Step::Promote { by: R1, replica: R2 })));
    configure(&mut state, Step::Remove { by: R1, replica: R2 });
    assert_eq!(configuration(&state).in_sync, [R1, R3].into());
    assert_eq!(configuration(&state).catching_up, [R2].into());
    assert!(!refused(&configure(&mut state, Step::Remove { by: R1, replica: R2 })), "once more");
    assert!(refused(&configure(&mut state, Step::Promote { by: R3, replica: R2 })));
    configure(&mut state, Step::Promote { by: R1, replica: R2 });
    assert_eq!(configuration(&state).in_sync, [R1, R2, R3].into());
}

#[test]
fn only_who_is_in_sync_is_appointed_and_nothing_else_changes() {
    let mut state = state();
    configure(&mut state, Step::Remove { by: R1, replica: R2 });
    assert!(refused(&configure(&mut state, Step::Appoint { replica: R2 })));
    let before = configuration(&state).clone();
    configure(&mut state, Step::Appoint { replica: R3 });
    let expected = Configuration { leader: Some(R3), epoch: before.epoch.next(), ..before };
    assert_eq!(*configuration(&state), expected);
    let again = configure(&mut state, Step::Appoint { replica: R3 });
    assert!(!refused(&again), "a restarted leader is appointed anew, in a new epoch");
}

#[test]
fn a_replica_goes_out_and_comes_back_under_its_number() {
    let mut state = state();
    configure(&mut state, Step::Remove { by: R1, replica: R2 });
    assert!(refused(&configure(&mut state, Step::Suspend { replica: R1 })), "it leads");
    configure(&mut state, Step::Suspend { replica: R2 });
    assert_eq!(configuration(&state).members.len(), 2);
    assert!(refused(&configure(&mut state, Step::Readmit { replica: R3 })));
    configure(&mut state, Step::Readmit { replica: R2 });
    assert_eq!(configuration(&state).catching_up, [R2].into());
}

#[test]
fn what_is_discarded_never_comes_back() {
    let mut state = state();
    state.apply(&join(4));
    state.apply(&Command::Confirm {
        made: vec![(PartitionId(1), R2), (PartitionId(1), ReplicaId(99))],
    });
    assert_eq!(state.partitions[&PartitionId(1)].made, [R2].into(), "strangers are not counted");
    configure(&mut state, Step::Suspend { replica: R2 });
    let on_taken_node = Step::Add { node: NodeId(1), disk: DiskId(1) };
    assert!(refused(&configure(&mut state, on_taken_node)));
    configure(&mut state, Step::Add { node: NodeId(4), disk: DiskId(4) });
    assert_eq!(configuration(&state).catching_up, [ReplicaId(4)].into(), "a new number");
    configure(&mut state, Step::Discard { replica: R2 });
    assert!(refused(&configure(&mut state, Step::Readmit { replica: R2 })));
    assert!(state.partitions[&PartitionId(1)].doomed.contains_key(&R2));
    state
        .apply(&Command::Forget { gone: vec![(PartitionId(1), R2), (PartitionId(1), R1)], at: AT });
    let partition = &state.partitions[&PartitionId(1)];
    assert!(partition.doomed.is_empty() && partition.made.is_empty());
    assert!(configuration(&state).member(R1).is_some(), "only what is doomed can be forgotten");
}

#[test]
fn a_deleted_volume_is_remembered_and_its_record_outlives_its_replicas() {
    let mut state = state();
    let delete = Command::DeleteVolume { volume: VolumeId(1), at: AT, grace_ms: 0 };
    state.apply(&delete);
    assert_eq!(state.volumes[&VolumeId(1)].state, VolumeState::Purging);
    let again = state.apply(&delete);
    assert_eq!(again, Outcome::Refused(Refusal::VolumeDeleted { volume: VolumeId(1) }));
    assert!(refused(&state.apply(&Command::Configure {
        partition: PartitionId(1),
        expected: configuration(&state).epoch,
        step: Step::Appoint { replica: R2 },
        at: AT,
    })));
    assert_eq!(state.partitions[&PartitionId(1)].doomed.len(), 3);
    for replica in [R1, R2] {
        state.apply(&Command::Forget { gone: vec![(PartitionId(1), replica)], at: AT });
        assert_eq!(state.volumes[&VolumeId(1)].state, VolumeState::Purging);
    }
    state.apply(&Command::Forget { gone: vec![(PartitionId(1), R3)], at: AT });
    assert_eq!(state.volumes[&VolumeId(1)].state, VolumeState::Deleted);
    assert!(state.partitions.is_empty());
    assert!(!refused(&state.apply(&create("main"))), "the name is free");
    assert!(state.volumes.contains_key(&VolumeId(2)), "the number is not");
}

#[test]
fn a_deletion_can_be_taken_back_until_its_grace_is_over_and_not_later() {
    let mut state = state();
    let volume = VolumeId(1);
    let (half, over) = (Timestamp(AT.0 + 500_000_000), Timestamp(AT.0 + 1_000_000_000));
    let before = configuration(&state).clone();
    let undelete = |at| Command::UndeleteVolume { volume, at };
    assert!(refused(&state.apply(&undelete(AT))), "nobody deleted it");
    let delete = Command::DeleteVolume { volume, at: AT, grace_ms: 1_000 };
    state.apply(&delete);
    let record = &state.volumes[&volume];
    assert_eq!((record.state, record.purge_at), (VolumeState::Deleting, Some(over)));
    assert_eq!(*configuration(&state), before, "everything is still there");
    let early = state.apply(&Command::PurgeVolume { volume, at: half });
    assert_eq!(early, Outcome::Refused(Refusal::InGrace { volume, until: over }));
    assert!(refused(&state.apply(&create("main"))), "its name is kept for it");

    assert!(!refused(&state.apply(&undelete(half))));
    let record = &state.volumes[&volume];
    assert_eq!((record.state, record.purge_at), (VolumeState::Active, None));
    assert!(refused(&state.apply(&Command::PurgeVolume { volume, at: over })));

    state.apply(&Command::DeleteVolume { volume, at: AT, grace_ms: 9_000 });
    assert!(!refused(&state.apply(&delete)), "whoever deletes it once more chooses the grace");
    let late = state.apply(&undelete(over));
    assert_eq!(late, Outcome::Refused(Refusal::VolumeDeleted { volume }));
    assert!(!refused(&state.apply(&Command::PurgeVolume { volume, at: over })));
    assert_eq!(state.volumes[&volume].state, VolumeState::Purging);
    assert!(refused(&state.apply(&undelete(half))), "its replicas are going");
    assert_eq!(state.check(), Ok(()));
}

#[test]
fn that_a_standby_is_used_is_told_once() {
    let mut state = state();
    state.apply(&create("other"));
    let (volume, standby) = (VolumeId(1), VolumeId(2));
    let note = |client: &str, standby| {
        let client = client.to_owned();
        Command::NoteStandby { volume, standby, client, at: AT }
    };
    let before = state.events.last;
    state.apply(&note("a:/mnt (pid 1)", standby));
    state.apply(&note("a:/mnt (pid 1)", standby));
    state.apply(&note("a:/mnt (pid 1)", VolumeId(99)));
    assert_eq!(state.events.last, before + 1);
    let told = state.events.after(before, 9).unwrap()[0].clone();
    assert_eq!(told.message, "a:/mnt (pid 1) uses volume other in the place of main");
    state.apply(&note("b:/mnt (pid 2)", standby));
    assert_eq!(state.events.last, before + 2);
}

#[test]
fn what_was_deleted_before_there_was_a_grace_is_not_brought_back() {
    let mut state = state();
    let volume = VolumeId(1);
    state.apply(&Command::DeleteVolume { volume, at: AT, grace_ms: 1_000 });
    state.volumes.get_mut(&volume).unwrap().purge_at = None;
    assert!(refused(&state.apply(&Command::UndeleteVolume { volume, at: AT })));
    assert!(!refused(&state.apply(&Command::PurgeVolume { volume, at: AT })));
}

#[test]
fn a_volume_that_was_never_placed_is_deleted_at_once() {
    let mut state = state();
    state.apply(&create("other"));
    state.apply(&Command::DeleteVolume { volume: VolumeId(2), at: AT, grace_ms: 0 });
    assert_eq!(state.volumes[&VolumeId(2)].state, VolumeState::Deleted);
    assert!(refused(&state.apply(&place(2))));
}

#[test]
fn the_state_survives_being_written_down() {
    let mut state = state();
    configure(&mut state, Step::Suspend { replica: R2 });
    assert_eq!(State::decode(&state.encode()).unwrap(), state);
}

#[test]
fn a_damaged_or_strange_state_is_refused() {
    let good = String::from_utf8(state().encode()).unwrap();
    assert!(matches!(State::decode(&good.as_bytes()[..50]), Err(DecodeError::Malformed(_))));
    let newer = good.replacen("\"version\":1", "\"version\":2", 1);
    let refused = State::decode(newer.as_bytes());
    assert!(matches!(refused, Err(DecodeError::Version { found: 2, known: 1 })));
    let broken = good.replacen("\"in_sync\":[1,2,3]", "\"in_sync\":[]", 1);
    assert_ne!(broken, good);
    assert!(matches!(State::decode(broken.as_bytes()), Err(DecodeError::Broken(_))));
    let reused = good.replacen("\"replica\":3,\"life\"", "\"replica\":2,\"life\"", 1);
    assert_ne!(reused, good);
    assert!(matches!(State::decode(reused.as_bytes()), Err(DecodeError::Broken(_))));
}

fn token(state: &mut State, number: u8, expires: Option<Timestamp>) -> Outcome {
    let spec = TokenSpec {
        name: "one".into(),
        rights: types::access::Rights::ReadWrite,
        hash: types::access::TokenHash([number; 32]),
        expires,
    };
    state.apply(&Command::CreateToken { volume: VolumeId(1), spec, at: AT })
}

fn end(state: &mut State, number: u64) -> Outcome {
    let (volume, token) = (VolumeId(1), types::TokenId(number));
    state.apply(&Command::EndToken { volume, token, why: TokenEnd::Revoked, at: AT })
}

#[test]
fn a_volume_that_ever_had_a_token_needs_one_until_it_is_gone() {
    use types::access::TokenHash;
    use wire::control::Access;
    let mut state = state();
    let volume = VolumeId(1);
    let check = |state: &State, hash: Option<u8>| {
        state.access.check(volume, hash.map(|number| TokenHash([number; 32]))).0
    };
    assert_eq!(check(&state, None), Access::Open);
    assert!(refused(&end(&mut state, 1)), "there is none");
    let before = state.access.version;
    let over = Timestamp(AT.0 + 5);
    assert!(!refused(&token(&mut state, 1, Some(over))));
    assert!(state.access.version > before);
    assert!(refused(&token(&mut state, 1, None)), "the same secret");
    let seen = |hash| check(&state, hash);
    assert_eq!(
        (seen(None), seen(Some(1)), seen(Some(2))),
        (Access::Required, Access::ReadWrite, Access::Unknown)
    );
    assert_eq!(state.access.overdue(AT).count(), 0);
    assert_eq!(state.access.overdue(over).count(), 1);
    let version = state.access.version;
    assert!(!refused(&end(&mut state, 1)));
    assert_eq!((check(&state, Some(1)), check(&state, None)), (Access::Revoked, Access::Required));
    assert_eq!(state.access.overdue(over).count(), 0, "it has ended already");
    assert!(!refused(&end(&mut state, 1)), "again");
    assert_eq!(state.access.version, version + 1, "which changes nothing");
    let decoded = State::decode(&state.encode()).unwrap();
    assert_eq!(decoded, state);
    // Those that ended are remembered, but not for ever.
    for number in 2..=100 {
        token(&mut state, number, None);
        end(&mut state, number.into());
    }
    assert_eq!(state.access.count(), (0, types::limits::TOKENS_ENDED_KEPT_MAX));
    assert_eq!(check(&state, Some(1)), Access::Unknown);
}

/// A token that was used for long, and revoked after many others, was forgotten at once: its owner could
/// never be told.
#[test]
fn who_was_revoked_last_is_remembered_however_old_it_is() {
    let mut state = state();
    let volume = VolumeId(1);
    token(&mut state, 1, None);
    for number in 2..=100 {
        token(&mut state, number, None);
        end(&mut state, number.into());
    }
    let at = Timestamp(AT.0 + 1_000_000_000);
    let revoke = Command::EndToken { volume, token: types::TokenId(1), why: TokenEnd::Revoked, at };
    assert!(!refused(&state.apply(&revoke)));
    let shown = Some(types::access::TokenHash([1; 32]));
    assert_eq!(state.access.check(volume, shown).0, wire::control::Access::Revoked);
    assert!(state.access.version >= at.0.cast_unsigned(), "no older copy gives this version again");
}

#[test]
fn a_state_from_before_there_were_tokens_has_none() {
    let mut old: serde_json::Value = serde_json::from_slice(&state().encode()).unwrap();
    old.as_object_mut().unwrap().remove("access");
    let read = State::decode(old.to_string().as_bytes()).unwrap();
    assert_eq!(read.access, AccessRecord::default());
}
