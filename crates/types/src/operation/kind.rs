//! What an operation does, and to what.

use crate::{DiskId, NodeId, PartitionId, VolumeId};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Declares the kinds once: name, and what it does in words.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident, $word:literal, $does:literal;)+) => {
        /// What an operation does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum OperationKind { $($(#[$doc])* $name),+ }

        impl OperationKind {
            /// Every kind there is.
            pub const ALL: &[OperationKind] = &[$(OperationKind::$name),+];

            /// Its name in commands, logs and metrics.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(OperationKind::$name => $word),+ }
            }

            /// What it does, for people.
            #[must_use]
            pub fn does(self) -> &'static str {
                match self { $(OperationKind::$name => $does),+ }
            }
        }
    };
}

kinds! {
    Decommission, "decommission", "moves every replica away from a node, a disk or a zone, for good";
    Drain, "drain", "moves leaders away from a node, and keeps new replicas away; can be taken back";
    Rebalance, "rebalance", "evens out how full the disks are, by bytes, with few moves";
    Expand, "expand", "gives a volume more replicas of everything";
    Scrub, "scrub", "reads everything again, verifies its checksums, and compares the replicas of each partition";
}

impl fmt::Display for OperationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// What an operation is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    Node(NodeId),
    Disk(DiskId),
    /// Every node that said it is in this zone.
    Zone(String),
    Volume(VolumeId),
    Cluster,
    Partition(PartitionId),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Node(id) => f.pad(&format!("node/{id}")),
            Target::Disk(id) => f.pad(&format!("disk/{id}")),
            Target::Zone(name) => f.pad(&format!("zone/{name}")),
            Target::Volume(id) => f.pad(&format!("volume/{id}")),
            Target::Cluster => f.pad("cluster"),
            Target::Partition(id) => f.pad(&format!("partition/{id}")),
        }
    }
}

impl FromStr for Target {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str =
            "a target is node/ID, disk/ID, zone/NAME, volume/ID, partition/ID or cluster";
        if text == "cluster" {
            return Ok(Target::Cluster);
        }
        let (kind, which) = text.split_once('/').ok_or(WRONG)?;
        let number = which.parse::<u64>();
        match (kind, number) {
            ("node", Ok(id)) => Ok(Target::Node(NodeId(id))),
            ("disk", Ok(id)) => Ok(Target::Disk(DiskId(id))),
            ("volume", Ok(id)) => Ok(Target::Volume(VolumeId(id))),
            ("partition", Ok(id)) => Ok(Target::Partition(PartitionId(id))),
            ("zone", _) if !which.is_empty() => Ok(Target::Zone(which.to_owned())),
            _ => Err(WRONG),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_read_as_they_print() {
        let all = [
            Target::Node(NodeId(3)),
            Target::Disk(DiskId(4)),
            Target::Zone("rack/7".into()),
            Target::Volume(VolumeId(5)),
            Target::Cluster,
            Target::Partition(PartitionId(6)),
        ];
        for target in all {
            assert_eq!(target.to_string().parse(), Ok(target));
        }
        for wrong in ["", "node", "node/", "node/x", "zone/", "box/1"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }
}
