//! Everything that CI runs: the gate, the tests, a short budget of each campaign.

use crate::check::Check;
use crate::run;
use anyhow::{Context, Result};
use clap::Args;
use std::process::Command;
use std::time::Instant;

/// Debian packages that the tests use.
const PACKAGES: [&str; 8] =
    ["git", "sqlite3", "rsync", "attr", "acl", "iproute2", "python3-minimal", "prometheus"];
/// Programs that show that a package is there.
const PROGRAMS: [&str; 8] =
    ["git", "sqlite3", "rsync", "setfattr", "setfacl", "ip", "python3", "promtool"];

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Engine seeds to simulate
    #[arg(long, default_value_t = 20_000)]
    engine_seeds: u64,
    /// Cluster seeds to simulate
    #[arg(long, default_value_t = 100)]
    cluster_seeds: u64,
}

impl Test {
    pub(crate) fn run(self) -> Result<()> {
        step("install", install)?;
        step("gate", || Check {}.run())?;
        step("tests", || {
            let mut tests = run::cargo();
            tests.args(["nextest", "run", "--workspace", "--no-fail-fast"]);
            run::succeed(&mut tests)
        })?;
        step("posix", || crate::posix::Posix::default().run())?;
        step("fuzz", || crate::fuzz::Fuzz::short().run())?;
        let simulate = |kind: &str, seeds: u64| {
            let mut sim = run::program("holdfast-sim")?;
            run::succeed(sim.args([kind, "--seeds", &seeds.to_string()]))
        };
        step("engine simulation", || simulate("engine", self.engine_seeds))?;
        step("cluster simulation", || simulate("cluster", self.cluster_seeds))
    }
}

fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    run::say(&format!("== {name}"));
    let begun = Instant::now();
    work().with_context(|| format!("step '{name}' failed"))?;
    run::say(&format!("== {name}: done in {}s", begun.elapsed().as_secs()));
    Ok(())
}

fn install() -> Result<()> {
    let missing: Vec<&str> = PACKAGES
        .into_iter()
        .zip(PROGRAMS)
        .filter(|(_, program)| !run::has(program))
        .map(|(package, _)| package)
        .collect();
    if !missing.is_empty() {
        run::succeed(Command::new("apt-get").args(["update", "-qq"]))?;
        let mut apt = Command::new("apt-get");
        // Tools are wanted, and no daemons: at this run level the packages start none.
        apt.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
        apt.args(["install", "-y", "-qq"]);
        run::succeed(apt.args(missing))?;
    }
    if !run::has("cargo-nextest") {
        run::succeed(run::cargo().args(["install", "--locked", "cargo-nextest"]))?;
    }
    crate::posix::installed()?;
    Ok(())
}
