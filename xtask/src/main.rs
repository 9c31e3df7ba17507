//! Everything that is done to the project rather than by it: `cargo xtask`.

#![allow(clippy::disallowed_methods, reason = "tools work on the real machine")]

mod bench;
mod campaign;
mod check;
mod fuzz;
mod lockfile;
mod mounted;
mod mutations;
mod posix;
mod ratchet;
mod run;
mod sim;
mod test;

use clap::{Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;

/// Checks, simulations and benches of Holdfast.
#[derive(Debug, Parser)]
struct Command {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// The gate: formatting, lints, dependencies, docs and the ratchets. Changes nothing.
    Check(check::Check),
    /// Install what the tests need, and run them all.
    Test(test::Test),
    /// Run pjdfstest on a mounted volume.
    Posix(posix::Posix),
    /// Feed hostile input to everything that is read from a network or a disk.
    Fuzz(fuzz::Fuzz),
    /// What takes too long for every change: faults, and real programs.
    Campaign(campaign::Campaign),
    /// Run simulations from seeds.
    Sim(sim::Sim),
    /// Measure the system beside its references.
    Bench(bench::Bench),
    /// Plant known bugs, one at a time, and show that the simulation finds each.
    Mutations(mutations::Mutations),
}

fn main() -> ExitCode {
    let outcome = match Command::parse().task {
        Task::Check(task) => task.run(),
        Task::Test(task) => task.run(),
        Task::Posix(task) => task.run(),
        Task::Fuzz(task) => task.run(),
        Task::Campaign(task) => task.run(),
        Task::Sim(task) => task.run(),
        Task::Bench(task) => task.run(),
        Task::Mutations(task) => task.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
