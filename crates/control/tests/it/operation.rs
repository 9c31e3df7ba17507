//! Operations over three members that die and make-believe nodes, over real sockets and files.

use super::cluster::Cluster;
use super::http::json;
use super::node::Node;
use super::volume::becomes;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use types::{Configuration, ReplicaId};
use wire::control::Change;

const PARTITIONS: u16 = 200;

/// Members, and nodes whose leaders promote whoever has been made.
struct Stage {
    cluster: Cluster,
    nodes: Arc<Vec<Node>>,
    stop: Arc<AtomicBool>,
    promoting: tokio::task::JoinHandle<()>,
}

impl Stage {
    async fn set(nodes: u64) -> Stage {
        let cluster = Cluster::start(3).await;
        let mut all = Vec::new();
        for identity in 1..=nodes {
            all.push(Node::start(identity, &cluster.controls()).await);
        }
        let nodes = Arc::new(all);
        let stop = Arc::new(AtomicBool::new(false));
        let promoting = tokio::spawn(promote(nodes.clone(), stop.clone()));
        everybody_is_heard(&cluster, nodes.len()).await;
        let body = json!({ "name": "main", "kind": "file", "data_partitions": PARTITIONS });
        let admin = cluster.admin(cluster.leader().await);
        assert_eq!(json(admin, "POST", "/v1/volumes", Some(body)).await.0, 201);
        becomes(&cluster, "main", "healthy").await;
        Stage { cluster, nodes, stop, promoting }
    }

