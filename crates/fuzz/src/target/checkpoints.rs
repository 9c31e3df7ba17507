//! Sealed files (checkpoints, states, identities) and the values of a data index.

use super::{Target, u32_at};
use node::store::{Checkpoint, Identity, ReplicaState, Stored, seal, unseal};
use partition::extent::{ChunkMap, Extent};
use partition::log::Location;
use partition::replica::{History, Position};
use types::checksum::crc32c;
use types::{Epoch, Sequence};

pub(super) const TARGET: Target = Target { name: "checkpoints", run, seeds, reseal };

fn run(bytes: &[u8]) {
    if let Ok(checkpoint) = unseal::<Checkpoint>(bytes) {
        sealed_again(&checkpoint);
        // As recovery does.
        let firsts = checkpoint.history.chunks_exact(2);
        let firsts =
            firsts.map(|pair| Position { epoch: Epoch(pair[0]), sequence: Sequence(pair[1]) });
        let mut history = History::from_stored(firsts.collect());
        history.truncate(Sequence(checkpoint.sequence));
    }
    if let Ok(state) = unseal::<ReplicaState>(bytes) {
        sealed_again(&state);
        let _ = state.configuration.as_ref().map(types::Configuration::try_from);
    }
    if let Ok(identity) = unseal::<Identity>(bytes) {
        sealed_again(&identity);
    }
    if let Ok(map) = ChunkMap::decode(bytes) {
        assert_eq!(ChunkMap::decode(&map.encode()).expect("it was just written"), map);
        let mut end = 0;
        for extent in map.extents() {
            assert!(extent.length > 0 && extent.start >= end, "extents overlap: {map:?}");
            end = extent.end();
        }
    }
}

fn sealed_again<M: Stored + PartialEq>(message: &M) {
    assert!(unseal::<M>(&seal(message)).is_ok_and(|read| read == *message));
}

fn seeds() -> Vec<Vec<u8>> {
    let checkpoint = Checkpoint {
        sequence: 900,
        epoch: 4,
        segment: 3,
        offset: 64,
        history: vec![1, 1, 3, 500, 4, 800],
        synced: 900,
        segment_min: 2,
        log_start: 400,
    };
    let state = ReplicaState { life: 3, epoch: 4, proven_boot: 77, kind: 1, ..Default::default() };
    let identity = Identity { identity: 1, cluster: 2, number: 3 };
    let mut map = ChunkMap::default();
    for at in [0_u32, 8192, 40_960] {
        let place = Location { segment: 1, offset: 64 + at };
        let extent = Extent { start: at, length: 4096, at: place, payload_bytes: 8192, skip: 0 };
        map.insert(extent, &mut Vec::new());
    }
    vec![seal(&checkpoint), seal(&state), seal(&identity), map.encode()]
}

fn reseal(bytes: &mut [u8]) {
    if bytes.len() < 16 || bytes[..4] != *b"HFST" {
        return;
    }
    // A length that is nearly right is of more use when it is right.
    if u32_at(bytes, 8).abs_diff(bytes.len() - 16) < 64 {
        let length = u32::try_from(bytes.len() - 16).expect("short");
        bytes[8..12].copy_from_slice(&length.to_le_bytes());
    }
    let mut covered = bytes[..12].to_vec();
    covered.extend_from_slice(&bytes[16..]);
    bytes[12..16].copy_from_slice(&crc32c(&covered).to_le_bytes());
}
