//! Bringing a replica up whose leader's log does not reach back far enough.
//!
//! The leader freezes its index and pushes it piece by piece (see `push`), data with the records it
//! points to.
//! The receiver builds a second index beside the one it has, under the next generation of keys, and
//! copies records into base segments. Only when all is there, durable and wanted by the engine does
//! the new generation take over: one write of the state file decides it.

use super::open::{Found, index_handle, index_prefix, space_of};
use super::push::Source;
use super::{Holder, Machine, Trouble, checkpoint::Checkpointing};
use crate::context::Counters;
use crate::log::{Log, SyncJob};
use crate::run::NodeEvent;
use crate::store::{self, Checkpoint};
use bytes::Bytes;
use partition::extent::{DataKey, Index};
use partition::kv::{Batch, Buffered, FlushJob, Kv, Remaining};
use partition::log::record::Record;
use partition::replica::{Event, Position};
use std::sync::Arc;
use std::time::Duration;
use types::configuration::PartitionKind;
use types::limits::{
    SNAPSHOT_STORE_TIME, SNAPSHOT_UNSTORED_BYTES_MAX, SNAPSHOT_UNSTORED_BYTES_MIN,
    SNAPSHOT_UNSTORED_PIECES_MAX,
};
use types::{Epoch, ReplicaId, Sequence};
use wire::replicate::{Snapshot, SnapshotReply};
use wire::{Reply, Request, Responder, Status};
use world::World;

/// What a tombstone takes in memory until it is on disk, about.
const TOMBSTONE_BYTES: usize = 64;

/// Snapshots on their way, in either direction.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    /// How many are being sent: their segments must stay.
    sending: usize,
    /// How many inspections are reading: so must theirs.
    reading: usize,
    staging: Option<Staging>,
    /// Part of a snapshot is being brought to disk: nothing else may be under its keys meanwhile.
    storing: bool,
    /// Whoever sent the piece again that is being stored, and is told in place of the first.
    again: Option<Responder>,
    /// Old indexes that could not be taken away.
    left: Vec<u32>,
}

impl Transfers {
    pub(super) fn leave(&mut self, generation: u32) {
        self.left.push(generation);
    }

    pub(super) fn take_left(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.left)
    }

    pub(super) fn are_reading(&self) -> bool {
        self.sending + self.reading > 0
    }

    /// What was received of names and inodes, which are in no log.
    pub(super) fn staged_bytes(&self) -> u64 {
        self.staging.as_ref().map_or(0, |staging| staging.pairs_bytes)
    }

    /// Whether anything needs segments that the index does not point to.
    pub(super) fn are_busy(&self) -> bool {
        self.are_reading() || self.staging.is_some()
    }

    pub(super) fn begin_reading(&mut self) {
        self.reading += 1;
    }

    pub(super) fn end_reading(&mut self) {
        self.reading = self.reading.checked_sub(1).expect("each is counted when it begins");
    }
}

/// A snapshot that is being received.
#[derive(Debug)]
struct Staging {
    from: ReplicaId,
    epoch: Epoch,
    at: Position,
    attempt: u64,
    piece_next: u64,
    complete: bool,
    kv: Arc<Buffered>,
    /// The new index, for data.
    index: Option<Index>,
    /// What was received since it was last brought to disk.
    unstored_bytes: usize,
    unstored_pieces: u32,
    /// All that was received under the keys of the new index.
    pairs_bytes: u64,
    /// How much is received before it is brought to disk: what the disk takes within a few seconds.
    portion: usize,
}

impl Staging {
    /// Whether this piece came before, and was taken.
    fn has(&self, piece: &Snapshot) -> bool {
        piece.attempt != 0 && piece.attempt == self.attempt && piece.piece + 1 == self.piece_next
    }

    fn wants_to_store(&self) -> bool {
        self.unstored_bytes >= self.portion || self.unstored_pieces >= SNAPSHOT_UNSTORED_PIECES_MAX
    }

    /// Learns from how long it took to bring so much to disk.
    fn note_speed(&mut self, bytes: usize, took: Duration) {
        if bytes < self.portion && took < SNAPSHOT_STORE_TIME {
            // The end of something: most of the time went into what does not depend on how much it is.
            return;
        }
        let seconds = took.as_secs_f64().max(0.001);
        let fits = bytes as f64 / seconds * SNAPSHOT_STORE_TIME.as_secs_f64();
        // At most twice as much: a small portion says little of a large one.
        let most = (self.portion * 2).min(SNAPSHOT_UNSTORED_BYTES_MAX);
        self.portion = (fits as usize).clamp(SNAPSHOT_UNSTORED_BYTES_MIN, most);
    }
}

