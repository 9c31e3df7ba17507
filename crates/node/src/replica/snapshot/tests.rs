//! Snapshots as they are sent, taken, brought to disk, and taken up.

use super::*;
use crate::replica::bench::Bench;
use crate::replica::reclaim::tests::{Store, WHOSE};
use partition::kv::Read;
use prost::Message;
use std::collections::BTreeMap;
use std::sync::Mutex;
use types::limits::{FRAME_BODY_BYTES_MAX, SNAPSHOT_PIECE_DEADLINE, SNAPSHOT_TOMBSTONES_MAX};
use wire::Service;
use world::File;
use world::kv::Database;
use world::kv::Space;

fn piece() -> (Snapshot, Position) {
    let at = Position { epoch: Epoch(1), sequence: Sequence(7) };
    (Snapshot { from: 2, epoch: 1, ..Snapshot::default() }, at)
}

/// A slow checkpoint ended after a snapshot had been installed and the next checkpoint begun: the
/// node took it for that one, and panicked.
#[tokio::test]
async fn a_checkpoint_that_a_snapshot_has_overtaken_means_nothing() {
    let bench = Bench::new();
    let mut holder = bench.create(PartitionKind::Namespace);
    let old = holder.start_checkpoint().unwrap();
    let (piece, at) = piece();
    holder.begin_staging(&piece, at).unwrap();
    let staging = holder.snapshots.staging.take().unwrap();
    holder.install(staging).unwrap();
    let new = holder.start_checkpoint().unwrap();
    let done = old.run();
    holder.checkpointed(old, done);
    let done = new.run();
    holder.checkpointed(new, done);
    assert_eq!(holder.failed, None);
    let left = index_prefix(Found { partition: holder.partition, replica: holder.id }, 0);
    let keys = bench.home.database.faults().unwrap().keys(Space::Metadata);
    assert!(keys.iter().all(|key| !key.starts_with(&left)), "keys of an index that is gone");
    let files: Vec<String> =
        bench.sim.paths().into_iter().filter(|path| path.contains("checkpoint")).collect();
    assert_eq!(files, ["replicas/1-1/checkpoint-1"]);
}

/// It was not counted when it began, and counted when it ended: with another one under way, the
/// files of that one were no longer kept.
#[tokio::test]
async fn a_snapshot_that_cannot_be_sent_does_not_end_another() {
    let mut holder = Bench::new().create(PartitionKind::Data);
    holder.snapshots.sending += 1;
    holder.send_snapshot(ReplicaId(99), Epoch(1));
    holder.snapshot_sent(ReplicaId(99));
    assert!(holder.snapshots.are_busy());
}
/// Takes the pieces of a snapshot.
#[derive(Debug, Default)]
struct Taker(Mutex<Vec<(Snapshot, Bytes)>>);

impl Service for Taker {
    fn handle(&self, request: Request, responder: Responder) {
        let piece = request.decode::<Snapshot>().unwrap();
        assert!(piece.encoded_len() <= FRAME_BODY_BYTES_MAX as usize, "it fits into a frame");
        self.0.lock().unwrap().push((piece, request.payload));
        responder.reply(Reply::message(&SnapshotReply::default()));
    }
}

async fn push(kv: Arc<dyn Read>, files: BTreeMap<u32, File>) -> Vec<(Snapshot, Bytes)> {
    let bench = Bench::new();
    let taker = Arc::new(Taker::default());
    let service: Arc<dyn Service> = taker.clone();
    bench.hub.register("other:1", &service);
    let source = Source {
        context: bench.context.clone(),
        kind: PartitionKind::Data,
        partition: WHOSE.0,
        kv,
        files,
        address: "other:1".to_owned(),
        head: Snapshot::default(),
    };
    source.push().await.unwrap();
    let pieces = std::mem::take(&mut *taker.0.lock().unwrap());
    let numbers: Vec<u64> = pieces.iter().map(|(piece, _)| piece.piece).collect();
    assert!(numbers.iter().copied().eq(0..pieces.len() as u64));
    assert!(pieces.iter().rev().enumerate().all(|(n, (piece, _))| piece.last == (n == 0)));
    pieces
}

