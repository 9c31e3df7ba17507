//! Everything that is written can be printed, and damage is said with its place.

use super::cluster::{create, open, start_with};
use bytes::Bytes;
use holdfast::inspect::{Inspected, inspect};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// Where the database of the indexes is.
fn index_folder(paths: &[PathBuf]) -> PathBuf {
    let journal = paths.iter().find(|path| path.extension().is_some_and(|e| e == "jnl"));
    journal.unwrap().parent().unwrap().to_path_buf()
}

/// A stopped cluster's folder, with a file in it.
async fn written(data: &Path) {
    let cluster = start_with(data, "v", 1 << 30).await;
    let volume = open(&cluster, "v").await;
    let file = create(&volume, "printed").await;
    file.write(0, Bytes::from(vec![5; 10_000])).await.unwrap();
    file.sync().await.unwrap();
    file.close();
    volume.close().await.unwrap();
    cluster.stop().await;
}

fn good(path: &Path) -> Inspected {
    let inspected = inspect(path, usize::MAX).unwrap();
    assert_eq!(inspected.damages, [], "{}", path.display());
    inspected
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_file_prints_and_a_flipped_byte_is_found() {
    let data = tempfile::tempdir().unwrap();
    written(data.path()).await;
    let mut paths = Vec::new();
    let node = data.path().join("node-1");
    files(&node, &mut paths);
    let index = index_folder(&paths);
    // The database's own files print as one.
    paths.retain(|path| !path.starts_with(&index));
    files(&data.path().join("control"), &mut paths);
    let mut kinds = BTreeMap::<&str, usize>::new();
    let mut meanings = String::new();
    for path in &paths {
        let inspected = good(path);
        *kinds.entry(inspected.kind).or_default() += 1;
        meanings += &serde_json::to_string(&inspected.items).unwrap();
    }
    for kind in ["segment", "state", "checkpoint", "node", "disk", "raft", "ballast"] {
        assert!(kinds.contains_key(kind), "{kind} is missing: {kinds:?}");
    }
    assert!(meanings.contains("printed"), "the file's creation is in the namespace's log");
    let index = serde_json::to_string(&good(&index).items).unwrap();
    assert!(index.contains("'printed' -> File"), "{index}");
    assert!(index.contains("object 2 chunk 0"), "{index}");

    let segment = paths.iter().find(|path| {
        path.extension().is_some_and(|e| e == "segment")
            && std::fs::read(path).unwrap().windows(64).any(|bytes| bytes == [5; 64])
    });
    let Some(segment) = segment else { panic!("no segment of node 1 holds the file") };
    let mut content = std::fs::read(segment).unwrap();
    let at = content.windows(64).position(|bytes| bytes == [5; 64]).unwrap();
    content[at + 100] ^= 1;
    std::fs::write(segment, &content).unwrap();
    let inspected = inspect(segment, 0).unwrap();
    assert_eq!(inspected.damages.len(), 1, "{:?}", inspected.damages);
    assert!(inspected.items.is_empty() && inspected.more > 0, "the limit holds");
    let place: usize = inspected.damages[0].at.parse().unwrap();
    assert!(place < at && at - place < 256, "record at {place}, byte at {at}");
}
