//! The leader's loop: plan, carry out, look again.
//!
//! It runs on every member and does nothing on those that do not lead. It wakes when something
//! changed and at least once every [`TICK`], because silence is not an event.

use crate::attached::Attached;
use crate::core::{Core, Leading, ProposeError};
use crate::detect::Detector;
use crate::listing;
use crate::observe;
use crate::operation::Act;
use crate::scrub;
use crate::state::{Command, Outcome, Step};
use std::sync::Arc;
use std::time::Duration;

/// Longest time between two looks.
const TICK: Duration = Duration::from_millis(100);

/// How long to leave things alone after the state refused what was planned: the plan was wrong, and
/// making it again at once would not make it right.
const REFUSED_PAUSE: Duration = Duration::from_millis(500);

/// Runs until it is dropped.
pub(crate) async fn run(core: Arc<Core>) {
    let mut revision = core.machine.watch();
    let mut server = core.raft.server_metrics();
    loop {
        tokio::select! {
            biased;
            () = core.poke.notified() => {}
            changed = revision.changed() => if changed.is_err() { return },
            changed = server.changed() => if changed.is_err() { return },
            () = core.world.sleep(TICK) => {}
        }
        if lead(&core).await {
            reconcile(&core).await;
        }
    }
}

/// Takes up or gives up leading; says whether this member leads.
async fn lead(core: &Core) -> bool {
    let Some(term) = core.term_led() else {
        if core.leading().take().is_some() {
            tracing::info!(member = core.config.id, "no longer leads the control plane");
        }
        core.metrics.leading.set(0);
        return false;
    };
    if core.leading().as_ref().is_some_and(|leading| leading.term == term) {
        return true;
    }
    // What the leader before committed must be seen before anything is decided.
    if core.catch_up().await.is_err() || initialize(core).await.is_err() {
        return false;
    }
    let now = core.world.now();
    let (detector, attached) = (Detector::new(now), Attached::new(now));
    *core.leading() = Some(Leading::new(term, detector, attached));
    core.metrics.leading.set(1);
    tracing::info!(member = core.config.id, term, "leads the control plane");
    true
}

async fn initialize(core: &Core) -> Result<(), ProposeError> {
    if core.machine.read(|state, _| state.cluster.is_some()) {
        return Ok(());
    }
    let cluster = types::ClusterId(core.world.random());
    core.propose(Command::Initialize { cluster }).await.map(|_| ())
}

/// Has the members agree on what changed of conditions.
async fn observe(core: &Core) {
    let observations = {
        let mut leading = core.leading();
        let Some(leading) = leading.as_mut() else { return };
        let (now, at) = (core.world.now(), core.world.timestamp());
        let bound = core.config.policy.silence_max;
        let silent = core
            .machine
            .read(|state, _| observe::silences(state, &leading.detector, now, bound, at));
        leading.watch.take(silent, &core.metrics);
        leading.watch.drain()
    };
    if observations.is_empty() {
        return;
    }
    for observation in &observations {
        core.metrics.transition(observation);
    }
    if let Err(error) = core.propose(Command::Observe { observations }).await {
        // What is still so, the next heartbeats say again.
        tracing::warn!(%error, "conditions that changed were not agreed upon");
    }
}

fn appoints(command: &Command) -> bool {
    match command {
        Command::Configure { step, .. } | Command::Operation(Act::Step { step, .. }) => {
            matches!(step, Step::Appoint { .. })
        }
        _ => false,
    }
}

async fn reconcile(core: &Arc<Core>) {
    observe(core).await;
    let Some(plan) = core.plan() else { return };
    listing::ask(core, &plan);
    scrub::read(core, &plan);
    core.metrics.residue.set(i64::try_from(plan.residue.len()).unwrap_or(i64::MAX));
    if plan.is_empty() {
        return;
    }
    core.metrics.plans.inc();
    tracing::info!("plan:\n{plan}");
    let mut refused = false;
    for command in plan.commands {
        let appoints = appoints(&command);
        match core.propose(command).await {
            Ok(Outcome::Refused(refusal)) => {
                tracing::warn!(%refusal, "the plan was refused");
                refused = true;
            }
            Ok(_) if appoints => {
                core.metrics.appointments.inc();
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "the plan was given up");
                refused = true;
                break;
            }
        }
    }
    if refused {
        core.world.sleep(REFUSED_PAUSE).await;
    }
}
