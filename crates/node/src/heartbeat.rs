//! Joining the cluster, and telling the control plane again and again how this node is.

use crate::context::Context;
use crate::run::{NodeEvent, Report};
use crate::telling::Telling;
use std::sync::Arc;
use tokio::sync::{Notify, oneshot};
use types::limits::{HEARTBEAT_INTERVAL, HEARTBEAT_SPACING_MIN};
use wire::control::{Assignment, Heartbeat};
use wire::{Class, Operation, Request};

/// Sends heartbeats until the node stops. `now` asks for one before its time.
pub async fn run(context: Arc<Context>, now: Arc<Notify>) {
    let (mut telling, mut sequence, mut failures) = (Telling::default(), 0, 0_u32);
    loop {
        let Some(report) = report(&context).await else { return };
        let Report { disks, replicas, access_version } = report;
        sequence += 1;
        let told = heartbeat(&context, sequence);
        let mut heartbeat = Heartbeat { disks, access_version, ..told };
        telling.fill(&mut heartbeat, replicas);
        let request =
            Request::new(Operation::ControlHeartbeat).class(Class::Control).message(&heartbeat);
        let mut wanted_again = false;
        match context.members.call(request).await {
            Ok(reply) => {
                failures = 0;
                match reply.decode::<Assignment>() {
                    Ok(assignment) => {
                        telling.confirmed(assignment.taken);
                        wanted_again = assignment.taken == 0 && heartbeat.base != 0;
                        context.post(NodeEvent::Assigned(assignment));
                    }
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
        // Who answers knows nothing of what the last one spoke of: another member leads.
        if wanted_again {
            continue;
        }
        tokio::select! {
            biased;
            () = now.notified() => {}
            () = context.world.sleep(HEARTBEAT_INTERVAL - HEARTBEAT_SPACING_MIN) => {}
        }
    }
}

/// A heartbeat that says nothing yet but whose it is.
fn heartbeat(context: &Context, sequence: u64) -> Heartbeat {
    Heartbeat {
        cluster: context.cluster,
        node: context.node.0,
        boot: context.boot.0,
        sequence,
        clock: context.world.timestamp().0,
        revision: context.addresses.read().expect("no holder panics").revision,
        ..Heartbeat::default()
    }
}

async fn report(context: &Context) -> Option<Report> {
    let (answer, report) = oneshot::channel();
    context.post(NodeEvent::Report(answer));
    report.await.ok()
}
