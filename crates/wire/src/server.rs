//! The answering end: accepts connections and hands requests to a [`Service`].

use crate::access::{SECRET_BYTES, Secret};
use crate::codec;
use crate::error::{Ended, Error};
use crate::frame::{Frame, Header, Kind};
use crate::metrics::Metrics;
use crate::operation::{Class, Operation};
use crate::session::write_all;
use crate::status::Status;
use bytes::Bytes;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::ReadHalf;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use types::limits::{
    CONNECT_TIMEOUT, REQUEST_DEADLINE, SERVER_SESSIONS_MAX, SESSION_BYTES_MAX,
    SESSION_IN_FLIGHT_MAX,
};
use types::{Epoch, PartitionId};
use world::net::Incoming;
use world::{Listener, Stream, World};

/// How often to look whether a peer has read enough of its answers.
const DRAIN_PAUSE: Duration = Duration::from_millis(5);

/// One request, as both ends see it.
#[derive(Clone, Debug)]
pub struct Request {
    pub operation: Operation,
    pub class: Class,
    pub partition: PartitionId,
    pub epoch: Epoch,
    /// How long the caller waits.
    pub deadline: Duration,
    pub body: Bytes,
    pub payload: Bytes,
    /// What gives the caller a right to the volume, where one is needed.
    pub access: Option<Secret>,
    /// The message itself, for a peer in the same process; never on the wire. Whoever sets it made
    /// sure that the peer is local (see [`crate::Peers::is_local`]).
    pub native: Option<Native>,
}

/// A message that needs no encoding, because it stays within the process.
pub type Native = Arc<dyn std::any::Any + Send + Sync>;

/// A good answer.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub body: Bytes,
    pub payload: Bytes,
}

impl Request {
    /// A foreground request with the default deadline and nothing in it.
    #[must_use]
    pub fn new(operation: Operation) -> Request {
        Request {
            operation,
            class: Class::Foreground,
            partition: PartitionId(0),
            epoch: Epoch::ZERO,
            deadline: REQUEST_DEADLINE,
            body: Bytes::new(),
            payload: Bytes::new(),
            access: None,
            native: None,
        }
    }

    /// Sets the partition that is meant.
    #[must_use]
    pub fn partition(mut self, partition: PartitionId) -> Request {
        self.partition = partition;
        self
    }

    /// Sets the configuration the caller believes in.
    #[must_use]
    pub fn epoch(mut self, epoch: Epoch) -> Request {
        self.epoch = epoch;
        self
    }

    /// Sets the class of sessions to use.
    #[must_use]
    pub fn class(mut self, class: Class) -> Request {
        self.class = class;
        self
    }

    /// Sets how long to wait.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Request {
        self.deadline = deadline;
        self
    }

    /// Sets the body to an encoded message.
    #[must_use]
    pub fn message(mut self, message: &impl prost::Message) -> Request {
        self.body = message.encode_to_vec().into();
        self
    }

    /// Sets the raw payload.
    #[must_use]
    pub fn payload(mut self, payload: Bytes) -> Request {
        self.payload = payload;
        self
    }

    /// Shows a token.
    #[must_use]
    pub fn access(mut self, access: Option<Secret>) -> Request {
        self.access = access;
        self
    }

    /// Decodes the body.
    ///
    /// # Errors
    /// [`Error::Refused`] with `invalid`, ready to be answered.
    pub fn decode<M: prost::Message + Default>(&self) -> Result<M, prost::DecodeError> {
        M::decode(self.body.clone())
    }

    pub(crate) fn into_frame(self, request_id: u64, kind: Kind) -> Frame {
        let header = Header {
            kind,
            class: self.class,
            request_id,
            operation: self.operation,
            status: Status::Ok,
            deadline_ms: u32::try_from(self.deadline.as_millis()).unwrap_or(u32::MAX),
            partition: self.partition,
            epoch: self.epoch,
            body_bytes: 0,
            payload_bytes: 0,
            body_checksum: 0,
            payload_checksum: 0,
            access_bytes: if self.access.is_some() { SECRET_BYTES as u8 } else { 0 },
        };
        let body = match self.access {
            None => self.body,
            Some(secret) => [secret.as_bytes(), &self.body].concat().into(),
        };
        Frame::seal(header, body, self.payload)
    }

    fn from_frame(frame: Frame) -> Request {
        let mut body = frame.body;
        // The header was checked against the length of the body.
        let access = body.split_to(frame.header.access_bytes.into());
        Request {
            operation: frame.header.operation,
            class: frame.header.class,
            partition: frame.header.partition,
            epoch: frame.header.epoch,
            deadline: Duration::from_millis(frame.header.deadline_ms.into()),
            body,
            payload: frame.payload,
            access: Secret::from_bytes(&access),
            native: None,
        }
    }
}

impl Reply {
    /// A reply that is an encoded message.
    #[must_use]
    pub fn message(message: &impl prost::Message) -> Reply {
        Reply { body: message.encode_to_vec().into(), payload: Bytes::new() }
    }

    /// Decodes the body.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn decode<M: prost::Message + Default>(&self) -> Result<M, Error> {
        M::decode(self.body.clone()).map_err(|error| Error::malformed(&error))
    }
}

