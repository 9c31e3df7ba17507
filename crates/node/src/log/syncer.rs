//! Who runs the syncs of a node.
//!
//! Where a sync is a matter of microseconds, waking a thread for it costs more than the sync: so as
//! long as syncs are quick, those that are wanted at the same time (an `fsync` wants one of the data and one of
//! the namespace) are done by one thread, one after the other. Where they are slow each has a thread
//! of its own, for the device merges flushes that come together.

use super::sync::SyncJob;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use types::limits::SYNC_QUICK_MAX;
use world::World;

/// What is done with the result of a sync.
type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Runs syncs where blocking is allowed; clones share the queue.
#[derive(Clone, Default)]
pub struct Syncer {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    queue: VecDeque<(SyncJob, Done)>,
    /// A thread is at the queue, or on its way.
    at_work: bool,
    /// Mean duration of late.
    mean: Duration,
}

impl std::fmt::Debug for Syncer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Syncer")
    }
}

impl Syncer {
    /// Has `job` run; `done` is called on the thread that ran it.
    pub fn run(
        &self,
        world: &World,
        job: SyncJob,
        done: impl FnOnce(io::Result<()>) + Send + 'static,
    ) {
        let mut shared = self.lock();
        if shared.mean > SYNC_QUICK_MAX {
            drop(shared);
            let (syncer, world) = (self.clone(), world.clone());
            return world.clone().detach_blocking(move || done(syncer.timed(&world, &job)));
        }
        shared.queue.push_back((job, Box::new(done)));
        let at_work = std::mem::replace(&mut shared.at_work, true);
        drop(shared);
        if !at_work {
            self.work(world);
        }
    }

    fn work(&self, world: &World) {
        let (syncer, world) = (self.clone(), world.clone());
        world.clone().detach_blocking(move || syncer.drain(&world));
    }

    /// Runs what is in the queue, and leaves what comes meanwhile to another thread: whoever is told
    /// of a sync may have much to do.
    fn drain(&self, world: &World) {
        let batch = std::mem::take(&mut self.lock().queue);
        let run = |(job, done): (SyncJob, Done)| (self.timed(world, &job), done);
        let results: Vec<(io::Result<()>, Done)> = batch.into_iter().map(run).collect();
        let mut shared = self.lock();
        shared.at_work = !shared.queue.is_empty();
        let more = shared.at_work;
        drop(shared);
        if more {
            self.work(world);
        }
        results.into_iter().for_each(|(result, done)| done(result));
    }

    fn timed(&self, world: &World, job: &SyncJob) -> io::Result<()> {
        let begun = world.now();
        let result = job.run();
        let took = world.now().since(begun);
        let mut shared = self.lock();
        shared.mean = (shared.mean * 7 + took) / 8;
        result
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no holder panics")
    }
}
