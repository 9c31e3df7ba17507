//! The outside: disks, network, clocks, entropy and tasks, behind one handle.
//!
//! This is the only crate that calls the operating system. Everything else receives a [`World`]
//! and asks it; a simulation hands out a world whose clock, disks, network and dice all follow
//! from one seed.
//!
//! What it promises: the same call means the same thing in both worlds, and the simulated one may
//! fail in every way the real one can (see [`disk::sim`]). What it leaves out: policy. Nothing
//! here retries, caches or decides.

#![allow(clippy::disallowed_methods, reason = "this crate is the outside")]

pub mod disk;
pub mod kv;
pub mod net;
mod workers;

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng, TryRngCore};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use types::{Moment, Timestamp};

pub use disk::{Disk, File};
pub use net::{Listener, Net, Stream};
use workers::Workers;

/// Handle to the outside; cheap to clone.
#[derive(Clone, Debug)]
pub struct World {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// What moments are measured from.
    origin: Instant,
    clock: WallClock,
    dice: Mutex<StdRng>,
    /// Where tasks run; `None` means "wherever the caller runs", as a simulation wants it.
    runtime: Option<tokio::runtime::Handle>,
    /// Where work goes that blocks for a moment; as above.
    workers: Option<Workers>,
    simulated: bool,
    net: Net,
    os_boot: u64,
    /// Longest time that work which may block takes in a simulation.
    work_max: Duration,
}

/// What a simulated world is made from.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// Everything random follows from it.
    pub seed: u64,
    pub net: Net,
    /// Plays the part of the machine's boot identity: a simulation changes it when the machine,
    /// and not just the process, has been restarted.
    pub os_boot: u64,
    /// The date at which this world begins.
    pub date: Timestamp,
    /// Work that may block, such as a sync, takes up to this long, half of it before it is done.
    pub work_max: Duration,
}

#[derive(Debug)]
enum WallClock {
    System,
    /// A date that moves with the simulated clock.
    Simulated {
        at_origin: Timestamp,
    },
}

impl World {
    /// The real world; tasks are spawned on the runtime that this is called in.
    ///
    /// # Panics
    /// When called outside a tokio runtime.
    #[must_use]
    pub fn real(net: Net) -> World {
        let mut seed = [0; 32];
        rand::rngs::OsRng.unwrap_err().fill_bytes(&mut seed);
        World {
            inner: Arc::new(Inner {
                origin: Instant::now(),
                clock: WallClock::System,
                dice: Mutex::new(StdRng::from_seed(seed)),
                runtime: Some(tokio::runtime::Handle::current()),
                workers: Some(Workers::new(tokio::runtime::Handle::current())),
                simulated: false,
                net,
                os_boot: os_boot(),
                work_max: Duration::ZERO,
            }),
        }
    }

    /// A world that follows from a seed: simulated time, and whatever network it is given.
    #[must_use]
    pub fn simulated(simulation: Simulation) -> World {
        World {
            inner: Arc::new(Inner {
                origin: Instant::now(),
                clock: WallClock::Simulated { at_origin: simulation.date },
                dice: Mutex::new(StdRng::seed_from_u64(simulation.seed)),
                runtime: None,
                workers: None,
                simulated: true,
                net: simulation.net,
                os_boot: simulation.os_boot,
                work_max: simulation.work_max,
            }),
        }
    }

    /// Reads the monotonic clock.
    #[must_use]
    pub fn now(&self) -> Moment {
        // The origin is not zero, so that "long before now" can be expressed.
        let since = Instant::now().saturating_duration_since(self.inner.origin);
        Moment(1 << 40) + since
    }

    /// Reads the date.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        match self.inner.clock {
            WallClock::System => system_timestamp(),
            WallClock::Simulated { at_origin } => {
                let since = self.now().since(Moment(1 << 40));
                Timestamp(at_origin.0 + i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
            }
        }
    }

    /// Draws a number; never zero, so that zero can mean "none".
    #[must_use]
    pub fn random(&self) -> u64 {
        let mut dice = self.inner.dice.lock().expect("no draw panics");
        dice.next_u64().max(1)
    }

    /// A fraction in `0.0..1.0`, for jitter.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        let bits = u32::try_from(self.random() >> 32).expect("32 bits remain");
        f64::from(bits) / (f64::from(u32::MAX) + 1.0)
    }

    /// Which boot of the operating system this is. Data that was handed to the kernel survives the
    /// death of a process, but not of the machine: a changed value means unsynced data may be gone.
    #[must_use]
    pub fn os_boot(&self) -> u64 {
        self.inner.os_boot
    }

    /// The network.
    #[must_use]
    pub fn net(&self) -> &Net {
        &self.inner.net
    }

    /// Waits.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// Runs a task of its own; `name` appears in its log lines.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        tracing::trace!(task = name, "spawn");
        match &self.inner.runtime {
            Some(runtime) => runtime.spawn(future),
            None => tokio::spawn(future),
        }
    }

    /// Runs `work`, which may block, without holding up other tasks.
    ///
    /// # Panics
    /// Panics when `work` panics.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        match &self.inner.runtime {
            Some(runtime) => match runtime.spawn_blocking(work).await {
                Ok(result) => result,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            None => {
                self.dawdle().await;
                let result = work();
                self.dawdle().await;
                result
            }
        }
    }

    /// Lets simulated time pass, so that what takes long can be overtaken or cut short.
    async fn dawdle(&self) {
        if !self.inner.work_max.is_zero() {
            tokio::time::sleep(self.inner.work_max.mul_f64(self.fraction() / 2.0)).await;
        }
    }

    /// Runs `work`, which may block, and waits for nobody.
    pub fn detach_blocking(&self, work: impl FnOnce() + Send + 'static) {
        match &self.inner.runtime {
            Some(runtime) => drop(runtime.spawn_blocking(work)),
            None => {
                let world = self.clone();
                drop(tokio::spawn(async move { world.blocking(work).await }));
            }
        }
    }

    /// As [`World::detach_blocking`], for what takes a moment and is waited for: begins at once.
    pub fn detach_brief(&self, work: impl FnOnce() + Send + 'static) {
        match &self.inner.workers {
            Some(workers) => workers.run(Box::new(work)),
            None => self.detach_blocking(work),
        }
    }

    /// Runs `work`, which may block, on this very thread. A thread that tasks run on is replaced for
    /// as long as it takes. In a simulation it takes its time elsewhere.
    pub fn in_place(&self, work: impl FnOnce() + Send + 'static) {
        use tokio::runtime::{Handle, RuntimeFlavor};
        if self.inner.runtime.is_none() {
            return self.detach_blocking(work);
        }
        let replaceable = Handle::try_current()
            .is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
        if replaceable { tokio::task::block_in_place(work) } else { work() }
    }

    /// Whether this is a simulation; for choosing between implementations, never for behaviour.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        self.inner.simulated
    }
}

fn system_timestamp() -> Timestamp {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    Timestamp::from_parts(now.tv_sec, u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The kernel's boot id, folded to 64 bits; a random number where there is none, which is always
/// safe: it only makes a replica prove itself again.
fn os_boot() -> u64 {
    let Ok(text) = std::fs::read_to_string("/proc/sys/kernel/random/boot_id") else {
        return rand::rngs::OsRng.unwrap_err().next_u64();
    };
    let hex: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let number = u128::from_str_radix(&hex, 16).unwrap_or(0);
    let folded = (number >> 64) ^ (number & u128::from(u64::MAX));
    u64::try_from(folded).expect("64 bits remain")
}
