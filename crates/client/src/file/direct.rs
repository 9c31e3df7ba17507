//! Writes that are not buffered: acknowledged by the cluster before they return.

use super::File;
use super::buffer::Segment;
use crate::Error;
use bytes::Bytes;
use types::limits::RECORD_PAYLOAD_BYTES_MAX;

impl File {
    /// Writes through to the cluster, as `O_DIRECT` asks. What is buffered of the same range goes
    /// first. A longer file becomes so for others at once; times are told at the next flush.
    ///
    /// # Errors
    /// As [`File::write`], and what went wrong with this very write.
    pub async fn write_through(&self, offset: u64, bytes: Bytes) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        match self.volume.reserve(bytes.len() as u64).await {
            Err(Error::NoSpace) => return self.overwrite(offset, bytes).await,
            reserved => reserved?,
        }
        self.put_through(offset, bytes, true).await
    }

    /// Writes, in a volume without space, over bytes that are there already: these need none.
    pub(super) async fn overwrite(&self, offset: u64, bytes: Bytes) -> Result<(), Error> {
        let end = offset + bytes.len() as u64;
        // What is buffered has its space, and may be what is written over.
        self.write_back().await?;
        if end > self.size() || !self.is_stored(offset, end).await? {
            return Err(Error::NoSpace);
        }
        self.put_through(offset, bytes, false).await
    }

    async fn put_through(&self, offset: u64, bytes: Bytes, reserved: bool) -> Result<(), Error> {
        let end = offset + bytes.len() as u64;
        let buffered = self.shared.lock().buffer.overlaps(offset, end);
        if buffered {
            self.land_all().await;
        }
        let grows = end > self.size();
        self.land_pieces(offset, bytes, reserved).await?;
        let now = self.volume.client().world.timestamp().0;
        {
            let mut state = self.shared.lock();
            state.commit.sparse |= offset > state.size;
            state.size = state.size.max(end);
            state.commit.wanted = true;
            state.commit.size = state.commit.size.max(end);
            // It has landed, and a flush in between may have taken note of that and not have told it.
            state.commit.landed = state.commit.landed.max(end);
            state.commit.mtime = now;
        }
        if grows { self.write_back().await } else { Ok(()) }
    }

    async fn land_pieces(
        &self,
        mut offset: u64,
        mut bytes: Bytes,
        reserved: bool,
    ) -> Result<(), Error> {
        let window = u64::from(RECORD_PAYLOAD_BYTES_MAX);
        while !bytes.is_empty() {
            let border = (offset / window + 1) * window;
            let count = usize::try_from(border - offset).expect("small").min(bytes.len());
            let piece = bytes.split_to(count);
            let segment = Segment { start: offset, bytes: piece, room: None, reserved };
            let departed = self.shared.lock().in_flight.depart(vec![segment]);
            for departed in departed {
                let landed = self.land_now(departed).await;
                if landed.is_err() && reserved {
                    self.volume.inner.budget.give_back(bytes.len() as u64);
                }
                landed?;
            }
            offset += count as u64;
        }
        Ok(())
    }
}
