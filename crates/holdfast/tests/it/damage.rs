//! Damage to what replicas keep on their disks: nobody reads wrong bytes, people are told, and it is
//! mended without them.
//!
//! Each test has three hosts of its own with a replica of everything on each.

use super::cluster::{create, eventually, reopen};
use super::hosts::{Hosts, open};
use bytes::Bytes;
use client::{Error, Volume};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
const FILES: usize = 6;
const FILE_BYTES: usize = 300_000;
const REBUILT_AT_ONCE: &str = "replace_after_seconds = 1";

/// The content of a file: 16 bytes that occur nowhere else, again and again.
fn content(file: usize) -> Vec<u8> {
    (0..FILE_BYTES / 16).flat_map(|at| format!("f{file:03}-{at:010}\n").into_bytes()).collect()
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Changes a byte of a file.
fn flip(path: &Path, at: u64) {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
}

/// Where a host's segments hold some bytes.
fn find(data: &Path, bytes: &[u8]) -> (PathBuf, u64) {
    for path in
        files(data).into_iter().filter(|path| path.extension().is_some_and(|e| e == "segment"))
    {
        let content = std::fs::read(&path).unwrap();
        if let Some(at) = content.windows(bytes.len()).position(|window| window == bytes) {
            return (path, at as u64);
        }
    }
    panic!("no segment of {} holds it", data.display());
}

/// The replicas' folders of a host, by partition.
fn replicas(data: &Path) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(data.join("disk/replicas")).unwrap();
    let mut folders: Vec<PathBuf> = folders.map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

async fn write_all(volume: &Volume) {
    for number in 0..FILES {
        let file = create(volume, &format!("f{number}")).await;
        file.write(0, Bytes::from(content(number))).await.unwrap();
        file.sync().await.unwrap();
        file.close();
    }
}

/// Reads everything with a client that has cached nothing.
async fn read_all(hosts: &Hosts) {
    let volume = open(&hosts.members).await;
    for number in 0..FILES {
        let file = reopen(&volume, &format!("f{number}")).await;
        assert_eq!(file.read(0, FILE_BYTES).await.unwrap(), content(number), "file {number}");
    }
    volume.close().await.unwrap();
}

/// Whether any replica is in this state now.
fn shows(hosts: &Hosts, state: &str) -> bool {
    hosts.partitions().iter().any(|partition| {
        let replicas = partition["replicas"].as_array().unwrap();
        let shown = replicas.iter().any(|replica| replica["state"] == state);
        assert!(!shown || partition["status"] != "healthy", "{partition:#}");
        shown
    })
}

async fn wait_clean(hosts: &Hosts) {
    hosts.wait_healthy().await;
    eventually("fsck finds nothing", SOON, || async { hosts.ask(&["fsck", "v"]).code == 0 }).await;
}

async fn start(folder: &Path) -> Hosts {
    let hosts = Hosts::start(folder, REBUILT_AT_ONCE);
    hosts.create_volume("v");
    hosts.wait_healthy().await;
    let volume = open(&hosts.members).await;
    write_all(&volume).await;
    volume.close().await.unwrap();
    hosts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_in_a_running_cluster_is_mended_and_never_read() {
    let folder = tempfile::tempdir().unwrap();
    let hosts = start(folder.path()).await;
    let good = content(3);
    // One copy each, in the middle of a block and on its first byte.
    for (host, at) in [(0, 0), (1, 100_000), (2, 200_000)] {
        let (segment, place) = find(&hosts.hosts[host].data, &good[at..at + 16]);
        flip(&segment, place + 5);
        read_all(&hosts).await;
        // Followers are not read from; a check reads them, says so, and has them mended.
        wait_clean(&hosts).await;
        find(&hosts.hosts[host].data, &good[at..at + 16]);
    }
    // All copies of one block: nobody can tell what was there.
    let at = 4096 * 16;
    let places: Vec<_> =
        hosts.hosts.iter().map(|host| find(&host.data, &good[at..at + 16])).collect();
    places.iter().for_each(|(segment, place)| flip(segment, place + 5));
    let volume = open(&hosts.members).await;
    let file = reopen(&volume, "f3").await;
    let read = file.read(at as u64, 100).await;
    assert!(matches!(read, Err(Error::Damaged(_))), "{read:?}");
    assert_eq!(file.read(0, at).await.unwrap(), good[..at], "what is before it is good");
    eventually("the damage shows", SOON, || async { shows(&hosts, "damaged") }).await;
    assert_ne!(hosts.ask(&["fsck", "v"]).code, 0);
    // Somebody finds one of them after all.
    flip(&places[1].0, places[1].1 + 5);
    assert_eq!(file.read(at as u64, 100).await.unwrap(), good[at..at + 100]);
    wait_clean(&hosts).await;
    read_all(&hosts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrub_finds_and_mends_what_nobody_reads() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = super::cluster::start_with(folder.path(), "v", 1 << 30).await;
    let volume = super::cluster::open(&cluster, "v").await;
    write_all(&volume).await;
    let good = content(2);
    let nodes = [1, 2, 3].map(|node| folder.path().join(format!("node-{node}")));
    let places: Vec<_> = nodes.iter().map(|node| find(node, &good[4000..4016])).collect();
    // Two of three, so that at least one is of a follower.
    for (segment, place) in &places[..2] {
        flip(segment, place + 3);
    }
    cluster.nodes.iter().for_each(node::Node::scrub);
    eventually("both are mended", SOON, || async {
        let byte = |(segment, place): &(PathBuf, u64)| {
            let mut bytes = [0; 16];
            std::fs::File::open(segment).unwrap().read_exact_at(&mut bytes, *place).unwrap();
            bytes
        };
        places.iter().all(|place| byte(place) == good[4000..4016])
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrub_that_is_asked_for_tells_of_damage_and_succeeds_once_it_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let hosts = start(folder.path()).await;
    let clean = hosts.ask(&["volume", "scrub", "v", "--watch"]);
    assert_eq!(clean.code, 0, "{clean:?}");
    let good = content(2);
    for (host, at) in [(0, 4000), (1, 8000), (2, 12_000)] {
        let (segment, place) = find(&hosts.hosts[host].data, &good[at..at + 16]);
        flip(&segment, place + 3);
    }
    let found = hosts.ask(&["volume", "scrub", "v", "--watch", "--output", "json"]);
    // It may be mended and read again before anybody looks.
    assert!(found.code == 2 && found.out.contains("DAMAGED") || found.code == 0, "{found:?}");
    // Repair may have taken a number meanwhile.
    let id = serde_json::from_str::<serde_json::Value>(&found.out).unwrap()["id"].to_string();
    let done = hosts.ask(&["operation", "watch", &id, "--until-done"]);
    assert_eq!(done.code, 0, "{done:?}");
    let shown = hosts.ask(&["operation", "show", &id, "--output", "json"]).json();
    let items = shown["partitions"].as_array().unwrap().iter();
    let histories = items.flat_map(|item| item["history"].as_array().unwrap().clone());
    let damages = histories.filter(|e| e["what"].as_str().unwrap().starts_with("left: DAMAGED"));
    assert!(damages.count() > 0, "it is on record: {shown:#}");
    wait_clean(&hosts).await;
    read_all(&hosts).await;
}

/// Damages what a stopped host keeps of its four partitions, in a way for each, and starts it again.
async fn damage_stopped(hosts: &mut Hosts, host: usize, harm: [fn(&Path); 4]) {
    hosts.hosts[host].stop();
    for (replica, harm) in replicas(&hosts.hosts[host].data).iter().zip(harm) {
        harm(replica);
    }
    hosts.hosts[host].restart();
    eventually("a replica shows as failed", SOON, || async { shows(hosts, "failed") }).await;
    read_all(hosts).await;
    wait_clean(hosts).await;
    read_all(hosts).await;
}

fn checkpoint(replica: &Path) -> PathBuf {
    let is_checkpoint = |path: &PathBuf| path.display().to_string().contains("/checkpoint-");
    files(replica).into_iter().find(is_checkpoint).unwrap()
}

fn segment(replica: &Path) -> PathBuf {
    files(&replica.join("log")).into_iter().next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_to_a_stopped_replica_has_it_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut hosts = start(folder.path()).await;
    let flips: [fn(&Path); 4] = [
        |replica| flip(&checkpoint(replica), 20),
        |replica| flip(&replica.join("state"), 20),
        |replica| flip(&segment(replica), 9),
        |replica| std::fs::write(replica.join("state"), b"").unwrap(),
    ];
    damage_stopped(&mut hosts, 0, flips).await;
    let removals: [fn(&Path); 4] = [
        |replica| std::fs::remove_dir_all(replica.join("log")).unwrap(),
        |replica| std::fs::remove_file(segment(replica)).unwrap(),
        |replica| std::fs::remove_file(replica.join("state")).unwrap(),
        |replica| {
            let length = std::fs::metadata(segment(replica)).unwrap().len();
            let file = std::fs::File::options().write(true).open(segment(replica)).unwrap();
            file.set_len(length / 2).unwrap();
        },
    ];
    damage_stopped(&mut hosts, 1, removals).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_index_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut hosts = start(folder.path()).await;
    // Bytes in every file of the database.
    hosts.hosts[0].stop();
    for path in files(&hosts.hosts[0].data.join("disk/index")) {
        let length = std::fs::metadata(&path).unwrap().len();
        for at in [length / 3, length / 2, length.saturating_sub(20)] {
            if length > at {
                flip(&path, at);
            }
        }
    }
    hosts.hosts[0].restart();
    eventually("a replica shows as failed", SOON, || async { shows(&hosts, "failed") }).await;
    read_all(&hosts).await;
    wait_clean(&hosts).await;
    // All of it is gone, as after a disk was exchanged for an empty one.
    hosts.hosts[1].stop();
    std::fs::remove_dir_all(hosts.hosts[1].data.join("disk/index")).unwrap();
    hosts.hosts[1].restart();
    eventually("a replica shows as failed", SOON, || async { shows(&hosts, "failed") }).await;
    wait_clean(&hosts).await;
    read_all(&hosts).await;
}
