//! `cargo xtask mutations`: is the simulation worth its time?
//!
//! Each file of `crates/sim/mutations` is a small patch that plants a real bug, with the reason on
//! top. Every one is applied to a copy of the sources outside the repository, the simulation is
//! built there, and must fail. A planted bug that survives is an error.
//!
//! Bugs of the engine are for the engine's simulation. What it cannot see, such as a folder that is
//! not synced, is for the whole cluster's: those patches lie in `crates/sim/mutations/cluster`.

#![allow(clippy::disallowed_methods, reason = "a tool for people, outside every simulation")]

use crate::run::{succeed, workspace};
use crate::sim::{Kind, simulator};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Debug, Args)]
pub(crate) struct Mutations {
    /// How many seeds each planted bug may survive.
    #[arg(long, default_value_t = 20_000)]
    seeds: u64,
    /// How many seeds of the whole cluster each planted bug may survive.
    #[arg(long, default_value_t = 400)]
    cluster_seeds: u64,
    /// Look for bugs of the engine with the whole cluster as well.
    #[arg(long)]
    all_by_cluster: bool,
    /// Only those whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
}

impl Mutations {
    pub(crate) fn run(&self) -> Result<()> {
        let copy = Copy::new()?;
        let mut survivors = Vec::new();
        for (kind, patch) in self.patches()? {
            let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            match self.find(&copy, kind, &patch)? {
                Some(found) => say(&format!("{name} ({kind:?}): {found}")),
                None => {
                    say(&format!("{name} ({kind:?}): SURVIVED {} seeds", self.seeds_of(kind)));
                    survivors.push(name);
                }
            }
        }
        if !survivors.is_empty() {
            bail!("planted bugs that were not found: {}", survivors.join(", "));
        }
        Ok(())
    }

    fn seeds_of(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Engine => self.seeds,
            Kind::Cluster => self.cluster_seeds,
        }
    }

    fn patches(&self) -> Result<Vec<(Kind, PathBuf)>> {
        let of_engine = patches("crates/sim/mutations", &self.only)?;
        let of_cluster = patches("crates/sim/mutations/cluster", &self.only)?;
        let engine = of_engine.iter().map(|patch| (Kind::Engine, patch.clone()));
        let again = of_engine.iter().filter(|_| self.all_by_cluster);
        let cluster = of_cluster.iter().chain(again).map(|patch| (Kind::Cluster, patch.clone()));
        Ok(engine.chain(cluster).collect())
    }

    /// Plants one bug. Returns what the simulation says of it, when it finds it.
    fn find(&self, copy: &Copy, kind: Kind, patch: &Path) -> Result<Option<String>> {
        copy.fill()?;
        succeed(Command::new("git").args(["apply", "-p1"]).arg(patch).current_dir(&copy.folder))
            .with_context(|| format!("{} does not fit any more", patch.display()))?;
        let mut command = simulator(kind);
        command.current_dir(&copy.folder).env("CARGO_TARGET_DIR", copy.target());
        command.args(["--failures-max", "1", "--seeds", &self.seeds_of(kind).to_string()]);
        let output = command.output().context("cannot run cargo")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(None);
        }
        let Some(first) = said.lines().find(|line| line.contains(" FAILED ")) else {
            bail!("the copy does not run: {}", String::from_utf8_lossy(&output.stderr));
        };
        Ok(Some(first.to_owned()))
    }
}

/// A copy of the sources that may be spoiled.
struct Copy {
    folder: PathBuf,
}

impl Copy {
    fn new() -> Result<Copy> {
        // Outside the repository, where `git apply` takes paths as they are.
        let folder =
            std::env::temp_dir().join(format!("holdfast-mutations-{}", std::process::id()));
        fs::create_dir_all(&folder).context("cannot make a folder for the copy")?;
        Ok(Copy { folder })
    }

    /// Dependencies are built once for all copies, beside the workspace's own.
    fn target(&self) -> PathBuf {
        workspace().join("target/mutations")
    }

    /// Makes every file as it is in the workspace. Times are kept, so that only what differs is
    /// built anew.
    fn fill(&self) -> Result<()> {
        for part in ["Cargo.toml", "Cargo.lock", "crates", "xtask"] {
            copy(&workspace().join(part), &self.folder.join(part))?;
        }
        Ok(())
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // A copy that stays behind in the folder for temporary files harms nobody.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            copy(&from.join(&name), &to.join(&name))?;
        }
        return Ok(());
    }
    let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).ok().as_ref() != Some(&content) {
        fs::write(to, content).with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}

fn patches(folder: &str, only: &str) -> Result<Vec<PathBuf>> {
    let mut patches = Vec::new();
    let listed = fs::read_dir(workspace().join(folder));
    for entry in listed.with_context(|| format!("cannot list {folder}"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".patch") && name.contains(only) {
            patches.push(path);
        }
    }
    patches.sort();
    Ok(patches)
}

#[allow(clippy::print_stdout, reason = "the result of the command")]
fn say(line: &str) {
    println!("{line}");
}
