//! `cargo xtask sim`: simulations from seeds.

use crate::run::{cargo, succeed};
use anyhow::{Result, bail};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Sim {
    /// How many seeds of the replication engine's simulation to run.
    #[arg(long)]
    engine_seeds: Option<u64>,
    /// The first seed, or the one to replay.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print every event and effect; with one seed.
    #[arg(long)]
    trace: bool,
}

impl Sim {
    pub(crate) fn run(&self) -> Result<()> {
        let Some(seeds) = self.engine_seeds else {
            bail!("say what to simulate: --engine-seeds N");
        };
        let mut command = cargo();
        command.args(["run", "--quiet", "-p", "holdfast-sim", "--no-default-features", "--"]);
        command.args(["engine", "--seeds", &seeds.to_string()]);
        command.args(["--seed", &self.seed.to_string()]);
        if self.trace {
            command.arg("--trace");
        }
        succeed(&mut command)
    }
}