fn empty() -> (Log, Arc<Buffered>, Index) {
    let disk = world::Disk::simulated(world::disk::sim::SimDisk::new("e", 2, 1 << 30));
    let log = Log::create(disk, "log".into(), WHOSE, Sequence::ZERO).unwrap();
    let handle = Database::simulated().handle(Space::Index, Vec::new());
    let kv = Arc::new(Buffered::new(Arc::new(handle)));
    let index = Index::open(kv.clone()).unwrap();
    (log, kv, index)
}

/// All tombstones went in one message: with more than it holds no snapshot could be sent.
#[tokio::test]
async fn any_number_of_tombstones_can_be_sent() {
    let count = SNAPSHOT_TOMBSTONES_MAX as u64 * 2;
    let (_, kv, mut index) = empty();
    (1..=count).for_each(|object| index.bury(u64::MAX - object));
    index.checkpoint().unwrap();
    let pieces = push(kv.snapshot(), BTreeMap::new()).await;
    let (mut log, _, mut index) = empty();
    for (piece, payload) in pieces {
        stage_records(&mut log, &mut index, &piece, &payload, WHOSE.0).unwrap();
    }
    assert!((1..=count).all(|object| index.is_deleted(u64::MAX - object).unwrap()));
}

/// A record of which part had been given back did not verify as a whole, and was not sent.
#[tokio::test]
async fn records_with_holes_can_be_sent() {
    let mut store = Store::new();
    store.overwrite(40, |_| {});
    let numbers = store.log.segments().keys();
    let files = numbers.map(|number| (*number, store.log.file(*number).unwrap())).collect();
    let pieces = push(store.kv.snapshot(), files).await;
    let (mut log, _, mut index) = empty();
    for (piece, payload) in pieces {
        stage_records(&mut log, &mut index, &piece, &payload, WHOSE.0).unwrap();
    }
    Store::verify(&log, &mut index);
    assert_eq!(index.allocated(), Index::open(store.kv.clone()).unwrap().allocated());
}

/// Takes pieces as a node with a slow disk does: what is to be stored is stored only after the same
/// piece was sent a third time.
#[derive(Debug)]
struct SlowDisk {
    holder: Mutex<Holder>,
    job: Mutex<Option<(StoreJob, u32)>>,
}

impl Service for SlowDisk {
    fn handle(&self, request: Request, responder: Responder) {
        let (mut holder, mut job) = (self.holder.lock().unwrap(), self.job.lock().unwrap());
        if let Some(begun) = holder.receive(&request, responder) {
            return *job = Some((begun, 1));
        }
        match job.take() {
            Some((job, 2)) => {
                let stored = job.run(&holder.context.world.clone());
                holder.stored(stored);
            }
            Some((begun, times)) => *job = Some((begun, times + 1)),
            None => {}
        }
    }
}

/// Each portion had to be stored within a fixed time, however slow the disk: what was too much for it
/// began anew for ever.
#[tokio::test(start_paused = true)]
async fn a_slow_disk_is_waited_for() {
    let bench = Bench::new();
    let holder = bench.create(PartitionKind::Namespace);
    let partition = holder.partition;
    let disk = Arc::new(SlowDisk { holder: Mutex::new(holder), job: Mutex::default() });
    let service: Arc<dyn Service> = disk.clone();
    bench.hub.register("other:1", &service);
    let at = wire::replicate::Position { epoch: 1, sequence: 7 };
    let head = Snapshot { from: 2, epoch: 1, at: Some(at), attempt: 5, ..Snapshot::default() };
    let mut piece = head.clone();
    let source = Source {
        context: bench.context.clone(),
        kind: PartitionKind::Namespace,
        partition,
        kv: Database::simulated().handle(Space::Metadata, Vec::new()).snapshot(),
        files: BTreeMap::new(),
        address: "other:1".to_owned(),
        head,
    };
    for number in 0..6_u64 {
        let value = vec![7; SNAPSHOT_UNSTORED_BYTES_MIN];
        piece.pairs = vec![8, u32::try_from(value.len()).unwrap()];
        let payload = [&number.to_be_bytes()[..], &value].concat().into();
        source.send(&mut piece, payload).await.unwrap();
        assert_eq!(piece.piece, number + 1);
    }
    let holder = disk.holder.lock().unwrap();
    let staging = holder.snapshots.staging.as_ref().unwrap();
    assert_eq!((staging.piece_next, staging.has(&piece)), (6, false));
    let bytes = holder.report().bytes;
    assert!(bytes > 6 * SNAPSHOT_UNSTORED_BYTES_MIN as u64, "that it grows is seen: {bytes}");
    assert!(staging.has(&Snapshot { piece: 5, ..piece.clone() }));
    assert!(!staging.has(&Snapshot { piece: 5, attempt: 6, ..piece }));
}

