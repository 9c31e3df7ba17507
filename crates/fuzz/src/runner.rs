//! Runs cases until the time is over, or one fails.

use crate::dice::Dice;
use crate::mutate::mutate;
use crate::target::Target;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// One case may take this long.
const CASE_TIME_MAX: Duration = Duration::from_secs(2);

/// A case that failed.
#[derive(Debug)]
pub struct Failure {
    pub target: &'static str,
    /// Makes the same case again.
    pub seed: u64,
    pub input: Vec<u8>,
    pub why: String,
}

/// The input of a case: it depends on nothing but the target and the seed.
#[must_use]
pub fn input(target: &Target, seeds: &[Vec<u8>], seed: u64) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let mut bytes = seeds[dice.below(seeds.len())].clone();
    if dice.one_in(20) {
        // Nothing like anything.
        let length = dice.below(300);
        bytes = (0..length).map(|_| dice.any() as u8).collect();
    }
    mutate(&mut dice, &mut bytes, seeds);
    // Mostly, or nothing would ever get past the checksums.
    if !dice.one_in(4) {
        (target.reseal)(&mut bytes);
    }
    bytes
}

/// Runs cases from `seed` on: at most `cases`, for at most `time`. Returns how many were run.
///
/// # Errors
/// The first that fails.
#[allow(clippy::disallowed_methods, reason = "the budget of a campaign is real time")]
pub fn run(target: &Target, seed: u64, cases: u64, time: Duration) -> Result<u64, Failure> {
    let seeds = (target.seeds)();
    let begun = Instant::now();
    for (count, seed) in (seed..seed.saturating_add(cases)).enumerate() {
        if begun.elapsed() >= time {
            return Ok(count as u64);
        }
        let input = input(target, &seeds, seed);
        let at = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(&input)));
        let why = match outcome {
            Err(panic) => Some(words(&panic)),
            Ok(()) if at.elapsed() > CASE_TIME_MAX => Some(format!("it took {:?}", at.elapsed())),
            Ok(()) => None,
        };
        if let Some(why) = why {
            return Err(Failure { target: target.name, seed, input, why });
        }
    }
    Ok(cases)
}

fn words(panic: &Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "a panic without words".to_owned())
}
