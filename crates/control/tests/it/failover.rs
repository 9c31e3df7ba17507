//! Members and nodes that go away.

use super::cluster::{Cluster, eventually};
use super::http::json;
use super::node::Node;
use super::volume::becomes;
use serde_json::json;
use std::time::Duration;
use types::limits::FAILOVER_BOUND;
use world::{Net, World};

async fn with_volume(members: u64) -> (Cluster, Vec<Node>) {
    let cluster = Cluster::start(members).await;
    let mut nodes = Vec::new();
    for identity in 1..=3 {
        nodes.push(Node::start(identity, &cluster.controls()).await);
    }
    let body = json!({ "name": "main", "kind": "file" });
    let admin = cluster.admin(cluster.leader().await);
    assert_eq!(json(admin, "POST", "/v1/volumes", Some(body)).await.0, 201);
    becomes(&cluster, "main", "healthy").await;
    (cluster, nodes)
}

async fn configurations(cluster: &Cluster) -> Vec<types::Configuration> {
    let state = cluster.state().await;
    state.partitions.values().map(|partition| partition.configuration.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_node_falls_silent_others_lead_within_the_bound() {
    let (cluster, mut nodes) = with_volume(1).await;
    let silent = nodes.remove(0);
    let id = silent.id();
    drop(silent);
    let world = World::real(Net::tcp());
    let began = world.now();
    let led_elsewhere = || {
        let state = cluster.members[&1].state();
        state.partitions.values().all(|partition| {
            partition.configuration.leader_member().is_some_and(|leader| {
                let others = nodes.iter().find(|node| node.id() == leader.node);
                others.is_some_and(|node| node.leads().contains(&leader.replica))
            })
        })
    };
    eventually("a leader elsewhere for everything", led_elsewhere).await;
    let took = world.now().since(began);
    assert!(took < FAILOVER_BOUND, "it took {took:?}");
    let state = cluster.state().await;
    for partition in state.partitions.values() {
        let configuration = &partition.configuration;
        assert!(configuration.member_on(id).is_some(), "an appointment changes nothing else");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_leader_does_not_lead_on() {
    let (cluster, mut nodes) = with_volume(1).await;
    let leader = nodes.iter().position(|node| !node.leads().is_empty()).unwrap();
    let node = nodes.remove(leader).restart().await;
    nodes.push(node);
    becomes(&cluster, "main", "healthy").await;
    let state = cluster.state().await;
    assert!(state.partitions.values().any(|partition| partition.configuration.epoch.0 > 1));
    for partition in state.partitions.values() {
        let leader = partition.configuration.leader_member().unwrap();
        let node = nodes.iter().find(|node| node.id() == leader.node).unwrap();
        assert!(node.leads().contains(&leader.replica));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_leading_member_goes_another_leads_and_nobody_is_taken_for_dead() {
    let (mut cluster, nodes) = with_volume(3).await;
    let before = configurations(&cluster).await;
    let first = cluster.leader().await;
    let world = World::real(Net::tcp());
    let began = world.now();
    cluster.stop_member(first).await;
    let second = cluster.leader().await;
    assert_ne!(first, second);
    let took = world.now().since(began);
    assert!(took < FAILOVER_BOUND, "it took {took:?}");
    becomes(&cluster, "main", "healthy").await;
    tokio::time::sleep(types::limits::NODE_SILENCE_MAX + Duration::from_millis(500)).await;
    assert_eq!(configurations(&cluster).await, before, "nothing was reconfigured");

    // The one that was away follows, and learns what it missed.
    let body = json!({ "name": "second", "kind": "file" });
    let (status, answer) = json(cluster.admin(second), "POST", "/v1/volumes", Some(body)).await;
    assert_eq!(status, 201, "{answer}");
    cluster.start_member(first).await;
    let caught_up = || cluster.members[&first].state().volume_named("second").is_some();
    eventually("the restarted member with everything", caught_up).await;
    drop(nodes);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_member_answers_people() {
    let (mut cluster, nodes) = with_volume(3).await;
    let leader = cluster.leader().await;
    let follower = *cluster.members.keys().find(|id| **id != leader).unwrap();
    let admin = cluster.admin(follower).to_owned();

    let (status, answer) = json(&admin, "GET", "/v1/volumes/main", None).await;
    assert_eq!((status, &answer["item"]["status"]), (200, &json!("healthy")));
    assert_eq!(answer["view"]["member"], leader, "passed on to the leader");
    let body = json!({ "name": "other", "kind": "file" });
    assert_eq!(json(&admin, "POST", "/v1/volumes", Some(body)).await.0, 201);

    // Alone, it answers from its record, and says how old that is and that it cannot tell more.
    let others: Vec<u64> = cluster.members.keys().copied().filter(|id| *id != follower).collect();
    for other in others {
        cluster.stop_member(other).await;
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let (status, answer) = json(&admin, "GET", "/v1/volumes/main", None).await;
    assert_eq!((status, &answer["item"]["status"]), (200, &json!("unknown")));
    assert_eq!(answer["view"]["member"], follower);
    assert!(answer["view"]["age_ms"].as_u64().unwrap() >= 1000);
    let (status, answer) = json(&admin, "DELETE", "/v1/volumes/main?force=true", None).await;
    assert_eq!((status, &answer["code"]), (503, &json!("no-leader")));
    drop(nodes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_gone_is_shown_as_silent_within_seconds() {
    let (mut cluster, nodes) = with_volume(3).await;
    let leader = cluster.leader().await;
    let gone = *cluster.members.keys().find(|id| **id != leader).unwrap();
    let admin = cluster.admin(leader).to_owned();
    let statuses = async || {
        let (_, answer) = json(&admin, "GET", "/v1/members", None).await;
        let members = answer["items"].as_array().unwrap().clone();
        let status = |member: &serde_json::Value| member["status"].as_str().unwrap().to_owned();
        let of = |member: &serde_json::Value| (member["id"].as_u64().unwrap(), status(member));
        members.iter().map(of).collect::<std::collections::BTreeMap<u64, String>>()
    };
    assert_eq!(statuses().await[&gone], "follower");
    cluster.stop_member(gone).await;
    // Nothing is written meanwhile, so nobody falls behind.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(statuses().await[&gone], "silent");
    drop(nodes);
}

/// Everything after a cursor, page by page; each question on a connection of its own.
async fn events_after(admin: &str, mut cursor: u64) -> Vec<serde_json::Value> {
    let mut all = Vec::new();
    loop {
        let path = format!("/v1/events?since={cursor}&count=3");
        let (status, page) = json(admin, "GET", &path, None).await;
        assert_eq!(status, 200, "{page}");
        let events = page["item"]["events"].as_array().unwrap().clone();
        if events.is_empty() {
            return all;
        }
        cursor = page["item"]["cursor"].as_u64().unwrap();
        all.extend(events);
    }
}

/// A cursor means the same to every member, before and after another leads: nothing is missed, and
/// nothing comes twice.
#[tokio::test(flavor = "multi_thread")]
async fn who_follows_events_goes_on_where_it_was_whichever_member_leads() {
    let (mut cluster, mut nodes) = with_volume(3).await;
    let first = cluster.leader().await;
    let before = events_after(cluster.admin(first), 0).await;
    let cursor = before.last().unwrap()["cursor"].as_u64().unwrap();
    cluster.stop_member(first).await;
    let second = cluster.leader().await;
    let restarted = nodes.remove(0).restart().await;
    nodes.push(restarted);
    becomes(&cluster, "main", "healthy").await;
    let grew = || cluster.members[&second].state().events.last > cursor;
    eventually("something happened", grew).await;

    let after = events_after(cluster.admin(second), cursor).await;
    let whole = events_after(cluster.admin(second), 0).await;
    let number = |event: &serde_json::Value| event["cursor"].as_u64().unwrap();
    let numbers: Vec<u64> = before.iter().chain(&after).map(number).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    assert_eq!(&whole[..before.len()], &before[..], "what was told is told again alike");
    assert!(numbers.len() > before.len());
}
