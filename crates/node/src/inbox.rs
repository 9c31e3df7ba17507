//! The way into a node's loop, and who runs it.
//!
//! An event is put into a queue, and then whoever put it there runs the loop, unless somebody is
//! running it already: that one will see the event. So a request that came in on a thread is, as a
//! rule, carried out on that very thread, through the leader and the followers of the same process
//! and back to the answer, without waking anybody. A task of the node's own does what nobody else
//! is there for: it lets time pass, and takes over from threads that have run for long.
//!
//! Think of a counter in a shop without a clerk: whoever comes in and finds nobody behind it serves
//! himself, and everybody who queues up meanwhile.
//!
//! What must hold:
//! - one turn of a loop at a time, and every event in the order in which it was put in;
//! - an event in the queue is taken by whoever is running the loop, or a runner is on its way: the
//!   queue is looked at again after the loop was let go;
//! - a thread never runs one loop from within another. What loops send to each other is remembered
//!   and run after the turn, so the depth of the stack is bounded, and no loop waits for another.
//!
//! What comes with much to write is left to the node's task, so that replicas write side by side.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;
use tokio::sync::Notify;
use types::Moment;
use types::limits::{LOOP_BATCH, LOOP_GUEST_TURNS_MAX, LOOP_IDLE_MAX, LOOP_INLINE_BYTES_MAX};
use world::World;

/// What is run: a state machine that takes events in turns.
pub trait Turns: Send + std::fmt::Debug + 'static {
    type Event: Send + std::fmt::Debug + 'static;

    /// Takes what has come, and lets time pass; false when it was told to stop.
    fn turn(&mut self, events: impl Iterator<Item = Self::Event>) -> bool;

    /// How long nothing needs to be done unless something happens.
    fn wait(&self) -> Duration;

    /// Payload bytes that come with an event and will be written.
    fn bytes(event: &Self::Event) -> usize;
}

/// The way into one loop; cheap to clone.
#[derive(Debug)]
pub struct Inbox<L: Turns> {
    shared: Arc<Shared<L>>,
}

impl<L: Turns> Clone for Inbox<L> {
    fn clone(&self) -> Inbox<L> {
        Inbox { shared: self.shared.clone() }
    }
}

#[derive(Debug)]
struct Shared<L: Turns> {
    queue: Mutex<VecDeque<L::Event>>,
    counter: Mutex<Counter<L>>,
    /// Tells the node's task that there is something to do.
    call: Notify,
    /// When the loop next wants to be run, and until when the node's task sleeps at most.
    wake: AtomicU64,
    asleep_until: AtomicU64,
    world: World,
}

/// Where one at a time runs the loop.
#[derive(Debug)]
struct Counter<L: Turns> {
    /// `None` before the loop has begun, and after it has ended.
    node: Option<L>,
    ended: bool,
    /// The events of the present turn.
    events: Vec<L::Event>,
}

