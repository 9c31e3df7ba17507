//! Brings a partition back to as many replicas as its volume asks for.
//!
//! In this order, one step at a time: give up on a replica that was lost while catching up; give up
//! for good on spares that nobody needs or that cannot come back; take a spare back; make a new
//! replica elsewhere. A spare is kept until its replacement is in sync: until then it may be the
//! one copy that comes back first.

use super::place::Load;
use super::{Inputs, Plan};
use crate::state::{Command, Partition, Spare, Step};
use std::time::Duration;
use types::Member;

/// Plans the next step, if there is one.
pub(super) fn plan(inputs: &Inputs<'_>, partition: &Partition, load: &mut Load, plan: &mut Plan) {
    let Some(volume) = inputs.state.volumes.get(&partition.configuration.volume) else { return };
    let wanted = usize::from(volume.replicas);
    let step = suspend(inputs, partition)
        .or_else(|| discard(inputs, partition, wanted))
        .or_else(|| readmit(inputs, partition, wanted))
        .or_else(|| add(inputs, partition, wanted, load, plan));
    if let Some(step) = step {
        plan.commands.push(Command::Configure {
            partition: partition.configuration.partition,
            expected: partition.configuration.epoch,
            step,
            at: inputs.date,
        });
    }
}

/// Why a replica will not come back by waiting.
fn is_lost(inputs: &Inputs<'_>, partition: &Partition, member: &Member) -> bool {
    let long_silent =
        inputs.silence(member.node).is_none_or(|silence| silence >= inputs.policy.replace_after);
    long_silent || is_gone(inputs, partition, member)
}

/// The replica's own node says that it cannot be used, or that a replica that was there is not.
fn is_gone(inputs: &Inputs<'_>, partition: &Partition, member: &Member) -> bool {
    let Some(report) = inputs.fresh(member.node) else { return false };
    match report.replicas.get(&member.replica) {
        Some(replica) => replica.state == crate::detect::ReplicaState::Failed,
        None => {
            partition.made.contains(&member.replica)
                && report.proves_gone(member.replica, member.disk)
        }
    }
}

/// Gives up on a member that was lost. One that is in sync is given up only on the word of its own
/// node: silence is for its leader to judge, who knows whether it still answers.
fn suspend(inputs: &Inputs<'_>, partition: &Partition) -> Option<Step> {
    let configuration = &partition.configuration;
    let follows = |member: &&Member| configuration.leader != Some(member.replica);
    let lost = |member: &&Member| match configuration.in_sync.contains(&member.replica) {
        true => is_gone(inputs, partition, member),
        false => is_lost(inputs, partition, member),
    };
    let mut given_up = configuration.members.iter().filter(follows).filter(lost);
    given_up.next().map(|member| Step::Suspend { replica: member.replica })
}

/// Gives up for good on spares that nobody needs, or that do not exist any more.
fn discard(inputs: &Inputs<'_>, partition: &Partition, wanted: usize) -> Option<Step> {
    let enough = partition.configuration.in_sync.len() >= wanted;
    let gone = |member: &Member| {
        let report = inputs.fresh(member.node);
        let gone = report.is_some_and(|r| r.proves_gone(member.replica, member.disk));
        gone && partition.made.contains(&member.replica)
    };
    let useless = |spare: &&Spare| enough || gone(&spare.member);
    partition.spare.values().find(useless).map(|s| Step::Discard { replica: s.member.replica })
}

/// Takes back a spare whose node is here again.
fn readmit(inputs: &Inputs<'_>, partition: &Partition, wanted: usize) -> Option<Step> {
    if partition.configuration.members.len() >= wanted {
        return None;
    }
    let back = |spare: &&Spare| {
        let here = inputs.replica(&spare.member).is_some_and(|report| report.is_usable());
        let free = partition.configuration.member_on(spare.member.node).is_none();
        here && free && waited(inputs, spare)
    };
    partition.spare.values().find(back).map(|s| Step::Readmit { replica: s.member.replica })
}

/// Whether a spare was out for long enough: longer each time, so that a bad link does not turn the
/// configuration over and over.
fn waited(inputs: &Inputs<'_>, spare: &Spare) -> bool {
    let out = inputs.date.0.saturating_sub(spare.since.0);
    let out = Duration::from_nanos(u64::try_from(out).unwrap_or(0));
    out >= readmit_delay(inputs, spare.strikes)
}

fn readmit_delay(inputs: &Inputs<'_>, strikes: u32) -> Duration {
    let doublings = strikes.saturating_sub(1).min(16);
    let delay = inputs.policy.readmit_after.saturating_mul(1 << doublings);
    delay.min(inputs.policy.readmit_after_max)
}

/// Makes a new replica when too few are left that may come back.
fn add(
    inputs: &Inputs<'_>,
    partition: &Partition,
    wanted: usize,
    load: &mut Load,
    plan: &mut Plan,
) -> Option<Step> {
    let hopeful = |spare: &&Spare| !is_lost(inputs, partition, &spare.member);
    let expected = partition.spare.values().filter(hopeful).count();
    if partition.configuration.members.len() + expected >= wanted {
        return None;
    }
    let spares = partition.spare.values().filter(hopeful).map(|spare| &spare.member);
    let taken: Vec<_> =
        partition.configuration.members.iter().chain(spares).map(|member| member.node).collect();
    let Some((node, disk)) = load.choose(inputs, &taken) else {
        let id = partition.configuration.partition;
        plan.residue.push(format!("{id:?} lacks a replica: no other node has room for it"));
        return None;
    };
    load.take(node, disk);
    Some(Step::Add { node, disk })
}
