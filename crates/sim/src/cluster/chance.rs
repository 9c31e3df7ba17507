//! Randomness that libraries take from the system, made to follow from the seed.
//!
//! openraft draws election timeouts, tokio the order of a `select!`, the standard library the keys
//! of its hash maps. All of it comes from the system's `getrandom`, which this program replaces,
//! and is kept for each thread: so each run has a thread of its own, and one runs at a time.

use rand_next::SeedableRng;
use rand_next::rngs::StdRng;
use std::sync::{Mutex, Once, PoisonError};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs `work` on a thread of its own, with all chance following from `seed`.
pub(super) fn seeded<T: Send>(seed: u64, work: impl FnOnce() -> T + Send) -> T {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    static FIRST: Once = Once::new();
    FIRST.call_once(|| mad_turmoil::rand::set_rng(StdRng::seed_from_u64(0)));
    let run = || {
        *mad_turmoil::rand::get_rng() = StdRng::seed_from_u64(seed);
        work()
    };
    let done = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, run);
        thread.map(|thread| thread.join())
    });
    match done {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(error) => panic!("no thread for the simulation: {error}"),
    }
}

/// Enough for the deepest futures of a build that is not optimised.
const STACK_BYTES: usize = 16 << 20;
