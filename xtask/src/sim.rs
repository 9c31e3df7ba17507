//! `cargo xtask sim`: simulations from seeds.

use crate::run::{cargo, succeed};
use anyhow::Result;
use clap::{Args, ValueEnum};
use std::process::Command;

/// What is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The replication engine alone.
    Engine,
    /// The whole cluster: control plane, nodes and clients.
    Cluster,
}

#[derive(Debug, Args)]
pub(crate) struct Sim {
    /// What to simulate.
    #[arg(long, value_enum, default_value_t = Kind::Engine)]
    kind: Kind,
    /// How many seeds to run.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The first seed, or the one to replay.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print everything that happens; with one seed.
    #[arg(long)]
    trace: bool,
}

impl Sim {
    pub(crate) fn run(&self) -> Result<()> {
        let mut command = simulator(self.kind);
        command.args(["--seeds", &self.seeds.to_string(), "--seed", &self.seed.to_string()]);
        if self.trace {
            command.arg("--trace");
        }
        succeed(&mut command)
    }
}

/// The simulator, ready for its arguments.
pub(crate) fn simulator(kind: Kind) -> Command {
    let mut command = cargo();
    command.args(["run", "--quiet", "-p", "holdfast-sim"]);
    match kind {
        // Alone, the engine builds in seconds.
        Kind::Engine => command.args(["--no-default-features", "--", "engine"]),
        Kind::Cluster => command.args(["--", "cluster"]),
    };
    command
}