/// Part of a snapshot that is to be brought to disk, and who is told then.
#[derive(Debug)]
struct StoreJob {
    kv: Arc<Buffered>,
    flush: FlushJob,
    sync: SyncJob,
    last: bool,
    responder: Responder,
    bytes: usize,
    writing: Arc<()>,
}

/// It is on the disk, unless that failed.
#[derive(Debug)]
pub struct Stored {
    job: StoreJob,
    took: Duration,
    result: Result<(), Trouble>,
}

impl StoreJob {
    /// Blocks.
    fn run(self, world: &World) -> Stored {
        let begun = world.now();
        let synced = self.sync.run().map_err(|error| Trouble { no_space: false, ..error.into() });
        let result = synced.and_then(|()| self.flush.run().map_err(Trouble::from));
        Stored { took: world.now().since(begun), job: self, result }
    }
}

impl Holder {
    pub(super) fn send_snapshot(&mut self, to: ReplicaId, epoch: Epoch) {
        let replica = self.id;
        // Counted first: whatever comes of it, its end is told once.
        self.snapshots.sending += 1;
        let Some(source) = self.snapshot_source(to, epoch) else {
            return self.context.post(NodeEvent::SnapshotSent { replica, to });
        };
        tracing::info!(partition = %self.partition, %to, "sending a snapshot");
        self.context.world.spawn("snapshot", async move {
            let context = source.context.clone();
            if let Err(reason) = source.push().await {
                tracing::warn!(%replica, %to, reason, "a snapshot was not sent");
            }
            context.post(NodeEvent::SnapshotSent { replica, to });
        });
    }

    /// A snapshot has been sent, well or not.
    pub fn snapshot_sent(&mut self, to: ReplicaId) {
        let sending = self.snapshots.sending.checked_sub(1);
        self.snapshots.sending = sending.expect("each is counted when it begins");
        self.handle(Event::SnapshotSent { to });
    }

    fn snapshot_source(&mut self, to: ReplicaId, epoch: Epoch) -> Option<Source> {
        let address = self.address_of(to)?;
        if let Err(error) = self.machine.checkpoint() {
            self.fail(format!("the index cannot be written: {error}"));
            return None;
        }
        let sequence = self.machine.applied();
        let at_epoch = self.engine.history().epoch_at(sequence)?;
        let segments = self.log.segments().keys();
        let files = segments.filter_map(|n| Some((*n, self.log.file(*n).ok()?))).collect();
        let head = Snapshot {
            to: to.0,
            from: self.id.0,
            epoch: epoch.0,
            at: Some(wire::replicate::Position { epoch: at_epoch.0, sequence: sequence.0 }),
            attempt: self.context.world.random(),
            ..Snapshot::default()
        };
        Some(Source {
            context: self.context.clone(),
            kind: self.kind,
            partition: self.partition,
            kv: self.kv.snapshot(),
            files,
            address,
            head,
        })
    }

    /// What who sent a piece is told: it was taken, and when the next may come.
    fn taken(&self) -> Reply {
        let rest = self.context.repair_rest(self.id).as_micros();
        Reply::message(&SnapshotReply { rest_us: u64::try_from(rest).unwrap_or(u64::MAX) })
    }

    /// Takes one piece of a snapshot.
    pub fn take_piece(&mut self, request: &Request, responder: Responder) {
        if let Some(job) = self.receive(request, responder) {
            self.store(job);
        }
    }

    /// Takes one piece; returns what is to be done about the disk before it is answered.
    fn receive(&mut self, request: &Request, responder: Responder) -> Option<StoreJob> {
        let Ok(piece) = request.decode::<Snapshot>() else {
            responder.refuse(Status::Invalid, "the piece does not decode");
            return None;
        };
        if self.snapshots.staging.as_ref().is_some_and(|staging| staging.has(&piece)) {
            match self.snapshots.storing {
                // The one before has stopped waiting.
                true => self.snapshots.again = Some(responder),
                false => responder.reply(self.taken()),
            }
            return None;
        }
        let bytes = request.payload.len() as u64;
        Counters::add(&self.context.counters.snapshot_bytes, bytes);
        self.context.pace(self.id, bytes);
        match self.stage(&piece, &request.payload) {
            Ok(true) => return self.start_storing(piece.last, responder),
            Ok(false) => responder.reply(self.taken()),
            Err((status, reason)) => {
                tracing::warn!(partition = %self.partition, reason, "a snapshot piece was refused");
                responder.refuse(status, reason);
            }
        }
        None
    }

