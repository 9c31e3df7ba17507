//! A cluster in one process with its volume mounted, for suites and campaigns.

use crate::run;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

/// How the cluster is built.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Build {
    Debug,
    Release,
}

/// A cluster that is mounted, and gone with its folder when this is.
pub(crate) struct Mounted {
    process: Child,
    folder: PathBuf,
}

impl Mounted {
    /// Builds the binary and mounts a new volume in `folder`.
    pub(crate) fn start(folder: PathBuf, build: Build) -> Result<Mounted> {
        match build {
            Build::Debug => {
                let program = run::program("holdfast")?;
                Mounted::run(folder, Path::new(program.get_program()))
            }
            Build::Release => {
                run::succeed(run::cargo().args([
                    "build",
                    "--quiet",
                    "-p",
                    "holdfast",
                    "--release",
                ]))?;
                Mounted::run(folder, &run::workspace().join("target/release/holdfast"))
            }
        }
    }

    /// Mounts a new volume in `folder`, with a binary that is there already.
    pub(crate) fn run(folder: PathBuf, binary: &Path) -> Result<Mounted> {
        fs::create_dir_all(folder.join("mount"))?;
        let log = fs::File::create(folder.join("log"))?;
        let process = Command::new(binary)
            .args(["up", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder.join("data"))
            .arg("--mount")
            .arg(folder.join("mount"))
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot run holdfast up")?;
        let mut mounted = Mounted { process, folder };
        mounted.wait()?;
        Ok(mounted)
    }

    fn wait(&mut self) -> Result<()> {
        for _ in 0..600 {
            let text = self.log();
            if text.contains("mounted on") {
                return Ok(());
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("holdfast up ended: {status}\n{text}");
            }
            thread::sleep(Duration::from_millis(50));
        }
        bail!("holdfast up did not mount within 30 s")
    }

    /// Where the volume is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join("mount")
    }

    /// What it said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let pid = self.process.id().to_string();
        let _ = Command::new("kill").args(["-INT", &pid]).status();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
