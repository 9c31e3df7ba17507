//! Frames of the wire, one after the other as on a connection.

use super::{Target, put_checksum, u32_at};
use bytes::Bytes;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use types::{Epoch, PartitionId};
use wire::frame::{HEADER_BYTES, Kind};
use wire::{Class, Frame, Header, Operation, Status};

pub(super) const TARGET: Target = Target { name: "frames", run, seeds, reseal };

fn run(bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        let before = rest;
        // A slice always has an answer, so nothing here waits.
        let read = pin!(wire::codec::read(&mut rest)).poll_now();
        let Ok(Some(frame)) = read else { return };
        let again = [&frame.header.encode()[..], &frame.body, &frame.payload].concat();
        assert_eq!(again.len(), before.len() - rest.len());
        let mut said = &again[..];
        let read = pin!(wire::codec::read(&mut said)).poll_now();
        let Ok(Some(read)) = read else { panic!("what is accepted is not accepted again") };
        // A status of a newer peer is read as `unknown`, and said so.
        assert_eq!((read.header, &read.body), (frame.header, &frame.body));
        assert_eq!(again[HEADER_BYTES..], before[HEADER_BYTES..again.len()]);
    }
}

trait PollNow: Future {
    fn poll_now(self) -> Self::Output;
}

impl<F: Future + Unpin> PollNow for F {
    fn poll_now(mut self) -> F::Output {
        match std::pin::Pin::new(&mut self).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("reading from a slice waits"),
        }
    }
}

fn frame(kind: Kind, operation: Operation, body: &[u8], payload: &[u8]) -> Vec<u8> {
    let header = Header {
        kind,
        class: Class::Foreground,
        request_id: 7,
        operation,
        status: Status::Ok,
        deadline_ms: 5000,
        partition: PartitionId(3),
        epoch: Epoch(2),
        body_bytes: 0,
        payload_bytes: 0,
        body_checksum: 0,
        payload_checksum: 0,
        access_bytes: 0,
    };
    let body = Bytes::copy_from_slice(body);
    let frame = Frame::seal(header, body, Bytes::copy_from_slice(payload));
    [&frame.header.encode()[..], &frame.body, &frame.payload].concat()
}

/// A request that shows a token.
fn with_token(body: &[u8]) -> Vec<u8> {
    let body = [&[7; 32][..], body].concat();
    let mut bytes = frame(Kind::Request, Operation::DataRead, &body, b"");
    bytes[56] = 32;
    put_checksum(&mut bytes, 0..60, 60);
    bytes
}

fn seeds() -> Vec<Vec<u8>> {
    let one = frame(Kind::Request, Operation::DataWrite, b"a body", &[5; 300]);
    let two = frame(Kind::Reply, Operation::NamespaceQuery, b"", b"");
    let three = frame(Kind::OneWay, Operation::Replicate, &[1; 40], b"payload");
    vec![
        [one.clone(), two.clone()].concat(),
        one,
        two,
        three.clone(),
        [three, vec![0; 10]].concat(),
        with_token(b"a body"),
    ]
}

/// Only the first frame: what follows begins where its lengths say.
fn reseal(bytes: &mut [u8]) {
    let body_end = HEADER_BYTES.saturating_add(u32_at(bytes, 40));
    let payload_end = body_end.saturating_add(u32_at(bytes, 44));
    put_checksum(bytes, HEADER_BYTES..body_end, 48);
    put_checksum(bytes, body_end..payload_end, 52);
    put_checksum(bytes, 0..60, 60);
}
