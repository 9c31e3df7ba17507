//! Reading a file.

use super::File;
use crate::Error;
use bytes::{Bytes, BytesMut};
use types::limits::CHUNK_BYTES;

impl File {
    /// Reads up to `length` bytes; fewer only at the end of the file. Sees everything that this
    /// client wrote before, and what others had flushed when the file was opened.
    ///
    /// # Errors
    /// [`Error::Damaged`] when no good copy is left; see [`Error`].
    pub async fn read(&self, offset: u64, length: usize) -> Result<Bytes, Error> {
        let wanted_end = offset.saturating_add(length as u64);
        let (end, buffered) = {
            let state = self.shared.lock();
            let buffered = state.buffer.overlaps(offset, wanted_end)
                || state.in_flight.overlaps(offset, wanted_end);
            (wanted_end.min(state.size), buffered)
        };
        if offset >= end {
            return Ok(Bytes::new());
        }
        if buffered {
            self.land_all().await;
        }
        let first = offset / CHUNK_BYTES;
        let last = (end - 1) / CHUNK_BYTES;
        if first == last {
            return self.read_in_chunk(first, offset, end).await;
        }
        let mut bytes = BytesMut::new();
        for chunk in first..=last {
            let from = offset.max(chunk * CHUNK_BYTES);
            let until = end.min((chunk + 1) * CHUNK_BYTES);
            bytes.extend_from_slice(&self.read_in_chunk(chunk, from, until).await?);
        }
        Ok(bytes.freeze())
    }

    async fn read_in_chunk(&self, chunk: u64, from: u64, until: u64) -> Result<Bytes, Error> {
        let length = usize::try_from(until - from).expect("reads fit into memory");
        match self.partition_for_read(chunk).await? {
            None => Ok(BytesMut::zeroed(length).freeze()),
            Some(partition) => self.volume.read_chunk(partition, self.inode(), from, length).await,
        }
    }
}