    /// Takes what is in a piece; whether it is time to bring what was received to disk.
    fn stage(&mut self, piece: &Snapshot, payload: &Bytes) -> Result<bool, (Status, String)> {
        let invalid = |reason: &str| (Status::Invalid, reason.to_string());
        let at = piece.at.ok_or_else(|| invalid("the position is missing"))?;
        let at = Position { epoch: Epoch(at.epoch), sequence: Sequence(at.sequence) };
        let begun = |staging: &Staging| piece.attempt != 0 && staging.attempt == piece.attempt;
        if piece.piece == 0 && self.snapshots.staging.as_ref().is_some_and(begun) {
            return Err((Status::Conflict, "this snapshot was begun already".into()));
        }
        if self.snapshots.storing {
            let reason = "part of a snapshot is still being brought to disk";
            return Err((Status::Conflict, reason.into()));
        }
        if piece.piece == 0 {
            self.begin_staging(piece, at).map_err(|trouble| self.refuse_piece(&trouble))?;
        }
        let Some(staging) = self.snapshots.staging.as_mut() else {
            return Err((Status::Conflict, "no snapshot is being received".into()));
        };
        let fits = staging.at == at
            && staging.from.0 == piece.from
            && staging.epoch.0 == piece.epoch
            && staging.piece_next == piece.piece
            && !staging.complete;
        if !fits {
            return Err((Status::Conflict, "this is not the piece that comes next".into()));
        }
        match &mut staging.index {
            Some(index) => stage_records(&mut self.log, index, piece, payload, self.partition),
            None => stage_pairs(&staging.kv, &piece.pairs, payload),
        }
        .map_err(|trouble| self.refuse_piece(&trouble))?;
        let Some(staging) = self.snapshots.staging.as_mut() else {
            return Err((Status::Conflict, "the snapshot was discarded".into()));
        };
        staging.piece_next += 1;
        // Records are in the log already, and counted there.
        staging.pairs_bytes += if staging.index.is_none() { payload.len() as u64 } else { 0 };
        staging.unstored_pieces += 1;
        staging.unstored_bytes += payload.len() + piece.tombstones.len() * TOMBSTONE_BYTES;
        Ok(piece.last || staging.wants_to_store())
    }

    /// Brings what was received to disk, beside the loop, and answers then: the sender is held back
    /// as much as this disk needs, and little is left to do when the snapshot is installed.
    fn store(&self, job: StoreJob) {
        let (context, replica) = (self.context.clone(), self.id);
        self.context.world.detach_blocking(move || {
            let stored = job.run(&context.world);
            context.post(NodeEvent::Stored { replica, stored });
        });
    }

    fn start_storing(&mut self, last: bool, responder: Responder) -> Option<StoreJob> {
        let staging = self.snapshots.staging.as_mut().expect("a piece was just staged");
        if let Err(error) = staging.index.as_mut().map_or(Ok(()), Index::checkpoint) {
            let (status, reason) = self.refuse_piece(&error.into());
            responder.refuse(status, reason);
            return None;
        }
        let bytes = std::mem::take(&mut staging.unstored_bytes);
        staging.unstored_pieces = 0;
        let (kv, flush) = (staging.kv.clone(), staging.kv.freeze());
        let (sync, writing) = (self.log.begin_sync(), self.writing.clone());
        self.snapshots.storing = true;
        Some(StoreJob { kv, flush, sync, last, responder, bytes, writing })
    }

