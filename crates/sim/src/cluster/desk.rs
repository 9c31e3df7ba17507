//! Somebody who takes a node out of service in the midst of trouble, and looks at what is said of it.
//!
//! The probe does the asking ([`Desk::tend`]); the harness gives the orders, and compares what is shown with what is
//! on the target's disk. *Succeeded* is a claim about that disk, so it has to be true whenever it is shown; what is
//! left, and why, has to be true once everything has healed.

use super::probe::ask;
use crate::dice::Dice;
use control::view::{List, NodeView, OperationView};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use types::operation::OperationKind;
use world::World;

/// What is to be done to which node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) kind: OperationKind,
    /// By its host's number, from 1.
    pub(super) node: usize,
    /// One of its disks, rather than the node.
    pub(super) disk: bool,
}

impl Job {
    pub(super) fn draw(dice: &mut Dice, nodes: usize) -> Job {
        let kinds = [
            OperationKind::Decommission,
            OperationKind::Decommission,
            OperationKind::Decommission,
            OperationKind::Drain,
        ];
        let kind = *dice.pick(&kinds);
        let disk = kind == OperationKind::Decommission && dice.chance(300);
        Job { kind, node: 1 + dice.below(nodes), disk }
    }
}

/// One answer.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) asked: Duration,
    pub(super) operations: Vec<OperationView>,
}

/// What was asked for, and what was seen of it; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Desk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    job: Option<Job>,
    /// The node's number in the cluster, and the target in words.
    target: Option<(u64, String)>,
    operation: Option<u64>,
    order: Option<&'static str>,
    seen: Option<Seen>,
    /// Whether that was not looked at yet.
    is_news: bool,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// Asks for it, as soon as somebody answers; once.
    pub(super) fn begin(&self, job: Job) {
        self.lock().job.get_or_insert(job);
    }

    /// Gives an order as soon as there is an operation, in place of one that was not given yet.
    pub(super) fn order(&self, order: &'static str) {
        self.lock().order = Some(order);
    }

    /// The number of the node that it is about.
    pub(super) fn node(&self) -> Option<u64> {
        self.lock().target.as_ref().map(|(node, _)| *node)
    }

    /// Whether nothing is left to be asked for.
    pub(super) fn is_served(&self) -> bool {
        let state = self.lock();
        state.job.is_none() || (state.operation.is_some() && state.order.is_none())
    }

    pub(super) fn seen(&self) -> Option<Seen> {
        self.lock().seen.clone()
    }

    /// The last answer, unless it was taken before.
    pub(super) fn news(&self) -> Option<Seen> {
        let mut state = self.lock();
        std::mem::take(&mut state.is_news).then(|| state.seen.clone()).flatten()
    }

    /// What was asked for, as an answer shows it.
    pub(super) fn own<'a>(&self, seen: &'a Seen) -> Option<&'a OperationView> {
        let id = self.lock().operation?;
        seen.operations.iter().find(|operation| operation.id == id)
    }

    /// Asks one member for what is to be asked for, and how it is.
    pub(super) async fn tend(&self, world: &World, member: &str) {
        let Some(job) = self.lock().job else { return };
        let asked = turmoil::sim_elapsed().unwrap_or_default();
        self.find_target(world, member, job).await;
        let answer = ask(world, member, "GET", "/v1/operations?all=true", "").await;
        let Some((200, body)) = answer else { return };
        let Ok(List { items, .. }) = serde_json::from_str::<List<OperationView>>(&body) else {
            return;
        };
        let known = {
            let mut state = self.lock();
            let target = state.target.clone().map(|(_, target)| target);
            let is_it = |o: &&OperationView| {
                o.kind == job.kind.word() && Some(&o.target) == target.as_ref()
            };
            let found = items.iter().find(is_it).map(|operation| operation.id);
            state.operation = state.operation.or(found);
            state.seen = Some(Seen { asked, operations: items });
            state.is_news = true;
            state.operation
        };
        match known {
            Some(id) => self.give_order(world, member, id).await,
            None => self.start(world, member, job).await,
        }
    }

    async fn find_target(&self, world: &World, member: &str, job: Job) {
        if self.lock().target.is_some() {
            return;
        }
        let Some((200, body)) = ask(world, member, "GET", "/v1/nodes", "").await else { return };
        let Ok(list) = serde_json::from_str::<List<NodeView>>(&body) else { return };
        let host = format!("node-{}:", job.node);
        let node = list.items.iter().find(|node| node.address.starts_with(&host));
        let Some(node) = node.filter(|node| !node.disks.is_empty()) else { return };
        let target = match job.disk {
            true => format!("disk/{}", node.disks[0]),
            false => format!("node/{}", node.id),
        };
        self.lock().target = Some((node.id, target));
    }

    /// Whether it worked, the next look will tell.
    async fn start(&self, world: &World, member: &str, job: Job) {
        let Some((_, target)) = self.lock().target.clone() else { return };
        let kind = job.kind.word();
        let body = format!(r#"{{"kind":"{kind}","target":"{target}","by":"somebody"}}"#);
        let _ = ask(world, member, "POST", "/v1/operations", &body).await;
    }

    async fn give_order(&self, world: &World, member: &str, id: u64) {
        let Some(order) = self.lock().order else { return };
        let path = format!("/v1/operations/{id}/{order}");
        let answer = ask(world, member, "POST", &path, r#"{"by":"somebody"}"#).await;
        // One that makes no sense is refused: that is an answer, too.
        if matches!(answer, Some((200 | 400 | 409, _))) {
            let mut state = self.lock();
            state.order = state.order.filter(|newer| *newer != order);
        }
    }
}