/// Whatever answers requests.
pub trait Service: Send + Sync + std::fmt::Debug + 'static {
    /// Takes one request. Must not block; long work goes to a task that keeps the responder.
    fn handle(&self, request: Request, responder: Responder);
}

/// The way back to the caller. Dropping it unused tells the caller that the outcome is unknown.
#[derive(Debug)]
pub struct Responder {
    way: Option<Way>,
}

#[derive(Debug)]
enum Way {
    /// Nobody waits.
    Nobody,
    /// The caller is in this process.
    Local {
        caller: oneshot::Sender<Result<Reply, Error>>,
    },
    Remote(Remote),
}

#[derive(Debug)]
struct Remote {
    header: Header,
    session: Arc<Accepted>,
    cancelled: Arc<AtomicBool>,
    _credit: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Responder {
    /// A responder that answers nobody.
    #[must_use]
    pub fn one_way() -> Responder {
        Responder { way: Some(Way::Nobody) }
    }

    pub(crate) fn local() -> (Responder, oneshot::Receiver<Result<Reply, Error>>) {
        let (caller, reply) = oneshot::channel();
        (Responder { way: Some(Way::Local { caller }) }, reply)
    }

    /// Whether the caller has stopped waiting; work for it can be dropped.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        match &self.way {
            Some(Way::Local { caller }) => caller.is_closed(),
            Some(Way::Remote(remote)) => remote.cancelled.load(Ordering::Relaxed),
            Some(Way::Nobody) | None => false,
        }
    }

    /// Answers well.
    pub fn reply(mut self, reply: Reply) {
        self.answer(Status::Ok, reply);
    }

    /// Refuses; `message` is for people.
    pub fn refuse(mut self, status: Status, message: impl Into<String>) {
        let payload = Bytes::from(message.into());
        self.answer(status, Reply { body: Bytes::new(), payload });
    }

    /// Refuses with a structured body, such as the newer state of a conflict.
    pub fn refuse_with(mut self, status: Status, message: impl Into<String>, body: Bytes) {
        self.answer(status, Reply { body, payload: Bytes::from(message.into()) });
    }

    /// Answers with either.
    pub fn finish(self, result: Result<Reply, (Status, String)>) {
        match result {
            Ok(reply) => self.reply(reply),
            Err((status, message)) => self.refuse(status, message),
        }
    }

    fn answer(&mut self, status: Status, reply: Reply) {
        match self.way.take() {
            None | Some(Way::Nobody) => {}
            Some(Way::Local { caller }) => {
                let result = match status {
                    Status::Ok => Ok(reply),
                    status => Err(Error::Refused {
                        status,
                        message: String::from_utf8_lossy(&reply.payload).into_owned(),
                        body: reply.body,
                    }),
                };
                // The caller may have left.
                let _ = caller.send(result);
            }
            Some(Way::Remote(remote)) => remote.answer(status, reply),
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if self.way.is_some() {
            let payload = Bytes::from_static(b"the service dropped the request");
            self.answer(Status::Unknown, Reply { body: Bytes::new(), payload });
        }
    }
}

impl Remote {
    fn answer(self, status: Status, reply: Reply) {
        let reply_only = Header { access_bytes: 0, deadline_ms: 0, ..self.header };
        let header = Header { kind: Kind::Reply, status, ..reply_only };
        self.session.forget(header.request_id);
        let frame = Frame::seal(header, reply.body, reply.payload);
        self.session.queued_bytes.fetch_add(frame.wire_bytes(), Ordering::Relaxed);
        // The session may be over; then the caller was told so already.
        let _ = self.session.outgoing.send(frame);
    }
}

/// The answering end of one connection.
#[derive(Debug)]
struct Accepted {
    /// The peer's certificate is for clients: it may ask what clients ask, and nothing else.
    client_only: bool,
    outgoing: mpsc::UnboundedSender<Frame>,
    queued_bytes: AtomicUsize,
    /// Requests that are being worked on, and whether their callers have left.
    in_flight: Mutex<HashMap<u64, Arc<AtomicBool>>>,
}

impl Accepted {
    fn forget(&self, id: u64) {
        self.in_flight.lock().expect("no holder panics").remove(&id);
    }
}

/// A listening server. Dropping it stops accepting; [`Server::stop`] also ends its sessions.
#[derive(Debug)]
pub struct Server {
    address: std::net::SocketAddr,
    accepting: tokio::task::JoinHandle<()>,
    stop: tokio::sync::watch::Sender<bool>,
}

