//! How much a node lets gather before it tidies up.
//!
//! The defaults are the limits of [`types::limits`]. A simulation takes small ones, so that segments
//! end, checkpoints are made and room is given back all the time: what goes wrong there goes wrong
//! when something dies in the middle of it, and with segments of 64 MiB no simulation ever gets there.

use std::time::Duration;
use types::limits;

/// When replicas make checkpoints, begin new segments, and let go of old ones.
#[derive(Clone, Copy, Debug)]
pub struct Upkeep {
    /// A segment is closed, and the next one begun, once it is this long.
    pub segment_bytes: u64,
    /// A checkpoint is made once the log has grown by this much since the last one ...
    pub checkpoint_log_bytes: u64,
    /// ... or the index holds back this much ...
    pub checkpoint_index_bytes: usize,
    /// ... or this long after the first change.
    pub checkpoint_interval: Duration,
    /// Log that is kept behind the checkpoint.
    pub log_kept_bytes: u64,
    /// Shorter dead runs are left to compaction.
    pub hole_bytes_min: u64,
    /// How many bytes a second snapshots take while clients want something of the node.
    pub repair_bytes_per_second: u64,
}

impl Default for Upkeep {
    fn default() -> Upkeep {
        Upkeep {
            segment_bytes: limits::SEGMENT_BYTES,
            checkpoint_log_bytes: limits::CHECKPOINT_LOG_BYTES,
            checkpoint_index_bytes: limits::CHECKPOINT_INDEX_BYTES,
            checkpoint_interval: limits::CHECKPOINT_INTERVAL,
            log_kept_bytes: limits::LOG_KEPT_BYTES,
            hole_bytes_min: limits::HOLE_BYTES_MIN,
            repair_bytes_per_second: limits::REPAIR_BYTES_PER_SECOND,
        }
    }
}
