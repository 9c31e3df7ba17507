//! Requests that start operations, and give them orders.

use super::ApiError;
use super::view::look;
use crate::core::Core;
use crate::operation::record::Replicas;
use crate::operation::{Act, Limits, Order, kind, preview};
use crate::state::{Command, Outcome, State as Record};
use crate::view::operation::{self as views, Live};
use crate::view::{Item, List, LockView, OperationView, PlanView};
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use types::operation::{OperationKind, Target};
use types::{DiskId, NodeId, OperationId, PartitionId};

type Answer<T> = Result<T, ApiError>;

/// An operation to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    pub kind: OperationKind,
    /// As it is printed, for instance `node/3`.
    pub target: String,
    /// Who asks, for the record.
    #[serde(default = "nobody")]
    pub by: String,
    #[serde(default)]
    pub force: bool,
    #[serde(default)]
    pub priority: u8,
    #[serde(default)]
    pub limits: Option<Limits>,
    /// The target is destroyed: what nobody can look at is believed to be gone.
    #[serde(default, skip_serializing_if = "is_false")]
    pub destroyed: bool,
    /// How many there are to be, for an `expand`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u8>,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl Start {
    fn replicas(&self) -> Option<Replicas> {
        self.replicas.map(|to| Replicas { from: 0, to })
    }
}

fn nobody() -> String {
    "the admin API".to_owned()
}

/// Who gives an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct By {
    pub by: String,
}

/// Whether to do it, or to say what it would do.
#[derive(Debug, Deserialize)]
pub(super) struct How {
    #[serde(default)]
    dry_run: bool,
}

/// Which operations to list.
#[derive(Debug, Deserialize)]
pub(super) struct Filter {
    /// Those that ended too.
    #[serde(default)]
    all: bool,
}

fn body<T>(body: Result<Json<T>, JsonRejection>) -> Answer<T> {
    body.map(|Json(body)| body).map_err(|rejection| ApiError::invalid(rejection.body_text()))
}

pub(super) async fn list(
    State(core): State<Arc<Core>>,
    Query(filter): Query<Filter>,
) -> Answer<Json<List<OperationView>>> {
    let (rounds, meters) = live(&core);
    let (view, items) = look(&core, |sight| {
        let all = sight.state.operations.all.values();
        let wanted = all.filter(|operation| filter.all || !operation.state.has_ended());
        let view = |operation: &crate::operation::Operation| {
            let id = operation.id;
            let live = Live { round: rounds.get(&id), meter: meters.get(&id) };
            views::operation(sight, operation, live, false)
        };
        wanted.map(view).collect()
    });
    Ok(Json(List { view, items }))
}

type Known = (
    std::collections::BTreeMap<OperationId, crate::operation::Round>,
    std::collections::BTreeMap<OperationId, crate::operation::Meter>,
);

/// What this member knows besides the record, while it leads.
fn live(core: &Core) -> Known {
    let leading = core.leading();
    leading.as_ref().map(|l| (l.rounds.clone(), l.meters.clone())).unwrap_or_default()
}

fn id(which: &str) -> Answer<OperationId> {
    which.parse().map_err(|_| ApiError::not_found("operation", which))
}

pub(super) async fn show(
    State(core): State<Arc<Core>>,
    Path(which): Path<String>,
) -> Answer<Json<Item<OperationView>>> {
    Ok(Json(shown(&core, id(&which)?)?))
}

fn shown(core: &Core, id: OperationId) -> Answer<Item<OperationView>> {
    let (rounds, meters) = live(core);
    let (view, item) = look(core, |sight| {
        let operation = sight.state.operations.all.get(&id)?;
        let live = Live { round: rounds.get(&id), meter: meters.get(&id) };
        Some(views::operation(sight, operation, live, true))
    });
    let item = item.ok_or_else(|| ApiError::not_found("operation", &id.to_string()))?;
    Ok(Item { view, item })
}

pub(super) async fn start(
    State(core): State<Arc<Core>>,
    Query(how): Query<How>,
    request: Result<Json<Start>, JsonRejection>,
) -> Answer<Response> {
    let start = body(request)?;
    let target: Target = start.target.parse().map_err(|wrong: &str| ApiError::invalid(wrong))?;
    core.catch_up().await?;
    if start.destroyed {
        check_out_of_sight(&core, |state| {
            let (nodes, disks) = kind::places(state, &target);
            let of_nodes = state.disks.values().filter(|disk| nodes.contains(&disk.node));
            of_nodes.map(|disk| disk.id).chain(disks).collect()
        })?;
    }
    let plan = preview_of(&core, &start, &target)?;
    if how.dry_run {
        return Ok(Json(plan).into_response());
    }
    if !plan.refused.is_empty() && !start.force {
        return Err(ApiError::would_break(&plan.refused));
    }
    let at = core.world.timestamp();
    let (limits, replicas) = (start.limits.unwrap_or_default(), start.replicas());
    let Start { kind, by, priority, force, destroyed, .. } = start;
    let who = by.clone();
    let act = Act::Start { kind, target, by, limits, priority, force, at, replicas };
    let id = propose(&core, act).await?;
    if destroyed {
        let (operation, order) = (id, Order::Attest);
        propose(&core, Act::Order { operation, order, by: who, at }).await?;
    }
    Ok((StatusCode::CREATED, Json(shown(&core, id)?)).into_response())
}

