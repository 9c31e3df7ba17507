//! `cargo xtask mutations`: is the simulation worth its time?
//!
//! Each file of `crates/sim/mutations` is a small patch that plants a real bug in the engine, with
//! the reason on top. Every one is applied to a copy of the sources outside the repository, the
//! simulation is built there, and must fail. A planted bug that survives is an error.

#![allow(clippy::disallowed_methods, reason = "a tool for people, outside every simulation")]

use crate::run::{cargo, succeed, workspace};
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
    /// Only those whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
}

impl Mutations {
    pub(crate) fn run(&self) -> Result<()> {
        let copy = Copy::new()?;
        let mut survivors = Vec::new();
        for patch in patches(&self.only)? {
            let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            match self.find(&copy, &patch)? {
                Some(found) => say(&format!("{name}: {found}")),
                None => {
                    say(&format!("{name}: SURVIVED {} seeds", self.seeds));
                    survivors.push(name);
                }
            }
        }
        if !survivors.is_empty() {
            bail!("planted bugs that were not found: {}", survivors.join(", "));
        }
        Ok(())
    }

    /// Plants one bug. Returns what the simulation says of it, when it finds it.
    fn find(&self, copy: &Copy, patch: &Path) -> Result<Option<String>> {
        copy.fill()?;
        succeed(Command::new("git").args(["apply", "-p1"]).arg(patch).current_dir(&copy.folder))
            .with_context(|| format!("{} does not fit any more", patch.display()))?;
        let mut command = cargo();
        command.current_dir(&copy.folder).env("CARGO_TARGET_DIR", copy.target());
        command.args(["run", "--quiet", "-p", "holdfast-sim", "--no-default-features", "--"]);
        command.args(["engine", "--failures-max", "1", "--seeds", &self.seeds.to_string()]);
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

fn patches(only: &str) -> Result<Vec<PathBuf>> {
    let folder = workspace().join("crates/sim/mutations");
    let mut patches = Vec::new();
    for entry in fs::read_dir(&folder).context("cannot list crates/sim/mutations")? {
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
