//! A model of the control plane for one partition: one configuration, compared and set by epoch.
//!
//! It does what the real one will do with the same facts: keeps the newest report of each replica,
//! asks [`election::choose`], grants what leaders ask for, replaces copies that cannot recover. It
//! is slow, sometimes gone, and forgets all reports when it fails over.

use partition::replica::election::{self, Choice};
use partition::replica::{Change, Failure, Status};
use std::collections::BTreeMap;
use types::limits::NODE_SILENCE_MAX;
use types::volume::Durability;
use types::{
    Configuration, DiskId, Epoch, Member, NodeId, PartitionId, ReplicaId, VolumeId,
    configuration::PartitionKind,
};

/// The machine on which a replica lives: ids are made so that it shows.
pub(super) fn machine_of(replica: ReplicaId) -> usize {
    (replica.0 % 8) as usize
}

fn replica_on(machine: usize, generation: u64) -> ReplicaId {
    ReplicaId(generation * 8 + machine as u64)
}

#[derive(Debug)]
struct Report {
    number: u64,
    received_at: u64,
    status: Status,
}

#[derive(Debug)]
pub(super) struct Control {
    pub(super) configuration: Configuration,
    reports: BTreeMap<ReplicaId, Report>,
    generation: u64,
    pub(super) gone_until: u64,
}

impl Control {
    /// The first configuration: everybody is in sync, and one leads.
    pub(super) fn new(machines: usize, durability: Durability, in_sync_min: u8) -> Control {
        let replicas: Vec<ReplicaId> = (0..machines).map(|m| replica_on(m, 1)).collect();
        let configuration = Configuration {
            partition: PartitionId(1),
            volume: VolumeId(1),
            kind: PartitionKind::Data,
            epoch: Epoch(1),
            leader: Some(replicas[0]),
            in_sync: replicas.iter().copied().collect(),
            catching_up: std::collections::BTreeSet::new(),
            members: replicas.iter().map(|replica| member(*replica)).collect(),
            in_sync_min,
            durability,
        };
        Control { configuration, reports: BTreeMap::new(), generation: 1, gone_until: 0 }
    }

    /// Another member of the control plane takes over: the configuration stays, reports are gone.
    pub(super) fn fail_over(&mut self, until: u64) {
        self.reports.clear();
        self.gone_until = until;
    }

    pub(super) fn on_report(&mut self, now: u64, number: u64, replica: ReplicaId, status: Status) {
        if self.reports.get(&replica).is_none_or(|report| report.number < number) {
            self.reports.insert(replica, Report { number, received_at: now, status });
        }
    }

    /// Grants a leader's request when the configuration is still the one it speaks of.
    pub(super) fn on_request(&mut self, epoch: Epoch, change: Change) -> bool {
        let mut next = self.configuration.clone();
        if next.epoch != epoch {
            return false;
        }
        match change {
            Change::Promote { replica } => {
                if !next.catching_up.remove(&replica) {
                    return false;
                }
                next.in_sync.insert(replica);
            }
            Change::Remove { replica, .. } => {
                if next.leader == Some(replica) || next.member(replica).is_none() {
                    return false;
                }
                next.in_sync.remove(&replica);
                next.catching_up.insert(replica);
            }
        }
        self.set(next)
    }

    fn set(&mut self, mut next: Configuration) -> bool {
        next.epoch = next.epoch.next();
        next.members.sort_by_key(|member| member.replica);
        if next.check().is_err() {
            return false;
        }
        self.configuration = next;
        true
    }

    fn fresh(&self, now: u64) -> BTreeMap<ReplicaId, Status> {
        let silence = NODE_SILENCE_MAX.as_nanos() as u64;
        let recent = self.reports.iter().filter(|(_, r)| now - r.received_at < silence);
        recent.map(|(replica, report)| (*replica, report.status.clone())).collect()
    }

    /// What the election says now.
    pub(super) fn choice(&self, now: u64) -> Choice {
        election::choose(&self.configuration, &self.fresh(now))
    }

    /// Appoints whoever the election chooses. Returns who, and whether it was unproven.
    pub(super) fn plan_leader(&mut self, now: u64) -> Option<(ReplicaId, bool)> {
        let Choice::Lead(leader) = self.choice(now) else { return None };
        let proven = self.reports[&leader].status.proven;
        self.appoint(leader).then_some((leader, !proven))
    }

    /// Makes an in-sync replica leader.
    pub(super) fn appoint(&mut self, leader: ReplicaId) -> bool {
        let next = Configuration { leader: Some(leader), ..self.configuration.clone() };
        self.set(next)
    }

    /// Replaces a copy that cannot recover by itself: it is not in sync, and says it has failed.
    pub(super) fn plan_repair(&mut self, now: u64) -> Option<ReplicaId> {
        let fresh = self.fresh(now);
        let beyond_help = |replica: &&ReplicaId| {
            let failure = fresh.get(replica).and_then(|status| status.failure);
            matches!(failure, Some(Failure::Io | Failure::Diverged))
        };
        let lost = *self.configuration.catching_up.iter().find(beyond_help)?;
        let machine = machine_of(lost);
        self.generation += 1;
        let made = replica_on(machine, self.generation);
        let mut next = self.configuration.clone();
        next.catching_up.remove(&lost);
        next.catching_up.insert(made);
        next.members.retain(|member| member.replica != lost);
        next.members.push(member(made));
        self.set(next).then_some(made)
    }
}

fn member(replica: ReplicaId) -> Member {
    let machine = machine_of(replica) as u64;
    Member { replica, node: NodeId(machine + 1), disk: DiskId(machine + 1) }
}
