//! A check finds nothing in a good volume, and says whose it is when something is wrong.

use super::cluster::{create, open, start_with};
use bytes::Bytes;
use client::Client;
use holdfast::embedded::Embedded;
use holdfast::fsck::{self, Kind, Report};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use types::checksum::block_checksums;
use wire::{Operation, Request, data};

const MARK: &[u8] = b"these bytes are easy to find";

fn client(cluster: &Embedded) -> Client {
    let members = vec![cluster.member.address().to_string()];
    Client::new(cluster.world.clone(), cluster.hub.clone(), cluster.metrics.clone(), members)
}

async fn check(cluster: &Embedded) -> Report {
    fsck::check(&cluster.world, &client(cluster), "v", &|_, _| {}).await.unwrap()
}

/// All files below a folder.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// Changes one byte of the first place where a node's segments hold the mark.
fn flip(disk: &Path) {
    let mut paths = Vec::new();
    files(disk, &mut paths);
    for path in paths.iter().filter(|path| path.extension().is_some_and(|e| e == "segment")) {
        let content = std::fs::read(path).unwrap();
        if let Some(at) = content.windows(MARK.len()).position(|bytes| bytes == MARK) {
            let file = std::fs::File::options().write(true).open(path).unwrap();
            return file.write_all_at(b"T", at as u64).unwrap();
        }
    }
    panic!("the mark is in no segment of {}", disk.display());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_finds_what_is_wrong_and_whose_it_is() {
    let data = tempfile::tempdir().unwrap();
    let cluster = start_with(data.path(), "v", 1 << 30).await;
    let volume = open(&cluster, "v").await;
    let marked = create(&volume, "marked").await;
    marked.write(0, Bytes::from_static(MARK)).await.unwrap();
    marked.write(100 << 20, Bytes::from(vec![3; 3 << 20])).await.unwrap();
    marked.flush().await.unwrap();
    for number in 0..50 {
        let file = create(&volume, &format!("f{number}")).await;
        file.write(0, Bytes::from(vec![1; 5000])).await.unwrap();
        file.flush().await.unwrap();
    }
    let report = check(&cluster).await;
    assert!(report.clean, "{report:#?}");
    let bytes = MARK.len() as u64 + (3 << 20) + 50 * 5000;
    assert_eq!((report.files, report.verified_bytes), (51, 3 * bytes));

    flip(&data.path().join("node-2"));
    let report = check(&cluster).await;
    let [damaged] = report.findings.as_slice() else { panic!("{report:#?}") };
    assert_eq!((damaged.kind, damaged.inode), (Kind::Damaged, marked.inode().0));
    let routes = client(&cluster).routes("v").await.unwrap();
    let member = &routes.partitions[&types::PartitionId(damaged.partition)];
    let owner = member.members.iter().find(|member| member.replica.0 == damaged.replica).unwrap();
    assert_eq!(owner.node.0, damaged.node);
    let node_2 = std::fs::read(data.path().join("node-2/disk/node")).unwrap();
    assert!(!node_2.is_empty());

    // Bytes that belong to no file.
    let (partition, _) = stray(&cluster).await;
    let report = check(&cluster).await;
    let stray: Vec<_> = report.findings.iter().filter(|f| f.kind == Kind::NoInode).collect();
    assert_eq!(stray.len(), 1, "{report:#?}");
    assert_eq!((stray[0].partition, stray[0].inode), (partition, 4242));
    cluster.stop().await;
}

/// Writes an object that the namespace knows nothing of.
async fn stray(cluster: &Embedded) -> (u64, u64) {
    let client = client(cluster);
    let routes = client.routes("v").await.unwrap();
    let partition = routes.data()[0];
    let (address, epoch) = routes.leader(partition).unwrap();
    let payload = Bytes::from_static(b"nobody's");
    let checksums: Vec<u8> =
        block_checksums(&payload).iter().flat_map(|sum| sum.to_le_bytes()).collect();
    let write = data::Write { object: 4242, offset: 0, checksums: checksums.into() };
    let request = Request::new(Operation::DataWrite)
        .partition(partition)
        .epoch(epoch)
        .message(&write)
        .payload(payload);
    client.ask(&address, request).await.unwrap();
    (partition.0, 4242)
}