    /// Asks whoever leads; while nobody does, nothing happens, and it is asked again.
    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let begun = Instant::now();
        loop {
            let leader = self.cluster.leader().await;
            let answer = json(self.cluster.admin(leader), method, path, body.clone()).await;
            let is_over = begun.elapsed() > Duration::from_secs(20);
            if answer.1["code"] != "no-leader" || is_over {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Looks at operation 1 until it is as wanted.
    async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let (status, answer) = self.ask("GET", "/v1/operations/1", None).await;
            if status == 200 && wanted(&answer["item"]) {
                return answer["item"].clone();
            }
            let item = &answer["item"];
            let shown = (&item["state"], &item["progress"], &item["blocked"]);
            assert!(begun.elapsed() < Duration::from_secs(90), "never {what}: {shown:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.promoting.await.unwrap();
    }
}

/// Leaders ask for the promotion of whoever catches up and has been made by its node.
async fn promote(nodes: Arc<Vec<Node>>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        for node in nodes.iter() {
            let led: Vec<Configuration> = {
                let inner = node.inner.lock().unwrap();
                let led = inner.replicas.values().filter(|replica| replica.leads);
                led.map(|replica| replica.configuration.clone()).collect()
            };
            for configuration in led {
                let made = |id: &&ReplicaId| {
                    nodes.iter().any(|node| node.inner.lock().unwrap().replicas.contains_key(id))
                };
                if let Some(replica) = configuration.catching_up.iter().find(made) {
                    node.change(&configuration, Change::Promote(replica.0)).await;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Who has not reported yet gets no share of a new volume.
async fn everybody_is_heard(cluster: &Cluster, count: usize) {
    let begun = Instant::now();
    loop {
        let admin = cluster.admin(cluster.leader().await);
        let (_, answer) = json(admin, "GET", "/v1/nodes", None).await;
        let online = |items: &Vec<Value>| items.iter().filter(|n| n["status"] == "online").count();
        if answer["items"].as_array().map(online) == Some(count) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn done(operation: &Value) -> u64 {
    operation["progress"]["partitions_done"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decommission_goes_on_where_it_was_when_the_leading_member_dies_twice() {
    let mut stage = Stage::set(5).await;
    let target = stage.nodes[1].id();
    let body = json!({ "kind": "decommission", "target": format!("node/{target}"), "by": "test" });
    let (status, answer) = stage.ask("POST", "/v1/operations", Some(body)).await;
    assert_eq!(status, 201, "{answer}");
    for goal in [10, 40] {
        let before = stage.until("under way", |operation| done(operation) >= goal).await;
        assert_eq!(before["state"], "running");
        let leader = stage.cluster.leader().await;
        stage.cluster.stop_member(leader).await;
        let after = stage.until("shown again", |_| true).await;
        assert!(done(&after) >= done(&before), "nothing is forgotten");
        stage.cluster.start_member(leader).await;
    }
    let ended = stage.until("succeeded", |operation| operation["state"] == "succeeded").await;
    assert_eq!(ended["residue"], json!([]));
    assert_eq!(ended["evidence"]["scanned"], u64::from(PARTITIONS) + 1);
    assert!(stage.nodes[1].inner.lock().unwrap().replicas.is_empty(), "the node holds nothing");
    let state = stage.cluster.state().await;
    for partition in state.partitions.values() {
        assert_eq!(partition.configuration.in_sync.len(), 3);
        assert!(partition.holders().all(|member| member.node != target));
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_given_through_the_api_and_refused_with_a_reason() {
    let stage = Stage::set(4).await;
    let body = |target: &str| {
        let limits = json!({ "moves": 100 });
        json!({ "kind": "decommission", "target": target, "by": "test", "limits": limits })
    };
    let begun = Instant::now();
    // The last node may not have been heard of yet: until then there is nowhere to go, and the plan says so.
    let plan = loop {
        let (status, plan) =
            stage.ask("POST", "/v1/operations?dry_run=true", Some(body("node/1"))).await;
        assert_eq!(status, 200, "{plan}");
        if plan["residue"] == json!([]) {
            break plan;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{plan}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(plan["lines"].as_array().unwrap().len() as u64, plan["partitions"]);
    assert_eq!(stage.ask("GET", "/v1/operations", None).await.1["items"], json!([]));
    for wrong in ["node/x", "cluster", "volume/1"] {
        let (status, answer) = stage.ask("POST", "/v1/operations", Some(body(wrong))).await;
        assert_eq!((status, &answer["code"]), (400, &json!("invalid")), "{wrong}");
    }
    for absent in ["node/9", "disk/99", "zone/nowhere"] {
        for path in ["/v1/operations?dry_run=true", "/v1/operations"] {
            let (status, answer) = stage.ask("POST", path, Some(body(absent))).await;
            assert_eq!((status, &answer["code"]), (404, &json!("not-found")), "{absent}");
        }
    }
    assert_eq!(stage.ask("POST", "/v1/operations", Some(body("node/1"))).await.0, 201);
    let (status, answer) = stage.ask("POST", "/v1/operations", Some(body("node/1"))).await;
    assert_eq!((status, &answer["code"]), (409, &json!("at-work")));
    let by = Some(json!({ "by": "test" }));
    assert_eq!(stage.ask("POST", "/v1/operations/1/pause", by.clone()).await.0, 200);
    tokio::time::sleep(Duration::from_millis(800)).await;
    let paused = stage.until("paused", |operation| operation["state"] == "paused").await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    let later = stage.until("paused", |operation| operation["state"] == "paused").await;
    assert_eq!(done(&paused), done(&later), "a paused one stands still");
    assert_eq!(stage.ask("POST", "/v1/operations/1/resume", by.clone()).await.0, 200);
    let (status, answer) = stage.ask("POST", "/v1/operations/1/resume", by.clone()).await;
    assert_eq!((status, &answer["code"]), (409, &json!("contradicts")), "it goes on already");
    stage.until("at work again", |operation| done(operation) > done(&paused)).await;
    assert_eq!(stage.ask("POST", "/v1/operations/1/cancel", by.clone()).await.0, 200);
    assert_eq!(stage.ask("POST", "/v1/operations/1/cancel", by.clone()).await.0, 409);
    assert_eq!(stage.ask("POST", "/v1/operations/1/dance", by.clone()).await.0, 404);
    assert_eq!(stage.ask("POST", "/v1/operations/7/pause", by).await.0, 404);
    becomes(&stage.cluster, "main", "healthy").await;
    let (_, node) = stage.ask("GET", "/v1/nodes/1", None).await;
    assert_eq!(node["item"]["duty"], "in-service");
    stage.end().await;
}
