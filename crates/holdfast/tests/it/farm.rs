//! A cluster of processes on loopback: three members of the control plane, and as many nodes as a
//! test wants, each a process of its own.

use super::fleet::device;
use super::hosts::{Host, ports};
use super::run::{Run, holdfast};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Gone when it is dropped.
pub(super) struct Farm {
    folder: PathBuf,
    pub(super) members: Vec<Host>,
    pub(super) nodes: Vec<Host>,
    /// What a configuration says of the members.
    listed: String,
    /// Where the members' admin APIs listen.
    admin: Vec<String>,
    /// Where nodes listen for Prometheus.
    metrics: Vec<String>,
    mounts: Vec<(PathBuf, Child)>,
}

/// Where a node listens, before it does.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) listen: String,
    metrics: String,
    /// Further settings of the node.
    pub(super) settings: String,
}

impl Site {
    pub(super) fn new() -> Site {
        let [wire, metrics] = ports().map(|port| format!("127.0.0.1:{port}"));
        Site { listen: wire, metrics, settings: String::new() }
    }
}

impl Farm {
    /// Starts the control plane; `control` are further settings of it.
    pub(super) fn start(folder: &Path, control: &str) -> Farm {
        let ports: [u16; 6] = ports();
        let at = |number: usize| format!("127.0.0.1:{}", ports[number]);
        let listed: String = (0..3)
            .map(|member| {
                let (wire, admin) = (at(member * 2), at(member * 2 + 1));
                format!("  {{ id = {}, wire = \"{wire}\", admin = \"{admin}\" }},\n", member + 1)
            })
            .collect();
        let admin = (0..3).map(|member| at(member * 2 + 1)).collect();
        let mut farm = Farm {
            folder: folder.to_owned(),
            members: Vec::new(),
            nodes: Vec::new(),
            listed,
            admin,
            metrics: Vec::new(),
            mounts: Vec::new(),
        };
        for member in 0..3 {
            let (wire, admin) = (at(member * 2), at(member * 2 + 1));
            let part = format!(
                "[control]\nid = {}\nlisten = \"{wire}\"\nadmin_listen = \"{admin}\"\n{control}\n",
                member + 1
            );
            let host = farm.host(&format!("control-{member}"), "control", &part);
            farm.members.push(host);
        }
        farm
    }

    fn host(&self, name: &str, role: &str, part: &str) -> Host {
        let (config, data) = (self.folder.join(format!("{name}.toml")), self.folder.join(name));
        let text = format!(
            "roles = [\"{role}\"]\ndata = \"{}\"\n[cluster]\nname = \"farm\"\nmembers = [\n{}]\n{part}",
            data.display(),
            self.listed
        );
        std::fs::write(&config, text).unwrap();
        Host::run(config, data)
    }

    /// Starts one more node.
    pub(super) fn add_node(&mut self, site: &Site) {
        let Site { listen, metrics, settings } = site;
        let part =
            format!("[node]\nlisten = \"{listen}\"\nmetrics_listen = \"{metrics}\"\n{settings}\n");
        let host = self.host(&format!("node-{}", self.nodes.len()), "node", &part);
        self.nodes.push(host);
        self.metrics.push(metrics.clone());
    }

    /// Runs a command of a person, who asks the first member that answers well.
    pub(super) fn ask(&self, words: &[&str]) -> Run {
        let mut runs = self.admin.iter().map(|at| holdfast(&[words, &["--server", at]].concat()));
        let first = runs.next().expect("there are members");
        if first.code == 0 { first } else { runs.find(|run| run.code == 0).unwrap_or(first) }
    }

    /// What a command says to a program, as soon as somebody answers well.
    pub(super) fn json(&self, words: &[&str]) -> Value {
        let words = [words, &["--output", "json"]].concat();
        let mut last = None;
        self.until(&format!("{words:?}"), Duration::from_secs(30), || {
            let run = self.ask(&words);
            last = serde_json::from_str(&run.out).ok().filter(|_| run.code == 0);
            last.is_some()
        });
        last.expect("it was waited for")
    }

