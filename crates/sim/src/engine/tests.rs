//! What the simulation itself must be: repeatable, and able to see.

use super::{Sight, replay, run};

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..20 {
        let (once, again) = (replay(seed, false), replay(seed, true));
        assert_eq!(once.hash, again.hash, "seed {seed}");
        assert!(!again.lines.is_empty());
    }
    assert_ne!(replay(1, false).hash, replay(2, false).hash);
}

#[test]
fn a_few_hundred_seeds_keep_every_promise_and_see_nearly_everything() {
    let campaign = run(0..300, 2, 5);
    assert!(campaign.failures.is_empty(), "{:#?}", campaign.failures);
    assert_eq!(campaign.seeds, 300);
    let missing = campaign.coverage.missing();
    assert!(missing.len() <= 3, "never seen in 300 runs: {missing:?}");
    assert!(campaign.coverage.count(Sight::WriteAcknowledged) > 10_000);
}
