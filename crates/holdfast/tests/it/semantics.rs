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
