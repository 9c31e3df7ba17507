//! What a process counts, as Prometheus reads it.
//!
//! Every part keeps its own counters and knows nothing of registries; here they are entered into
//! the one of the process, under names that begin with `holdfast_`. A process without an admin API
//! (a host that only stores, a mount) has a listener that answers `/metrics` and `/healthz`.

use axum::body::Body;
use axum::http::{Method, Response, StatusCode, header};
use axum::response::IntoResponse;
use control::http::{Answer, HttpServer};
use futures::FutureExt;
use node::Node;
use node::context::Counters;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use types::NodeId;
use world::World;

/// What everything in a process is entered into; cheap to clone.
#[derive(Clone, Debug)]
pub struct Registry {
    registry: Arc<Mutex<prometheus_client::registry::Registry>>,
    nodes: Nodes,
    mounts: Mounts,
}

/// The mount of a process, if it has one.
#[derive(Clone, Debug, Default)]
struct Mounts(Arc<Mutex<Option<client::Volume>>>);

impl Collector for Mounts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mounted = self.0.lock().expect("no holder panics");
        let Some(volume) = mounted.as_ref() else { return Ok(()) };
        let help = "How well the volume can be used from here: 1 for the word that applies";
        let mut grades =
            encoder.encode_descriptor("holdfast_mount_health", help, None, MetricType::Gauge)?;
        let now = volume.health().grade;
        for grade in client::Grade::ALL {
            let labels = [("volume", volume.name()), ("grade", grade.name().to_owned())];
            let value = u64::from(grade == now);
            ConstGauge::new(value).encode(grades.encode_family(&labels)?)?;
        }
        for (name, help, value) in MOUNT_GAUGES {
            let name = format!("holdfast_mount_{name}");
            let mut gauge = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
            let labels = [("volume", volume.name())];
            ConstGauge::new(value(volume)).encode(gauge.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

type MountGauge = (&'static str, &'static str, fn(&client::Volume) -> f64);

/// What is measured of each mount.
const MOUNT_GAUGES: [MountGauge; 5] = [
    ("dirty_bytes", "Bytes written and in this process only", |volume| whole(volume.dirty_bytes())),
    ("lost_bytes", "Bytes written that could not be brought to the cluster", |volume| {
        whole(volume.lost().bytes)
    }),
    ("unanswered_seconds", "For how long requests have gone without any answer", |volume| {
        volume.health().unanswered.as_secs_f64()
    }),
    ("control_silent_seconds", "For how long nothing was heard of the control plane", |volume| {
        volume.health().control_silent.as_secs_f64()
    }),
    ("sessions_lost", "Sessions that the cluster has ended", |volume| {
        whole(volume.sessions_lost())
    }),
];

#[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
fn whole(value: u64) -> f64 {
    value as f64
}

/// The kind of text that [`Registry::text`] is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Registry {
    /// A registry with the counters of a process's sessions.
    #[must_use]
    pub fn new(sessions: &Arc<wire::Metrics>) -> Registry {
        let nodes = Nodes::default();
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(Sessions(sessions.clone())));
        let mounts = Mounts::default();
        registry.register_collector(Box::new(nodes.clone()));
        registry.register_collector(Box::new(mounts.clone()));
        Registry { registry: Arc::new(Mutex::new(registry)), nodes, mounts }
    }

    /// Enters the counters of a node, told from others in the process by its number.
    ///
    /// # Panics
    /// When somebody panicked while holding the registry.
    pub fn add_node(&self, node: &Node) {
        let mut nodes = self.nodes.0.lock().expect("no holder panics");
        nodes.insert(node.id(), node.counters().clone());
    }

    /// Enters what is measured of the volume that this process mounts; none is forgotten.
    ///
    /// # Panics
    /// When somebody panicked while holding the registry.
    pub fn set_mount(&self, volume: Option<&client::Volume>) {
        *self.mounts.0.lock().expect("no holder panics") = volume.cloned();
    }

    /// The volume that this process mounts.
    ///
    /// # Panics
    /// When somebody panicked while holding the registry.
    #[must_use]
    pub fn mount(&self) -> Option<client::Volume> {
        self.mounts.0.lock().expect("no holder panics").clone()
    }

    /// The metrics of a member of the control plane, entered.
    #[must_use]
    pub fn control(&self) -> control::Metrics {
        control::Metrics::new(self.registry.clone())
    }

    /// Everything, as Prometheus reads it.
    ///
    /// # Panics
    /// When somebody panicked while holding the registry.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().expect("no holder panics");
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }

    /// Answers `/metrics` and `/healthz` on an address of its own. Where the cluster speaks TLS,
    /// who asks shows a certificate of the cluster, as everybody else does.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn serve(&self, world: &World, address: &str) -> std::io::Result<HttpServer> {
        let listener = world.net().listen(address).await?;
        let registry = self.clone();
        let answer: Answer = Arc::new(move |request| {
            let registry = registry.clone();
            async move { registry.answer(request.method(), request.uri().path()) }.boxed()
        });
        HttpServer::start(world, listener, answer)
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Body> {
        match (method, path) {
            (&Method::GET, "/metrics") => {
                ([(header::CONTENT_TYPE, CONTENT_TYPE)], self.text()).into_response()
            }
            (&Method::GET, "/healthz") => "ok\n".into_response(),
            _ => (StatusCode::NOT_FOUND, "there are /metrics and /healthz\n").into_response(),
        }
    }
}

