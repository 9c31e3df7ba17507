//! The admin API's manners.

use super::cluster::Cluster;
use super::http::{json, request};
use super::node::Node;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_what_and_what_to_do() {
    let cluster = Cluster::start(1).await;
    let admin = cluster.admin(cluster.leader().await);
    let node = Node::start(1, &cluster.controls()).await;
    let create =
        |name: &str, replicas: u8| json!({ "name": name, "kind": "file", "replicas": replicas });

    for (method, path, body, status, code) in [
        ("GET", "/v1/volumes/none", None, 404, "not-found"),
        ("GET", "/v1/nodes/77", None, 404, "not-found"),
        ("GET", "/v1/nodes/seven", None, 404, "not-found"),
        ("GET", "/v1/nothing", None, 404, "no-such-path"),
        ("POST", "/v1/volumes", Some(create("main", 3)), 409, "too-few-nodes"),
        ("POST", "/v1/volumes", Some(create("../etc", 1)), 400, "invalid"),
        ("POST", "/v1/volumes", Some(create("12", 1)), 400, "invalid"),
        ("POST", "/v1/volumes", Some(json!({ "name": "main" })), 400, "invalid"),
        (
            "POST",
            "/v1/volumes",
            Some(json!({ "name": "m", "kind": "file", "x": 1 })),
            400,
            "invalid",
        ),
        ("DELETE", "/v1/volumes/none", None, 404, "not-found"),
    ] {
        let (got, answer) = json(admin, method, path, body).await;
        assert_eq!((got, answer["code"].as_str()), (status, Some(code)), "{path} {answer}");
        assert!(!answer["action"].as_str().unwrap().is_empty());
    }

    assert_eq!(json(admin, "POST", "/v1/volumes", Some(create("main", 1))).await.0, 201);
    let (status, answer) = json(admin, "POST", "/v1/volumes", Some(create("main", 1))).await;
    assert_eq!((status, &answer["code"]), (409, &json!("name-taken")));
    let shrink = json!({ "capacity_bytes": 1 });
    let (status, answer) = json(admin, "POST", "/v1/volumes/main/expand", Some(shrink)).await;
    assert_eq!((status, &answer["code"]), (409, &json!("shrink")));
    let grow = json!({ "capacity_bytes": 1u64 << 40 });
    let (status, answer) = json(admin, "POST", "/v1/volumes/main/expand", Some(grow)).await;
    assert_eq!((status, &answer["item"]["capacity_bytes"]), (200, &json!(1u64 << 40)));
    let (status, answer) = json(admin, "POST", "/v1/volumes/main/undelete", None).await;
    assert_eq!((status, &answer["code"]), (409, &json!("not-deleting")));
    for wrong in ["grace_s=-1", "grace_s=99999999", "grace=1", "force=maybe"] {
        let path = format!("/v1/volumes/main?{wrong}");
        assert_eq!(json(admin, "DELETE", &path, None).await.0, 400, "{wrong}");
    }
    let (status, answer) = json(admin, "DELETE", "/v1/volumes/main", None).await;
    assert_eq!(
        (status, &answer["code"]),
        (503, &json!("clients-unknown")),
        "it just began to lead"
    );
    let now = "/v1/volumes/1?force=true&grace_s=0";
    assert_eq!(json(admin, "DELETE", now, None).await.0, 200);
    let (status, answer) = json(admin, "DELETE", now, None).await;
    assert_eq!((status, &answer["code"]), (410, &json!("deleted")));
    drop(node);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_keeps_strangers_out() {
    let cluster = Cluster::start_with(1, Some("secret")).await;
    let admin = cluster.admin(cluster.leader().await);
    for token in [None, Some(""), Some("wrong"), Some("secrets")] {
        for path in ["/v1/status", "/metrics"] {
            let (status, body) = request(admin, "GET", path, token, None).await;
            assert_eq!(status, 401, "{body}");
        }
    }
    assert_eq!(request(admin, "GET", "/v1/status", Some("secret"), None).await.0, 200);
    assert_eq!(request(admin, "GET", "/healthz", None, None).await, (200, "ok\n".to_owned()));
}

/// Whoever has a certificate may speak to a member; orders take the token on that way, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_keeps_strangers_out_of_what_is_passed_on() {
    let cluster = Cluster::start_with(1, Some("secret")).await;
    cluster.leader().await;
    let world = world::World::real(world::net::Net::tcp());
    let peers = wire::Peers::new(world, wire::Hub::default(), Default::default());
    let ask = async |token: &str| {
        let (method, path) = ("GET".to_owned(), "/v1/status".to_owned());
        let body = Default::default();
        let admin = wire::control::Admin { method, path, body, token: token.to_owned() };
        let request = wire::Request::new(wire::Operation::ControlAdmin).message(&admin);
        peers.call(&cluster.controls()[0], request).await
    };
    for token in ["", "wrong", "secrets"] {
        let refused = ask(token).await.unwrap_err();
        assert_eq!(refused.status(), Some(wire::Status::Invalid), "{refused}");
    }
    ask("secret").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_hold_what_there_is() {
    let cluster = Cluster::start(1).await;
    let admin = cluster.admin(cluster.leader().await);
    let node = Node::start(1, &cluster.controls()).await;
    super::cluster::eventually("a report", || cluster.members[&1].leads()).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;

    let (_, nodes) = json(admin, "GET", "/v1/nodes", None).await;
    assert_eq!(nodes["items"][0]["id"], 1);
    assert_eq!(nodes["items"][0]["status"], "online");
    let (_, disks) = json(admin, "GET", "/v1/disks", None).await;
    assert_eq!(disks["items"][0]["status"], "ok");
    assert_eq!(disks["items"][0]["free_bytes"], 1u64 << 40);
    let (_, members) = json(admin, "GET", "/v1/members", None).await;
    assert_eq!(members["items"][0]["status"], "leader");
    let (_, status) = json(admin, "GET", "/v1/status", None).await;
    assert_eq!(status["item"]["nodes"], json!({ "online": 1 }));
    let (_, metrics) = request(admin, "GET", "/metrics", None, None).await;
    assert!(metrics.contains("holdfast_control_leading 1"), "{metrics}");
    drop(node);
}