thread_local! {
    /// What this thread has still to do; `None` when it is not running loops.
    static AHEAD: RefCell<Option<Ahead>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct Ahead {
    loops: VecDeque<Arc<dyn Runs>>,
    /// Work that needs no loop, and may wait for a disk.
    jobs: Vec<Job>,
}

/// A loop of any kind, as a thread that has to run it sees it.
trait Runs {
    fn run(&self, time: bool) -> Ran;
    /// Leaves it to the node's own task.
    fn call(&self);
}

type Job = Box<dyn FnOnce() + Send>;

/// Has `work`, which may wait for a disk, done once the turns are over: by the thread that runs the
/// loop, while nobody waits for that, or by another.
pub(crate) fn after_turns(world: &World, work: impl FnOnce() + Send + 'static) {
    let work: Job = Box::new(work);
    let left = AHEAD.with_borrow_mut(|ahead| match ahead {
        Some(ahead) => {
            ahead.jobs.push(work);
            None
        }
        None => Some(work),
    });
    if let Some(work) = left {
        world.detach_blocking(work);
    }
}

/// This thread runs loops, until this is dropped.
struct Running;

impl Running {
    fn begin() -> Running {
        AHEAD.with_borrow_mut(|ahead| {
            assert!(ahead.is_none(), "no loop is run from within another");
            *ahead = Some(Ahead::default());
        });
        Running
    }

    /// Runs what loops have sent to each other meanwhile, and then what is left to do without them.
    fn finish(self, world: &World) {
        self.run_loops();
        let jobs = AHEAD.with_borrow_mut(|ahead| ahead.take()).map(|ahead| ahead.jobs);
        let mut jobs = jobs.unwrap_or_default();
        // One is, as a rule, for whoever came in on this thread. More are for others: they are not
        // to wait for each other.
        let own = jobs.pop();
        jobs.into_iter().for_each(|job| world.detach_blocking(job));
        if let Some(job) = own {
            world.in_place(job);
        }
    }

    fn run_loops(&self) {
        let next = || AHEAD.with_borrow_mut(|ahead| ahead.as_mut()?.loops.pop_front());
        let mut loops = 0;
        while let Some(other) = next() {
            loops += 1;
            if loops > LOOP_GUEST_TURNS_MAX || other.run(false) == Ran::More {
                other.call();
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        AHEAD.with_borrow_mut(|ahead| *ahead = None);
    }
}

/// What became of an attempt to run a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ran {
    /// The queue is empty, or somebody else is at it.
    Enough,
    /// There is more, and this thread has run for long.
    More,
    /// The loop has ended.
    Ended,
}

/// Ends the loop when the node's task ends.
struct Stay<L: Turns>(Inbox<L>);

impl<L: Turns> Drop for Stay<L> {
    fn drop(&mut self) {
        // A turn that panicked has ended the loop as well.
        if let Ok(mut counter) = self.0.shared.counter.lock() {
            counter.end();
            self.0.shared.drop_all();
        }
    }
}

impl<L: Turns> Counter<L> {
    fn end(&mut self) {
        self.node = None;
        self.events.clear();
        self.ended = true;
    }
}

impl<L: Turns> Inbox<L> {
    /// A way into a loop that is still to begin.
    #[must_use]
    pub fn new(world: World) -> Inbox<L> {
        let shared = Shared {
            queue: Mutex::default(),
            counter: Mutex::new(Counter { node: None, ended: false, events: Vec::new() }),
            call: Notify::new(),
            wake: AtomicU64::new(0),
            asleep_until: AtomicU64::new(0),
            world,
        };
        Inbox { shared: Arc::new(shared) }
    }

    /// Puts an event into the loop, and sees to it that the loop runs.
    pub fn post(&self, event: L::Event) {
        let large = L::bytes(&event) > LOOP_INLINE_BYTES_MAX;
        self.shared.queue.lock().expect("no holder panics").push_back(event);
        if large {
            return self.shared.call.notify_one();
        }
        let is_running = AHEAD.with_borrow_mut(|ahead| {
            let Some(ahead) = ahead else { return false };
            let this = Arc::as_ptr(&self.shared).cast::<()>();
            if !ahead.loops.iter().any(|known| Arc::as_ptr(known).cast::<()>() == this) {
                ahead.loops.push_back(self.shared.clone());
            }
            true
        });
        if !is_running && self.visit(false) == Ran::More {
            self.shared.call.notify_one();
        }
    }

    /// Runs the loop until the node is stopped; the task of the node itself.
    pub async fn keep(self, node: L) {
        let stay = Stay(self);
        let inbox = &stay.0;
        inbox.shared.counter.lock().expect("no turn panics").node = Some(node);
        let mut time = true;
        loop {
            match inbox.visit(time) {
                Ran::Ended => return,
                Ran::More => {
                    time = false;
                    tokio::task::yield_now().await;
                    continue;
                }
                Ran::Enough => {}
            }
            time = inbox.rest().await;
        }
    }

    /// Waits for a call, or until time itself is something to do: true then.
    async fn rest(&self) -> bool {
        let shared = &self.shared;
        let until = shared.wake.load(Ordering::SeqCst);
        shared.asleep_until.store(until, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if shared.wake.load(Ordering::SeqCst) < until {
            return false;
        }
        let wait = Moment(until).since(shared.world.now());
        tokio::select! {
            biased;
            () = shared.call.notified() => false,
            () = shared.world.sleep(wait) => true,
        }
    }

    /// Runs this loop, and those that it sends to.
    fn visit(&self, time: bool) -> Ran {
        let running = Running::begin();
        let ran = self.shared.run_turns(time);
        running.finish(&self.shared.world);
        ran
    }
}

impl<L: Turns> Shared<L> {
    /// Runs turns until the queue is empty; at least one when `time` is to pass.
    fn run_turns(&self, mut time: bool) -> Ran {
        for _ in 0..LOOP_GUEST_TURNS_MAX {
            // Whoever has the loop looks at the queue again when he has let it go. He must see what
            // was put there before he was found with it.
            fence(Ordering::SeqCst);
            match self.counter.try_lock() {
                Ok(counter) if counter.node.is_none() && !counter.ended => return Ran::Enough,
                Ok(mut counter) => {
                    if !self.turn(&mut counter, time) {
                        return Ran::Ended;
                    }
                }
                Err(TryLockError::WouldBlock) => return Ran::Enough,
                Err(TryLockError::Poisoned(_)) => {
                    // A turn panicked. Nobody will ever answer.
                    self.drop_all();
                    return Ran::Ended;
                }
            }
            time = false;
            fence(Ordering::SeqCst);
            if self.queue.lock().expect("no holder panics").is_empty() {
                return Ran::Enough;
            }
        }
        Ran::More
    }

    /// Lets go of what came too late; whoever waits for an answer is told.
    fn drop_all(&self) {
        let late = std::mem::take(&mut *self.queue.lock().expect("no holder panics"));
        drop(late);
    }

    /// One turn; false when the loop has ended.
    fn turn(&self, counter: &mut Counter<L>, time: bool) -> bool {
        if counter.ended {
            self.drop_all();
            return false;
        }
        let Counter { node, events, .. } = counter;
        let Some(node) = node.as_mut() else { return true };
        {
            let mut queue = self.queue.lock().expect("no holder panics");
            let count = queue.len().min(LOOP_BATCH);
            events.extend(queue.drain(..count));
        }
        if events.is_empty() && !time {
            return true;
        }
        if !node.turn(events.drain(..)) {
            counter.end();
            self.drop_all();
            return false;
        }
        self.note_wake(node.wait());
        true
    }

    /// Sees to it that the node's task wakes up when the loop next wants to be run.
    fn note_wake(&self, wait: Duration) {
        let wake = (self.world.now() + wait.min(LOOP_IDLE_MAX)).0;
        self.wake.store(wake, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if wake < self.asleep_until.load(Ordering::SeqCst) {
            self.call.notify_one();
        }
    }
}

impl<L: Turns> Runs for Shared<L> {
    fn run(&self, time: bool) -> Ran {
        self.run_turns(time)
    }

    fn call(&self) {
        self.call.notify_one();
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "threads that the loops know nothing of")]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    /// Who sent which parcels, in the order in which they arrived.
    type Seen = Arc<Mutex<Vec<(usize, u64)>>>;

    /// Notes what it gets, and passes it on with what is left of its journey.
    #[derive(Debug)]
    struct Relay {
        seen: Seen,
        next: Option<Inbox<Relay>>,
        in_turn: Arc<std::sync::atomic::AtomicUsize>,
    }

    #[derive(Debug)]
    struct Parcel {
        from: usize,
        number: u64,
        hops: usize,
        bytes: usize,
        stop: bool,
        arrived: Option<oneshot::Sender<()>>,
    }

    impl Turns for Relay {
        type Event = Parcel;

        fn turn(&mut self, events: impl Iterator<Item = Parcel>) -> bool {
            assert_eq!(self.in_turn.fetch_add(1, Ordering::SeqCst), 0, "one turn at a time");
            for mut parcel in events {
                if parcel.stop {
                    return false;
                }
                if parcel.hops == 0 {
                    self.seen.lock().unwrap().push((parcel.from, parcel.number));
                    if let Some(arrived) = parcel.arrived.take() {
                        let _ = arrived.send(());
                    }
                    continue;
                }
                parcel.hops -= 1;
                self.next.as_ref().expect("a ring").post(parcel);
            }
            self.in_turn.fetch_sub(1, Ordering::SeqCst);
            true
        }

        fn wait(&self) -> Duration {
            Duration::from_secs(3600)
        }

        fn bytes(parcel: &Parcel) -> usize {
            parcel.bytes
        }
    }

    fn world() -> World {
        World::real(world::net::Net::tcp())
    }

    fn relay(next: Option<Inbox<Relay>>) -> Relay {
        Relay { seen: Arc::default(), next, in_turn: Arc::default() }
    }

    fn parcel(from: usize, number: u64) -> Parcel {
        Parcel { from, number, hops: 0, bytes: 0, stop: false, arrived: None }
    }

    /// Loops that send to each other in a ring, the first of which is returned.
    fn ring(world: &World, length: usize) -> (Inbox<Relay>, Vec<Seen>) {
        let inboxes: Vec<Inbox<Relay>> = (0..length).map(|_| Inbox::new(world.clone())).collect();
        let mut seen = Vec::new();
        for (place, inbox) in inboxes.iter().enumerate() {
            let relay = relay(Some(inboxes[(place + 1) % length].clone()));
            seen.push(relay.seen.clone());
            drop(world.spawn("relay", inbox.clone().keep(relay)));
        }
        (inboxes[0].clone(), seen)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_is_lost_repeated_or_overtaken() {
        const SENDERS: usize = 4;
        const PARCELS: u64 = 3000;
        let world = world();
        let (inbox, seen) = ring(&world, 3);
        let mut arrivals = Vec::new();
        let send = |from: usize| {
            let inbox = inbox.clone();
            let (arrived, arrival) = oneshot::channel();
            arrivals.push(arrival);
            std::thread::spawn(move || {
                let mut arrived = Some(arrived);
                for number in 0..PARCELS {
                    let last = number + 1 == PARCELS;
                    // Now and then one that is left to the task.
                    let bytes = if number % 97 == 5 { LOOP_INLINE_BYTES_MAX + 1 } else { 0 };
                    let arrived = if last { arrived.take() } else { None };
                    inbox.post(Parcel { hops: 7, bytes, arrived, ..parcel(from, number) });
                }
            })
        };
        let threads: Vec<_> = (0..SENDERS).map(send).collect();
        for arrival in arrivals {
            tokio::time::timeout(Duration::from_secs(60), arrival).await.expect("in time").unwrap();
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        // Seven hops from the first of three end at the second.
        let seen = seen[1].lock().unwrap();
        assert_eq!(seen.len() as u64, SENDERS as u64 * PARCELS);
        for from in 0..SENDERS {
            let numbers = seen.iter().filter(|(of, _)| *of == from).map(|(_, number)| *number);
            assert!(numbers.eq(0..PARCELS), "what one thread sends arrives in order");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn small_events_need_no_task() {
        let world = world();
        let (inbox, seen) = ring(&world, 2);
        let (arrived, arrival) = oneshot::channel();
        inbox.post(Parcel { arrived: Some(arrived), ..parcel(0, 0) });
        arrival.await.expect("the loops have begun");
        // On a thread of its own, so that the loops' tasks have no part in it.
        std::thread::spawn(move || {
            for number in 1..100 {
                inbox.post(Parcel { hops: 4, ..parcel(0, number) });
                // The tasks may have the loop for a moment after they were woken.
                let deadline = std::time::Instant::now() + Duration::from_secs(10);
                while seen[0].lock().unwrap().len() as u64 != number + 1 {
                    assert!(std::time::Instant::now() < deadline, "it was not handled");
                    std::thread::yield_now();
                }
            }
        })
        .join()
        .unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_comes_after_the_end_is_let_go() {
        let inbox: Inbox<Relay> = Inbox::new(world());
        let running = tokio::spawn(inbox.clone().keep(relay(None)));
        inbox.post(Parcel { stop: true, ..parcel(0, 0) });
        running.await.expect("it ends");
        let (arrived, arrival) = oneshot::channel();
        inbox.post(Parcel { arrived: Some(arrived), ..parcel(0, 1) });
        assert!(arrival.await.is_err(), "whoever waits is told");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_task_that_is_ended_ends_the_loop() {
        let inbox: Inbox<Relay> = Inbox::new(world());
        let relay = Relay { next: Some(inbox.clone()), ..relay(None) };
        let weak = Arc::downgrade(&relay.in_turn);
        let running = tokio::spawn(inbox.clone().keep(relay));
        tokio::task::yield_now().await;
        running.abort();
        assert!(running.await.is_err());
        assert!(weak.upgrade().is_none(), "what the loop held is free");
    }
}
