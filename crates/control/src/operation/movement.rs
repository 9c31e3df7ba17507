//! The next step in moving a partition away from somewhere. Pure.
//!
//! ```text
//!   in order:  let go   there are enough without a replica on the target: it hands over, is suspended
//!              wait     a copy is being made; give it up when its node is silent or it fails
//!              add      begin a copy elsewhere, when nobody else is at work on the partition
//!              clean    what left the configuration is deleted by its node, and forgotten
//! ```
//!
//! A replica is let go only when as many as the volume asks for are in sync without it. With force, and when
//! there is no place for a copy, the volume's minimum is enough; never less.

use super::kind::Area;
use super::record::{Item, Limits, Operation};
use super::scene::{Finding, Scene, locked};
use crate::detect::{DiskState, ReplicaState, Role};
use crate::state::{Partition, Step, Volume};
use std::time::Duration;
use types::limits::{
    DELETION_SLOW, MOVE_BYTES_PER_SECOND_MIN, MOVE_SILENCE_MAX, MOVE_STALLED_MAX, REPLICAS_MAX,
};
use types::operation::{LockKind, Reason};
use types::{DiskId, Member, NodeId, PartitionId};

/// What to do next to have nothing of the partition in `area` any more, and a copy on `to` where that is said.
pub(super) fn step(
    scene: &mut Scene<'_>,
    operation: &Operation,
    partition: &Partition,
    area: &Area,
    to: Option<DiskId>,
) -> Finding {
    let id = partition.configuration.partition;
    if partition.deleted {
        return clean(scene, operation, partition, area);
    }
    if scene.touched.contains(&id) {
        return Finding::Underway;
    }
    let inputs = scene.inputs;
    let Some(volume) = inputs.state.volumes.get(&partition.configuration.volume) else {
        return Finding::Underway;
    };
    let members = &partition.configuration.members;
    if !members.iter().any(|member| area.holds(member)) {
        return clean(scene, operation, partition, area);
    }
    if let Some(leaderless) = scene.leaderless(id) {
        return leaderless;
    }
    if let Some(locked) = locked(inputs, operation, id, LockKind::Move) {
        return locked;
    }
    let blank = Item::default();
    let item = operation.items.get(&id).unwrap_or(&blank);
    let course = Course { operation, partition, volume, area, item, to };
    let_go(scene, &course, usize::from(volume.replicas))
        .or_else(|| attend(scene, &course))
        .unwrap_or_else(|| add(scene, &course))
}

/// What to do next to have one more replica of the partition than it has. Those up to `mended` are for mending
/// to make.
pub(super) fn grow(
    scene: &mut Scene<'_>,
    operation: &Operation,
    partition: &Partition,
    mended: usize,
) -> Finding {
    let configuration = &partition.configuration;
    let id = configuration.partition;
    let volume = scene.inputs.state.volumes.get(&configuration.volume);
    let Some(volume) = volume.filter(|_| !scene.touched.contains(&id)) else {
        return Finding::Underway;
    };
    if let Some(leaderless) = scene.leaderless(id) {
        return leaderless;
    }
    if let Some(locked) = locked(scene.inputs, operation, id, LockKind::Move) {
        return locked;
    }
    let (blank, area) = (Item::default(), Area::default());
    let item = operation.items.get(&id).unwrap_or(&blank);
    let course = Course { operation, partition, volume, area: &area, item, to: None };
    if let Some(finding) = attend(scene, &course) {
        return finding;
    }
    if configuration.members.len() < mended {
        let detail = format!("{} of {mended} replicas are there", configuration.members.len());
        return Finding::left(Reason::Repairing, detail);
    }
    let members = configuration.members.iter();
    let bytes = members.map(|member| scene.bytes(partition, member)).max().unwrap_or(0);
    if scene.places.choose(scene.inputs, partition, bytes, |_, _| true).is_none() {
        let (reason, detail) = scene.places.why_none(scene.inputs, partition);
        return Finding::left(reason, detail);
    }
    begin_copy(scene, &course, bytes, None)
}

/// One move.
struct Course<'a> {
    operation: &'a Operation,
    partition: &'a Partition,
    volume: &'a Volume,
    area: &'a Area,
    item: &'a Item,
    /// The only place for a copy.
    to: Option<DiskId>,
}

/// Lets one replica on the target go, when at least `floor` are in sync without it.
fn let_go(scene: &mut Scene<'_>, course: &Course<'_>, floor: usize) -> Option<Finding> {
    let configuration = &course.partition.configuration;
    let here = || configuration.members.iter().filter(|member| course.area.holds(member));
    let follows = |member: &&Member| configuration.leader != Some(member.replica);
    let goes = here().find(follows).or_else(|| here().next())?;
    let in_sync = configuration.in_sync.len();
    let after = in_sync - usize::from(configuration.in_sync.contains(&goes.replica));
    if after < floor.max(1) {
        return None;
    }
    if configuration.leader == Some(goes.replica) {
        return Some(hand_over(scene, course.operation, course.partition, course.area));
    }
    Some(Finding::Step(Step::Suspend { replica: goes.replica }))
}

