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
        let end = offset + bytes.len() as u64;
        self.volume.reserve(bytes.len() as u64).await?;
        let buffered = self.shared.lock().buffer.overlaps(offset, end);
        if buffered {
            self.land_all().await;
        }
        let grows = end > self.size();
        self.land_pieces(offset, bytes).await?;
        let now = self.volume.client().world.timestamp().0;
        {
            let mut state = self.shared.lock();
            state.size = state.size.max(end);
            state.commit.wanted = true;
            state.commit.size = state.commit.size.max(end);
            state.commit.mtime = now;
        }
        if grows { self.flush().await } else { Ok(()) }
    }

    async fn land_pieces(&self, mut offset: u64, mut bytes: Bytes) -> Result<(), Error> {
        let window = u64::from(RECORD_PAYLOAD_BYTES_MAX);
        while !bytes.is_empty() {
            let border = (offset / window + 1) * window;
            let count = usize::try_from(border - offset).expect("small").min(bytes.len());
            let segment = Segment { start: offset, bytes: bytes.split_to(count), room: None };
            let departed = self.shared.lock().in_flight.depart(vec![segment]);
            for departed in departed {
                self.land_now(departed).await?;
            }
            offset += count as u64;
        }
        Ok(())
    }
}
