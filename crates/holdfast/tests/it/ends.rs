//! How long a file is while a client that syncs each of its writes has not told the namespace, and when it never will.

use super::cluster::{create, eventually, open, reopen, start_with};
use super::session::expire;
use bytes::Bytes;
use client::{Client, Options, Volume};
use holdfast::embedded::Embedded;
use std::sync::Arc;
use std::time::Duration;
use types::SessionId;
use types::namespace::{Caller, SetAttributes};
use world::{Net, World};

const ROOM: u64 = 1 << 30;
const SOON: Duration = Duration::from_secs(20);

async fn content(volume: &Volume, name: &str) -> Bytes {
    reopen(volume, name).await.read(0, 1 << 20).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_synced_is_seen_by_who_opens_it_next_told_or_not() {
    let data = tempfile::tempdir().unwrap();
    let cluster = start_with(data.path(), "v", ROOM).await;
    let (writer, reader) = (open(&cluster, "v").await, open(&cluster, "v").await);
    let file = create(&writer, "f").await;
    let (mut untold, mut version) = (0, 0);
    for count in 1..200 {
        if count % 3 == 0 {
            file.write(file.size(), Bytes::from_static(b"abcd")).await.unwrap();
        } else {
            file.append(Bytes::from_static(b"abcd")).await.unwrap();
        }
        file.sync().await.unwrap();
        let seen = reader.attributes(file.inode()).await.unwrap();
        assert_eq!(seen.size, 4 * count);
        untold += u32::from(seen.version == version);
        version = seen.version;
        assert_eq!(content(&reader, "f").await.len() as u64, 4 * count);
    }
    assert!(untold > 100, "mostly the namespace was not told: {untold}");
    eventually("told", SOON, || async {
        reader.attributes(file.inode()).await.unwrap().delegate == 0
    })
    .await;
    assert_eq!(content(&reader, "f").await, b"abcd".repeat(199)[..]);
    cluster.stop().await;
}

/// A client writes and syncs, and then is no more: none of its tasks ever runs again.
async fn write_and_die(cluster: &Arc<Embedded>, name: &'static str, gap: u64) -> SessionId {
    let cluster = cluster.clone();
    let dead = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let session = runtime.block_on(async {
            let (world, metrics) = (World::real(Net::tcp()), cluster.metrics.clone());
            let members = vec![cluster.member.address().to_string()];
            let client = Client::new(world, cluster.hub.clone(), metrics, members);
            let volume = client.open_volume("v", Options::default()).await.unwrap();
            let file = create(&volume, name).await;
            for _ in 0..8 {
                file.append(Bytes::from_static(b"abcd")).await.unwrap();
                file.sync().await.unwrap();
            }
            if gap > 0 {
                file.write(32 + gap, Bytes::from_static(b"behind")).await.unwrap();
                file.sync().await.unwrap();
            }
            volume.session()
        });
        runtime.shutdown_background();
        session
    });
    tokio::task::spawn_blocking(move || dead.join().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_synced_that_died_stays() {
    let data = tempfile::tempdir().unwrap();
    let cluster = Arc::new(start_with(data.path(), "v", ROOM).await);
    let volume = open(&cluster, "v").await;
    let dead = write_and_die(&cluster, "f", 0).await;
    assert_eq!(content(&volume, "f").await, b"abcd".repeat(8)[..], "while nobody knows that");
    expire(&cluster, dead).await;
    assert_eq!(content(&volume, "f").await, b"abcd".repeat(8)[..]);
    let file = reopen(&volume, "f").await;
    assert_eq!(file.append(Bytes::from_static(b"next")).await.unwrap(), 32, "and nothing over it");
    file.flush().await.unwrap();
    eventually("settled", SOON, || async {
        let seen = volume.attributes(file.inode()).await.unwrap();
        !seen.unsettled && seen.delegate == 0 && seen.allocated == 36
    })
    .await;
    assert_eq!(volume.usage().await.unwrap().used, 36, "accounted as well");
    Arc::try_unwrap(cluster).ok().unwrap().stop().await;
}

/// Who looks on has the namespace told; it need not be somebody who writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_is_told_at_once_and_a_look_settles_a_file() {
    let data = tempfile::tempdir().unwrap();
    let cluster = Arc::new(start_with(data.path(), "v", ROOM).await);
    let volume = open(&cluster, "v").await;
    let dead = write_and_die(&cluster, "f", 100).await;
    expire(&cluster, dead).await;
    let expected = [&b"abcd".repeat(8)[..], &[0; 100], b"behind"].concat();
    assert_eq!(content(&volume, "f").await, expected[..]);
    let inode = reopen(&volume, "f").await.inode();
    eventually("settled", SOON, || async {
        let seen = volume.attributes(inode).await.unwrap();
        !seen.unsettled && seen.delegate == 0
    })
    .await;
    assert_eq!(content(&volume, "f").await, expected[..]);
    Arc::try_unwrap(cluster).ok().unwrap().stop().await;
}

