//! Deleting objects from the data partitions of a volume, wherever those are led.
//!
//! A task of its own: it may wait. Deleting twice does no harm, so whatever is not certain is
//! tried again, a few times; what stays uncertain is left to a later round of the reaper.

use super::reap::Deleted;
use crate::context::{Context, Counters};
use crate::run::NodeEvent;
use futures::stream::{self, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use types::configuration::PartitionKind;
use types::limits::{DELETE_OBJECTS_MAX, REAP_CONCURRENCY};
use types::{Configuration, Epoch, NodeId, PartitionId, ReplicaId, VolumeId};
use wire::control::{RoutesOutcome, RoutesReply, VolumeSelector};
use wire::{Class, Operation, Request, data};

/// How often a delete that failed is tried in one round.
const ATTEMPTS_MAX: u32 = 4;

/// An object that nobody needs any more.
#[derive(Clone, Debug)]
pub(super) struct Doomed {
    pub object: u64,
    /// Where its chunks are.
    pub partitions: BTreeSet<PartitionId>,
    /// There are more chunks than were listed: ask every data partition.
    pub everywhere: bool,
}

/// Where the partitions of a volume are.
#[derive(Debug)]
pub struct Routes {
    partitions: BTreeMap<PartitionId, Configuration>,
    nodes: BTreeMap<NodeId, String>,
}

/// One batch of objects to delete.
#[derive(Debug)]
pub(super) struct Deletion {
    pub context: Arc<Context>,
    pub replica: ReplicaId,
    pub epoch: Epoch,
    pub volume: VolumeId,
    pub orphans: Vec<Doomed>,
    pub routes: Option<Arc<Routes>>,
}

impl Deletion {
    /// Deletes what it can and tells the loop.
    pub(super) async fn run(mut self) {
        let gone = self.delete_all().await;
        let left = self.orphans.len() - gone.len();
        if left > 0 {
            Counters::add(&self.context.counters.reap_failures, left as u64);
        }
        let Deletion { context, replica, epoch, routes, .. } = self;
        context.post(NodeEvent::Deleted { replica, deleted: Deleted { epoch, gone, routes } });
    }

    async fn delete_all(&mut self) -> Vec<u64> {
        if self.routes.is_none() {
            self.refresh().await;
        }
        let Some(routes) = self.routes.clone() else { return Vec::new() };
        let mut batches = self.batches(&routes);
        for attempt in 0..ATTEMPTS_MAX {
            let Some(routes) = self.routes.clone() else { break };
            let (context, routes) = (&self.context, &routes);
            let failed = stream::iter(batches)
                .map(|(partition, objects)| async move {
                    let done = delete(context, routes, partition, &objects).await;
                    (!done).then_some((partition, objects))
                })
                .buffer_unordered(REAP_CONCURRENCY)
                .filter_map(std::future::ready);
            batches = failed.collect().await;
            if batches.is_empty() {
                break;
            }
            self.context.world.sleep(Duration::from_millis(100 << attempt)).await;
            self.refresh().await;
        }
        let failed: BTreeSet<u64> = batches.into_iter().flat_map(|(_, objects)| objects).collect();
        let objects = self.orphans.iter().map(|orphan| orphan.object);
        objects.filter(|object| !failed.contains(object)).collect()
    }

    /// What to delete, by partition.
    fn batches(&self, routes: &Routes) -> Vec<(PartitionId, Vec<u64>)> {
        let mut objects: BTreeMap<PartitionId, Vec<u64>> = BTreeMap::new();
        for orphan in &self.orphans {
            let mut partitions = orphan.partitions.clone();
            if orphan.everywhere {
                partitions.extend(routes.data());
            }
            for partition in partitions {
                objects.entry(partition).or_default().push(orphan.object);
            }
        }
        let mut batches = Vec::new();
        for (partition, objects) in objects {
            let parts = objects.chunks(DELETE_OBJECTS_MAX);
            batches.extend(parts.map(|part| (partition, part.to_vec())));
        }
        batches
    }

    /// Gets newer routes; the old ones stay when the control plane does not answer.
    async fn refresh(&mut self) {
        match fetch(&self.context, self.volume).await {
            Ok(routes) => self.routes = Some(Arc::new(routes)),
            Err(reason) => tracing::info!(volume = %self.volume, reason, "no newer routes"),
        }
    }
}

impl Routes {
    fn data(&self) -> impl Iterator<Item = PartitionId> {
        let data = self.partitions.values().filter(|c| c.kind == PartitionKind::Data);
        data.map(|configuration| configuration.partition)
    }

    fn leader(&self, partition: PartitionId) -> Option<(&str, Epoch)> {
        let configuration = self.partitions.get(&partition)?;
        let leader = configuration.leader_member()?;
        Some((self.nodes.get(&leader.node)?, configuration.epoch))
    }
}

/// Deletes objects from one partition; whether they are durably gone.
async fn delete(
    context: &Context,
    routes: &Routes,
    partition: PartitionId,
    objects: &[u64],
) -> bool {
    let message = data::Delete { objects: objects.to_vec() };
    let request = Request::new(Operation::DataDelete).message(&message);
    match call(context, routes, partition, request).await {
        Ok(()) => true,
        Err(error) => {
            let count = objects.len();
            tracing::debug!(%partition, count, %error, "objects were not deleted yet");
            false
        }
    }
}

/// Asks whoever leads a data partition.
async fn call(
    context: &Context,
    routes: &Routes,
    partition: PartitionId,
    request: Request,
) -> Result<(), wire::Error> {
    let Some((address, epoch)) = routes.leader(partition) else {
        let address = format!("partition {partition}");
        return Err(wire::Error::Unreachable { address, reason: "it has no leader".into() });
    };
    let request = request.class(Class::Background).partition(partition).epoch(epoch);
    context.peers.call(address, request).await.map(drop)
}

async fn fetch(context: &Context, volume: VolumeId) -> Result<Routes, String> {
    let message = wire::control::Routes { volume: Some(VolumeSelector::Id(volume.0)) };
    // The class in which nodes ask, who need no token.
    let request = Request::new(Operation::ControlRoutes).class(Class::Background).message(&message);
    let reply = context.members.call(request).await.map_err(|error| error.to_string())?;
    let reply: RoutesReply = reply.decode().map_err(|error| error.to_string())?;
    // A deletion of the volume may still be taken back, so its books stay in order.
    if !matches!(reply.outcome(), RoutesOutcome::Found | RoutesOutcome::Deleting) {
        return Err("the volume is not there".into());
    }
    let mut partitions = BTreeMap::new();
    for configuration in &reply.configurations {
        let configuration =
            Configuration::try_from(configuration).map_err(|error| error.to_string())?;
        partitions.insert(configuration.partition, configuration);
    }
    let nodes = reply.nodes.into_iter().map(|node| (NodeId(node.node), node.address));
    Ok(Routes { partitions, nodes: nodes.collect() })
}
