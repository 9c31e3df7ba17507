//! Requests for partitions of which there is no replica here that could be used.

use super::NodeLoop;
use types::PartitionId;
use wire::control::Assignment;
use wire::{Request, Responder, Status};

/// Most partitions of deleted volumes that are remembered.
const DELETED_PARTITIONS_MAX: usize = 100_000;

impl NodeLoop {
    /// Answers for a replica that is not here, or cannot be used.
    pub(super) fn refuse(&self, request: &Request, responder: Responder) {
        if self.deleted_partitions.contains(&request.partition) {
            return responder.refuse(Status::Deleted, "its volume was deleted");
        }
        let broken =
            self.broken.values().find(|broken| broken.found.partition == request.partition);
        match broken {
            // Waiting would be for nothing: no other replica has it all. A disk that is full, or that
            // failed, may be seen to.
            Some(broken) if broken.was_alone && broken.is_damaged => {
                let reason = &broken.reason;
                responder.refuse(Status::Damaged, format!("the only good copy failed: {reason}"));
            }
            Some(broken) => {
                let reason = &broken.reason;
                responder.refuse(Status::NoPartition, format!("the replica here failed: {reason}"));
            }
            None => responder.refuse(Status::NoPartition, "no replica of it is on this node"),
        }
    }

    /// Remembers which partitions went with their volume.
    pub(super) fn note_deleted(&mut self, assignment: &Assignment) {
        let deleted = assignment.deleted_partitions.iter();
        self.deleted_partitions.extend(deleted.map(|partition| PartitionId(*partition)));
        while self.deleted_partitions.len() > DELETED_PARTITIONS_MAX {
            // Numbers rise: the oldest are long gone from everybody's routes.
            self.deleted_partitions.pop_first();
        }
    }
}
