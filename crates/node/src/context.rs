//! What every part of a node may use.

use crate::addresses::Addresses;
use crate::inbox::Inbox;
use crate::pace::{CopyPaces, Due, Pace};
use crate::run::{NodeEvent, NodeLoop};
use crate::upkeep::Upkeep;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use types::limits::{COPY_REST_MAX, REPAIR_BUSY_LASTS};
use types::{BootId, NodeId, ReplicaId, VolumeId};
use wire::{Members, Peers};
use world::World;

/// Shared by the parts of one node.
#[derive(Debug)]
pub struct Context {
    pub world: World,
    pub peers: Peers,
    pub members: Members,
    pub node: NodeId,
    pub cluster: u64,
    pub boot: BootId,
    /// Where other nodes listen, as the control plane last said.
    pub addresses: RwLock<Addresses>,
    /// The way into the node's own loop.
    pub inbox: Inbox<NodeLoop>,
    pub upkeep: Upkeep,
    pub counters: Arc<Counters>,
    pub pace: Mutex<Pace>,
    pub copy_paces: Mutex<CopyPaces>,
}

/// What happened on this node since it started, and how it is.
#[derive(Debug, Default)]
pub struct Counters {
    pub writes: AtomicU64,
    pub bytes_written: AtomicU64,
    pub reads: AtomicU64,
    pub bytes_read: AtomicU64,
    /// Taken from leaders: entries of logs, and pieces of snapshots.
    pub replicated_bytes: AtomicU64,
    pub snapshot_bytes: AtomicU64,
    /// Entries of logs of clients that wait for this node to have them, and what namespaces are asked.
    pub demands: AtomicU64,
    pub syncs: AtomicU64,
    pub checkpoints: AtomicU64,
    pub compactions: AtomicU64,
    pub compacted_bytes: AtomicU64,
    pub damaged_found: AtomicU64,
    pub damaged_mended: AtomicU64,
    pub malformed_messages: AtomicU64,
    pub relayed: AtomicU64,
    pub denied: AtomicU64,
    pub reaped: AtomicU64,
    pub reaped_bytes: AtomicU64,
    pub reap_failures: AtomicU64,
    pub replicas: AtomicU64,
    pub replicas_leading: AtomicU64,
    pub replicas_unwell: AtomicU64,
    pub disk_free_bytes: AtomicU64,
    pub disk_total_bytes: AtomicU64,
    pub ballast_bytes: AtomicU64,
}

impl Counters {
    /// Adds to a counter.
    pub fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }

    /// Goes up whenever clients want something of this node, by its leaders or as a follower that is
    /// waited for. What is itself repaired here is nobody's wish.
    #[must_use]
    pub fn asked(&self) -> u64 {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        read(&self.writes) + read(&self.reads) + read(&self.demands)
    }

    /// Name, help and value of what goes up and down, as of the last heartbeat.
    #[must_use]
    pub fn gauges(&self) -> Vec<(&'static str, &'static str, u64)> {
        let read = |gauge: &AtomicU64| gauge.load(Ordering::Relaxed);
        vec![
            ("replicas", "Replicas on this node", read(&self.replicas)),
            ("replicas_leading", "Replicas that lead", read(&self.replicas_leading)),
            (
                "replicas_unwell",
                "Replicas that are full, damaged or failed",
                read(&self.replicas_unwell),
            ),
            ("disk_free_bytes", "Room on this node's disks", read(&self.disk_free_bytes)),
            ("disk_total_bytes", "Size of this node's disks", read(&self.disk_total_bytes)),
            (
                "ballast_bytes",
                "Room held back for what was ordered when a disk is full to the last byte",
                read(&self.ballast_bytes),
            ),
        ]
    }

    /// Name, help and value of each counter, for export.
    #[must_use]
    pub fn list(&self) -> Vec<(&'static str, &'static str, u64)> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        vec![
            ("writes", "Records this node ordered as leader", read(&self.writes)),
            ("written_bytes", "Payload bytes of those records", read(&self.bytes_written)),
            ("reads", "Reads this node answered", read(&self.reads)),
            ("read_bytes", "Bytes of those reads", read(&self.bytes_read)),
            ("replicated_bytes", "Bytes of log taken from leaders", read(&self.replicated_bytes)),
            ("snapshot_bytes", "Bytes of snapshots taken", read(&self.snapshot_bytes)),
            ("syncs", "Syncs of logs", read(&self.syncs)),
            ("checkpoints", "Checkpoints of replicas", read(&self.checkpoints)),
            ("compactions", "Segments that were rewritten", read(&self.compactions)),
            ("compacted_bytes", "Bytes copied for that", read(&self.compacted_bytes)),
            ("damaged_found", "Damaged records found", read(&self.damaged_found)),
            ("damaged_mended", "Damaged records mended", read(&self.damaged_mended)),
            ("malformed_messages", "Messages not understood", read(&self.malformed_messages)),
            ("relayed", "Requests passed on for clients", read(&self.relayed)),
            ("denied", "Requests of clients without a right to them", read(&self.denied)),
            ("reaped_inodes", "Files without names that were removed", read(&self.reaped)),
            ("reaped_bytes", "Bytes that came back with them", read(&self.reaped_bytes)),
            ("reap_failures", "Files that could not be removed yet", read(&self.reap_failures)),
        ]
    }
}

