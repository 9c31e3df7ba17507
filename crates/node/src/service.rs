//! The node's side of the wire: every request becomes an event of the loop.

use crate::codec::{self, Native};
use crate::context::{Context, Counters};
use crate::run::NodeEvent;
use std::sync::Arc;
use wire::{Operation, Reply, Request, Responder, Service, Status};

/// Answers other nodes, clients and the control plane.
#[derive(Debug)]
pub struct NodeService {
    pub context: Arc<Context>,
}

impl Service for NodeService {
    fn handle(&self, request: Request, responder: Responder) {
        match request.operation {
            Operation::Ping => responder.reply(Reply::default()),
            Operation::Replicate => self.replicate(request),
            Operation::Assign => match request.decode::<wire::control::Assignment>() {
                Ok(assignment) => {
                    self.context.post(NodeEvent::Assigned(assignment));
                    responder.reply(Reply::message(&wire::control::AssignReply {}));
                }
                Err(error) => responder.refuse(Status::Invalid, error.to_string()),
            },
            Operation::Relay => self.relay(request, responder),
            _ => self.context.post(NodeEvent::Request { request, responder }),
        }
    }
}

impl NodeService {
    /// Passes a client's request on to a node of this cluster that the client cannot reach.
    fn relay(&self, request: Request, responder: Responder) {
        let (node, request) = match wire::relay::unwrap(request) {
            Ok(unwrapped) => unwrapped,
            Err(reason) => return responder.refuse(Status::Invalid, reason),
        };
        let Some(address) = self.context.address(node) else {
            return responder.refuse(Status::NoPartition, format!("{node} is not known here"));
        };
        Counters::add(&self.context.counters.relayed, 1);
        let context = self.context.clone();
        self.context.world.spawn("relay", async move {
            match context.peers.call(&address, request).await {
                Ok(reply) => responder.reply(reply),
                Err(wire::Error::Refused { status, message, body }) => {
                    responder.refuse_with(status, message, body);
                }
                // Nothing was sent; as far as this node can tell there is no leader.
                Err(error @ wire::Error::Unreachable { .. }) => {
                    responder.refuse(Status::NotLeader, error.to_string());
                }
                Err(error) => responder.refuse(Status::Unknown, error.to_string()),
            }
        });
    }

    fn replicate(&self, request: Request) {
        let partition = request.partition;
        let native = match request.native.as_ref().and_then(|native| native.downcast_ref()) {
            Some(native) => Native::clone(native),
            None => {
                let body = request.decode().map_err(|error| error.to_string());
                let native = body.and_then(|body| {
                    codec::decode(body, &request.payload).map_err(|error| error.to_string())
                });
                match native {
                    Ok(native) => native,
                    Err(error) => {
                        Counters::add(&self.context.counters.malformed_messages, 1);
                        return tracing::warn!(%partition, error, "a message was dropped");
                    }
                }
            }
        };
        self.context.post(NodeEvent::Replicate { partition, native });
    }
}
