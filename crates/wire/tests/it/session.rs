//! The calling end: every caller gets its own answer or an error, whatever the peer does.

use super::peer::{Peer, SOON, client, eventually, read, reply_to, request, serve};
use bytes::Bytes;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use types::limits::SESSION_IN_FLIGHT_MAX;
use types::{Kind as Next, PartitionId};
use wire::frame::Kind;
use wire::session::Session;
use wire::{Error, Frame, Header, Operation, Reply, Status};

type Call = JoinHandle<Result<Reply, Error>>;

fn call(session: &Session, partition: u64) -> Call {
    let session = session.clone();
    tokio::spawn(async move { session.call(request(partition)).await })
}

async fn end_of(call: Call) -> Result<Reply, Error> {
    tokio::time::timeout(SOON, call).await.expect("the caller still waits").unwrap()
}

#[tokio::test]
async fn answers_in_any_order_reach_their_callers() {
    let (session, mut peer, _) = Peer::of_a_session().await;
    let calls: Vec<Call> = (1..=20).map(|partition| call(&session, partition)).collect();
    let mut asked = Vec::new();
    for _ in &calls {
        asked.push(peer.hear().await);
    }
    for frame in asked.iter().rev() {
        peer.say(reply_to(frame)).await;
    }
    for (call, partition) in calls.into_iter().zip(1..) {
        let reply = end_of(call).await.unwrap();
        assert_eq!(reply.body, format!("{partition}").as_bytes());
    }
}

