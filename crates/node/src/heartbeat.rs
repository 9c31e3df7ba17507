//! Joining the cluster, and telling the control plane again and again how this node is.

use crate::context::Context;
use crate::run::{NodeEvent, Report};
use std::sync::Arc;
use tokio::sync::{Notify, oneshot};
use types::limits::{HEARTBEAT_INTERVAL, HEARTBEAT_SPACING_MIN};
use wire::control::{Assignment, Heartbeat};
use wire::{Class, Operation, Request};

/// Sends heartbeats until the node stops. `now` asks for one before its time.
pub async fn run(context: Arc<Context>, now: Arc<Notify>) {
    let mut sequence = 0;
    let mut failures = 0_u32;
    loop {
        let Some(report) = report(&context).await else { return };
        sequence += 1;
        let heartbeat = Heartbeat {
            cluster: context.cluster,
            node: context.node.0,
            boot: context.boot.0,
            sequence,
            disks: report.disks,
            replicas: report.replicas,
            access_version: report.access_version,
            clock: context.world.timestamp().0,
        };
        let request =
            Request::new(Operation::ControlHeartbeat).class(Class::Control).message(&heartbeat);
        match context.members.call(request).await {
            Ok(reply) => {
                failures = 0;
                match reply.decode::<Assignment>() {
                    Ok(assignment) => context.post(NodeEvent::Assigned(assignment)),
                    Err(error) => tracing::warn!(%error, "the answer to a heartbeat"),
                }
            }
            Err(error) => {
                failures += 1;
                if failures.is_power_of_two() {
                    tracing::warn!(%error, failures, "the control plane took no heartbeat");
                }
            }
        }
        // News is sent soon, but not so often that it would crowd out everything else.
        context.world.sleep(HEARTBEAT_SPACING_MIN).await;
        tokio::select! {
            biased;
            () = now.notified() => {}
            () = context.world.sleep(HEARTBEAT_INTERVAL - HEARTBEAT_SPACING_MIN) => {}
        }
    }
}

async fn report(context: &Context) -> Option<Report> {
    let (answer, report) = oneshot::channel();
    context.post(NodeEvent::Report(answer));
    report.await.ok()
}
