//! Runs one seed.

use super::chance;
use super::harness::Harness;
use super::history::History;
use crate::verdict::{Verdict, Violation};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

/// The outcome of one seed.
#[derive(Clone, Debug)]
pub struct Run {
    pub seed: u64,
    /// The same for every run of the same seed.
    pub hash: u64,
    pub violation: Option<Violation>,
    /// Operations that clients began.
    pub operations: usize,
    /// What happened, one line each, when it was asked for.
    pub lines: Vec<String>,
}

/// The first panic of the run that is under way.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Takes the first panic since the last call, of any task on any host.
pub(super) fn take_panic() -> Option<String> {
    PANIC.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Runs one seed. Panics anywhere are verdicts: this replaces the process's panic hook.
#[must_use]
pub fn replay(seed: u64, keep_lines: bool) -> Run {
    std::panic::set_hook(Box::new(|panic| {
        let mut first = PANIC.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| panic.to_string());
    }));
    chance::seeded(seed, || {
        let _ = take_panic();
        let history = History::new(keep_lines);
        let verdict = run(seed, &history);
        Run {
            seed,
            hash: history.hash(),
            violation: verdict.err(),
            operations: history.operations().len(),
            lines: history.lines(),
        }
    })
}

fn run(seed: u64, history: &History) -> Verdict {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut harness = Harness::new(seed, history.clone());
        let verdict = harness.run();
        history.note(&format!("{verdict:?}"));
        verdict
    }));
    outcome.unwrap_or_else(|_| {
        let what = take_panic().unwrap_or_else(|| "a panic".to_owned());
        Err(Violation { invariant: "no assertion fails", what })
    })
}
