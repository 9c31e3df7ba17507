//! What clients that have a volume open are told, and what is known of them.

use super::cluster::Cluster;
use super::http::json;
use super::node::Node;
use super::volume::{becomes, create, three_nodes};
use serde_json::json;
use std::time::{Duration, Instant};
use wire::control::{ClientInfo, VolumeLife, Watch, WatchReply};
use wire::{Class, Operation, Peers, Request};
use world::{Net, World};

/// How soon a waiting client is told.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// A make-believe client of volume 1.
struct Client {
    peers: Peers,
    controls: Vec<String>,
}

impl Client {
    fn new(cluster: &Cluster) -> Client {
        let world = World::real(Net::tcp());
        let peers = Peers::new(world, wire::Hub::default(), std::sync::Arc::default());
        Client { peers, controls: cluster.controls() }
    }

    async fn watch(&self, volume: u64, seen: VolumeLife, purge_at: i64) -> WatchReply {
        let info = ClientInfo {
            id: 7,
            host: "host-a".into(),
            pid: 42,
            mount_point: "/mnt/a".into(),
            version: "1.2.3".into(),
            dirty_bytes: 4096,
            ..ClientInfo::default()
        };
        self.say(&Watch {
            volume,
            client: Some(info),
            seen: seen.into(),
            leaving: false,
            purge_at,
            ..Watch::default()
        })
        .await
    }

