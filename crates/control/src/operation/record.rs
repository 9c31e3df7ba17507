//! What is on record of operations, of locks, and of nodes and disks that are leaving.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use types::limits::{
    COPY_BYTES_PER_SECOND_MIN, ITEM_HISTORY_MAX, MOVES_MAX, MOVES_PER_DISK_MAX, MOVES_PER_NODE_MAX,
    OPERATION_HISTORY_MAX,
};
use types::operation::{LockKind, OperationKind, OperationState, Reason, Target};
use types::{
    BootId, DiskId, Member, NodeId, OperationId, PartitionId, ReplicaId, Timestamp, VolumeId,
};

/// How much at a time. What is not said is as usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    pub moves_per_disk: u32,
    pub moves_per_node: u32,
    pub moves: u32,
    /// Bytes a second of one node; `None` for what is usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            moves_per_disk: MOVES_PER_DISK_MAX,
            moves_per_node: MOVES_PER_NODE_MAX,
            moves: MOVES_MAX,
            bandwidth: None,
        }
    }
}

impl Limits {
    /// Says what is wrong with them.
    ///
    /// # Errors
    /// When one of them is nought: nothing would ever move, and nothing would say so.
    pub fn check(&self, kind: OperationKind) -> Result<(), &'static str> {
        if [self.moves_per_disk, self.moves_per_node, self.moves].contains(&0) {
            return Err("a limit of moves is at least 1; to stop an operation, pause it");
        }
        if self.bandwidth == Some(0) {
            return Err("a bandwidth is at least a byte a second; to stop an operation, pause it");
        }
        let is_slow = self.bandwidth.is_some_and(|bytes| bytes < COPY_BYTES_PER_SECOND_MIN);
        if is_slow && kind != OperationKind::Scrub {
            return Err(
                "a bandwidth for copies is at least 256 KiB a second; to stop an operation, pause it",
            );
        }
        Ok(())
    }
}

/// Something that happened to an operation, or to one of its partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub at: Timestamp,
    /// A sentence for people.
    pub what: String,
}

/// Adds to a history of bounded length.
pub(super) fn remember(history: &mut VecDeque<Entry>, max: usize, at: Timestamp, what: String) {
    history.push_back(Entry { at, what });
    while history.len() > max {
        history.pop_front();
    }
}

/// Who holds a lock that is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub operation: OperationId,
    pub kind: LockKind,
    pub since: Timestamp,
    pub expires: Timestamp,
}

/// What could not be done, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Residue {
    pub reason: Reason,
    /// A sentence for people: which node, which disk.
    pub detail: String,
    /// Since when it is for this reason.
    pub since: Timestamp,
    /// When this was written down last; the member that leads looks in every round.
    pub last_checked: Timestamp,
    #[serde(default)]
    pub holder: Option<Holder>,
    /// When it is tried again; `None`: in every round.
    #[serde(default)]
    pub next_retry: Option<Timestamp>,
}

/// How many replicas a volume had, and how many it is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replicas {
    #[serde(default)]
    pub from: u8,
    pub to: u8,
}

/// That one replica of a partition goes, and where its copy is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relocation {
    pub from: ReplicaId,
    pub node: NodeId,
    pub disk: DiskId,
}

/// One partition of an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Bytes there were to do, when it was first seen.
    pub bytes: u64,
    pub done: bool,
    /// The new replica that takes the place of the one that goes, while there is one.
    #[serde(default)]
    pub copy: Option<Member>,
    /// When the copy was begun.
    #[serde(default)]
    pub begun: Option<Timestamp>,
    #[serde(default)]
    pub residue: Option<Residue>,
    /// Copies that were given up.
    #[serde(default)]
    pub attempts: u32,
    #[serde(default)]
    pub retry_at: Option<Timestamp>,
    #[serde(default)]
    pub history: VecDeque<Entry>,
    /// For kinds that decide it when they start.
    #[serde(default)]
    pub relocation: Option<Relocation>,
}

impl Item {
    pub(super) fn note(&mut self, at: Timestamp, what: impl Into<String>) {
        remember(&mut self.history, ITEM_HISTORY_MAX, at, what.into());
    }
}

/// One node that said what is on its disks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    pub node: NodeId,
    pub boot: BootId,
    /// Replicas of the target that it found in its folders.
    pub found: u64,
    /// The disks of the target whose folders it read.
    #[serde(default)]
    pub disks: Vec<DiskId>,
}

