//! Ways around links that are cut.
//!
//! A client that cannot reach the leader of a partition, while the cluster can, would wait for as
//! long as the link is down. So it asks another node to pass its requests on. A node that did not
//! answer is remembered; requests for it go by others, in turns, until it answers a ping again.

use crate::{Client, Routes};
use std::collections::BTreeMap;
use std::sync::Mutex;
use types::limits::{DETOUR_PROBE_INTERVAL, DETOUR_UNUSED_MAX, DIRECT_ANSWER_MAX};
use types::{Kind, Moment, NodeId, PartitionId};
use wire::{Error, Operation, Reply, Request};

/// Addresses that did not answer, and when a request for them last went around.
#[derive(Debug, Default)]
pub(crate) struct Detours {
    cut: Mutex<BTreeMap<String, Detour>>,
}

#[derive(Clone, Copy, Debug)]
struct Detour {
    used: Moment,
    /// Whose turn it is to pass the next request on after a failure.
    turn: usize,
}

impl Detours {
    /// The turn of the way around to `address`, when one is taken.
    fn turn(&self, address: &str, now: Moment) -> Option<usize> {
        let mut cut = self.cut.lock().expect("no holder panics");
        let detour = cut.get_mut(address)?;
        detour.used = now;
        Some(detour.turn)
    }

    /// Notes that `address` did not answer; whether that is news.
    fn begin(&self, address: &str, now: Moment) -> bool {
        let mut cut = self.cut.lock().expect("no holder panics");
        let before = cut.len();
        cut.entry(address.to_string()).or_insert(Detour { used: now, turn: 0 });
        cut.len() > before
    }

    fn next_turn(&self, address: &str) {
        let mut cut = self.cut.lock().expect("no holder panics");
        if let Some(detour) = cut.get_mut(address) {
            detour.turn += 1;
        }
    }

    fn end(&self, address: &str) {
        self.cut.lock().expect("no holder panics").remove(address);
    }

    fn is_unused(&self, address: &str, now: Moment) -> bool {
        let cut = self.cut.lock().expect("no holder panics");
        cut.get(address).is_none_or(|detour| now.since(detour.used) > DETOUR_UNUSED_MAX)
    }
}

/// Whether an error tells of the way to a node, and not of the node's mind.
fn is_of_the_way(error: &Error) -> bool {
    matches!(error, Error::Unreachable { .. } | Error::Closed { .. } | Error::TimedOut { .. })
}

/// Nodes that may pass on what is meant for `leader`: those with a replica first, for they are
/// the ones it must reach anyway.
fn relays(routes: &Routes, partition: PartitionId, leader: NodeId) -> Vec<String> {
    let members = routes.partitions.get(&partition).map(|c| c.members.as_slice()).unwrap_or(&[]);
    let holds = |node: &NodeId| members.iter().any(|member| member.node == *node);
    let (first, last): (Vec<NodeId>, Vec<NodeId>) =
        routes.nodes.keys().copied().filter(|node| *node != leader).partition(holds);
    let address = |node: &NodeId| routes.nodes.get(node).cloned();
    first.iter().chain(&last).filter_map(address).collect()
}

impl Client {
    /// Asks the node at `address`, which leads `request.partition`, directly or by another node.
    /// Sets `uncertain` once an attempt may have been carried out without an answer.
    pub(crate) async fn ask_leader(
        &self,
        routes: &Routes,
        address: &str,
        request: Request,
        uncertain: &mut bool,
    ) -> Result<Reply, Error> {
        if let Some(turn) = self.detours.turn(address, self.world.now()) {
            return self.ask_around(routes, address, request, turn).await;
        }
        let patience = request.deadline.min(DIRECT_ANSWER_MAX);
        let result = self.peers.call(address, request.clone().deadline(patience)).await;
        match result {
            Err(error) if is_of_the_way(&error) => {
                *uncertain |= error.kind() == Kind::Unknown;
                self.begin_detour(address, &error);
                self.ask_around(routes, address, request, 0).await
            }
            result => result,
        }
    }

    async fn ask_around(
        &self,
        routes: &Routes,
        address: &str,
        request: Request,
        turn: usize,
    ) -> Result<Reply, Error> {
        let leader = routes.partitions.get(&request.partition).and_then(|c| c.leader_member());
        let relays = leader.map(|leader| relays(routes, request.partition, leader.node));
        let (Some(leader), Some(relays)) = (leader, relays.filter(|relays| !relays.is_empty()))
        else {
            return self.peers.call(address, request).await;
        };
        let relay = &relays[turn % relays.len()];
        let result = self.peers.call(relay, wire::relay::wrap(request, leader.node)).await;
        if result.is_err() {
            self.detours.next_turn(address);
        }
        result
    }

    fn begin_detour(&self, address: &str, error: &Error) {
        if self.detours.begin(address, self.world.now()) {
            tracing::debug!(address, %error, "going around a node that does not answer");
            let (client, address) = (self.clone(), address.to_string());
            self.world.spawn("client-detour", client.probe(address));
        }
    }

    /// Tries until `address` answers, or nobody asks for it any more.
    async fn probe(self, address: String) {
        loop {
            self.world.sleep(DETOUR_PROBE_INTERVAL).await;
            let ping = Request::new(Operation::Ping).deadline(DETOUR_PROBE_INTERVAL);
            let answers = self.peers.call(&address, ping).await.is_ok();
            if answers || self.detours.is_unused(&address, self.world.now()) {
                return self.detours.end(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detour_lasts_until_it_ends_or_nobody_takes_it() {
        let detours = Detours::default();
        let start = Moment(0);
        assert_eq!(detours.turn("a", start), None);
        assert!(detours.begin("a", start));
        assert!(!detours.begin("a", start), "one probe is enough");
        assert_eq!(detours.turn("a", start + DETOUR_UNUSED_MAX), Some(0));
        detours.next_turn("a");
        assert_eq!(detours.turn("a", start + DETOUR_UNUSED_MAX), Some(1));
        assert!(!detours.is_unused("a", start + DETOUR_UNUSED_MAX * 2));
        assert!(detours.is_unused("a", start + DETOUR_UNUSED_MAX * 3));
        detours.end("a");
        assert_eq!(detours.turn("a", start), None);
    }
}
