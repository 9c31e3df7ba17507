//! Feeding a follower from the log, and how fast.
//!
//! One that is waited for gets all it lacks at once. One that is being brought up gets little at a time
//! while clients want something of this node, and rests in between. What its log has grown by since it was last fed
//! comes on top and costs it nothing: otherwise it would never get to the end of a log that grows as fast.

use super::Holder;
use crate::context::Counters;
use crate::run::NodeEvent;
use partition::replica::{Append, Event, Message};
use std::collections::BTreeMap;
use types::limits::{CATCH_UP_BUSY_BYTES_MAX, CATCH_UP_BYTES_MAX};
use types::{Configuration, ReplicaId, Sequence};

/// How much was appended to the log since each follower was last fed slowly.
#[derive(Debug, Default)]
pub(super) struct Growth {
    appended: u64,
    fed_at: BTreeMap<ReplicaId, u64>,
}

impl Growth {
    pub(super) fn note_appended(&mut self, bytes: u64) {
        self.appended += bytes;
    }

    /// It is fed now; returns what came since the last time.
    fn since_fed(&mut self, to: ReplicaId) -> u64 {
        self.appended - self.fed_at.insert(to, self.appended).unwrap_or(self.appended)
    }

    /// Whoever is no member is forgotten.
    pub(super) fn keep_members(&mut self, configuration: &Configuration) {
        self.fed_at.retain(|replica, _| configuration.member(*replica).is_some());
    }
}

impl Holder {
    /// Feeds a follower from the log. The engine may learn only later that it was sent: after a rest.
    pub(super) fn feed_from_log(
        &mut self,
        to: ReplicaId,
        append: Append,
        upto: Sequence,
    ) -> Option<Event> {
        let stamp = append.stamp;
        if self.is_waited_for(to) || !(self.context.is_busy() || self.context.is_paced(to)) {
            let (upto, _) = self.send_log(to, append, upto, CATCH_UP_BYTES_MAX);
            return Some(Event::LogSent { to, stamp, upto });
        }
        let grown = self.growth.since_fed(to);
        let most = usize::try_from(grown).unwrap_or(usize::MAX);
        let most = most.saturating_add(CATCH_UP_BUSY_BYTES_MAX).min(CATCH_UP_BYTES_MAX);
        let (upto, bytes) = self.send_log(to, append, upto, most);
        let due = self.context.pace(to, (bytes as u64).saturating_sub(grown));
        if due.is_over(self.context.world.now()) {
            return Some(Event::LogSent { to, stamp, upto });
        }
        let (context, replica) = (self.context.clone(), self.id);
        self.context.world.spawn("catch-up", async move {
            context.rest(to, due).await;
            context.post(NodeEvent::LogSent { replica, to, stamp, upto });
        });
        None
    }

    /// Whether writes wait for a follower: it is in sync, or about to be.
    fn is_waited_for(&self, follower: ReplicaId) -> bool {
        let status = self.engine.status(self.context.world.now());
        status.followers.iter().any(|f| f.replica == follower && f.counts)
    }

