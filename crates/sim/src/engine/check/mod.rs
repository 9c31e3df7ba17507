//! The oracle: one checker per promise, each fed with what the world sees.
//!
//! The oracle is told the truth at the moment it happens, without any delay, so that its verdicts
//! are as strict as they can be.

mod acknowledged;
mod committed;
mod flushed;
mod leaders;
mod reads;

use super::disk::Disk;
use acknowledged::Acknowledged;
use committed::Committed;
use flushed::Flushed;
use leaders::Leaders;
use partition::replica::{Entry, Position, Refusal};
use reads::Reads;
use types::{Epoch, Kind, ReplicaId, Sequence};

use crate::verdict::demand;
pub(super) use crate::verdict::{Verdict, Violation};

/// All checkers together.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    committed: Committed,
    acknowledged: Acknowledged,
    flushed: Flushed,
    leaders: Leaders,
    reads: Reads,
}

impl Oracle {
    /// A replica applies an entry.
    pub(super) fn on_apply(&mut self, replica: ReplicaId, entry: &Entry, orphan: bool) -> Verdict {
        if orphan {
            return Ok(());
        }
        let fresh = self.committed.on_apply(replica, entry)?;
        if fresh { self.acknowledged.on_commit(entry) } else { Ok(()) }
    }

    /// A replica acts as the leader that commits in an epoch.
    pub(super) fn on_lead(&mut self, epoch: Epoch, leader: ReplicaId) -> Verdict {
        self.leaders.on_commit(epoch, leader)
    }

    pub(super) fn on_submitted(&mut self) -> u64 {
        self.acknowledged.submit()
    }

    pub(super) fn on_written(&mut self, token: u64, sequence: Sequence) -> Verdict {
        self.committed.on_written(token, sequence)?;
        self.acknowledged.on_written(token, sequence)?;
        self.reads.raise(sequence);
        Ok(())
    }

    pub(super) fn on_refused(&mut self, token: u64, refusal: Refusal) -> Verdict {
        if refusal.kind() == Kind::Unknown {
            return Ok(());
        }
        self.acknowledged.on_refused(token)
    }

    /// A flush (or a write that is acknowledged on disk only) was answered; `disks` are those of the in-sync set.
    pub(super) fn on_flushed<'a>(
        &mut self,
        upto: Sequence,
        disks: impl Iterator<Item = (ReplicaId, &'a Disk)>,
    ) -> Verdict {
        self.flushed.raise(upto);
        self.flushed.check(&self.committed, disks)
    }

    pub(super) fn on_read(&mut self, replica: ReplicaId, applied: Sequence) -> Verdict {
        self.reads.on_read(replica, applied, self.committed.end())
    }

    /// Something may have been lost, with the power of a machine, or with a replica that is not
    /// electable any more. Returns how much of what was committed is gone: only what was not
    /// flushed may be, and only when no electable replica has it any more.
    pub(super) fn on_loss<'a>(
        &mut self,
        in_sync: impl Iterator<Item = (ReplicaId, &'a Disk)>,
        electable: impl Iterator<Item = (ReplicaId, &'a Disk)>,
    ) -> Result<u64, Violation> {
        self.flushed.check(&self.committed, in_sync)?;
        let kept = electable.map(|(_, disk)| self.committed.shared_with(disk)).max();
        let kept = kept.unwrap_or(Sequence::ZERO);
        let lost = self.committed.end().0 - kept.0;
        if lost > 0 {
            self.acknowledged.take_back(self.committed.take_back(kept));
            self.reads.lower(kept);
        }
        Ok(lost)
    }

    /// Everything committed so far is in this disk's log.
    pub(super) fn check_complete(&self, replica: ReplicaId, disk: &Disk) -> Verdict {
        self.committed.check_complete(replica, disk)
    }

    pub(super) fn committed_end(&self) -> Sequence {
        self.committed.end()
    }

    /// Names the entry committed at `sequence`.
    pub(super) fn committed_at(&self, sequence: Sequence) -> Option<Position> {
        self.committed.position(sequence)
    }
}
