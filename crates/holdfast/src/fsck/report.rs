//! What a check of a volume found.

use serde::Serialize;

/// The whole check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Id of the volume.
    pub id: u64,
    pub name: String,
    /// Nothing was found and everything could be compared.
    pub clean: bool,
    pub partitions: u64,
    pub replicas: u64,
    /// Files with bytes.
    pub files: u64,
    /// Bytes that were read and verified, all copies together.
    pub verified_bytes: u64,
    pub findings: Vec<Finding>,
    /// What could not be compared, and why: about this nothing is known.
    pub unknown: Vec<Finding>,
}

/// One thing, and whose it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    pub kind: Kind,
    pub partition: u64,
    /// Zero when it concerns the partition as a whole.
    pub replica: u64,
    /// Node of the replica; zero when there is none.
    pub node: u64,
    /// Zero when it is about no single file.
    pub inode: u64,
    pub message: String,
}

/// What kinds of things there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Bytes, or an index, do not verify.
    Damaged,
    /// A replica holds something else than most of its partition's replicas.
    Differs,
    /// A namespace contradicts itself.
    Contradiction,
    /// A data partition holds bytes of no file.
    NoInode,
    /// A data partition holds bytes of a file that the namespace does not place there.
    Misplaced,
    /// The bytes held for a file are not as many as the namespace accounts for it.
    Accounting,
    /// It was not possible to look.
    #[default]
    NotCompared,
}

impl Kind {
    /// As printed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Damaged => "damaged",
            Kind::Differs => "differs",
            Kind::Contradiction => "contradiction",
            Kind::NoInode => "no-inode",
            Kind::Misplaced => "misplaced",
            Kind::Accounting => "accounting",
            Kind::NotCompared => "not-compared",
        }
    }
}
