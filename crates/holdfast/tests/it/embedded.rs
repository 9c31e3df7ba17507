use bytes::Bytes;
use client::{Options, Volume};
use holdfast::embedded::{Config, Embedded};
use std::path::Path;
use types::InodeId;
use types::namespace::{Caller, Create, FileKind};

async fn start(data: &Path) -> Embedded {
    let config = Config { data: data.to_path_buf(), nodes: 3, admin_listen: "127.0.0.1:0".into() };
    let cluster = Embedded::start(&config).await.unwrap();
    cluster.ensure_volume("main", 3).await.unwrap();
    cluster
}

async fn create(volume: &Volume, name: &str) -> client::File {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_synced_is_there_after_a_restart() {
    let _ = tracing_subscriber::fmt().with_env_filter("info").with_test_writer().try_init();
    let data = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..3_000_000u32).flat_map(|n| (n % 251).to_le_bytes()).collect();
    {
        let cluster = start(data.path()).await;
        let volume = cluster.open_volume("main", Options::default()).await.unwrap();
        let file = create(&volume, "f").await;
        file.write(0, Bytes::from(content.clone())).await.unwrap();
        file.write(70 << 20, Bytes::from_static(b"in another chunk")).await.unwrap();
        file.sync().await.unwrap();
        assert_eq!(file.read(0, content.len()).await.unwrap(), content);
        file.close();
        volume.close().await.unwrap();
        cluster.stop().await;
    }
    let cluster = start(data.path()).await;
    let volume = cluster.open_volume("main", Options::default()).await.unwrap();
    let attributes = volume.lookup(InodeId::ROOT, Bytes::from_static(b"f")).await.unwrap();
    assert_eq!(attributes.size, (70 << 20) + 16);
    let file = volume.open_file(&attributes);
    assert_eq!(file.read(0, content.len()).await.unwrap(), content);
    assert_eq!(file.read(70 << 20, 100).await.unwrap(), &b"in another chunk"[..]);
    assert_eq!(file.seek_hole(0).await.unwrap(), content.len() as u64);
    assert_eq!(file.seek_data(content.len() as u64).await.unwrap(), Some(70 << 20));
    cluster.stop().await;
}

/// They were numbered as they happened to join: node 3 was in the folder of the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_nodes_are_numbered_as_their_folders_are() {
    let data = tempfile::tempdir().unwrap();
    for nodes in [5, 7] {
        let config = Config { data: data.path().into(), nodes, admin_listen: "127.0.0.1:0".into() };
        let cluster = Embedded::start(&config).await.unwrap();
        let numbers: Vec<u64> = cluster.nodes.iter().map(|node| node.id().0).collect();
        assert_eq!(numbers, (1..=nodes).collect::<Vec<_>>());
        cluster.stop().await;
    }
}
