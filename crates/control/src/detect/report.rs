//! What one node said last, and how it was taken.

use std::collections::BTreeMap;
use std::time::Duration;
use types::{BootId, DiskId, Epoch, Moment, PartitionId, ReplicaId, Sequence};
use wire::control as message;
pub use wire::control::{DiskState, ReplicaState, Role};

/// That something is missing from a node's report counts once this many reports of its life came:
/// the first ones may have been under way for long.
pub const REPORTS_SETTLED: u32 = 3;

/// One disk, by the word of its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskReport {
    pub state: DiskState,
    /// Bytes.
    pub free: u64,
    /// Bytes.
    pub total: u64,
    pub reason: String,
    /// What is known of its space, and by what evidence.
    pub space: Option<wire::condition::Space>,
}

/// One replica, by the word of its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaReport {
    pub partition: PartitionId,
    pub disk: DiskId,
    pub role: Role,
    pub epoch: Epoch,
    pub end: Sequence,
    pub committed: Sequence,
    pub last_record_epoch: Epoch,
    pub lease_expired: bool,
    pub proven: bool,
    pub state: ReplicaState,
    pub reason: String,
    /// Bytes on its disk.
    pub bytes: u64,
    /// When these were last told to be more than before, or were first told.
    pub grew_at: Moment,
    /// It leads and serves nothing yet.
    pub preparing: bool,
    /// Of a namespace: bytes of user data in its volume.
    pub used: u64,
    /// When the node last told how far its log goes.
    pub(super) told_at: Moment,
    /// [`message::digest`] of it.
    pub(super) digest: u64,
}

impl ReplicaReport {
    /// Whether the replica can take part in its partition now.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        matches!(self.state, ReplicaState::Ok | ReplicaState::Damaged)
    }
}

/// The last report of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeReport {
    pub boot: BootId,
    pub sequence: u64,
    /// When it arrived, by the clock of the member that received it.
    pub at: Moment,
    /// How many reports of this life arrived, this one counted.
    pub count: u32,
    pub disks: BTreeMap<DiskId, DiskReport>,
    pub replicas: BTreeMap<ReplicaId, ReplicaReport>,
    /// Bytes and number of the replicas on each disk.
    pub held: BTreeMap<DiskId, Held>,
    /// Changes when anything does but how far logs go; no two reports of one detector have the same
    /// number and differ in more than that.
    pub news: u64,
    /// Which access list it goes by; zero when it has none.
    pub access_version: u64,
    /// When the node last told everything, how far its logs go included.
    pub(super) all_told_at: Moment,
    /// Of all replicas together.
    pub(super) digest: u64,
}

/// What is on a disk, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub bytes: u64,
    pub replicas: u64,
}

impl NodeReport {
    /// How old what is known of a replica is, how far its log goes included.
    #[must_use]
    pub fn age_of(&self, replica: &ReplicaReport, now: Moment) -> Duration {
        now.since(replica.told_at.max(self.all_told_at))
    }

    /// Of a life of which nothing was heard yet.
    pub(super) fn new(boot: BootId, now: Moment) -> NodeReport {
        NodeReport {
            boot,
            sequence: 0,
            at: now,
            count: 0,
            disks: BTreeMap::new(),
            replicas: BTreeMap::new(),
            held: BTreeMap::new(),
            news: 0,
            access_version: 0,
            all_told_at: now,
            digest: 0,
        }
    }

    /// Takes over what every heartbeat says. Says whether anything of that is news.
    pub(super) fn heard(&mut self, now: Moment, heartbeat: &message::Heartbeat) -> bool {
        let disks: BTreeMap<DiskId, DiskReport> = heartbeat.disks.iter().map(disk_report).collect();
        let states = |disks: &BTreeMap<DiskId, DiskReport>| {
            disks.iter().map(|(id, disk)| (*id, disk.state)).collect::<Vec<_>>()
        };
        let count = self.count.saturating_add(1);
        let news = states(&disks) != states(&self.disks) || count == REPORTS_SETTLED;
        (self.sequence, self.at, self.count) = (heartbeat.sequence, now, count);
        self.disks = disks;
        self.access_version = heartbeat.access_version;
        if heartbeat.held_back == 0 {
            self.all_told_at = now;
        }
        news
    }

    /// The digest of all replicas once the changes of a heartbeat are made; `None` when they cannot be:
    /// out of order, or of something that was never listed.
    pub(super) fn digest_after(&self, heartbeat: &message::Heartbeat) -> Option<u64> {
        let ascending = heartbeat.replicas.windows(2).all(|pair| pair[0].replica < pair[1].replica)
            && heartbeat.gone.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending {
            return None;
        }
        let mut sum = self.digest;
        for replica in &heartbeat.replicas {
            let before = self.replicas.get(&ReplicaId(replica.replica)).map_or(0, |r| r.digest);
            sum = sum.wrapping_sub(before).wrapping_add(message::digest(replica));
        }
        for gone in &heartbeat.gone {
            sum = sum.wrapping_sub(self.replicas.get(&ReplicaId(*gone))?.digest);
        }
        let both =
            |gone: &u64| heartbeat.replicas.binary_search_by_key(gone, |r| r.replica).is_ok();
        (!heartbeat.gone.iter().any(both)).then_some(sum)
    }

