//! Keys in a disk's database that belong to nobody: of replicas that were deleted, and of older indexes.
//!
//! They are left when a process dies between two steps: a replica's folder was removed and its last
//! checkpoint was still being written, or a snapshot was taken up and the index before it was not yet taken away. Nobody
//! reads them, but they take room. A start looks for them; it costs a seek for each replica.

use super::Holder;
use super::open::{Found, space_of};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use types::configuration::PartitionKind;
use types::kv::{Error, Read, prefix_end};
use types::{PartitionId, ReplicaId};
use world::kv::Database;

/// Keys begin with the partition and the replica, then the generation of the index.
const OWNER_BYTES: usize = 16;
const GENERATION_BYTES: usize = 4;

/// Whose keys there are in a database that are not of a replica in `known`.
///
/// # Errors
/// When it cannot be read.
pub fn strangers(
    database: &Database,
    known: &BTreeSet<Found>,
) -> Result<Vec<(Found, PartitionKind)>, Error> {
    let mut all = Vec::new();
    for kind in [PartitionKind::Data, PartitionKind::Namespace] {
        let kv = database.handle(space_of(kind), Vec::new());
        for prefix in prefixes(&kv, &[], OWNER_BYTES)? {
            let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().expect("eight bytes"));
            let found = Found {
                partition: PartitionId(number(&prefix[..8])),
                replica: ReplicaId(number(&prefix[8..])),
            };
            if !known.contains(&found) {
                all.push((found, kind));
            }
        }
    }
    Ok(all)
}

/// The distinct beginnings of `length` bytes of the keys that begin with `within`, ascending.
fn prefixes(kv: &dyn Read, within: &[u8], length: usize) -> Result<Vec<Vec<u8>>, Error> {
    let (mut all, mut from) = (Vec::new(), Some(within.to_vec()));
    let until = prefix_end(within);
    while let Some(start) = from {
        let mut first = None;
        kv.scan(&start, until.as_deref(), &mut |key, _| {
            first = Some(key.to_vec());
            ControlFlow::Break(())
        })?;
        let Some(key) = first else { break };
        let Some(prefix) = key.get(..length) else {
            // Not one of ours.
            from = Some([&key[..], &[0]].concat());
            continue;
        };
        from = prefix_end(prefix).map(|end| end.to_vec());
        all.push(prefix.to_vec());
    }
    Ok(all)
}

impl Holder {
    /// Takes away indexes of this replica that are not the one in use.
    pub fn sweep_generations(&mut self) {
        let found = Found { partition: self.partition, replica: self.id };
        let kv = self.database.handle(space_of(self.kind), Vec::new());
        let owner = [found.partition.0.to_be_bytes(), found.replica.0.to_be_bytes()].concat();
        let generations = match prefixes(&kv, &owner, OWNER_BYTES + GENERATION_BYTES) {
            Ok(generations) => generations,
            Err(error) => {
                return tracing::warn!(replica = %self.id, %error, "cannot look for old indexes");
            }
        };
        for prefix in generations {
            let generation = prefix[OWNER_BYTES..].try_into().expect("four bytes");
            let generation = u32::from_be_bytes(generation);
            if generation != self.stored.generation {
                self.sweep(generation);
            }
        }
    }
}
