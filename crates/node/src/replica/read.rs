//! Reading bytes back, verified; and mending what does not verify.
//!
//! The loop finds where the bytes are; they are read once its turn is over, so that a slow disk does
//! not hold up the loop. Each record's header and key are read with the bytes: they show that these are the bytes
//! of this object and place, and not only some bytes with a good checksum.
//!
//! Damage is answered from another in-sync replica, and the damaged record is overwritten with the
//! very bytes that belong there: those of the same sequence, because another replica may not have
//! applied the newest write of a place yet, or may be ahead. When every one of them says that it has
//! no good bytes either, the read fails as damaged; when some only cannot be reached, or are behind,
//! whoever reads tries again. When it cannot be told which record is damaged, the whole replica is given up.

use super::{Holder, Machine};
use crate::context::{Context, Counters};
use crate::run::NodeEvent;
use bytes::{Bytes, BytesMut};
use partition::extent::command::DATA_KEY_BYTES;
use partition::extent::{DataKey, Extent, Piece};
use partition::log::record::{RECORD_HEADER_BYTES, Record, RecordHeader};
use std::collections::HashMap;
use std::sync::Arc;
use types::checksum::crc32c;
use types::limits::{CHECKSUM_BLOCK_BYTES, MEND_ATTEMPTS, MEND_PAUSE};
use types::{PartitionId, ReplicaId, Sequence};
use wire::{Class, Operation, Reply, Request, Responder, Status, data};
use world::File;

/// A range and where its bytes are.
#[derive(Debug)]
pub(super) struct Wanted {
    pub key: DataKey,
    pub pieces: Vec<Piece>,
}

/// A read on its way.
#[derive(Debug)]
pub(super) struct ReadJob {
    pub wanted: Wanted,
    pub responder: Responder,
}

/// A piece whose record does not verify.
#[derive(Clone, Debug)]
pub struct Damage {
    pub object: u64,
    pub piece: Piece,
    pub reason: String,
}

impl Holder {
    pub(super) fn start_read(&mut self, job: ReadJob) {
        let mut files = HashMap::new();
        for piece in &job.wanted.pieces {
            let number = piece.extent.at.segment;
            match self.log.file(number) {
                Ok(file) => files.insert(number, file),
                Err(error) => {
                    self.note_damage(&error);
                    continue;
                }
            };
        }
        let ReadJob { wanted, responder } = job;
        let (partition, replica) = (self.partition, self.id);
        let context = self.context.clone();
        crate::inbox::after_turns(&self.context.world, move || {
            let length = usize::try_from(wanted.key.length).expect("reads have a limit");
            let mut bytes = BytesMut::zeroed(length);
            let damages = read_pieces(partition, &wanted, &files, &mut bytes);
            if damages.is_empty() {
                return responder.reply(Reply { body: Bytes::new(), payload: bytes.freeze() });
            }
            let damaged = Damaged { bytes, key: wanted.key, damages, responder };
            context.post(NodeEvent::ReadDamaged { replica, damaged });
        });
    }

    /// A read found damage: get the bytes elsewhere. What was overwritten or moved since the read
    /// began, and whose room was given back, is not damaged: then the read begins anew.
    pub fn read_damaged(&mut self, damaged: Damaged) {
        let Damaged { bytes, key, damages, responder } = damaged;
        let mut pieces = Vec::new();
        if let Machine::Data(index) = &mut self.machine
            && index.find(&key, &mut pieces).is_ok()
        {
            let is_here = |damage: &Damage| {
                pieces.iter().any(|piece| {
                    piece.offset == damage.piece.offset && piece.extent.at == damage.piece.extent.at
                })
            };
            if !damages.iter().all(is_here) {
                let wanted = Wanted { key, pieces };
                return self.start_read(ReadJob { wanted, responder });
            }
        }
        self.mend_and_reply(bytes, key, damages, responder);
    }

    fn mend_and_reply(
        &mut self,
        mut bytes: BytesMut,
        key: DataKey,
        damages: Vec<Damage>,
        responder: Responder,
    ) {
        self.note_damages(&damages);
        let Some(damages) = self.identify(damages) else {
            let alone = !self.has_others_in_sync();
            let status = if alone { Status::Damaged } else { Status::NotLeader };
            return responder.refuse(status, "a record is damaged, and which one cannot be told");
        };
        let sources = self.mend_sources();
        let (context, partition, replica) = (self.context.clone(), self.partition, self.id);
        self.context.world.spawn("mend", async move {
            for (damage, sequence) in damages {
                let wanted = (&damage, sequence);
                let good = match fetch(&context, partition, &sources, wanted).await {
                    Ok(good) => good,
                    Err(unfetched) => {
                        let text = format!("{}: {}", unfetched.words(), damage.reason);
                        return responder.refuse(unfetched.status(), text);
                    }
                };
                copy_piece(&damage.piece, &key, &good, &mut bytes);
                context.post(NodeEvent::Mended { replica, damage, good });
            }
            responder.reply(Reply { body: Bytes::new(), payload: bytes.freeze() });
        });
    }

