//! A peer that answers late, twice, out of order, with a wrong id, for the wrong partition, or half
//! and then not at all: it stands before a node and passes on what comes, until it is told to misbehave.
//!
//! Two answers to the same operation on the same partition that are given to each other's callers are
//! not among it: nobody can tell those from good ones but by what is in them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use types::PartitionId;
use wire::frame::Kind;
use wire::{Frame, Header};

/// One answer of so many is tampered with.
const ODDS: u64 = 150;

/// What may become of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    Late,
    OutOfOrder,
    Twice,
    WrongId,
    WrongPartition,
    Half,
}

impl Deed {
    pub(super) const ALL: [Deed; 6] = [
        Deed::Late,
        Deed::OutOfOrder,
        Deed::Twice,
        Deed::WrongId,
        Deed::WrongPartition,
        Deed::Half,
    ];
}

#[derive(Debug, Default)]
struct Inner {
    misbehaves: AtomicBool,
    done: [AtomicU64; Deed::ALL.len()],
    rolls: AtomicU64,
}

/// Stands before one server.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    pub(super) address: String,
    inner: Arc<Inner>,
}

impl Proxy {
    /// Begins to pass on what comes to its own address.
    pub(super) async fn start(server: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let inner = Arc::new(Inner::default());
        let (proxy, server) = (Proxy { address, inner: inner.clone() }, server.to_owned());
        tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                let (server, inner) = (server.clone(), inner.clone());
                tokio::spawn(async move {
                    // A server that is away is away for who calls it through us, too.
                    if let Ok(stream) = TcpStream::connect(server).await {
                        pass(caller, stream, inner).await;
                    }
                });
            }
        });
        proxy
    }

    pub(super) fn misbehave(&self, does: bool) {
        self.inner.misbehaves.store(does, Ordering::Relaxed);
    }

    /// How often it did each.
    pub(super) fn done(&self) -> [u64; Deed::ALL.len()] {
        self.inner.done.each_ref().map(|count| count.load(Ordering::Relaxed))
    }
}

impl Inner {
    /// What becomes of an answer; nothing bad of most of them.
    fn deed(&self) -> Option<Deed> {
        if !self.misbehaves.load(Ordering::Relaxed) {
            return None;
        }
        let mixed = self.rolls.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let roll = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32;
        if !roll.is_multiple_of(ODDS) {
            return None;
        }
        let which = usize::try_from(roll / ODDS).unwrap() % Deed::ALL.len();
        self.done[which].fetch_add(1, Ordering::Relaxed);
        Some(Deed::ALL[which])
    }
}

/// Passes on in both directions until either end is gone.
async fn pass(caller: TcpStream, server: TcpStream, inner: Arc<Inner>) {
    let _ = (caller.set_nodelay(true), server.set_nodelay(true));
    let (mut from_caller, to_caller) = caller.into_split();
    let (from_server, mut to_server) = server.into_split();
    tokio::select! {
        _ = tokio::io::copy(&mut from_caller, &mut to_server) => {}
        () = answers(from_server, to_caller, inner) => {}
    }
}

fn bytes_of(frame: &Frame) -> Vec<u8> {
    [&frame.header.encode()[..], &frame.body, &frame.payload].concat()
}

fn with(frame: &Frame, header: Header) -> Vec<u8> {
    [&header.encode()[..], &frame.body, &frame.payload].concat()
}

async fn answers(mut from: OwnedReadHalf, to: OwnedWriteHalf, inner: Arc<Inner>) {
    let to = Arc::new(tokio::sync::Mutex::new(to));
    while let Ok(Some(frame)) = wire::codec::read(&mut from).await {
        let bytes = bytes_of(&frame);
        let header = frame.header;
        let deed = if header.kind == Kind::Reply { inner.deed() } else { None };
        let said = match deed {
            None => bytes,
            Some(Deed::Late) => {
                later(to.clone(), bytes, Duration::from_millis(2500));
                continue;
            }
            Some(Deed::OutOfOrder) => {
                later(to.clone(), bytes, Duration::from_millis(20));
                continue;
            }
            Some(Deed::Twice) => [bytes.clone(), bytes].concat(),
            Some(Deed::WrongId) => {
                with(&frame, Header { request_id: header.request_id + (1 << 40), ..header })
            }
            Some(Deed::WrongPartition) => {
                let partition = PartitionId(header.partition.0 + 1);
                with(&frame, Header { partition, ..header })
            }
            Some(Deed::Half) => {
                let _ = to.lock().await.write_all(&bytes[..bytes.len() / 2]).await;
                tokio::time::sleep(Duration::from_secs(3)).await;
                return;
            }
        };
        if to.lock().await.write_all(&said).await.is_err() {
            return;
        }
    }
}

/// Says something after others had their turn.
fn later(to: Arc<tokio::sync::Mutex<OwnedWriteHalf>>, bytes: Vec<u8>, after: Duration) {
    tokio::spawn(async move {
        tokio::time::sleep(after).await;
        let _ = to.lock().await.write_all(&bytes).await;
    });
}
