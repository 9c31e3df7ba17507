//! Tokens: who is told what, and how soon.

use super::cluster::Cluster;
use super::http::{json, request};
use super::node::Node;
use super::volume::{becomes, create, three_nodes};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use wire::control::{
    Access, ClientInfo, Partitions, Routes, RoutesOutcome, RoutesReply, TokenRights, VolumeLife,
    VolumeSelector, Watch, WatchReply,
};
use wire::{Class, Operation, Peers, Request, Secret};
use world::{Net, World};

/// How soon a waiting client and every node are told.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

struct Asker {
    peers: Peers,
    control: String,
}

impl Asker {
    fn new(cluster: &Cluster) -> Asker {
        let world = World::real(Net::tcp());
        let peers = Peers::new(world, wire::Hub::default(), std::sync::Arc::default());
        Asker { peers, control: cluster.controls()[0].clone() }
    }

    async fn ask<M: prost::Message + Default>(
        &self,
        operation: Operation,
        message: &impl prost::Message,
        token: Option<Secret>,
    ) -> M {
        let request = Request::new(operation).class(Class::Control).message(message).access(token);
        let request = request.deadline(Duration::from_secs(6));
        self.peers.call(&self.control, request).await.unwrap().decode().unwrap()
    }

    /// What may be done; and that whoever may do nothing is told nothing else.
    async fn access(&self, token: Option<Secret>) -> Access {
        let mut told = Access::Unspecified;
        for selector in [VolumeSelector::Name("main".into()), VolumeSelector::Id(1)] {
            let routes = Routes { volume: Some(selector) };
            let reply = self.ask::<RoutesReply>(Operation::ControlRoutes, &routes, token).await;
            told = reply.access();
            if told.lets_in() {
                assert_eq!(reply.outcome(), RoutesOutcome::Found);
                assert_eq!(reply.volume.unwrap().name, "main");
                assert!(!reply.configurations.is_empty() && reply.nodes.len() == 3);
            } else {
                let bare = RoutesReply {
                    outcome: RoutesOutcome::Withheld.into(),
                    access: told.into(),
                    cluster: reply.cluster,
                    revision: reply.revision,
                    ..RoutesReply::default()
                };
                assert_eq!(reply, bare, "nothing of it is told");
            }
        }
        told
    }

    /// What a node is told, which asks without a token.
    async fn routes_of_a_node(&self) -> RoutesReply {
        let routes = Routes { volume: Some(VolumeSelector::Id(1)) };
        let request = Request::new(Operation::ControlRoutes);
        let request = request.class(Class::Background).message(&routes);
        self.peers.call(&self.control, request).await.unwrap().decode().unwrap()
    }

    async fn watch(&self, access: Access, token: Option<Secret>) -> WatchReply {
        let watch = Watch {
            volume: 1,
            client: Some(ClientInfo { id: 7, host: "host-a".into(), ..ClientInfo::default() }),
            seen: VolumeLife::Live.into(),
            access: access.into(),
            full: Some(Partitions::default()),
            ..Watch::default()
        };
        self.ask(Operation::ControlWatch, &watch, token).await
    }
}

async fn make(admin: &str, body: Value) -> (u16, Value) {
    json(admin, "POST", "/v1/volumes/main/tokens", Some(body)).await
}