/// What a verdict rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The verification this belongs to.
    pub round: u32,
    pub at: Timestamp,
    /// Partitions of the whole cluster that were looked at.
    pub scanned: u64,
    /// Partitions that the operation had dealt with.
    pub processed: u64,
    /// Partitions that are left.
    pub left: u64,
    pub witnesses: Vec<Witness>,
    /// Disks of the target that have failed, by the word of their nodes: what was on them is lost, and was
    /// not looked at.
    #[serde(default)]
    pub dead: Vec<DiskId>,
    /// Disks that nobody could look at, and that somebody said are destroyed. Believed, and not proved.
    #[serde(default)]
    pub believed: Vec<DiskId>,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    pub id: OperationId,
    pub kind: OperationKind,
    pub target: Target,
    /// Who asked.
    pub by: String,
    pub created: Timestamp,
    pub started: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    pub state: OperationState,
    /// When it took that state.
    pub changed: Timestamp,
    pub limits: Limits,
    /// Higher goes first.
    pub priority: u8,
    /// May go below what the volume asks for, never below its minimum.
    pub force: bool,
    /// What blocks all of it.
    #[serde(default)]
    pub blocked: Option<Residue>,
    #[serde(default)]
    pub items: BTreeMap<PartitionId, Item>,
    /// Which verification the last one is; counted from 1.
    #[serde(default)]
    pub verification: u32,
    #[serde(default)]
    pub evidence: Option<Evidence>,
    #[serde(default)]
    pub history: VecDeque<Entry>,
    /// Who said that what is out of sight of its target is destroyed.
    #[serde(default)]
    pub attested: Option<String>,
    /// Of one that gives a volume more replicas.
    #[serde(default)]
    pub replicas: Option<Replicas>,
}

impl Operation {
    /// One that is asked for, and has no number yet.
    #[must_use]
    pub fn new(kind: OperationKind, target: Target, by: &str, at: Timestamp) -> Operation {
        Operation {
            id: OperationId(0),
            kind,
            target,
            by: by.to_owned(),
            created: at,
            started: None,
            ended: None,
            state: OperationState::Planned,
            changed: at,
            limits: Limits::default(),
            priority: 0,
            force: false,
            blocked: None,
            items: BTreeMap::new(),
            verification: 0,
            evidence: None,
            history: VecDeque::new(),
            attested: None,
            replicas: None,
        }
    }

    /// Partitions and bytes: done, and altogether.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let mut progress = Progress::default();
        for item in self.items.values() {
            progress.partitions += 1;
            progress.bytes = progress.bytes.saturating_add(item.bytes);
            if item.done {
                progress.partitions_done += 1;
                progress.bytes_done = progress.bytes_done.saturating_add(item.bytes);
            }
        }
        progress
    }

    /// What is left over, by partition.
    pub fn residue(&self) -> impl Iterator<Item = (PartitionId, &Item, &Residue)> {
        let open = self.items.iter().filter(|(_, item)| !item.done);
        open.filter_map(|(id, item)| Some((*id, item, item.residue.as_ref()?)))
    }

    /// Why a partition is left over, if it is.
    #[must_use]
    pub fn residue_of(&self, partition: PartitionId) -> Option<&Residue> {
        self.items.get(&partition).filter(|item| !item.done)?.residue.as_ref()
    }

    pub(super) fn note(&mut self, at: Timestamp, what: impl Into<String>) {
        remember(&mut self.history, OPERATION_HISTORY_MAX, at, what.into());
    }
}

/// How much is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub partitions: u64,
    pub partitions_done: u64,
    pub bytes: u64,
    pub bytes_done: u64,
}

/// A lease on a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    pub kind: LockKind,
    pub operation: OperationId,
    pub since: Timestamp,
    pub expires: Timestamp,
}

impl Lock {
    #[must_use]
    pub fn holder(&self) -> Holder {
        let Lock { kind, operation, since, expires } = *self;
        Holder { operation, kind, since, expires }
    }
}

/// What a node or disk is excused from; the later ones mean more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DutyKind {
    /// Gets no new replicas, and leads nothing; keeps what it has.
    Drained,
    /// Gets no new replicas, and loses what it has.
    Leaving,
}

/// That a node or disk is excused, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duty {
    pub kind: DutyKind,
    pub operation: OperationId,
    pub since: Timestamp,
}

/// Everything on record of operations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operations {
    /// The last number handed out.
    pub last: u64,
    pub all: BTreeMap<OperationId, Operation>,
    /// Who holds which partition.
    #[serde(default)]
    pub locks: BTreeMap<PartitionId, Vec<Lock>>,
    /// Nodes and disks that are not there; all others are in full service.
    #[serde(default)]
    pub nodes: BTreeMap<NodeId, Duty>,
    #[serde(default)]
    pub disks: BTreeMap<DiskId, Duty>,
}

impl Operations {
    /// The lock of somebody else that keeps `operation` from taking one of `kind` now.
    #[must_use]
    pub fn lock_against(
        &self,
        partition: PartitionId,
        kind: LockKind,
        operation: OperationId,
        now: Timestamp,
    ) -> Option<Holder> {
        let locks = self.locks.get(&partition)?.iter();
        let mut in_the_way = locks.filter(|lock| {
            lock.operation != operation && lock.expires > now && lock.kind.excludes(kind)
        });
        in_the_way.next().map(Lock::holder)
    }

