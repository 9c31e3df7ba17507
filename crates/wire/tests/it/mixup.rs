//! A peer that answers late, twice, out of order, with a wrong id, the right id and the wrong partition, or half, by
//! the thousand: no caller ever gets an answer but its own.

use super::peer::{Peer, SOON, bytes_of, read, reply_to, request};
use std::collections::BTreeMap;
use types::PartitionId;
use wire::{Error, Frame, Header, Operation};

const SEEDS: u64 = 2_000;

/// Numbers from a seed (Steele, Lea and Flood, "Fast splittable pseudorandom number generators").
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) as usize % sides
    }
}

/// What came of all seeds.
#[derive(Debug, Default)]
struct Tally {
    own: u64,
    closed: u64,
    mismatched: u64,
    sessions_that_went_on: u64,
}

/// Says something about what was asked, mostly the truth; whether the connection can still be used.
async fn answer(peer: &mut Peer, asked: &mut Vec<Frame>, dice: &mut Dice) -> bool {
    let frame = asked.swap_remove(dice.roll(asked.len()));
    let reply = reply_to(&frame);
    let other = asked.get(dice.roll(asked.len().max(1))).map_or(99, |it| it.header.request_id);
    let changed = |header: Header| Frame::seal(header, reply.body.clone(), bytes::Bytes::new());
    let lies = match dice.roll(40) {
        0 => vec![reply.clone(), reply],
        1 => vec![changed(Header { request_id: other, ..reply.header })],
        2 => vec![changed(Header { partition: PartitionId(1_000), ..reply.header })],
        3 => vec![changed(Header { operation: Operation::DataWrite, ..reply.header })],
        4 => {
            let bytes = bytes_of(&reply);
            peer.say_bytes(&bytes[..1 + dice.roll(bytes.len() - 1)]).await;
            return false;
        }
        // Never.
        5 => vec![],
        _ => vec![reply],
    };
    let bytes: Vec<u8> = lies.iter().flat_map(bytes_of).collect();
    peer.say_bytes(&bytes).await;
    true
}

async fn run(seed: u64, tally: &mut Tally) {
    let mut dice = Dice(seed);
    let (session, mut peer, metrics) = Peer::of_a_session().await;
    let mut calls = BTreeMap::new();
    for partition in 1..=2 + dice.roll(12) as u64 {
        let session = session.clone();
        let call = tokio::spawn(async move { session.call(request(partition)).await });
        calls.insert(partition, call);
    }
    let mut asked = Vec::new();
    for _ in 0..calls.len() {
        asked.push(peer.hear().await);
    }
    // Some have left by the time their answer comes.
    if dice.roll(3) == 0 {
        let leaver = 1 + dice.roll(calls.len()) as u64;
        calls.remove(&leaver).expect("it is one of them").abort();
    }
    while !asked.is_empty() && answer(&mut peer, &mut asked, &mut dice).await {}
    drop(peer);
    for (partition, call) in calls {
        match tokio::time::timeout(SOON, call).await.expect("a caller waits for ever").unwrap() {
            Ok(reply) => {
                let own = partition.to_string();
                assert_eq!(reply.body, own.as_bytes(), "seed {seed}: the answer of another");
                tally.own += 1;
            }
            Err(Error::Closed { .. }) => tally.closed += 1,
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    tally.mismatched += read(&metrics.replies_mismatched);
    tally.sessions_that_went_on += u64::from(read(&metrics.replies_mismatched) == 0);
}

#[tokio::test]
async fn whatever_a_peer_answers_nobody_gets_the_answer_of_another() {
    let mut tally = Tally::default();
    for seed in 0..SEEDS {
        run(seed, &mut tally).await;
    }
    // All of it happened.
    let least = [tally.own, tally.closed, tally.mismatched, tally.sessions_that_went_on];
    assert!(least.into_iter().all(|count| count > SEEDS / 10), "{tally:?}");
}
