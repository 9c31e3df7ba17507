//! The calling end of one connection.
//!
//! Many requests are in flight at once. Two tasks own the socket's halves; callers leave frames in
//! a queue and wait for their reply. A reply is delivered only if its request id is waiting and its
//! operation and partition are the ones that were asked; anything else ends the session, and every
//! waiter is told. A caller that stops waiting leaves its place marked as abandoned, so that the
//! late reply is recognised and dropped.

use crate::codec;
use crate::error::{Ended, Error};
use crate::frame::{Frame, Header, Kind};
use crate::metrics::Metrics;
use crate::operation::Operation;
use crate::server::{Reply, Request};
use crate::status::Status;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use types::PartitionId;
use types::limits::{SESSION_BYTES_MAX, SESSION_IN_FLIGHT_MAX};
use world::{Stream, World};

/// Frames written at a time, at most.
const WRITE_BATCH: usize = 64;

/// The calling end of one connection; cheap to clone.
#[derive(Clone, Debug)]
pub struct Session {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    address: String,
    outgoing: mpsc::UnboundedSender<Frame>,
    outgoing_bytes: AtomicUsize,
    credits: Arc<Semaphore>,
    request_next: AtomicU64,
    waiting: Mutex<Waiting>,
    ended: AtomicBool,
    /// Of the process.
    metrics: Arc<Metrics>,
    /// Of all sessions to this address in this class.
    own: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Waiting {
    calls: HashMap<u64, Call>,
    /// Set once the session has ended; nobody may begin to wait after that.
    ended: Option<String>,
}

#[derive(Debug)]
struct Call {
    operation: Operation,
    partition: PartitionId,
    /// `None` when the caller no longer waits.
    waiter: Option<oneshot::Sender<Result<Reply, Error>>>,
    /// Given back when the reply is here, not when the caller leaves: the server is still at work.
    _credit: OwnedSemaphorePermit,
}

impl Session {
    /// Takes over a connected stream.
    #[must_use]
    pub fn start(world: &World, address: String, stream: Stream, metrics: Arc<Metrics>) -> Session {
        Session::start_counted(world, address, stream, metrics, Arc::default())
    }

    /// Takes over a connected stream; `own` counts what happens on this one, as `metrics` does for all.
    #[must_use]
    pub fn start_counted(
        world: &World,
        address: String,
        stream: Stream,
        metrics: Arc<Metrics>,
        own: Arc<Metrics>,
    ) -> Session {
        let (outgoing, queue) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            address,
            outgoing,
            outgoing_bytes: AtomicUsize::new(0),
            credits: Arc::new(Semaphore::new(SESSION_IN_FLIGHT_MAX)),
            request_next: AtomicU64::new(1),
            waiting: Mutex::default(),
            ended: AtomicBool::new(false),
            metrics,
            own,
        });
        shared.count(|metrics| &metrics.sessions_opened);
        let (reader, writer) = tokio::io::split(stream);
        world.spawn("wire-session", run(shared.clone(), queue, reader, writer));
        Session { shared }
    }

    /// Whether the session has ended; a new one is needed then.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire)
    }

    /// Asks and waits for the answer, at most for the request's deadline.
    ///
    /// # Errors
    /// See [`Error`]; a request that was queued and not answered may have been carried out.
    pub async fn call(&self, request: Request) -> Result<Reply, Error> {
        let waited = request.deadline;
        match tokio::time::timeout(waited, self.call_without_limit(request)).await {
            Ok(result) => result,
            Err(_) => {
                self.shared.count(|metrics| &metrics.requests_timed_out);
                Err(Error::TimedOut {
                    address: self.shared.address.clone(),
                    waited_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
                })
            }
        }
    }

    async fn call_without_limit(&self, request: Request) -> Result<Reply, Error> {
        let shared = &self.shared;
        let credit = shared.credits.clone().acquire_owned().await.expect("never closed");
        let id = shared.request_next.fetch_add(1, Ordering::Relaxed);
        let (waiter, reply) = oneshot::channel();
        let frame = request.into_frame(id, Kind::Request);
        shared.begin(id, &frame.header, waiter, credit)?;
        // From here on the request may reach the server.
        let mut abandon = Abandon { shared, id, armed: true };
        shared.queue(frame);
        shared.count(|metrics| &metrics.requests);
        let result = reply.await.unwrap_or_else(|_| Err(shared.closed("the session ended")));
        abandon.armed = false;
        result
    }

    /// Sends without waiting for anything; the frame is dropped when too much is queued already,
    /// as a network may drop it anyway.
    pub fn send(&self, request: Request) {
        if self.shared.outgoing_bytes.load(Ordering::Relaxed) > SESSION_BYTES_MAX {
            return;
        }
        self.shared.queue(request.into_frame(0, Kind::OneWay));
    }
}

/// Marks a call as abandoned when its caller is dropped.
struct Abandon<'a> {
    shared: &'a Shared,
    id: u64,
    armed: bool,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.shared.abandon(self.id);
        }
    }
}

impl Shared {
    /// Adds one to a counter of the process, and to that of this address and class.
    fn count(&self, counter: impl Fn(&Metrics) -> &AtomicU64) {
        Metrics::count(counter(&self.metrics));
        Metrics::count(counter(&self.own));
    }