    /// The same without what became of each partition: enough to see what one more operation would do.
    #[must_use]
    pub fn outline(&self) -> Operations {
        let outline = |operation: &Operation| Operation {
            id: operation.id,
            kind: operation.kind,
            target: operation.target.clone(),
            by: operation.by.clone(),
            created: operation.created,
            started: operation.started,
            ended: operation.ended,
            state: operation.state,
            changed: operation.changed,
            limits: operation.limits,
            priority: operation.priority,
            force: operation.force,
            blocked: None,
            items: BTreeMap::new(),
            verification: operation.verification,
            evidence: None,
            history: VecDeque::new(),
            attested: None,
            replicas: operation.replicas,
        };
        Operations {
            last: self.last,
            all: self.all.iter().map(|(id, operation)| (*id, outline(operation))).collect(),
            locks: self.locks.clone(),
            nodes: self.nodes.clone(),
            disks: self.disks.clone(),
        }
    }

    /// What a place is excused from: by its disk or by its node, the stronger of the two.
    #[must_use]
    pub fn duty(&self, node: NodeId, disk: DiskId) -> Option<DutyKind> {
        let all = [self.nodes.get(&node), self.disks.get(&disk)];
        let kinds = || all.iter().flatten().map(|duty| duty.kind);
        match () {
            () if kinds().any(|kind| kind == DutyKind::Leaving) => Some(DutyKind::Leaving),
            () if kinds().any(|kind| kind == DutyKind::Drained) => Some(DutyKind::Drained),
            () => None,
        }
    }

    /// Whether replicas are to leave this place.
    #[must_use]
    pub fn is_leaving(&self, member: &Member) -> bool {
        self.duty(member.node, member.disk) == Some(DutyKind::Leaving)
    }

    /// The operation that works on the target already, if any.
    #[must_use]
    pub fn at_work_on(&self, kind: OperationKind, target: &Target) -> Option<&Operation> {
        let mut all = self.all.values();
        all.find(|o| o.kind == kind && o.target == *target && !o.state.has_ended())
    }

    /// Volumes that are to have more replicas, and how many there are to be without the operation that makes the
    /// others.
    #[must_use]
    pub fn expanding(&self) -> BTreeMap<VolumeId, u8> {
        let open = self.all.values().filter(|operation| !operation.state.has_ended());
        let volume = |operation: &Operation| match operation.target {
            Target::Volume(volume) => Some((volume, operation.replicas?.from)),
            _ => None,
        };
        open.filter_map(volume).collect()
    }

    /// Whether the operation holds such a lock.
    #[must_use]
    pub fn holds(
        &self,
        partition: PartitionId,
        kind: LockKind,
        operation: OperationId,
        now: Timestamp,
    ) -> bool {
        let locks = self.locks.get(&partition).into_iter().flatten();
        let mut own = locks.filter(|lock| lock.operation == operation && lock.kind == kind);
        own.any(|lock| lock.expires > now)
    }

    /// Partitions with a copy that an operation is making or has made, and has not dealt with yet.
    #[must_use]
    pub fn claimed(&self) -> BTreeSet<PartitionId> {
        let open = self.all.values().filter(|operation| !operation.state.has_ended());
        let items = open.flat_map(|operation| operation.items.iter());
        items.filter(|(_, item)| !item.done && item.copy.is_some()).map(|(id, _)| *id).collect()
    }

    /// Says which promise is broken, if any.
    ///
    /// # Errors
    /// A sentence that names the broken promise.
    pub fn check(&self) -> Result<(), String> {
        if self.all.keys().next_back().is_some_and(|id| id.0 > self.last) {
            return Err("an operation has a number that was never handed out".to_owned());
        }
        for (id, operation) in &self.all {
            if operation.state == OperationState::Succeeded {
                if operation.items.values().any(|item| !item.done) {
                    return Err(format!("operation {id} succeeded with something left"));
                }
                if operation.evidence.is_none() {
                    return Err(format!("operation {id} succeeded without evidence"));
                }
            }
        }
        for (partition, locks) in &self.locks {
            let excluded = |(at, lock): (usize, &Lock)| {
                locks[at + 1..].iter().any(|other| {
                    // Two that overlap in time.
                    other.operation != lock.operation
                        && other.kind.excludes(lock.kind)
                        && other.since < lock.expires
                        && lock.since < other.expires
                })
            };
            if locks.iter().enumerate().any(excluded) {
                return Err(format!("partition {partition} is locked twice"));
            }
        }
        Ok(())
    }
}

/// The number a copy got, of those a partition has now: what a step just added.
pub(super) fn member_of(members: &[Member], replica: ReplicaId) -> Option<Member> {
    members.iter().find(|member| member.replica == replica).copied()
}
