//! What one round of planning looks at, and what it finds.

use super::places::Places;
use super::record::{Holder, Limits, Operation};
use crate::detect::ReplicaReport;
use crate::plan::Inputs;
use crate::plan::elect::Leadership;
use crate::state::{Partition, Step};
use std::collections::{BTreeMap, BTreeSet};
use types::operation::{LockKind, Reason};
use types::{DiskId, Member, NodeId, PartitionId, ReplicaId};

/// What is to be said of one partition of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// This is the next step.
    Step(Step),
    /// Its copy is given up; `step` takes it out of the configuration where it is in it.
    GiveUp { why: String, step: Option<Step> },
    /// Something was asked for and is being done.
    Underway,
    /// It waits for others of the same operation: so many at a time.
    Queued,
    /// It exists no more where it was: by the word of its node that the disk is dead, or of somebody that it is
    /// destroyed.
    Abandon(Vec<ReplicaId>),
    /// There is no need for it any more.
    Moot { why: String },
    /// Its lock is to be taken: without it nothing is begun.
    Lock,
    /// It is to be read and compared by the member that leads, under the lock that is held.
    Read,
    /// So many bytes of it were read, and are as they should be.
    Verified { bytes: u64 },
    /// It was read, and is not as it should be: it is read again later.
    Unwell { reason: Reason, detail: String },
    /// It cannot be done for now.
    Left { reason: Reason, detail: String, holder: Option<Holder> },
}

impl Finding {
    pub fn left(reason: Reason, detail: impl Into<String>) -> Finding {
        Finding::Left { reason, detail: detail.into(), holder: None }
    }

    pub fn moot(why: impl Into<String>) -> Finding {
        Finding::Moot { why: why.into() }
    }

    /// Whether something goes on, or will in the next round.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !matches!(self, Finding::Left { .. } | Finding::Unwell { .. })
    }
}

/// How many moves are under way, by where from and where to.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    node: BTreeMap<NodeId, u32>,
    disk: BTreeMap<DiskId, u32>,
    all: u32,
}

impl Budget {
    /// Counts one end of a move.
    pub fn take(&mut self, node: NodeId, disk: DiskId) {
        *self.node.entry(node).or_default() += 1;
        *self.disk.entry(disk).or_default() += 1;
    }

    /// Counts a move as a whole.
    pub fn take_move(&mut self) {
        self.all += 1;
    }

    /// Whether one more move may begin or end here.
    #[must_use]
    pub fn has_room(&self, operation: &Operation, node: NodeId, disk: DiskId) -> bool {
        self.has_room_for(&operation.limits, node, disk)
    }

    /// The same, within other limits.
    #[must_use]
    pub fn has_room_for(&self, limits: &Limits, node: NodeId, disk: DiskId) -> bool {
        let count = |used: Option<&u32>| used.copied().unwrap_or(0);
        count(self.node.get(&node)) < limits.moves_per_node
            && count(self.disk.get(&disk)) < limits.moves_per_disk
            && self.all < limits.moves
    }
}

/// What a round looks at.
#[derive(Debug)]
pub struct Scene<'a> {
    pub inputs: &'a Inputs<'a>,
    /// Partitions that something is planned for already in this round.
    pub touched: BTreeSet<PartitionId>,
    /// Partitions without a leader that serves.
    pub unsettled: BTreeMap<PartitionId, Leadership>,
    pub places: Places,
    pub budget: Budget,
    /// How much is being read to verify it.
    pub reading: Budget,
    /// How many partitions each node leads.
    pub leads: BTreeMap<NodeId, usize>,
}

