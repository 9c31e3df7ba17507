//! Operations end in a verdict that is true: a whole cluster in one process, asked through the command line.

use super::run::{Run, holdfast};
use bytes::Bytes;
use client::{Options, Volume};
use control::api::volume::Create as CreateVolume;
use holdfast::embedded::{Config, Embedded};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use types::InodeId;
use types::namespace::{Caller, Create, FileKind};
use types::volume::VolumeKind;

const PARTITIONS: u16 = 12;

struct Cluster {
    embedded: Embedded,
    config: Config,
    data: tempfile::TempDir,
}

impl Cluster {
    async fn start(nodes: u64) -> Cluster {
        let _ = tracing_subscriber::fmt().with_env_filter("warn").with_test_writer().try_init();
        let data = tempfile::tempdir().unwrap();
        let (folder, admin_listen) = (data.path().to_path_buf(), "127.0.0.1:0".into());
        let config = Config { data: folder, nodes, admin_listen };
        let embedded = Embedded::start(&config).await.unwrap();
        let data_partitions = Some(PARTITIONS);
        let create =
            CreateVolume { data_partitions, ..CreateVolume::new("main", VolumeKind::File) };
        embedded.member.create_volume(create).await.unwrap();
        Cluster { embedded, config, data }
    }

    /// Runs a command without holding up what else runs here.
    async fn ask(&self, words: &[&str]) -> Run {
        let server = self.embedded.member.admin_address().to_string();
        let words: Vec<String> =
            words.iter().copied().chain(["--server", &server]).map(str::to_owned).collect();
        let run = move || {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            holdfast(&words)
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    async fn json(&self, words: &[&str]) -> Value {
        self.ask(&[words, &["--output", "json"]].concat()).await.json()
    }

    /// Folders of replicas of a node, by its id.
    fn folders(&self, id: u64) -> Vec<String> {
        let at = self.embedded.nodes.iter().position(|node| node.id().0 == id).unwrap();
        let folder = self.data.path().join(format!("node-{}/disk/replicas", at + 1));
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    async fn get(&self, path: &str) -> Value {
        let url = format!("http://{}{path}", self.embedded.member.admin_address());
        let get = move || ureq::get(url).call().unwrap().body_mut().read_to_string().unwrap();
        serde_json::from_str(&tokio::task::spawn_blocking(get).await.unwrap()).unwrap()
    }

    /// The number of the newest operation of a kind. Repair begins by itself and takes one, too.
    async fn last(&self, kind: &str) -> String {
        let all = self.json(&["operation", "list", "--all"]).await;
        let mut of_kind = all.as_array().unwrap().iter().filter(|o| o["kind"] == kind);
        of_kind.next_back().unwrap_or_else(|| panic!("no {kind}: {all:#}"))["id"].to_string()
    }

    /// Looks at an operation until it is in a state.
    async fn until(&self, id: &str, state: &str, within: Duration) -> Value {
        let begun = Instant::now();
        loop {
            let shown = self.json(&["operation", "show", id]).await;
            if shown["state"] == state {
                return shown;
            }
            assert!(begun.elapsed() < within, "never {state}: {shown:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
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

fn content(seed: usize, length: usize) -> Bytes {
    (0..length).map(|at| ((at * 31 + at / 4096 + seed * 7) % 251) as u8).collect::<Vec<u8>>().into()
}

const FILE_BYTES: usize = 2 << 20;

async fn fill(volume: &Volume, files: usize) {
    for number in 0..files {
        let file = create(volume, &format!("f{number}")).await;
        file.write(0, content(number, FILE_BYTES)).await.unwrap();
        file.sync().await.unwrap();
        file.close();
    }
}

async fn verify(volume: &Volume, files: usize) {
    for number in 0..files {
        let name = Bytes::from(format!("f{number}"));
        let attributes = volume.lookup(InodeId::ROOT, name).await.unwrap();
        let file = volume.open_file(&attributes);
        let read = file.read(0, FILE_BYTES).await.unwrap();
        assert!(read == content(number, FILE_BYTES), "file {number} differs");
        file.close();
    }
}

/// Writes small files until it is told to stop; every acknowledged one is read again by [`verify`].
fn write_on(
    volume: Arc<Volume>,
    first: usize,
) -> (Arc<AtomicBool>, tokio::task::JoinHandle<usize>) {
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    let writing = tokio::spawn(async move {
        let next = AtomicU64::new(first as u64);
        while !told.load(Ordering::Relaxed) {
            let number = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
            let file = create(&volume, &format!("f{number}")).await;
            file.write(0, content(number, FILE_BYTES)).await.unwrap();
            file.sync().await.unwrap();
            file.close();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        usize::try_from(next.load(Ordering::Relaxed)).unwrap()
    });
    (stop, writing)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_decommissioned_under_load_and_nothing_is_left() {
    let cluster = Cluster::start(5).await;
    let volume = Arc::new(cluster.embedded.open_volume("main", Options::default()).await.unwrap());
    fill(&volume, 6).await;
    let plan = cluster.ask(&["node", "decommission", "2", "--dry-run"]).await;
    assert_eq!(plan.code, 0, "{plan:?}");
    assert!(plan.out.contains("-> n"), "{}", plan.out);
    assert!(!cluster.folders(2).is_empty(), "a plan changes nothing");
    let (stop, writing) = write_on(volume.clone(), 6);
    let done = cluster.ask(&["node", "decommission", "2", "--yes", "--watch"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(cluster.folders(2), Vec::<String>::new(), "its own folder holds nothing");
    stop.store(true, Ordering::Relaxed);
    let files = writing.await.unwrap();
    verify(&volume, files).await;

    let id = cluster.last("decommission").await;
    let shown = cluster.json(&["operation", "show", &id]).await;
    assert_eq!((&shown["state"], &shown["residue"]), (&"succeeded".into(), &Value::Array(vec![])));
    assert_eq!(shown["evidence"]["left"], 0);
    assert_eq!(shown["progress"]["partitions_done"], shown["progress"]["partitions"]);
    assert!(cluster.json(&["operation", "list"]).await.as_array().unwrap().is_empty());
    let node = cluster.json(&["node", "show", "2"]).await;
    assert_eq!((&node["duty"], &node["replicas"]), (&"left".into(), &0.into()));
    for partition in cluster.json(&["partition", "list"]).await.as_array().unwrap() {
        assert_eq!(partition["in_sync"].as_array().unwrap().len(), 3, "{partition}");
        let replicas = partition["replicas"].as_array().unwrap();
        assert!(replicas.iter().all(|replica| replica["node"] != 2), "{partition}");
    }
    let address = node["address"].as_str().unwrap();
    let path = format!("/dataNode/queryDecommissionProgress?addr={address}");
    let answer = cluster.get(&path).await;
    assert_eq!(answer["code"], 0, "{answer}");
    assert_eq!(answer["data"]["Status"], "Success");
    assert_eq!(answer["data"]["Progress"], "100.00%");
    assert_eq!(answer["data"]["RemainingDpCnt"], 0);
    assert_eq!(answer["data"]["IncompletePartitions"], Value::Array(vec![]));
    let events = cluster.ask(&["events", "--output", "json"]).await;
    let about = format!("\"operation/{id}\"");
    assert!(events.out.lines().any(|line| line.contains(&about) && line.contains("succeeded")));
    drop(volume);
    cluster.embedded.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_target_is_said_at_once_and_a_node_that_comes_heals_it() {
    let mut cluster = Cluster::start(3).await;
    let volume = cluster.embedded.open_volume("main", Options::default()).await.unwrap();
    fill(&volume, 3).await;
    let begun = Instant::now();
    let done = cluster.ask(&["node", "decommission", "3", "--yes", "--watch"]).await;
    assert_eq!(done.code, 2, "the verdict is incomplete: {done:?}");
    assert!(done.out.contains("NO_TARGET"), "{done:?}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let id = cluster.last("decommission").await;
    let left = cluster.until(&id, "incomplete", Duration::from_secs(1)).await;
    assert_eq!(left["blocked"]["reason"], "NO_TARGET");
    assert_eq!(left["residue"].as_array().unwrap().len(), usize::from(PARTITIONS) + 1);
    let address =
        cluster.json(&["node", "show", "3"]).await["address"].as_str().unwrap().to_owned();
    let path = format!("/metaNode/queryDecommissionProgress?addr={address}");
    let answer = cluster.get(&path).await;
    assert_eq!(answer["data"]["Status"], "Success", "what can be moved was: {answer}");
    assert_eq!(answer["data"]["IncompletePartitions"][0]["Reason"], "NO_TARGET");
    let config = cluster.config.clone();
    cluster.embedded.start_node(&config, 4).await.unwrap();
    let done = cluster.ask(&["operation", "watch", &id, "--until-done"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(cluster.folders(3), Vec::<String>::new());
    verify(&volume, 3).await;
    drop(volume);
    cluster.embedded.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_node_leads_nothing_until_it_is_taken_back() {
    let cluster = Cluster::start(4).await;
    let volume = cluster.embedded.open_volume("main", Options::default()).await.unwrap();
    fill(&volume, 3).await;
    let done = cluster.ask(&["node", "drain", "1", "--yes", "--watch"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    let node = cluster.json(&["node", "show", "1"]).await;
    assert_eq!((&node["leads"], &node["duty"]), (&0.into(), &"drained".into()));
    assert!(node["replicas"].as_u64().unwrap() > 0, "it keeps what it has");
    verify(&volume, 3).await;
    let back = cluster.ask(&["node", "recommission", "1"]).await;
    assert_eq!(back.code, 0, "{back:?}");
    assert_eq!(cluster.json(&["node", "show", "1"]).await["duty"], "in-service");
    let again = cluster.ask(&["node", "recommission", "1"]).await;
    assert_eq!(again.code, 4, "it is in service already: {again:?}");
    let done = cluster.ask(&["disk", "decommission", "2", "--yes", "--watch"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(cluster.json(&["disk", "show", "2"]).await["duty"], "left");
    let id = cluster.last("decommission").await;
    let shown = cluster.ask(&["operation", "show", &id, "--partitions"]).await;
    assert!(shown.out.contains("its partitions") && shown.out.contains("copy r"), "{shown:?}");
    let late = cluster.ask(&["operation", "pause", &id]).await;
    assert_eq!(late.code, 4, "it has ended: {late:?}");
    let back = cluster.ask(&["disk", "recommission", "2"]).await;
    assert_eq!(back.code, 0, "{back:?}");
    assert_eq!(cluster.json(&["disk", "show", "2"]).await["duty"], "in-service");
    for words in [&["disk", "recommission", "99"][..], &["node", "drain", "99", "--yes"]] {
        let absent = cluster.ask(words).await;
        assert_eq!(absent.code, 3, "{absent:?}");
    }
    drop(volume);
    cluster.embedded.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_keep_to_the_bandwidth_of_their_operation() {
    let cluster = Cluster::start(4).await;
    let volume = cluster.embedded.open_volume("main", Options::default()).await.unwrap();
    fill(&volume, 16).await;
    let words = ["node", "decommission", "2", "--yes"];
    let refused = cluster.ask(&[&words[..], &["--bandwidth", "1KiB"]].concat()).await;
    assert!(refused.code == 2 && refused.err.contains("256 KiB"), "{refused:?}");
    let begun = Instant::now();
    let limits = ["--bandwidth", "1MiB", "--priority", "3", "--moves-per-disk", "5"];
    let done = cluster.ask(&[&words[..], &limits, &["--watch"]].concat()).await;
    assert_eq!(done.code, 0, "{done:?}");
    // A quarter of 96 MiB goes, from four nodes at most; the first pieces do not wait.
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(3), "{took:?}");
    let shown = cluster.json(&["operation", "show", &cluster.last("decommission").await]).await;
    assert_eq!((&shown["limits"]["bandwidth"], &shown["priority"]), (&(1 << 20).into(), &3.into()));
    assert_eq!(shown["limits"]["moves_per_disk"], 5);
    assert!(done.out.contains("1 MiB a second of a node; priority 3"), "{done:?}");
    verify(&volume, 16).await;
    drop(volume);
    cluster.embedded.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_gets_another_replica_and_a_destroyed_node_is_believed_to_be() {
    let mut cluster = Cluster::start(5).await;
    let volume = cluster.embedded.open_volume("main", Options::default()).await.unwrap();
    fill(&volume, 4).await;
    let plan = cluster.ask(&["volume", "replicate", "main", "--replicas", "4", "--dry-run"]).await;
    assert!(plan.out.contains("+ p1: n"), "{plan:?}");
    let words =
        ["volume", "replicate", "main", "--replicas", "4", "--moves", "3", "--yes", "--watch"];
    let done = cluster.ask(&words).await;
    assert_eq!(done.code, 0, "{done:?}");
    let all_in_sync = |partitions: &Value, count: usize| {
        let all = partitions.as_array().unwrap().iter();
        all.clone().all(|p| p["in_sync"].as_array().unwrap().len() == count) && all.len() > 12
    };
    assert!(all_in_sync(&cluster.json(&["partition", "list"]).await, 4));
    let even = cluster.ask(&["rebalance", "--yes", "--watch"]).await;
    assert_eq!(even.code, 0, "there is nothing to even out: {even:?}");

    let words = ["node", "decommission", "3", "--destroyed", "--yes", "--watch"];
    let refused = cluster.ask(&words).await;
    assert!(refused.code == 4 && refused.err.contains("is in use"), "{refused:?}");
    assert!(cluster.json(&["operation", "list"]).await.as_array().unwrap().is_empty());
    let at = cluster.embedded.nodes.iter().position(|node| node.id().0 == 3).unwrap();
    cluster.embedded.nodes.remove(at).stop().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let done = cluster.ask(&words).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.contains("believed, not proved"), "{done:?}");
    assert!(all_in_sync(&cluster.json(&["partition", "list"]).await, 4));
    verify(&volume, 4).await;
    drop(volume);
    cluster.embedded.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrub_reads_everything_while_it_is_written_to() {
    let cluster = Cluster::start(3).await;
    let volume = Arc::new(cluster.embedded.open_volume("main", Options::default()).await.unwrap());
    fill(&volume, 6).await;
    let (stop, writing) = write_on(volume.clone(), 6);
    let plan = cluster.ask(&["volume", "scrub", "main", "--dry-run"]).await;
    assert!(plan.code == 0 && plan.out.contains("3 replicas are read"), "{plan:?}");
    let done = cluster.ask(&["volume", "scrub", "main", "--watch"]).await;
    assert_eq!(done.code, 0, "writes are no difference: {done:?}");
    stop.store(true, Ordering::Relaxed);
    let files = writing.await.unwrap();
    verify(&volume, files).await;
    let id = cluster.last("scrub").await;
    let shown = cluster.json(&["operation", "show", &id]).await;
    assert_eq!((&shown["kind"], &shown["state"]), (&"scrub".into(), &"succeeded".into()));
    let progress = &shown["progress"];
    assert_eq!(progress["partitions_done"], u64::from(PARTITIONS) + 1, "{shown:#}");
    assert!(progress["bytes_done"].as_u64().unwrap() >= 3 * 6 * FILE_BYTES as u64, "{shown:#}");
    for words in [["disk", "scrub", "1"], ["node", "scrub", "2"], ["partition", "scrub", "3"]] {
        let done = cluster.ask(&[&words[..], &["--watch"]].concat()).await;
        assert_eq!(done.code, 0, "{done:?}");
    }
    drop(volume);
    cluster.embedded.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decommission_says_which_scrub_it_waits_for() {
    let cluster = Cluster::start(4).await;
    let volume = cluster.embedded.open_volume("main", Options::default()).await.unwrap();
    fill(&volume, 12).await;
    let partitions = cluster.json(&["partition", "list"]).await;
    let stored = |partition: &&Value| {
        let replicas = partition["replicas"].as_array().unwrap();
        let here = replicas.iter().find(|replica| replica["node"] == 2);
        here.map_or(0, |replica| replica["bytes"].as_u64().unwrap_or(0))
    };
    let fullest = partitions.as_array().unwrap().iter().max_by_key(stored).unwrap();
    assert!(stored(&fullest) >= FILE_BYTES as u64, "{fullest:#}");
    let id = fullest["id"].to_string();
    // At ten bytes a second it is held for days.
    let held = cluster.ask(&["partition", "scrub", &id, "--bandwidth", "10"]).await;
    assert_eq!(held.code, 0, "{held:?}");
    let begun = Instant::now();
    while cluster.json(&["partition", "locks", &id]).await.as_array().unwrap().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(5), "it is never locked");
    }
    let done = cluster.ask(&["node", "decommission", "2", "--yes", "--watch"]).await;
    assert_eq!(done.code, 2, "{done:?}");
    let (scrub, away) = (cluster.last("scrub").await, cluster.last("decommission").await);
    let left = cluster.until(&away, "incomplete", Duration::from_secs(5)).await;
    let residue = left["residue"].as_array().unwrap();
    assert_eq!(residue.len(), 1, "{left:#}");
    let holder = &residue[0]["holder"];
    assert_eq!(
        (&residue[0]["partition"], &residue[0]["reason"]),
        (&fullest["id"], &"LOCKED".into())
    );
    assert_eq!(
        (holder["operation"].to_string(), &holder["kind"]),
        (scrub.clone(), &"scrub".into())
    );
    assert!(holder["what"].as_str().unwrap().contains(&format!("scrub partition/{id}")));
    let paused = cluster.ask(&["operation", "pause", &scrub]).await;
    assert_eq!(paused.code, 0, "{paused:?}");
    let done = cluster.ask(&["operation", "watch", &away, "--until-done"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(cluster.folders(2), Vec::<String>::new());
    let cancelled = cluster.ask(&["operation", "cancel", &scrub]).await;
    assert_eq!(cancelled.code, 0, "{cancelled:?}");
    verify(&volume, 12).await;
    drop(volume);
    cluster.embedded.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_that_is_deleted_is_so_by_an_operation_that_can_be_followed() {
    let cluster = Cluster::start(3).await;
    let volume = cluster.embedded.open_volume("main", Options::default()).await.unwrap();
    fill(&volume, 2).await;
    volume.close().await.unwrap();
    let told = cluster.ask(&["volume", "delete", "main", "--yes", "--force"]).await;
    assert!(told.code == 0 && told.out.contains("deleted by operation"), "{told:?}");
    let id = cluster.last("delete").await;
    let waits = cluster.until(&id, "running", Duration::from_secs(5)).await;
    assert_eq!(
        (&waits["kind"], &waits["progress"]["partitions_done"]),
        (&"delete".into(), &0.into())
    );
    assert_eq!(cluster.ask(&["volume", "undelete", "main"]).await.code, 0);
    cluster.until(&id, "cancelled", Duration::from_secs(1)).await;
    let again = ["volume", "delete", "main", "--yes", "--force", "--grace", "0s"];
    assert_eq!(cluster.ask(&again).await.code, 0);
    let done = cluster.ask(&["operation", "watch", &cluster.last("delete").await]).await;
    assert_eq!(done.code, 0, "{done:?}");
    for node in 1..=3 {
        assert_eq!(cluster.folders(node), Vec::<String>::new(), "every replica is gone");
    }
    cluster.embedded.stop().await;
}
