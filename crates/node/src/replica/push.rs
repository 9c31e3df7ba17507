//! The sending side of a snapshot: reads a view of the index, and pushes it piece by piece.
//!
//! It runs beside the loop. What it reads stays as it is: the view does not change, and nothing is
//! given back of the files while a snapshot is being sent.

use super::snapshot::Parts;
use crate::context::Context;
use crate::run::NodeEvent;
use bytes::{Bytes, BytesMut};
use partition::extent::{ChunkMap, Index};
use partition::kv::Read;
use partition::log::record::{Record, RecordHeader};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use types::configuration::PartitionKind;
use types::limits::{
    COPY_REST_MAX, RECORD_PAYLOAD_BYTES_MAX, SNAPSHOT_PIECE_DEADLINE, SNAPSHOT_RECONNECT_INTERVAL,
    SNAPSHOT_RECORDS_MAX, SNAPSHOT_STALL_MAX, SNAPSHOT_TOMBSTONES_MAX,
};
use types::{Epoch, ReplicaId};
use wire::replicate::{Snapshot, SnapshotReply};
use wire::{Class, Operation, Request};
use world::File;

/// What is read and pushed by the sending task.
pub(super) struct Source {
    pub context: Arc<Context>,
    pub kind: PartitionKind,
    pub partition: types::PartitionId,
    pub kv: Arc<dyn Read>,
    pub files: BTreeMap<u32, File>,
    pub address: String,
    pub head: Snapshot,
}

impl Source {
    /// Pushes everything.
    pub(super) async fn push(self) -> Result<(), String> {
        let mut head = self.head.clone();
        match self.kind {
            PartitionKind::Namespace => self.push_pairs(&mut head).await,
            PartitionKind::Data => self.push_records(&mut head).await,
        }
    }

    pub(super) async fn send(&self, piece: &mut Snapshot, payload: Bytes) -> Result<(), String> {
        let context = &self.context;
        let world = &context.world;
        let copy = ReplicaId(self.head.to);
        let due = context.pace(copy, payload.len() as u64);
        let begun = world.now();
        let request = Request::new(Operation::Snapshot)
            .partition(self.partition)
            .epoch(Epoch(piece.epoch))
            .class(Class::Background)
            .deadline(SNAPSHOT_PIECE_DEADLINE)
            .message(piece)
            .payload(payload);
        // What ends a snapshot is that nothing gets on, however slow the other disk is: with a time for
        // each portion it would begin anew for ever there.
        let reply = loop {
            let reply = context.peers.call(&self.address, request.clone()).await;
            match reply.and_then(|reply| reply.decode::<SnapshotReply>()) {
                Ok(reply) => break reply,
                Err(error) => {
                    let waited = world.now().since(begun);
                    if waited >= patience(&error) {
                        return Err(error.to_string());
                    }
                    tracing::info!(partition = %self.partition, ?waited, %error, "a piece is sent again");
                    if !matches!(error, wire::Error::TimedOut { .. }) {
                        world.sleep(SNAPSHOT_RECONNECT_INTERVAL).await;
                    }
                }
            }
        };
        *piece = Snapshot { piece: piece.piece + 1, ..self.head.clone() };
        let theirs = world.now() + Duration::from_micros(reply.rest_us).min(COPY_REST_MAX);
        context.rest(copy, due).await;
        let rest = theirs.since(world.now());
        if !rest.is_zero() {
            world.sleep(rest).await;
        }
        Ok(())
    }

    async fn push_pairs(&self, piece: &mut Snapshot) -> Result<(), String> {
        let limit = RECORD_PAYLOAD_BYTES_MAX as usize;
        let mut after: Option<Vec<u8>> = None;
        loop {
            let mut payload = BytesMut::new();
            let from = after.take().map_or(Vec::new(), |mut key| {
                key.push(0);
                key
            });
            let mut last = None;
            let scan = self.kv.scan(&from, None, &mut |key, value| {
                let full = payload.len() + key.len() + value.len() > limit;
                if full && !payload.is_empty() {
                    return ControlFlow::Break(());
                }
                let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("small pairs");
                piece.pairs.extend([length(key), length(value)]);
                payload.extend_from_slice(key);
                payload.extend_from_slice(value);
                last = Some(key.to_vec());
                ControlFlow::Continue(())
            });
            scan.map_err(|error| error.to_string())?;
            let end = last.is_none();
            piece.last = end;
            self.send(piece, payload.freeze()).await?;
            if end {
                return Ok(());
            }
            after = last;
        }
    }

