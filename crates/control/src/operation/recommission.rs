//! Taking a place back into service.
//!
//! What took it out of service is cancelled where it is still at work. One of several (a node of a zone) comes back
//! alone when that has ended, and with all others when it is cancelled.

use super::apply::{become_state, check_by};
use super::record::Duty;
use crate::state::{Event, Outcome, Refusal, State};
use types::operation::{OperationState, Target};
use types::{DiskId, NodeId, OperationId, Timestamp};

/// Takes a node back. Disks of it that left by themselves stay where they are.
pub(super) fn node(
    state: &mut State,
    node: NodeId,
    by: &str,
    at: Timestamp,
) -> Result<Outcome, Refusal> {
    let is_there = state.nodes.contains_key(&node);
    let duty = state.operations.nodes.get(&node).copied();
    let id = end(state, &Target::Node(node), is_there.then_some(duty), by, at)?;
    state.operations.nodes.remove(&node);
    let (subject, words) = (format!("node/{node}"), format!("by {by}"));
    state.events.push(Event::of("node", subject, "recommissioned", words, at));
    Ok(Outcome::Operation(id))
}

/// Takes a disk back. One of a node that is out of service is so until its node comes back.
pub(super) fn disk(
    state: &mut State,
    disk: DiskId,
    by: &str,
    at: Timestamp,
) -> Result<Outcome, Refusal> {
    let record = state.disks.get(&disk);
    let of_node = record.and_then(|disk| state.operations.nodes.get(&disk.node).map(|_| disk.node));
    let own = state.operations.disks.get(&disk).copied();
    if let (None, Some(node)) = (own, of_node) {
        let reason =
            format!("disk {disk} is out of service with its node: recommission node {node}");
        return Err(Refusal::contradicts(reason));
    }
    let id = end(state, &Target::Disk(disk), record.map(|_| own), by, at)?;
    state.operations.disks.remove(&disk);
    let (subject, words) = (format!("disk/{disk}"), format!("by {by}"));
    state.events.push(Event::of("disk", subject, "recommissioned", words, at));
    Ok(Outcome::Operation(id))
}

/// Cancels what keeps a place out of service, unless that has ended.
fn end(
    state: &mut State,
    target: &Target,
    duty: Option<Option<Duty>>,
    by: &str,
    at: Timestamp,
) -> Result<OperationId, Refusal> {
    check_by(by)?;
    let words = target.to_string().replace('/', " ");
    let duty = duty.ok_or_else(|| Refusal::NoSuchTarget { target: target.to_string() })?;
    let duty = duty.ok_or_else(|| Refusal::contradicts(format!("{words} is in service")))?;
    let ended = state.operations.all.get(&duty.operation).is_none_or(|o| o.state.has_ended());
    if !ended {
        let why = format!("{words} recommissioned by {by}");
        become_state(state, duty.operation, OperationState::Cancelled, &why, at)?;
    }
    Ok(duty.operation)
}
