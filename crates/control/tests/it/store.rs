//! The log and the state machine, under openraft's own suite.

use control::raft::TypeConfig;
use control::raft::backend;
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
        let store = Store::open(world, backend::open(&disk).unwrap()).unwrap();
        let machine = Machine::load(store.clone())?;
        Ok((folder, store, machine))
    }
}

#[test]
fn the_store_does_what_openraft_relies_on() {
    Suite::test_all(Builder).unwrap();
}
