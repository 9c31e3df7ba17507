//! Nodes that have nothing to do.

use super::cluster::start_with;
use std::time::Duration;
use types::condition::{Fact, State};
use types::limits::NODE_SILENCE_MAX;

/// Heartbeats are messages of their own: who is idle for several times as long as silence may last is
/// alive all the while, and nothing happens that would have to be told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_node_is_alive() {
    let data = tempfile::tempdir().unwrap();
    let cluster = start_with(data.path(), "v", 1 << 30).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = cluster.member.state();
    tokio::time::sleep(4 * NODE_SILENCE_MAX).await;
    let after = cluster.member.state();
    let alive = after.conditions.iter().filter(|(key, _)| key.fact == Fact::Liveness);
    let alive: Vec<State> = alive.map(|(_, record)| record.state).collect();
    assert_eq!(alive, [State::Ok; 3]);
    assert_eq!(after.conditions, before.conditions);
    assert_eq!(after.events.last, before.events.last, "{:?}", after.events);
    cluster.stop().await;
}