/// Two callers wait; the peer answers one of them with `spoil` of the right reply.
async fn poison(mismatch: bool, spoil: impl FnOnce(Frame) -> Vec<Frame>) {
    let (session, mut peer, metrics) = Peer::of_a_session().await;
    let calls = [call(&session, 1), call(&session, 2)];
    let asked = peer.hear().await;
    peer.hear().await;
    for frame in spoil(reply_to(&asked)) {
        peer.say(frame).await;
    }
    let mut closed = 0;
    for call in calls {
        match end_of(call).await {
            Err(error @ Error::Closed { .. }) => {
                assert_eq!(error.kind(), Next::Unknown, "it may have been carried out");
                closed += 1;
            }
            Ok(reply) => assert_eq!(reply.body, asked.body, "only its own answer"),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(closed > 0, "the session went on");
    assert!(session.has_ended());
    let expected = if mismatch { (1, 0) } else { (0, 1) };
    eventually("it is counted", || {
        (read(&metrics.replies_mismatched), read(&metrics.frames_malformed)) == expected
    })
    .await;
    assert_eq!(read(&metrics.sessions_closed), 1);
    assert_eq!((metrics.sessions_open(), read(&metrics.requests_in_flight)), (0, 0));
    // Nothing is sent over it any more, and the caller knows that.
    let after = session.call(request(3)).await.unwrap_err();
    assert!(matches!(after, Error::Unreachable { .. }), "{after}");
    peer.expect_closed().await;
}

fn with(reply: &Frame, header: Header) -> Vec<Frame> {
    vec![Frame::seal(header, reply.body.clone(), Bytes::new())]
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_ends_the_session() {
    poison(true, |reply| with(&reply, Header { request_id: 99, ..reply.header })).await;
}

#[tokio::test]
async fn an_answer_to_another_operation_ends_the_session() {
    poison(true, |reply| with(&reply, Header { operation: Operation::DataWrite, ..reply.header }))
        .await;
}

#[tokio::test]
async fn an_answer_of_another_partition_ends_the_session() {
    poison(true, |reply| with(&reply, Header { partition: PartitionId(7), ..reply.header })).await;
}

#[tokio::test]
async fn the_same_answer_twice_ends_the_session() {
    poison(true, |reply| vec![reply.clone(), reply]).await;
}

#[tokio::test]
async fn a_frame_that_is_no_answer_ends_the_session() {
    for kind in [Kind::Request, Kind::OneWay, Kind::Cancel] {
        poison(false, |reply| with(&reply, Header { kind, ..reply.header })).await;
    }
}

#[tokio::test]
async fn damaged_bytes_end_the_session() {
    let damage = |mut reply: Frame| {
        reply.header.body_checksum ^= 1;
        vec![reply]
    };
    poison(false, damage).await;
}

#[tokio::test]
async fn garbage_and_torn_answers_end_the_session() {
    for bytes in [
        &b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"[..],
        &[0; 64],
        b"HFW1",
    ] {
        let (session, mut peer, metrics) = Peer::of_a_session().await;
        let waiting = call(&session, 1);
        peer.hear().await;
        peer.say_bytes(bytes).await;
        drop(peer);
        assert!(matches!(end_of(waiting).await, Err(Error::Closed { .. })));
        assert!(session.has_ended());
        assert_eq!(read(&metrics.sessions_closed), 1);
    }
}

#[tokio::test]
async fn refusals_keep_their_meaning() {
    let (session, mut peer, _) = Peer::of_a_session().await;
    let waiting = call(&session, 1);
    let asked = peer.hear().await;
    let header = Header { status: Status::NotLeader, ..reply_to(&asked).header };
    peer.say(Frame::seal(header, Bytes::new(), Bytes::from_static(b"ask r7"))).await;
    let refused = end_of(waiting).await.unwrap_err();
    assert_eq!((refused.status(), refused.kind()), (Some(Status::NotLeader), Next::Reroute));
    assert!(refused.to_string().contains("ask r7"));
    assert!(!session.has_ended());
}

#[tokio::test]
async fn who_stops_waiting_is_left_alone_and_others_are_not_disturbed() {
    let (session, mut peer, metrics) = Peer::of_a_session().await;
    let leaver = call(&session, 1);
    let asked = peer.hear().await;
    leaver.abort();
    let cancel = peer.hear().await;
    assert_eq!(
        (cancel.header.kind, cancel.header.request_id),
        (Kind::Cancel, asked.header.request_id)
    );
    assert_eq!(read(&metrics.requests_cancelled), 1);
    // The answer was under way already.
    let stayer = call(&session, 2);
    let other = peer.hear().await;
    peer.say(reply_to(&asked)).await;
    peer.say(reply_to(&other)).await;
    assert_eq!(end_of(stayer).await.unwrap().body, "2".as_bytes());
    assert!(!session.has_ended());
}

#[tokio::test]
async fn a_deadline_ends_the_wait_and_not_the_session() {
    let (session, mut peer, metrics) = Peer::of_a_session().await;
    let begun = Instant::now();
    let late = session.call(request(1).deadline(Duration::from_millis(100))).await.unwrap_err();
    assert!(matches!(late, Error::TimedOut { .. }), "{late}");
    assert_eq!(late.kind(), Next::Unknown);
    assert!((100..2000).contains(&begun.elapsed().as_millis()));
    assert_eq!(read(&metrics.requests_timed_out), 1);
    let asked = peer.hear().await;
    assert_eq!(asked.header.deadline_ms, 100, "the server knows how long it is worth trying");
    assert_eq!(peer.hear().await.header.kind, Kind::Cancel);
    peer.say(reply_to(&asked)).await;
    let waiting = call(&session, 2);
    let asked = peer.hear().await;
    peer.say(reply_to(&asked)).await;
    end_of(waiting).await.unwrap();
}

#[tokio::test]
async fn credits_bound_what_is_in_flight_and_come_back_with_answers() {
    let (session, mut peer, _) = Peer::of_a_session().await;
    let calls: Vec<Call> =
        (1..=SESSION_IN_FLIGHT_MAX as u64 + 1).map(|partition| call(&session, partition)).collect();
    let mut asked = Vec::new();
    for _ in 0..SESSION_IN_FLIGHT_MAX {
        asked.push(peer.hear().await);
    }
    let more =
        tokio::time::timeout(Duration::from_millis(200), wire::codec::read(&mut peer.stream));
    assert!(more.await.is_err(), "one more than the limit was sent");
    // Somebody who leaves does not free the server of its work.
    let first = asked.remove(0);
    calls[usize::try_from(first.header.partition.0).unwrap() - 1].abort();
    assert_eq!(peer.hear().await.header.kind, Kind::Cancel);
    let more =
        tokio::time::timeout(Duration::from_millis(200), wire::codec::read(&mut peer.stream));
    assert!(more.await.is_err(), "a cancelled request is still in flight");
    peer.say(reply_to(&first)).await;
    let last = peer.hear().await;
    assert_eq!(last.header.kind, Kind::Request);
    for frame in asked.iter().chain([&last]) {
        peer.say(reply_to(frame)).await;
    }
    let mut answered = 0;
    for call in calls {
        answered += usize::from(tokio::time::timeout(SOON, call).await.unwrap().is_ok());
    }
    assert_eq!(answered, SESSION_IN_FLIGHT_MAX);
}

#[tokio::test]
async fn a_real_server_answers_and_its_end_is_told() {
    let (server, echo, _) = serve(10).await;
    let session = client(&server).await;
    assert_eq!(session.call(request(5)).await.unwrap().payload.len(), 10);
    let waiting = call(&session, 0);
    eventually("it is at work", || echo.kept.lock().unwrap().len() == 1).await;
    server.stop();
    assert!(matches!(end_of(waiting).await, Err(Error::Closed { .. })));
    assert!(echo.kept.lock().unwrap()[0].is_cancelled(), "the service can tell that nobody waits");
}

#[tokio::test]
async fn a_service_that_drops_a_request_answers_that_nobody_knows() {
    let (server, echo, _) = serve(0).await;
    let session = client(&server).await;
    let waiting = call(&session, 0);
    eventually("it is at work", || echo.kept.lock().unwrap().len() == 1).await;
    echo.kept.lock().unwrap().clear();
    assert_eq!(end_of(waiting).await.unwrap_err().kind(), Next::Unknown);
    assert!(!session.has_ended());
}

#[tokio::test]
async fn what_happened_on_each_session_is_told() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let world = world::World::real(world::Net::tcp());
    let peers = wire::Peers::new(world, wire::Hub::default(), Default::default());
    assert_eq!(peers.sessions(), []);
    let (of, to) = (peers.clone(), address.clone());
    let calls = tokio::spawn(async move {
        let first = of.call(&to, request(1)).await;
        let second = of.call(&to, request(2)).await;
        (first, second)
    });
    let (stream, _) = listener.accept().await.unwrap();
    let mut peer = Peer { stream };
    let asked = peer.hear().await;
    let waiting = &peers.sessions()[0];
    assert_eq!((waiting.open, waiting.in_flight, waiting.requests), (1, 1, 1));
    peer.say(reply_to(&asked)).await;
    let asked = peer.hear().await;
    let header = reply_to(&asked).header;
    peer.say(with(&reply_to(&asked), Header { request_id: 99, ..header }).remove(0)).await;
    let (first, second) = calls.await.unwrap();
    assert!(first.is_ok() && matches!(second, Err(Error::Closed { .. })), "{second:?}");
    let told = peers.sessions();
    assert_eq!((told.len(), told[0].address.as_str()), (1, address.as_str()));
    let told = &told[0];
    assert_eq!((told.open, told.opened, told.in_flight), (0, 1, 0));
    assert_eq!((told.requests, told.mismatched, told.timed_out), (2, 1, 0));
}