    fn note_damages(&mut self, damages: &[Damage]) {
        for damage in damages {
            let at = damage.piece.extent.at;
            if self.damages.note(damage, self.context.world.now()) {
                Counters::add(&self.context.counters.damaged_found, 1);
                tracing::warn!(
                    partition = %self.partition, replica = %self.id, segment = at.segment,
                    offset = at.offset, reason = damage.reason, "damage found"
                );
                self.context.post(NodeEvent::HeartbeatNow);
            }
        }
    }

    /// Finds out which records are damaged. When one cannot be told, this replica gives up, unless
    /// it is the only one.
    fn identify(&mut self, damages: Vec<Damage>) -> Option<Vec<(Damage, Sequence)>> {
        let mut identified = Vec::with_capacity(damages.len());
        for damage in damages {
            let Some(sequence) = self.log.sequence_at(damage.piece.extent.at) else {
                if self.has_others_in_sync() {
                    self.fail(format!("a record cannot be identified: {}", damage.reason));
                }
                return None;
            };
            identified.push((damage, sequence));
        }
        Some(identified)
    }

    /// Mends what was found while nobody waited for the bytes.
    pub fn mend_all(&mut self, damages: Vec<Damage>) {
        self.note_damages(&damages);
        let Some(damages) = self.identify(damages) else { return };
        let sources = self.mend_sources();
        let (context, partition, replica) = (self.context.clone(), self.partition, self.id);
        self.context.world.spawn("mend", async move {
            for (damage, sequence) in damages {
                match fetch(&context, partition, &sources, (&damage, sequence)).await {
                    Ok(good) => context.post(NodeEvent::Mended { replica, damage, good }),
                    Err(unfetched) => tracing::error!(
                        %partition, %replica, object = damage.object, offset = damage.piece.offset,
                        "{}", unfetched.words()
                    ),
                }
            }
        });
    }

    /// Writes good bytes over damaged ones, if the index still points there.
    pub fn mend(&mut self, damage: &Damage, good: &Record) {
        let Machine::Data(index) = &mut self.machine else { return };
        let extent = &damage.piece.extent;
        let key = DataKey {
            object: damage.object,
            offset: damage.piece.offset,
            length: extent.length.into(),
        };
        let mut pieces = Vec::new();
        let still = index.find(&key, &mut pieces).is_ok()
            && pieces.iter().any(|piece| piece.extent.at == extent.at);
        if !still {
            // Overwritten or deleted meanwhile: nobody reads that place any more.
            return self.damages.mended(extent.at);
        }
        // The log may have been cut and written again since.
        let same = self.log.sequence_at(extent.at) == Some(good.header.sequence);
        if !same || good.header.payload_bytes != extent.payload_bytes {
            return;
        }
        match self.log.mend(extent.at, good) {
            Ok(()) => {
                Counters::add(&self.context.counters.damaged_mended, 1);
                tracing::info!(partition = %self.partition, at = ?extent.at, "damage mended");
                self.damages.mended(extent.at);
                self.context.post(NodeEvent::HeartbeatNow);
            }
            Err(error) => self.note_damage(&error),
        }
    }

    fn mend_sources(&self) -> Vec<String> {
        let Some(configuration) = &self.configuration else { return Vec::new() };
        let others = configuration.in_sync.iter().filter(|replica| **replica != self.id);
        others.filter_map(|replica: &ReplicaId| self.address_of(*replica)).collect()
    }

    /// Gives another replica the record that it has damaged.
    pub(super) fn mend_for_other(&mut self, request: &Request, responder: Responder) {
        let Ok(mend) = request.decode::<data::Mend>() else {
            return responder.refuse(Status::Invalid, "the request does not decode");
        };
        let Machine::Data(index) = &mut self.machine else {
            return responder.refuse(Status::Unsupported, "this is a namespace partition");
        };
        let key = DataKey { object: mend.object, offset: mend.at, length: 1 };
        let mut pieces = Vec::new();
        if let Err(error) = index.find(&key, &mut pieces) {
            return responder.refuse(Status::Damaged, error.to_string());
        }
        let Some(piece) = pieces.first() else {
            return responder.refuse(Status::NotFound, "there is nothing at this place");
        };
        // Of the rest, whoever asks sees for himself whether it is what he needs.
        let part = (piece.extent.skip, piece.extent.length);
        let record = match self.log.read_at(piece.extent.at, &[part]) {
            Ok(record) => record,
            Err(error) => {
                let reason = error.to_string();
                let damage = Damage { object: mend.object, piece: *piece, reason: reason.clone() };
                // Mended by itself, later: whoever asks has the same place damaged.
                self.note_damages(&[damage]);
                return responder.refuse(Status::Damaged, reason);
            }
        };
        let ours = DataKey::decode(&record.key).ok();
        let same = ours.is_some_and(|key| {
            key.offset == mend.offset && record.header.payload_bytes == mend.length
        });
        if !same {
            return responder.refuse(Status::Conflict, "another record holds this place here");
        }
        let header = Bytes::copy_from_slice(&record.header.encode());
        let body = data::MendReply { header, key: record.key };
        responder.reply(Reply { payload: record.payload, ..Reply::message(&body) });
    }
}