    /// Takes what another replica says.
    pub fn replicate(&mut self, from: ReplicaId, message: Message) {
        if let Message::Append(append) = &message
            && !append.entries.is_empty()
        {
            let bytes: usize = append.entries.iter().map(|entry| entry.body.bytes()).sum();
            let counters = &self.context.counters;
            Counters::add(&counters.replicated_bytes, bytes as u64);
            // Nobody waits for what a replica is brought up with.
            if self.configuration.as_ref().is_some_and(|c| c.in_sync.contains(&self.id)) {
                Counters::add(&counters.demands, 1);
            }
        }
        self.handle(Event::Message { from, message });
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::{Bench, ME};
    use super::*;
    use crate::codec::Native;
    use crate::context::Context;
    use crate::run::NodeLoop;
    use partition::extent::DataKey;
    use partition::extent::command::Command;
    use partition::replica::{Ack, Position, Reject, Room};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;
    use types::configuration::PartitionKind;
    use types::limits::REPAIR_BYTES_PER_SECOND;
    use types::{DiskId, Epoch, Member, NodeId, PartitionId};
    use wire::control::{Assignment, NodeAddress};
    use wire::{Request, Responder, Service};

    const OTHER: ReplicaId = ReplicaId(2);
    const PAYLOAD_BYTES: usize = 64 << 10;
    const WRITES: u64 = 128;

    /// A follower that takes everything at once.
    #[derive(Debug)]
    struct Follower {
        context: Arc<Context>,
        last: Mutex<Position>,
    }

    impl Service for Follower {
        fn handle(&self, request: Request, _responder: Responder) {
            let Native { message, .. } =
                request.native.unwrap().downcast_ref::<Native>().unwrap().clone();
            let Message::Append(append) = message else { return };
            let mut last = self.last.lock().unwrap();
            let (epoch, stamp, life) = (append.epoch, append.stamp, 1);
            let answer = if append.previous.sequence > last.sequence {
                Message::Reject(Reject { epoch, stamp, life, hint: *last })
            } else {
                *last = append.entries.last().map_or(*last, |entry| (*last).max(entry.position()));
                let (matched, synced) = (last.sequence, last.sequence);
                let (proven, failure, room) = (true, None, Room::Enough);
                Message::Ack(Ack { epoch, stamp, life, matched, synced, proven, failure, room })
            };
            let native = Native { from: OTHER, to: ME, message: answer };
            self.context.post(NodeEvent::Replicate { partition: PartitionId(1), native });
        }
    }

    /// A node whose only replica has so much in its log, and a follower that is to be brought up.
    fn stage(bench: &Bench) -> (NodeLoop, Arc<Follower>) {
        let mut configuration = Bench::configuration(PartitionKind::Data);
        let mut holder = bench.create(PartitionKind::Data);
        holder.configure(configuration.clone());
        for number in 0..WRITES {
            let length = PAYLOAD_BYTES as u64;
            let key = DataKey { object: 1, offset: number * length, length };
            let payload = bytes::Bytes::from(vec![7; PAYLOAD_BYTES]);
            let checksums = types::checksum::block_checksums(&payload);
            let checksums = checksums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
            let write = Command::Write { key, checksums, payload };
            holder.submit(write.into_entry(), super::super::Waiter::Nobody);
            holder.submit_turn();
        }
        drop(holder);
        let node = NodeLoop::open(
            bench.context.clone(),
            vec![bench.home.clone()],
            Vec::new(),
            Arc::default(),
        );
        let follower =
            Arc::new(Follower { context: bench.context.clone(), last: Mutex::new(Position::ZERO) });
        let service: Arc<dyn Service> = follower.clone();
        bench.hub.register("other:1", &service);
        configuration.epoch = Epoch(2);
        configuration.catching_up.insert(OTHER);
        configuration.members.push(Member { replica: OTHER, node: NodeId(2), disk: DiskId(2) });
        bench.context.post(NodeEvent::Assigned(Assignment {
            cluster: 1,
            node: 1,
            nodes: vec![NodeAddress { node: 2, address: "other:1".into() }],
            configurations: vec![(&configuration).into()],
            ..Assignment::default()
        }));
        (node.unwrap(), follower)
    }

    /// How long it takes until the follower has everything.
    async fn bring_up(busy: bool) -> Duration {
        let bench = Bench::new();
        let (node, follower) = stage(&bench);
        let world = bench.context.world.clone();
        let ask = || Counters::add(&bench.context.counters.reads, busy.into());
        ask();
        world.spawn("node", bench.context.inbox.clone().keep(node));
        let (mut begun, mut asked) = (None, 0);
        loop {
            world.sleep(Duration::from_millis(5)).await;
            let now = world.now();
            ask();
            asked += 1;
            assert!(asked < 10_000, "it has {:?}", follower.last);
            let has = follower.last.lock().unwrap().sequence;
            if has >= Sequence(1) {
                begun.get_or_insert(now);
            }
            if has > Sequence(WRITES) {
                return now.since(begun.unwrap());
            }
        }
    }

    /// It went at a quarter of the rate, or less: after each piece the follower was asked anew where
    /// its log ends.
    #[tokio::test(start_paused = true)]
    async fn who_is_brought_up_while_clients_want_something_is_so_at_the_rate() {
        let all = WRITES * PAYLOAD_BYTES as u64;
        let expected = all as f64 / REPAIR_BYTES_PER_SECOND as f64;
        let took = bring_up(true).await.as_secs_f64();
        assert!((0.8..1.3).contains(&(took / expected)), "{took} s, and not {expected}");
        assert!(bring_up(false).await < Duration::from_millis(20), "nobody wants anything");
    }

    /// The log of one that is brought up slowed all copies down to and from its node, though nobody
    /// wanted anything.
    #[tokio::test]
    async fn what_a_replica_is_brought_up_with_is_no_wish_of_clients() {
        let bench = Bench::new();
        let mut holder = bench.create(PartitionKind::Data);
        let mut configuration = Bench::configuration(PartitionKind::Data);
        configuration.leader = Some(OTHER);
        for (in_sync, asked) in [(OTHER, 0), (ME, 1)] {
            configuration.in_sync = [in_sync].into();
            holder.configuration = Some(configuration.clone());
            let key = DataKey { object: 1, offset: 0, length: 8 };
            let entry = partition::replica::Entry {
                epoch: Epoch(1),
                sequence: Sequence(1),
                body: Command::Trim(key).into_entry(),
            };
            let append = Append {
                epoch: Epoch(1),
                stamp: 1,
                life: 1,
                previous: Position::ZERO,
                end: Sequence(1),
                committed: Sequence::ZERO,
                sync_upto: Sequence::ZERO,
                entries: Arc::new([entry]),
            };
            holder.replicate(OTHER, Message::Append(append));
            assert_eq!(bench.context.counters.asked(), asked);
        }
    }

    /// Of two followers that were brought up at once, each got half of what had come meanwhile for
    /// nothing, and neither reached the end of a log that grew faster than the rate.
    #[test]
    fn each_follower_gets_all_that_its_log_grows_by() {
        let mut growth = Growth::default();
        growth.note_appended(7);
        assert_eq!((growth.since_fed(ME), growth.since_fed(OTHER)), (0, 0), "that is to be paid");
        growth.note_appended(5);
        assert_eq!(
            (growth.since_fed(ME), growth.since_fed(ME), growth.since_fed(OTHER)),
            (5, 0, 5)
        );
        growth.keep_members(&Bench::configuration(PartitionKind::Data));
        growth.note_appended(3);
        assert_eq!((growth.since_fed(ME), growth.since_fed(OTHER)), (3, 0));
    }
}
