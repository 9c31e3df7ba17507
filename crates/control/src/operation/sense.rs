//! What the leading member knows besides the record and the reports: what nodes found on their disks, what
//! is being read, and chance.

use super::reading::Readings;
use std::collections::BTreeMap;
use types::{BootId, DiskId, Moment, NodeId, OperationId, PartitionId, ReplicaId};

/// What one node found in the folders of its disks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    pub boot: BootId,
    pub replicas: Vec<(PartitionId, ReplicaId, DiskId)>,
    /// The disks whose folders it read.
    pub disks: Vec<DiskId>,
}

/// What the nodes of one operation's target answered, when they were asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The verification they were asked in.
    pub verification: u32,
    pub at: Moment,
    pub nodes: BTreeMap<NodeId, Listing>,
}

/// What the leading member knows besides reports, and chance.
#[derive(Clone, Copy, Debug)]
pub struct Sense<'a> {
    pub contents: &'a BTreeMap<OperationId, Contents>,
    /// What is being read, and what came of it.
    pub readings: &'a Readings,
    /// Drawn anew for each round: spreads retries.
    pub random: u64,
}

impl Sense<'static> {
    /// Knows nothing.
    #[must_use]
    pub fn blank() -> Sense<'static> {
        static NONE: BTreeMap<OperationId, Contents> = BTreeMap::new();
        static NOTHING: Readings = Readings::new();
        Sense { contents: &NONE, readings: &NOTHING, random: 0 }
    }
}
