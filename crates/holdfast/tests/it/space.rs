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
