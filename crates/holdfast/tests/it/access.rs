//! Tokens, as the nodes see to them: whatever a client believes, they do not serve who has no right.

use super::cluster::{create, eventually, open, reopen, start_with};
use super::run::{Run, holdfast};
use client::{Client, Error, Life, Options, Revocation, Volume};
use holdfast::embedded::{Config, Embedded};
use std::time::{Duration, Instant};
use types::access::Rights;
use types::configuration::PartitionKind;
use types::{Configuration, Epoch, PartitionId};
use wire::{Class, Operation, Request, Secret, Status, control, data};

/// How soon whoever may not go on hears of it.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// A command for the cluster, run beside it.
async fn command(cluster: &Embedded, words: &[&str]) -> Run {
    let server = format!("http://{}", cluster.member.admin_address());
    let words = words.iter().copied().chain(["--server", &server]).map(str::to_owned);
    let words: Vec<String> = words.collect();
    let run = move || holdfast(&words.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.unwrap()
}

async fn token(cluster: &Embedded, rights: &str, more: &[&str]) -> Secret {
    let words = ["volume", "token", "create", "v", "--rights", rights];
    let words: Vec<&str> = words.into_iter().chain(more.iter().copied()).collect();
    let made = command(cluster, &words).await;
    assert_eq!(made.code, 0, "{made:?}");
    made.out.parse().unwrap()
}

async fn try_open(cluster: &Embedded, token: Option<Secret>) -> Result<Volume, Error> {
    let members = vec![cluster.member.address().to_string()];
    let (world, hub) = (cluster.world.clone(), cluster.hub.clone());
    let client = Client::new(world, hub, cluster.metrics.clone(), members);
    client.open_volume("v", Options { token, ..Options::default() }).await
}

/// Asks where the volume is.
async fn try_routes(cluster: &Embedded, token: Option<Secret>) -> Result<client::Routes, Error> {
    let members = vec![cluster.member.address().to_string()];
    let (world, hub) = (cluster.world.clone(), cluster.hub.clone());
    let client = Client::new(world, hub, cluster.metrics.clone(), members);
    client.showing(token).routes("v").await
}

/// Asks the leader of the first data partition, past everything that a client knows; while nobody leads
/// it, waits.
async fn ask(cluster: &Embedded, operation: Operation, token: Option<Secret>) -> Status {
    let begun = Instant::now();
    loop {
        let status = ask_once(cluster, operation, token).await;
        if status != Status::NotLeader || begun.elapsed() > Duration::from_secs(10) {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn ask_once(cluster: &Embedded, operation: Operation, token: Option<Secret>) -> Status {
    let members = vec![cluster.member.address().to_string()];
    let (world, hub) = (cluster.world.clone(), cluster.hub.clone());
    let client = Client::new(world, hub, cluster.metrics.clone(), members).showing(token);
    let (partition, address, epoch) = match first_leader(cluster).await {
        Some(leader) => leader,
        None => return Status::NotLeader,
    };
    let request = Request::new(operation).partition(partition).epoch(epoch);
    let request = match operation {
        Operation::DataWrite => {
            let sums = types::checksum::block_checksums(b"bytes");
            let checksums: Vec<u8> = sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
            let write = data::Write { object: 1 << 40, offset: 0, checksums: checksums.into() };
            request.message(&write).payload(bytes::Bytes::from_static(b"bytes"))
        }
        _ => request.message(&data::Read { object: 1 << 40, offset: 0, length: 5 }),
    };
    match client.ask(&address, request).await {
        Ok(_) => Status::Ok,
        Err(error) => error.status().unwrap_or(Status::Internal),
    }
}

/// Where the first data partition is led, as a node is told: without a token.
async fn first_leader(cluster: &Embedded) -> Option<(PartitionId, String, Epoch)> {
    let (world, hub) = (cluster.world.clone(), cluster.hub.clone());
    let peers = wire::Peers::new(world, hub, cluster.metrics.clone());
    let routes = control::Routes { volume: Some(control::VolumeSelector::Name("v".into())) };
    let request = Request::new(Operation::ControlRoutes).class(Class::Background).message(&routes);
    let reply = peers.call(&cluster.member.address().to_string(), request).await.ok()?;
    let reply: control::RoutesReply = reply.decode().unwrap();
    let all = reply.configurations.iter();
    let mut all = all.map(|configuration| Configuration::try_from(configuration).unwrap());
    let first = all.find(|configuration| configuration.kind == PartitionKind::Data)?;
    let leader = first.leader_member()?.node;
    let node = reply.nodes.iter().find(|node| node.node == leader.0)?;
    Some((first.partition, node.address.clone(), first.epoch))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_serve_nobody_without_a_right() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = start_with(folder.path(), "v", 1 << 30).await;
    let anybody = open(&cluster, "v").await;
    let file = create(&anybody, "file").await;
    file.write(0, vec![7; 4096].into()).await.unwrap();
    file.sync().await.unwrap();
    assert_eq!(ask(&cluster, Operation::DataWrite, None).await, Status::Ok);

    // The first token shuts out whoever has none: it is refused while somebody is there.
    let words = ["volume", "token", "create", "v", "--rights", "rw"];
    let refused = command(&cluster, &words).await;
    assert_eq!(refused.code, 4, "{refused:?}");
    assert_eq!(anybody.life(), Life::Live);
    let begun = tokio::spawn({
        let anybody = anybody.clone();
        async move { (anybody.ended().await, Instant::now()) }
    });
    let writer = token(&cluster, "rw", &["--force", "--name", "the writer"]).await;
    let (life, _) = begun.await.unwrap();
    assert_eq!(life, Life::Revoked(Revocation::Required));
    assert!(matches!(
        file.write(0, vec![8; 10].into()).await.err(),
        None | Some(Error::Revoked(_))
    ));
    assert!(matches!(file.sync().await, Err(Error::Revoked(_))));
    let _ = anybody.close().await;
    for (token, wanted) in [(None, "needs a token"), (Some(Secret::draw(|| 3)), "none of this")] {
        for error in [
            try_open(&cluster, token).await.unwrap_err(),
            try_routes(&cluster, token).await.unwrap_err(),
        ] {
            assert!(
                matches!(error, Error::NoAccess(_)) && error.to_string().contains(wanted),
                "{error}"
            );
        }
    }
    rights_are_kept(&cluster, writer).await;

    // Nor does a node that starts again: it asks first.
    let reader = token(&cluster, "ro", &[]).await;
    let victim = cluster.nodes.pop().unwrap();
    victim.stop().await;
    let config =
        Config { data: folder.path().into(), nodes: 3, admin_listen: "127.0.0.1:0".into() };
    let number = stopped(&config);
    cluster.start_node(&config, number).await.unwrap();
    for _ in 0..20 {
        assert_ne!(ask_once(&cluster, Operation::DataRead, None).await, Status::Ok);
        assert_ne!(ask_once(&cluster, Operation::DataWrite, Some(reader)).await, Status::Ok);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let again = try_open(&cluster, Some(writer)).await.unwrap();
    let file = reopen(&again, "file").await;
    assert_eq!(file.read(0, 4096).await.unwrap(), vec![7; 4096]);

    // Its holder hears of a revocation at once; what it opened is of no use.
    let at = Instant::now();
    let ended = tokio::spawn({
        let again = again.clone();
        async move { (again.ended().await, Instant::now()) }
    });
    let revoked = command(&cluster, &["volume", "token", "revoke", "v", "1", "--yes"]).await;
    assert_eq!(revoked.code, 0, "{revoked:?}");
    assert!(!revoked.err.contains("warning"), "every node has said so: {revoked:?}");
    let (life, told) = ended.await.unwrap();
    assert_eq!(life, Life::Revoked(Revocation::Revoked));
    assert!(told.duration_since(at) < TOLD_WITHIN * 3, "with the start of a program");
    for operation in [Operation::DataRead, Operation::DataWrite] {
        assert_eq!(ask(&cluster, operation, Some(writer)).await, Status::Denied);
    }
    assert!(matches!(file.read(0, 10).await, Err(Error::Revoked(_))));
    assert!(matches!(try_open(&cluster, Some(writer)).await, Err(Error::Revoked(_))));
    assert_eq!(ask(&cluster, Operation::DataRead, Some(reader)).await, Status::Ok, "others go on");
    cluster.stop().await;
}

/// The number of the node that does not run: nobody has locked its folder.
fn stopped(config: &Config) -> u64 {
    let is_free = |number: &u64| {
        let folder = config.data.join(format!("node-{number}/disk"));
        holdfast::embedded::open_disk(&folder).is_ok()
    };
    (1..=3).find(is_free).expect("one was stopped")
}

async fn rights_are_kept(cluster: &Embedded, writer: Secret) {
    let reader = token(cluster, "ro", &["--expires", "4s"]).await;
    let made = Instant::now();
    let (writes, reads) = (
        try_open(cluster, Some(writer)).await.unwrap(),
        try_open(cluster, Some(reader)).await.unwrap(),
    );
    assert_eq!((writes.rights(), reads.rights()), (Rights::ReadWrite, Rights::ReadOnly));
    let file = reopen(&writes, "file").await;
    file.write(4096, vec![9; 4096].into()).await.unwrap();
    file.sync().await.unwrap();
    let seen = reopen(&reads, "file").await;
    assert_eq!(seen.read(4096, 4096).await.unwrap(), vec![9; 4096]);
    let refused = seen.write(0, vec![1; 10].into()).await.err();
    let refused = match refused {
        Some(error) => error,
        None => seen.sync().await.unwrap_err(),
    };
    assert!(matches!(refused, Error::ReadOnly), "{refused}");
    for (operation, rw, ro) in [
        (Operation::DataRead, Status::Ok, Status::Ok),
        (Operation::DataWrite, Status::Ok, Status::ReadOnly),
    ] {
        let of = |token| ask(cluster, operation, token);
        assert_eq!((of(Some(writer)).await, of(Some(reader)).await), (rw, ro));
        assert_eq!(of(None).await, Status::Denied);
        assert_eq!(of(Some(Secret::draw(|| 5))).await, Status::Denied);
    }
    let listed = command(cluster, &["volume", "token", "list", "v", "--output", "json"]).await;
    let listed = listed.json();
    assert_eq!((&listed[0]["name"], &listed[0]["clients"]), (&"the writer".into(), &1.into()));
    // Its time is over on its own.
    let ended = reads.ended().await;
    assert_eq!(ended, Life::Revoked(Revocation::Expired));
    let late = made.elapsed().saturating_sub(Duration::from_secs(4));
    assert!(late < TOLD_WITHIN * 2, "{late:?}");
    let error = try_open(cluster, Some(reader)).await.unwrap_err();
    assert!(matches!(error, Error::Revoked(Revocation::Expired)), "{error}");
    writes.close().await.unwrap();
    // What it could not write back is no news.
    let _ = reads.close().await;
    eventually("it left", Duration::from_secs(5), || async {
        let listed = command(cluster, &["client", "list", "--output", "json"]).await;
        listed.json() == serde_json::json!([])
    })
    .await;
}
