//! Capacity is enforced, and space comes back.

use super::cluster::{create, eventually, open, start_with, unlink};
use bytes::Bytes;
use client::{Error, File, Volume};
use std::time::Duration;

const MIB: u64 = 1 << 20;
const CAPACITY: u64 = 128 * MIB;
const SOON: Duration = Duration::from_secs(20);

/// Writes until the volume is full; returns how much went in.
async fn fill(file: &File) -> u64 {
    let block = Bytes::from(vec![7; MIB as usize]);
    for number in 0.. {
        match file.write(number * MIB, block.clone()).await {
            Ok(()) => {}
            Err(Error::NoSpace) => return number * MIB,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!()
}

async fn used(volume: &Volume) -> u64 {
    volume.usage().await.unwrap().used
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_is_full_at_its_capacity_and_space_comes_back() {
    let data = tempfile::tempdir().unwrap();
    let cluster = start_with(data.path(), "small", CAPACITY).await;
    let (writer, other) = (open(&cluster, "small").await, open(&cluster, "small").await);
    eventually("the capacity is known", SOON, || async {
        writer.usage().await.unwrap().capacity == CAPACITY
    })
    .await;
    let file = create(&writer, "big").await;
    let written = fill(&file).await;
    assert!(written <= CAPACITY, "more than the capacity: {written}");
    assert!(written >= CAPACITY - 64 * MIB, "full too early: {written}");
    file.flush().await.unwrap();
    assert_eq!(used(&other).await, written);
    // What is there can be written over; that needs no space.
    for offset in [0, 12_345, written - MIB] {
        file.write(offset, Bytes::from(vec![7; MIB as usize])).await.unwrap();
    }
    let past_the_end = file.write(written + MIB, Bytes::from(vec![7; MIB as usize])).await;
    assert!(matches!(past_the_end, Err(Error::NoSpace)), "{past_the_end:?}");
    file.flush().await.unwrap();
    assert_eq!(used(&other).await, written);

    unlink(&other, "big").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(used(&other).await, written, "it is still open");
    assert_eq!(file.read(0, 10).await.unwrap(), &[7; 10][..]);
    file.close();
    eventually("space is back", SOON, || async { used(&other).await == 0 }).await;
    let reaped: u64 = cluster
        .nodes
        .iter()
        .map(|node| node.counters().reaped_bytes.load(std::sync::atomic::Ordering::Relaxed))
        .sum();
    assert_eq!(reaped, written);

    let file = create(&writer, "again").await;
    assert!(fill(&file).await >= CAPACITY - 64 * MIB);
    file.flush().await.unwrap();
    file.close();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_deleted_files_are_gone_within_seconds() {
    let data = tempfile::tempdir().unwrap();
    let cluster = start_with(data.path(), "files", 1 << 30).await;
    let volume = open(&cluster, "files").await;
    for number in 0..1000 {
        let file = create(&volume, &format!("f{number}")).await;
        file.write(0, Bytes::from_static(&[1; 4096])).await.unwrap();
        file.flush().await.unwrap();
        file.close();
    }
    assert_eq!(used(&volume).await, 4096 * 1000);
    for number in 0..1000 {
        unlink(&volume, &format!("f{number}")).await;
    }
    eventually("all orphans are purged", SOON, || async {
        let usage = volume.usage().await.unwrap();
        (usage.orphans, usage.used, usage.inodes) == (0, 0, 1)
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_files_of_a_client_that_closed_are_not_held() {
    let data = tempfile::tempdir().unwrap();
    let cluster = start_with(data.path(), "files", 1 << 30).await;
    let (leaver, stayer) = (open(&cluster, "files").await, open(&cluster, "files").await);
    let file = create(&leaver, "f").await;
    file.write(0, Bytes::from_static(b"some bytes")).await.unwrap();
    file.flush().await.unwrap();
    unlink(&stayer, "f").await;
    leaver.close().await.unwrap();
    eventually("it is purged", SOON, || async { stayer.usage().await.unwrap().orphans == 0 }).await;
    assert!(matches!(stayer.attributes(file.inode()).await, Err(Error::Gone)));
    cluster.stop().await;
}

const BLOCK: u64 = 4096;
const CHUNK: u64 = 64 * MIB;
/// One block in so many survives the overwriting.
const SURVIVOR_EVERY: u64 = 16;

/// What a block holds, so that each one is known by its bytes.
fn block(number: u64, round: u8) -> Bytes {
    let mut bytes = vec![round; BLOCK as usize];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes.into()
}

/// Writes blocks of the first chunk, each as a record of its own.
async fn write_blocks(file: &File, round: u8, wanted: impl Fn(u64) -> bool) {
    use futures::StreamExt;
    let numbers = (0..CHUNK / BLOCK).filter(|number| wanted(*number));
    let writes = numbers.map(|number| async move {
        file.write_through(number * BLOCK, block(number, round)).await.unwrap();
    });
    futures::stream::iter(writes).buffer_unordered(32).collect::<Vec<()>>().await;
}

/// First segments of logs, as far as they hold much.
fn first_segments(data: &std::path::Path) -> Vec<std::path::PathBuf> {
    let folders = (1..=3).flat_map(|node| {
        std::fs::read_dir(data.join(format!("node-{node}/disk/replicas"))).unwrap()
    });
    let files = folders.map(|folder| folder.unwrap().path().join("log/00000001.segment"));
    let is_long = |file: &std::path::PathBuf| file.metadata().is_ok_and(|m| m.len() > 32 * MIB);
    files.filter(is_long).collect()
}

/// Random overwriting of small blocks leaves segments with a little alive in each, in pieces that
/// are too small for holes. They are rewritten, and nothing is lost by that, not even in a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_with_little_alive_are_rewritten() {
    let data = tempfile::tempdir().unwrap();
    let cluster = start_with(data.path(), "v", 1 << 30).await;
    let volume = open(&cluster, "v").await;
    let file = create(&volume, "f").await;
    // From here on no write makes the file longer.
    file.write_through(CHUNK - BLOCK, block(0, 0)).await.unwrap();
    write_blocks(&file, 1, |_| true).await;
    write_blocks(&file, 2, |number| number % SURVIVOR_EVERY != 0).await;
    let first = first_segments(data.path());
    assert_eq!(first.len(), 3, "{first:?}");

    // The log is kept for a while, so it takes more of it before anything is rewritten.
    let filler = Bytes::from(vec![3; MIB as usize]);
    let began = std::time::Instant::now();
    while !first_segments(data.path()).is_empty() {
        assert!(began.elapsed() < Duration::from_secs(120), "the first segments are still there");
        file.write_through(CHUNK - MIB, filler.clone()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    file.flush().await.unwrap();
    verify_blocks(&file).await;
    file.close();
    volume.close().await.unwrap();
    cluster.stop().await;

    let cluster = super::cluster::start(data.path()).await;
    let volume = open(&cluster, "v").await;
    verify_blocks(&super::cluster::reopen(&volume, "f").await).await;
    cluster.stop().await;
}

async fn verify_blocks(file: &File) {
    for number in 0..(CHUNK - MIB) / BLOCK {
        let round = if number % SURVIVOR_EVERY == 0 { 1 } else { 2 };
        let read = file.read(number * BLOCK, BLOCK as usize).await.unwrap();
        assert_eq!(read, block(number, round), "block {number}");
    }
}

/// A page that is written again and again before it is synced takes its space once: what never left
/// the buffer gives back what was set aside for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overwriting_what_is_buffered_sets_no_space_aside() {
    let data = tempfile::tempdir().unwrap();
    let cluster = start_with(data.path(), "small", CAPACITY).await;
    let volume = open(&cluster, "small").await;
    let file = create(&volume, "page").await;
    for round in 0..20 * CAPACITY / MIB {
        // Twenty times what the volume holds.
        file.write(0, Bytes::from(vec![u8::try_from(round % 251).unwrap(); MIB as usize / 2]))
            .await
            .unwrap();
        file.write(1000, Bytes::from(vec![1; MIB as usize / 2])).await.unwrap();
        resize_to_nothing(&file).await;
    }
    file.write(0, Bytes::from(vec![2; 4096])).await.unwrap();
    file.sync().await.unwrap();
    let usage = volume.usage().await.unwrap();
    assert_eq!(usage.used, 4096);
    assert!(usage.reserved <= 64 * MIB, "{} bytes are set aside for nothing", usage.reserved);
    cluster.stop().await;
}

/// Truncates, with half a MiB still in the buffer.
async fn resize_to_nothing(file: &File) {
    let change = types::namespace::SetAttributes::default();
    file.truncate(0, change, types::namespace::Caller::default()).await.unwrap();
}
