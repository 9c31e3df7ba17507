//! Answers for tools that were written for CubeFS: how far a decommission is.
//!
//! docs/operations.md says what is mapped to what. `addr` is the address of a node; its port may be left
//! out. Counts are of replicas of data partitions for `/dataNode/` and `/disk/`, of namespaces for
//! `/metaNode/`. A node holds both here, so one decommission shows in both.

use super::view::look;
use crate::core::Core;
use crate::operation::{Item, Operation};
use crate::state::{Node, State as Record};
use axum::Json;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use types::configuration::PartitionKind;
use types::operation::{OperationKind, OperationState, Target};
use types::{DiskId, NodeId, PartitionId};

/// Which node, and which of its disks.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    addr: String,
    /// Its number or its label.
    #[serde(default)]
    disk: String,
}

/// Every answer.
#[derive(Debug, Serialize)]
pub(super) struct Envelope {
    code: i32,
    msg: String,
    data: Option<Progress>,
}

/// How far it is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Progress {
    /// `Prepare`, `Running`, `Success`, `Failed`, `Stop` or `Cancel`.
    status: &'static str,
    /// Of the bytes that can be moved, in percent.
    progress: String,
    total_dp_cnt: usize,
    /// Of them, those that can be moved and are not yet.
    remaining_dp_cnt: usize,
    incomplete_partitions: Vec<Incomplete>,
    /// The operation's number here.
    #[serde(rename = "OperationID")]
    operation_id: u64,
    /// Its state here, which says more than `Status`.
    operation_state: String,
}

/// A partition left over.
#[derive(Debug, Serialize)]
struct Incomplete {
    #[serde(rename = "PartitionID")]
    partition_id: u64,
    #[serde(rename = "Reason")]
    reason: String,
    #[serde(rename = "Timestamp")]
    timestamp: String,
}

pub(super) async fn data_node(core: State<Arc<Core>>, wanted: Query<Wanted>) -> Json<Envelope> {
    answer(&core, &wanted, Some(PartitionKind::Data), false)
}

pub(super) async fn meta_node(core: State<Arc<Core>>, wanted: Query<Wanted>) -> Json<Envelope> {
    answer(&core, &wanted, Some(PartitionKind::Namespace), false)
}

pub(super) async fn disk(core: State<Arc<Core>>, wanted: Query<Wanted>) -> Json<Envelope> {
    answer(&core, &wanted, Some(PartitionKind::Data), true)
}

fn answer(
    core: &Core,
    wanted: &Wanted,
    kind: Option<PartitionKind>,
    is_disk: bool,
) -> Json<Envelope> {
    let (_, found) = look(core, |sight| {
        let operation = find(sight.state, wanted, is_disk)?;
        Ok::<_, String>(progress(sight.state, operation, kind))
    });
    Json(match found {
        Ok(data) => Envelope { code: 0, msg: "success".to_owned(), data: Some(data) },
        Err(msg) => Envelope { code: 1, msg, data: None },
    })
}

fn find<'a>(state: &'a Record, wanted: &Wanted, is_disk: bool) -> Result<&'a Operation, String> {
    let node = node_at(state, &wanted.addr)?;
    let of_disk = is_disk.then(|| disk_of(state, node, &wanted.disk)).transpose()?;
    let zone = state.nodes.get(&node).map(|node| node.zone.clone()).unwrap_or_default();
    let concerns = |operation: &&Operation| match &operation.target {
        Target::Node(id) => *id == node,
        Target::Disk(id) => Some(*id) == of_disk,
        Target::Zone(name) => *name == zone,
        Target::Volume(_) | Target::Cluster | Target::Partition(_) => false,
    };
    let mut decommissions =
        state.operations.all.values().filter(|o| o.kind == OperationKind::Decommission);
    let last = decommissions.rfind(concerns);
    last.ok_or_else(|| "no decommission was asked for".to_owned())
}

