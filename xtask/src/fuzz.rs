//! `cargo xtask fuzz`: hostile input for everything that is read from a network or a disk.

use crate::run::{program, succeed};
use anyhow::Result;
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Fuzz {
    /// How long to run; the targets share it
    #[arg(long, default_value_t = 30)]
    pub(crate) seconds: u64,
    /// Seed of the first case of each target
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Cases of each target, at most; 1 replays a seed
    #[arg(long)]
    pub(crate) cases: Option<u64>,
    /// Only targets whose name contains this
    #[arg(long)]
    pub(crate) only: Option<String>,
}

impl Fuzz {
    /// What CI can afford.
    pub(crate) fn short() -> Fuzz {
        Fuzz { seconds: 30, seed: 1, cases: None, only: None }
    }

    pub(crate) fn run(&self) -> Result<()> {
        let mut command = program("holdfast-fuzz")?;
        command.args(["--seconds", &self.seconds.to_string(), "--seed", &self.seed.to_string()]);
        if let Some(cases) = self.cases {
            command.args(["--cases", &cases.to_string()]);
        }
        if let Some(only) = &self.only {
            command.args(["--only", only]);
        }
        succeed(&mut command)
    }
}
