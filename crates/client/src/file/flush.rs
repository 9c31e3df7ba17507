//! Writing back what is buffered, and making it count.

use super::buffer::Segment;
use super::flight::Departed;
use super::{File, PendingCommit, State};
use crate::Error;
use crate::data::Grown;
use futures::stream::{FuturesUnordered, StreamExt};
use types::limits::CHUNK_BYTES;
use types::namespace::{Attributes, CommitItem, FailureKind};
use types::{PartitionId, SessionId};

impl File {
    /// Brings one buffered segment to the cluster; an error is kept for the next flush.
    pub(super) async fn land_one(&self, departed: Departed) {
        let bytes = departed.segment.bytes.len() as u64;
        match self.land_now(departed).await {
            Ok(()) => self.volume.inner.ledger.landed(bytes),
            Err(error) => {
                self.volume.inner.ledger.lost(self.inode(), bytes, &error);
                self.shared.lock().errors.note(error);
            }
        }
    }

    /// Brings one segment to the cluster.
    pub(super) async fn land_now(&self, departed: Departed) -> Result<(), Error> {
        let Departed { ticket, segment } = departed;
        let (start, end) = (segment.start, segment.end());
        self.wait_turn(ticket).await;
        let result = self.send(&segment).await;
        let mut state = self.shared.lock();
        state.in_flight.land(ticket);
        let reserved = if segment.reserved { segment.bytes.len() as u64 } else { 0 };
        let mut used = 0;
        if let Ok((partition, grown)) = &result {
            state.unsynced.insert(*partition);
            state.commit.allocated_delta += grown.delta;
            state.commit.recount |= !grown.certain;
            state.commit.landed = state.commit.landed.max(end);
            used = u64::try_from(grown.delta).unwrap_or(0).min(reserved);
        } else {
            state.forget_failed();
            // What comes after it may have landed.
            state.commit.sparse = true;
        }
        state.commit.reservation_used += used;
        drop(state);
        self.volume.inner.budget.give_back(reserved - used);
        self.shared.landed.notify_waiters();
        if let Err(error) = &result {
            tracing::warn!(inode = %self.inode(), start, end, %error, "a write failed");
        }
        result.map(drop)
    }

    /// Waits until nothing that overlaps and left earlier is in flight.
    async fn wait_turn(&self, ticket: u64) {
        loop {
            let landed = self.shared.landed.notified();
            tokio::pin!(landed);
            landed.as_mut().enable();
            if !self.shared.lock().in_flight.must_wait(ticket) {
                return;
            }
            landed.await;
        }
    }

    async fn send(&self, segment: &Segment) -> Result<(PartitionId, Grown), Error> {
        let partition = self.partition_for_write(segment.start / CHUNK_BYTES).await?;
        let bytes = segment.bytes.clone();
        let grown = self.volume.write_record(partition, self.inode(), segment.start, bytes).await?;
        Ok((partition, grown))
    }

    /// Writes back all that is buffered and waits for what is in flight.
    pub(super) async fn land_all(&self) {
        let segments = {
            let mut state = self.shared.lock();
            let all = state.buffer.take_all();
            state.in_flight.depart(all)
        };
        let mut landing: FuturesUnordered<_> =
            segments.into_iter().map(|segment| self.land_one(segment)).collect();
        while landing.next().await.is_some() {}
        self.wait_landed().await;
    }

    async fn wait_landed(&self) {
        loop {
            let landed = self.shared.landed.notified();
            tokio::pin!(landed);
            landed.as_mut().enable();
            if self.shared.lock().in_flight.is_empty() {
                return;
            }
            landed.await;
        }
    }

    /// Makes everything written so far visible to whoever opens the file next.
    ///
    /// # Errors
    /// An error of a buffered write that this opening of the file was not told of yet;
    /// [`Error::SessionEnded`] when locks that this client held on the file were lost with its
    /// session: others may have changed the file meanwhile. The data is written nevertheless.
    pub async fn flush(&self) -> Result<(), Error> {
        let written = self.write_back().await;
        let told = self.shared.lock().errors.tell(&self.seen);
        told.map_or(written, Err)
    }

    /// Brings everything written so far to the cluster, and leaves telling the namespace for later.
    ///
    /// # Errors
    /// As [`File::flush`].
    pub(super) async fn land(&self) -> Result<(), Error> {
        // A truncation must not cut what lands while it looks how long the file is.
        let _one_at_a_time = self.shared.flushing.lock().await;
        let errors = self.shared.lock().errors.count();
        self.land_all().await;
        let mut state = self.shared.lock();
        let landed = state.errors.since(errors).map_or(Ok(()), Err);
        state.errors.tell(&self.seen).map_or(landed, Err)
    }

    /// As [`File::flush`], for our own purposes: those who opened the file are told of what went
    /// wrong all the same.
    ///
    /// # Errors
    /// What went wrong just now.
    pub async fn write_back(&self) -> Result<(), Error> {
        if self.shared.lock().nothing_to_flush() {
            return Ok(());
        }
        let _one_at_a_time = self.shared.flushing.lock().await;
        let errors = self.shared.lock().errors.count();
        self.land_all().await;
        self.commit().await?;
        self.shared.lock().errors.since(errors).map_or(Ok(()), Err)
    }

    /// Tells the namespace what has landed so far, and waits for nothing else.
    pub(super) async fn commit_behind(&self) {
        let _one_at_a_time = self.shared.flushing.lock().await;
        if let Err(error) = self.commit().await {
            tracing::warn!(inode = %self.inode(), %error, "not committed yet");
        }
    }

