//! What a state rests on, as values that can be judged, and as sentences.

use super::marks::Marks;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a probe write went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// None was made: only leaving `full` needs one.
    NotTried,
    /// So many bytes were asked for, written, and are on the disk; this much was free then. Said again
    /// with every measurement until the disk is full the next time, so that a report that gets lost
    /// takes no proof with it.
    Worked { bytes: u64, free: u64, inodes_free: Option<u64> },
    /// The file system refused it, or the device did.
    Refused,
}

/// A measurement of the room of a disk, by the node that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Room {
    /// Bytes that can still be written, the reserve counted.
    pub free: u64,
    pub total: u64,
    /// Files that can still be made; `None` where there is no such limit.
    pub inodes_free: Option<u64>,
    pub marks: Marks,
    pub probe: Probe,
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// The node itself spoke.
    Heard,
    /// Nothing was heard for so long, and so much is allowed. Milliseconds.
    Silence { for_ms: u64, bound_ms: u64 },
    /// The room of a disk was measured.
    Room(Room),
    /// The file system refused a write, in these words.
    WriteRefused { error: String },
    /// An operation on the disk failed, in these words.
    Broken { error: String },
    /// The disk answered.
    Answered,
    /// The replica's own words; empty when all is well.
    Replica { words: String },
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Evidence::Heard => f.write_str("a heartbeat came"),
            Evidence::Silence { for_ms, bound_ms } => {
                write!(f, "no heartbeat for {for_ms} ms, {bound_ms} ms are allowed")
            }
            Evidence::Room(room) => room.fmt(f),
            Evidence::WriteRefused { error } => write!(f, "a write was refused: {error}"),
            Evidence::Broken { error } => write!(f, "the disk failed: {error}"),
            Evidence::Answered => f.write_str("the disk answers"),
            Evidence::Replica { words } if words.is_empty() => f.write_str("says that it is well"),
            Evidence::Replica { words } => f.write_str(words),
        }
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes >> 20;
        let (free, marks) = (mib(self.free), &self.marks);
        write!(f, "{free} of {} MiB free", mib(self.total))?;
        write!(f, " (low below {}, full below {},", mib(marks.low_bytes), mib(marks.full_bytes))?;
        write!(f, " full ends at {})", mib(marks.full_leave_bytes))?;
        if let Some(inodes) = self.inodes_free.filter(|inodes| *inodes < marks.low_leave_inodes) {
            write!(f, ", {inodes} files can still be made")?;
        }
        match self.probe {
            Probe::NotTried => Ok(()),
            Probe::Worked { bytes, .. } => write!(f, ", a probe of {bytes} bytes reached the disk"),
            Probe::Refused => f.write_str(", a probe write was refused"),
        }
    }
}
