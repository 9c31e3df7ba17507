//! What a round of planning sees of an operation, for people and for whoever asks nodes and reads.

use super::record::{Item, Operation};
use crate::plan::Inputs;
use types::{NodeId, PartitionId, Timestamp};

/// What one round saw of one operation; shown, and forgotten with the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    pub at: Timestamp,
    /// Partitions left to do.
    pub remaining: usize,
    /// Of them, being moved; waiting for their turn.
    pub underway: usize,
    pub queued: usize,
    /// Bytes of copies that are not complete.
    pub in_flight: u64,
    /// Nodes that have to list their disks now.
    pub ask: Vec<NodeId>,
    pub verification: u32,
    /// Partitions that are to be read now.
    pub read: Vec<PartitionId>,
}

/// What is seen of one that is paused: copies that were begun go on.
pub(super) fn standing(inputs: &Inputs<'_>, operation: &Operation) -> Round {
    let open = || operation.items.iter().filter(|(_, item)| !item.done);
    let copied = open().map(|(partition, _)| copied(inputs, operation, *partition));
    let is_made = |(partition, item): &(&PartitionId, &Item)| {
        let record = inputs.state.partitions.get(*partition);
        item.copy
            .zip(record)
            .is_some_and(|(copy, record)| record.configuration.catching_up.contains(&copy.replica))
    };
    Round {
        at: inputs.date,
        remaining: open().count(),
        underway: open().filter(is_made).count(),
        in_flight: copied.fold(0, u64::saturating_add),
        verification: operation.verification,
        ..Round::default()
    }
}

/// Bytes of the copy of a partition that is being made.
pub(super) fn copied(inputs: &Inputs<'_>, operation: &Operation, partition: PartitionId) -> u64 {
    let item = operation.items.get(&partition).filter(|item| !item.done);
    let Some(item) = item else { return 0 };
    let reading = inputs.sense.readings.get(operation.id, partition, item.attempts);
    if let Some(reading) = reading {
        return reading.bytes.min(item.bytes);
    }
    let report = item.copy.as_ref().and_then(|copy| inputs.replica(copy));
    report.map_or(0, |report| report.bytes.min(item.bytes))
}
