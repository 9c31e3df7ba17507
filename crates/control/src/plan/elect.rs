//! Who leads a partition whose leader is gone.
//!
//! Who *may* lead is the replication engine's to say, because its safety rests on it:
//! [`partition::replica::election::choose`] decides, from what the in-sync replicas say about
//! themselves, and the engine's simulation runs that very function. Here is only what comes before
//! and after: which reports are evidence, and that a leader is not given up while its node is heard
//! of and may simply not have got that far (a replica that is still to be made leads nothing yet,
//! and nobody need be appointed in its place).
//!
//! An appointment changes the leader and nothing else.

use super::{Inputs, Plan};
use crate::detect::{DiskState, NodeReport, ReplicaReport, ReplicaState, Role};
use crate::state::{Command, Partition, Step};
use partition::replica::election::{self, Choice, Obstacle};
use partition::replica::{Failure, Position, RoleName, Status};
use std::collections::BTreeMap;
use types::limits::MISSED_LISTENING_MIN;
use types::{Configuration, Member, ReplicaId, Sequence};

/// Whether a partition has somebody who leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// Nothing speaks against its leader.
    Settled,
    /// A successor was planned, or is taking up its appointment.
    Turning,
    /// Its leader is gone, and nobody can take its place yet.
    Open,
}

/// Plans a successor when the leader is gone.
pub(super) fn plan(inputs: &Inputs<'_>, partition: &Partition, plan: &mut Plan) -> Leadership {
    let configuration = &partition.configuration;
    if configuration.leader_member().is_some_and(|leader| may_come(inputs, partition, leader)) {
        return Leadership::Settled;
    }
    match election::choose(configuration, &reports(inputs, partition)) {
        Choice::Keep => return move_to_room(inputs, partition, plan),
        Choice::Lead(replica) => {
            plan.commands.push(appointment(inputs, configuration, replica));
            return Leadership::Turning;
        }
        // It has its appointment and is taking it up: nothing is in the way.
        Choice::Wait(obstacles) if obstacles.iter().all(|(_, o)| *o == Obstacle::Appointed) => {
            return Leadership::Turning;
        }
        Choice::Wait(obstacles) => {
            let id = configuration.partition;
            plan.residue.push(format!("{id:?} has no leader: {}", waits(partition, &obstacles)));
        }
    }
    Leadership::Open
}

/// A leader whose disk is out of space hands over to a replica that has everything and has room, when
/// there is one: it goes on leading until the other has its appointment.
fn move_to_room(inputs: &Inputs<'_>, partition: &Partition, plan: &mut Plan) -> Leadership {
    let configuration = &partition.configuration;
    let full = |member: &Member| inputs.state.conditions.is_full(member.disk);
    if !configuration.leader_member().is_some_and(full) {
        return Leadership::Settled;
    }
    let able = |member: &&Member| {
        let report = inputs.replica(member);
        let follows = |r: &ReplicaReport| {
            r.role == Role::Follower && r.proven && r.is_usable() && r.epoch == configuration.epoch
        };
        report.is_some_and(follows) && !full(member) && has_room(inputs, member)
    };
    let in_sync = configuration.in_sync.iter().filter_map(|id| configuration.member(*id));
    let Some(member) = in_sync.filter(able).min_by_key(|member| member.replica) else {
        return Leadership::Settled;
    };
    plan.commands.push(appointment(inputs, configuration, member.replica));
    Leadership::Turning
}

fn appointment(inputs: &Inputs<'_>, now: &Configuration, replica: ReplicaId) -> Command {
    let (partition, expected, at) = (now.partition, now.epoch, inputs.date);
    Command::Configure { partition, expected, step: Step::Appoint { replica }, at }
}

/// Whether the node of a member says just now that its disk takes writes.
fn has_room(inputs: &Inputs<'_>, member: &Member) -> bool {
    let report = inputs.fresh(member.node).and_then(|report| report.disks.get(&member.disk));
    report.is_some_and(|disk| matches!(disk.state, DiskState::Ok | DiskState::Low))
}

