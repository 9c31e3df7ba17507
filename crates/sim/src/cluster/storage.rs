//! A storage node on a host of its own.

use super::machine::Machine;
use super::watch::Watch;
use node::{Config, DiskConfig, Node};
use std::sync::Arc;
use std::time::Duration;

/// A supervisor waits this long before it starts again what did not start.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// How often the harness looks what the node's replicas are doing.
const LOOK_INTERVAL: Duration = Duration::from_millis(25);

/// Runs until the host crashes.
pub(super) async fn run(machine: Machine, watch: Watch) -> turmoil::Result {
    let world = machine.world();
    let name = machine.role.name();
    loop {
        let disk = DiskConfig {
            disk: machine.disk(),
            database: machine.database(),
            watermarks: node::space::Watermarks::default(),
        };
        let config = Config {
            world: world.clone(),
            hub: Machine::hub(),
            metrics: Arc::default(),
            home: machine.disk(),
            disks: vec![disk],
            listen: "0.0.0.0:7100".to_owned(),
            advertise: format!("{name}:7100"),
            members: machine.site.members(),
            zone: String::new(),
            upkeep: machine.site.scenario.upkeep,
        };
        match Node::start(config).await {
            Ok(node) => {
                machine.site.history.note(&format!("{name} runs"));
                loop {
                    if let Some(report) = node.report().await {
                        watch.look(node.id(), &report);
                    }
                    world.sleep(LOOK_INTERVAL).await;
                }
            }
            Err(error) => {
                machine.site.history.note(&format!("{name} does not start: {error}"));
                world.sleep(RESTART_PAUSE).await;
            }
        }
    }
}
