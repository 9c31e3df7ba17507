//! Brings a partition back to as many replicas as its volume asks for.
//!
//! In this order, one step at a time: give up on a member that is lost; let go of one too many (the copy of
//! an operation that was cancelled); give up for good on spares that nobody needs or that are of no use; take a
//! spare back; make a new replica, or take back one that is to leave where there is no place for another. A
//! spare that may come back is kept until its replacement is in sync: it may be the copy that comes back first.

use super::place::Load;
use super::{Inputs, Plan};
use crate::detect::ReplicaState;
use crate::state::{Command, Partition, Spare, State, Step};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use types::condition::{Key, State as Condition};
use types::{Member, PartitionId, VolumeId};

/// What operations are at work with, and mending leaves to them.
pub(super) struct Going {
    claimed: BTreeSet<PartitionId>,
    expanding: BTreeMap<VolumeId, u8>,
}

impl Going {
    pub(super) fn of(state: &State) -> Going {
        let operations = &state.operations;
        Going { claimed: operations.claimed(), expanding: operations.expanding() }
    }
}

/// Plans the next step, if there is one.
pub(super) fn plan(
    inputs: &Inputs<'_>,
    partition: &Partition,
    going: &Going,
    load: &mut Load,
    plan: &mut Plan,
) {
    let Some(volume) = inputs.state.volumes.get(&partition.configuration.volume) else { return };
    let wanted = usize::from(volume.replicas);
    // What an operation is to make, it makes itself.
    let mended = going.expanding.get(&volume.id).map_or(wanted, |before| usize::from(*before));
    let claimed = &going.claimed;
    let step = suspend(inputs, partition)
        .or_else(|| give_up_full(inputs, partition, claimed, load))
        .or_else(|| trim(inputs, partition, claimed, wanted))
        .or_else(|| discard(inputs, partition, wanted))
        .or_else(|| readmit(inputs, partition, wanted))
        .or_else(|| add(inputs, partition, mended, load, plan));
    if let Some(step) = step {
        plan.commands.push(Command::Configure {
            partition: partition.configuration.partition,
            expected: partition.configuration.epoch,
            step,
            at: inputs.date,
        });
    }
}

/// Gives up on a member that was lost. One that is in sync is given up only when it exists no more,
/// by the word of its own node: everything else is for its leader to judge, who knows whether it
/// still answers.
fn suspend(inputs: &Inputs<'_>, partition: &Partition) -> Option<Step> {
    let configuration = &partition.configuration;
    let follows = |member: &&Member| configuration.leader != Some(member.replica);
    let lost = |member: &&Member| {
        let in_sync = configuration.in_sync.contains(&member.replica);
        is_gone(inputs, partition, member)
            || (!in_sync && (is_long_silent(inputs, member) || has_failed(inputs, member)))
    };
    let mut given_up = configuration.members.iter().filter(follows).filter(lost);
    given_up.next().map(|member| Step::Suspend { replica: member.replica })
}

/// Gives up a copy that is behind and cannot catch up, because its disk has been full for long, when
/// there is another place for one. What it has is kept until the other one is in sync.
fn give_up_full(
    inputs: &Inputs<'_>,
    partition: &Partition,
    claimed: &BTreeSet<PartitionId>,
    load: &Load,
) -> Option<Step> {
    let configuration = &partition.configuration;
    // What an operation put there is its own to judge.
    if claimed.contains(&configuration.partition) {
        return None;
    }
    let behind = |member: &&Member| configuration.catching_up.contains(&member.replica);
    let stuck = |member: &&Member| is_long_full(inputs, member);
    let member = configuration.members.iter().filter(behind).find(stuck)?;
    let taken: Vec<_> = partition.holders().map(|member| member.node).collect();
    load.choose(inputs, &taken)?;
    Some(Step::Suspend { replica: member.replica })
}

/// Its disk has been full for so long that nobody waits for it any more.
fn is_long_full(inputs: &Inputs<'_>, member: &Member) -> bool {
    let record = inputs.state.conditions.get(Key::space(member.disk));
    record.is_some_and(|record| {
        record.state == Condition::Full && inputs.since(record.since) >= inputs.policy.replace_after
    })
}

/// Lets go of a member too many, unless an operation is at work with it. One that catches up goes first, then
/// the newest; the leader stays, and so does who is on a place in service rather than on one that is not.
fn trim(
    inputs: &Inputs<'_>,
    partition: &Partition,
    claimed: &BTreeSet<PartitionId>,
    wanted: usize,
) -> Option<Step> {
    let configuration = &partition.configuration;
    if configuration.members.len() <= wanted || claimed.contains(&configuration.partition) {
        return None;
    }
    let follows = |member: &&Member| configuration.leader != Some(member.replica);
    // Who is in sync goes only while more than enough are.
    let spared = |member: &&Member| {
        !configuration.in_sync.contains(&member.replica) || configuration.in_sync.len() > wanted
    };
    let rank = |member: &&Member| {
        let excused = inputs.state.operations.is_leaving(member);
        (configuration.catching_up.contains(&member.replica), excused, member.replica)
    };
    let surplus = configuration.members.iter().filter(follows).filter(spared).max_by_key(rank)?;
    Some(Step::Suspend { replica: surplus.replica })
}