    /// What was received so far is on disk, unless it was discarded meanwhile.
    pub fn stored(&mut self, stored: Stored) {
        self.snapshots.storing = false;
        let Stored { job, took, result } = stored;
        let StoreJob { kv, flush, last, responder, bytes, writing: _writing, .. } = job;
        let responder = self.snapshots.again.take().unwrap_or(responder);
        let staging = self.snapshots.staging.as_mut();
        let Some(staging) = staging.filter(|staging| Arc::ptr_eq(&staging.kv, &kv)) else {
            // Some of it may have been written after the rest was taken away.
            self.discard_snapshot();
            return responder.refuse(Status::Conflict, "the snapshot was discarded");
        };
        if let Err(trouble) = result {
            if !trouble.no_space {
                self.fail(format!("a snapshot cannot be stored: {trouble}"));
            }
            let (status, reason) = self.refuse_piece(&trouble);
            return responder.refuse(status, reason);
        }
        kv.forget_frozen(&flush);
        staging.note_speed(bytes, took);
        if last {
            staging.complete = true;
            let (from, epoch, at) = (staging.from, staging.epoch, staging.at);
            let before = self.stored.generation;
            self.handle(Event::SnapshotStaged { from, epoch, at });
            if self.stored.generation == before && self.snapshots.staging.is_none() {
                return responder.refuse(Status::Conflict, "the snapshot was not taken");
            }
        }
        responder.reply(self.taken());
    }

    /// What was received goes, too: whoever sends it begins anew, and until then it may be what the disk
    /// is full of.
    fn refuse_piece(&mut self, trouble: &Trouble) -> (Status, String) {
        self.note_refused(trouble);
        self.discard_snapshot();
        let status = if trouble.no_space { Status::NoSpace } else { Status::Unknown };
        (status, trouble.reason.clone())
    }

    fn begin_staging(&mut self, piece: &Snapshot, at: Position) -> Result<(), Trouble> {
        self.discard_snapshot();
        let generation = self.stored.generation + 1;
        self.remove_generation(generation)?;
        let found = Found { partition: self.partition, replica: self.id };
        let below = index_handle(&self.database, found, self.kind, generation);
        let kv = Arc::new(Buffered::new(Arc::new(below)));
        let index = match self.kind {
            PartitionKind::Data => Some(Index::open(kv.clone())?),
            PartitionKind::Namespace => None,
        };
        self.snapshots.staging = Some(Staging {
            from: ReplicaId(piece.from),
            epoch: Epoch(piece.epoch),
            at,
            attempt: piece.attempt,
            piece_next: 0,
            complete: false,
            kv,
            index,
            unstored_bytes: 0,
            unstored_pieces: 0,
            pairs_bytes: 0,
            portion: SNAPSHOT_UNSTORED_BYTES_MIN,
        });
        Ok(())
    }

    pub(super) fn discard_snapshot(&mut self) {
        self.snapshots.staging = None;
        let generation = self.stored.generation + 1;
        if let Err(error) = self.remove_generation(generation) {
            tracing::warn!(partition = %self.partition, %error, "cannot discard a snapshot");
            self.note_refused(&error.into());
        }
    }

    pub(super) fn remove_generation(&self, generation: u32) -> Result<(), partition::kv::Error> {
        let found = Found { partition: self.partition, replica: self.id };
        let kv = self.database.handle(space_of(self.kind), Vec::new());
        let prefix = index_prefix(found, generation);
        while kv.remove_prefix(&prefix, 4096)? == Remaining::Some {}
        Ok(())
    }

    /// Replaces log and index by what was staged.
    pub(super) fn install_snapshot(&mut self, at: Position) -> Option<Event> {
        let staging = self.snapshots.staging.take()?;
        if !staging.complete || staging.at != at {
            self.snapshots.staging = Some(staging);
            return None;
        }
        match self.install(staging) {
            Ok(()) => Some(Event::SnapshotInstalled { at }),
            // Log and index are as they were.
            Err(trouble) if trouble.no_space => {
                tracing::warn!(partition = %self.partition, %trouble, "no room for a snapshot");
                self.note_refused(&trouble);
                self.discard_snapshot();
                Some(Event::SnapshotRefused { at })
            }
            Err(trouble) => {
                self.fail(format!("a snapshot cannot be installed: {trouble}"));
                None
            }
        }
    }

    fn install(&mut self, mut staging: Staging) -> Result<(), Trouble> {
        let checkpoint = self.adopt_staged(&mut staging)?;
        // It counts: what goes wrong from here on is no want of room.
        let done = self.begin_anew(staging, &checkpoint);
        done.map_err(|trouble| Trouble { no_space: false, ..trouble })
    }

