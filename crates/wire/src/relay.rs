//! A request for a node that its sender cannot reach, passed on by one that can.
//!
//! Partition, epoch, deadline and payload of the frame are those of the request itself; the answer
//! is the target's. Only what clients ask of partitions is passed on, and only once.

use crate::operation::Operation;
use crate::server::Request;

/// What is to be passed on, and to whom.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Relay {
    /// The node that is meant.
    #[prost(uint64, tag = "1")]
    pub node: u64,
    /// Number of the operation.
    #[prost(uint32, tag = "2")]
    pub operation: u32,
    /// Its body.
    #[prost(bytes = "bytes", tag = "3")]
    pub body: bytes::Bytes,
}

/// Wraps a request for `node`.
#[must_use]
pub fn wrap(request: Request, node: types::NodeId) -> Request {
    assert!(request.operation.is_on_volume(), "{} is not for relays", request.operation.name());
    let operation = u32::from(request.operation as u16);
    let relay = Relay { node: node.0, operation, body: request.body.clone() };
    Request { operation: Operation::Relay, ..request }.message(&relay)
}

/// Unwraps what [`wrap`] wrapped: the node that is meant, and the request.
///
/// # Errors
/// Why it is not to be passed on, for people.
pub fn unwrap(request: Request) -> Result<(types::NodeId, Request), String> {
    let relay: Relay = request.decode().map_err(|error| error.to_string())?;
    let operation = u16::try_from(relay.operation).ok().and_then(Operation::from_number);
    match operation.filter(|operation| operation.is_on_volume()) {
        Some(operation) => {
            // A client's request stays one, whichever session it came by.
            let class = crate::operation::Class::Foreground;
            let request = Request { operation, class, body: relay.body, ..request };
            Ok((types::NodeId(relay.node), request))
        }
        None => Err(format!("operation {} is not passed on", relay.operation)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use types::{Epoch, NodeId, PartitionId};

    #[test]
    fn what_is_unwrapped_is_what_was_wrapped() {
        let body = Bytes::from_static(b"where");
        let payload = Bytes::from_static(b"what");
        let request = Request { body, ..Request::new(Operation::DataWrite) };
        let request = request.partition(PartitionId(7)).epoch(Epoch(3)).payload(payload);
        let wrapped = wrap(request.clone(), NodeId(2));
        assert_eq!((wrapped.operation, wrapped.partition), (Operation::Relay, PartitionId(7)));
        let (node, found) = unwrap(wrapped).unwrap();
        assert_eq!(node, NodeId(2));
        assert_eq!((found.operation, &found.body), (request.operation, &request.body));
        assert_eq!((found.epoch, &found.payload), (request.epoch, &request.payload));
    }

    #[test]
    fn only_what_clients_ask_of_partitions_is_passed_on() {
        let refused = [Operation::Relay, Operation::Assign, Operation::ControlRaft];
        for number in refused.map(|operation| u32::from(operation as u16)).into_iter().chain([999])
        {
            let relay = Relay { node: 1, operation: number, body: Bytes::new() };
            let request = Request::new(Operation::Relay).message(&relay);
            assert!(unwrap(request).is_err(), "{number}");
        }
    }
}
