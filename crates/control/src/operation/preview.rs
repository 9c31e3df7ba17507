//! What an operation would do, by what is known now, as a diff. Nothing is changed.

use super::apply;
use super::command::Act;
use super::kind::{self, Job};
use super::record::{Limits, Operation, Replicas};
use super::scene::{Finding, Scene};
use crate::plan::Inputs;
use crate::state::{Outcome, Partition, Refusal, State, Step};
use crate::view::PlanView;
use crate::view::operation::residue;
use std::collections::{BTreeMap, BTreeSet};
use types::PartitionId;
use types::operation::{Lasting, OperationKind, Target};

/// Lines of a printed plan.
const LINES_MAX: usize = 2_000;

/// What somebody thinks of starting.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub kind: OperationKind,
    pub target: &'a Target,
    pub force: bool,
    pub limits: Limits,
    pub replicas: Option<Replicas>,
}

/// Where everything would go if it went at once.
#[derive(Clone, Debug, Default)]
pub struct Preview {
    pub steps: Vec<(PartitionId, Job, Finding)>,
    pub bytes: u64,
    /// How full the disks would be that take replicas: the least and the most, in millionths.
    pub spread: Option<(u64, u64)>,
    /// Partitions that would have too few in sync, and for which there is no copy to be had.
    pub endangered: Vec<PartitionId>,
}

/// Plans all of it.
///
/// # Errors
/// When it could not be started at all.
pub fn preview(inputs: &Inputs<'_>, wanted: &Wanted<'_>) -> Result<PlanView, Refusal> {
    let (state, preview) = plan_all(inputs, inputs.state.sketch(), wanted)?;
    let operation = state.operations.all.values().next_back().expect("it was just started");
    let mut view = PlanView {
        kind: wanted.kind.to_string(),
        target: wanted.target.to_string(),
        partitions: preview.steps.len() as u64,
        bytes: preview.bytes,
        lines: Vec::new(),
        more: 0,
        residue: Vec::new(),
        refused: refusal(&preview),
    };
    for (partition, job, finding) in &preview.steps {
        if let Finding::Left { reason, detail, holder } = finding {
            let left = super::Residue {
                reason: *reason,
                detail: detail.clone(),
                since: inputs.date,
                last_checked: inputs.date,
                holder: *holder,
                next_retry: None,
            };
            view.residue.push(residue(&state, Some(*partition), &left, None));
        } else if view.lines.len() < LINES_MAX {
            view.lines.push(line(&state, operation, *partition, job, finding));
        } else {
            view.more += 1;
        }
    }
    Ok(view)
}

/// Starts it on `state`, a copy of that of the inputs, and plans one round without limits.
///
/// # Errors
/// When it could not be started.
pub fn plan_all(
    inputs: &Inputs<'_>,
    mut state: State,
    wanted: &Wanted<'_>,
) -> Result<(State, Preview), Refusal> {
    let limits = Limits {
        moves_per_disk: u32::MAX,
        moves_per_node: u32::MAX,
        moves: u32::MAX,
        ..wanted.limits
    };
    let act = Act::Start {
        kind: wanted.kind,
        target: wanted.target.clone(),
        by: String::new(),
        limits,
        priority: 0,
        force: wanted.force,
        at: inputs.date,
        replicas: wanted.replicas,
    };
    let Outcome::Operation(id) = apply::apply(&mut state, &act)? else {
        unreachable!("a start answers with a number")
    };
    let preview = {
        let inputs = Inputs { state: &state, ..*inputs };
        let mut scene = Scene::new(&inputs, BTreeSet::new(), BTreeMap::new());
        look(&mut scene, &state.operations.all[&id])
    };
    Ok((state, preview))
}

fn look(scene: &mut Scene<'_>, operation: &Operation) -> Preview {
    let rules = kind::of(operation.kind);
    let mut preview = Preview::default();
    for (partition, job) in (rules.remaining)(scene, operation) {
        let finding = (rules.step)(scene, operation, partition, &job);
        preview.bytes = preview.bytes.saturating_add(job.bytes);
        if stays_left(&finding)
            && scene
                .inputs
                .state
                .partitions
                .get(&partition)
                .is_some_and(|p| is_endangered(scene, p))
        {
            preview.endangered.push(partition);
        }
        preview.steps.push((partition, job, finding));
    }
    preview.spread = scene.places.spread();
    preview
}

/// Whether it is left over until somebody acts. What passes by itself is waited for: nothing is let go meanwhile.
fn stays_left(finding: &Finding) -> bool {
    matches!(finding, Finding::Left { reason, .. } if reason.lasting() == Lasting::Permanent)
}

/// Whether fewer than the minimum would be in sync without those that are leaving.
fn is_endangered(scene: &Scene<'_>, partition: &Partition) -> bool {
    let configuration = &partition.configuration;
    let leaving = |id: &types::ReplicaId| {
        let member = configuration.member(*id);
        member.is_some_and(|m| scene.inputs.state.operations.is_leaving(m))
    };
    let stays = configuration.in_sync.iter().filter(|id| !leaving(id)).count();
    stays < configuration.in_sync.len() && stays < usize::from(configuration.in_sync_min)
}

fn refusal(preview: &Preview) -> String {
    if preview.endangered.is_empty() {
        return String::new();
    }
    let some: Vec<String> = preview.endangered.iter().take(20).map(ToString::to_string).collect();
    let more = preview.endangered.len().saturating_sub(20);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(
        "without it fewer replicas than the minimum would be in sync, and no copy can be made, of \
         partition {}{more}",
        some.join(", ")
    )
}

fn line(
    state: &State,
    operation: &Operation,
    partition: PartitionId,
    job: &Job,
    finding: &Finding,
) -> String {
    let (bytes, goes) = (job.bytes, job.relocation.map(|relocation| relocation.from));
    let record = state.partitions.get(&partition);
    let area = kind::Area::of(state, operation);
    let here = record
        .into_iter()
        .flat_map(|p| p.holders())
        .find(|m| area.holds(m) || goes == Some(m.replica));
    let from =
        here.map_or_else(String::new, |m| format!("{:?} on {:?} {:?}", m.replica, m.node, m.disk));
    match finding {
        Finding::Step(Step::Add { node, disk }) if from.is_empty() => {
            format!("+ {partition:?}: {node:?} {disk:?}, {bytes} bytes")
        }
        Finding::Step(Step::Add { node, disk }) => {
            format!("~ {partition:?}: {from} -> {node:?} {disk:?}, {bytes} bytes")
        }
        Finding::Step(Step::Appoint { replica }) => format!("~ {partition:?}: {replica:?} leads"),
        Finding::Lock | Finding::Queued if operation.kind == OperationKind::Scrub => {
            let members = record.map_or(0, |p| p.configuration.members.len());
            format!("? {partition:?}: {members} replicas are read and compared, {bytes} bytes")
        }
        Finding::Step(step) => format!("- {partition:?}: {from}: {step}"),
        _ => format!("= {partition:?}: {from}: goes as things are"),
    }
}
