//! Runs seeds: one with its trace, or many on several threads.

use super::check::Violation;
use super::coverage::Coverage;
use super::world::World;
use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// The outcome of one seed.
#[derive(Clone, Debug)]
pub struct Run {
    pub seed: u64,
    /// The same for every run of the same seed.
    pub hash: u64,
    pub violation: Option<Violation>,
    pub coverage: Coverage,
    /// What happened, one line each, when it was asked for.
    pub lines: Vec<String>,
}

/// A seed that broke a promise.
#[derive(Clone, Debug)]
pub struct Failure {
    pub seed: u64,
    pub violation: Violation,
}

/// The outcome of many seeds.
#[derive(Clone, Debug, Default)]
pub struct Campaign {
    pub seeds: u64,
    /// In ascending order of seed; at most a few, as the rest is not started.
    pub failures: Vec<Failure>,
    pub coverage: Coverage,
}

/// Runs one seed.
#[must_use]
pub fn replay(seed: u64, keep_trace: bool) -> Run {
    let mut world = World::new(seed, keep_trace);
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run()));
    let violation = match outcome {
        Ok(verdict) => verdict.err(),
        Err(panic) => Some(Violation { invariant: "no assertion fails", what: said(&*panic) }),
    };
    let hash = world.trace.hash();
    let (coverage, lines) = (world.coverage, world.trace.into_lines());
    Run { seed, hash, violation, coverage, lines }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

/// Runs `seeds` on `threads` threads; gives up after `failures_max` failures.
#[must_use]
pub fn run(seeds: Range<u64>, threads: usize, failures_max: usize) -> Campaign {
    let next = AtomicU64::new(seeds.start);
    let campaign = Mutex::new(Campaign::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(&seeds, &next, &campaign, failures_max));
        }
    });
    let mut campaign = campaign.into_inner().expect("workers catch panics");
    campaign.failures.sort_by_key(|failure| failure.seed);
    campaign
}

fn work(seeds: &Range<u64>, next: &AtomicU64, campaign: &Mutex<Campaign>, failures_max: usize) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds.end {
            return;
        }
        let run = replay(seed, false);
        let mut campaign = campaign.lock().expect("workers catch panics");
        campaign.seeds += 1;
        campaign.coverage.add(&run.coverage);
        if let Some(violation) = run.violation {
            campaign.failures.push(Failure { seed, violation });
        }
        if campaign.failures.len() >= failures_max {
            return;
        }
    }
}
