//! How a node tells how it is: in full, or what changed since the last time.
//!
//! The first heartbeat of a life, and every one after an answer that did not come, is *full*: it replaces
//! what was said before. Otherwise a heartbeat names the one that it follows, which the control plane has
//! confirmed, and lists what changed since; it is taken only by who has exactly that one, and only if the
//! digest over all replicas comes out the same. Whoever cannot take it says so, and gets a full one.
//!
//! How far logs go changes with every write, so of replicas of which only that changed no more than
//! [`types::limits::HEARTBEAT_PROGRESS_MAX`] are listed at a time, the longest waiting first.

use super::{DiskReport, ReplicaReport};

/// A node's condition.
///
/// A full one lists **every** replica on every disk whose state is not `Failed`: that one is missing is
/// evidence that it is gone.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Heartbeat {
    #[prost(uint64, tag = "1")]
    pub cluster: u64,
    #[prost(uint64, tag = "2")]
    pub node: u64,
    #[prost(uint64, tag = "3")]
    pub boot: u64,
    /// Rises by at least one with each heartbeat of one boot; the first is 1 or more.
    #[prost(uint64, tag = "4")]
    pub sequence: u64,
    /// All of them, always.
    #[prost(message, repeated, tag = "5")]
    pub disks: Vec<DiskReport>,
    /// In ascending order where `base` is not zero.
    #[prost(message, repeated, tag = "6")]
    pub replicas: Vec<ReplicaReport>,
    /// Zero: this is full. Otherwise the sequence of the heartbeat that this one follows.
    #[prost(uint64, tag = "7")]
    pub base: u64,
    /// Replicas that were listed and are not there any more, in ascending order.
    #[prost(uint64, repeated, tag = "8")]
    pub gone: Vec<u64>,
    /// Over all replicas as they have been told, this heartbeat counted; see [`digest`].
    #[prost(uint64, tag = "9")]
    pub digest: u64,
    /// How many replicas got further than was told.
    #[prost(uint64, tag = "10")]
    pub held_back: u64,
    /// The revision of the addresses and capacities that the node has; zero when it has none.
    #[prost(uint64, tag = "11")]
    pub revision: u64,
    /// Which version of the access list the node goes by; zero when it has none.
    #[prost(uint64, tag = "12")]
    pub access_version: u64,
    /// What its clock says: nanoseconds since 1970.
    #[prost(sint64, tag = "13")]
    pub clock: i64,
}

/// A number that differs, but for a chance in 2^64, when two reports do. Those of all replicas are added
/// up, wrapping around, so that a change costs no look at the others.
#[must_use]
pub fn digest(replica: &ReplicaReport) -> u64 {
    let flags = u64::from(replica.lease_expired)
        | u64::from(replica.proven) << 1
        | u64::from(replica.preparing) << 2;
    let small = u64::from(replica.role.cast_unsigned()) << 32
        | u64::from(replica.state.cast_unsigned()) << 8
        | flags;
    let words = [
        replica.replica,
        replica.partition,
        replica.disk,
        replica.epoch,
        replica.end,
        replica.committed,
        replica.last_record_epoch,
        replica.bytes,
        replica.used,
        small,
        replica.reason.len() as u64,
    ];
    let reason = replica.reason.bytes().map(u64::from);
    let mixed = words.into_iter().chain(reason).fold(0x9e37_79b9_7f4a_7c15, mix);
    mix(mixed, mixed >> 32)
}

fn mix(so_far: u64, word: u64) -> u64 {
    let mixed = (so_far ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (mixed ^ mixed >> 32).rotate_left(29)
}

/// Whether two reports differ in anything but how far the replica's log goes.
#[must_use]
pub fn is_news(before: &ReplicaReport, after: &ReplicaReport) -> bool {
    let essence = |r: &ReplicaReport| {
        (r.partition, r.disk, r.role, r.epoch, r.lease_expired, r.proven, r.preparing, r.state)
    };
    essence(before) != essence(after) || before.reason != after.reason
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_in_the_digest() {
        let report = ReplicaReport { replica: 1, partition: 2, disk: 3, ..Default::default() };
        let others = [
            ReplicaReport { replica: 2, ..report.clone() },
            ReplicaReport { partition: 3, ..report.clone() },
            ReplicaReport { disk: 4, ..report.clone() },
            ReplicaReport { role: 1, ..report.clone() },
            ReplicaReport { epoch: 1, ..report.clone() },
            ReplicaReport { end: 1, ..report.clone() },
            ReplicaReport { committed: 1, ..report.clone() },
            ReplicaReport { last_record_epoch: 1, ..report.clone() },
            ReplicaReport { lease_expired: true, ..report.clone() },
            ReplicaReport { proven: true, ..report.clone() },
            ReplicaReport { state: 1, ..report.clone() },
            ReplicaReport { reason: "r".into(), ..report.clone() },
            ReplicaReport { bytes: 1, ..report.clone() },
            ReplicaReport { preparing: true, ..report.clone() },
            ReplicaReport { used: 1, ..report.clone() },
            report.clone(),
        ];
        let digests: std::collections::BTreeSet<u64> = others.iter().map(digest).collect();
        assert_eq!(digests.len(), others.len());
        assert_eq!(digest(&report), digest(&report.clone()));
    }

    #[test]
    fn getting_further_is_no_news() {
        let before = ReplicaReport { replica: 1, ..Default::default() };
        let further = ReplicaReport { end: 5, committed: 4, bytes: 9, ..before.clone() };
        assert!(!is_news(&before, &further));
        assert!(is_news(&before, &ReplicaReport { role: 1, ..before.clone() }));
        assert!(is_news(&before, &ReplicaReport { reason: "r".into(), ..before.clone() }));
    }
}