    async fn say(&self, watch: &Watch) -> WatchReply {
        for _ in 0..100 {
            for address in &self.controls {
                let request = Request::new(Operation::ControlWatch).class(Class::Control);
                let request = request.message(watch).deadline(Duration::from_secs(6));
                if let Ok(reply) = self.peers.call(address, request).await {
                    return reply.decode().unwrap();
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no member answered");
    }
}

async fn delete(cluster: &Cluster, query: &str) -> (u16, serde_json::Value) {
    let admin = cluster.admin(cluster.leader().await);
    json(admin, "DELETE", &format!("/v1/volumes/main{query}"), None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_it_open_is_listed_asked_after_and_told_at_once() {
    let cluster = Cluster::start(1).await;
    let nodes: Vec<Node> = three_nodes(&cluster).await;
    create(&cluster, "main").await;
    becomes(&cluster, "main", "healthy").await;
    let client = Client::new(&cluster);
    let live = client.watch(1, VolumeLife::Unspecified, 0).await;
    assert_eq!(live.life(), VolumeLife::Live);

    let admin = cluster.admin(1);
    let (_, listed) = json(admin, "GET", "/v1/clients?volume=main", None).await;
    let item = &listed["items"][0];
    assert_eq!((&item["host"], &item["mount_point"]), (&json!("host-a"), &json!("/mnt/a")));
    assert_eq!((&item["pid"], &item["dirty_bytes"]), (&json!(42), &json!(4096)));
    assert_eq!((&item["version"], &item["volume_name"]), (&json!("1.2.3"), &json!("main")));
    let (status, answer) = delete(&cluster, "").await;
    assert_eq!((status, &answer["code"]), (409, &json!("in-use")));
    assert!(answer["message"].as_str().unwrap().contains("host-a:/mnt/a (pid 42)"), "{answer}");

    let waiting = client.watch(1, VolumeLife::Live, 0);
    let deleting = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let at = Instant::now();
        assert_eq!(delete(&cluster, "?grace_s=60&force=true").await.0, 200);
        at
    };
    let (told, at) = tokio::join!(waiting, deleting);
    assert!(at.elapsed() < TOLD_WITHIN, "after {:?}", at.elapsed());
    assert_eq!(told.life(), VolumeLife::Deleting);
    assert!(told.purge_at > 0);

    // Another grace is news as well, and so is that it was taken back, and the end.
    assert_eq!(delete(&cluster, "?grace_s=90&force=true").await.0, 200);
    let longer = client.watch(1, VolumeLife::Deleting, told.purge_at).await;
    assert!(longer.purge_at > told.purge_at);
    let (status, _) = json(admin, "POST", "/v1/volumes/main/undelete", None).await;
    assert_eq!(status, 200);
    let back = client.watch(1, VolumeLife::Deleting, longer.purge_at).await;
    assert_eq!((back.life(), back.purge_at), (VolumeLife::Live, 0));
    assert_eq!(delete(&cluster, "?grace_s=0&force=true").await.0, 200);
    assert_eq!(client.watch(1, VolumeLife::Live, 0).await.life(), VolumeLife::Deleted);

    assert_eq!(client.watch(99, VolumeLife::Live, 0).await.life(), VolumeLife::NotFound);
    drop(nodes);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_left_is_no_obstacle_and_a_grace_that_is_over_ends_in_a_purge() {
    let cluster = Cluster::start(1).await;
    let nodes: Vec<Node> = three_nodes(&cluster).await;
    create(&cluster, "main").await;
    becomes(&cluster, "main", "healthy").await;
    let client = Client::new(&cluster);
    client.watch(1, VolumeLife::Unspecified, 0).await;
    let info = ClientInfo { id: 7, ..ClientInfo::default() };
    let seen = VolumeLife::Live.into();
    client
        .say(&Watch { volume: 1, client: Some(info), seen, leaving: true, ..Watch::default() })
        .await;

    // Until everybody had the time to say that they are there, nobody can say that nobody is.
    let (begun, mut answer) = (Instant::now(), delete(&cluster, "?grace_s=1").await);
    while answer.0 == 503 && begun.elapsed() < Duration::from_secs(10) {
        assert_eq!(answer.1["code"], "clients-unknown");
        tokio::time::sleep(Duration::from_millis(100)).await;
        answer = delete(&cluster, "?grace_s=1").await;
    }
    assert_eq!((answer.0, &answer.1["item"]["status"]), (200, &json!("deleting")));
    assert!(nodes.iter().any(|n| !n.inner.lock().unwrap().replicas.is_empty()), "all still there");
    becomes(&cluster, "1", "deleted").await;
    assert!(nodes.iter().all(|n| n.inner.lock().unwrap().replicas.is_empty()), "verified");
    let (_, events) = json(cluster.admin(1), "GET", "/v1/events", None).await;
    let of_volume = |event: &&serde_json::Value| event["subject"] == "volume/1";
    let told: Vec<&str> = events["item"]["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(of_volume)
        .map(|event| event["to"].as_str().unwrap())
        .collect();
    assert_eq!(told, ["creating", "deleting", "purging", "deleted"]);
}

/// Whoever accepts a stream is told what happens as it happens, by every member, and goes on where he was.
#[tokio::test(flavor = "multi_thread")]
async fn events_are_streamed_by_every_member() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let cluster = Cluster::start(3).await;
    let _nodes: Vec<Node> = three_nodes(&cluster).await;
    let mut streams = Vec::new();
    for member in 1..=3 {
        let mut stream = tokio::net::TcpStream::connect(cluster.admin(member)).await.unwrap();
        let asked =
            "GET /v1/events?since=0 HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n";
        stream.write_all(asked.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    create(&cluster, "main").await;
    let mut last = 0;
    for mut stream in streams {
        let (mut told, mut bytes) = (String::new(), [0; 4096]);
        while !told.contains(r#""subject":"volume/1""#) {
            let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut bytes));
            let read = read.await.expect("nothing is told").unwrap();
            assert_ne!(read, 0, "it ends: {told}");
            told.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
        assert!(told.starts_with("HTTP/1.1 200") && told.contains("text/event-stream"), "{told}");
        assert!(told.contains("event: volume\n"), "{told}");
        let ids = told.lines().filter_map(|line| line.strip_prefix("id: ")?.parse::<u64>().ok());
        let ids: Vec<u64> = ids.collect();
        assert!(
            ids.iter().zip(1..).all(|(id, place)| *id == place),
            "in order, from the first: {ids:?}"
        );
        last = *ids.last().unwrap();
    }
    let mut stream = tokio::net::TcpStream::connect(cluster.admin(2)).await.unwrap();
    let asked = format!(
        "GET /v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nLast-Event-ID: {}\r\n\r\n",
        last - 1
    );
    stream.write_all(asked.as_bytes()).await.unwrap();
    let (mut told, mut bytes) = (String::new(), [0; 4096]);
    while !told.contains("id: ") {
        let read = stream.read(&mut bytes).await.unwrap();
        told.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
    }
    assert!(
        told.contains(&format!("id: {last}\n")) && !told.contains(&format!("id: {}\n", last - 1))
    );
}
