//! A cluster in this process, and small steps with it.

use bytes::Bytes;
use client::{File, Options, Volume};
use control::api::volume::Create as CreateVolume;
use holdfast::embedded::{Config, Embedded};
use std::future::Future;
use std::path::Path;
use std::time::Duration;
use types::InodeId;
use types::namespace::{Caller, Create, FileKind, Unlink};
use types::volume::VolumeKind;

/// Three nodes and no volume yet.
pub(super) async fn start(data: &Path) -> Embedded {
    let _ = tracing_subscriber::fmt().with_env_filter("info").with_test_writer().try_init();
    let config = Config { data: data.to_path_buf(), nodes: 3, admin_listen: "127.0.0.1:0".into() };
    Embedded::start(&config).await.unwrap()
}

/// Three nodes and a volume of this capacity.
pub(super) async fn start_with(data: &Path, name: &str, capacity_bytes: u64) -> Embedded {
    let cluster = start(data).await;
    let create = CreateVolume { capacity_bytes, ..CreateVolume::new(name, VolumeKind::File) };
    cluster.member.create_volume(create).await.unwrap();
    cluster
}

/// One more client.
pub(super) async fn open(cluster: &Embedded, name: &str) -> Volume {
    cluster.open_volume(name, Options::default()).await.unwrap()
}

/// Makes and opens a file in the root.
pub(super) async fn create(volume: &Volume, name: &str) -> File {
    let create = Create {
        parent: InodeId::ROOT.0,
        name: Bytes::copy_from_slice(name.as_bytes()),
        kind: FileKind::File.into(),
        mode: 0o644,
        ..Create::default()
    };
    let (attributes, _) = volume.create(create, Caller::default()).await.unwrap();
    volume.open_file(&attributes)
}

/// Opens a file of the root, as it is now.
pub(super) async fn reopen(volume: &Volume, name: &str) -> File {
    let name = Bytes::copy_from_slice(name.as_bytes());
    volume.open_file(&volume.lookup(InodeId::ROOT, name).await.unwrap())
}

/// Takes a name of the root away.
pub(super) async fn unlink(volume: &Volume, name: &str) {
    let name = Bytes::copy_from_slice(name.as_bytes());
    let unlink = Unlink { parent: InodeId::ROOT.0, name, folder: false };
    volume.unlink(unlink, Caller::default()).await.unwrap();
}

/// Waits until something holds.
pub(super) async fn eventually<F: Future<Output = bool>>(
    what: &str,
    within: Duration,
    mut holds: impl FnMut() -> F,
) {
    let step = Duration::from_millis(50);
    for _ in 0..within.as_millis() / step.as_millis() {
        if holds().await {
            return;
        }
        tokio::time::sleep(step).await;
    }
    panic!("not within {within:?}: {what}");
}
