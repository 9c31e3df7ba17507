//! A person with a terminal: asks the admin API of one member after another, over HTTP.
//!
//! It makes the volume, and then looks at the partitions all the time.

use super::desk::Desk;
use super::machine::{Site, mix};
use super::scenario::Scenario;
use control::api::volume::Create;
use control::view::{List, PartitionStatus, PartitionView};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use types::volume::VolumeKind;
use world::{Net, Simulation, World};

/// Name of the volume that everybody uses.
pub(super) const VOLUME: &str = "main";

/// Patience with one request.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was seen last; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Screen {
    state: Arc<Mutex<Option<Shown>>>,
    wish: Arc<Mutex<Option<(Wish, bool)>>>,
}

/// What is to become of the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// It is to be deleted, with a grace of so many seconds.
    Delete { grace_s: u64 },
    /// It is to need a token, which none of its clients has.
    Protect,
}

impl Wish {
    /// Method, path and body; and which answers mean that it is done.
    fn request(self) -> (&'static str, String, &'static str, &'static [u16]) {
        match self {
            Wish::Delete { grace_s } => {
                let path = format!("/v1/volumes/{VOLUME}?force=true&grace_s={grace_s}");
                // Should an answer have been lost, the volume may be gone for good by now.
                ("DELETE", path, "", &[200, 404, 410])
            }
            Wish::Protect => {
                let path = format!("/v1/volumes/{VOLUME}/tokens");
                ("POST", path, r#"{"rights":"rw","force":true}"#, &[201])
            }
        }
    }
}

/// One answer.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) asked: Duration,
    pub(super) answered: Duration,
    pub(super) partitions: Vec<PartitionView>,
}

impl Shown {
    /// Whether every partition serves with all its replicas in sync. What was `lost` by a node that gets no
    /// new replicas cannot be made anew.
    pub(super) fn is_whole(&self, replicas: usize, lost: Option<u64>) -> bool {
        let is_lost = |partition: &PartitionView| {
            let mut on = partition.replicas.iter().map(|replica| replica.node);
            partition.status == PartitionStatus::Degraded
                && lost.is_some_and(|node| on.all(|other| other != node))
        };
        let whole = |partition: &PartitionView| {
            let lacking = usize::from(is_lost(partition));
            (partition.status == PartitionStatus::Healthy || lacking > 0)
                && partition.in_sync.len() + lacking == replicas
                && partition.catching_up.is_empty()
                && partition.replicas.iter().all(|replica| replica.state == "ok")
        };
        !self.partitions.is_empty() && self.partitions.iter().all(whole)
    }
}

impl Screen {
    /// The last answer.
    pub(super) fn last(&self) -> Option<Shown> {
        self.state.lock().expect("no holder panics").clone()
    }

    /// Has something done with the volume.
    pub(super) fn wish(&self, wish: Wish) {
        *self.wish.lock().expect("no holder panics") = Some((wish, false));
    }

    /// Whether the control plane has said that this is done.
    pub(super) fn has(&self, wish: Wish) -> bool {
        self.wanted() == Some((wish, true))
    }

    fn wanted(&self) -> Option<(Wish, bool)> {
        *self.wish.lock().expect("no holder panics")
    }

    fn show(&self, shown: Shown) {
        *self.state.lock().expect("no holder panics") = Some(shown);
    }
}

/// Runs for ever.
pub(super) async fn run(site: Site, screen: Screen, desk: Desk) -> turmoil::Result {
    let world = World::simulated(Simulation {
        seed: mix(site.seed, 9000),
        net: Net::simulated(site.fabric.clone()),
        os_boot: 1,
        date: types::Timestamp(0),
        work_max: Duration::ZERO,
    });
    let path = format!("/v1/partitions?volume={VOLUME}");
    let mut member = 0;
    loop {
        member = member % site.scenario.members + 1;
        let address = format!("control-{member}:7400");
        let asked = turmoil::sim_elapsed().unwrap_or_default();
        let wanted = screen.wanted();
        if let Some((wish, false)) = wanted {
            let (method, path, body, done) = wish.request();
            let answer = ask(&world, &address, method, &path, body).await;
            if answer.is_some_and(|(status, _)| done.contains(&status)) {
                site.history.note(&format!("{wish:?} is accepted"));
                *screen.wish.lock().expect("no holder panics") = Some((wish, true));
            }
        }
        desk.tend(&world, &address).await;
        match ask(&world, &address, "GET", &path, "").await {
            Some((200, body)) => {
                if let Ok(list) = serde_json::from_str::<List<PartitionView>>(&body) {
                    let answered = turmoil::sim_elapsed().unwrap_or_default();
                    screen.show(Shown { asked, answered, partitions: list.items });
                }
            }
            // There is no such volume yet.
            Some((404, _)) if wanted.is_none() => make(&world, &address, &site.scenario).await,
            _ => {}
        }
        world.sleep(Duration::from_millis(50)).await;
    }
}

async fn make(world: &World, address: &str, scenario: &Scenario) {
    let create = Create {
        durability: scenario.durability,
        data_partitions: Some(2),
        capacity_bytes: 4 << 30,
        ..Create::new(VOLUME, VolumeKind::File)
    };
    let body = serde_json::to_string(&create).expect("it is plain data");
    // Whether it worked, the next look will tell.
    let _ = ask(world, address, "POST", "/v1/volumes", &body).await;
}

/// One request; its status and body.
pub(super) async fn ask(
    world: &World,
    address: &str,
    method: &str,
    path: &str,
    body: &str,
) -> Option<(u16, String)> {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let exchange = async {
        let mut stream = world.net().connect(address).await.ok()?;
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        tracing::debug!(address, method, path, answer = %String::from_utf8_lossy(&answer));
        parse(&String::from_utf8_lossy(&answer))
    };
    tokio::time::timeout(PATIENCE, exchange).await.ok()?
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// Name of the host that the probe runs on.
pub(super) const HOST: &str = "probe";