/// Has somebody lead who is not in `area`. The leader goes on until the other has its appointment.
pub(super) fn hand_over(
    scene: &mut Scene<'_>,
    operation: &Operation,
    partition: &Partition,
    area: &Area,
) -> Finding {
    let configuration = &partition.configuration;
    let id = configuration.partition;
    if scene.touched.contains(&id) {
        return Finding::Underway;
    }
    if let Some(leaderless) = scene.leaderless(id) {
        return leaderless;
    }
    if let Some(locked) = locked(scene.inputs, operation, id, LockKind::Lead) {
        return locked;
    }
    let others = configuration.in_sync.iter().filter_map(|id| configuration.member(*id));
    let others = others.filter(|m| configuration.leader != Some(m.replica) && !area.holds(m));
    let in_service = |m: &&Member| scene.inputs.state.operations.duty(m.node, m.disk).is_none();
    let (others, excused): (Vec<&Member>, Vec<&Member>) = others.partition(in_service);
    let able = others.iter().filter(|member| can_lead(scene, partition, member));
    let count = |node: NodeId| scene.leads.get(&node).copied().unwrap_or(0);
    let Some(next) = able.min_by_key(|m| (count(m.node), m.replica)).copied() else {
        return nobody_leads(scene, partition, &others, &excused);
    };
    *scene.leads.entry(next.node).or_default() += 1;
    Finding::Step(Step::Appoint { replica: next.replica })
}

/// Why none of the replicas elsewhere can lead: of those that are in service, and of those that are not.
fn nobody_leads(
    scene: &Scene<'_>,
    partition: &Partition,
    others: &[&Member],
    excused: &[&Member],
) -> Finding {
    if others.iter().any(|member| is_about_to_follow(scene, partition, member)) {
        return Finding::Underway;
    }
    if others.is_empty() && !excused.is_empty() {
        let detail = "every replica of it that is in sync elsewhere is leaving or drained itself";
        return Finding::left(Reason::NoTarget, detail);
    }
    let detail = "no replica elsewhere is in sync, well, has room and is in service";
    Finding::left(Reason::UnderReplicated, detail)
}

/// Whether a replica that is well has not said yet that it follows in the present epoch. One that does not come to
/// it is not in sync for long: its leader sees to that.
fn is_about_to_follow(scene: &Scene<'_>, partition: &Partition, member: &Member) -> bool {
    scene.inputs.replica(member).is_some_and(|report| {
        let follows = report.epoch == partition.configuration.epoch && report.proven;
        report.state == ReplicaState::Ok && !follows
    })
}

fn can_lead(scene: &Scene<'_>, partition: &Partition, member: &Member) -> bool {
    let epoch = partition.configuration.epoch;
    let follows = scene.inputs.replica(member).is_some_and(|report| {
        report.role == Role::Follower
            && report.proven
            && report.epoch == epoch
            && report.state == ReplicaState::Ok
    });
    let disk = scene.inputs.fresh(member.node).and_then(|node| node.disks.get(&member.disk));
    let room = disk.is_some_and(|d| matches!(d.state, DiskState::Ok | DiskState::Low));
    follows && room && !scene.inputs.state.conditions.is_full(member.disk)
}

/// Looks after who is catching up.
fn attend(scene: &Scene<'_>, course: &Course<'_>) -> Option<Finding> {
    let configuration = &course.partition.configuration;
    if let Some(copy) = course.item.copy
        && configuration.member(copy.replica).is_none()
    {
        let why = format!("{:?} on {:?} is not a member any more", copy.replica, copy.node);
        return Some(Finding::GiveUp { why, step: None });
    }
    let lagging = configuration.catching_up.iter().filter_map(|id| configuration.member(*id));
    let lagging = lagging.filter(|member| !course.area.holds(member));
    let own = course.item.copy.map(|copy| copy.replica);
    let (ours, theirs): (Vec<&Member>, Vec<&Member>) =
        lagging.partition(|member| Some(member.replica) == own);
    if let Some(copy) = ours.first() {
        return Some(attend_copy(scene, course, copy));
    }
    let other = theirs.first()?;
    let detail = format!("{:?} on {:?} is being brought up", other.replica, other.node);
    Some(Finding::left(Reason::Repairing, detail))
}