    async fn push_records(&self, piece: &mut Snapshot) -> Result<(), String> {
        let (mut after, mut payload) = (None, BytesMut::new());
        loop {
            let mut chunks: Vec<(u64, u64, ChunkMap)> = Vec::new();
            let scan = Index::scan(self.kv.as_ref(), after, &mut |object, chunk, map| {
                chunks.push((object, chunk, map));
                if chunks.len() < 64 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            scan.map_err(|error| error.to_string())?;
            let Some((object, chunk, _)) = chunks.last() else { break };
            after = Some((*object, *chunk));
            for (_, _, map) in &chunks {
                self.push_chunk(piece, &mut payload, map).await?;
            }
        }
        if !payload.is_empty() {
            self.send(piece, payload.freeze()).await?;
        }
        self.push_tombstones(piece).await
    }

    /// They stay for ever, so that a write which was long on its way cannot bring back what was
    /// deleted; with time there are more than one message holds.
    async fn push_tombstones(&self, piece: &mut Snapshot) -> Result<(), String> {
        let mut after = None;
        loop {
            let page = Index::tombstones(self.kv.as_ref(), after, SNAPSHOT_TOMBSTONES_MAX)
                .map_err(|error| error.to_string())?;
            after = page.last().copied();
            piece.last = page.len() < SNAPSHOT_TOMBSTONES_MAX;
            piece.tombstones = page;
            let last = piece.last;
            self.send(piece, Bytes::new()).await?;
            if last {
                return Ok(());
            }
        }
    }

    /// Adds the records of a chunk to the piece; sends it whenever it is full.
    async fn push_chunk(
        &self,
        piece: &mut Snapshot,
        payload: &mut BytesMut,
        map: &ChunkMap,
    ) -> Result<(), String> {
        let mut records: BTreeMap<_, Parts> = BTreeMap::new();
        for extent in map.extents() {
            records.entry(extent.at).or_default().push((extent.skip, extent.length));
        }
        for (at, live) in records {
            let file = self.files.get(&at.segment).ok_or("a segment is missing")?;
            let record = read_record(file, at.offset)?;
            if let Err(reason) = Record::decode_parts(&record, self.partition, &live) {
                self.context.post(NodeEvent::DamageMet { replica: ReplicaId(self.head.from) });
                return Err(format!("segment {} offset {}: {reason}", at.segment, at.offset));
            }
            let full = payload.len() + record.len() > RECORD_PAYLOAD_BYTES_MAX as usize
                || piece.records.len() >= SNAPSHOT_RECORDS_MAX
                || piece.live.len() + 2 * live.len() > 2 * SNAPSHOT_RECORDS_MAX;
            if full && !payload.is_empty() {
                self.send(piece, payload.split().freeze()).await?;
            }
            piece.records.push(u32::try_from(record.len()).expect("records have a limit"));
            piece.parts.push(u32::try_from(live.len()).expect("few parts"));
            piece.live.extend(live.iter().flat_map(|(skip, length)| [*skip, *length]));
            payload.extend_from_slice(&record);
        }
        Ok(())
    }
}

/// How long a piece is sent again and again after such an error. Whoever took it knows that.
fn patience(error: &wire::Error) -> Duration {
    match error {
        wire::Error::TimedOut { .. } => SNAPSHOT_STALL_MAX,
        // A session that broke is no reason to begin anew.
        wire::Error::Closed { .. } | wire::Error::Unreachable { .. } => SNAPSHOT_PIECE_DEADLINE,
        wire::Error::Refused { .. } | wire::Error::Malformed(_) => Duration::ZERO,
    }
}

fn read_record(file: &File, offset: u32) -> Result<Bytes, String> {
    let mut head = [0; 64];
    file.read_at(offset.into(), &mut head).map_err(|error| error.to_string())?;
    let header = RecordHeader::decode(&head).map_err(|error| error.to_string())?;
    let mut bytes = vec![0; header.record_bytes() as usize];
    file.read_at(offset.into(), &mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes.into())
}
