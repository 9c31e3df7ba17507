//! Three hosts, each a process with both roles; one is killed at a time, then all.

use super::hosts::{Host, Hosts, open};
use bytes::Bytes;
use client::{File, Volume};
use std::time::{Duration, Instant};
use types::InodeId;
use types::limits::FAILOVER_BOUND;
use types::namespace::{Caller, Create, FileKind};

async fn create(volume: &Volume) -> File {
    let create = Create {
        parent: InodeId::ROOT.0,
        name: Bytes::from_static(b"log"),
        kind: FileKind::File.into(),
        mode: 0o644,
        ..Create::default()
    };
    let (attributes, _) = volume.create(create, Caller::default()).await.unwrap();
    volume.open_file(&attributes)
}

/// Appends a synced line every few milliseconds for a while; the longest one took this long.
async fn write_for(file: &File, lines: &mut u64, time: Duration) -> Duration {
    let (begun, mut worst) = (Instant::now(), Duration::ZERO);
    while begun.elapsed() < time {
        let line = format!("{lines:09}\n");
        let asked = Instant::now();
        file.write(*lines * 10, line.into_bytes().into()).await.unwrap();
        file.sync().await.unwrap();
        worst = worst.max(asked.elapsed());
        *lines += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    worst
}

async fn verify(volume: &Volume, lines: u64) {
    let attributes = volume.lookup(InodeId::ROOT, Bytes::from_static(b"log")).await.unwrap();
    assert_eq!(attributes.size, lines * 10);
    let file = volume.open_file(&attributes);
    let content = file.read(0, usize::try_from(lines * 10).unwrap()).await.unwrap();
    for (line, number) in content.chunks_exact(10).zip(0..lines) {
        assert_eq!(line, format!("{number:09}\n").as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_host_may_be_killed_and_then_all_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = Hosts::start(folder.path(), "");
    cluster.create_volume("v");
    let volume = open(&cluster.members).await;
    let file = create(&volume).await;
    let mut lines = 0;
    write_for(&file, &mut lines, Duration::from_secs(1)).await;
    for number in 0..3 {
        cluster.hosts[number].kill();
        let worst = write_for(&file, &mut lines, Duration::from_secs(6)).await;
        assert!(worst < FAILOVER_BOUND, "writes stood still for {worst:?} without host {number}");
        cluster.hosts[number].restart();
        // It must be back in the in-sync set before the next one goes.
        cluster.wait_healthy().await;
        write_for(&file, &mut lines, Duration::from_secs(1)).await;
    }
    cluster.hosts.iter_mut().for_each(Host::kill);
    cluster.hosts.iter_mut().for_each(Host::restart);
    write_for(&file, &mut lines, Duration::from_secs(1)).await;
    verify(&open(&cluster.members).await, lines).await;
}