/// Who closes in order has told all, and leaves nothing for others to find out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_closes_in_order_leaves_no_file_unsettled() {
    let data = tempfile::tempdir().unwrap();
    let cluster = start_with(data.path(), "v", ROOM).await;
    let (writer, reader) = (open(&cluster, "v").await, open(&cluster, "v").await);
    let file = create(&writer, "f").await;
    file.append(Bytes::from_static(b"abcd")).await.unwrap();
    file.sync().await.unwrap();
    writer.close().await.unwrap();
    let seen = reader.attributes(file.inode()).await.unwrap();
    assert_eq!((seen.size, seen.unsettled, seen.delegate), (4, false, 0));
    cluster.stop().await;
}

/// What was written at the moment when the delegation went back kept it for ever, and others waited.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delegation_goes_back_however_much_is_written() {
    let data = tempfile::tempdir().unwrap();
    let cluster = start_with(data.path(), "v", ROOM).await;
    let (writer, other) = (open(&cluster, "v").await, open(&cluster, "v").await);
    let file = create(&writer, "f").await;
    let begun = std::time::Instant::now();
    let busy = file.clone();
    let writing = tokio::spawn(async move {
        while begun.elapsed() < Duration::from_millis(700) {
            busy.write(0, Bytes::from_static(b"x")).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    while begun.elapsed() < Duration::from_millis(600) {
        file.append(Bytes::from_static(b"abcd")).await.unwrap();
        file.sync().await.unwrap();
    }
    writing.await.unwrap();
    let theirs = reopen(&other, "f").await;
    let cut = theirs.truncate(2, SetAttributes::default(), Caller::default());
    tokio::time::timeout(SOON, cut).await.expect("it is nobody's any more").unwrap();
    assert_eq!(content(&writer, "f").await, b"xb"[..]);
    cluster.stop().await;
}

/// Another client cuts, and punches, while one appends and syncs: what counts as the end is never looked for in what is
/// being cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cuts_a_file_waits_for_who_appends() {
    let data = tempfile::tempdir().unwrap();
    let cluster = start_with(data.path(), "v", ROOM).await;
    let (writer, other) = (open(&cluster, "v").await, open(&cluster, "v").await);
    let file = create(&writer, "f").await;
    let theirs = reopen(&other, "f").await;
    let mut least = 0;
    for round in 0..20_u64 {
        for _ in 0..5 {
            least = file.append(Bytes::from_static(b"abcd")).await.unwrap() + 4;
            file.sync().await.unwrap();
        }
        if round % 2 == 0 {
            theirs.punch(0, least / 2).await.unwrap();
            assert_eq!(reopen(&other, "f").await.size(), least, "a hole is no end");
        } else {
            theirs.truncate(8, SetAttributes::default(), Caller::default()).await.unwrap();
            assert_eq!(reopen(&writer, "f").await.size(), 8);
        }
    }
    assert_eq!(least, 8 + 20 + 20, "two rounds since it was cut last, and nothing lost");
    cluster.stop().await;
}

/// A client that truncates a file which somebody left unsettled settles it at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_file_is_not_settled_to_its_old_length() {
    let data = tempfile::tempdir().unwrap();
    let cluster = Arc::new(start_with(data.path(), "v", ROOM).await);
    let volume = open(&cluster, "v").await;
    for name in ["f0", "f1", "f2", "f3", "f4", "f5"] {
        let dead = write_and_die(&cluster, name, 0).await;
        expire(&cluster, dead).await;
        let file = reopen(&volume, name).await;
        file.truncate(10, SetAttributes::default(), Caller::default()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(content(&volume, name).await, b"abcdabcdab"[..]);
    }
    eventually("accounted", SOON, || async { volume.usage().await.unwrap().used == 60 }).await;
    Arc::try_unwrap(cluster).ok().unwrap().stop().await;
}