impl Context {
    /// Where a node listens, when that is known.
    #[must_use]
    pub fn address(&self, node: NodeId) -> Option<String> {
        self.addresses.read().expect("no holder panics").nodes.get(&node).cloned()
    }

    /// What a volume may hold, when that is known.
    #[must_use]
    pub fn capacity(&self, volume: VolumeId) -> Option<u64> {
        self.addresses.read().expect("no holder panics").capacities.get(&volume).copied()
    }

    /// Whether clients want something of this node.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let (now, asked) = (self.world.now(), self.counters.asked());
        self.pace.lock().expect("no holder panics").is_busy(now, asked)
    }

    /// Whether a copy has a limit of its own, by the word of the control plane.
    #[must_use]
    pub fn is_paced(&self, copy: ReplicaId) -> bool {
        self.copy_paces.lock().expect("no holder panics").has(copy)
    }

    /// So many bytes of a repair come or go, of this copy. Returns when it may go on.
    pub fn pace(&self, copy: ReplicaId, bytes: u64) -> Due {
        let (now, asked) = (self.world.now(), self.counters.asked());
        let own = self.copy_paces.lock().expect("no holder panics").take(now, copy, bytes);
        let mut pace = self.pace.lock().expect("no holder panics");
        let repair = pace.take(now, asked, bytes, self.upkeep.repair_bytes_per_second);
        Due { repair, own: own.min(now + COPY_REST_MAX) }
    }

    /// How long the next bytes of a copy have to wait that come from another node.
    #[must_use]
    pub fn repair_rest(&self, copy: ReplicaId) -> Duration {
        let (now, asked) = (self.world.now(), self.counters.asked());
        let rest = self.pace.lock().expect("no holder panics").wait(now, asked);
        let own = self.copy_paces.lock().expect("no holder panics").wait(now, copy);
        rest.max(own.min(COPY_REST_MAX))
    }

    /// Waits until then. Not for clients that want nothing any more, or for a limit that was lifted.
    pub async fn rest(&self, copy: ReplicaId, due: Due) {
        loop {
            let now = self.world.now();
            let repair = if self.is_busy() { due.repair.since(now) } else { Duration::ZERO };
            let own = if self.is_paced(copy) { due.own.since(now) } else { Duration::ZERO };
            let rest = repair.max(own);
            if rest.is_zero() {
                return;
            }
            self.world.sleep(rest.min(REPAIR_BUSY_LASTS)).await;
        }
    }

    /// Puts an event into the node's own loop.
    pub fn post(&self, event: NodeEvent) {
        self.inbox.post(event);
    }
}