impl Server {
    /// Serves `service` to everybody who connects to `listener`.
    ///
    /// # Errors
    /// When the listener is gone.
    pub fn start(
        world: &World,
        listener: Listener,
        service: Arc<dyn Service>,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Server> {
        let address = listener.local_address()?;
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let accept = accept_all(world.clone(), listener, service, metrics, stopped);
        Ok(Server { address, accepting: world.spawn("wire-accept", accept), stop })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    /// Stops accepting and ends all sessions.
    pub fn stop(&self) {
        self.accepting.abort();
        self.stop.send_replace(true);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn accept_all(
    world: World,
    listener: Listener,
    service: Arc<dyn Service>,
    metrics: Arc<Metrics>,
    stopped: tokio::sync::watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(SERVER_SESSIONS_MAX));
    loop {
        let place = places.clone().acquire_owned().await.expect("never closed");
        match listener.accept().await {
            Ok(incoming) => {
                let (service, metrics) = (service.clone(), metrics.clone());
                let mut stopped = stopped.clone();
                world.spawn("wire-accepted", async move {
                    let _place = place;
                    tokio::select! {
                        biased;
                        _ = stopped.wait_for(|stop| *stop) => {}
                        () = serve(incoming, service, metrics) => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                world.sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(incoming: Incoming, service: Arc<dyn Service>, metrics: Arc<Metrics>) {
    let peer = incoming.peer.clone();
    let stream = match tokio::time::timeout(CONNECT_TIMEOUT, incoming.establish()).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::warn!(peer, %error, "handshake failed"),
        Err(_) => return tracing::warn!(peer, "handshake took too long"),
    };
    Metrics::count(&metrics.sessions_opened);
    let (outgoing, queue) = mpsc::unbounded_channel();
    let session = Arc::new(Accepted {
        client_only: stream.is_client_only(),
        outgoing,
        queued_bytes: AtomicUsize::new(0),
        in_flight: Mutex::default(),
    });
    let _leave = Leave { session: session.clone(), metrics: metrics.clone() };
    let (reader, writer) = tokio::io::split(stream);
    let reason = tokio::select! {
        biased;
        reason = read_all(&session, reader, service.as_ref()) => reason,
        reason = write_all(queue, writer, &session.queued_bytes) => reason,
    };
    if reason.is_violation() {
        Metrics::count(&metrics.frames_malformed);
        tracing::warn!(peer, %reason, "session ended");
    } else {
        tracing::debug!(peer, %reason, "session ended");
    }
}

/// Ends a session however it ends: callers that are still being served are gone.
struct Leave {
    session: Arc<Accepted>,
    metrics: Arc<Metrics>,
}

impl Drop for Leave {
    fn drop(&mut self) {
        Metrics::count(&self.metrics.sessions_closed);
        for cancelled in self.session.in_flight.lock().expect("no holder panics").values() {
            cancelled.store(true, Ordering::Relaxed);
        }
    }
}

async fn read_all(
    session: &Arc<Accepted>,
    mut reader: ReadHalf<Stream>,
    service: &dyn Service,
) -> Ended {
    let credits = Arc::new(Semaphore::new(SESSION_IN_FLIGHT_MAX));
    let bytes = Arc::new(Semaphore::new(SESSION_BYTES_MAX));
    loop {
        // Who does not read answers gets to ask nothing more.
        while session.queued_bytes.load(Ordering::Relaxed) > SESSION_BYTES_MAX {
            tokio::time::sleep(DRAIN_PAUSE).await;
        }
        let frame = match codec::read(&mut reader).await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ended::ByPeer,
            Err(reason) => return reason,
        };
        match frame.header.kind {
            Kind::Reply => return Ended::Unexpected(Kind::Reply),
            // Clients send nothing of the kind.
            Kind::OneWay if session.client_only => {}
            Kind::OneWay => service.handle(Request::from_frame(frame), Responder::one_way()),
            Kind::Cancel => {
                let in_flight = session.in_flight.lock().expect("no holder panics");
                if let Some(cancelled) = in_flight.get(&frame.header.request_id) {
                    cancelled.store(true, Ordering::Relaxed);
                }
            }
            Kind::Request => {
                let Ok(credit) = credits.clone().try_acquire_owned() else {
                    return Ended::TooMany(SESSION_IN_FLIGHT_MAX);
                };
                // Waiting here stops reading, which stops the peer.
                let size = u32::try_from(frame.wire_bytes()).expect("frames have a limit");
                let room = bytes.clone().acquire_many_owned(size).await.expect("never closed");
                let Some(responder) = accept(session, frame.header, credit, room) else {
                    return Ended::Repeated(frame.header.request_id);
                };
                let (operation, class) = (frame.header.operation, frame.header.class);
                if session.client_only && !operation.is_for_clients(class) {
                    let what =
                        "the certificate shown is for clients, and this is no client's request";
                    responder.refuse(Status::Denied, what);
                    continue;
                }
                service.handle(Request::from_frame(frame), responder);
            }
        }
    }
}

fn accept(
    session: &Arc<Accepted>,
    header: Header,
    credit: OwnedSemaphorePermit,
    room: OwnedSemaphorePermit,
) -> Option<Responder> {
    let cancelled = Arc::new(AtomicBool::new(false));
    let mut in_flight = session.in_flight.lock().expect("no holder panics");
    match in_flight.entry(header.request_id) {
        Entry::Occupied(_) => return None,
        Entry::Vacant(place) => drop(place.insert(cancelled.clone())),
    }
    drop(in_flight);
    let session = session.clone();
    let remote = Remote { header, session, cancelled, _credit: credit, _bytes: room };
    Some(Responder { way: Some(Way::Remote(remote)) })
}
