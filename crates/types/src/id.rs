//! Identities. Each kind has its own type, so that one can never be passed for another.
//!
//! The control plane hands out small ascending numbers, because people read and type them. No
//! identity is ever derived from an address, and none is ever used twice within a cluster.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map($name)
            }
        }

        impl From<u64> for $name {
            fn from(number: u64) -> Self {
                $name(number)
            }
        }
    };
}

id!(
    /// One storage node of a cluster; stays the same when its address changes.
    NodeId,
    "n"
);
id!(
    /// One disk of one node; stays the same when the disk moves to another node.
    DiskId,
    "d"
);
id!(
    /// One volume; never reused, so a deleted volume cannot be mistaken for a new one of its name.
    VolumeId,
    "v"
);
id!(
    /// One token of one volume; numbered within the volume, and never reused.
    TokenId,
    "t"
);
id!(
    /// One partition: a piece of a volume that is replicated as a whole.
    PartitionId,
    "p"
);
id!(
    /// One copy of a partition. A copy made anew gets a new id, so a wiped disk cannot pose as the
    /// copy it once held.
    ReplicaId,
    "r"
);
id!(
    /// One file, folder, link or special file of a file volume. Number 1 is the root.
    InodeId,
    "i"
);
id!(
    /// One mounted client of one volume, as its namespace knows it; ends when its lease runs out.
    SessionId,
    "s"
);
id!(
    /// One operation: long-running work that somebody asked for, or that the control plane began.
    OperationId,
    "o"
);
id!(
    /// One life of a process: drawn at random at every start.
    BootId,
    "b"
);

impl InodeId {
    /// The folder at the top of every file volume.
    pub const ROOT: InodeId = InodeId(1);
}

/// One cluster, drawn at random when it is made; a node of another cluster is turned away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub u64);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cluster-{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_their_kind_for_engineers_and_a_number_for_people() {
        assert_eq!(format!("{:?} {}", NodeId(7), NodeId(7)), "n7 7");
        assert_eq!("12".parse::<DiskId>(), Ok(DiskId(12)));
        assert!("twelve".parse::<DiskId>().is_err());
    }
}