/// The sessions of a process.
#[derive(Debug)]
struct Sessions(Arc<wire::Metrics>);

impl Collector for Sessions {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, value) in self.0.list() {
            let name = format!("holdfast_wire_{name}");
            let metric = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(metric)?;
        }
        for (name, help, value) in self.0.gauges() {
            let name = format!("holdfast_wire_{name}");
            let metric = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(metric)?;
        }
        Ok(())
    }
}

/// The nodes of a process. One collector for all, for a metric is described once.
#[derive(Clone, Debug, Default)]
struct Nodes(Arc<Mutex<BTreeMap<NodeId, Arc<Counters>>>>);

impl Collector for Nodes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let nodes = self.0.lock().expect("no holder panics");
        let counted: Vec<_> = nodes.iter().map(|(id, all)| (id.0, all.list())).collect();
        encode_all(&mut encoder, MetricType::Counter, &counted)?;
        let gauged: Vec<_> = nodes.iter().map(|(id, all)| (id.0, all.gauges())).collect();
        encode_all(&mut encoder, MetricType::Gauge, &gauged)
    }
}

/// Name, help and value of one metric.
type Series = (&'static str, &'static str, u64);

/// Writes metrics that several nodes have, each described once.
fn encode_all(
    encoder: &mut DescriptorEncoder<'_>,
    kind: MetricType,
    nodes: &[(u64, Vec<Series>)],
) -> Result<(), fmt::Error> {
    let Some((_, first)) = nodes.first() else { return Ok(()) };
    for (index, (name, help, _)) in first.iter().enumerate() {
        let name = format!("holdfast_node_{name}");
        let mut metric = encoder.encode_descriptor(&name, help, None, kind)?;
        for (node, values) in nodes {
            let labels = [("node", *node)];
            let series = metric.encode_family(&labels)?;
            match kind {
                MetricType::Gauge => ConstGauge::new(values[index].2).encode(series)?,
                _ => ConstCounter::new(values[index].2).encode(series)?,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_nodes_have_is_described_once() {
        let registry = Registry::new(&Arc::default());
        for node in [1, 2] {
            let counters = Arc::new(Counters::default());
            Counters::add(&counters.reads, 40 + node);
            registry.nodes.0.lock().unwrap().insert(NodeId(node), counters);
        }
        let text = registry.text();
        assert_eq!(text.matches("# HELP holdfast_node_reads ").count(), 1, "{text}");
        assert!(text.contains("holdfast_node_reads_total{node=\"2\"} 42"), "{text}");
        assert!(text.contains("holdfast_wire_frames_malformed_total 0"), "{text}");
    }
}