fn node_at(state: &Record, address: &str) -> Result<NodeId, String> {
    let host =
        |node: &&Node| node.address.rsplit_once(':').is_some_and(|(host, _)| host == address);
    let exact = state.nodes.values().find(|node| node.address == address);
    let mut hosts = state.nodes.values().filter(host);
    let found = exact.or_else(|| hosts.next().filter(|_| hosts.next().is_none()));
    found.map(|node| node.id).ok_or_else(|| format!("there is no node at '{address}'"))
}

fn disk_of(state: &Record, node: NodeId, which: &str) -> Result<DiskId, String> {
    let is_it = |disk: &&crate::state::Disk| {
        disk.node == node && (disk.label == which || disk.id.to_string() == which)
    };
    let found = state.disks.values().find(is_it).map(|disk| disk.id);
    found.ok_or_else(|| format!("node {node} has no disk '{which}'"))
}

fn progress(state: &Record, operation: &Operation, kind: Option<PartitionKind>) -> Progress {
    // What is gone from the record is counted with data.
    let kind_of = |id: PartitionId| {
        let record = state.partitions.get(&id);
        record.map_or(PartitionKind::Data, |partition| partition.configuration.kind)
    };
    let all =
        operation.items.iter().filter(|(id, _)| kind.is_none_or(|kind| kind == kind_of(**id)));
    let items: Vec<(&PartitionId, &Item)> = all.collect();
    let movable = || items.iter().map(|(_, item)| *item).filter(|i| i.done || i.residue.is_none());
    let add = |sum: u64, item: &Item| sum.saturating_add(item.bytes);
    let whole = movable().fold(0, add);
    let done = movable().filter(|item| item.done).fold(0, add);
    let incomplete = items.iter().filter(|(_, item)| !item.done).filter_map(|(id, item)| {
        let residue = item.residue.as_ref()?;
        Some(Incomplete {
            partition_id: id.0,
            reason: residue.reason.to_string(),
            timestamp: residue.since.to_string(),
        })
    });
    let remaining = movable().filter(|item| !item.done).count();
    Progress {
        status: status(operation.state),
        // Nobody has looked yet: that nothing is known to remain means nothing.
        progress: match operation.state {
            OperationState::Planned => percent(0, 1, 1, 1),
            _ => percent(done, whole, remaining, movable().count()),
        },
        total_dp_cnt: items.len(),
        remaining_dp_cnt: remaining,
        incomplete_partitions: incomplete.collect(),
        operation_id: operation.id.0,
        operation_state: operation.state.to_string(),
    }
}

/// `Success` says that what can be moved was: what is left is listed.
fn status(state: OperationState) -> &'static str {
    match state {
        OperationState::Planned => "Prepare",
        OperationState::Running | OperationState::Verifying => "Running",
        OperationState::Succeeded | OperationState::Incomplete => "Success",
        OperationState::Paused => "Stop",
        OperationState::Failed => "Failed",
        OperationState::Cancelled => "Cancel",
    }
}

/// A hundred only when nothing remains.
fn percent(done: u64, whole: u64, remaining: usize, count: usize) -> String {
    let share = match () {
        () if remaining == 0 => 10_000,
        () if whole > 0 => u128::from(done) * 10_000 / u128::from(whole),
        () => ((count - remaining) as u128) * 10_000 / (count.max(1) as u128),
    };
    let share = if remaining > 0 { share.min(9_999) } else { share };
    format!("{}.{:02}%", share / 100, share % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_percent_means_that_nothing_remains() {
        assert_eq!(percent(10, 10, 0, 2), "100.00%");
        assert_eq!(percent(10, 10, 1, 2), "99.99%");
        assert_eq!(percent(1, 3, 1, 2), "33.33%");
        assert_eq!(percent(0, 0, 1, 4), "75.00%");
        assert_eq!(percent(0, 0, 0, 0), "100.00%");
    }
}
