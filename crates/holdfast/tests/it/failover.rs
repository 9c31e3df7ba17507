//! Three hosts, each a process with both roles; one is killed at a time, then all.

use bytes::Bytes;
use client::{Client, File, Options, Volume};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use types::InodeId;
use types::limits::FAILOVER_BOUND;
use types::namespace::{Caller, Create, FileKind};
use wire::{Hub, Metrics};
use world::{Net, World};

struct Host {
    config: std::path::PathBuf,
    process: Child,
}

impl Host {
    fn start(config: &Path) -> Child {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(config.with_extension("log"))
            .unwrap();
        Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .arg("server")
            .arg("--config")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn restart(&mut self) {
        self.process = Host::start(&self.config);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Ports that were free a moment ago.
fn ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

fn hosts(folder: &Path) -> (Vec<Host>, Vec<String>, String) {
    let ports: [u16; 9] = ports();
    let wire = |host: usize| format!("127.0.0.1:{}", ports[host * 3]);
    let admin = |host: usize| format!("127.0.0.1:{}", ports[host * 3 + 1]);
    let members: String = (0..3)
        .map(|host| {
            let (wire, admin) = (wire(host), admin(host));
            format!("  {{ id = {}, wire = \"{wire}\", admin = \"{admin}\" }},\n", host + 1)
        })
        .collect();
    let start = |host: usize| {
        let config = folder.join(format!("host-{host}.toml"));
        let text = format!(
            "roles = [\"control\", \"node\"]\ndata = \"{data}\"\n[cluster]\nname = \"test\"\n\
             members = [\n{members}]\n[control]\nid = {id}\nlisten = \"{wire}\"\n\
             admin_listen = \"{admin}\"\n[node]\nlisten = \"127.0.0.1:{node}\"\n",
            data = folder.join(format!("data-{host}")).display(),
            id = host + 1,
            wire = wire(host),
            admin = admin(host),
            node = ports[host * 3 + 2],
        );
        std::fs::write(&config, text).unwrap();
        let process = Host::start(&config);
        Host { config, process }
    };
    ((0..3).map(start).collect(), (0..3).map(wire).collect(), admin(0))
}

fn create_volume(admin: &str) {
    for _ in 0..300 {
        let created = Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .args(["volume", "create", "v", "--kind", "file", "--capacity", "1GiB"])
            .args(["--server", admin])
            .output()
            .unwrap();
        if created.status.success() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("no volume could be created within 30 s");
}

async fn open(members: &[String]) -> Volume {
    let world = World::real(Net::tcp());
    let metrics = Arc::new(Metrics::default());
    let client = Client::new(world, Hub::default(), metrics, members.to_vec());
    client.open_volume("v", Options::default()).await.unwrap()
}

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
    let (mut hosts, members, admin) = hosts(folder.path());
    create_volume(&admin);
    let volume = open(&members).await;
    let file = create(&volume).await;
    let mut lines = 0;
    write_for(&file, &mut lines, Duration::from_secs(1)).await;
    for (number, host) in hosts.iter_mut().enumerate() {
        host.kill();
        let worst = write_for(&file, &mut lines, Duration::from_secs(6)).await;
        assert!(worst < FAILOVER_BOUND, "writes stood still for {worst:?} without host {number}");
        host.restart();
        // It must be back in the in-sync set before the next one goes.
        wait_in_sync(&admin).await;
        write_for(&file, &mut lines, Duration::from_secs(1)).await;
    }
    hosts.iter_mut().for_each(Host::kill);
    hosts.iter_mut().for_each(Host::restart);
    write_for(&file, &mut lines, Duration::from_secs(1)).await;
    verify(&open(&members).await, lines).await;
}

/// Waits until every partition has all its replicas in sync.
async fn wait_in_sync(admin: &str) {
    let mut last = String::new();
    for _ in 0..300 {
        let listed = Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .args(["partition", "list", "--output", "json", "--server", admin])
            .output()
            .unwrap();
        last = String::from_utf8_lossy(&listed.stdout).into_owned();
        let items: Vec<serde_json::Value> = serde_json::from_str(&last).unwrap_or_default();
        if items.len() >= 4 && items.iter().all(|item| item["status"] == "healthy") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not all partitions are healthy after 30 s: {last}");
}
