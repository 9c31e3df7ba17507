//! A cluster of processes on this machine: one member of the control plane, nodes, and mounts.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Killed when dropped.
#[derive(Debug)]
pub(crate) struct Servers {
    base: PathBuf,
    binary: PathBuf,
    wire: u16,
    admin: u16,
    control: Child,
    nodes: Vec<Node>,
    mounts: Vec<(PathBuf, Child)>,
}

#[derive(Debug)]
struct Node {
    metrics: u16,
    process: Option<Child>,
}

/// A port that nobody has at this moment.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Servers {
    /// Starts the control plane; nodes come with [`Servers::add_node`].
    pub(crate) fn start(base: &Path, binary: &Path) -> Result<Servers> {
        fs::create_dir_all(base)?;
        let (wire, admin) = (free_port()?, free_port()?);
        let member = format!(
            "[cluster]\nname = \"bench\"\n[[cluster.members]]\nid = 1\n\
             wire = \"127.0.0.1:{wire}\"\nadmin = \"127.0.0.1:{admin}\"\n"
        );
        let text = format!(
            "roles = [\"control\"]\ndata = \"{}\"\n{member}[control]\nid = 1\n\
             listen = \"127.0.0.1:{wire}\"\nadmin_listen = \"127.0.0.1:{admin}\"\n",
            base.join("control").display()
        );
        let control = serve(base, binary, "control", &text)?;
        let (base, binary) = (base.to_owned(), binary.to_owned());
        let (nodes, mounts) = (Vec::new(), Vec::new());
        Ok(Servers { base, binary, wire, admin, control, nodes, mounts })
    }

    /// Adds a node and starts it; nodes are numbered from 0.
    pub(crate) fn add_node(&mut self) -> Result<()> {
        let (number, port, metrics) = (self.nodes.len(), free_port()?, free_port()?);
        let (wire, admin) = (self.wire, self.admin);
        let text = format!(
            "roles = [\"node\"]\ndata = \"{}\"\n[cluster]\nname = \"bench\"\n\
             [[cluster.members]]\nid = 1\nwire = \"127.0.0.1:{wire}\"\n\
             admin = \"127.0.0.1:{admin}\"\n[node]\nlisten = \"127.0.0.1:{port}\"\n\
             metrics_listen = \"127.0.0.1:{metrics}\"\n",
            self.base.join(format!("node-{number}")).display()
        );
        fs::write(self.base.join(format!("node-{number}.toml")), &text)?;
        let process = serve(&self.base, &self.binary, &format!("node-{number}"), &text)?;
        self.nodes.push(Node { metrics, process: Some(process) });
        self.wait(&format!("{} nodes", number + 1), |servers| {
            let nodes = servers.ask_json(&["node", "list"])?;
            Ok(nodes.as_array().is_some_and(|nodes| nodes.len() == number + 1))
        })
    }

    /// Kills a node without a warning.
    pub(crate) fn kill_node(&mut self, number: usize) -> Result<()> {
        if let Some(mut process) = self.nodes[number].process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// Starts a node that was killed.
    pub(crate) fn restart_node(&mut self, number: usize) -> Result<()> {
        let name = format!("node-{number}");
        let text = fs::read_to_string(self.base.join(format!("{name}.toml")))?;
        self.nodes[number].process = Some(serve(&self.base, &self.binary, &name, &text)?);
        Ok(())
    }

    /// Process ids: of the control plane, and of each node that runs.
    pub(crate) fn pids(&self) -> (u32, Vec<u32>) {
        let nodes = self.nodes.iter().filter_map(|node| node.process.as_ref());
        (self.control.id(), nodes.map(Child::id).collect())
    }

    /// Mounts a volume on a new folder; the process id of the mount is the second.
    pub(crate) fn mount(&mut self, volume: &str) -> Result<(PathBuf, u32)> {
        let folder = self.base.join(format!("mount-{volume}"));
        fs::create_dir_all(&folder)?;
        let log = fs::File::create(self.base.join(format!("mount-{volume}.log")))?;
        let process = self
            .command(&["mount", volume, "--foreground"])
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let pid = process.id();
        self.mounts.push((folder.clone(), process));
        let wanted = format!(" {} ", folder.display());
        self.wait("the mount", |_| Ok(fs::read_to_string("/proc/self/mounts")?.contains(&wanted)))?;
        Ok((folder, pid))
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(words).arg("--server").arg(format!("127.0.0.1:{}", self.admin));
        command
    }

    /// Runs a command that must succeed.
    pub(crate) fn ask(&self, words: &[&str]) -> Result<String> {
        let output = self.command(words).stdin(Stdio::null()).output()?;
        if !output.status.success() {
            bail!("{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    pub(crate) fn ask_json(&self, words: &[&str]) -> Result<Value> {
        let words: Vec<&str> = words.iter().chain(&["--output", "json"]).copied().collect();
        Ok(serde_json::from_str(&self.ask(&words)?)?)
    }

    /// The id of a node, by its number.
    pub(crate) fn node_id(&self, number: usize) -> Result<String> {
        let folder = self.base.join(format!("node-{number}"));
        let nodes = self.ask_json(&["node", "list"])?;
        let ids = nodes.as_array().context("a list of nodes")?.iter();
        // In the order in which they came.
        let mut ids: Vec<u64> = ids.filter_map(|node| node["id"].as_u64()).collect();
        ids.sort_unstable();
        let id = ids.get(number).with_context(|| format!("{} is no node", folder.display()))?;
        Ok(id.to_string())
    }

    /// Waits until every partition is well.
    pub(crate) fn wait_healthy(&self) -> Result<()> {
        self.wait("all partitions to be healthy", |servers| {
            let partitions = servers.ask_json(&["partition", "list"])?;
            let well = |partition: &Value| partition["status"] == "healthy";
            Ok(partitions.as_array().is_some_and(|list| list.iter().all(well)))
        })
    }

    /// One counter of a node, since it was started.
    pub(crate) fn counter(&self, number: usize, name: &str) -> Result<u64> {
        use std::io::{Read, Write};
        let address = format!("127.0.0.1:{}", self.nodes[number].metrics);
        let mut stream = std::net::TcpStream::connect(&address)?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(value.with_context(|| format!("{address} has no {name}:\n{text}"))? as u64)
    }

    pub(crate) fn wait(
        &self,
        what: &str,
        mut done: impl FnMut(&Servers) -> Result<bool>,
    ) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(600);
        let mut last = None;
        while Instant::now() < deadline {
            match done(self) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => last = Some(error),
            }
            thread::sleep(Duration::from_millis(50));
        }
        bail!("waited in vain for {what}: {last:?}")
    }
}

fn serve(base: &Path, binary: &Path, name: &str, config: &str) -> Result<Child> {
    let path = base.join(format!("{name}.toml"));
    fs::write(&path, config)?;
    let log = fs::File::options().create(true).append(true).open(path.with_extension("log"))?;
    Command::new(binary)
        .args(["server", "--config"])
        .arg(&path)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot run {}", binary.display()))
}

impl Drop for Servers {
    fn drop(&mut self) {
        for (folder, process) in &mut self.mounts {
            let _ = rustix::mount::unmount(&*folder, rustix::mount::UnmountFlags::DETACH);
            let _ = process.kill();
            let _ = process.wait();
        }
        let nodes = self.nodes.iter_mut().filter_map(|node| node.process.as_mut());
        for process in nodes.chain([&mut self.control]) {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
