//! Threads for work that blocks for a moment and is waited for, such as syncing a log.
//!
//! Tokio's own threads for blocking work share one queue, and wake each other through one lock: a sync of 100 µs
//! on three logs at once cost more in waking than in syncing. Here each thread has a queue of its own, and the one
//! that rested last is given the work, so a thread that is woken finds its work without asking anybody.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::runtime::Handle;

/// Threads of one world; more work than that waits.
const THREADS_MAX: usize = 512;

/// A thread that had nothing to do for this long ends.
const REST_MAX: Duration = Duration::from_secs(10);

type Work = Box<dyn FnOnce() + Send>;

/// The threads; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Workers {
    runtime: Handle,
    crew: Arc<Mutex<Crew>>,
}

#[derive(Default)]
struct Crew {
    /// The last one rested last.
    resting: Vec<(usize, Sender<Work>)>,
    waiting: VecDeque<Work>,
    threads: usize,
    started: usize,
}

impl std::fmt::Debug for Crew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (resting, waiting) = (self.resting.len(), self.waiting.len());
        write!(f, "{} threads, {resting} resting, {waiting} jobs waiting", self.threads)
    }
}

impl Workers {
    /// Work runs within `runtime`, as far as it asks for one.
    pub(crate) fn new(runtime: Handle) -> Workers {
        Workers { runtime, crew: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Crew> {
        self.crew.lock().expect("no holder panics")
    }

    /// Has it done, by a thread that rests if there is one.
    pub(crate) fn run(&self, work: Work) {
        let mut crew = self.lock();
        if let Some((_, thread)) = crew.resting.pop() {
            drop(crew);
            thread.send(work).expect("who rests is still there");
        } else if crew.threads < THREADS_MAX {
            crew.threads += 1;
            crew.started += 1;
            crew.waiting.push_back(work);
            let number = crew.started;
            drop(crew);
            self.start(number);
        } else {
            crew.waiting.push_back(work);
        }
    }

    fn start(&self, number: usize) {
        let workers = self.clone();
        let thread = std::thread::Builder::new().name("blocking".into());
        if let Err(error) = thread.spawn(move || workers.work(number)) {
            tracing::error!(%error, "the operating system gives no more threads");
            let mut crew = self.lock();
            crew.threads -= 1;
            // Somebody waits for it, and there may be nobody else who would do it.
            let waiting = crew.waiting.pop_front();
            drop(crew);
            waiting.into_iter().for_each(|work| work());
        }
    }

    fn work(&self, number: usize) {
        let _within = self.runtime.enter();
        let (sender, receiver) = channel();
        while let Some(work) = self.rest(number, &sender, &receiver) {
            // The message was printed, and whoever waits for the result is told by its absence.
            let _ = catch_unwind(AssertUnwindSafe(work));
        }
    }

    /// The next thing to do; `None` when it is time to end.
    fn rest(&self, number: usize, own: &Sender<Work>, work: &Receiver<Work>) -> Option<Work> {
        let mut crew = self.lock();
        if let Some(waiting) = crew.waiting.pop_front() {
            return Some(waiting);
        }
        crew.resting.push((number, own.clone()));
        drop(crew);
        match work.recv_timeout(REST_MAX) {
            Ok(work) => Some(work),
            Err(RecvTimeoutError::Timeout) => self.leave(number, work),
            Err(RecvTimeoutError::Disconnected) => unreachable!("this thread has a sender itself"),
        }
    }

    /// Ends, unless somebody has just given it something to do.
    fn leave(&self, number: usize, work: &Receiver<Work>) -> Option<Work> {
        let mut crew = self.lock();
        let rests = crew.resting.len();
        crew.resting.retain(|(resting, _)| *resting != number);
        if crew.resting.len() < rests {
            crew.threads -= 1;
            return None;
        }
        drop(crew);
        work.recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn everything_is_done_once_by_few_threads_within_the_runtime() {
        let workers = Workers::new(Handle::current());
        let (done, results) = channel();
        let submit = |number: usize| {
            let done = done.clone();
            workers.run(Box::new(move || {
                assert!(Handle::try_current().is_ok());
                done.send(number).unwrap();
            }));
        };
        (0..500).for_each(submit);
        let mut seen: Vec<usize> = results.iter().take(500).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..500).collect::<Vec<_>>());
        assert!(workers.lock().threads <= THREADS_MAX);
        let started = workers.lock().started;
        for number in 0..100 {
            while workers.lock().resting.is_empty() {
                std::thread::yield_now();
            }
            submit(number);
            results.recv().unwrap();
        }
        assert_eq!(workers.lock().started, started, "who rests is used again");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn work_that_panics_takes_no_thread_along() {
        let workers = Workers::new(Handle::current());
        workers.run(Box::new(|| panic!("on purpose")));
        let (done, result) = channel();
        workers.run(Box::new(move || done.send(()).unwrap()));
        result.recv().unwrap();
        assert!(workers.lock().threads > 0);
    }
}
