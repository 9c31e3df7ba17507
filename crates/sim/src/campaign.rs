//! Seeds of the whole cluster: one here, or many in processes of their own.
//!
//! A process runs one cluster at a time, because libraries take their chance from it.

use anyhow::{Context, Result, bail};
use clap::Args;
use std::io::Write;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    /// How many seeds to run.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The first seed, or the one to replay.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print everything that happened (with one seed). What hosts log goes to stderr, as RUST_LOG says.
    #[arg(long)]
    trace: bool,
    /// Processes to run at a time.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Give up after this many failures.
    #[arg(long, default_value_t = 5)]
    failures_max: usize,
}

/// What the campaign found so far.
#[derive(Debug, Default)]
struct Found {
    seeds: u64,
    operations: u64,
    failures: Vec<String>,
}

impl ClusterArgs {
    pub(crate) fn run(&self) -> Result<()> {
        if self.seeds <= 1 { self.replay() } else { self.campaign() }
    }

    fn replay(&self) -> Result<()> {
        if self.trace {
            log_to_stderr();
        }
        let run = sim::cluster::replay(self.seed, self.trace);
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        for line in &run.lines {
            writeln!(out, "{line}")?;
        }
        writeln!(out, "seed {} trace {:016x} operations {}", run.seed, run.hash, run.operations)?;
        if let Some(violation) = run.violation {
            writeln!(out, "FAILED {violation}")?;
            out.flush()?;
            bail!("seed {} broke a promise", run.seed);
        }
        Ok(())
    }

    fn campaign(&self) -> Result<()> {
        let begun = crate::clock();
        let next = AtomicU64::new(self.seed);
        let found = Mutex::new(Found::default());
        std::thread::scope(|scope| {
            let worker = || self.work(&next, &found);
            let workers: Vec<_> = (0..self.threads).map(|_| scope.spawn(worker)).collect();
            workers.into_iter().try_for_each(|worker| worker.join().expect("workers do not panic"))
        })?;
        let found = found.into_inner().expect("workers do not panic");
        let seconds = (crate::clock() - begun).as_secs_f64();
        let mut out = std::io::stdout().lock();
        writeln!(out, "{} operations of clients", found.operations)?;
        writeln!(out, "{} seeds in {seconds:.1} s", found.seeds)?;
        for failure in &found.failures {
            writeln!(out, "{failure}")?;
        }
        if !found.failures.is_empty() {
            bail!("{} of {} seeds broke a promise", found.failures.len(), found.seeds);
        }
        Ok(())
    }

    fn work(&self, next: &AtomicU64, found: &Mutex<Found>) -> Result<()> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.seed + self.seeds {
                return Ok(());
            }
            let (operations, failure) = in_a_process(seed)?;
            let mut found = found.lock().expect("workers do not panic");
            found.seeds += 1;
            found.operations += operations;
            found.failures.extend(failure);
            if found.failures.len() >= self.failures_max {
                return Ok(());
            }
        }
    }
}

/// Runs a seed; returns how much clients did, and what failed.
fn in_a_process(seed: u64) -> Result<(u64, Option<String>)> {
    let program = std::env::current_exe().context("cannot tell which program this is")?;
    let output = Command::new(program)
        .args(["cluster", "--seed", &seed.to_string()])
        .output()
        .context("cannot start a process for a seed")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let operations = said.lines().find_map(|line| line.rsplit_once("operations ")?.1.parse().ok());
    if output.status.success() {
        return Ok((operations.unwrap_or(0), None));
    }
    let what = said.split_once("FAILED ").map_or_else(
        || format!("ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr)),
        |(_, what)| what.trim_end().to_owned(),
    );
    let replay = format!("cargo xtask sim --kind cluster --seeds 1 --seed {seed} --trace");
    let failure = format!("seed {seed} FAILED {what}\n  replay: {replay}");
    Ok((operations.unwrap_or(0), Some(failure)))
}

/// Lets hosts say what they do, each line with its host and the simulated time, when `RUST_LOG`
/// says what of it.
///
/// What is logged may shift the chance that libraries take from their thread, and with it the run:
/// so nothing is logged unless it is asked for, and `--trace` alone shows the very run that failed.
fn log_to_stderr() {
    use tracing_subscriber::filter::Targets;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;
    let Ok(wanted) = std::env::var("RUST_LOG") else { return };
    let filter: Targets = wanted.parse().unwrap_or_default();
    let lines = tracing_subscriber::fmt::layer()
        .with_timer(sim::cluster::SimulatedTime)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    tracing_subscriber::registry().with(lines).with(filter).init();
}
