//! Questions to single replicas.

use client::{Client, Routes};
use types::limits::{
    INSPECT_CHUNKS_MAX, INSPECT_DEADLINE, INSPECT_FILES_MAX, INSPECT_FINDINGS_MAX,
};
use types::{NodeId, PartitionId, ReplicaId};
use wire::inspect::{Ask, AskChunks, AskFiles, AskNamespace, Chunks, Files, Namespace, What};
use wire::{Class, Operation, Request};

/// One replica, and where it is asked.
#[derive(Clone, Debug)]
pub(super) struct Replica {
    pub id: ReplicaId,
    pub partition: PartitionId,
    pub node: NodeId,
    pub address: String,
    pub leads: bool,
}

/// Asks replicas.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub client: Client,
}

/// The in-sync replicas of a partition whose nodes' addresses are known, the leader first.
pub(super) fn replicas(routes: &Routes, partition: PartitionId) -> Vec<Replica> {
    let Some(configuration) = routes.partitions.get(&partition) else { return Vec::new() };
    let members = configuration.members.iter();
    let in_sync = members.filter(|member| configuration.in_sync.contains(&member.replica));
    let mut replicas: Vec<Replica> = in_sync
        .map(|member| Replica {
            id: member.replica,
            partition,
            node: member.node,
            address: routes.nodes.get(&member.node).cloned().unwrap_or_default(),
            leads: configuration.leader == Some(member.replica),
        })
        .collect();
    replicas.sort_by_key(|replica| (!replica.leads, replica.id));
    replicas
}

impl Asker {
    pub(super) async fn namespace(&self, replica: &Replica) -> Result<Namespace, String> {
        let findings_max = u32::try_from(INSPECT_FINDINGS_MAX).expect("a small number");
        self.ask(replica, What::Namespace(AskNamespace { findings_max })).await
    }

    pub(super) async fn files(&self, replica: &Replica, after: u64) -> Result<Files, String> {
        let files_max = u32::try_from(INSPECT_FILES_MAX).expect("a small number");
        self.ask(replica, What::Files(AskFiles { after, files_max })).await
    }

    /// The one file with this number, when there is one.
    pub(super) async fn file(
        &self,
        replica: &Replica,
        inode: u64,
    ) -> Result<Option<wire::inspect::FileBytes>, String> {
        let ask = AskFiles { after: inode - 1, files_max: 1 };
        let page: Files = self.ask(replica, What::Files(ask)).await?;
        Ok(page.files.into_iter().find(|file| file.inode == inode))
    }

    pub(super) async fn chunks(
        &self,
        replica: &Replica,
        after: (u64, u64),
    ) -> Result<Chunks, String> {
        let chunks_max = u32::try_from(INSPECT_CHUNKS_MAX).expect("a small number");
        let (object, chunk) = after;
        self.ask(replica, What::Chunks(AskChunks { object, chunk, chunks_max, bytes_max: 0 })).await
    }

    /// The first chunk at or after one place.
    pub(super) async fn chunk_from(
        &self,
        replica: &Replica,
        (object, chunk): (u64, u64),
    ) -> Result<Chunks, String> {
        let (object, chunk) = if chunk == 0 { (object - 1, u64::MAX) } else { (object, chunk - 1) };
        self.ask(replica, What::Chunks(AskChunks { object, chunk, chunks_max: 1, bytes_max: 0 }))
            .await
    }

    async fn ask<M: prost::Message + Default>(
        &self,
        replica: &Replica,
        what: What,
    ) -> Result<M, String> {
        let request = Request::new(Operation::Inspect)
            .partition(replica.partition)
            .class(Class::Background)
            .deadline(INSPECT_DEADLINE)
            .message(&Ask { what: Some(what), at: 0 });
        let reply = self.client.ask(&replica.address, request).await;
        let reply = reply.map_err(|error| error.to_string())?;
        reply.decode().map_err(|error| error.to_string())
    }
}
