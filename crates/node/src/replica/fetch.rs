//! Getting good bytes for a record that is damaged here.
//!
//! The record is put together, block by block: what is sound of it here, and what other in-sync replicas have. So it
//! is enough that each block is sound somewhere; no replica needs to have all of them. For the first block that is
//! still missing everybody is asked in turn, until somebody has it; whoever answers sends all that he has.
//!
//! Only the record of the same sequence is of use, because another replica may not have applied the newest write of
//! a place yet, or may be ahead. *Nowhere* is the answer only when every one of the others says that it has that very
//! block and that it is damaged; when some cannot be reached, or are not where we are, it is *not now*.

use super::read::{Damage, read_exactly};
use crate::context::Context;
use bytes::{Bytes, BytesMut};
use partition::extent::{Extent, Piece};
use partition::log::record::{RECORD_HEADER_BYTES, Record, RecordHeader, sound_blocks};
use std::sync::Arc;
use types::limits::{CHECKSUM_BLOCK_BYTES, MEND_ATTEMPTS, MEND_PAUSE};
use types::{PartitionId, Sequence};
use wire::{Class, Operation, Reply, Request, Status, data};
use world::File;

/// Where good bytes may be had.
#[derive(Debug)]
pub(super) struct Fetch {
    pub context: Arc<Context>,
    pub partition: PartitionId,
    /// Addresses of the other in-sync replicas.
    pub sources: Vec<String>,
}

/// Why good bytes could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfetched {
    /// Every other in-sync replica was asked, and none has them.
    Nowhere,
    /// Some could not be reached, or are not where we are: they may have them.
    NotNow,
}

impl Unfetched {
    pub(super) fn status(self) -> Status {
        match self {
            Unfetched::Nowhere => Status::Damaged,
            Unfetched::NotNow => Status::UnderReplicated,
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Unfetched::Nowhere => "no replica has good bytes",
            Unfetched::NotNow => "replicas that may have good bytes do not answer now",
        }
    }
}

impl Fetch {
    /// The record that is damaged here, sound as far as the damaged piece goes. `file` is the segment it is in.
    pub(super) async fn record(
        &self,
        damage: &Damage,
        sequence: Sequence,
        file: Option<File>,
    ) -> Result<Record, Unfetched> {
        let extent = damage.piece.extent;
        let mut have = self.own(extent, file).await;
        have = have.filter(|own| own.header.sequence == sequence);
        let mut rounds = extent.payload_bytes.div_ceil(CHECKSUM_BLOCK_BYTES) + 1;
        let mut attempts = 0;
        loop {
            let Some(missing) = first_missing(have.as_ref(), &extent) else {
                return have.ok_or(Unfetched::NotNow);
            };
            match self.ask(damage, missing, sequence).await {
                // Each brings a block that was missing, unless two replicas have two records of one sequence.
                Ok(record) if rounds > 0 => {
                    rounds -= 1;
                    have = Some(merge(have, record));
                }
                Ok(_) => return Err(Unfetched::NotNow),
                Err(Unfetched::Nowhere) => return Err(Unfetched::Nowhere),
                Err(Unfetched::NotNow) => {
                    attempts += 1;
                    if attempts == MEND_ATTEMPTS {
                        return Err(Unfetched::NotNow);
                    }
                    self.context.world.sleep(MEND_PAUSE).await;
                }
            }
        }
    }

    /// What is here, as far as it can be made out what it is.
    async fn own(&self, extent: Extent, file: Option<File>) -> Option<Record> {
        let (file, partition) = (file?, self.partition);
        let read = move || {
            let at = u64::from(extent.at.offset);
            let head = read_exactly(&file, at, RECORD_HEADER_BYTES as usize).ok()?;
            let header = RecordHeader::decode(&head).ok()?;
            let bytes = RECORD_HEADER_BYTES + header.key_bytes + extent.payload_bytes;
            let fits = header.payload_bytes == extent.payload_bytes && header.is_covered_by_key();
            let bytes = fits.then(|| read_exactly(&file, at, bytes as usize).ok())??;
            Record::decode_parts(&Bytes::from(bytes), partition, &[]).ok()
        };
        self.context.world.blocking(read).await
    }

