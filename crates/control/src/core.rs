//! One member: what its parts share, and what it can do.

use crate::attached::Attached;
use crate::config::Config;
use crate::detect::Detector;
use crate::operation::{self, Act};
use crate::plan::{self, Inputs};
use crate::raft::machine::Machine;
use crate::raft::network::Network;
use crate::raft::store::Store;
use crate::raft::{QUORUM_SILENCE_MS_MAX, Raft};
use crate::state::{Command, Node, Outcome, Partition, State};
use openraft::error::{ClientWriteError, RaftError};
use openraft::{BasicNode, ServerState};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use types::limits::REQUEST_DEADLINE;
use types::{Moment, NodeId, OperationId, PartitionId};
use wire::{Class, Operation, Request};
use world::World;

/// What a member knows only while it leads.
#[derive(Debug)]
pub(crate) struct Leading {
    /// The term in which it was elected.
    pub(crate) term: u64,
    pub(crate) detector: Detector,
    /// Who has which volume open.
    pub(crate) attached: Attached,
    /// What changed of conditions, and is not agreed upon yet.
    pub(crate) watch: crate::observe::Watch,
    /// Nodes for which there was nothing to do.
    pub(crate) settled: BTreeMap<NodeId, crate::hear::Settled>,
    /// What the last plan left at rest.
    pub(crate) memory: plan::Memory,
    /// What the last plan could not do.
    pub(crate) residue: Vec<String>,
    /// What the last plan saw of each operation.
    pub(crate) rounds: BTreeMap<OperationId, operation::Round>,
    /// What nodes listed for operations that verify.
    pub(crate) contents: BTreeMap<OperationId, operation::sense::Contents>,
    /// Operations whose nodes are being asked.
    pub(crate) asking: BTreeSet<OperationId>,
    /// What is being read for operations, and what came of it.
    pub(crate) readings: operation::Readings,
    /// How fast each operation goes.
    pub(crate) meters: BTreeMap<OperationId, operation::Meter>,
    /// How far the clock of each node is ahead of ours, in milliseconds, as of its last heartbeat.
    pub(crate) clocks: BTreeMap<NodeId, i64>,
}

impl Leading {
    /// Begins to lead, knowing nothing but what is on record.
    pub(crate) fn new(term: u64, detector: Detector, attached: Attached) -> Leading {
        Leading {
            term,
            detector,
            attached,
            watch: crate::observe::Watch::default(),
            settled: BTreeMap::new(),
            memory: plan::Memory::default(),
            residue: Vec::new(),
            rounds: BTreeMap::new(),
            contents: BTreeMap::new(),
            asking: BTreeSet::new(),
            readings: operation::Readings::new(),
            meters: BTreeMap::new(),
            clocks: BTreeMap::new(),
        }
    }
}

/// The parts of a running member of the group.
pub(crate) struct Consensus {
    pub(crate) raft: Raft,
    pub(crate) machine: Machine,
    pub(crate) store: Store,
}

/// What the parts of a member share.
///
/// Lock order: `leading`, then the machine's.
pub(crate) struct Core {
    pub(crate) world: World,
    pub(crate) config: Config,
    pub(crate) raft: Raft,
    pub(crate) machine: Machine,
    pub(crate) store: Store,
    pub(crate) network: Network,
    leading: Mutex<Option<Leading>>,
    /// When the leader was last heard of, on members that follow it.
    heard: Mutex<Option<Moment>>,
    /// Wakes the leader's loop.
    pub(crate) poke: tokio::sync::Notify,
    pub(crate) metrics: crate::metrics::Metrics,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "member {}", self.config.id)
    }
}

/// Why a command has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProposeError {
    /// Nothing happened.
    #[error("this member does not lead")]
    NotLeader,
    /// It may have happened.
    #[error("a majority of the control plane did not answer in time")]
    Unavailable,
}

impl Core {
    pub(crate) fn new(
        world: World,
        config: Config,
        consensus: Consensus,
        network: Network,
        metrics: crate::metrics::Metrics,
    ) -> Arc<Core> {
        let (leading, heard) = (Mutex::new(None), Mutex::new(None));
        let poke = tokio::sync::Notify::new();
        let Consensus { raft, machine, store } = consensus;
        Arc::new(Core {
            world,
            config,
            raft,
            machine,
            store,
            network,
            leading,
            heard,
            poke,
            metrics,
        })
    }