    /// Makes the changes of a heartbeat, which were found to fit. Notes the partitions of which something
    /// else is said than before.
    pub(super) fn change(
        &mut self,
        now: Moment,
        heartbeat: &message::Heartbeat,
        changed: &mut Vec<PartitionId>,
    ) -> Taken {
        let before = changed.len();
        for gone in &heartbeat.gone {
            changed.extend(self.take_out(ReplicaId(*gone)).map(|replica| replica.partition));
        }
        let mut spoken = Vec::with_capacity(heartbeat.replicas.len());
        for replica in &heartbeat.replicas {
            let (id, after) = replica_report(replica, now);
            spoken.push(id);
            self.put_in(id, after, changed);
        }
        Taken::Fresh { news: changed.len() > before, spoken: Spoken::Of(spoken) }
    }

    /// The report with other replicas; notes the partitions of which something else is said than before.
    pub(super) fn with(
        mut self,
        replicas: BTreeMap<ReplicaId, ReplicaReport>,
        changed: &mut Vec<PartitionId>,
    ) -> NodeReport {
        let gone: Vec<ReplicaId> =
            self.replicas.keys().filter(|id| !replicas.contains_key(id)).copied().collect();
        for id in gone {
            changed.extend(self.take_out(id).map(|replica| replica.partition));
        }
        for (id, replica) in replicas {
            self.put_in(id, replica, changed);
        }
        self.digest = self.replicas.values().fold(0, |sum, r| sum.wrapping_add(r.digest));
        self
    }

    fn put_in(&mut self, id: ReplicaId, mut after: ReplicaReport, changed: &mut Vec<PartitionId>) {
        let before = self.take_out(id);
        if let Some(before) = before.as_ref().filter(|before| after.bytes <= before.bytes) {
            after.grew_at = before.grew_at;
        }
        let held = self.held.entry(after.disk).or_default();
        held.bytes = held.bytes.saturating_add(after.bytes);
        held.replicas += 1;
        match before {
            Some(before) if !is_news(&before, &after) => {}
            before => {
                changed.extend(before.map(|before| before.partition));
                changed.push(after.partition);
            }
        }
        self.replicas.insert(id, after);
    }

    fn take_out(&mut self, id: ReplicaId) -> Option<ReplicaReport> {
        let replica = self.replicas.remove(&id)?;
        if let Some(held) = self.held.get_mut(&replica.disk) {
            held.bytes = held.bytes.saturating_sub(replica.bytes);
            held.replicas -= 1;
            if held.replicas == 0 {
                self.held.remove(&replica.disk);
            }
        }
        Some(replica)
    }

    /// The partitions that it speaks of.
    pub(super) fn partitions(&self) -> impl Iterator<Item = PartitionId> + '_ {
        self.replicas.values().map(|replica| replica.partition)
    }

    /// Whether `replica` is certainly not on `disk` any more: the disk works, and the list without
    /// it is no early one.
    #[must_use]
    pub fn proves_gone(&self, replica: ReplicaId, disk: DiskId) -> bool {
        let works = self.disks.get(&disk).is_some_and(|d| d.state != DiskState::Failed);
        works && self.count >= REPORTS_SETTLED && !self.replicas.contains_key(&replica)
    }
}

/// Of which replicas a heartbeat spoke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spoken {
    All,
    Of(Vec<ReplicaId>),
}

/// How a heartbeat was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It counts.
    Fresh {
        /// Whether anything changed but how far logs go.
        news: bool,
        spoken: Spoken,
    },
    /// It is not newer than what is known, and was dropped.
    Stale,
    /// It says what changed since something that is not known here, and was dropped.
    Unfit,
}

impl Taken {
    /// Whether it counts.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        matches!(self, Taken::Fresh { .. })
    }
}

pub(super) fn disk_report(from: &message::DiskReport) -> (DiskId, DiskReport) {
    let report = DiskReport {
        state: from.state(),
        free: from.free,
        total: from.total,
        reason: from.reason.clone(),
        space: from.space.clone(),
    };
    (DiskId(from.disk), report)
}

pub(super) fn replica_report(
    from: &message::ReplicaReport,
    told_at: Moment,
) -> (ReplicaId, ReplicaReport) {
    let report = ReplicaReport {
        partition: PartitionId(from.partition),
        disk: DiskId(from.disk),
        role: from.role(),
        epoch: Epoch(from.epoch),
        end: Sequence(from.end),
        committed: Sequence(from.committed),
        last_record_epoch: Epoch(from.last_record_epoch),
        lease_expired: from.lease_expired,
        proven: from.proven,
        state: from.state(),
        reason: from.reason.clone(),
        bytes: from.bytes,
        grew_at: told_at,
        preparing: from.preparing,
        used: from.used,
        told_at,
        digest: message::digest(from),
    };
    (ReplicaId(from.replica), report)
}

/// Whether two reports of one replica differ in anything but how far its log goes.
pub(super) fn is_news(a: &ReplicaReport, b: &ReplicaReport) -> bool {
    let essence = |r: &ReplicaReport| {
        (r.partition, r.disk, r.role, r.epoch, r.lease_expired, r.proven, r.preparing, r.state)
    };
    essence(a) != essence(b) || a.reason != b.reason
}
