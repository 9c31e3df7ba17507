//! What a restarted replica starts from.

use super::entry::Position;
use super::status::Failure;
use types::{Configuration, Epoch, Sequence};

/// What the driver found on disk for one replica.
///
/// What must hold: `log_start <= applied + 1`, `applied <= log_end`, `synced <= log_end`. A driver
/// that finds the log shorter than what its index applied has a damaged replica, says so with
/// `failure`, and gives the log's own numbers.
#[derive(Clone, Debug)]
pub struct Persisted {
    /// Greater than in any earlier life of this replica: a stored counter.
    pub life: u64,
    /// The newest epoch that was persisted.
    pub epoch: Epoch,
    /// The newest configuration that was persisted; its epoch may be older than `epoch`.
    pub configuration: Option<Configuration>,
    /// First entry the log still has; the log is empty when it is right after `log_end`.
    pub log_start: Sequence,
    pub log_end: Sequence,
    /// The log is surely on disk up to here.
    pub synced: Sequence,
    /// Entries up to here are known to be committed, because the index has applied them.
    pub applied: Sequence,
    /// For each epoch that the log has entries of, its first one; ascending, as in
    /// [`super::History`]. The first position says which epoch the entry before `log_start` is of,
    /// when it is known.
    pub history: Vec<Position>,
    /// The log surely holds everything this replica acknowledged: it was proven before (see
    /// `MarkProven`) and the machine has not rebooted since; or it was stopped cleanly after a
    /// sync; or its volume acknowledges only what is on disk.
    pub proven: bool,
    /// What keeps it from writing, when something does.
    pub failure: Option<Failure>,
}
