//! A control plane in this process.

use control::{Address, Config, Embedding, Member};
use std::collections::BTreeMap;
use std::time::Duration;
use world::{Disk, Net, World};

/// Members by number; `None` where one is stopped.
#[derive(Debug)]
pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    addresses: BTreeMap<u64, Address>,
    pub(crate) members: BTreeMap<u64, Member>,
    pub(crate) token: Option<String>,
}

async fn free_address() -> String {
    let listener = Net::tcp().listen("127.0.0.1:0").await.unwrap();
    listener.local_address().unwrap().to_string()
}

impl Cluster {
    /// Starts `count` members.
    pub(crate) async fn start(count: u64) -> Cluster {
        Cluster::start_with(count, None).await
    }

    pub(crate) async fn start_with(count: u64, token: Option<&str>) -> Cluster {
        let mut addresses = BTreeMap::new();
        for id in 1..=count {
            let address = Address { wire: free_address().await, admin: free_address().await };
            addresses.insert(id, address);
        }
        let folder = tempfile::tempdir().unwrap();
        let token = token.map(str::to_owned);
        let mut cluster = Cluster { folder, addresses, members: BTreeMap::new(), token };
        for id in 1..=count {
            cluster.start_member(id).await;
        }
        cluster
    }

    pub(crate) async fn start_member(&mut self, id: u64) {
        let world = World::real(Net::tcp());
        let disk = Disk::real(&self.folder.path().join(id.to_string())).unwrap();
        let embedding = Embedding {
            world,
            disk,
            hub: wire::Hub::default(),
            metrics: control::Metrics::new(std::sync::Arc::default()),
            wire_metrics: std::sync::Arc::default(),
        };
        let config = Config {
            id,
            group: "test".to_owned(),
            members: self.addresses.clone(),
            listen: self.addresses[&id].wire.clone(),
            admin_listen: self.addresses[&id].admin.clone(),
            admin_token: self.token.clone(),
            admin_tls: None,
            policy: control::plan::Policy::default(),
        };
        let member = Member::start(embedding, config).await.unwrap();
        self.members.insert(id, member);
    }

    pub(crate) async fn stop_member(&mut self, id: u64) {
        self.members.remove(&id).unwrap().stop().await;
    }

    /// Where nodes reach the members.
    pub(crate) fn controls(&self) -> Vec<String> {
        self.addresses.values().map(|address| address.wire.clone()).collect()
    }

    pub(crate) fn admin(&self, id: u64) -> &str {
        &self.addresses[&id].admin
    }

    /// What is in the database of a member.
    pub(crate) fn file(&self, id: u64) -> Vec<u8> {
        let disk = Disk::real(&self.folder.path().join(id.to_string())).unwrap();
        disk.read(control::raft::backend::FILE).unwrap().unwrap()
    }

    /// Waits for a leader.
    pub(crate) async fn leader(&self) -> u64 {
        let find = || self.members.iter().find(|(_, member)| member.leads()).map(|(id, _)| *id);
        eventually("a leader", || find().is_some()).await;
        find().unwrap_or_else(|| panic!("the leader is gone already"))
    }

    /// The state of the leader.
    pub(crate) async fn state(&self) -> control::state::State {
        let leader = self.leader().await;
        self.members[&leader].state()
    }
}

/// Waits until it is true.
pub(crate) async fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    for _ in 0..300 {
        if is_true() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("there never was {what}");
}