    /// All of a list.
    pub(super) fn list(&self, words: &[&str]) -> Vec<Value> {
        self.json(words).as_array().expect("a list").clone()
    }

    /// Waits until something holds; what it has logged is shown when it never does.
    pub(super) fn until(&self, what: &str, within: Duration, mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < within, "not within {within:?}: {what}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Creates the volume `v` once every node is there, so that each gets its share; who asks again because an
    /// answer was lost finds it there.
    pub(super) fn create_volume(&self, words: &[&str]) {
        self.until("every node is there", Duration::from_secs(60), || {
            let nodes = self.list(&["node", "list"]);
            nodes.iter().filter(|node| node["status"] == "online").count() == self.nodes.len()
        });
        let words = [&["volume", "create", "v", "--kind", "file", "--no-wait"], words].concat();
        self.until("a volume", Duration::from_secs(60), || {
            let run = self.ask(&words);
            run.code == 0 || !self.list(&["volume", "list"]).is_empty()
        });
    }

    /// Waits until every partition has all its replicas in sync, and all of them are good.
    pub(super) fn wait_healthy(&self, within: Duration) {
        self.until("all partitions healthy", within, || {
            let listed = self.list(&["partition", "list"]);
            !listed.is_empty() && listed.iter().all(|item| item["status"] == "healthy")
        });
    }

    /// The id that the control plane gave a node.
    pub(super) fn node_id(&self, site: &Site) -> String {
        let nodes = self.list(&["node", "list"]);
        let says = format!("{}{}", site.listen, site.settings);
        let known = |node: &&Value| node["address"].as_str().is_some_and(|at| says.contains(at));
        nodes.iter().find(known).expect("it has joined")["id"].to_string()
    }

    /// Mounts the volume on a new folder.
    pub(super) fn mount(&mut self, name: &str) -> PathBuf {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let before = device(&folder);
        let log = std::fs::File::create(self.folder.join(format!("{name}.log"))).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .args(["mount", "v", "--foreground", "--server", &self.admin[0]])
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.mounts.push((folder.clone(), process));
        self.until("a mount", Duration::from_secs(30), || device(&folder) != before);
        folder
    }

    /// Unmounts in order; everything must have been written back.
    pub(super) fn unmount(&mut self, folder: &Path) {
        let at = self.mounts.iter().position(|(mounted, _)| mounted == folder).unwrap();
        let (_, mut process) = self.mounts.remove(at);
        let run = holdfast(&["unmount", &folder.display().to_string()]);
        assert_eq!(run.code, 0, "{run:?}");
        assert!(process.wait().unwrap().success());
    }

    /// The member that leads the control plane, when one is known to.
    pub(super) fn leader(&self) -> Option<usize> {
        let run = self.ask(&["status", "--output", "json"]);
        let status: Value = serde_json::from_str(&run.out).ok()?;
        status["members"].as_array()?.iter().position(|member| member["status"] == "leader")
    }

    /// A counter of a node, by its name as Prometheus sees it.
    pub(super) fn counter(&self, node: usize, name: &str) -> u64 {
        let url = format!("http://{}/metrics", self.metrics[node]);
        let text = ureq::get(url).call().unwrap().body_mut().read_to_string().unwrap();
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        let named = lines.filter(|(key, _)| key.split('{').next() == Some(name));
        named.map(|(_, value)| value.parse::<f64>().unwrap() as u64).sum()
    }

    /// The folders of replicas on a node's own disk.
    pub(super) fn folders(&self, node: usize) -> Vec<String> {
        let folder = self.nodes[node].data.join("disk/replicas");
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        for (folder, process) in &mut self.mounts {
            let _ = Command::new("umount").arg("-l").arg(folder).output();
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
