//! Asks the nodes of an operation's target what is really on their disks.
//!
//! Not what they hold in memory and say in heartbeats: they read their folders anew. Asked once an operation
//! verifies, so the answer is younger than its last step.

use crate::core::Core;
use crate::operation::sense::{Contents, Listing};
use crate::plan::Plan;
use std::collections::BTreeMap;
use std::sync::Arc;
use types::limits::CONTENTS_DEADLINE;
use types::{BootId, DiskId, NodeId, OperationId, PartitionId, ReplicaId};
use wire::control as message;
use wire::{Class, Operation, Request};

/// Asks for every operation that needs it and is not asking already.
pub(crate) fn ask(core: &Arc<Core>, plan: &Plan) {
    for (operation, round) in plan.rounds.iter().filter(|(_, round)| !round.ask.is_empty()) {
        let begins =
            core.leading().as_mut().is_some_and(|leading| leading.asking.insert(*operation));
        if !begins {
            continue;
        }
        let (of, operation, verification) = (core.clone(), *operation, round.verification);
        let nodes = round.ask.clone();
        core.world.spawn("operation-listing", async move {
            let nodes = listings(&of, &nodes).await;
            take(&of, operation, verification, nodes);
        });
    }
}

async fn listings(core: &Arc<Core>, nodes: &[NodeId]) -> BTreeMap<NodeId, Listing> {
    let calls = nodes.iter().map(|node| async { Some((*node, listing(core, *node).await?)) });
    futures::future::join_all(calls).await.into_iter().flatten().collect()
}

async fn listing(core: &Arc<Core>, node: NodeId) -> Option<Listing> {
    let address = core.machine.read(|state, _| Some(state.nodes.get(&node)?.address.clone()))?;
    let request = Request::new(Operation::Contents)
        .class(Class::Control)
        .deadline(CONTENTS_DEADLINE)
        .message(&message::AskContents { node: node.0 });
    let answer = match core.network.peers.call(&address, request).await {
        Ok(reply) => reply.decode::<message::Contents>().map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match answer {
        Ok(contents) if contents.node == node.0 => Some(read(&contents)),
        Ok(contents) => {
            tracing::warn!(%node, other = contents.node, "another node answers at its address");
            None
        }
        Err(error) => {
            tracing::warn!(%node, error, "a node did not list what is on its disks");
            None
        }
    }
}

fn read(contents: &message::Contents) -> Listing {
    let replica = |found: &message::FoundReplica| {
        (PartitionId(found.partition), ReplicaId(found.replica), DiskId(found.disk))
    };
    Listing {
        boot: BootId(contents.boot),
        replicas: contents.replicas.iter().map(replica).collect(),
        disks: contents.listed.iter().copied().map(DiskId).collect(),
    }
}

/// Takes the answers. When a node did not answer, nobody did: it is asked again.
fn take(core: &Core, operation: OperationId, verification: u32, nodes: BTreeMap<NodeId, Listing>) {
    let at = core.world.now();
    if let Some(leading) = core.leading().as_mut() {
        leading.asking.remove(&operation);
        leading.contents.insert(operation, Contents { verification, at, nodes });
    }
    core.poke.notify_one();
}
