//! The examples of `docs/semantics.md`; it names these tests.

use super::cluster::{create, open, reopen, start_with};
use bytes::Bytes;
use client::{Error, File, Volume};
use types::namespace::{Caller, FailureKind, Lock, LockKind, LockMode, SetAttributes};

const ROOM: u64 = 1 << 30;

fn lock(owner: u64, start: u64, end: u64, mode: LockMode) -> Lock {
    let (mode, kind) = (mode.into(), LockKind::Posix.into());
    Lock { owner, start, end, mode, kind, ..Lock::default() }
}

fn is_locked(result: &Result<(), Error>) -> bool {
    matches!(result, Err(Error::Refused(failure)) if failure.kind() == FailureKind::Locked)
}

async fn resize(file: &File, size: u64) {
    file.truncate(size, SetAttributes::default(), Caller::default()).await.unwrap();
}

async fn allocated(volume: &Volume, file: &File) -> u64 {
    volume.attributes(file.inode()).await.unwrap().allocated
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_closed_the_next_who_opens_sees() {
    let data = tempfile::tempdir().unwrap();
    let cluster = start_with(data.path(), "v", ROOM).await;
    let (writer, reader) = (open(&cluster, "v").await, open(&cluster, "v").await);
    let file = create(&writer, "f").await;
    file.write(0, Bytes::from_static(b"first")).await.unwrap();
    assert_eq!(file.read(0, 9).await.unwrap(), &b"first"[..], "a writer sees its own writes");
    assert_eq!(reopen(&reader, "f").await.size(), 0, "others do not, before it is closed");
    file.flush().await.unwrap();
    file.close();
    let seen = reopen(&reader, "f").await;
    assert_eq!(seen.read(0, 9).await.unwrap(), &b"first"[..]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_of_two_clients_never_overwrite_each_other() {
    let data = tempfile::tempdir().unwrap();
    let cluster = start_with(data.path(), "v", ROOM).await;
    let (one, two) = (open(&cluster, "v").await, open(&cluster, "v").await);
    let first = create(&one, "log").await;
    let second = reopen(&two, "log").await;
    const LINES: usize = 200;
    let append = |file: File, tag: u8| async move {
        for _ in 0..LINES {
            file.append(Bytes::from(vec![tag; 16])).await.unwrap();
        }
        file.flush().await.unwrap();
    };
    let tasks = [tokio::spawn(append(first, b'a')), tokio::spawn(append(second, b'b'))];
    for task in tasks {
        task.await.unwrap();
    }
    let file = reopen(&one, "log").await;
    assert_eq!(file.size(), 2 * 16 * LINES as u64);
    let content = file.read(0, 2 * 16 * LINES).await.unwrap();
    let lines: Vec<&[u8]> = content.chunks(16).collect();
    let whole = |tag: u8| lines.iter().filter(|line| **line == [tag; 16]).count();
    assert_eq!((whole(b'a'), whole(b'b')), (LINES, LINES), "every line is whole");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_exclude_across_clients_and_go_with_them() {
    let data = tempfile::tempdir().unwrap();
    let cluster = start_with(data.path(), "v", ROOM).await;
    let (one, two) = (open(&cluster, "v").await, open(&cluster, "v").await);
    let inode = create(&one, "f").await.inode();
    one.set_lock(inode, lock(1, 0, 9, LockMode::Exclusive)).await.unwrap();
    assert!(is_locked(&two.set_lock(inode, lock(2, 5, 5, LockMode::Shared)).await));
    two.set_lock(inode, lock(2, 10, 19, LockMode::Exclusive)).await.unwrap();
    assert!(is_locked(&one.set_lock(inode, lock(1, 0, 19, LockMode::Exclusive)).await));
    one.close().await.unwrap();
    two.set_lock(inode, lock(2, 0, 9, LockMode::Exclusive)).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_shrank_and_grew_shows_zeros() {
    let data = tempfile::tempdir().unwrap();
    let cluster = start_with(data.path(), "v", ROOM).await;
    let volume = open(&cluster, "v").await;
    let file = create(&volume, "f").await;
    file.write(0, Bytes::from(vec![9; 10_000])).await.unwrap();
    resize(&file, 100).await;
    resize(&file, 10_000).await;
    let content = file.read(0, 20_000).await.unwrap();
    assert_eq!(content.len(), 10_000);
    assert!(content[..100].iter().all(|byte| *byte == 9));
    assert!(content[100..].iter().all(|byte| *byte == 0));
    assert_eq!(allocated(&volume, &file).await, 100, "a hole takes no space");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holes_take_no_space_and_can_be_found() {
    const TIB: u64 = 1 << 40;
    let data = tempfile::tempdir().unwrap();
    let cluster = start_with(data.path(), "v", ROOM).await;
    let volume = open(&cluster, "v").await;
    let file = create(&volume, "sparse").await;
    file.write(3 * TIB, Bytes::from(vec![1; 8192])).await.unwrap();
    file.flush().await.unwrap();
    assert_eq!(file.size(), 3 * TIB + 8192);
    assert_eq!(allocated(&volume, &file).await, 8192);
    assert_eq!(file.seek_data(0).await.unwrap(), Some(3 * TIB));
    assert_eq!(file.seek_hole(3 * TIB).await.unwrap(), 3 * TIB + 8192);
    file.punch(3 * TIB, 4096).await.unwrap();
    assert_eq!(allocated(&volume, &file).await, 4096);
    assert_eq!(file.seek_data(0).await.unwrap(), Some(3 * TIB + 4096));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_direct_write_is_seen_by_others_at_once() {
    let data = tempfile::tempdir().unwrap();
    let cluster = start_with(data.path(), "v", ROOM).await;
    let (writer, reader) = (open(&cluster, "v").await, open(&cluster, "v").await);
    let file = create(&writer, "f").await;
    file.write_through(0, Bytes::from(vec![1; 4096])).await.unwrap();
    let other = reopen(&reader, "f").await;
    assert_eq!(other.read(0, 4096).await.unwrap(), vec![1; 4096]);
    file.write_through(0, Bytes::from(vec![2; 4096])).await.unwrap();
    assert_eq!(other.read(0, 4096).await.unwrap(), vec![2; 4096], "it is open already");
    cluster.stop().await;
}

/// Another mount appends to the file at the moment; whoever wrote to it plainly waits for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_waits_for_who_appends() {
    let data = tempfile::tempdir().unwrap();
    let cluster = start_with(data.path(), "v", ROOM).await;
    let (one, two) = (open(&cluster, "v").await, open(&cluster, "v").await);
    let first = create(&one, "log").await;
    let second = reopen(&two, "log").await;
    second.write(0, Bytes::from_static(b"plain")).await.unwrap();
    first.append(Bytes::from_static(b"appended")).await.unwrap();
    second.sync().await.expect("a flush waits");
    cluster.stop().await;
}

/// What was written and closed is synced by whoever opens the file again and asks for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_covers_what_was_written_before_the_file_was_opened() {
    let data = tempfile::tempdir().unwrap();
    let cluster = start_with(data.path(), "v", ROOM).await;
    let one = open(&cluster, "v").await;
    let of_node =
        |node: &node::Node| node.counters().syncs.load(std::sync::atomic::Ordering::Relaxed);
    let syncs = || cluster.nodes.iter().map(of_node).sum::<u64>();
    let file = create(&one, "f").await;
    file.write(0, Bytes::from(vec![1; 3 << 20])).await.unwrap();
    file.flush().await.unwrap();
    file.close();
    let again = reopen(&one, "f").await;
    let before = syncs();
    again.sync().await.unwrap();
    assert!(
        syncs() - before >= 6,
        "three logs of names and three of data, not {}",
        syncs() - before
    );
    cluster.stop().await;
}

/// What nobody flushes is told to the namespace within seconds: the mount may die at any time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_and_kept_open_is_seen_within_seconds() {
    let data = tempfile::tempdir().unwrap();
    let cluster = start_with(data.path(), "v", ROOM).await;
    let (one, two) = (open(&cluster, "v").await, open(&cluster, "v").await);
    let file = create(&one, "kept-open").await;
    file.write(0, Bytes::from(vec![7; 3 << 20])).await.unwrap();
    let begun = std::time::Instant::now();
    let seen = async || {
        let file = reopen(&two, "kept-open").await;
        file.close();
        file.size()
    };
    while seen().await < 3 << 20 {
        assert!(begun.elapsed() < 3 * types::limits::CLIENT_SESSION_RENEWAL, "nobody says so");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    cluster.stop().await;
}

/// Files with little in them do not keep the room that another one waits for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_files_with_little_buffered_hold_nobody_up() {
    let data = tempfile::tempdir().unwrap();
    let cluster = start_with(data.path(), "v", ROOM).await;
    let one = open(&cluster, "v").await;
    let each = (1 << 20) - 4096;
    let mut files = Vec::new();
    for number in 0..types::limits::CLIENT_DIRTY_BYTES_MAX / each + 4 {
        let file = create(&one, &format!("f{number}")).await;
        let write = file.write(0, Bytes::from(vec![1; each]));
        let limit = std::time::Duration::from_secs(20);
        tokio::time::timeout(limit, write).await.expect("nobody waits for ever").unwrap();
        files.push(file);
    }
    cluster.stop().await;
}
