//! The log and the state machine, under openraft's own suite.

use control::raft::TypeConfig;
use control::raft::machine::Machine;
use control::raft::store::Store;
use openraft::StorageError;
use openraft::testing::{StoreBuilder, Suite};
use world::{Disk, Net, World};

struct Builder;

impl StoreBuilder<TypeConfig, Store, Machine, tempfile::TempDir> for Builder {
    async fn build(&self) -> Result<(tempfile::TempDir, Store, Machine), StorageError<u64>> {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::real(folder.path()).unwrap();
        let world = World::real(Net::tcp());
        let store = Store::open(world, disk).unwrap();
        let machine = Machine::load(store.clone()).await?;
        Ok((folder, store, machine))
    }
}

#[test]
fn the_store_does_what_openraft_relies_on() {
    Suite::test_all(Builder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_inspected_without_being_touched() {
    let cluster = super::cluster::Cluster::start(1).await;
    let state = cluster.state().await;
    let before = cluster.file(1);
    let world = World::real(Net::tcp());
    let shown = control::raft::inspect::inspect(world.clone(), before.clone()).unwrap();
    assert_eq!(shown["format"], 1);
    let cluster_id = state.cluster.unwrap().0;
    assert!(shown["log"].to_string().contains(&cluster_id.to_string()), "{shown}");

    control::raft::inspect::inspect(world.clone(), b"not a database".to_vec()).unwrap_err();
    let mut damaged = before;
    let middle = damaged.len() / 2;
    damaged[..middle].fill(0xA5);
    control::raft::inspect::inspect(world, damaged).unwrap_err();
}