/// Whether a leader that says nothing may just not have got that far.
fn may_come(inputs: &Inputs<'_>, partition: &Partition, leader: &Member) -> bool {
    match inputs.fresh(leader.node) {
        None => !inputs.is_silent(leader.node) && !is_missed(inputs, partition, leader),
        Some(report) => {
            let listed = report.replicas.contains_key(&leader.replica);
            !listed && !partition.made.contains(&leader.replica) && disk_works(report, leader)
        }
    }
}

/// Whether everybody else who is in sync says that the leader fell silent, to a member that began to
/// listen after that and has not heard the leader either. They have waited already, longer than a
/// lease, so this member need not wait for all of it again: a machine that took the leading member
/// and the leader of a partition with it would otherwise cost both times, one after the other.
///
/// Appointing somebody too early costs a change of leaders and nothing else.
fn is_missed(inputs: &Inputs<'_>, partition: &Partition, leader: &Member) -> bool {
    let listened = inputs.detector.listening(inputs.now) >= MISSED_LISTENING_MIN;
    let unheard = inputs
        .state
        .nodes
        .get(&leader.node)
        .is_some_and(|node| inputs.detector.report(node.id, node.boot).is_none());
    let configuration = &partition.configuration;
    let mut others = configuration.in_sync.iter().filter(|id| **id != leader.replica);
    let misses = |member: &Member| {
        let report = inputs.replica(member);
        report.is_some_and(|r| r.role == Role::Follower && r.lease_expired)
    };
    listened
        && unheard
        && configuration.in_sync.len() > 1
        && others.all(|id| configuration.member(*id).is_some_and(misses))
}

fn disk_works(report: &NodeReport, member: &Member) -> bool {
    report.disks.get(&member.disk).is_some_and(|disk| disk.state != DiskState::Failed)
}

/// What the in-sync replicas say about themselves now, in the engine's words.
fn reports(inputs: &Inputs<'_>, partition: &Partition) -> BTreeMap<ReplicaId, Status> {
    let configuration = &partition.configuration;
    let in_sync = configuration.in_sync.iter().filter_map(|r| configuration.member(*r));
    in_sync.filter_map(|member| Some((member.replica, status(inputs.replica(member)?)?))).collect()
}

/// `None` for a replica that does not know itself yet.
fn status(report: &ReplicaReport) -> Option<Status> {
    let failure = match report.state {
        ReplicaState::Unspecified | ReplicaState::Recovering => return None,
        ReplicaState::Ok | ReplicaState::Damaged => None,
        ReplicaState::Full => Some(Failure::NoSpace),
        ReplicaState::Failed => Some(Failure::Io),
    };
    Some(Status {
        role: match report.role {
            // Who writes is proven; one that is not still compares its log with the others'.
            Role::Leader if report.proven => RoleName::Leading,
            Role::Leader => RoleName::Reconciling,
            Role::Follower | Role::CatchingUp => RoleName::Following,
            Role::Idle => RoleName::Waiting,
        },
        epoch: report.epoch,
        life: 0,
        last: Position { epoch: report.last_record_epoch, sequence: report.end },
        log_start: Sequence::ZERO,
        synced: Sequence::ZERO,
        committed: report.committed,
        lease_expired: report.lease_expired,
        proven: report.proven,
        failure,
        followers: Vec::new(),
    })
}

/// What is being waited for, for people.
fn waits(partition: &Partition, obstacles: &[(ReplicaId, Obstacle)]) -> String {
    let one = |(replica, obstacle): &(ReplicaId, Obstacle)| {
        let node = partition.configuration.member(*replica).map(|member| member.node);
        let node = node.map_or(String::new(), |node| format!(" on {node:?}"));
        let what = match obstacle {
            Obstacle::Silent => "is not heard of",
            Obstacle::LeaseRuns => "waits for its lease to the old leader to run out",
            Obstacle::Failed(_) => "cannot write",
            Obstacle::Unproven => "was restarted and may lack what others have",
            Obstacle::Appointed => "is appointed and has not begun yet",
        };
        format!("{replica:?}{node} {what}")
    };
    let all: Vec<String> = obstacles.iter().map(one).collect();
    if all.is_empty() { "nobody can tell yet".to_owned() } else { all.join("; ") }
}
