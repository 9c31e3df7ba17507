//! Counters and gauges of one member, in the registry it was handed.

use crate::detect::Taken;
use crate::state::Conditions;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::{Arc, Mutex};
use types::condition::Observation;

/// The registry that everything in a process is entered into; cheap to clone. By handle, because
/// many members live in one process in a simulation.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    pub(crate) heartbeats: Counter,
    pub(crate) heartbeats_stale: Counter,
    pub(crate) heartbeats_unfit: Counter,
    pub(crate) heartbeats_refused: Counter,
    pub(crate) commands: Counter,
    pub(crate) plans: Counter,
    pub(crate) appointments: Counter,
    pub(crate) leading: Gauge,
    pub(crate) residue: Gauge,
    transitions: Family<Transition, Counter>,
    refusals: Family<Transition, Counter>,
    conditions: Family<Condition, Gauge>,
    volumes: Family<Volume, Gauge>,
    volume_clients: Family<VolumeName, Gauge>,
    tokens: Family<TokenState, Gauge>,
    access_nodes_behind: Gauge,
    node_clock_offset: Family<NodeLabel, Gauge>,
    operations: Family<Operations, Gauge>,
    operation_work: OperationWork,
}

/// Labels of what a volume can do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Volume {
    volume: String,
    status: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VolumeName {
    volume: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NodeLabel {
    node: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenState {
    state: &'static str,
}

/// How far each operation is that has not ended.
#[derive(Clone, Debug, Default)]
struct OperationWork {
    partitions: Family<OperationLabel, Gauge>,
    partitions_done: Family<OperationLabel, Gauge>,
    bytes: Family<OperationLabel, Gauge>,
    bytes_done: Family<OperationLabel, Gauge>,
    residue: Family<ResidueLabel, Gauge>,
}

/// Labels of operations by what they do and how far they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operations {
    kind: String,
    state: String,
}

/// Labels of one operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabel {
    operation: u64,
    kind: String,
    target: String,
}

/// Labels of what an operation left over.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResidueLabel {
    operation: u64,
    reason: String,
}

/// Labels of a condition on record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Condition {
    subject: String,
    fact: String,
    state: String,
}

/// Labels of a condition that changed, or that must not.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Transition {
    fact: String,
    to: String,
}

impl Transition {
    fn of(observation: &Observation) -> Transition {
        let (fact, to) = (observation.key.fact, observation.state);
        Transition { fact: fact.to_string(), to: to.to_string() }
    }
}

impl OperationWork {
    fn register(&self, all: &mut Registry) {
        let partitions = "Partitions an operation is or was to deal with";
        all.register("operation_partitions", partitions, self.partitions.clone());
        let done = "Partitions an operation has dealt with";
        all.register("operation_partitions_done", done, self.partitions_done.clone());
        let bytes = "Bytes an operation is or was to deal with";
        all.register("operation_bytes", bytes, self.bytes.clone());
        let done = "Bytes an operation has dealt with";
        all.register("operation_bytes_done", done, self.bytes_done.clone());
        let residue = "Partitions an operation could not deal with";
        all.register("operation_residue", residue, self.residue.clone());
    }

    fn clear(&self) {
        let all = [&self.partitions, &self.partitions_done, &self.bytes, &self.bytes_done];
        all.into_iter().for_each(Family::clear);
        self.residue.clear();
    }

    fn set(&self, operation: &crate::operation::Operation) {
        let label = OperationLabel {
            operation: operation.id.0,
            kind: operation.kind.to_string(),
            target: operation.target.to_string(),
        };
        let progress = operation.progress();
        let set = |family: &Family<OperationLabel, Gauge>, value: u64| {
            family.get_or_create(&label).set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(&self.partitions, progress.partitions);
        set(&self.partitions_done, progress.partitions_done);
        set(&self.bytes, progress.bytes);
        set(&self.bytes_done, progress.bytes_done);
        for (_, _, residue) in operation.residue() {
            let (operation, reason) = (operation.id.0, residue.reason.to_string());
            self.residue.get_or_create(&ResidueLabel { operation, reason }).inc();
        }
    }
}

impl Metrics {
    /// Enters the metrics of a member into `registry`.
    ///
    /// # Panics
    /// When somebody panicked while holding the registry.
    #[must_use]
    pub fn new(registry: Arc<Mutex<Registry>>) -> Metrics {
        let metrics = Metrics { registry, ..Metrics::default() };
        let mut registry = metrics.registry.lock().expect("no holder panics");
        let all = registry.sub_registry_with_prefix("holdfast_control");
        let counters = [
            ("heartbeats", "Heartbeats taken", &metrics.heartbeats),
            ("heartbeats_stale", "Heartbeats dropped for being late", &metrics.heartbeats_stale),
            (
                "heartbeats_unfit",
                "Heartbeats that followed one that is not known here; all of it is asked for then",
                &metrics.heartbeats_unfit,
            ),
            ("heartbeats_refused", "Heartbeats of strangers", &metrics.heartbeats_refused),
            ("commands", "Commands committed", &metrics.commands),
            ("plans", "Plans that had something to do", &metrics.plans),
            ("appointments", "Leaders appointed", &metrics.appointments),
        ];
        for (name, help, counter) in counters {
            all.register(name, help, counter.clone());
        }
        all.register("leading", "1 while this member leads", metrics.leading.clone());
        all.register("residue", "Things to do that cannot be done", metrics.residue.clone());
        all.register(
            "condition_transitions",
            "Conditions that changed",
            metrics.transitions.clone(),
        );
        all.register(
            "condition_transitions_refused",
            "Words of nodes that no rule allows, one for each time they were said",
            metrics.refusals.clone(),
        );
        all.register(
            "condition",
            "1 for the state that a condition on record is in",
            metrics.conditions.clone(),
        );
        all.register(
            "volume",
            "1 for the status of each volume; only of the member that leads",
            metrics.volumes.clone(),
        );
        all.register(
            "volume_clients",
            "Clients that have the volume open; only of the member that leads",
            metrics.volume_clients.clone(),
        );
        metrics.register_access(all);
        metrics.operation_work.register(all);
        all.register("operations", "Operations on record", metrics.operations.clone());
        drop(registry);
        metrics
    }

