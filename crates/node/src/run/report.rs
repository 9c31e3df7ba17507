//! What a node says of its disks and replicas: to the control plane, and as gauges.

use super::{NodeLoop, Report};
use crate::replica::Holder;
use crate::space::DiskSpace;
use std::sync::atomic::{AtomicU64, Ordering};
use wire::control::{ReplicaReport, ReplicaState, Role};

impl NodeLoop {
    pub(super) fn report(&self) -> Report {
        let mut replicas: Vec<ReplicaReport> = self.replicas.values().map(Holder::report).collect();
        replicas.extend(self.broken.iter().map(|(replica, broken)| ReplicaReport {
            replica: replica.0,
            partition: broken.found.partition.0,
            disk: broken.disk.0,
            state: broken.state().into(),
            reason: broken.reason.clone(),
            ..ReplicaReport::default()
        }));
        replicas.extend(self.report_remains());
        let disks = self.spaces.values().map(DiskSpace::report).collect();
        let report = Report { disks, replicas, access_version: self.access.version() };
        self.set_gauges(&report);
        report
    }

    fn set_gauges(&self, report: &Report) {
        let counters = &self.context.counters;
        let count = |wanted: &dyn Fn(&ReplicaReport) -> bool| {
            report.replicas.iter().filter(|replica| wanted(replica)).count() as u64
        };
        let set = |gauge: &AtomicU64, value| gauge.store(value, Ordering::Relaxed);
        set(&counters.replicas, report.replicas.len() as u64);
        set(&counters.replicas_leading, count(&|replica| replica.role() == Role::Leader));
        set(&counters.replicas_unwell, count(&|replica| replica.state() != ReplicaState::Ok));
        set(&counters.disk_free_bytes, report.disks.iter().map(|disk| disk.free).sum());
        set(&counters.disk_total_bytes, report.disks.iter().map(|disk| disk.total).sum());
        set(&counters.ballast_bytes, self.homes.values().map(|home| home.ballast.bytes()).sum());
    }
}
