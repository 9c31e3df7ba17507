//! The bytes of chunks, without buffering: every call asks the cluster.

use crate::{Error, Volume};
use bytes::{Bytes, BytesMut};
use types::checksum::block_checksums;
use types::limits::{CHUNK_BYTES, RECORD_PAYLOAD_BYTES_MAX};
use types::{InodeId, PartitionId};
use wire::{Operation, Request, data};

/// By how many bytes an object grew.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grown {
    pub(crate) delta: i64,
    /// An earlier attempt may have been carried out as well: then the answer to the last one says
    /// nothing of what the first one did.
    pub(crate) certain: bool,
}

impl Volume {
    /// Writes bytes that lie within one chunk and fit into one record; returns how many more bytes
    /// the object holds.
    pub(crate) async fn write_record(
        &self,
        partition: PartitionId,
        inode: InodeId,
        offset: u64,
        payload: Bytes,
    ) -> Result<Grown, Error> {
        assert!(payload.len() <= RECORD_PAYLOAD_BYTES_MAX as usize, "callers split");
        let sums = block_checksums(&payload);
        let checksums: Vec<u8> = sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
        let write = data::Write { object: inode.0, offset, checksums: checksums.into() };
        let request = Request::new(Operation::DataWrite).message(&write).payload(payload);
        self.written(partition, request).await
    }

    /// Empties a range of one chunk; returns by how many bytes the object grew (not above zero).
    pub(crate) async fn trim_record(
        &self,
        partition: PartitionId,
        inode: InodeId,
        offset: u64,
        length: u64,
    ) -> Result<Grown, Error> {
        let trim = data::Trim { object: inode.0, offset, length };
        let request = Request::new(Operation::DataTrim).message(&trim);
        self.written(partition, request).await
    }

    async fn written(&self, partition: PartitionId, request: Request) -> Result<Grown, Error> {
        let mut uncertain = false;
        let reply = self.call_noting(partition, request, &mut uncertain).await;
        if matches!(reply, Err(Error::NoSpace)) {
            self.note_full(partition);
        }
        let reply = reply?;
        let written: data::Written = decode(&reply)?;
        Ok(Grown { delta: written.allocated_delta, certain: !uncertain })
    }

    /// Reads part of one chunk into `out`; holes read as zeros.
    pub(crate) async fn read_chunk(
        &self,
        partition: PartitionId,
        inode: InodeId,
        offset: u64,
        length: usize,
    ) -> Result<Bytes, Error> {
        let limit = RECORD_PAYLOAD_BYTES_MAX as usize;
        if length <= limit {
            return self.read_record(partition, inode, offset, length).await;
        }
        let pieces = (0..length.div_ceil(limit)).map(|piece| {
            let at = piece * limit;
            self.read_record(partition, inode, offset + at as u64, limit.min(length - at))
        });
        let pieces = futures::future::try_join_all(pieces).await?;
        let mut bytes = BytesMut::with_capacity(length);
        pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
        Ok(bytes.freeze())
    }

    async fn read_record(
        &self,
        partition: PartitionId,
        inode: InodeId,
        offset: u64,
        length: usize,
    ) -> Result<Bytes, Error> {
        let length = u32::try_from(length).expect("callers split");
        let read = data::Read { object: inode.0, offset, length };
        let request = Request::new(Operation::DataRead).message(&read);
        let reply = self.call(partition, request).await?;
        if reply.payload.len() != length as usize {
            return Err(Error::Invalid("a read of another length was answered".into()));
        }
        Ok(reply.payload)
    }

    /// The runs of data of one chunk from `offset` on: offset and length.
    pub(crate) async fn chunk_extents(
        &self,
        partition: PartitionId,
        inode: InodeId,
        offset: u64,
    ) -> Result<Vec<(u64, u64)>, Error> {
        let length = CHUNK_BYTES - offset % CHUNK_BYTES;
        let asked = data::Extents { object: inode.0, offset, length };
        let request = Request::new(Operation::DataExtents).message(&asked);
        let reply: data::ExtentsReply = decode(&self.call(partition, request).await?)?;
        Ok(reply.runs.chunks_exact(2).map(|run| (run[0], run[1])).collect())
    }

    /// Makes everything acknowledged by a data partition durable.
    pub(crate) async fn flush_data(&self, partition: PartitionId) -> Result<(), Error> {
        let request = Request::new(Operation::DataFlush).message(&data::Flush {});
        self.call(partition, request).await.map(drop)
    }
}

pub(crate) fn decode<M: prost::Message + Default>(reply: &wire::Reply) -> Result<M, Error> {
    reply.decode().map_err(|error| Error::Invalid(error.to_string()))
}
