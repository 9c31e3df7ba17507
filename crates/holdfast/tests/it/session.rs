//! A client whose session the cluster ends goes on, and says what was lost.

use super::cluster::{create, eventually, open, reopen, start_with, unlink};
use bytes::Bytes;
use client::Error;
use holdfast::embedded::Embedded;
use std::time::Duration;
use types::SessionId;
use types::configuration::PartitionKind;
use types::namespace::{
    Command, ExpireSession, FailureKind, Lock, LockKind, LockMode, Request as CommandRequest,
};
use wire::{Class, Operation, Peers, Request};

const SOON: Duration = Duration::from_secs(20);

/// Ends a session as the namespace's leader does when a client falls silent.
pub(super) async fn expire(cluster: &Embedded, session: SessionId) {
    let peers = Peers::new(cluster.world.clone(), cluster.hub.clone(), cluster.metrics.clone());
    let expire = ExpireSession { session: session.0 };
    let command = Some(Command::ExpireSession(expire));
    let command = CommandRequest { command, ..CommandRequest::default() };
    let state = cluster.member.state();
    let namespaces = state.partitions.values().map(|p| p.configuration.clone());
    for namespace in namespaces.filter(|c| c.kind == PartitionKind::Namespace) {
        for node in &cluster.nodes {
            let request = Request::new(Operation::NamespaceCommand)
                .class(Class::Control)
                .partition(namespace.partition)
                .epoch(namespace.epoch)
                .message(&command);
            if peers.call(node.address(), request).await.is_ok() {
                return;
            }
        }
    }
    panic!("nobody led the namespace");
}

fn lock(owner: u64, mode: LockMode) -> Lock {
    let (mode, kind) = (mode.into(), LockKind::Posix.into());
    Lock { owner, start: 0, end: u64::MAX, mode, kind, ..Lock::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buffered_data_survives_the_end_of_its_session() {
    let data = tempfile::tempdir().unwrap();
    let cluster = start_with(data.path(), "v", 1 << 30).await;
    let (volume, other) = (open(&cluster, "v").await, open(&cluster, "v").await);
    let file = create(&volume, "f").await;
    file.write(0, Bytes::from_static(b"before")).await.unwrap();
    let first = volume.session();
    expire(&cluster, volume.session()).await;
    file.write(6, Bytes::from_static(b" and after")).await.unwrap();
    file.sync().await.unwrap();
    assert_ne!(volume.session(), first);
    assert_eq!(volume.sessions_lost(), 1);
    assert_eq!(reopen(&other, "f").await.read(0, 100).await.unwrap(), &b"before and after"[..]);
    let usage = other.usage().await.unwrap();
    assert_eq!(usage.used, 16, "accounted once");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_locks_are_told_once_to_each() {
    let data = tempfile::tempdir().unwrap();
    let cluster = start_with(data.path(), "v", 1 << 30).await;
    let (volume, other) = (open(&cluster, "v").await, open(&cluster, "v").await);
    let file = create(&volume, "f").await;
    volume.set_lock(file.inode(), lock(1, LockMode::Exclusive)).await.unwrap();
    let refused = other.set_lock(file.inode(), lock(2, LockMode::Exclusive)).await;
    assert!(
        matches!(&refused, Err(Error::Refused(f)) if f.kind() == FailureKind::Locked),
        "{refused:?}"
    );
    let looks_only = reopen(&volume, "f").await;
    expire(&cluster, volume.session()).await;
    other.set_lock(file.inode(), lock(2, LockMode::Exclusive)).await.unwrap();
    eventually("a new session", SOON, || async { volume.sessions_lost() == 1 }).await;
    file.write(0, Bytes::from_static(b"x")).await.unwrap();
    let told = looks_only.flush().await;
    assert!(matches!(told, Err(Error::SessionEnded)), "{told:?}");
    looks_only.close();
    let told = file.flush().await;
    assert!(matches!(told, Err(Error::SessionEnded)), "whoever else was told: {told:?}");
    assert_eq!(reopen(&other, "f").await.size(), 1, "written nevertheless");
    file.flush().await.unwrap();
    let told = volume.set_lock(file.inode(), lock(1, LockMode::Shared)).await;
    assert!(matches!(told, Err(Error::SessionEnded)), "who locks is told as well: {told:?}");
    let refused = volume.set_lock(file.inode(), lock(1, LockMode::Shared)).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "it is the other's now: {refused:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_open_across_sessions_are_still_held() {
    let data = tempfile::tempdir().unwrap();
    let cluster = start_with(data.path(), "v", 1 << 30).await;
    let (volume, other) = (open(&cluster, "v").await, open(&cluster, "v").await);
    let file = create(&volume, "f").await;
    file.write(0, Bytes::from_static(b"still here")).await.unwrap();
    file.flush().await.unwrap();
    expire(&cluster, volume.session()).await;
    eventually("a new session", SOON, || async { volume.sessions_lost() == 1 }).await;
    unlink(&other, "f").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(file.read(0, 100).await.unwrap(), &b"still here"[..]);
    file.close();
    eventually("purged", SOON, || async { other.usage().await.unwrap().orphans == 0 }).await;
    cluster.stop().await;
}