    /// Makes what was staged durable, and decides for it. After an error nothing has changed.
    fn adopt_staged(&mut self, staging: &mut Staging) -> Result<Checkpoint, Trouble> {
        let at = staging.at;
        if let Some(mut index) = staging.index.take() {
            index.set_applied(at.sequence);
            index.checkpoint()?;
        }
        // Blocks the loop for a while; a replica that is replaced has nobody to serve.
        let synced = self.log.begin_sync().run();
        synced.map_err(|error| Trouble { no_space: false, ..error.into() })?;
        staging.kv.persist()?;
        let checkpoint = Checkpoint {
            sequence: at.sequence.0,
            epoch: at.epoch.0,
            history: vec![at.epoch.0, at.sequence.0],
            synced: at.sequence.0,
            segment_min: self.log.number_next(),
            ..Checkpoint::default()
        };
        let generation = self.stored.generation + 1;
        let path = super::checkpoint::path(&self.folder, generation);
        store::write(&self.disk, &path, &checkpoint)?;
        self.stored.generation = generation;
        if let Err(error) = self.store_state() {
            self.stored.generation = generation - 1;
            return Err(error.into());
        }
        Ok(checkpoint)
    }

    /// Goes on with what was staged.
    fn begin_anew(&mut self, staging: Staging, checkpoint: &Checkpoint) -> Result<(), Trouble> {
        let at = staging.at;
        self.log.reset(at.sequence)?;
        self.machine = Machine::open(self.kind, staging.kv.clone())?;
        self.kv = staging.kv;
        self.unapplied.clear();
        self.results.clear();
        self.dead.clear();
        self.compaction.forget();
        self.checkpointing = Checkpointing::new(checkpoint);
        self.sweep(self.stored.generation - 1);
        tracing::info!(partition = %self.partition, sequence = %at.sequence, "snapshot installed");
        Ok(())
    }
}

/// Stores pairs of keys and values.
fn stage_pairs(kv: &Buffered, lengths: &[u32], payload: &Bytes) -> Result<(), Trouble> {
    let mut batch = Batch::default();
    let mut at = 0_usize;
    for pair in lengths.chunks(2) {
        let [key, value] = pair else { return Err(Trouble::malformed("a key without a value")) };
        let (key_end, end) = (at + *key as usize, at + *key as usize + *value as usize);
        if end > payload.len() {
            return Err(Trouble::malformed("pairs are longer than what was sent"));
        }
        batch.put(payload.slice(at..key_end), payload.slice(key_end..end));
        at = end;
    }
    kv.write(batch)?;
    Ok(())
}

/// Start and length of each part of a record's payload that is needed.
pub(super) type Parts = Vec<(u32, u32)>;

/// The records of a piece, verified in their live parts, and those parts.
fn decode_records(
    piece: &Snapshot,
    payload: &Bytes,
    partition: types::PartitionId,
) -> Result<(Vec<Record>, Vec<Parts>), String> {
    if piece.parts.len() != piece.records.len() {
        return Err("each record needs its parts".into());
    }
    let mut live = piece.live.chunks_exact(2).map(|part| (part[0], part[1]));
    let (mut records, mut all_parts) = (Vec::new(), Vec::new());
    let mut at = 0_usize;
    for (length, count) in piece.records.iter().zip(&piece.parts) {
        let end = at + *length as usize;
        if end > payload.len() {
            return Err("records are longer than what was sent".into());
        }
        let parts: Parts = live.by_ref().take(*count as usize).collect();
        if parts.iter().any(|(_, length)| *length == 0) {
            return Err("a part is empty".into());
        }
        let record = Record::decode_parts(&payload.slice(at..end), partition, &parts);
        records.push(record.map_err(|error| error.to_string())?);
        all_parts.push(parts);
        at = end;
    }
    Ok((records, all_parts))
}

/// Copies records, and points the new index to their live parts.
fn stage_records(
    log: &mut Log,
    index: &mut Index,
    piece: &Snapshot,
    payload: &Bytes,
    partition: types::PartitionId,
) -> Result<(), Trouble> {
    let decoded = decode_records(piece, payload, partition);
    let (records, parts) = decoded.map_err(|reason| Trouble::malformed(&reason))?;
    let locations = log.append_base(&records)?;
    for ((record, location), parts) in records.iter().zip(locations).zip(parts) {
        let key = DataKey::decode(&record.key);
        let key = key.map_err(|error| Trouble::malformed(&error.to_string()))?;
        for part in parts {
            index.place(&key, part, location)?;
        }
    }
    for object in &piece.tombstones {
        index.bury(*object);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