    /// Tells the namespace what was written; waits while another client appends to the file.
    async fn commit(&self) -> Result<(), Error> {
        loop {
            match self.commit_once().await {
                Err(Error::Refused(failure)) if failure.kind() == FailureKind::Busy => {
                    self.lose_append();
                    self.give_way(&failure).await;
                }
                result => return result,
            }
        }
    }

    /// Somebody else holds the end of the file: what was appended here and is not committed may lie
    /// where others append, and whoever appended must hear of it.
    fn lose_append(&self) {
        let mut state = self.shared.lock();
        if state.appended_under.take().is_some() {
            state.errors.note(Error::SessionEnded);
        }
    }

    async fn commit_once(&self) -> Result<(), Error> {
        let mut pending = {
            let mut state = self.shared.lock();
            let pending = state.take_commit();
            state.committing = Some(pending);
            pending
        };
        if pending.recount {
            self.count_anew(&mut pending).await?;
        }
        if !pending.wanted && pending.allocated_delta == 0 && pending.reservation_used == 0 {
            self.shared.lock().committing = None;
            return Ok(());
        }
        let item = self.commit_item(&pending);
        let commit = types::namespace::Commit { items: vec![item] };
        let result = self.volume.commit(commit).await;
        let mut state = self.shared.lock();
        state.committing = None;
        let mut results = match result {
            Ok(results) => results,
            Err(error) => {
                // The data is there; the next flush may have more luck with saying so.
                state.commit.merge(&pending);
                return Err(error);
            }
        };
        state.namespace_unsynced = true;
        match results.pop() {
            Some(Ok(attributes)) => {
                state.note_attributes(&attributes);
                state.check_append(self.volume.session());
            }
            // Deleted for good: there is nothing left that could be committed.
            Some(Err(Error::Gone)) => {}
            Some(Err(error)) => {
                state.commit.merge(&pending);
                return Err(error);
            }
            None => return Err(Error::Invalid("a commit without a result".into())),
        }
        Ok(())
    }

    /// Tells the namespace, of a file whose delegation this client has, how long its data is. What it takes is
    /// counted with the next commit.
    pub(super) async fn commit_settled(&self) -> Result<Attributes, Error> {
        let _one_at_a_time = self.shared.flushing.lock().await;
        // It may have been truncated here since.
        let known = self.volume.told_attributes(self.inode()).await?;
        if !known.unsettled {
            return Ok(known);
        }
        let size = self.volume.data_end(&known).await?;
        tracing::info!(inode = %self.inode(), told = known.size, size, "settling a file's length");
        let item = CommitItem {
            inode: self.inode().0,
            size_at_least: Some(size),
            settled: true,
            keep_times: true,
            ..CommitItem::default()
        };
        let commit = types::namespace::Commit { items: vec![item] };
        let unanswered = || Error::Invalid("a commit without a result".into());
        let settled = self.volume.commit(commit).await?.pop().ok_or_else(unanswered)?;
        self.shared.lock().commit.recount |= settled.is_ok();
        settled
    }

    /// Replaces what is believed to have been written by what is there.
    async fn count_anew(&self, pending: &mut PendingCommit) -> Result<(), Error> {
        let counted = self.recount().await;
        let mut state = self.shared.lock();
        match counted {
            Ok(delta) => {
                tracing::debug!(inode = %self.inode(), delta, believed = pending.allocated_delta, "recounted");
                pending.allocated_delta = delta;
                pending.recount = false;
                state.committing = Some(*pending);
                // What landed meanwhile may be counted twice; the next commit puts that right.
                state.commit.recount |= state.commit.allocated_delta != 0;
                Ok(())
            }
            Err(error) => {
                state.committing = None;
                state.commit.merge(pending);
                Err(error)
            }
        }
    }

    fn commit_item(&self, pending: &PendingCommit) -> CommitItem {
        CommitItem {
            inode: self.inode().0,
            size_at_least: pending.wanted.then_some(pending.landed),
            mtime: pending.wanted.then_some(pending.mtime),
            allocated_delta: pending.allocated_delta,
            reservation_used: pending.reservation_used,
            keep_times: !pending.wanted,
            clear_setid: pending.clear_setid,
            ..CommitItem::default()
        }
    }

    /// Asks the cluster for the newest attributes.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn attributes(&self) -> Result<Attributes, Error> {
        self.volume.attributes(self.inode()).await
    }
}

impl State {
    pub(super) fn nothing_to_flush(&self) -> bool {
        let accounted = self.commit.allocated_delta == 0
            && self.commit.reservation_used == 0
            && !self.commit.recount;
        self.is_idle() && accounted
    }

    /// Something was committed under `session`. What was appended under an earlier one had lost its
    /// place by then: others may have appended there, and whoever appended must hear of it.
    fn check_append(&mut self, session: SessionId) {
        if self.appended_under.is_some_and(|under| under != session) {
            self.errors.note(Error::SessionEnded);
            self.appended_under = None;
        } else if self.is_idle() {
            self.appended_under = None;
        }
    }

    pub(super) fn note_attributes(&mut self, attributes: &Attributes) {
        // One commit is one step: any more, and others have changed the file meanwhile.
        let own = self.version.is_some_and(|version| version + 1 == attributes.version);
        self.version = own.then_some(attributes.version);
        self.learn(attributes);
    }
}
