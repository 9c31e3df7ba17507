//! A member of the control plane on a host of its own.

use super::machine::{Machine, Role};
use control::plan::Policy;
use control::{Address, Config, Embedding, Member};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// Where the harness finds the member while it runs.
pub(super) type Seat = Arc<Mutex<Weak<Member>>>;

/// A supervisor waits this long before it starts again what did not start.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// Runs until the host crashes.
pub(super) async fn run(machine: Machine, seat: Seat) -> turmoil::Result {
    let Role::Control(number) = machine.role else { unreachable!("a member runs here") };
    let world = machine.world();
    loop {
        let embedding = Embedding {
            world: world.clone(),
            disk: machine.disk(),
            hub: Machine::hub(),
            metrics: control::Metrics::default(),
            wire_metrics: Arc::default(),
        };
        match Member::start(embedding, config(&machine, number as u64)).await {
            Ok(member) => {
                let member = Arc::new(member);
                *seat.lock().expect("no holder panics") = Arc::downgrade(&member);
                machine.site.history.note(&format!("{} runs", machine.role.name()));
                std::future::pending::<()>().await;
            }
            Err(error) => {
                let name = machine.role.name();
                machine.site.history.note(&format!("{name} does not start: {error}"));
                world.sleep(RESTART_PAUSE).await;
            }
        }
    }
}

fn config(machine: &Machine, id: u64) -> Config {
    let address = |number: usize| Address {
        wire: format!("control-{number}:7000"),
        admin: format!("control-{number}:7400"),
    };
    let members = 1..=machine.site.scenario.members;
    let replace_after = machine.site.scenario.replace_after;
    Config {
        id,
        group: "simulated".to_owned(),
        members: members.map(|number| (number as u64, address(number))).collect(),
        listen: "0.0.0.0:7000".to_owned(),
        admin_listen: "0.0.0.0:7400".to_owned(),
        admin_token: None,
        admin_tls: None,
        policy: Policy { replace_after, ..Policy::default() },
    }
}
