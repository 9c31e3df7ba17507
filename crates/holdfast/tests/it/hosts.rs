//! Three hosts on loopback, each a process with both roles.

use super::run::{Run, holdfast};
use client::{Client, Options, Volume};
use serde_json::Value;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use wire::{Hub, Metrics};
use world::{Net, World};

/// One process.
pub(super) struct Host {
    config: PathBuf,
    /// Where it keeps what it stores.
    pub(super) data: PathBuf,
    process: Child,
}

impl Host {
    /// Starts a process; what it is to do is in `config`.
    pub(super) fn run(config: PathBuf, data: PathBuf) -> Host {
        let process = Host::start(&config);
        Host { config, data, process }
    }

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

    /// Ends it at once.
    pub(super) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Asks it to end, and waits until it has written everything.
    pub(super) fn stop(&mut self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.process.wait().unwrap().success(), "{}", self.log());
    }

    pub(super) fn restart(&mut self) {
        self.process = Host::start(&self.config);
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it has logged.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.config.with_extension("log")).unwrap_or_default()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A cluster of three.
pub(super) struct Hosts {
    pub(super) hosts: Vec<Host>,
    /// Where the members of the control plane listen.
    pub(super) members: Vec<String>,
    /// The admin API of the first.
    pub(super) admin: String,
    /// Of each: its member of the control plane, its admin API, its node.
    pub(super) addresses: Vec<[String; 3]>,
}

/// Ports that were free a moment ago.
pub(super) fn ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

impl Hosts {
    /// Starts all; `control` are further settings of the control plane.
    pub(super) fn start(folder: &Path, control: &str) -> Hosts {
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
            let data = folder.join(format!("data-{host}"));
            let text = format!(
                "roles = [\"control\", \"node\"]\ndata = \"{data}\"\n[cluster]\nname = \"test\"\n\
                 members = [\n{members}]\n[control]\nid = {id}\nlisten = \"{wire}\"\n\
                 admin_listen = \"{admin}\"\n{control}\n[node]\nlisten = \"127.0.0.1:{node}\"\n",
                data = data.display(),
                id = host + 1,
                wire = wire(host),
                admin = admin(host),
                node = ports[host * 3 + 2],
            );
            std::fs::write(&config, text).unwrap();
            Host::run(config, data)
        };
        let hosts = (0..3).map(start).collect();
        let node = |host: usize| format!("127.0.0.1:{}", ports[host * 3 + 2]);
        let addresses = (0..3).map(|host| [wire(host), admin(host), node(host)]).collect();
        Hosts { hosts, members: (0..3).map(wire).collect(), admin: admin(0), addresses }
    }

    /// Runs a command of a person.
    pub(super) fn ask(&self, words: &[&str]) -> Run {
        holdfast(&[words, &["--server", &self.admin]].concat())
    }

    /// Creates a file volume of 1 GiB, as soon as that can be done.
    pub(super) fn create_volume(&self, name: &str) {
        for _ in 0..300 {
            let words = ["volume", "create", name, "--kind", "file", "--capacity", "1GiB"];
            if self.ask(&words).code == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("no volume could be created within 30 s");
    }

    /// All partitions, as the admin API shows them; none while it does not answer.
    pub(super) fn partitions(&self) -> Vec<Value> {
        let listed = self.ask(&["partition", "list", "--output", "json"]);
        serde_json::from_str(&listed.out).unwrap_or_default()
    }

    /// Waits until every partition has all its replicas in sync, and all of them are good.
    pub(super) async fn wait_healthy(&self) {
        let mut last = Vec::new();
        for _ in 0..400 {
            last = self.partitions();
            if last.len() >= 4 && last.iter().all(|item| item["status"] == "healthy") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("not all partitions are healthy after 40 s: {last:#?}");
    }
}

/// One more client of the volume `v`.
pub(super) async fn open(members: &[String]) -> Volume {
    let world = World::real(Net::tcp());
    let metrics = Arc::new(Metrics::default());
    let client = Client::new(world, Hub::default(), metrics, members.to_vec());
    client.open_volume("v", Options::default()).await.unwrap()
}
