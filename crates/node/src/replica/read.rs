//! Reading bytes back, verified; and mending what does not verify.
//!
//! The loop finds where the bytes are; they are read once its turn is over, so that a slow disk does
//! not hold up the loop. Each record's header and key are read with the bytes: they show that these are the bytes
//! of this object and place, and not only some bytes with a good checksum.
//!
//! Damage is answered from another in-sync replica, and the damaged record is overwritten with the
//! very bytes that belong there ([`super::fetch`]). When every one of them says that it has no good bytes
//! either, the read fails as damaged; when some only cannot be reached, or are behind, whoever reads tries
//! again. When it cannot be told which record is damaged, the whole replica is given up.

use super::fetch::Fetch;
use super::{Holder, Machine};
use crate::context::Counters;
use crate::run::NodeEvent;
use bytes::{Bytes, BytesMut};
use partition::extent::command::DATA_KEY_BYTES;
use partition::extent::{DataKey, Piece};
use partition::log::record::{RECORD_HEADER_BYTES, Record, RecordHeader};
use std::collections::HashMap;
use types::checksum::crc32c;
use types::limits::CHECKSUM_BLOCK_BYTES;
use types::{PartitionId, ReplicaId, Sequence};
use wire::{Reply, Request, Responder, Status, data};
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
        let fetch = self.fetch();
        let (context, replica) = (self.context.clone(), self.id);
        self.context.world.spawn("mend", async move {
            for (damage, sequence, file) in damages {
                let good = match fetch.record(&damage, sequence, file).await {
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

    /// Finds out which records are damaged, and in which files. When one cannot be told, this replica gives up,
    /// unless it is the only one.
    fn identify(&mut self, damages: Vec<Damage>) -> Option<Vec<(Damage, Sequence, Option<File>)>> {
        let mut identified = Vec::with_capacity(damages.len());
        for damage in damages {
            let Some(sequence) = self.log.sequence_at(damage.piece.extent.at) else {
                if self.has_others_in_sync() {
                    self.fail(format!("a record cannot be identified: {}", damage.reason));
                }
                return None;
            };
            let file = self.log.file(damage.piece.extent.at.segment).ok();
            identified.push((damage, sequence, file));
        }
        Some(identified)
    }

    /// Mends what was found while nobody waited for the bytes.
    pub fn mend_all(&mut self, damages: Vec<Damage>) {
        let damages = self.in_use(damages);
        self.note_damages(&damages);
        let Some(damages) = self.identify(damages) else { return };
        let fetch = self.fetch();
        let (context, partition, replica) = (self.context.clone(), self.partition, self.id);
        self.context.world.spawn("mend", async move {
            for (damage, sequence, file) in damages {
                match fetch.record(&damage, sequence, file).await {
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
            return self.damages.mended(extent);
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
                self.damages.mended(extent);
                self.context.post(NodeEvent::HeartbeatNow);
            }
            Err(error) => self.note_damage(&error),
        }
    }

    /// From whom good bytes can be had.
    fn fetch(&self) -> Fetch {
        let in_sync = self.configuration.iter().flat_map(|configuration| &configuration.in_sync);
        let others = in_sync.filter(|replica| **replica != self.id);
        let sources = others.filter_map(|replica: &ReplicaId| self.address_of(*replica)).collect();
        Fetch { context: self.context.clone(), partition: self.partition, sources }
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
        let Some(piece) = pieces.first().copied() else {
            return responder.refuse(Status::NotFound, "there is nothing at this place");
        };
        // Of the rest, whoever asks sees for himself whether it is what he needs.
        let part = (piece.extent.skip, piece.extent.length);
        let record = match self.log.read_at(piece.extent.at, &[part]) {
            Ok(record) => record,
            Err(error) => {
                let reason = error.to_string();
                let damage = Damage { object: mend.object, piece, reason: reason.clone() };
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

pub(super) fn read_exactly(file: &File, offset: u64, length: usize) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; length];
    let read = file.read_at(offset, &mut bytes).map_err(|error| error.to_string())?;
    if read < length { Err("the record is cut off".into()) } else { Ok(bytes) }
}

fn copy_piece(piece: &Piece, key: &DataKey, good: &Record, bytes: &mut [u8]) {
    let start = usize::try_from(piece.offset - key.offset).expect("within the range");
    let length = piece.extent.length as usize;
    let skip = piece.extent.skip as usize;
    bytes[start..start + length].copy_from_slice(&good.payload[skip..skip + length]);
}
