//! A volume's life.

use super::cluster::{Cluster, eventually};
use super::http::json;
use super::node::Node;
use serde_json::json;
use wire::control::{Change, ChangeOutcome, RoutesOutcome, VolumeSelector};

pub(crate) async fn three_nodes(cluster: &Cluster) -> Vec<Node> {
    let mut nodes = Vec::new();
    for identity in 1..=3 {
        nodes.push(Node::start(identity, &cluster.controls()).await);
    }
    nodes
}

fn by_name(name: &str) -> VolumeSelector {
    VolumeSelector::Name(name.to_owned())
}

pub(crate) async fn create(cluster: &Cluster, name: &str) {
    let body = json!({ "name": name, "kind": "file", "capacity_bytes": 1u64 << 30 });
    let admin = cluster.admin(cluster.leader().await);
    let (status, answer) = json(admin, "POST", "/v1/volumes", Some(body)).await;
    assert_eq!(status, 201, "{answer}");
}

/// Waits until the volume is shown with this status.
pub(crate) async fn becomes(cluster: &Cluster, volume: &str, wanted: &str) {
    let mut seen = String::new();
    for _ in 0..200 {
        let admin = cluster.admin(cluster.leader().await);
        let (_, answer) = json(admin, "GET", &format!("/v1/volumes/{volume}"), None).await;
        seen = answer.to_string();
        if answer["item"]["status"] == wanted {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the volume never became {wanted}: {seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_created_served_and_deleted() {
    let cluster = Cluster::start(1).await;
    let nodes = three_nodes(&cluster).await;
    create(&cluster, "main").await;
    becomes(&cluster, "main", "healthy").await;

    let routes = nodes[0].routes(by_name("main")).await;
    assert_eq!(routes.outcome(), RoutesOutcome::Found);
    assert_eq!(routes.configurations.len(), 4, "a namespace and three of data");
    assert_eq!(routes.nodes.len(), 3);
    let id = routes.volume.unwrap().id;
    let leads: Vec<usize> = nodes.iter().map(|node| node.leads().len()).collect();
    assert_eq!(leads.iter().sum::<usize>(), 4);
    assert!(leads.iter().all(|count| *count >= 1), "leaders are spread: {leads:?}");
    let pushed = nodes.iter().all(|node| node.inner.lock().unwrap().pushes > 0);
    assert!(pushed, "nodes are told at once");

    let admin = cluster.admin(1);
    let (status, _) = json(admin, "DELETE", "/v1/volumes/main?grace_s=0&force=true", None).await;
    assert_eq!(status, 200);
    let deleted = nodes[0].routes(VolumeSelector::Id(id)).await;
    assert_eq!(deleted.outcome(), RoutesOutcome::Deleted, "at once, and by id");
    let empty = || nodes.iter().all(|n| n.inner.lock().unwrap().replicas.is_empty());
    eventually("empty nodes", empty).await;
    becomes(&cluster, &id.to_string(), "deleted").await;
    assert!(cluster.state().await.partitions.is_empty());
    let routes = nodes[0].routes(by_name("main")).await;
    assert_eq!(routes.outcome(), RoutesOutcome::NotFound, "the name is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_replica_comes_back_and_is_promoted() {
    let cluster = Cluster::start(1).await;
    let nodes = three_nodes(&cluster).await;
    create(&cluster, "main").await;
    becomes(&cluster, "main", "healthy").await;

    let state = cluster.state().await;
    let before = state.partitions.values().next().unwrap().configuration.clone();
    let leader = before.leader_member().unwrap().node;
    let node = nodes.iter().find(|node| node.id() == leader).unwrap();
    let victim = *before.in_sync.iter().find(|r| Some(**r) != before.leader).unwrap();

    let removed = node.change(&before, Change::Remove(victim.0)).await;
    assert_eq!(removed.outcome(), ChangeOutcome::Changed);
    let again = node.change(&before, Change::Remove(victim.0)).await;
    assert_eq!(again.outcome(), ChangeOutcome::Conflict);
    let current = types::Configuration::try_from(&again.configuration.unwrap()).unwrap();
    assert!(current.epoch > before.epoch);

    let back = || {
        let state = cluster.members[&1].state();
        state.partitions[&before.partition].configuration.catching_up.contains(&victim)
    };
    eventually("the replica catching up, under its old number", back).await;
    let now = cluster.state().await.partitions[&before.partition].configuration.clone();
    let promoted = node.change(&now, Change::Promote(victim.0)).await;
    assert_eq!(promoted.outcome(), ChangeOutcome::Changed);
    becomes(&cluster, "main", "healthy").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_a_restart() {
    let mut cluster = Cluster::start(1).await;
    let nodes = three_nodes(&cluster).await;
    create(&cluster, "main").await;
    becomes(&cluster, "main", "healthy").await;
    let before = cluster.state().await;

    cluster.stop_member(1).await;
    cluster.start_member(1).await;
    let after = cluster.state().await;
    assert_eq!(after.cluster, before.cluster);
    assert_eq!(after.nodes, before.nodes);
    let configurations = |state: control::state::State| {
        let partitions = state.partitions.values().cloned();
        partitions.map(|partition| partition.configuration).collect::<Vec<_>>()
    };
    let (before, after) = (configurations(before), configurations(after));
    assert_eq!(after, before, "nobody was taken for dead");
    becomes(&cluster, "main", "healthy").await;
    drop(nodes);
}