    /// What this member knows while it leads; `None` while it does not.
    pub(crate) fn leading(&self) -> MutexGuard<'_, Option<Leading>> {
        self.leading.lock().expect("no holder panics")
    }

    /// The number of the leader, by what this member knows.
    pub(crate) fn leader(&self) -> Option<u64> {
        self.raft.metrics().borrow().current_leader
    }

    /// When this member last heard of the leader it follows.
    pub(crate) fn leader_heard(&self) -> Option<Moment> {
        *self.heard.lock().expect("no holder panics")
    }

    /// Notes that the leader spoke just now.
    pub(crate) fn hear_leader(&self) {
        *self.heard.lock().expect("no holder panics") = Some(self.world.now());
    }

    /// The term in which this member leads now, with a majority behind it; `None` otherwise.
    pub(crate) fn term_led(&self) -> Option<u64> {
        // Without room it answers nothing, and the figures below are of another time.
        if self.store.shortage().is_some() {
            return None;
        }
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        if metrics.state != ServerState::Leader || metrics.running_state.is_err() {
            return None;
        }
        let alone = self.config.members.len() == 1;
        let heard = metrics.millis_since_quorum_ack.is_some_and(|ms| ms < QUORUM_SILENCE_MS_MAX);
        (alone || heard).then_some(metrics.current_term)
    }

    /// Waits until everything that was committed before now is applied here.
    pub(crate) async fn catch_up(&self) -> Result<(), ProposeError> {
        let read = self.raft.ensure_linearizable();
        match tokio::time::timeout(REQUEST_DEADLINE, read).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                tracing::debug!(%error, "cannot read from a majority");
                Err(ProposeError::NotLeader)
            }
            Err(_) => Err(ProposeError::Unavailable),
        }
    }

    /// Has a majority agree on a command, and tells the nodes it concerns.
    pub(crate) async fn propose(&self, command: Command) -> Result<Outcome, ProposeError> {
        let write = self.raft.client_write(command.clone());
        let outcome = match tokio::time::timeout(REQUEST_DEADLINE, write).await {
            Ok(Ok(response)) => response.data,
            Ok(Err(error)) => return Err(propose_error(&error)),
            Err(_) => return Err(ProposeError::Unavailable),
        };
        self.metrics.commands.inc();
        tracing::debug!(?command, ?outcome, "applied");
        if !matches!(outcome, Outcome::Refused(_)) {
            self.push(&command);
        }
        Ok(outcome)
    }

    /// Tells the nodes that a command concerns what they should do now. What gets lost, their next
    /// heartbeat makes good.
    fn push(&self, command: &Command) {
        // Sent after the locks are let go: a node in this process is called directly.
        for (address, assignment) in self.assignments(command) {
            let request =
                Request::new(Operation::Assign).class(Class::Control).message(&assignment);
            self.network.peers.send(&address, request);
        }
    }

    fn assignments(&self, command: &Command) -> Vec<(String, wire::control::Assignment)> {
        let leading = self.leading();
        let Some(leading) = leading.as_ref() else { return Vec::new() };
        self.machine.read(|state, revision| {
            let nodes = concerned(state, command);
            let nodes = nodes.iter().filter_map(|id| state.nodes.get(id));
            let assign = |node: &Node| {
                let report = leading.detector.report(node.id, node.boot);
                plan::assign::assignment(state, revision, node.id, report)
            };
            nodes.map(|node| (node.address.clone(), assign(node))).collect()
        })
    }

    /// Everything a plan is made from.
    pub(crate) fn inputs<'a>(&'a self, state: &'a State, leading: &'a Leading) -> Inputs<'a> {
        let random = self.world.random();
        Inputs {
            policy: &self.config.policy,
            state,
            detector: &leading.detector,
            now: self.world.now(),
            date: self.world.timestamp(),
            sense: operation::Sense {
                contents: &leading.contents,
                readings: &leading.readings,
                random,
            },
        }
    }

    /// Makes a plan from what is known now; `None` when this member does not lead, or when it is known
    /// that there is nothing to do.
    pub(crate) fn plan(&self) -> Option<plan::Plan> {
        let mut leading = self.leading();
        let leading = leading.as_mut()?;
        let mut memory = std::mem::take(&mut leading.memory);
        let plan =
            self.machine.read(|state, _| plan::plan_on(&self.inputs(state, leading), &mut memory));
        leading.memory = memory;
        leading.residue.clone_from(&plan.residue);
        leading.rounds.clone_from(&plan.rounds);
        self.measure(leading);
        Some(plan)
    }

    /// Notes how far each operation is, for rates.
    fn measure(&self, leading: &mut Leading) {
        let (now, rounds) = (self.world.now(), &leading.rounds);
        leading.meters.retain(|operation, _| rounds.contains_key(operation));
        leading.contents.retain(|operation, _| rounds.contains_key(operation));
        self.machine.read(|state, _| {
            for (id, round) in rounds {
                let Some(operation) = state.operations.all.get(id) else { continue };
                let bytes = operation.progress().bytes_done.saturating_add(round.in_flight);
                leading.meters.entry(*id).or_default().note(now, bytes);
            }
        });
    }
}

fn propose_error(error: &RaftError<u64, ClientWriteError<u64, BasicNode>>) -> ProposeError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => ProposeError::NotLeader,
        error => {
            tracing::warn!(%error, "a command was not carried out");
            ProposeError::Unavailable
        }
    }
}

/// The nodes that a command gave something to do.
fn concerned(state: &State, command: &Command) -> BTreeSet<NodeId> {
    let holders = |partition: &Partition| partition.holders().map(|m| m.node).collect::<Vec<_>>();
    let one = |id: &PartitionId| state.partitions.get(id).map(holders).unwrap_or_default();
    match command {
        Command::Configure { partition, .. } | Command::Operation(Act::Step { partition, .. }) => {
            one(partition).into_iter().collect()
        }
        Command::PlacePartitions { volume, .. }
        | Command::DeleteVolume { volume, .. }
        | Command::PurgeVolume { volume, .. }
        | Command::CreateToken { volume, .. }
        | Command::EndToken { volume, .. }
        | Command::ExpandVolume { volume, .. } => {
            state.partitions_of(*volume).flat_map(holders).collect()
        }
        _ => BTreeSet::new(),
    }
}
