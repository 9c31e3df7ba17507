//! Runs simulations from the command line; `cargo xtask sim` calls it.

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use sim::engine;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

#[cfg(feature = "cluster")]
mod campaign;

/// Runs simulations of Holdfast from seeds.
#[derive(Debug, Parser)]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The replication engine alone, under every fault.
    Engine(EngineArgs),
    /// The whole cluster: control plane, nodes and clients.
    #[cfg(feature = "cluster")]
    Cluster(campaign::ClusterArgs),
}

#[derive(Debug, Args)]
struct EngineArgs {
    /// How many seeds to run.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The first seed, or the one to replay.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print every event and effect (of one seed).
    #[arg(long)]
    trace: bool,
    /// Threads to run on.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Give up after this many failures.
    #[arg(long, default_value_t = 5)]
    failures_max: usize,
}

/// A campaign at least this long must have seen everything there is to see.
const SEEDS_THAT_SEE_EVERYTHING: u64 = 2_000;

fn main() -> ExitCode {
    // Panics are verdicts here; they are printed with the seed they belong to.
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = match Command::parse().what {
        What::Engine(args) if args.seeds <= 1 => replay(&args),
        What::Engine(args) => campaign(&args),
        #[cfg(feature = "cluster")]
        What::Cluster(args) => args.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn replay(args: &EngineArgs) -> Result<()> {
    let run = engine::replay(args.seed, args.trace);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in &run.lines {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "seed {} trace {:016x}", run.seed, run.hash)?;
    if let Some(violation) = run.violation {
        writeln!(out, "FAILED {violation}")?;
        out.flush()?;
        bail!("seed {} broke a promise", run.seed);
    }
    Ok(())
}

/// Reads the real clock: how long a campaign took is for people. Not the standard library's, which
/// stands still where the whole cluster is simulated.
fn clock() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

fn campaign(args: &EngineArgs) -> Result<()> {
    let begun = clock();
    let campaign = engine::run(args.seed..args.seed + args.seeds, args.threads, args.failures_max);
    let mut out = std::io::stdout().lock();
    for sight in engine::Sight::ALL {
        writeln!(out, "{:>12} {sight:?}", campaign.coverage.count(*sight))?;
    }
    let seconds = (clock() - begun).as_secs_f64();
    writeln!(out, "{} seeds in {seconds:.1} s", campaign.seeds)?;
    for failure in &campaign.failures {
        writeln!(out, "seed {} FAILED {}", failure.seed, failure.violation)?;
        writeln!(
            out,
            "  replay: cargo xtask sim --kind engine --seeds 1 --seed {} --trace",
            failure.seed
        )?;
    }
    if !campaign.failures.is_empty() {
        bail!("{} of {} seeds broke a promise", campaign.failures.len(), campaign.seeds);
    }
    let missing = campaign.coverage.missing();
    if args.seeds >= SEEDS_THAT_SEE_EVERYTHING && !missing.is_empty() {
        bail!("the simulation has lost its teeth: it never saw {missing:?}");
    }
    Ok(())
}