    /// A record in which the block at `missing` of the payload is sound.
    async fn ask(
        &self,
        damage: &Damage,
        missing: u32,
        sequence: Sequence,
    ) -> Result<Record, Unfetched> {
        let Piece { offset, extent } = damage.piece;
        let begins = offset - u64::from(extent.skip);
        let mend = data::Mend {
            object: damage.object,
            offset: begins,
            length: extent.payload_bytes,
            at: begins + u64::from(missing),
        };
        let mut passing = false;
        for source in &self.sources {
            let request = Request::new(Operation::Mend).partition(self.partition).message(&mend);
            match self.context.peers.call(source, request.class(Class::Foreground)).await {
                Ok(reply) => match record_of(&reply, self.partition) {
                    Some(record) if serves(&record, &extent, missing, sequence) => {
                        return Ok(record);
                    }
                    // It has not applied the newest write yet, or we have not.
                    Some(_) => passing = true,
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
        Err(if passing { Unfetched::NotNow } else { Unfetched::Nowhere })
    }
}

fn record_of(reply: &Reply, partition: PartitionId) -> Option<Record> {
    let body: data::MendReply = reply.decode().ok()?;
    let header = RecordHeader::decode(&body.header).ok()?;
    let fits = header.partition == partition
        && header.is_covered_by_key()
        && header.key_bytes as usize == body.key.len()
        && header.payload_bytes as usize == reply.payload.len();
    header.verify_parts(&body.key, &reply.payload, &[]).ok()?;
    fits.then_some(Record { header, key: body.key, payload: reply.payload.clone() })
}

/// Whether a record is the one that is damaged here, and sound where that is needed. What was overwritten where it
/// comes from may have been given back there.
fn serves(record: &Record, extent: &Extent, missing: u32, sequence: Sequence) -> bool {
    record.header.sequence == sequence
        && record.header.payload_bytes == extent.payload_bytes
        && record.header.verify_parts(&record.key, &record.payload, &[(missing, 1)]).is_ok()
}

/// The first byte of the payload that is needed and not sound in `have`.
fn first_missing(have: Option<&Record>, extent: &Extent) -> Option<u32> {
    let Some(have) = have else { return Some(extent.skip) };
    let block = CHECKSUM_BLOCK_BYTES;
    let last = (extent.skip + extent.length - 1) / block;
    let sound = sound_blocks(&have.key, &have.payload);
    let is_sound = |at: u32| sound.get(at as usize).copied().unwrap_or(false);
    let missing = (extent.skip / block..=last).find(|at| !is_sound(*at))?;
    Some((missing * block).max(extent.skip))
}

/// All that is sound in either of two copies of a record; of two records, the one that was asked for.
fn merge(have: Option<Record>, with: Record) -> Record {
    let Some(have) = have.filter(|have| have.header == with.header && have.key == with.key) else {
        return with;
    };
    let sound = sound_blocks(&with.key, &with.payload);
    let mut payload = BytesMut::from(&have.payload[..]);
    let block = CHECKSUM_BLOCK_BYTES as usize;
    let blocks = payload.chunks_mut(block).zip(with.payload.chunks(block));
    for ((to, from), _) in blocks.zip(sound).filter(|(_, sound)| *sound) {
        to.copy_from_slice(from);
    }
    Record { payload: payload.freeze(), ..have }
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::*;
    use partition::extent::{Command, DataKey};
    use partition::log::Location;
    use partition::replica::Entry;
    use proptest::prelude::*;
    use std::sync::Mutex;
    use types::Epoch;
    use types::checksum::block_checksums;
    use wire::{Responder, Service};

    const PARTITION: PartitionId = PartitionId(1);
    const BLOCK: usize = CHECKSUM_BLOCK_BYTES as usize;
    const BLOCKS: usize = 4;

    /// Another replica, which answers every question with the same status.
    #[derive(Debug)]
    struct Other(Status, Mutex<u32>);

    impl Service for Other {
        fn handle(&self, _: Request, responder: Responder) {
            *self.1.lock().unwrap() += 1;
            responder.refuse(self.0, "no");
        }
    }

    fn damage(length: usize) -> Damage {
        let length = u32::try_from(length).unwrap();
        let at = Location { segment: 1, offset: 64 };
        let extent = Extent { start: 0, length, at, payload_bytes: length, skip: 0 };
        Damage { object: 1, piece: Piece { offset: 0, extent }, reason: "rot".to_owned() }
    }

    async fn unfetched(status: Status) -> (Unfetched, u32) {
        let bench = Bench::new();
        let other = Arc::new(Other(status, Mutex::new(0)));
        let service: Arc<dyn Service> = other.clone();
        bench.hub.register("other:1", &service);
        let fetch = Fetch {
            context: bench.context.clone(),
            partition: PARTITION,
            sources: vec!["other:1".to_owned()],
        };
        let result = fetch.record(&damage(1), Sequence(1), None).await;
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

    /// The record that everybody is to have.
    fn good() -> Record {
        let payload: Vec<u8> = (0..BLOCKS * BLOCK).map(|at| (at % 251) as u8).collect();
        let sums = block_checksums(&payload);
        let checksums: Vec<u8> = sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
        let key = DataKey { object: 1, offset: 0, length: payload.len() as u64 };
        let write = Command::Write { key, checksums: checksums.into(), payload: payload.into() };
        let entry = Entry { epoch: Epoch(1), sequence: Sequence(1), body: write.into_entry() };
        let header = RecordHeader::of(PARTITION, &entry);
        Record { header, key: entry.body.key, payload: entry.body.payload }
    }

    /// The same with some blocks damaged.
    fn copy(bad: &[bool; BLOCKS]) -> Record {
        let mut payload = good().payload.to_vec();
        let blocks = payload.chunks_mut(BLOCK).zip(bad);
        blocks.filter(|(_, bad)| **bad).for_each(|(block, _)| block[7] ^= 1);
        Record { payload: payload.into(), ..good() }
    }

    /// A replica that has the record, or what is left of it, and answers as replicas do.
    #[derive(Debug)]
    struct Has(Record);

    impl Service for Has {
        fn handle(&self, request: Request, responder: Responder) {
            let mend: data::Mend = request.decode().unwrap();
            let part = (u32::try_from(mend.at - mend.offset).unwrap(), 1);
            let Record { header, key, payload } = self.0.clone();
            match header.verify_parts(&key, &payload, &[part]) {
                Ok(()) => {
                    let header = Bytes::copy_from_slice(&header.encode());
                    let body = data::MendReply { header, key };
                    responder.reply(Reply { payload, ..Reply::message(&body) });
                }
                Err(_) => responder.refuse(Status::Damaged, "so is mine"),
            }
        }
    }

    fn own_file(bench: &Bench, own: &Record) -> File {
        let file = bench.home.disk.create("own").unwrap();
        let header = own.header.encode();
        let parts = [&header[..], &own.key, &own.payload];
        let bytes: Vec<u8> = parts.concat();
        file.write_at(64, &mut [std::io::IoSlice::new(&bytes)]).unwrap();
        file
    }

    proptest! {
        /// Three copies, each damaged in another block, were never mended, and a scrub of them never ended: no
        /// copy was good as a whole.
        #[test]
        fn it_is_enough_that_each_block_is_sound_somewhere(bad: [[bool; BLOCKS]; 3]) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all().start_paused(true).build().unwrap();
            let fetched = runtime.block_on(async {
                let bench = Bench::new();
                let others = [("other:1", bad[1]), ("other:2", bad[2])];
                let services = others.map(|(at, bad)| {
                    let service: Arc<dyn Service> = Arc::new(Has(copy(&bad)));
                    bench.hub.register(at, &service);
                    service
                });
                let sources = others.iter().map(|(at, _)| (*at).to_owned()).collect();
                let (context, partition) = (bench.context.clone(), PARTITION);
                let fetch = Fetch { context, partition, sources };
                let file = own_file(&bench, &copy(&bad[0]));
                let all = damage(BLOCKS * BLOCK);
                let fetched = fetch.record(&all, Sequence(1), Some(file)).await;
                drop(services);
                fetched
            });
            let lost = (0..BLOCKS).any(|block| bad.iter().all(|copy| copy[block]));
            match fetched {
                Ok(record) => prop_assert!(!lost && record.payload == good().payload),
                Err(why) => prop_assert!(lost && why == Unfetched::Nowhere),
            }
        }
    }
}