    /// So many requests wait no more.
    fn answered(&self, requests: usize) {
        for metrics in [&self.metrics, &self.own] {
            metrics.requests_in_flight.fetch_sub(requests as u64, Ordering::Relaxed);
        }
    }

    fn begin(
        &self,
        id: u64,
        header: &Header,
        waiter: oneshot::Sender<Result<Reply, Error>>,
        credit: OwnedSemaphorePermit,
    ) -> Result<(), Error> {
        let mut waiting = self.waiting.lock().expect("no holder panics");
        if let Some(reason) = &waiting.ended {
            let (address, reason) = (self.address.clone(), reason.clone());
            return Err(Error::Unreachable { address, reason });
        }
        let call = Call {
            operation: header.operation,
            partition: header.partition,
            waiter: Some(waiter),
            _credit: credit,
        };
        let before = waiting.calls.insert(id, call);
        assert!(before.is_none(), "request ids are not reused");
        self.count(|metrics| &metrics.requests_in_flight);
        Ok(())
    }

    fn queue(&self, frame: Frame) {
        self.outgoing_bytes.fetch_add(frame.wire_bytes(), Ordering::Relaxed);
        // The queue is closed only after the session has ended, and then all waiters were told.
        let _ = self.outgoing.send(frame);
    }

    fn abandon(&self, id: u64) {
        let mut waiting = self.waiting.lock().expect("no holder panics");
        let Some(call) = waiting.calls.get_mut(&id) else { return };
        if call.waiter.take().is_none() {
            return;
        }
        self.count(|metrics| &metrics.requests_cancelled);
        let (operation, partition) = (call.operation, call.partition);
        drop(waiting);
        let mut request = Request::new(operation).partition(partition);
        request.deadline = std::time::Duration::ZERO;
        self.queue(request.into_frame(id, Kind::Cancel));
    }

    fn deliver(&self, frame: Frame) -> Result<(), Ended> {
        let header = frame.header;
        if header.kind != Kind::Reply {
            return Err(Ended::Unexpected(header.kind));
        }
        let call = {
            let mut waiting = self.waiting.lock().expect("no holder panics");
            let known = waiting.calls.get(&header.request_id).is_some_and(|call| {
                call.operation == header.operation && call.partition == header.partition
            });
            if !known {
                self.count(|metrics| &metrics.replies_mismatched);
                return Err(Ended::Mismatch(header.request_id));
            }
            waiting.calls.remove(&header.request_id).expect("it was just seen")
        };
        self.answered(1);
        if let Some(waiter) = call.waiter {
            // The caller may have left at this very moment.
            let _ = waiter.send(reply_of(frame));
        }
        Ok(())
    }

    fn closed(&self, reason: &str) -> Error {
        Error::Closed { address: self.address.clone(), reason: reason.to_string() }
    }

    fn end(&self, reason: &Ended) {
        self.ended.store(true, Ordering::Release);
        self.count(|metrics| &metrics.sessions_closed);
        if reason.is_violation() {
            self.count(|metrics| &metrics.frames_malformed);
        }
        let calls = {
            let mut waiting = self.waiting.lock().expect("no holder panics");
            waiting.ended = Some(reason.to_string());
            std::mem::take(&mut waiting.calls)
        };
        self.answered(calls.len());
        tracing::debug!(peer = %self.address, %reason, in_flight = calls.len(), "session ended");
        for call in calls.into_values() {
            if let Some(waiter) = call.waiter {
                let _ = waiter.send(Err(self.closed(&reason.to_string())));
            }
        }
    }
}

fn reply_of(frame: Frame) -> Result<Reply, Error> {
    match frame.header.status {
        Status::Ok => Ok(Reply { body: frame.body, payload: frame.payload }),
        status => Err(Error::Refused {
            status,
            message: String::from_utf8_lossy(&frame.payload).into_owned(),
            body: frame.body,
        }),
    }
}

async fn run(
    shared: Arc<Shared>,
    queue: mpsc::UnboundedReceiver<Frame>,
    reader: ReadHalf<Stream>,
    writer: WriteHalf<Stream>,
) {
    let reason = tokio::select! {
        biased;
        reason = read_all(&shared, reader) => reason,
        reason = write_all(queue, writer, &shared.outgoing_bytes) => reason,
    };
    shared.end(&reason);
}

async fn read_all(shared: &Shared, mut reader: ReadHalf<Stream>) -> Ended {
    loop {
        match codec::read(&mut reader).await {
            Ok(Some(frame)) => {
                if let Err(reason) = shared.deliver(frame) {
                    return reason;
                }
            }
            Ok(None) => return Ended::ByPeer,
            Err(reason) => return reason,
        }
    }
}

/// Writes what is queued until the queue's senders are gone or the connection breaks.
pub(crate) async fn write_all(
    mut queue: mpsc::UnboundedReceiver<Frame>,
    mut writer: WriteHalf<Stream>,
    queued_bytes: &AtomicUsize,
) -> Ended {
    let mut frames = Vec::with_capacity(WRITE_BATCH);
    let mut scratch = Vec::new();
    loop {
        frames.clear();
        if queue.recv_many(&mut frames, WRITE_BATCH).await == 0 {
            return Ended::ByPeer;
        }
        let bytes: usize = frames.iter().map(Frame::wire_bytes).sum();
        let written = codec::write(&mut writer, &frames, &mut scratch).await;
        queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Err(error) = written {
            return Ended::Broken(error);
        }
    }
}
