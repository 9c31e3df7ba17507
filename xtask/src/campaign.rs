//! `cargo xtask campaign`: what takes too long for every change.

mod programs;

use crate::run::{cargo, succeed};
use anyhow::Result;
use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct Campaign {
    #[command(subcommand)]
    which: Which,
}

#[derive(Debug, Subcommand)]
enum Which {
    /// Faults drawn from a seed, on hosts in network namespaces, under load
    Failure(Failure),
    /// Full disks under faults drawn from a seed; what is shown is compared with what writes give
    Full(Full),
    /// Volumes that are deleted under mounts at work, in every way at the moment of every fault
    Life(Life),
    /// Long runs of real programs on a mounted volume
    Programs(programs::Programs),
}

#[derive(Debug, Args)]
struct Failure {
    /// How long
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Which faults, in which order
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Args)]
struct Full {
    /// How long the faults go on
    #[arg(long, default_value_t = 3)]
    minutes: u64,
    /// Which faults, in which order
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Args)]
struct Life {
    /// How many rounds; nine go through all of them once
    #[arg(long, default_value_t = 9)]
    rounds: u64,
}

impl Life {
    /// The test that CI runs with five rounds, told to go on.
    fn run(&self) -> Result<()> {
        let mut test = cargo();
        test.args(["test", "--quiet", "-p", "holdfast", "--test", "it", "--"]);
        test.args(["life_of_a_volume", "--nocapture"]);
        test.env("HOLDFAST_CAMPAIGN_ROUNDS", self.rounds.to_string());
        succeed(&mut test)
    }
}

impl Full {
    /// The test that CI runs for half a minute, told to go on.
    fn run(&self) -> Result<()> {
        let mut test = cargo();
        test.args(["test", "--quiet", "-p", "holdfast", "--test", "it", "--"]);
        test.args(["full_disks_stay_full", "--nocapture"]);
        test.env("HOLDFAST_CAMPAIGN_MINUTES", self.minutes.to_string());
        test.env("HOLDFAST_CAMPAIGN_SEED", self.seed.to_string());
        succeed(&mut test)
    }
}

impl Campaign {
    pub(crate) fn run(&self) -> Result<()> {
        match &self.which {
            Which::Failure(failure) => failure.run(),
            Which::Full(full) => full.run(),
            Which::Life(life) => life.run(),
            Which::Programs(programs) => programs.run(),
        }
    }
}

impl Failure {
    /// The test that CI runs for two minutes, told to go on.
    fn run(&self) -> Result<()> {
        let mut test = cargo();
        test.args(["test", "--quiet", "-p", "holdfast", "--test", "it", "--"]);
        test.args(["failure_of_any_one_thing", "--nocapture"]);
        test.env("HOLDFAST_CAMPAIGN_MINUTES", self.minutes.to_string());
        test.env("HOLDFAST_CAMPAIGN_SEED", self.seed.to_string());
        succeed(&mut test)
    }
}
