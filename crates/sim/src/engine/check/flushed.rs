//! A flush means: it is on the disk of every in-sync replica, and stays there.

use super::committed::Committed;
use super::{Verdict, demand};
use crate::engine::disk::Disk;
use types::{ReplicaId, Sequence};

#[derive(Debug, Default)]
pub(super) struct Flushed {
    upto: Sequence,
}

impl Flushed {
    pub(super) fn raise(&mut self, upto: Sequence) {
        self.upto.advance(upto);
    }

    /// Looks at what each in-sync disk would have after a loss of power right now.
    pub(super) fn check<'a>(
        &self,
        committed: &Committed,
        disks: impl Iterator<Item = (ReplicaId, &'a Disk)>,
    ) -> Verdict {
        let upto = self.upto;
        for (replica, disk) in disks {
            let durable = &disk.durable;
            let kept = durable.start() > upto
                || (durable.end() >= upto && durable.position(upto) == committed.position(upto));
            demand(kept || upto == Sequence::ZERO, "a flush reached every in-sync disk", || {
                format!(
                    "{upto:?} ({:?}) was flushed; {replica:?} is in sync and durable from {:?} to \
                     {:?}, there {:?}",
                    committed.position(upto),
                    durable.start(),
                    durable.end(),
                    durable.position(upto)
                )
            })?;
        }
        Ok(())
    }
}