impl<'a> Scene<'a> {
    /// Looks around.
    #[must_use]
    pub fn new(
        inputs: &'a Inputs<'a>,
        touched: BTreeSet<PartitionId>,
        unsettled: BTreeMap<PartitionId, Leadership>,
    ) -> Scene<'a> {
        let leads = inputs.state.partitions.tally().leads.clone();
        let (places, budget) = (Places::of(inputs), moves_under_way(inputs));
        let reading = reads_under_way(inputs);
        Scene { inputs, touched, unsettled, places, budget, reading, leads }
    }

    /// That nobody leads the partition, as a finding.
    #[must_use]
    pub fn leaderless(&self, partition: PartitionId) -> Option<Finding> {
        match self.unsettled.get(&partition)? {
            Leadership::Open => {
                Some(Finding::left(Reason::Leaderless, "it has no leader that serves just now"))
            }
            Leadership::Settled | Leadership::Turning => Some(Finding::Underway),
        }
    }

    /// Spares that are well: mending takes them back before long.
    pub fn come_back<'p>(&self, partition: &'p Partition) -> impl Iterator<Item = &'p Member> {
        let inputs = self.inputs;
        let is_well = move |spare: &&Member| {
            let usable = inputs.replica(spare).is_some_and(ReplicaReport::is_usable);
            usable && !inputs.state.conditions.is_full(spare.disk)
        };
        partition.spare.values().map(|spare| &spare.member).filter(is_well)
    }

    /// The bytes of a replica: by its own word or, when it says nothing, by the others'.
    #[must_use]
    pub fn bytes(&self, partition: &Partition, member: &Member) -> u64 {
        if let Some(report) = self.inputs.replica(member) {
            return report.bytes;
        }
        let others = partition.configuration.members.iter();
        others.filter_map(|m| self.inputs.replica(m)).map(|r| r.bytes).max().unwrap_or(0)
    }
}

/// Counts the copies that operations are making.
fn moves_under_way(inputs: &Inputs<'_>) -> Budget {
    let mut budget = Budget::default();
    let operations = &inputs.state.operations;
    for operation in operations.all.values().filter(|operation| !operation.state.has_ended()) {
        for (id, item) in operation.items.iter().filter(|(_, item)| !item.done) {
            let Some(copy) = item.copy else { continue };
            let Some(partition) = inputs.state.partitions.get(id) else { continue };
            let configuration = &partition.configuration;
            let copy = configuration.member(copy.replica);
            let Some(copy) = copy.filter(|_| !partition.deleted) else { continue };
            // One that is complete moves no more bytes. What is still to be done about it may have to wait for
            // somebody, and must not keep others waiting.
            if configuration.in_sync.contains(&copy.replica) {
                continue;
            }
            budget.take_move();
            budget.take(copy.node, copy.disk);
            let goes = |m: &&types::Member| {
                operations.is_leaving(m) || item.relocation.is_some_and(|r| r.from == m.replica)
            };
            for leaving in configuration.members.iter().filter(goes) {
                budget.take(leaving.node, leaving.disk);
            }
        }
    }
    budget
}

/// Counts the partitions that are being read under a lock.
fn reads_under_way(inputs: &Inputs<'_>) -> Budget {
    let mut budget = Budget::default();
    for (id, locks) in &inputs.state.operations.locks {
        let is_read =
            locks.iter().any(|lock| lock.kind == LockKind::Scrub && lock.expires > inputs.date);
        let partition = inputs.state.partitions.get(id).filter(|_| is_read);
        let Some(partition) = partition else { continue };
        budget.take_move();
        for member in &partition.configuration.members {
            budget.take(member.node, member.disk);
        }
    }
    budget
}

/// The lock of another operation that is in the way, as a finding.
pub(super) fn locked(
    inputs: &Inputs<'_>,
    operation: &Operation,
    partition: PartitionId,
    kind: LockKind,
) -> Option<Finding> {
    let locks = &inputs.state.operations;
    let holder = locks.lock_against(partition, kind, operation.id, inputs.date)?;
    let Holder { operation, kind, since, .. } = holder;
    let detail = format!("operation {operation} holds a {kind} lock since {since}");
    Some(Finding::Left { reason: Reason::Locked, detail, holder: Some(holder) })
}
