//! The simulation itself: that it can be repeated, and that it passes.

use super::replay;

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..3 {
        let (once, again) = (replay(seed, false), replay(seed, true));
        assert_eq!(once.hash, again.hash, "seed {seed}");
        assert!(!again.lines.is_empty());
    }
    assert_ne!(replay(1, false).hash, replay(2, false).hash);
}

#[test]
fn a_few_seeds_keep_every_promise() {
    for seed in 0..8 {
        let run = replay(seed, false);
        assert_eq!(run.violation, None, "seed {seed}");
        assert!(run.operations > 20, "seed {seed} hardly did anything");
    }
}
