//! A cluster of server processes, each host in a network namespace of its own.
//!
//! ```text
//!   h1: control 1, node 1    h2: ...    h3: ...    c: the mount
//!        10.77.0.1              .2        .3          .4 (and .5: another mount)
//!            \___________________|_________|__________/
//!                        a bridge (namespace b)
//! ```
//!
//! Nothing of it is on loopback, so it speaks TLS with certificates of its own authority, and the
//! admin API asks for a token. A link is cut by teaching a host a wrong hardware address of the
//! other: what it sends goes nowhere and nobody is told, as with a dead cable. Needs root.

use super::run::Run;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const TOKEN: &str = "a token that is long enough";
pub(super) const HOSTS: usize = 3;
/// The machine that mounts counts as one more, and so does another one.
pub(super) const CLIENT: usize = HOSTS;
pub(super) const OTHER_CLIENT: usize = HOSTS + 1;
/// How many machines there are in all.
const PLACES: usize = HOSTS + 2;

/// One process of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Control,
    Node,
}

/// The whole cluster; gone when it is dropped.
pub(super) struct Fleet {
    folder: PathBuf,
    /// Prefix of our namespaces.
    net: String,
    processes: [[Option<Child>; 2]; HOSTS],
    mounts: Vec<(PathBuf, Child)>,
}

/// Runs a program that must succeed.
fn sh(program: &str, words: &[&str]) {
    let output = Command::new(program).args(words).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {words:?} (as root?): {said}");
}

fn address(host: usize) -> String {
    format!("10.77.0.{}", host + 1)
}

impl Fleet {
    /// Makes networks and certificates, and starts everything.
    pub(super) fn start(folder: &Path) -> Fleet {
        let net = format!("hf{}", std::process::id());
        let processes = Default::default();
        let mut fleet = Fleet { folder: folder.to_owned(), net, processes, mounts: Vec::new() };
        fleet.connect();
        fleet.certify();
        for host in 0..HOSTS {
            fleet.configure(host);
            fleet.restart(host, Part::Control);
            fleet.restart(host, Part::Node);
        }
        fleet
    }

    fn namespace(&self, name: &str) -> String {
        format!("{}-{name}", self.net)
    }

    fn host(&self, host: usize) -> String {
        match host {
            CLIENT => self.client(),
            OTHER_CLIENT => self.namespace("d"),
            host => self.namespace(&format!("h{}", host + 1)),
        }
    }

    fn client(&self) -> String {
        self.namespace("c")
    }

    fn connect(&self) {
        let bridge = self.namespace("b");
        sh("ip", &["netns", "add", &bridge]);
        sh("ip", &["-n", &bridge, "link", "add", "br0", "type", "bridge"]);
        sh("ip", &["-n", &bridge, "link", "set", "br0", "up"]);
        for place in 0..PLACES {
            let (name, number) = (self.host(place), place + 1);
            let port = format!("port{number}");
            sh("ip", &["netns", "add", &name]);
            sh(
                "ip",
                &[
                    "-n", &bridge, "link", "add", &port, "type", "veth", "peer", "name", "eth0",
                    "netns", &name,
                ],
            );
            sh("ip", &["-n", &bridge, "link", "set", &port, "master", "br0", "up"]);
            sh("ip", &["-n", &name, "addr", "add", &format!("10.77.0.{number}/24"), "dev", "eth0"]);
            sh("ip", &["-n", &name, "link", "set", "eth0", "up"]);
            sh("ip", &["-n", &name, "link", "set", "lo", "up"]);
        }
    }

