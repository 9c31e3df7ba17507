//! Runs the targets from the command line; `cargo xtask fuzz` calls it.

use anyhow::{Result, bail};
use clap::Parser;
use fuzz::runner::{self, Failure};
use fuzz::target::{TARGETS, Target};
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

/// Hostile input for everything that is read from a network or a disk.
#[derive(Debug, Parser)]
struct Command {
    /// How long to run; the targets share it.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Seed of the first case of each target.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Cases of each target, at most.
    #[arg(long, default_value_t = u64::MAX)]
    cases: u64,
    /// Only targets whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
}

fn main() -> ExitCode {
    // Panics are verdicts here; they are printed with the seed they belong to.
    std::panic::set_hook(Box::new(|_| {}));
    match run(&Command::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<()> {
    let targets: Vec<&Target> =
        TARGETS.iter().filter(|target| target.name.contains(&command.only)).collect();
    if targets.is_empty() {
        bail!("no target's name contains '{}'", command.only);
    }
    let each = Duration::from_secs(command.seconds) / u32::try_from(targets.len())?;
    let mut failures = 0;
    for target in targets {
        match runner::run(target, command.seed, command.cases, each) {
            Ok(cases) => say(&format!("{}: {cases} cases", target.name)),
            Err(failure) => {
                tell(&failure);
                failures += 1;
            }
        }
    }
    if failures == 0 { Ok(()) } else { bail!("{failures} targets failed") }
}

fn tell(failure: &Failure) {
    let Failure { target, seed, input, why } = failure;
    let hex: String = input.iter().take(512).map(|byte| format!("{byte:02x}")).collect();
    say(&format!(
        "{target}: FAILED with seed {seed}: {why}\n  input ({} bytes): {hex}",
        input.len()
    ));
    say(&format!("  again: cargo xtask fuzz --only {target} --seed {seed} --cases 1"));
}

fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
