//! The words: subjects, facts, states, reasons, and who may speak.

use crate::{DiskId, NodeId, PartitionId, ReplicaId};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Declares an enum of words that are printed, parsed and stored as they are written here.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident => $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// Every one there is.
            pub const ALL: &[$name] = &[$($name::$variant),+];

            /// The word for it.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }
    };
}

words! {
    /// A fact that is kept: each is a lamp of its own.
    Fact {
        /// Whether a node is heard of.
        Liveness => "liveness",
        /// How much room a disk has.
        Space => "space",
        /// Whether a disk works.
        Health => "health",
        /// Whether a replica's bytes are good.
        Data => "data",
    }
}

words! {
    /// The state of a fact.
    State {
        Ok => "ok",
        /// Room is getting short: no new replicas are put there.
        Low => "low",
        /// No room: reads and deletes only.
        Full => "full",
        /// It reads its log after a start.
        Recovering => "recovering",
        /// It serves, and some of its bytes are damaged.
        Damaged => "damaged",
        /// Nothing was heard for longer than a node may be silent.
        Silent => "silent",
        /// It cannot be used.
        Failed => "failed",
    }
}

words! {
    /// Why a fact is in its state.
    Reason {
        Heard => "heard",
        Silence => "silence",
        RoomEnough => "room-enough",
        RoomProved => "room-proved",
        BelowLowMark => "below-low-mark",
        BelowReserve => "below-reserve",
        InodesLow => "inodes-low",
        InodesGone => "inodes-gone",
        WriteRefused => "write-refused",
        QuotaExceeded => "quota-exceeded",
        Works => "works",
        IoError => "io-error",
        ReadingLog => "reading-log",
        DamageFound => "damage-found",
        Mended => "mended",
        Unusable => "unusable",
        MadeAnew => "made-anew",
    }
}

/// Who may change a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Owner {
    /// The detector of whichever member leads the control plane.
    Detector,
    /// The node that has the disk.
    Node(NodeId),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Owner::Detector => f.write_str("the detector"),
            Owner::Node(node) => write!(f, "node {node}"),
        }
    }
}

/// What a fact is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    Node(NodeId),
    Disk(DiskId),
    /// Written `partition-replica`, as its folder is.
    Replica(PartitionId, ReplicaId),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Node(node) => write!(f, "node/{node}"),
            Subject::Disk(disk) => write!(f, "disk/{disk}"),
            Subject::Replica(partition, replica) => write!(f, "replica/{partition}-{replica}"),
        }
    }
}

/// One fact about one subject; written `disk/3/space`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Key {
    pub subject: Subject,
    pub fact: Fact,
}

impl Key {
    #[must_use]
    pub fn liveness(node: NodeId) -> Key {
        Key { subject: Subject::Node(node), fact: Fact::Liveness }
    }

    #[must_use]
    pub fn space(disk: DiskId) -> Key {
        Key { subject: Subject::Disk(disk), fact: Fact::Space }
    }

    #[must_use]
    pub fn health(disk: DiskId) -> Key {
        Key { subject: Subject::Disk(disk), fact: Fact::Health }
    }

    #[must_use]
    pub fn data(partition: PartitionId, replica: ReplicaId) -> Key {
        Key { subject: Subject::Replica(partition, replica), fact: Fact::Data }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.subject, self.fact)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> String {
        key.to_string()
    }
}

impl TryFrom<String> for Key {
    type Error = String;

    fn try_from(text: String) -> Result<Key, String> {
        text.parse()
    }
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Key, String> {
        let strange = || format!("'{text}' is no condition: expected for instance disk/3/space");
        let mut parts = text.split('/');
        let (kind, number, fact) = (parts.next(), parts.next(), parts.next());
        let number = number.ok_or_else(strange)?;
        let subject = match kind {
            Some("node") => number.parse().ok().map(Subject::Node),
            Some("disk") => number.parse().ok().map(Subject::Disk),
            Some("replica") => replica(number),
            _ => None,
        };
        let subject = subject.ok_or_else(strange)?;
        let known = Fact::ALL.iter().find(|known| Some(known.word()) == fact);
        match (known, parts.next()) {
            (Some(fact), None) => Ok(Key { subject, fact: *fact }),
            _ => Err(strange()),
        }
    }
}

fn replica(text: &str) -> Option<Subject> {
    let (partition, replica) = text.split_once('-')?;
    Some(Subject::Replica(partition.parse().ok()?, replica.parse().ok()?))
}

/// When the owner said it: its life, and the number of the report within it. Lives are numbered by
/// the control plane in the order in which nodes joined, so a later life is greater whoever it is of.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Stamp {
    pub life: u64,
    pub sequence: u64,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.life, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_and_read_alike() {
        for key in [
            Key::space(DiskId(3)),
            Key::health(DiskId(1)),
            Key::liveness(NodeId(9)),
            Key::data(PartitionId(4), ReplicaId(12)),
        ] {
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        for strange in ["", "disk", "disk/x/space", "disk/1/mood", "disk/1/space/2", "cat/1/space"]
        {
            assert!(strange.parse::<Key>().is_err(), "{strange}");
        }
    }
}