/// What an operation would do, by what is known now.
fn preview_of(core: &Core, start: &Start, target: &Target) -> Answer<PlanView> {
    let leading = core.leading();
    let leading = leading.as_ref().ok_or_else(ApiError::no_leader)?;
    let wanted = preview::Wanted {
        kind: start.kind,
        target,
        force: start.force,
        limits: start.limits.unwrap_or_default(),
        replicas: start.replicas(),
    };
    let plan = core.machine.read(|state, _| {
        let inputs = core.inputs(state, leading);
        preview::preview(&inputs, &wanted)
    });
    plan.map_err(ApiError::from)
}

pub(super) async fn order(
    State(core): State<Arc<Core>>,
    Path((which, order)): Path<(String, String)>,
    request: Result<Json<By>, JsonRejection>,
) -> Answer<Json<Item<OperationView>>> {
    let operation = id(&which)?;
    let by = body(request)?.by;
    let order = match order.as_str() {
        "pause" => Order::Pause,
        "resume" => Order::Resume,
        "cancel" => Order::Cancel,
        "retry" => Order::Retry,
        "attest" => {
            check_out_of_sight(&core, |state| {
                let operation = state.operations.all.get(&operation);
                operation.map_or(Vec::new(), |o| kind::Area::of(state, o).disks(state))
            })?;
            Order::Attest
        }
        _ => return Err(ApiError::no_such_path()),
    };
    let at = core.world.timestamp();
    propose(&core, Act::Order { operation, order, by, at }).await?;
    Ok(Json(shown(&core, operation)?))
}

/// Nobody may say that something is destroyed that is heard of.
fn check_out_of_sight(core: &Core, disks: impl Fn(&Record) -> Vec<DiskId>) -> Answer<()> {
    let leading = core.leading();
    let leading = leading.as_ref().ok_or_else(ApiError::no_leader)?;
    let seen = core.machine.read(|state, _| {
        let inputs = core.inputs(state, leading);
        disks(state).into_iter().find(|disk| !inputs.is_out_of_sight(*disk))
    });
    match seen {
        Some(disk) => Err(ApiError::in_sight(disk)),
        None => Ok(()),
    }
}

pub(super) async fn recommission(
    State(core): State<Arc<Core>>,
    Path(which): Path<String>,
    request: Result<Json<By>, JsonRejection>,
) -> Answer<Json<Item<OperationView>>> {
    let node: NodeId = which.parse().map_err(|_| ApiError::not_found("node", &which))?;
    let by = body(request)?.by;
    let at = core.world.timestamp();
    let id = propose(&core, Act::Recommission { node, by, at }).await?;
    Ok(Json(shown(&core, id)?))
}

pub(super) async fn recommission_disk(
    State(core): State<Arc<Core>>,
    Path(which): Path<String>,
    request: Result<Json<By>, JsonRejection>,
) -> Answer<Json<Item<OperationView>>> {
    let disk: DiskId = which.parse().map_err(|_| ApiError::not_found("disk", &which))?;
    let by = body(request)?.by;
    let at = core.world.timestamp();
    let id = propose(&core, Act::RecommissionDisk { disk, by, at }).await?;
    Ok(Json(shown(&core, id)?))
}

async fn propose(core: &Core, act: Act) -> Answer<OperationId> {
    let id = match core.propose(Command::Operation(act)).await? {
        Outcome::Operation(id) => id,
        Outcome::Refused(refusal) => return Err(refusal.into()),
        other => unreachable!("an operation cannot answer {other:?}"),
    };
    core.poke.notify_one();
    Ok(id)
}

pub(super) async fn locks(
    State(core): State<Arc<Core>>,
    Path(which): Path<String>,
) -> Answer<Json<List<LockView>>> {
    let id: PartitionId = which.parse().map_err(|_| ApiError::not_found("partition", &which))?;
    let now = core.world.timestamp();
    let (view, items) = look(&core, |sight| {
        sight.state.partitions.contains_key(&id).then(|| views::locks(sight.state, id, now))
    });
    let items = items.ok_or_else(|| ApiError::not_found("partition", &which))?;
    Ok(Json(List { view, items }))
}
