//! Where chunks live, and changes of a file's shape: truncate, punch, seek.

use super::{File, PendingCommit};
use crate::Error;
use std::collections::BTreeSet;
use types::PartitionId;
use types::limits::CHUNK_BYTES;
use types::namespace::{
    AllocateChunks, Attributes, Caller, Command, Failure, FailureKind, OutcomeBody, Placement,
    SetAttributes,
};

/// Placements asked for at a time.
const PLACEMENTS_PAGE: u32 = 1024;

impl File {
    /// The partition of a chunk that is about to be written; placed now when it was not before.
    pub(super) async fn partition_for_write(&self, chunk: u64) -> Result<PartitionId, Error> {
        if let Some(partition) = self.shared.lock().placements.get(&chunk) {
            return Ok(*partition);
        }
        let spread = self.inode().0.wrapping_add(chunk << 20);
        let Some(wanted) = self.volume.place(spread) else {
            return Err(Error::Invalid("the volume has no data partitions".into()));
        };
        let wanted = vec![Placement { chunk, partition: wanted.0 }];
        let allocate = AllocateChunks { inode: self.inode().0, wanted };
        let command = Command::AllocateChunks(allocate);
        let outcome = loop {
            match self.volume.command(command.clone(), Caller::default()).await {
                // Somebody else appends to the file at this moment.
                Err(Error::Refused(failure)) if failure.kind() == FailureKind::Busy => {
                    self.give_way(&failure).await;
                }
                outcome => break outcome?,
            }
        };
        match outcome {
            OutcomeBody::Placed(placed) => {
                let placement = placed.placements.first();
                let placement =
                    placement.ok_or_else(|| Error::Invalid("no placement was given".into()))?;
                let partition = PartitionId(placement.partition);
                let mut state = self.shared.lock();
                state.placements.insert(chunk, partition);
                state.namespace_unsynced = true;
                Ok(partition)
            }
            _ => Err(Error::Invalid("an allocation was answered otherwise".into())),
        }
    }

    /// The partition of a chunk; `None` when nothing was ever written to it.
    pub(super) async fn partition_for_read(
        &self,
        chunk: u64,
    ) -> Result<Option<PartitionId>, Error> {
        if let Some(partition) = self.shared.lock().placements.get(&chunk) {
            return Ok(Some(*partition));
        }
        let page = self.volume.chunk_map(self.inode(), chunk, 16).await?;
        let mut state = self.shared.lock();
        for placement in page.placements {
            state.placements.insert(placement.chunk, PartitionId(placement.partition));
        }
        Ok(state.placements.get(&chunk).copied())
    }

    /// The partitions that hold something of the file.
    pub(super) async fn placed_on(&self) -> Result<BTreeSet<PartitionId>, Error> {
        let placed = self.placed_from(0).await?;
        Ok(placed.iter().map(|placement| PartitionId(placement.partition)).collect())
    }