/// Looks after the copy that this operation is making.
fn attend_copy(scene: &Scene<'_>, course: &Course<'_>, copy: &Member) -> Finding {
    let Member { replica, node, disk } = *copy;
    let step = Some(Step::Suspend { replica });
    let inputs = scene.inputs;
    let give_up = |why: String| Finding::GiveUp { why, step: step.clone() };
    let Some(report) = inputs.fresh(node) else {
        let silence = inputs.silence(node).unwrap_or(MOVE_SILENCE_MAX);
        if silence >= MOVE_SILENCE_MAX {
            return give_up(format!("{node:?} has been silent for {} s", silence.as_secs()));
        }
        if !inputs.is_silent(node) {
            return Finding::Underway;
        }
        let detail = format!("{node:?}, where the copy is being made, is silent");
        return Finding::left(Reason::Unreachable, detail);
    };
    if report
        .disks
        .get(&disk)
        .is_some_and(|d| matches!(d.state, DiskState::Full | DiskState::Failed))
    {
        return give_up(format!("{disk:?} of {node:?} takes no more"));
    }
    let copying = age(scene, course.item);
    let word = report.replicas.get(&replica);
    // However slowly it goes: copies make room for clients, and for each other.
    let rests = word.is_none_or(|word| inputs.now.since(word.grew_at) >= MOVE_STALLED_MAX);
    if rests && copying >= MOVE_STALLED_MAX + time_for(course.item.bytes, &course.operation.limits)
    {
        return give_up(format!("it was not complete after {} s", copying.as_secs()));
    }
    match word {
        Some(word) if word.state == ReplicaState::Failed => {
            give_up(format!("the copy on {node:?} failed: {}", word.reason))
        }
        None if copying >= MOVE_SILENCE_MAX => give_up(format!("{node:?} did not make the copy")),
        _ => source(scene, course).unwrap_or(Finding::Underway),
    }
}

fn age(scene: &Scene<'_>, item: &Item) -> Duration {
    item.begun.map_or(Duration::ZERO, |begun| scene.inputs.since(begun))
}

/// How long a copy of so many bytes may take, when it goes as slowly as it may: a node has so many at a time, and
/// they share what its operation leaves it.
fn time_for(bytes: u64, limits: &Limits) -> Duration {
    let share = limits.bandwidth.map(|all| (all / u64::from(limits.moves_per_node)).max(1));
    let rate =
        share.map_or(MOVE_BYTES_PER_SECOND_MIN, |share| share.min(MOVE_BYTES_PER_SECOND_MIN));
    Duration::from_secs(bytes / rate)
}

/// What is wrong with the replica that is copied from.
fn source(scene: &Scene<'_>, course: &Course<'_>) -> Option<Finding> {
    let leader = course.partition.configuration.leader_member()?;
    let report = scene.inputs.replica(leader)?;
    let detail = || format!("{:?} on {:?}: {}", leader.replica, leader.node, report.reason);
    (report.state == ReplicaState::Damaged).then(|| Finding::left(Reason::Damaged, detail()))
}

/// Begins a copy.
fn add(scene: &mut Scene<'_>, course: &Course<'_>) -> Finding {
    let inputs = scene.inputs;
    let configuration = &course.partition.configuration;
    let wanted = usize::from(course.volume.replicas);
    let here = configuration.members.iter().find(|member| course.area.holds(member));
    let Some(here) = here else { return Finding::Underway };
    let bytes = scene.bytes(course.partition, here);
    let wanted_there = |disk: DiskId| course.to.is_none_or(|to| to == disk);
    let anywhere =
        scene.places.choose(inputs, course.partition, bytes, |_, disk| wanted_there(disk));
    let is_possible = anywhere.is_some() && configuration.members.len() < REPLICAS_MAX;
    match course.to {
        Some(to) if !is_possible => return Finding::moot(format!("{to:?} does not take it now")),
        None if !is_possible => {
            return comes_back(scene, course).unwrap_or_else(|| nowhere(scene, course));
        }
        _ => {}
    }
    if configuration.members.len() < wanted {
        let detail = format!("{} of {wanted} replicas are there", configuration.members.len());
        return Finding::left(Reason::Repairing, detail);
    }
    let here = *here;
    begin_copy(scene, course, bytes, Some(here))
}