/// A read that met damage.
#[derive(Debug)]
pub struct Damaged {
    bytes: BytesMut,
    key: DataKey,
    damages: Vec<Damage>,
    responder: Responder,
}

/// Copies all pieces into `bytes`; what does not verify is told instead.
fn read_pieces(
    partition: PartitionId,
    wanted: &Wanted,
    files: &HashMap<u32, File>,
    bytes: &mut [u8],
) -> Vec<Damage> {
    let mut damages = Vec::new();
    for piece in &wanted.pieces {
        let start = usize::try_from(piece.offset - wanted.key.offset).expect("within the range");
        let out = &mut bytes[start..start + piece.extent.length as usize];
        let result = match files.get(&piece.extent.at.segment) {
            Some(file) => read_piece(partition, wanted.key.object, piece, file, out),
            None => Err("the segment's file is missing".to_string()),
        };
        if let Err(reason) = result {
            damages.push(Damage { object: wanted.key.object, piece: *piece, reason });
        }
    }
    damages
}

/// Reads and verifies one piece.
pub(super) fn read_piece(
    partition: PartitionId,
    object: u64,
    piece: &Piece,
    file: &File,
    out: &mut [u8],
) -> Result<(), String> {
    let extent = &piece.extent;
    let blocks = extent.payload_bytes.div_ceil(CHECKSUM_BLOCK_BYTES);
    let key_bytes = DATA_KEY_BYTES + blocks as usize * 4;
    let head =
        read_exactly(file, extent.at.offset.into(), RECORD_HEADER_BYTES as usize + key_bytes)?;
    let header = RecordHeader::decode(&head).map_err(|error| error.to_string())?;
    let key = &head[RECORD_HEADER_BYTES as usize..];
    let belongs = header.partition == partition
        && header.key_bytes as usize == key_bytes
        && header.payload_bytes == extent.payload_bytes
        && header.key_checksum == crc32c(key);
    if !belongs {
        return Err("the record's header is not the expected one".into());
    }
    let data = DataKey::decode(key).map_err(|error| error.to_string())?;
    if data.object != object || data.offset + u64::from(extent.skip) != piece.offset {
        return Err("the record is of another place".into());
    }
    let sums = &key[DATA_KEY_BYTES..];
    let block = CHECKSUM_BLOCK_BYTES;
    let first = extent.skip / block;
    let last = (extent.skip + extent.length - 1) / block;
    let from = first * block;
    let until = ((last + 1) * block).min(extent.payload_bytes);
    let place = u64::from(extent.at.offset) + head.len() as u64 + u64::from(from);
    let whole_blocks = from == extent.skip && until == extent.skip + extent.length;
    let verify = |bytes: &[u8]| -> Result<(), String> {
        let sums = sums[first as usize * 4..].chunks_exact(4);
        let good = bytes
            .chunks(block as usize)
            .zip(sums)
            .all(|(bytes, sum)| crc32c(bytes).to_le_bytes() == sum);
        if good { Ok(()) } else { Err("a block's checksum is wrong".into()) }
    };
    if whole_blocks {
        let read = file.read_at(place, out).map_err(|error| error.to_string())?;
        if read < out.len() {
            return Err("the record is cut off".into());
        }
        return verify(out);
    }
    let bytes = read_exactly(file, place, (until - from) as usize)?;
    verify(&bytes)?;
    let skip = (extent.skip - from) as usize;
    out.copy_from_slice(&bytes[skip..skip + out.len()]);
    Ok(())
}

fn read_exactly(file: &File, offset: u64, length: usize) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; length];
    let read = file.read_at(offset, &mut bytes).map_err(|error| error.to_string())?;
    if read < length { Err("the record is cut off".into()) } else { Ok(bytes) }
}

/// Why good bytes could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unfetched {
    /// Every other in-sync replica was asked, and none has them.
    Nowhere,
    /// Some could not be reached, or are not where we are: they may have them.
    NotNow,
}

impl Unfetched {
    fn status(self) -> Status {
        match self {
            Unfetched::Nowhere => Status::Damaged,
            Unfetched::NotNow => Status::UnderReplicated,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Unfetched::Nowhere => "no replica has good bytes",
            Unfetched::NotNow => "replicas that may have good bytes do not answer now",
        }
    }
}

