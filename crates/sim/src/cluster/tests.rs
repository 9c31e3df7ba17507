//! The simulation itself: that it can be repeated, and that it passes.

use super::replay;
use std::io::Write;
use std::process::Command;

/// One run in a process of its own: only the first of a process can be repeated, because tokio
/// counts its runtimes and mixes the count into their chance.
#[test]
#[ignore = "it is what the next test starts"]
fn one_run() {
    let asked = std::env::var("HOLDFAST_SIM_SEED").unwrap_or_default();
    let run = replay(asked.parse().unwrap_or(0), asked.len().is_multiple_of(2));
    let _ = writeln!(std::io::stdout(), "\nhash {:016x}", run.hash);
}

fn hash_of(seed: &str) -> String {
    let mut test = Command::new(std::env::current_exe().expect("this program has a file"));
    test.args(["--exact", "cluster::tests::one_run", "--ignored", "--nocapture"]);
    let output = test.env("HOLDFAST_SIM_SEED", seed).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let hash = said.lines().find_map(|line| line.strip_prefix("hash ")).map(str::to_owned);
    hash.unwrap_or_else(|| panic!("no hash: {said}"))
}

#[test]
fn the_same_seed_gives_the_same_run() {
    // With a zero in front it is the same seed, and its lines are kept.
    assert_eq!(hash_of("1"), hash_of("01"));
    assert_ne!(hash_of("1"), hash_of("2"));
}

#[test]
fn a_few_seeds_keep_every_promise() {
    for seed in 0..8 {
        let run = replay(seed, false);
        assert_eq!(run.violation, None, "seed {seed}");
        assert!(run.operations > 20, "seed {seed} hardly did anything");
    }
}
