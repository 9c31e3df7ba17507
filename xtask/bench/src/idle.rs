//! `bench memory`: what a cluster that holds much needs, and what it needs to do nothing.

use crate::cpu;
use crate::servers::Servers;
use crate::target::Workplace;
use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

const NODES: usize = 3;
/// How long everything is left alone before it is looked at, and then watched.
const SETTLE: Duration = Duration::from_secs(60);
const WATCHED: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(crate) struct Memory {
    /// The `holdfast` to measure
    #[arg(long)]
    binary: PathBuf,
    /// Empty files to make, in folders of a thousand
    #[arg(long, default_value_t = 1_000_000)]
    files: u64,
    /// Length of the sparse files that are made, in GiB; each GiB holds a little data
    #[arg(long, default_value_t = 100)]
    gib: u64,
    /// The folder to work in
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

impl Memory {
    pub(crate) fn run(self) -> Result<()> {
        let base = Workplace::new(self.folder.as_deref())?;
        let result = self.measure(base.path())?;
        Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&result)?)?)
    }

    fn measure(&self, base: &Path) -> Result<Value> {
        let mut servers = Servers::start(base, &self.binary)?;
        for _ in 0..NODES {
            servers.add_node()?;
        }
        servers.ask(&["volume", "create", "much", "--kind", "file", "--capacity", "1TiB"])?;
        let (folder, mount) = servers.mount("much")?;
        let (control, nodes) = servers.pids();
        let resident = || {
            let nodes: Vec<u64> = nodes.iter().map(|pid| cpu::resident(*pid)).collect();
            json!({
                "control": cpu::resident(control),
                "nodes": nodes,
                "mount": cpu::resident(mount),
            })
        };
        let used = || -> Duration {
            nodes.iter().chain([&control, &mount]).map(|pid| cpu::used(*pid)).sum()
        };
        servers.wait_healthy()?;
        let empty = resident();
        self.fill(&folder)?;
        rustix::fs::sync();
        // What was left behind is tidied up, and checkpoints are made.
        std::thread::sleep(SETTLE);
        let full = resident();
        let before = used();
        std::thread::sleep(WATCHED);
        let idle = (used() - before).as_secs_f64() / WATCHED.as_secs_f64();
        Ok(json!({
            "files": self.files,
            "sparse_gib": self.gib,
            "what": "a process each: a control plane, three nodes with a replica of everything, a mount",
            "resident_bytes_empty": empty,
            "resident_bytes_full": full,
            "idle_cores_of_all": idle,
        }))
    }

    fn fill(&self, target: &Path) -> Result<()> {
        for folder in 0..self.files.div_ceil(1000) {
            let path = target.join(format!("folder-{folder}"));
            fs::create_dir(&path)?;
            for number in 0..1000.min(self.files - folder * 1000) {
                File::create(path.join(number.to_string()))?;
            }
        }
        for number in 0..self.gib {
            use std::os::unix::fs::FileExt;
            let file = File::create(target.join(format!("sparse-{number}")))?;
            for piece in 0..16 {
                file.write_all_at(&[1; 4096], piece << 26)?;
            }
            file.set_len(1 << 30)?;
        }
        Ok(())
    }
}