    /// Enters what is said of tokens, and of the nodes that go by them.
    fn register_access(&self, all: &mut Registry) {
        all.register("tokens", "Tokens of volumes on record", self.tokens.clone());
        all.register(
            "access_nodes_behind",
            "Nodes that do not go by the newest list of tokens; only of the member that leads",
            self.access_nodes_behind.clone(),
        );
        all.register(
            "node_clock_offset_milliseconds",
            "How far the clock of a node is ahead of this member's; only of the member that leads",
            self.node_clock_offset.clone(),
        );
    }

    /// Sets the gauges of conditions to what is on record.
    pub(crate) fn set_conditions(&self, conditions: &Conditions) {
        self.conditions.clear();
        for (key, record) in conditions.iter() {
            let labels = Condition {
                subject: key.subject.to_string(),
                fact: key.fact.to_string(),
                state: record.state.to_string(),
            };
            self.conditions.get_or_create(&labels).set(1);
        }
    }

    /// Sets the gauges of volumes: name, status, and how many clients have it open. None of them of a
    /// member that does not lead, and knows nothing of it.
    pub(crate) fn set_volumes(&self, volumes: &[(String, String, i64)]) {
        self.volumes.clear();
        self.volume_clients.clear();
        for (name, status, clients) in volumes {
            let labels = Volume { volume: name.clone(), status: status.clone() };
            self.volumes.get_or_create(&labels).set(1);
            self.volume_clients.get_or_create(&VolumeName { volume: name.clone() }).set(*clients);
        }
    }

    /// Sets the gauges of tokens: how many are live, how many have ended, and how many nodes do not go
    /// by the newest list.
    pub(crate) fn set_access(&self, (live, ended): (usize, usize), behind: usize) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for (state, count) in [("live", live), ("ended", ended)] {
            self.tokens.get_or_create(&TokenState { state }).set(number(count));
        }
        self.access_nodes_behind.set(number(behind));
    }

    /// Sets the gauges of the nodes' clocks.
    pub(crate) fn set_clocks(&self, clocks: impl Iterator<Item = (u64, i64)>) {
        self.node_clock_offset.clear();
        for (node, ahead_ms) in clocks {
            self.node_clock_offset.get_or_create(&NodeLabel { node }).set(ahead_ms);
        }
    }

    /// Sets the gauges of operations to what is on record.
    pub(crate) fn set_operations(&self, operations: &crate::operation::Operations) {
        self.operations.clear();
        self.operation_work.clear();
        for operation in operations.all.values() {
            let (kind, state) = (operation.kind.to_string(), operation.state.to_string());
            self.operations.get_or_create(&Operations { kind, state }).inc();
            if !operation.state.has_ended() {
                self.operation_work.set(operation);
            }
        }
    }

    /// Counts a heartbeat.
    pub(crate) fn heard(&self, taken: &Taken) {
        match taken {
            Taken::Fresh { .. } => self.heartbeats.inc(),
            Taken::Stale => self.heartbeats_stale.inc(),
            Taken::Unfit => self.heartbeats_unfit.inc(),
        };
    }

    /// Counts a condition that changed.
    pub(crate) fn transition(&self, observation: &Observation) {
        self.transitions.get_or_create(&Transition::of(observation)).inc();
    }

    /// Counts one that must not change so.
    pub(crate) fn refused(&self, observation: &Observation) {
        self.refusals.get_or_create(&Transition::of(observation)).inc();
    }

    /// Everything in the registry, as Prometheus reads it.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().expect("no holder panics");
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }
}
