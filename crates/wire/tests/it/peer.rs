//! Ends of a connection that say whatever a test wants.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use types::PartitionId;
use wire::frame::Kind;
use wire::session::Session;
use wire::{Frame, Header, Metrics, Operation, Reply, Request, Responder, Server, Service};
use world::{Net, World};

pub(super) const SOON: Duration = Duration::from_secs(5);

pub(super) fn world() -> World {
    World::real(Net::tcp())
}

/// Waits until something holds.
pub(super) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 5 s: {what}");
}

pub(super) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// A request that tells itself from others by its partition.
pub(super) fn request(partition: u64) -> Request {
    let body = Bytes::from(partition.to_string());
    let mut request = Request::new(Operation::DataRead).partition(PartitionId(partition));
    request.body = body;
    request
}

/// The answering end, in the hands of a test.
pub(super) struct Peer {
    pub(super) stream: TcpStream,
}

impl Peer {
    /// A session, and the peer that it believes to be a server.
    pub(super) async fn of_a_session() -> (Session, Peer, Arc<Metrics>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (world, metrics) = (world(), Arc::new(Metrics::default()));
        let stream = world.net().connect(&address).await.unwrap();
        let session = Session::start(&world, address, stream, metrics.clone());
        let (stream, _) = listener.accept().await.unwrap();
        (session, Peer { stream }, metrics)
    }

    /// One that has connected to a server.
    pub(super) async fn of(server: &Server) -> Peer {
        Peer { stream: TcpStream::connect(server.address()).await.unwrap() }
    }

    pub(super) async fn hear(&mut self) -> Frame {
        let frame = tokio::time::timeout(SOON, wire::codec::read(&mut self.stream)).await;
        frame.expect("nothing came").unwrap().expect("the connection was closed")
    }

    pub(super) async fn say(&mut self, frame: Frame) {
        wire::codec::write(&mut self.stream, &[frame], &mut Vec::new()).await.unwrap();
    }

    pub(super) async fn say_bytes(&mut self, bytes: &[u8]) {
        // The other end may close before it has read everything.
        let _ = self.stream.write_all(bytes).await;
    }

    /// Waits until the other end has closed the connection.
    pub(super) async fn expect_closed(&mut self) {
        let mut rest = Vec::new();
        let end = tokio::time::timeout(SOON, self.stream.read_to_end(&mut rest)).await;
        // A reset is as good an end as any.
        drop(end.expect("the connection stays open"));
    }
}

/// A good reply to a request, that says its body again.
pub(super) fn reply_to(asked: &Frame) -> Frame {
    let header = Header { kind: Kind::Reply, deadline_ms: 0, access_bytes: 0, ..asked.header };
    Frame::seal(header, asked.body.clone(), Bytes::new())
}

/// The bytes of a good request frame.
pub(super) fn request_frame(id: u64, partition: u64, payload: &[u8]) -> Frame {
    let header = Header {
        kind: Kind::Request,
        class: wire::Class::Foreground,
        request_id: id,
        operation: Operation::DataRead,
        status: wire::Status::Ok,
        deadline_ms: 5000,
        partition: PartitionId(partition),
        epoch: types::Epoch(1),
        body_bytes: 0,
        payload_bytes: 0,
        body_checksum: 0,
        payload_checksum: 0,
        access_bytes: 0,
    };
    Frame::seal(header, Bytes::from(partition.to_string()), Bytes::copy_from_slice(payload))
}

pub(super) fn bytes_of(frame: &Frame) -> Vec<u8> {
    [&frame.header.encode()[..], &frame.body, &frame.payload].concat()
}

/// A service that answers with what it was asked, unless it is told to keep silent or to be verbose.
#[derive(Debug, Default)]
pub(super) struct Echo {
    pub(super) handled: AtomicU64,
    /// Requests that arrived other than they were sent.
    pub(super) changed: AtomicU64,
    /// Requests of partition 0 wait here.
    pub(super) kept: std::sync::Mutex<Vec<Responder>>,
    /// Bytes in each answer's payload.
    pub(super) payload: usize,
}

impl Service for Echo {
    fn handle(&self, request: Request, responder: Responder) {
        let as_sent = request.body == request.partition.0.to_string().as_bytes();
        self.changed.fetch_add(u64::from(!as_sent), Ordering::Relaxed);
        self.handled.fetch_add(1, Ordering::Relaxed);
        if request.partition == PartitionId(0) {
            return self.kept.lock().unwrap().push(responder);
        }
        responder.reply(Reply { body: request.body, payload: vec![7; self.payload].into() });
    }
}

/// A server of an echo.
pub(super) async fn serve(payload: usize) -> (Server, Arc<Echo>, Arc<Metrics>) {
    let (world, metrics) = (world(), Arc::new(Metrics::default()));
    let echo = Arc::new(Echo { payload, ..Echo::default() });
    let listener = world.net().listen("127.0.0.1:0").await.unwrap();
    let server = Server::start(&world, listener, echo.clone(), metrics.clone()).unwrap();
    (server, echo, metrics)
}

/// A client that keeps to the protocol.
pub(super) async fn client(server: &Server) -> Session {
    let (world, address) = (world(), server.address().to_string());
    let stream = world.net().connect(&address).await.unwrap();
    Session::start(&world, address, stream, Arc::default())
}