/// Its node was silent for so long that nobody waits for it any more.
fn is_long_silent(inputs: &Inputs<'_>, member: &Member) -> bool {
    inputs.silence(member.node).is_none_or(|silence| silence >= inputs.policy.replace_after)
}

/// It says that it cannot be used, and will not be by itself.
fn has_failed(inputs: &Inputs<'_>, member: &Member) -> bool {
    inputs.replica(member).is_some_and(|report| report.state == ReplicaState::Failed)
}

/// Its node says that it is not there.
fn is_absent(inputs: &Inputs<'_>, member: &Member) -> bool {
    let report = inputs.fresh(member.node);
    report.is_some_and(|report| report.proves_gone(member.replica, member.disk))
}

/// It was there, and is not any more.
fn is_gone(inputs: &Inputs<'_>, partition: &Partition, member: &Member) -> bool {
    partition.made.contains(&member.replica) && is_absent(inputs, member)
}

/// How long a spare has been one.
fn time_out(inputs: &Inputs<'_>, spare: &Spare) -> Duration {
    inputs.since(spare.since)
}

/// Gives up for good on spares that nobody needs, that do not exist (one that became a spare before
/// it was made never will), or that were broken for long.
fn discard(inputs: &Inputs<'_>, partition: &Partition, wanted: usize) -> Option<Step> {
    let enough = partition.configuration.in_sync.len() >= wanted;
    let useless = |spare: &&Spare| {
        let broken = has_failed(inputs, &spare.member)
            && time_out(inputs, spare) >= inputs.policy.replace_after;
        enough || broken || is_absent(inputs, &spare.member)
    };
    partition.spare.values().find(useless).map(|s| Step::Discard { replica: s.member.replica })
}

/// Takes back a spare that is well again.
fn readmit(inputs: &Inputs<'_>, partition: &Partition, wanted: usize) -> Option<Step> {
    if partition.configuration.members.len() >= wanted {
        return None;
    }
    let stays = |spare: &&Spare| !inputs.state.operations.is_leaving(&spare.member);
    let mut back = partition.spare.values().filter(|spare| can_come_back(inputs, partition, spare));
    back.find(stays).map(|s| Step::Readmit { replica: s.member.replica })
}

/// Takes back a spare that is to leave, when there is nowhere else for a replica: whoever has it leave waits
/// for a place, and until then it is one more copy.
fn readmit_leaving(inputs: &Inputs<'_>, partition: &Partition) -> Option<Step> {
    let mut back = partition.spare.values().filter(|spare| can_come_back(inputs, partition, spare));
    back.next().map(|s| Step::Readmit { replica: s.member.replica })
}

/// Whether a spare is well again, and has been for long enough.
fn can_come_back(inputs: &Inputs<'_>, partition: &Partition, spare: &Spare) -> bool {
    let well = inputs.replica(&spare.member).is_some_and(|report| report.is_usable());
    let free = partition.configuration.member_on(spare.member.node).is_none();
    let has_room = !inputs.state.conditions.is_full(spare.member.disk);
    well && free && has_room && time_out(inputs, spare) >= inputs.policy.readmit_after
}

/// Makes a new replica when too few are left that may come back, or makes do with one that is to leave.
fn add(
    inputs: &Inputs<'_>,
    partition: &Partition,
    wanted: usize,
    load: &mut Load,
    plan: &mut Plan,
) -> Option<Step> {
    // A silent one was waited for before it became a spare; a broken one may mend.
    let may_come_back = |spare: &&Spare| {
        let stays = !inputs.state.operations.is_leaving(&spare.member)
            && !is_long_full(inputs, &spare.member);
        stays && inputs.fresh(spare.member.node).is_some()
    };
    let expected = partition.spare.values().filter(may_come_back).count();
    if partition.configuration.members.len() + expected >= wanted {
        return None;
    }
    // A node holds one replica of a partition, be it one that is to be deleted.
    let taken: Vec<_> = partition.holders().map(|member| member.node).collect();
    let Some((node, disk)) = load.choose(inputs, &taken) else {
        if let Some(step) = readmit_leaving(inputs, partition) {
            return Some(step);
        }
        let id = partition.configuration.partition;
        plan.residue.push(format!("{id:?} lacks a replica: no other node has room for it"));
        return None;
    };
    load.take(node, disk);
    Some(Step::Add { node, disk })
}
