//! `bench memory`: what a cluster that holds much needs, and what it needs to do nothing.

use crate::cpu;
use crate::target::Target;
use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

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
        let base = self.folder.clone().unwrap_or_else(std::env::temp_dir);
        let base = base.join(format!("holdfast-memory-{}", std::process::id()));
        fs::create_dir_all(&base)?;
        let base = fs::canonicalize(&base)?;
        let target = Target::holdfast(&base, &self.binary)?;
        let result = self.measure(&target);
        drop(target);
        fs::remove_dir_all(&base)?;
        result
    }

    fn measure(&self, target: &Target) -> Result<()> {
        let Some(pid) = target.pid() else { bail!("the cluster is a process") };
        target.settle();
        let empty = cpu::resident(pid);
        self.fill(target)?;
        rustix::fs::sync();
        target.settle();
        let full = cpu::resident(pid);
        let watched = Duration::from_secs(30);
        let before = target.cpu();
        std::thread::sleep(watched);
        let idle = (target.cpu() - before).as_secs_f64() / watched.as_secs_f64();
        let report = json!({
            "files": self.files,
            "sparse_gib": self.gib,
            "resident_bytes_empty": empty,
            "resident_bytes_full": full,
            "what": "one process: a control plane, three nodes with a replica of everything each, and a mount",
            "idle_cores": idle,
        });
        Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&report)?)?)
    }

    fn fill(&self, target: &Target) -> Result<()> {
        for folder in 0..self.files.div_ceil(1000) {
            let path = target.folder.join(format!("folder-{folder}"));
            fs::create_dir(&path)?;
            for number in 0..1000.min(self.files - folder * 1000) {
                File::create(path.join(number.to_string()))?;
            }
        }
        for number in 0..self.gib {
            use std::os::unix::fs::FileExt;
            let file = File::create(target.folder.join(format!("sparse-{number}")))?;
            for piece in 0..16 {
                file.write_all_at(&[1; 4096], piece << 26)?;
            }
            file.set_len(1 << 30)?;
        }
        Ok(())
    }
}