async fn told(nodes: &[Node], wanted: &[TokenRights]) {
    let begun = Instant::now();
    for node in nodes {
        loop {
            let access = node.inner.lock().unwrap().access.clone();
            let grants = access.volumes.first().map(|volume| volume.grants.clone());
            let rights: Vec<TokenRights> =
                grants.unwrap_or_default().iter().map(|grant| grant.rights()).collect();
            if rights == wanted {
                break;
            }
            assert!(begun.elapsed() < TOLD_WITHIN, "{rights:?} instead of {wanted:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_token_makes_one_required_and_revocation_is_told_at_once() {
    let cluster = Cluster::start(1).await;
    let nodes: Vec<Node> = three_nodes(&cluster).await;
    create(&cluster, "main").await;
    becomes(&cluster, "main", "healthy").await;
    let (asker, admin) = (Asker::new(&cluster), cluster.admin(1));
    assert_eq!(asker.access(None).await, Access::Open);
    let open = asker.watch(Access::Unspecified, None).await;
    assert_eq!(open.access(), Access::Open);

    // Somebody has it open without a token.
    let (status, refused) = make(admin, json!({"rights": "rw"})).await;
    assert_eq!((status, &refused["code"]), (409, &json!("in-use")), "{refused}");
    let waiting = asker.watch(Access::Open, None);
    let making = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let body = json!({"rights": "rw", "name": "one", "force": true});
        (make(admin, body).await, Instant::now())
    };
    let (out, ((status, made), at)) = tokio::join!(waiting, making);
    assert_eq!((status, out.access()), (201, Access::Required));
    assert_eq!((out.life(), &out.full), (VolumeLife::Live, &None), "nothing of its partitions");
    assert!(at.elapsed() < TOLD_WITHIN);
    told(&nodes, &[TokenRights::ReadWrite]).await;

    let secret: Secret = made["item"]["secret"].as_str().unwrap().parse().unwrap();
    let stranger = Secret::draw(|| 5);
    assert_eq!(asker.access(Some(secret)).await, Access::ReadWrite);
    assert_eq!(asker.access(None).await, Access::Required);
    assert_eq!(asker.access(Some(stranger)).await, Access::Unknown);
    let of_a_node = asker.routes_of_a_node().await;
    assert_eq!(of_a_node.outcome(), RoutesOutcome::Found);
    assert!(!of_a_node.configurations.is_empty(), "it deletes what is behind names that are gone");
    let (_, second) = make(admin, json!({"rights": "ro", "expires_s": 1})).await;
    let reader: Secret = second["item"]["secret"].as_str().unwrap().parse().unwrap();
    assert_eq!(asker.access(Some(reader)).await, Access::ReadOnly);

    let (_, listed) = json(admin, "GET", "/v1/volumes/main/tokens", None).await;
    let text = listed.to_string();
    assert!(
        !text.contains(&secret.reveal()) && !text.contains(&secret.hash().to_string()),
        "{text}"
    );
    let (_, shown) = json(admin, "GET", "/v1/volumes/main", None).await;
    assert_eq!(shown["item"]["token_required"], json!(true));

    // One is revoked, the other's time is over: both are told to those who wait, and to the nodes.
    let waiting = asker.watch(Access::ReadWrite, Some(secret));
    let revoking = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let revoked = json(admin, "DELETE", "/v1/volumes/main/tokens/1", None).await;
        (revoked, Instant::now())
    };
    let (out, ((status, revoked), at)) = tokio::join!(waiting, revoking);
    assert_eq!((status, out.access()), (200, Access::Revoked));
    assert_eq!(revoked["item"]["state"], "revoked");
    assert!(at.elapsed() < TOLD_WITHIN);
    let over = asker.watch(Access::ReadOnly, Some(reader)).await;
    assert_eq!(over.access(), Access::Expired);
    assert_eq!(asker.access(Some(reader)).await, Access::Expired);
    assert_eq!(asker.access(Some(secret)).await, Access::Revoked);
    told(&nodes, &[TokenRights::Ended, TokenRights::Ended]).await;
    assert_eq!(asker.access(None).await, Access::Required, "it stays required");
    let (status, _) = json(admin, "DELETE", "/v1/volumes/main/tokens/9", None).await;
    assert_eq!(status, 404);

    let (_, events) = json(admin, "GET", "/v1/events?count=50", None).await;
    let kinds: Vec<&str> = events["item"]["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["to"].as_str().unwrap())
        .collect();
    for kind in ["token-required", "token-created", "token-revoked", "token-expired"] {
        assert!(kinds.contains(&kind), "{kind}: {events}");
    }
    let begun = Instant::now();
    loop {
        let (_, metrics) = request(admin, "GET", "/metrics", None, None).await;
        if metrics.contains("holdfast_control_access_nodes_behind 0") {
            break;
        }
        assert!(begun.elapsed() < TOLD_WITHIN * 3, "not all go by the newest list: {metrics}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (_, metrics) = request(admin, "GET", "/metrics", None, None).await;
    assert!(metrics.contains("holdfast_control_tokens{state=\"ended\"} 2"), "{metrics}");
    assert!(metrics.contains("holdfast_control_node_clock_offset_milliseconds{node=\"1\"}"));
}
