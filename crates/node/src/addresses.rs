//! Where nodes listen, and what volumes may hold: what the control plane said of the newest state.
//!
//! What is older than what is at hand is dropped: it comes from a leader that was deposed. Unless nobody
//! confirms the newer for long: then the control plane itself was restored from an older copy, and its nodes
//! may since have moved. The rule is that of [`crate::access`].

use std::collections::BTreeMap;
use types::limits::PUSHED_DOUBT_MIN;
use types::{Moment, NodeId, VolumeId};
use wire::control::Assignment;

/// Addresses and capacities of one state of the control plane.
#[derive(Debug, Default)]
pub struct Addresses {
    /// Which state; zero before the first.
    pub revision: u64,
    /// When the control plane last said that there is nothing newer.
    confirmed: Option<Moment>,
    pub nodes: BTreeMap<NodeId, String>,
    /// What the volumes of this node's replicas may hold.
    pub capacities: BTreeMap<VolumeId, u64>,
}

impl Addresses {
    /// Takes what the control plane says.
    pub fn take(&mut self, now: Moment, assignment: &Assignment) {
        let doubt = self.confirmed.is_none_or(|at| now.since(at) >= PUSHED_DOUBT_MIN);
        if assignment.revision < self.revision && !doubt {
            return;
        }
        if assignment.nodes.is_empty() {
            // Whoever answers knows that this node has those of its own state.
            if assignment.revision == self.revision {
                self.confirmed = Some(now);
            }
            return;
        }
        self.confirmed = Some(now);
        self.revision = assignment.revision;
        let nodes = assignment.nodes.iter();
        self.nodes = nodes.map(|node| (NodeId(node.node), node.address.clone())).collect();
        let capacities = assignment.capacities.iter();
        self.capacities = capacities.map(|c| (VolumeId(c.volume), c.bytes)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use wire::control::{Capacity, NodeAddress};

    fn says(revision: u64, address: &str, bytes: u64) -> Assignment {
        Assignment {
            revision,
            nodes: vec![NodeAddress { node: 1, address: address.into() }],
            capacities: vec![Capacity { volume: 2, bytes }],
            ..Assignment::default()
        }
    }

    fn known(addresses: &Addresses) -> (u64, &str, u64) {
        let (node, volume) = (NodeId(1), VolumeId(2));
        (addresses.revision, &addresses.nodes[&node], addresses.capacities[&volume])
    }

    /// A control plane that was restored from an older copy was not believed before it had decided as much
    /// as the one before: nodes went on asking for each other where they had been.
    #[test]
    fn what_is_older_counts_once_nobody_stands_by_the_newer() {
        let (mut addresses, mut now) = (Addresses::default(), Moment(1 << 40));
        addresses.take(now, &says(9, "a:1", 10));
        assert_eq!(known(&addresses), (9, "a:1", 10));
        // A leader that was deposed, while the one that leads stands by what it said.
        let nothing_new = Assignment { revision: 9, ..Assignment::default() };
        for _ in 0..30 {
            now = now + PUSHED_DOUBT_MIN / 5;
            addresses.take(now, &nothing_new);
            addresses.take(now, &says(5, "b:1", 5));
            assert_eq!(known(&addresses), (9, "a:1", 10));
        }
        // What says nothing of addresses is no reason to forget them, whatever its age.
        addresses.take(now + Duration::from_secs(1), &Assignment { revision: 5, ..nothing_new });
        now = now + PUSHED_DOUBT_MIN;
        addresses.take(now, &says(5, "b:1", 5));
        assert_eq!(known(&addresses), (5, "b:1", 5));
        addresses.take(now, &says(6, "c:1", 6));
        assert_eq!(known(&addresses), (6, "c:1", 6));
    }
}
