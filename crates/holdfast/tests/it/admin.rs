//! Commands that talk to a control plane in this process.

use super::run::holdfast;
use control::{Config, Embedding, Member, Metrics};
use serde_json::json;
use std::time::Duration;
use wire::control::{self as message, DiskState, ReplicaState, Role};
use wire::{Class, Hub, Operation, Peers, Request};
use world::{Disk, Net, World};

struct Cluster {
    member: Member,
    _folder: tempfile::TempDir,
}

async fn cluster() -> Cluster {
    let folder = tempfile::tempdir().unwrap();
    let embedding = Embedding {
        world: World::real(Net::tcp()),
        disk: Disk::real(folder.path()).unwrap(),
        hub: Hub::default(),
        metrics: Metrics::new(std::sync::Arc::default()),
        wire_metrics: std::sync::Arc::default(),
    };
    let member = Member::start(embedding, Config::alone("127.0.0.1:0")).await.unwrap();
    while !member.leads() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Cluster { member, _folder: folder }
}

impl Cluster {
    fn server(&self) -> String {
        self.member.admin_address().to_string()
    }
}

fn call(operation: Operation, body: &impl prost::Message) -> Request {
    Request::new(operation).class(Class::Control).message(body)
}

/// A node that joins, and says that it does whatever it is told.
async fn obedient_node(address: String) {
    let world = World::real(Net::tcp());
    let peers = Peers::new(world.clone(), Hub::default(), std::sync::Arc::default());
    let boot = world.random();
    let disk = message::DiskOffer { identity: 8, label: "/disk".into(), capacity: 1 << 40 };
    let join = message::Join {
        identity: 7,
        boot,
        address: "127.0.0.1:9".into(),
        disks: vec![disk],
        ..Default::default()
    };
    let joined = peers.call(&address, call(Operation::ControlJoin, &join)).await.unwrap();
    let joined: message::JoinReply = joined.decode().unwrap();
    let mut replicas: Vec<message::ReplicaReport> = Vec::new();
    for sequence in 1.. {
        let heartbeat = message::Heartbeat {
            cluster: joined.cluster,
            node: joined.node,
            boot,
            sequence,
            disks: vec![message::DiskReport {
                disk: joined.disks[0],
                state: DiskState::Ok.into(),
                free: 1 << 40,
                total: 1 << 40,
                ..Default::default()
            }],
            replicas: replicas.clone(),
            ..Default::default()
        };
        let reply = peers.call(&address, call(Operation::ControlHeartbeat, &heartbeat)).await;
        let assignment: message::Assignment = reply.unwrap().decode().unwrap();
        for configuration in assignment.configurations {
            replicas.push(message::ReplicaReport {
                replica: configuration.leader,
                partition: configuration.partition,
                disk: joined.disks[0],
                role: Role::Leader.into(),
                epoch: configuration.epoch,
                state: ReplicaState::Ok.into(),
                bytes: 1 << 20,
                ..Default::default()
            });
        }
        replicas.retain(|replica| !assignment.deletes.contains(&replica.replica));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_from_the_command_line() {
    let cluster = cluster().await;
    let server = cluster.server();
    let node = tokio::spawn(obedient_node(cluster.member.address().to_string()));
    let run = |words: &[&str]| holdfast(&[words, &["--server", &server]].concat());
    let json_of = |words: &[&str]| run(&[words, &["--output", "json"]].concat()).json();
    while json_of(&["node", "list"]).as_array().unwrap().is_empty() {}

    let create = ["volume", "create", "main", "--kind", "file", "--capacity", "1.5GiB"];
    let refused = run(&create);
    assert_eq!(refused.code, 4, "three replicas need three nodes: {refused:?}");
    let created = json_of(&[&create[..], &["--replicas", "1"]].concat());
    assert_eq!(created["status"], "healthy", "it waits until the volume is served");
    assert_eq!(created["capacity_bytes"], 3u64 << 29);
    assert_eq!(run(&[&create[..], &["--replicas", "1"]].concat()).code, 4, "the name is taken");

    for list in [["volume", "list"], ["node", "list"], ["disk", "list"], ["partition", "list"]] {
        let items = json_of(&list);
        assert!(items.as_array().unwrap().iter().all(|item| item["id"].is_u64()), "{items}");
        assert!(!items.as_array().unwrap().is_empty());
        assert!(run(&list).out.starts_with("ID"), "{list:?}");
    }
    assert_eq!(json_of(&["volume", "show", "main"])["id"], created["id"]);
    assert_eq!(json_of(&["node", "show", "1"])["status"], "online");
    assert_eq!(json_of(&["disk", "show", "1"])["status"], "ok");
    assert_eq!(json_of(&["partition", "show", "1"])["status"], "healthy");
    assert_eq!(json_of(&["partition", "list", "--volume", "main"]).as_array().unwrap().len(), 4);
    assert_eq!(json_of(&["status"])["volumes"], json!({ "healthy": 1 }));
    assert!(run(&["status"]).out.contains("1 healthy"));

    assert_eq!(run(&["volume", "expand", "main", "--capacity", "1GiB"]).code, 4);
    let expanded = json_of(&["volume", "expand", "main", "--capacity", "2GiB"]);
    assert_eq!(expanded["capacity_bytes"], 2u64 << 30);

    let unasked = run(&["volume", "delete", "main"]);
    assert_eq!(unasked.code, 2, "it asks, and nobody answers: {unasked:?}");
    assert_eq!(json_of(&["volume", "show", "main"])["status"], "healthy");
    assert_eq!(run(&["volume", "delete", "main", "--yes", "--grace", "0s"]).code, 0);
    assert_eq!(run(&["volume", "show", "none"]).code, 3);
    while json_of(&["volume", "show", "1"])["status"] != "deleted" {}
    assert_eq!(json_of(&["volume", "list"]), json!([]));
    assert_eq!(json_of(&["volume", "list", "--deleted"])[0]["name"], "main");
    node.abort();
    cluster.member.stop().await;
}
