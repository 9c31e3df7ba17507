//! The small sealed files: a replica's state, checkpoints, and who a node or a disk is.

use super::Inspected;
use node::store::{Checkpoint, Identity, ReplicaState, unseal};
use serde_json::{Value, json};
use std::path::Path;

/// Whether a sealed file would have this name.
pub(super) fn is_name(name: &str) -> bool {
    matches!(name, "state" | "node" | "disk") || name.starts_with("checkpoint-")
}

pub(super) fn inspect(path: &Path, name: &str, content: &[u8]) -> Inspected {
    // The kind is in the head, and the name says it too when the head is damaged.
    let kind = match (content.get(5), name) {
        (Some(1), _) => "state",
        (Some(2), _) => "checkpoint",
        (Some(3), "disk") => "disk",
        (Some(3), _) => "node",
        (_, name) if name.starts_with("checkpoint-") => "checkpoint",
        _ => "state",
    };
    let mut inspected = Inspected::new(kind, path);
    let decoded = match kind {
        "state" => unseal(content).map(|state| self::state(&state)),
        "checkpoint" => unseal(content).map(|checkpoint| self::checkpoint(&checkpoint)),
        _ => unseal(content).map(|identity| self::identity(&identity)),
    };
    match decoded {
        Ok(Value::Object(fields)) => inspected.head = fields,
        Ok(_) => unreachable!("all of them are objects"),
        Err(reason) => inspected.damage(0, reason),
    }
    inspected
}

fn state(state: &ReplicaState) -> Value {
    json!({
        "life": state.life, "epoch": state.epoch, "kind": format!("{:?}", state.kind()).to_lowercase(),
        "generation": state.generation, "clean": state.clean, "disk": state.disk,
        "proven_boot": state.proven_boot,
        "cut": state.cut,
        "opening": state.opening,
        "configuration": state.configuration.as_ref().map(|configuration| json!({
            "partition": configuration.partition, "volume": configuration.volume,
            "epoch": configuration.epoch, "leader": configuration.leader,
            "in_sync": configuration.in_sync, "catching_up": configuration.catching_up,
            "in_sync_min": configuration.in_sync_min,
            "members": configuration.members.iter().map(|member| json!({
                "replica": member.replica, "node": member.node, "disk": member.disk,
            })).collect::<Vec<_>>(),
        })),
    })
}

fn checkpoint(checkpoint: &Checkpoint) -> Value {
    json!({
        "sequence": checkpoint.sequence, "epoch": checkpoint.epoch,
        "segment": checkpoint.segment, "offset": checkpoint.offset,
        "synced": checkpoint.synced, "segment_min": checkpoint.segment_min,
        "log_start": checkpoint.log_start,
        "history": checkpoint.history.chunks_exact(2).map(|first| json!({
            "epoch": first[0], "first_sequence": first[1],
        })).collect::<Vec<_>>(),
    })
}

fn identity(identity: &Identity) -> Value {
    json!({
        "identity": identity.identity, "cluster": identity.cluster, "number": identity.number,
    })
}
