//! The answering end: whatever bytes come, the session is closed, it is counted, memory stays
//! bounded, and everybody else is served.

use super::peer::{
    Peer, bytes_of, client, eventually, read, reply_to, request, request_frame, serve,
};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;
use types::checksum::crc32c;
use types::limits::{FRAME_BODY_BYTES_MAX, SESSION_BYTES_MAX, SESSION_IN_FLIGHT_MAX};
use wire::frame::HEADER_BYTES;
use wire::{Metrics, Server};

/// Sends bytes as a stranger; the server must close, count, and serve others.
async fn offend(server: &Server, metrics: &Arc<Metrics>, bytes: &[u8]) {
    let (closed, malformed) = (read(&metrics.sessions_closed), read(&metrics.frames_malformed));
    let mut stranger = Peer::of(server).await;
    stranger.say_bytes(bytes).await;
    stranger.expect_closed().await;
    eventually("the session is counted", || read(&metrics.sessions_closed) > closed).await;
    assert!(read(&metrics.frames_malformed) > malformed, "{:02x?}", &bytes[..bytes.len().min(80)]);
}

/// A header whose own checksum is right, whatever else was changed.
fn resealed(mut bytes: Vec<u8>, at: usize, value: &[u8]) -> Vec<u8> {
    bytes[at..at + value.len()].copy_from_slice(value);
    let sum = crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&sum.to_le_bytes());
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_nonsense_closes_its_session_only() {
    let (server, echo, metrics) = serve(0).await;
    let friend = client(&server).await;
    let good = bytes_of(&request_frame(1, 5, b"payload"));
    let long = (FRAME_BODY_BYTES_MAX + 1).to_le_bytes();
    let mut nonsense = vec![
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: somebody who is lost\r\n\r\n".to_vec(),
        vec![0; HEADER_BYTES],
        vec![0xff; HEADER_BYTES],
        resealed(good.clone(), 4, &2_u16.to_le_bytes()), // another version
        resealed(good.clone(), 6, &[9]),                 // no such kind
        resealed(good.clone(), 7, &[9]),                 // no such class
        resealed(good.clone(), 16, &999_u16.to_le_bytes()), // no such operation
        resealed(good.clone(), 40, &long),               // a body past the limit
        resealed(good.clone(), 44, &u32::MAX.to_le_bytes()), // a payload of 4 GiB
        resealed(good.clone(), 56, &[1]),                // reserved
        bytes_of(&reply_to(&request_frame(1, 5, b""))),  // an answer to a server
        // The same request again while the first is at work.
        [bytes_of(&request_frame(1, 0, b"")), bytes_of(&request_frame(1, 0, b""))].concat(),
    ];
    for byte in HEADER_BYTES..good.len() {
        let mut flipped = good.clone();
        flipped[byte] ^= 1;
        nonsense.push(flipped);
    }
    for (number, bytes) in nonsense.iter().enumerate() {
        offend(&server, &metrics, bytes).await;
        friend.call(request(number as u64 + 1)).await.unwrap();
    }
    let kept = echo.kept.lock().unwrap().len() as u64;
    assert_eq!(
        echo.handled.load(std::sync::atomic::Ordering::Relaxed),
        nonsense.len() as u64 + kept
    );
    assert_eq!(kept, 1, "what does not verify never reaches the service");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_is_cut_off_anywhere_does_nothing() {
    let (server, echo, metrics) = serve(0).await;
    let good = bytes_of(&request_frame(1, 5, b"payload"));
    for length in 0..good.len() {
        let closed = read(&metrics.sessions_closed);
        let mut stranger = Peer::of(&server).await;
        stranger.say_bytes(&good[..length]).await;
        drop(stranger);
        eventually("the session is over", || read(&metrics.sessions_closed) > closed).await;
    }
    assert_eq!(echo.handled.load(std::sync::atomic::Ordering::Relaxed), 0);
    client(&server).await.call(request(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_are_replayed_and_reordered_are_requests_like_others() {
    // Whoever was let in may ask what it likes; what must not be done twice carries a number of its
    // own. The session only sees to it that ids in flight are distinct.
    let (server, echo, metrics) = serve(0).await;
    let mut stranger = Peer::of(&server).await;
    for id in [9, 3, 9, 3, 1] {
        stranger.say(request_frame(id, id, b"")).await;
        assert_eq!(stranger.hear().await.header.request_id, id);
    }
    assert_eq!(echo.handled.load(std::sync::atomic::Ordering::Relaxed), 5);
    assert_eq!(read(&metrics.frames_malformed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_requests_in_flight_than_allowed_end_the_session() {
    let (server, echo, metrics) = serve(0).await;
    let mut stranger = Peer::of(&server).await;
    for id in 0..=SESSION_IN_FLIGHT_MAX as u64 {
        stranger.say_bytes(&bytes_of(&request_frame(id, 0, b""))).await;
    }
    stranger.expect_closed().await;
    eventually("it is counted", || read(&metrics.frames_malformed) == 1).await;
    assert_eq!(echo.kept.lock().unwrap().len(), SESSION_IN_FLIGHT_MAX);
    let cancelled = || echo.kept.lock().unwrap().iter().all(wire::Responder::is_cancelled);
    eventually("all are cancelled", cancelled).await;
}

/// Memory of this process in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_length_alone_takes_no_memory() {
    let (server, _, _) = serve(0).await;
    let before = resident();
    let whole = bytes_of(&request_frame(1, 5, &vec![1; 1 << 20]));
    let mut strangers = Vec::new();
    for _ in 0..300 {
        let mut stranger = Peer::of(&server).await;
        stranger.say_bytes(&whole[..HEADER_BYTES + 2]).await;
        strangers.push(stranger);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let grown = resident().saturating_sub(before);
    assert!(grown < 100 << 20, "{grown} bytes for 300 promises of 1 MiB");
    client(&server).await.call(request(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_answers_cannot_fill_the_memory() {
    const ANSWER: usize = 1 << 20;
    let (server, echo, _) = serve(ANSWER).await;
    let before = resident();
    let mut stranger = Peer::of(&server).await;
    let asking = tokio::spawn(async move {
        for id in 1..=1000 {
            stranger.say_bytes(&bytes_of(&request_frame(id, 5, b""))).await;
        }
        stranger
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let handled = echo.handled.load(std::sync::atomic::Ordering::Relaxed);
    assert!(handled as usize * ANSWER <= SESSION_BYTES_MAX + (32 << 20), "{handled} answers");
    let grown = resident().saturating_sub(before) as usize;
    assert!(grown <= 2 * SESSION_BYTES_MAX, "{grown} bytes for one peer");
    client(&server).await.call(request(1)).await.unwrap();
    // Once it reads, it gets everything.
    let mut stranger = tokio::time::timeout(Duration::from_secs(5), asking).await.unwrap().unwrap();
    for id in 1..=20 {
        assert_eq!(stranger.hear().await.header.request_id, id);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Good frames with anything done to them: the service sees only what verifies.
    #[test]
    fn mangled_streams_never_reach_the_service_changed(
        cuts in proptest::collection::vec((0_usize..400, any::<u8>(), 0_u8..4), 1..6),
        seed in any::<u64>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (server, echo, metrics) = serve(0).await;
            let mut stream: Vec<u8> = (1..=4)
                .flat_map(|id| bytes_of(&request_frame(id, seed % 100 + id, &[3; 20])))
                .collect();
            for (at, byte, how) in cuts {
                let at = at % stream.len();
                match how {
                    0 => stream[at] = byte,
                    1 => stream.insert(at, byte),
                    2 => drop(stream.remove(at)),
                    _ => stream.rotate_left(at),
                }
            }
            let mut stranger = Peer::of(&server).await;
            stranger.say_bytes(&stream).await;
            drop(stranger);
            eventually("it is over", || read(&metrics.sessions_closed) == 1).await;
            assert_eq!(read(&echo.changed), 0);
            client(&server).await.call(request(1)).await.unwrap();
        });
    }
}
