//! Who leads a partition whose leader is gone.
//!
//! Think of a shop whose manager holds the only key. Before another person is made manager, either
//! the old one was seen without the key, or everybody knows that the lock was changed at closing
//! time. That nobody has seen the manager is not enough. So, of the replicas in sync:
//!
//! 1. *Is there a reason?* The partition has no leader, or the leader's node fell silent, or the
//!    leader's own node says that its replica, at this very epoch, does not lead.
//! 2. *Who may?* A replica whose node reports it now, at this very epoch, usable, and whose lease
//!    to the old leader has run out by its own word; or any such replica when the old leader's node
//!    itself says that it does not lead.
//! 3. *Who is best?* One that is proven (it heard from the last leader under this epoch, so it has
//!    every acknowledged write). When nobody is proven, everything was restarted at once: then
//!    **all** replicas in sync must have reported, and the one with the longest log of the newest
//!    epoch leads.
//!
//! A new leader still waits for what it swore to the old one to run out: a report is the past, and
//! the lease may have been renewed since. What is decided here only ever costs time, never safety.

use super::{Inputs, Plan};
use crate::detect::{ReplicaReport, Role};
use crate::state::{Command, Partition, Step};
use std::collections::BTreeSet;
use types::{Member, ReplicaId};

/// Whether a partition has somebody who leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// Nothing speaks against its leader.
    Settled,
    /// Its leader is gone; a successor was planned, or none is possible yet.
    Open,
}

/// What is known about the leader on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leader {
    /// Nothing speaks against it.
    Well,
    /// Not heard of for too long. It may still be at work.
    Silent,
    /// Its node says that it does not lead (or there never was one).
    Abdicated,
}

/// Plans a successor when the leader is gone.
pub(super) fn plan(inputs: &Inputs<'_>, partition: &Partition, plan: &mut Plan) -> Leadership {
    let leader = leader(inputs, partition);
    if leader == Leader::Well {
        return Leadership::Settled;
    }
    match choose(inputs, partition, leader) {
        Ok(replica) => {
            let without = left_out(inputs, partition, replica);
            plan.commands.push(Command::Configure {
                partition: partition.configuration.partition,
                expected: partition.configuration.epoch,
                step: Step::Appoint { replica, without },
                at: inputs.date,
            });
        }
        Err(waits) => {
            let id = partition.configuration.partition;
            plan.residue.push(format!("{id:?} has no leader: {waits}"));
        }
    }
    Leadership::Open
}

fn leader(inputs: &Inputs<'_>, partition: &Partition) -> Leader {
    let Some(member) = partition.configuration.leader_member() else { return Leader::Abdicated };
    let Some(report) = inputs.fresh(member.node) else {
        return if inputs.is_silent(member.node) { Leader::Silent } else { Leader::Well };
    };
    let lost =
        partition.made.contains(&member.replica) && report.proves_gone(member.replica, member.disk);
    match report.replicas.get(&member.replica) {
        None if lost => Leader::Abdicated,
        // Its disk does not answer, which says nothing about whether the replica still leads.
        None if !disk_works(report, member) => Leader::Silent,
        // Not made yet.
        None => Leader::Well,
        Some(replica) if replica.epoch != partition.configuration.epoch => Leader::Well,
        Some(replica) if replica.role != Role::Leader => Leader::Abdicated,
        Some(replica) if !replica.is_usable() => Leader::Abdicated,
        Some(_) => Leader::Well,
    }
}

fn disk_works(report: &crate::detect::NodeReport, member: &Member) -> bool {
    report.disks.get(&member.disk).is_some_and(|d| d.state != crate::detect::DiskState::Failed)
}

/// The replica to appoint, or what is being waited for.
fn choose(inputs: &Inputs<'_>, partition: &Partition, leader: Leader) -> Result<ReplicaId, String> {
    let configuration = &partition.configuration;
    let in_sync: Vec<&Member> =
        configuration.in_sync.iter().filter_map(|r| configuration.member(*r)).collect();
    let reported: Vec<(&Member, &ReplicaReport)> =
        in_sync.iter().filter_map(|m| Some((*m, inputs.replica(m)?))).collect();
    let eligible = |report: &ReplicaReport| {
        report.is_usable()
            && report.epoch == configuration.epoch
            && (leader == Leader::Abdicated || report.lease_expired)
    };
    let rank = |&&(member, report): &&(&Member, &ReplicaReport)| {
        // Of equals, the smaller id: `max_by_key` takes the last maximum.
        (report.last_record_epoch, report.end, std::cmp::Reverse(member.replica))
    };
    let proven = reported.iter().filter(|(_, r)| eligible(r) && r.proven).max_by_key(rank);
    if let Some((member, _)) = proven {
        return Ok(member.replica);
    }
    if reported.len() < in_sync.len() {
        return Err(format!("waits for {}", missing(&in_sync, &reported)));
    }
    let unusable = reported.iter().find(|(_, report)| !report.is_usable());
    if let Some((member, report)) = unusable {
        let (replica, node) = (member.replica, member.node);
        return Err(format!("waits for {replica:?} on {node:?} ({})", why(report)));
    }
    // Everybody reported. The longest log holds every acknowledged write, so only its holder may
    // lead; when that one is not eligible yet, it will be after its lease.
    let longest = reported.iter().max_by_key(rank).expect("somebody is in sync");
    match longest {
        (member, report) if eligible(report) => Ok(member.replica),
        (member, _) => Err(format!("waits for the lease of {:?} to run out", member.replica)),
    }
}

fn missing(in_sync: &[&Member], reported: &[(&Member, &ReplicaReport)]) -> String {
    let silent = in_sync.iter().filter(|m| !reported.iter().any(|(r, _)| r == *m));
    let names: Vec<String> = silent.map(|m| format!("{:?} on {:?}", m.replica, m.node)).collect();
    names.join(", ")
}

fn why(report: &ReplicaReport) -> String {
    let state = format!("{:?}", report.state).to_lowercase();
    if report.reason.is_empty() { state } else { format!("{state}: {}", report.reason) }
}

/// The replicas that the new leader need not wait for: their nodes are silent.
///
/// Only when the new leader is proven. When nobody is, all of them reported, so none is silent.
fn left_out(
    inputs: &Inputs<'_>,
    partition: &Partition,
    appointed: ReplicaId,
) -> BTreeSet<ReplicaId> {
    let silent = |m: &&Member| m.replica != appointed && inputs.is_silent(m.node);
    let in_sync = |m: &&Member| partition.configuration.in_sync.contains(&m.replica);
    let members = partition.configuration.members.iter();
    members.filter(in_sync).filter(silent).map(|m| m.replica).collect()
}