    /// Whether something is stored for every byte of a range.
    pub(super) async fn is_stored(&self, start: u64, end: u64) -> Result<bool, Error> {
        let mut at = start;
        while at < end {
            let Some(partition) = self.partition_for_read(at / CHUNK_BYTES).await? else {
                return Ok(false);
            };
            let runs = self.volume.chunk_extents(partition, self.inode(), at).await?;
            match runs.first() {
                Some((from, length)) if *from == at => at += length,
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// All placed chunks from `first` on.
    async fn placed_from(&self, first: u64) -> Result<Vec<Placement>, Error> {
        let mut placements = Vec::new();
        let mut next = first;
        loop {
            let page = self.volume.chunk_map(self.inode(), next, PLACEMENTS_PAGE).await?;
            let last = page.placements.last().map(|placement| placement.chunk);
            placements.extend(page.placements);
            match last {
                Some(last) if !page.end => next = last + 1,
                _ => return Ok(placements),
            }
        }
    }

    /// Sets the length, with other attributes if wanted. Bytes past a smaller length are gone from
    /// the data partitions before the length says so, and a file that grows shows zeros.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn truncate(
        &self,
        size: u64,
        mut change: SetAttributes,
        caller: Caller,
    ) -> Result<Attributes, Error> {
        let _seized = self.seize().await?;
        let _one_at_a_time = self.shared.flushing.lock().await;
        let dropped = self.shared.lock().buffer.truncate(size);
        self.volume.inner.budget.give_back(dropped as u64);
        self.land_all().await;
        let known = self.volume.attributes(self.inode()).await?;
        let old = known.size.max(self.shared.lock().size);
        let from = size.min(old);
        let trims = size < old || size > known.size;
        let delta = if trims { self.trim_from(from).await? } else { 0 };
        change.inode = self.inode().0;
        change.size = Some(size);
        let pending = self.take_untold();
        change.allocated_delta = delta + pending.allocated_delta;
        change.clear_setid |= pending.clear_setid;
        loop {
            match self.volume.command(Command::SetAttributes(change.clone()), caller.clone()).await
            {
                Ok(OutcomeBody::Changed(changed)) => {
                    let mut state = self.shared.lock();
                    state.size_told = size;
                    state.measure();
                    // What was written meanwhile lies behind the new end; what others left was never counted.
                    state.commit.sparse |= state.is_owed();
                    state.commit.recount |= known.unsettled;
                    if let Some(attributes) = &changed.attributes {
                        state.version_seen = state.version_seen.max(attributes.version);
                    }
                    state.namespace_unsynced = true;
                    let invalid = || Error::Invalid("a change without attributes".into());
                    return changed.attributes.ok_or_else(invalid);
                }
                Ok(_) => return Err(Error::Invalid("a change was answered otherwise".into())),
                Err(Error::Refused(failure)) if failure.kind() == FailureKind::Busy => {
                    self.give_way(&failure).await;
                }
                Err(error) => {
                    self.take_back(change.allocated_delta, pending);
                    return Err(error);
                }
            }
        }
    }

    /// Takes what a truncate tells in one. What was written meanwhile comes after, and makes the file
    /// longer again.
    fn take_untold(&self) -> PendingCommit {
        let mut state = self.shared.lock();
        let pending = state.take_commit();
        state.commit.reservation_used = pending.reservation_used;
        state.commit.recount = pending.recount;
        pending
    }

    /// A truncate failed: what was written before still counts, and what was trimmed is trimmed.
    fn take_back(&self, allocated_delta: i64, pending: PendingCommit) {
        let told = PendingCommit { allocated_delta, reservation_used: 0, ..pending };
        self.shared.lock().commit.merge(&told);
    }

    /// Waits for another client to give back what it holds of this file.
    pub(super) async fn give_way(&self, failure: &Failure) {
        tracing::debug!(inode = %self.inode(), holder = failure.holder, "waiting for a delegation");
        self.volume.client().world.sleep(std::time::Duration::from_millis(5)).await;
    }

    /// What the file really holds, less what the namespace believes.
    pub(super) async fn recount(&self) -> Result<i64, Error> {
        let mut held = 0;
        for placement in self.placed_from(0).await? {
            let partition = PartitionId(placement.partition);
            let start = placement.chunk * CHUNK_BYTES;
            let runs = self.volume.chunk_extents(partition, self.inode(), start).await?;
            held += runs.iter().map(|(_, length)| *length).sum::<u64>();
        }
        let known = self.volume.attributes(self.inode()).await?.allocated;
        Ok(held.cast_signed() - known.cast_signed())
    }

    async fn trim_from(&self, from: u64) -> Result<i64, Error> {
        let mut delta = 0;
        for placement in self.placed_from(from / CHUNK_BYTES).await? {
            let start = (placement.chunk * CHUNK_BYTES).max(from);
            let length = (placement.chunk + 1) * CHUNK_BYTES - start;
            delta += self.trim_placed(&placement, start, length).await?;
        }
        Ok(delta)
    }

    async fn trim_placed(
        &self,
        placement: &Placement,
        start: u64,
        length: u64,
    ) -> Result<i64, Error> {
        let partition = PartitionId(placement.partition);
        let grown = self.volume.trim_record(partition, self.inode(), start, length).await;
        let mut state = self.shared.lock();
        // What was trimmed before this failed counts, too.
        state.commit.recount |= grown.is_err();
        let grown = grown?;
        state.unsynced.insert(partition);
        state.commit.recount |= !grown.certain;
        Ok(grown.delta)
    }

    /// Makes a range a hole; the length stays.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn punch(&self, offset: u64, length: u64) -> Result<(), Error> {
        let _seized = self.seize().await?;
        self.write_back().await?;
        let end = offset.saturating_add(length);
        let mut delta = 0;
        for placement in self.placed_from(offset / CHUNK_BYTES).await? {
            let base = placement.chunk * CHUNK_BYTES;
            if base >= end {
                break;
            }
            let start = base.max(offset);
            let until = (base + CHUNK_BYTES).min(end);
            delta += self.trim_placed(&placement, start, until - start).await?;
        }
        let now = self.volume.client().world.timestamp().0;
        {
            let mut state = self.shared.lock();
            state.commit.wanted = true;
            state.commit.sparse = true;
            state.commit.mtime = now;
            state.commit.allocated_delta += delta;
        }
        self.write_back().await
    }

    /// Makes the file at least `size` long.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn extend(&self, size: u64) -> Result<(), Error> {
        self.write_back().await?;
        let now = self.volume.client().world.timestamp().0;
        {
            let mut state = self.shared.lock();
            state.commit.sparse |= size > state.size;
            state.size = state.size.max(size);
            state.commit.wanted = true;
            state.commit.size = state.commit.size.max(size);
            state.commit.landed = state.commit.landed.max(size);
            state.commit.mtime = now;
        }
        self.write_back().await
    }

    /// Where the next data at or after `offset` begins; `None` when there is none before the end.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn seek_data(&self, offset: u64) -> Result<Option<u64>, Error> {
        self.write_back().await?;
        let size = self.attributes().await?.size;
        for placement in self.placed_from(offset / CHUNK_BYTES).await? {
            let from = (placement.chunk * CHUNK_BYTES).max(offset);
            if from >= size {
                break;
            }
            let partition = PartitionId(placement.partition);
            let runs = self.volume.chunk_extents(partition, self.inode(), from).await?;
            if let Some((start, _)) = runs.first() {
                return Ok((*start < size).then_some(*start));
            }
        }
        Ok(None)
    }

    /// Where the next hole at or after `offset`, which is before the end, begins; the end of the
    /// file counts as one.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn seek_hole(&self, offset: u64) -> Result<u64, Error> {
        self.write_back().await?;
        let size = self.attributes().await?.size;
        let mut at = offset;
        while at < size {
            let chunk = at / CHUNK_BYTES;
            let Some(partition) = self.partition_for_read(chunk).await? else { return Ok(at) };
            let runs = self.volume.chunk_extents(partition, self.inode(), at).await?;
            match runs.first() {
                Some((start, length)) if *start == at => at += length,
                _ => return Ok(at),
            }
            if !at.is_multiple_of(CHUNK_BYTES) {
                break;
            }
        }
        Ok(at.min(size))
    }
}
