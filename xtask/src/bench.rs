//! Benches: builds what is measured and what measures, and hands over to `holdfast-bench`.

use crate::run;
use anyhow::Result;
use clap::{Args, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
    /// Measure this `holdfast` instead of building one
    #[arg(long, global = true)]
    binary: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A file volume beside the local folder and a passthrough; prints ratios
    #[command(disable_help_flag = true)]
    File(Rest),
    /// Planning of the decommission of a rack, from a thousand to a million partitions; takes gigabytes
    Planner,
    /// What hearing of 100,000 partitions costs the control plane; the crates that matter are optimised
    Heartbeat,
    /// Bringing replicas up, and what others feel of it
    #[command(disable_help_flag = true)]
    Repair(Rest),
    /// Memory with a million files, and processor time when idle
    #[command(disable_help_flag = true)]
    Memory(Rest),
}

#[derive(Debug, Args)]
struct Rest {
    /// Options of the bench itself: `--row NAME`, `--quick`, `--rounds N`, `--output json`, `--help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<OsString>,
}

impl Bench {
    pub(crate) fn run(self) -> Result<()> {
        let (name, rest) = match self.what {
            What::File(rest) => ("file", rest),
            What::Memory(rest) => ("memory", rest),
            What::Repair(rest) => ("repair", rest),
            What::Planner => return planner(),
            What::Heartbeat => return heartbeat(),
        };
        let mut build = run::cargo();
        build.args(["build", "--quiet", "--release", "-p", "holdfast-bench"]);
        if self.binary.is_none() {
            build.args(["-p", "holdfast"]);
        }
        run::succeed(&mut build)?;
        let built = run::workspace().join("target/release");
        let binary = self.binary.unwrap_or_else(|| built.join("holdfast"));
        let mut bench = Command::new(built.join("holdfast-bench"));
        run::succeed(bench.arg(name).arg("--binary").arg(binary).args(rest.options))
    }
}

/// Has no cluster to measure: it is a test of the planner that prints.
fn planner() -> Result<()> {
    let mut test = run::cargo();
    test.args(["test", "--release", "-p", "holdfast-control", "--lib", "--"]);
    test.args(["--ignored", "--nocapture", "print_how_planning_grows"]);
    run::succeed(&mut test)
}

/// Has no cluster either. Builds less than a release would.
fn heartbeat() -> Result<()> {
    let mut test = run::cargo();
    test.args(["test", "-p", "holdfast-control", "--lib"]);
    for name in ["control", "wire", "types", "partition"] {
        test.arg("--config").arg(format!("profile.dev.package.holdfast-{name}.opt-level=3"));
    }
    test.args(["--config", "profile.dev.package.holdfast-control.debug-assertions=false"]);
    test.args(["--", "--ignored", "--nocapture", "print_what_heartbeats_cost"]);
    run::succeed(&mut test)
}
