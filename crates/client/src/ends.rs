//! How long a file is of which another client has, or had, the delegation: see [`crate::File::sync`].
//!
//! The namespace may be told of what was synced only when the delegation is given back. Until then the length is what
//! the namespace knows and what lies behind that without a gap. When the client ended that had it, the file stays
//! *unsettled* until somebody who has the delegation tells the namespace.

use crate::{Error, Volume};
use futures::StreamExt;
use types::limits::{CHUNK_BYTES, LENGTH_PATIENCE};
use types::namespace::{Attributes, FileKind};
use types::{InodeId, PartitionId};

/// Files of one folder whose data is asked at a time.
const LOOKS_MAX: usize = 32;

impl Volume {
    /// Puts right what the namespace says of a file's length, and adds what is buffered here.
    pub(crate) async fn complete(&self, mut attributes: Attributes) -> Result<Attributes, Error> {
        if self.may_be_longer(&attributes) {
            attributes.size = self.data_end(&attributes).await?;
            if attributes.unsettled && attributes.delegate == 0 {
                self.settle_behind(&attributes);
            }
        }
        Ok(self.overlay(attributes))
    }

    /// As [`Volume::complete`], for who looks at names: a file whose data does not answer has a name nevertheless, and
    /// shows the length that the namespace knows.
    pub(crate) async fn complete_soon(&self, attributes: Attributes) -> Attributes {
        if !self.may_be_longer(&attributes) {
            return self.overlay(attributes);
        }
        let complete = self.complete(attributes);
        let patience = self.client().world.sleep(LENGTH_PATIENCE);
        tokio::pin!(complete, patience);
        let completed = tokio::select! {
            biased;
            completed = &mut complete => completed.ok(),
            () = &mut patience => None,
        };
        completed.unwrap_or_else(|| self.overlay(attributes))
    }

    /// The same for everything in a part of a folder, in order, some at a time.
    pub(crate) async fn complete_listed(&self, listed: Vec<Attributes>) -> Vec<Attributes> {
        if !listed.iter().any(|found| self.may_be_longer(found)) {
            return listed.into_iter().map(|found| self.overlay(found)).collect();
        }
        let completing = listed.into_iter().map(|found| {
            let volume = self.clone();
            async move { volume.complete_soon(found).await }
        });
        futures::stream::iter(completing).buffered(LOOKS_MAX).collect().await
    }

    /// Whether another client may have synced something of which the namespace was not told.
    #[must_use]
    pub fn may_be_longer(&self, attributes: &Attributes) -> bool {
        let own = attributes.delegate == self.session().0 && !attributes.unsettled;
        let held = attributes.delegate != 0 || attributes.unsettled;
        attributes.kind() == FileKind::File && held && !own
    }

    /// Where the bytes end that lie behind a file's length, as the namespace knows it, without a gap.
    pub(crate) async fn data_end(&self, attributes: &Attributes) -> Result<u64, Error> {
        let inode = InodeId(attributes.inode);
        let mut end = attributes.size;
        loop {
            let chunk = end / CHUNK_BYTES;
            let page = self.chunk_map(inode, chunk, 1).await?;
            let placed = page.placements.first().filter(|placement| placement.chunk == chunk);
            let Some(placed) = placed else { return Ok(end) };
            let runs = self.chunk_extents(PartitionId(placed.partition), inode, end).await?;
            match runs.first() {
                Some((start, length)) if *start == end => end += length,
                _ => return Ok(end),
            }
            if !end.is_multiple_of(CHUNK_BYTES) {
                return Ok(end);
            }
        }
    }

    /// Has the namespace told, so that the next who asks need not look.
    fn settle_behind(&self, attributes: &Attributes) {
        if self.options().identity.read_only || self.rights() != types::access::Rights::ReadWrite {
            return;
        }
        let (volume, attributes) = (self.clone(), *attributes);
        self.client().world.spawn("settle", async move {
            let file = volume.open_file(&attributes);
            file.try_hold().await;
            file.close();
        });
    }
}