/// Begins a copy where there is room for it, when it is its turn. `goes` is the replica whose place it takes.
fn begin_copy(
    scene: &mut Scene<'_>,
    course: &Course<'_>,
    bytes: u64,
    goes: Option<Member>,
) -> Finding {
    let inputs = scene.inputs;
    let wanted_there = |disk: DiskId| course.to.is_none_or(|to| to == disk);
    if let Some(bad) = source(scene, course) {
        return bad;
    }
    if let Some(at) = course.item.retry_at.filter(|at| *at > inputs.date) {
        let detail = format!("{} copies were given up; again at {at}", course.item.attempts);
        return Finding::left(Reason::Conflict, detail);
    }
    let budget = &scene.budget;
    if goes.is_some_and(|goes| !budget.has_room(course.operation, goes.node, goes.disk)) {
        return Finding::Queued;
    }
    let fits = |node, disk| wanted_there(disk) && budget.has_room(course.operation, node, disk);
    let Some((node, disk)) = scene.places.choose(inputs, course.partition, bytes, fits) else {
        return Finding::Queued;
    };
    scene.places.take(disk, bytes);
    scene.budget.take_move();
    scene.budget.take(node, disk);
    if let Some(goes) = goes {
        scene.budget.take(goes.node, goes.disk);
    }
    Finding::Step(Step::Add { node, disk })
}

/// That a replica that was set aside is about to be taken back: one more that counts.
fn comes_back(scene: &Scene<'_>, course: &Course<'_>) -> Option<Finding> {
    let mut spares = scene.come_back(course.partition);
    let spare = spares.find(|spare| !course.area.holds(spare))?;
    let detail = format!("{:?} on {:?} is about to come back", spare.replica, spare.node);
    Some(Finding::left(Reason::Repairing, detail))
}

/// There is no place for a copy. With force, the minimum is enough.
fn nowhere(scene: &mut Scene<'_>, course: &Course<'_>) -> Finding {
    let configuration = &course.partition.configuration;
    if course.operation.force
        && let Some(finding) = let_go(scene, course, usize::from(configuration.in_sync_min))
    {
        return finding;
    }
    let (reason, detail) = match configuration.members.len() {
        REPLICAS_MAX.. => {
            let detail = "it has as many replicas as there may be; with force one is let go first";
            (Reason::NoTarget, detail.to_owned())
        }
        _ => scene.places.why_none(scene.inputs, course.partition),
    };
    let stays = configuration.in_sync.iter().filter_map(|id| configuration.member(*id));
    let stays = stays.filter(|member| !course.area.holds(member)).count();
    if course.operation.force || stays < usize::from(configuration.in_sync_min) {
        let min = configuration.in_sync_min;
        let detail = format!("{stays} of at least {min} would be left in sync; {detail}");
        return Finding::left(Reason::UnderReplicated, detail);
    }
    Finding::left(reason, detail)
}

/// What left the configuration goes: spares once enough are in sync, the rest by the hand of its node.
fn clean(scene: &Scene<'_>, operation: &Operation, partition: &Partition, area: &Area) -> Finding {
    let inputs = scene.inputs;
    if let Some(spare) = partition.spare.values().find(|spare| area.holds(&spare.member)) {
        let wanted = inputs.state.volumes.get(&partition.configuration.volume);
        let in_sync = partition.configuration.in_sync.len();
        if wanted.is_some_and(|volume| in_sync >= usize::from(volume.replicas)) {
            return Finding::Underway;
        }
        let enough = in_sync >= usize::from(partition.configuration.in_sync_min);
        if operation.force && enough {
            let id = partition.configuration.partition;
            if scene.touched.contains(&id) {
                return Finding::Underway;
            }
            if let Some(locked) = locked(inputs, operation, id, LockKind::Move) {
                return locked;
            }
            return Finding::Step(Step::Discard { replica: spare.member.replica });
        }
        let detail = format!("{:?} is kept until enough others are in sync", spare.member.replica);
        return Finding::left(Reason::Repairing, detail);
    }
    let doomed = || partition.doomed.values().filter(|member| area.holds(member));
    let is_dead = |member: &&Member| {
        let attested = operation.attested.is_some() && inputs.is_out_of_sight(member.disk);
        attested || inputs.has_failed(member.disk)
    };
    let dead: Vec<_> = doomed().filter(is_dead).map(|member| member.replica).collect();
    if !dead.is_empty() {
        return Finding::Abandon(dead);
    }
    match doomed().find(|member| inputs.is_silent(member.node)) {
        Some(member) => {
            let detail =
                format!("{:?} is silent and may still hold {:?}", member.node, member.replica);
            Finding::left(Reason::Unreachable, detail)
        }
        None => deleting(scene, operation, partition.configuration.partition),
    }
}

/// Its node was told to delete it, with every heartbeat: it takes a moment, and should not take long.
pub(super) fn deleting(scene: &Scene<'_>, operation: &Operation, id: PartitionId) -> Finding {
    let Some(item) = operation.items.get(&id) else { return Finding::Underway };
    let is_left = item.residue.as_ref().is_some_and(|left| left.reason == Reason::StillThere);
    let last = item.history.back().map_or(Duration::ZERO, |entry| scene.inputs.since(entry.at));
    if !is_left && last < DELETION_SLOW {
        return Finding::Underway;
    }
    Finding::left(Reason::StillThere, "its node was told to delete it and still reports it")
}