/// Asks the other in-sync replicas for the record that is damaged here.
async fn fetch(
    context: &Arc<Context>,
    partition: PartitionId,
    sources: &[String],
    (damage, sequence): (&Damage, Sequence),
) -> Result<Record, Unfetched> {
    let extent = &damage.piece.extent;
    let mend = data::Mend {
        object: damage.object,
        offset: damage.piece.offset - u64::from(extent.skip),
        length: extent.payload_bytes,
        at: damage.piece.offset,
    };
    for _ in 0..MEND_ATTEMPTS {
        let mut passing = false;
        for source in sources {
            let request = Request::new(Operation::Mend).partition(partition).message(&mend);
            match context.peers.call(source, request.class(Class::Foreground)).await {
                Ok(reply) => match record_of(&reply, partition) {
                    // It has not applied the newest write yet, or we have not.
                    Some(record) if !serves(&record, extent, sequence) => passing = true,
                    Some(record) => return Ok(record),
                    // Damaged on the way, or by a mistake of ours: that says nothing of what it has.
                    None => {
                        passing = true;
                        tracing::warn!(source, "the record offered for mending is not sound");
                    }
                },
                Err(error) => {
                    passing |= error.status() != Some(Status::Damaged);
                    tracing::warn!(source, %error, "cannot get a record for mending");
                }
            }
        }
        if !passing {
            return Err(Unfetched::Nowhere);
        }
        context.world.sleep(MEND_PAUSE).await;
    }
    Err(Unfetched::NotNow)
}

fn record_of(reply: &Reply, partition: PartitionId) -> Option<Record> {
    let body: data::MendReply = reply.decode().ok()?;
    let header = RecordHeader::decode(&body.header).ok()?;
    let fits = header.partition == partition
        && header.key_bytes as usize == body.key.len()
        && header.payload_bytes as usize == reply.payload.len();
    header.verify_parts(&body.key, &reply.payload, &[]).ok()?;
    fits.then_some(Record { header, key: body.key, payload: reply.payload.clone() })
}

/// Whether a record is the one that is damaged here, and sound in what is needed of it. What was
/// overwritten where it comes from may have been given back there.
fn serves(record: &Record, extent: &Extent, sequence: Sequence) -> bool {
    let parts = [(extent.skip, extent.length)];
    record.header.sequence == sequence
        && record.header.verify_parts(&record.key, &record.payload, &parts).is_ok()
}

fn copy_piece(piece: &Piece, key: &DataKey, good: &Record, bytes: &mut [u8]) {
    let start = usize::try_from(piece.offset - key.offset).expect("within the range");
    let length = piece.extent.length as usize;
    let skip = piece.extent.skip as usize;
    bytes[start..start + length].copy_from_slice(&good.payload[skip..skip + length]);
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::*;
    use partition::log::Location;
    use std::sync::Mutex;
    use wire::Service;

    /// Another replica, which answers every question with the same status.
    #[derive(Debug)]
    struct Other(Status, Mutex<u32>);

    impl Service for Other {
        fn handle(&self, _: Request, responder: Responder) {
            *self.1.lock().unwrap() += 1;
            responder.refuse(self.0, "no");
        }
    }

    async fn unfetched(status: Status) -> (Unfetched, u32) {
        let bench = Bench::new();
        let other = Arc::new(Other(status, Mutex::new(0)));
        let service: Arc<dyn Service> = other.clone();
        bench.hub.register("other:1", &service);
        let at = Location { segment: 1, offset: 64 };
        let extent = Extent { start: 0, length: 1, at, payload_bytes: 1, skip: 0 };
        let damage =
            Damage { object: 1, piece: Piece { offset: 0, extent }, reason: "rot".to_owned() };
        let wanted = (&damage, Sequence(1));
        let sources = ["other:1".to_owned()];
        let result = fetch(&bench.context, PartitionId(1), &sources, wanted).await;
        let asked = *other.1.lock().unwrap();
        (result.unwrap_err(), asked)
    }

    /// A replica that could not be reached for two seconds made EIO of a damage that it could mend.
    #[tokio::test(start_paused = true)]
    async fn only_what_no_replica_has_is_damaged_for_good() {
        assert_eq!(unfetched(Status::Damaged).await, (Unfetched::Nowhere, 1));
        for passing in [Status::Conflict, Status::NotFound, Status::NoPartition, Status::Busy] {
            assert_eq!(unfetched(passing).await, (Unfetched::NotNow, MEND_ATTEMPTS), "{passing:?}");
        }
        assert_eq!(Unfetched::NotNow.status().kind(), Some(types::Kind::Retry));
        assert_eq!(Unfetched::Nowhere.status(), Status::Damaged);
    }
}
