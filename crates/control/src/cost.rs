//! What hearing of everything costs the member that leads, and how it grows.
//!
//! `cargo xtask bench heartbeat` prints the table of docs/performance.md. The short form is a test: work
//! must grow with what changes, not with what there is.

use crate::attached::Attached;
use crate::core::Leading;
use crate::detect::Detector;
use crate::metrics::Metrics;
use crate::operation::{Sense, scale::Fleet};
use crate::plan::{self, Inputs, Policy};
use crate::state::State;
use prost::Message as _;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use types::limits::{HEARTBEAT_INTERVAL, HEARTBEAT_PROGRESS_MAX};
use types::{Moment, Timestamp};
use wire::control::{Heartbeat, ReplicaReport, digest};

const REVISION: u64 = 7;

/// The planner looks at least this often.
const PLANS_EVERY: Duration = Duration::from_millis(100);

/// A member that leads, and the nodes that talk to it.
struct Bench {
    state: State,
    leading: Leading,
    metrics: Metrics,
    /// What each node has said so far.
    said: Vec<Heartbeat>,
    now: Moment,
}

/// What one heartbeat took, decoding it and encoding the answer included.
#[derive(Clone, Copy, Debug)]
struct Cost {
    each: Duration,
    bytes: usize,
}

impl Cost {
    /// Share of a core that heartbeats of so many nodes take, in thousandths.
    fn share(self, nodes: usize) -> u128 {
        self.each.as_nanos() * nodes as u128 * 1_000 / HEARTBEAT_INTERVAL.as_nanos()
    }
}

impl Bench {
    fn new(nodes: u64, partitions: u64) -> Bench {
        let fleet = Fleet::new(nodes, partitions);
        let said = fleet.heartbeats();
        let now = Moment(1 << 40);
        let leading = Leading::new(1, Detector::new(Moment(0)), Attached::new(now));
        let metrics = Metrics::new(std::sync::Arc::default());
        Bench { state: fleet.state, leading, metrics, said, now }
    }

    /// Every node sends a heartbeat: in full, or what `change` makes of it.
    fn round(&mut self, full: bool, further: usize) -> Cost {
        let (mut took, mut bytes) = (Duration::ZERO, 0);
        self.now = self.now + HEARTBEAT_INTERVAL;
        for at in 0..self.said.len() {
            let frame = self.next(at, full, further).encode_to_vec();
            bytes += frame.len();
            let begun = Instant::now();
            let heartbeat = Heartbeat::decode(&frame[..]).unwrap();
            let when = (self.now, Timestamp(1));
            let heard = self.leading.hear((&self.state, REVISION), &heartbeat, when, &self.metrics);
            let answer = heard.assignment.encode_to_vec();
            took += begun.elapsed();
            assert_eq!(heard.assignment.taken, heartbeat.sequence, "{} bytes", answer.len());
        }
        let nodes = self.said.len();
        Cost { each: took / u32::try_from(nodes).unwrap(), bytes: bytes / nodes }
    }

    /// The next heartbeat of a node; the logs of so many of its replicas have got further.
    fn next(&mut self, at: usize, full: bool, further: usize) -> Heartbeat {
        let said = &mut self.said[at];
        let base = if full { 0 } else { said.sequence };
        said.sequence += 1;
        let mut changed = Vec::new();
        for replica in said.replicas.iter_mut().take(further) {
            said.digest = said.digest.wrapping_sub(digest(replica));
            replica.end += 1;
            said.digest = said.digest.wrapping_add(digest(replica));
            changed.push(replica.clone());
        }
        let replicas = if full { said.replicas.clone() } else { changed };
        Heartbeat { base, replicas, revision: REVISION, ..said.clone() }
    }

    /// A look at everything that finds nothing to do.
    fn plan(&self, memory: &mut plan::Memory) -> Duration {
        let (policy, contents) = (Policy::default(), BTreeMap::new());
        let readings = crate::operation::Readings::new();
        let inputs = Inputs {
            policy: &policy,
            state: &self.state,
            detector: &self.leading.detector,
            now: self.now,
            date: Timestamp(1_000_000_000),
            sense: Sense { contents: &contents, readings: &readings, random: 1 },
        };
        let begun = Instant::now();
        let _ = plan::plan_on(&inputs, memory);
        begun.elapsed()
    }
}

impl Fleet {
    /// What each node says, once everything is made; in full.
    fn heartbeats(&self) -> Vec<Heartbeat> {
        let sum =
            |replicas: &[ReplicaReport]| replicas.iter().map(digest).fold(0, u64::wrapping_add);
        let all = self.reports().into_iter();
        all.map(|h| Heartbeat { digest: sum(&h.replicas), ..h }).collect()
    }
}

#[test]
fn a_quiet_node_costs_the_same_however_much_it_has() {
    let cost = |partitions| {
        let mut bench = Bench::new(20, partitions);
        bench.round(true, 0);
        (0..5).map(|_| bench.round(false, 0)).min_by_key(|cost| cost.each).unwrap()
    };
    let (few, many) = (cost(20), cost(20_000));
    assert!(many.bytes < few.bytes + 50, "{few:?} and {many:?}");
    // A thousand times as many. Anything that looks at each of them takes a hundred times as long.
    assert!(many.each < few.each * 20, "{few:?} and {many:?}");
}

#[test]
#[ignore = "takes a minute: cargo xtask bench heartbeat"]
fn print_what_heartbeats_cost() {
    println!(
        "| nodes | partitions | full: bytes | full: µs | quiet: bytes | quiet: µs | quiet: core | busy: bytes | busy: µs | busy: core | planning |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (nodes, partitions) in [(100, 1_000), (100, 10_000), (100, 100_000), (1_000, 100_000)] {
        let mut bench = Bench::new(nodes, partitions);
        let full = bench.round(true, 0);
        let mut best = |further| {
            (0..20).map(|_| bench.round(false, further)).min_by_key(|cost| cost.each).unwrap()
        };
        let (quiet, busy) = (best(0), best(HEARTBEAT_PROGRESS_MAX));
        let mut memory = plan::Memory::default();
        let plan = (0..9).map(|_| bench.plan(&mut memory)).min().unwrap();
        let count = bench.said.len();
        let percent = |thousandths: u128| format!("{}.{} %", thousandths / 10, thousandths % 10);
        let planning = plan.as_nanos() * 1_000 / PLANS_EVERY.as_nanos();
        println!(
            "| {nodes} | {partitions} | {} | {} | {} | {} | {} | {} | {} | {} | {} µs, {} |",
            full.bytes,
            full.each.as_micros(),
            quiet.bytes,
            quiet.each.as_micros(),
            percent(quiet.share(count)),
            busy.bytes,
            busy.each.as_micros(),
            percent(busy.share(count)),
            plan.as_micros(),
            percent(planning),
        );
    }
}
