//! What happened, in the order in which it happened: operations of clients, and everything else as
//! a running hash and, when somebody reads them, lines.
//!
//! Order is that of the simulation's own execution. A message takes at least one step of it, so
//! nothing that is ordered by cause is ordered otherwise here.

use super::workload::{Action, Key, Outcome};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// One operation of a client.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) client: usize,
    pub(super) key: Key,
    pub(super) action: Action,
    /// When it began and ended, as places in the history.
    pub(super) call: u64,
    /// `None` while it is under way, and for ever when nobody knows how it ended.
    pub(super) done: Option<(u64, Outcome)>,
}

/// The history of one run; clones share it.
#[derive(Clone, Debug)]
pub(super) struct History {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    place: u64,
    operations: Vec<Operation>,
    hash: u64,
    lines: Option<Vec<String>>,
    /// Simulated time, as the harness last said.
    now: Duration,
    /// Where all power failed.
    blackouts: Vec<u64>,
}

impl History {
    pub(super) fn new(keep_lines: bool) -> History {
        let state = State {
            place: 0,
            operations: Vec::new(),
            hash: 0xcbf2_9ce4_8422_2325,
            lines: keep_lines.then(Vec::new),
            now: Duration::ZERO,
            blackouts: Vec::new(),
        };
        History { state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// Notes that an operation begins; returns its number.
    pub(super) fn call(&self, client: usize, key: Key, action: Action) -> usize {
        let mut state = self.lock();
        let call = state.next(&format!("client-{client} {key:?} {action:?}"));
        state.operations.push(Operation { client, key, action, call, done: None });
        state.operations.len() - 1
    }

    /// Notes how an operation ended.
    pub(super) fn done(&self, operation: usize, outcome: Outcome) {
        let mut state = self.lock();
        let found = &state.operations[operation];
        let line =
            format!("client-{} {:?} {:?} = {outcome:?}", found.client, found.key, found.action);
        let place = state.next(&line);
        state.operations[operation].done = Some((place, outcome));
    }

    /// Notes that an operation ended, and that nobody knows how.
    pub(super) fn lost(&self, operation: usize, why: &str) {
        let mut state = self.lock();
        let found = &state.operations[operation];
        let line = format!("client-{} {:?} {:?} ? {why}", found.client, found.key, found.action);
        state.next(&line);
    }

    /// Says what time it is.
    pub(super) fn tell_time(&self, now: Duration) {
        self.lock().now = now;
    }

    /// Notes anything else.
    pub(super) fn note(&self, what: &str) {
        self.lock().next(what);
    }

    /// Notes that all power failed.
    pub(super) fn note_blackout(&self) {
        let mut state = self.lock();
        let place = state.next("all power failed");
        state.blackouts.push(place);
    }

    pub(super) fn blackouts(&self) -> Vec<u64> {
        self.lock().blackouts.clone()
    }

    pub(super) fn operations(&self) -> Vec<Operation> {
        self.lock().operations.clone()
    }

    /// The same for every run of the same seed.
    pub(super) fn hash(&self) -> u64 {
        self.lock().hash
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lock().lines.clone().unwrap_or_default()
    }
}

impl State {
    /// Takes the next place for an event.
    fn next(&mut self, what: &str) -> u64 {
        self.place += 1;
        // On a host time is known more exactly.
        let at = turmoil::sim_elapsed().unwrap_or(self.now);
        for byte in at.as_nanos().to_le_bytes().iter().chain(what.as_bytes()) {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>12.6} {:>6} {what}", at.as_secs_f64(), self.place));
        }
        self.place
    }
}