/// A session that broke, once in hours, had all of it sent again from the beginning.
#[tokio::test(start_paused = true)]
async fn who_cannot_be_reached_for_a_moment_is_sent_the_piece_again() {
    let bench = Bench::new();
    let holder = bench.create(PartitionKind::Namespace);
    let taker = Arc::new(Taker::default());
    let source = Source {
        context: bench.context.clone(),
        kind: PartitionKind::Namespace,
        partition: holder.partition,
        kv: Database::simulated().handle(Space::Metadata, Vec::new()).snapshot(),
        files: BTreeMap::new(),
        address: "127.0.0.1:1".to_owned(),
        head: Snapshot::default(),
    };
    let world = &bench.context.world;
    let comes_back = async {
        world.sleep(SNAPSHOT_PIECE_DEADLINE / 2).await;
        let service: Arc<dyn Service> = taker.clone();
        bench.hub.register("127.0.0.1:1", &service);
    };
    let mut piece = Snapshot::default();
    let (sent, ()) = tokio::join!(source.send(&mut piece, Bytes::new()), comes_back);
    assert_eq!((sent, piece.piece), (Ok(()), 1));
    drop(taker);
    let begun = world.now();
    assert!(source.send(&mut piece, Bytes::new()).await.is_err(), "gone for good");
    assert!(world.now().since(begun) >= SNAPSHOT_PIECE_DEADLINE);
}

#[tokio::test]
async fn the_first_piece_that_comes_late_once_more_does_not_begin_anew() {
    let mut holder = Bench::new().create(PartitionKind::Namespace);
    let (piece, _) = piece();
    let at = wire::replicate::Position { epoch: 1, sequence: 7 };
    let first = Snapshot { attempt: 5, at: Some(at), ..piece };
    holder.stage(&first, &Bytes::new()).unwrap();
    holder.stage(&Snapshot { piece: 1, ..first.clone() }, &Bytes::new()).unwrap();
    assert!(matches!(holder.stage(&first, &Bytes::new()), Err((Status::Conflict, _))));
    assert_eq!(holder.snapshots.staging.as_ref().unwrap().piece_next, 2);
    holder.stage(&Snapshot { attempt: 6, ..first }, &Bytes::new()).unwrap();
    assert_eq!(holder.snapshots.staging.as_ref().unwrap().piece_next, 1, "another one does");
}

#[tokio::test]
async fn a_portion_is_what_the_disk_takes_in_a_few_seconds() {
    let bench = Bench::new();
    let mut holder = bench.create(PartitionKind::Namespace);
    let (piece, at) = piece();
    holder.begin_staging(&piece, at).unwrap();
    let mut staging = holder.snapshots.staging.take().unwrap();
    let first = SNAPSHOT_UNSTORED_BYTES_MIN;
    assert_eq!(staging.portion, first, "however slow it is");
    for doubled in 1..=8 {
        staging.note_speed(staging.portion, Duration::from_millis(9));
        assert_eq!(staging.portion, (first << doubled).min(SNAPSHOT_UNSTORED_BYTES_MAX));
    }
    staging.note_speed(staging.portion, SNAPSHOT_STORE_TIME * 4);
    assert_eq!(staging.portion, SNAPSHOT_UNSTORED_BYTES_MAX / 4);
    staging.note_speed(10, Duration::from_millis(90));
    assert_eq!(staging.portion, SNAPSHOT_UNSTORED_BYTES_MAX / 4, "it says nothing");
    staging.note_speed(10, SNAPSHOT_STORE_TIME * 4);
    assert_eq!(staging.portion, first);
}
