//! One replica on a simulated disk, for tests of what the replica does with it.

use super::{Holder, Home};
use crate::addresses::Addresses;
use crate::ballast::Ballast;
use crate::context::Context;
use crate::inbox::Inbox;
use crate::upkeep::Upkeep;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, RwLock};
use types::configuration::PartitionKind;
use types::volume::Durability;
use types::{
    BootId, Configuration, DiskId, Epoch, Member, NodeId, PartitionId, ReplicaId, VolumeId,
};
use wire::{Hub, Members, Peers};
use world::disk::sim::SimDisk;
use world::kv::Database;
use world::net::Net;
use world::{Disk, World};

pub(crate) const ME: ReplicaId = ReplicaId(1);

/// What a replica lives on.
pub(crate) struct Bench {
    pub sim: SimDisk,
    pub home: Home,
    pub context: Arc<Context>,
    pub hub: Hub,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        let world = World::real(Net::tcp());
        let hub = Hub::default();
        let peers = Peers::new(world.clone(), hub.clone(), Arc::default());
        let context = Arc::new(Context {
            members: Members::new(peers.clone(), Vec::new()),
            peers,
            node: NodeId(1),
            cluster: 1,
            boot: BootId(1),
            addresses: RwLock::new(Addresses::default()),
            inbox: Inbox::new(world.clone()),
            upkeep: Upkeep::default(),
            counters: Arc::default(),
            pace: Mutex::default(),
            copy_paces: Mutex::default(),
            world,
        });
        let sim = SimDisk::new("d", 1, 1 << 30);
        let disk = Disk::simulated(sim.clone());
        disk.create_folder(super::REPLICAS_FOLDER).expect("it is empty");
        let ballast = Ballast::open(disk.clone());
        let home = Home { disk_id: DiskId(1), disk, database: Database::simulated(), ballast };
        Bench { sim, home, context, hub }
    }

    /// A new replica, which is the only one and has not been told so.
    pub(crate) fn create(&self, kind: PartitionKind) -> Holder {
        let configuration = Self::configuration(kind);
        let member = configuration.members[0];
        Holder::create(self.context.clone(), &self.home, &configuration, &member)
            .expect("nothing fails")
    }

    /// Takes a replica off the disk.
    pub(crate) fn remove(&self, holder: Holder) {
        let found = super::Found { partition: holder.partition, replica: holder.id };
        let kind = holder.kind;
        drop(holder);
        super::destroy(&self.home.disk, &self.home.database, found, kind).expect("nothing fails");
    }

    pub(crate) fn configuration(kind: PartitionKind) -> Configuration {
        Configuration {
            partition: PartitionId(1),
            volume: VolumeId(1),
            kind,
            epoch: Epoch(1),
            leader: Some(ME),
            in_sync: BTreeSet::from([ME]),
            catching_up: BTreeSet::new(),
            members: vec![Member { replica: ME, node: NodeId(1), disk: DiskId(1) }],
            in_sync_min: 1,
            durability: Durability::Replicated,
        }
    }
}