    fn certify(&self) {
        let pki = self.path("pki");
        sh(env!("CARGO_BIN_EXE_holdfast"), &["ca", "init", "--dir", &pki]);
        for host in 0..HOSTS {
            let (name, address) = (format!("host-{host}"), address(host));
            let issue = ["ca", "issue", &name, "--dir", &pki, "--address", &address];
            sh(env!("CARGO_BIN_EXE_holdfast"), &issue);
        }
        sh(env!("CARGO_BIN_EXE_holdfast"), &["ca", "issue", "client", "--client", "--dir", &pki]);
        std::fs::write(self.folder.join("token"), TOKEN).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn configure(&self, host: usize) {
        let members: String = (0..HOSTS)
            .map(|host| {
                let (at, id) = (address(host), host + 1);
                format!("  {{ id = {id}, wire = \"{at}:7401\", admin = \"{at}:7400\" }},\n")
            })
            .collect();
        let (at, id, pki) = (address(host), host + 1, self.path("pki"));
        for (part, role) in [(Part::Control, "control"), (Part::Node, "node")] {
            let data = self.path(&format!("{role}-{host}"));
            let text = format!(
                "roles = [\"{role}\"]\ndata = \"{data}\"\n\
                 [cluster]\nname = \"test\"\nmembers = [\n{members}]\n\
                 [control]\nid = {id}\nlisten = \"{at}:7401\"\nadmin_listen = \"{at}:7400\"\n\
                 admin_token_file = \"{token}\"\n[node]\nlisten = \"{at}:7402\"\n\
                 [tls]\nca = \"{pki}/ca.pem\"\ncertificate = \"{pki}/host-{host}.pem\"\n\
                 key = \"{pki}/host-{host}.key\"\n",
                token = self.path("token"),
            );
            std::fs::write(self.config(host, part), text).unwrap();
        }
    }

    fn config(&self, host: usize, part: Part) -> PathBuf {
        self.folder.join(format!("{part:?}-{host}.toml").to_lowercase())
    }

    /// Begins a command line that runs in a namespace. Mounts made by it are seen everywhere.
    fn within(&self, namespace: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{namespace}"));
        command.arg(env!("CARGO_BIN_EXE_holdfast")).stdin(Stdio::null());
        command
    }

    /// Starts one process again.
    pub(super) fn restart(&mut self, host: usize, part: Part) {
        let config = self.config(host, part);
        let log = File::options().create(true).append(true).open(config.with_extension("log"));
        let process = self
            .within(&self.host(host))
            .args(["server", "--config"])
            .arg(config)
            .stdout(Stdio::null())
            .stderr(log.unwrap())
            .spawn()
            .unwrap();
        self.processes[host][part as usize] = Some(process);
    }

    /// Kills one process, without a chance to do anything more.
    pub(super) fn kill(&mut self, host: usize, part: Part) {
        if let Some(mut process) = self.processes[host][part as usize].take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts whatever does not run.
    pub(super) fn restart_all(&mut self) {
        for host in 0..HOSTS {
            for part in [Part::Control, Part::Node] {
                if self.processes[host][part as usize].is_none() {
                    self.restart(host, part);
                }
            }
        }
    }

    /// Nothing that one host sends to the other arrives any more.
    pub(super) fn cut(&self, from: usize, to: usize) {
        let at = address(to);
        sh(
            "ip",
            &[
                "-n",
                &self.host(from),
                "neigh",
                "replace",
                &at,
                "lladdr",
                "02:00:00:00:de:ad",
                "dev",
                "eth0",
                "nud",
                "permanent",
            ],
        );
    }

    /// A host loses all its cables, or its power: it talks to nobody and nobody to it.
    pub(super) fn isolate(&self, host: usize) {
        for other in (0..PLACES).filter(|other| *other != host) {
            self.cut(host, other);
            self.cut(other, host);
        }
    }

    /// Plugs a host in again.
    pub(super) fn plug_in(&self, host: usize) {
        for other in (0..PLACES).filter(|other| *other != host) {
            self.join(host, other);
            self.join(other, host);
        }
    }

    /// Takes a cut back.
    pub(super) fn join(&self, from: usize, to: usize) {
        let at = address(to);
        sh("ip", &["-n", &self.host(from), "neigh", "del", &at, "dev", "eth0"]);
    }

    /// Runs a command of a person, who asks the first member that answers. When none says yes, what the last one said
    /// that could be reached (code 5 says that it could not).
    pub(super) fn ask(&self, words: &[&str]) -> Run {
        let mut last: Option<Run> = None;
        for host in 0..HOSTS {
            let run = self.ask_member(host, words);
            if run.code == 0 {
                return run;
            }
            if run.code != 5 || last.is_none() {
                last = Some(run);
            }
        }
        last.expect("there is a host")
    }

    /// Waits until the admin API of a host answers.
    pub(super) fn wait_member(&self, host: usize) {
        let begun = Instant::now();
        while self.ask_member(host, &["status"]).code != 0 {
            assert!(begun.elapsed() < Duration::from_secs(30), "member {host} does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn ask_member(&self, host: usize, words: &[&str]) -> Run {
        let mut command = self.within(&self.client());
        command.args(words).arg("--server").arg(format!("https://{}:7400", address(host)));
        command.env("HOLDFAST_TOKEN", TOKEN).env("HOLDFAST_CA", self.path("pki/ca.pem"));
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Run {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// A member whose process runs.
    fn server(&self) -> String {
        let runs = |host: &usize| self.processes[*host][Part::Control as usize].is_some();
        let host = (0..HOSTS).find(runs).expect("one of them runs");
        format!("https://{}:7400", address(host))
    }

    /// Checks a volume while nothing writes to it.
    pub(super) fn fsck(&self, volume: &str) -> Run {
        self.ask_directly(&["fsck", volume])
    }

    /// Runs a command that speaks to the nodes themselves.
    pub(super) fn ask_directly(&self, words: &[&str]) -> Run {
        let (certificate, key) = (self.path("pki/client.pem"), self.path("pki/client.key"));
        let shown = ["--certificate", &certificate, "--key", &key];
        self.ask(&words.iter().copied().chain(shown).collect::<Vec<_>>())
    }

    /// Mounts a volume on a new folder.
    pub(super) fn mount(&mut self, volume: &str, name: &str) -> PathBuf {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let before = device(&folder);
        let log = File::options().create(true).append(true).open(self.path("mount.log")).unwrap();
        let process = self
            .within(&self.client())
            .args(["mount", volume, "--foreground"])
            .arg(&folder)
            .args(["--server", &self.server()])
            .args(["--certificate", &self.path("pki/client.pem")])
            .args(["--key", &self.path("pki/client.key")])
            .env("HOLDFAST_TOKEN", TOKEN)
            .env("HOLDFAST_CA", self.path("pki/ca.pem"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.mounts.push((folder.clone(), process));
        let begun = Instant::now();
        while device(&folder) == before {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "not mounted: {}",
                self.log("mount")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        folder
    }

    /// Mounts a volume on a new folder, as a supervisor does; further words go on the command line.
    pub(super) fn supervise(&self, volume: &str, name: &str, words: &[&str]) -> Supervised {
        self.supervise_at(CLIENT, volume, name, words)
    }

    /// The same, on one of the machines that mount.
    pub(super) fn supervise_at(
        &self,
        place: usize,
        volume: &str,
        name: &str,
        words: &[&str],
    ) -> Supervised {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let before = device(&folder);
        let file = |kind: &str| File::create(self.path(&format!("{name}.{kind}"))).unwrap();
        let process = self
            .within(&self.host(place))
            .args(["mount", volume, "--foreground", "--json-log"])
            .arg(&folder)
            .args(["--server", &self.server()])
            .args(["--certificate", &self.path("pki/client.pem")])
            .args(["--key", &self.path("pki/client.key")])
            .args(words)
            .env("HOLDFAST_TOKEN", TOKEN)
            .env("HOLDFAST_CA", self.path("pki/ca.pem"))
            .stdout(file("out"))
            .stderr(file("err"))
            .spawn()
            .unwrap();
        let said = self.path(name);
        let mut mount = Supervised { folder, process, said };
        let begun = Instant::now();
        while device(&mount.folder) == before {
            let ended = mount.process.try_wait().unwrap();
            assert!(ended.is_none() && begun.elapsed() < Duration::from_secs(30), "{mount:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        mount
    }

    /// Asks again while nobody leads the control plane, or its leader changes (code 5).
    pub(super) fn ask_patiently(&self, words: &[&str]) -> Run {
        let begun = Instant::now();
        loop {
            let run = self.ask(words);
            if run.code != 5 || begun.elapsed() > Duration::from_secs(30) {
                return run;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Makes a token of a volume, and keeps it in a file.
    pub(super) fn token(&self, volume: &str, rights: &str) -> String {
        let words = ["volume", "token", "create", volume, "--rights", rights, "--force"];
        let made = self.ask_patiently(&words);
        assert_eq!(made.code, 0, "{made:?}");
        let number = std::fs::read_dir(&self.folder).unwrap().count();
        let file = self.path(&format!("token-{volume}-{number}"));
        std::fs::write(&file, made.out).unwrap();
        file
    }

    /// Where a member of the control plane keeps its record.
    pub(super) fn control_data(&self, host: usize) -> PathBuf {
        self.folder.join(format!("control-{host}"))
    }

    /// Runs a line of shell where the mounts are.
    pub(super) fn shell_at_client(&self, line: &str) -> String {
        let net = format!("--net=/run/netns/{}", self.client());
        let output = Command::new("nsenter").args([&net, "bash", "-c", line]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The host whose member leads the control plane, when one is known to.
    pub(super) fn control_leader(&self) -> Option<usize> {
        let listed = self.ask(&["status", "--output", "json"]);
        let status: serde_json::Value = serde_json::from_str(&listed.out).ok()?;
        let members = status["members"].as_array()?;
        members.iter().position(|member| member["status"] == "leader")
    }

    /// The client talks to nobody and nobody to it.
    pub(super) fn isolate_client(&self) {
        self.isolate(CLIENT);
    }

    /// Plugs the client in again.
    pub(super) fn plug_in_client(&self) {
        self.plug_in(CLIENT);
    }

    /// Where a node keeps its disk.
    pub(super) fn disk(&self, host: usize) -> PathBuf {
        self.folder.join(format!("node-{host}"))
    }

    /// Unmounts in order; everything must have been written back.
    pub(super) fn unmount(&mut self, folder: &Path) {
        let at = self.mounts.iter().position(|(mounted, _)| mounted == folder).unwrap();
        let (_, mut process) = self.mounts.remove(at);
        sh(env!("CARGO_BIN_EXE_holdfast"), &["unmount", &folder.display().to_string()]);
        assert!(process.wait().unwrap().success(), "{}", self.log("mount"));
    }

    /// Waits until all replicas of all partitions are in sync.
    pub(super) fn wait_healthy(&self, within: Duration) -> Duration {
        let begun = Instant::now();
        loop {
            let listed = self.ask(&["partition", "list", "--output", "json"]);
            let items: Vec<serde_json::Value> =
                serde_json::from_str(&listed.out).unwrap_or_default();
            let healthy = |item: &serde_json::Value| item["status"] == "healthy";
            if items.len() >= 4 && items.iter().all(healthy) {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < within, "not healthy within {within:?}: {listed:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// What a process has logged, for instance `node-0`.
    pub(super) fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name).with_extension("log")).unwrap_or_default()
    }
}

/// What a folder lies on; another one once something is mounted there.
pub(super) fn device(folder: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(folder).ok().map(|metadata| metadata.dev())
}

/// How many threads a process has, and how many open connections to the kernel's file systems.
pub(super) fn load(pid: u32) -> (usize, usize) {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count();
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let is_fuse = |entry: &std::fs::DirEntry| {
        std::fs::read_link(entry.path()).is_ok_and(|to| to == Path::new("/dev/fuse"))
    };
    (threads, descriptors.filter_map(Result::ok).filter(is_fuse).count())
}

/// A mount with somebody who waits for its end.
pub(super) struct Supervised {
    pub(super) folder: PathBuf,
    process: Child,
    /// Where its words go, but for the ending.
    said: String,
}

impl std::fmt::Debug for Supervised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n{}\n{}", self.folder.display(), self.read("out"), self.read("err"))
    }
}

impl Supervised {
    pub(super) fn read(&self, kind: &str) -> String {
        std::fs::read_to_string(format!("{}.{kind}", self.said)).unwrap_or_default()
    }

    pub(super) fn load(&self) -> (usize, usize) {
        load(self.process.id())
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    pub(super) fn terminate(&self) {
        self.signal("TERM");
    }

    pub(super) fn signal(&self, name: &str) {
        sh("kill", &[&format!("-{name}"), &self.process.id().to_string()]);
    }

    /// Waits for its end: the exit code and the final line. Nothing may be left of the mount.
    pub(super) fn end(&mut self, within: Duration) -> (i32, serde_json::Value) {
        let begun = Instant::now();
        while self.is_running() {
            assert!(begun.elapsed() < within, "not ended within {within:?}: {self:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        let code = self.process.wait().unwrap().code().unwrap_or(-1);
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let place = format!(" {} ", self.folder.display());
        assert!(!mounts.contains(&place), "a mount point is left behind: {self:?}");
        assert!(std::fs::read_dir(&self.folder).unwrap().next().is_none(), "{self:?}");
        let out = self.read("out");
        let line = out.lines().last().unwrap_or_else(|| panic!("no final line: {self:?}"));
        (code, serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {self:?}")))
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = Command::new("umount").arg("-l").arg(&self.folder).output();
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for (folder, process) in &mut self.mounts {
            let _ = Command::new("umount").arg("-l").arg(&*folder).output();
            let _ = process.kill();
            let _ = process.wait();
        }
        for process in self.processes.iter_mut().flatten().flatten() {
            let _ = process.kill();
            let _ = process.wait();
        }
        let hosts = (0..PLACES).map(|host| self.host(host));
        for name in hosts.chain([self.namespace("b")]) {
            let _ = Command::new("ip").args(["netns", "del", &name]).output();
        }
    }
}
