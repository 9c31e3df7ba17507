//! Questions. Each answer is a view of [`crate::view`], and says whose and how old it is.

use super::ApiError;
use crate::core::Core;
use crate::state::{State as Record, Volume, VolumeState};
use crate::view::{self, Item, List, MemberStatus, MemberView, Sight, Source, StatusView, tally};
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{Response, StatusCode, header};
use axum::response::IntoResponse;
use openraft::LogIdOptionExt;
use serde::Deserialize;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use types::{DiskId, NodeId, PartitionId, VolumeId};

type Answer<T> = Result<Json<T>, ApiError>;

/// A member that has not answered the leader for this long is silent. The leader speaks several
/// times in it.
const ANSWERS_WITHIN: Duration = Duration::from_millis(crate::raft::QUORUM_SILENCE_MS_MAX);

/// Looks at everything known, under one view of it.
pub(super) fn look<T>(core: &Core, view: impl FnOnce(&Sight<'_>) -> T) -> (Source, T) {
    let leading = core.leading();
    let now = core.world.now();
    core.machine.read(|state, revision| {
        let detector = leading.as_ref().map(|leading| &leading.detector);
        let fresh_max = core.config.policy.silence_max;
        let age = match detector {
            Some(_) => Some(0),
            None => core.leader_heard().map(|at| view::millis(now.since(at))),
        };
        let source = Source {
            member: core.config.id,
            leader: core.leader(),
            revision,
            at: core.world.timestamp().to_string(),
            age_ms: age,
        };
        (source, view(&Sight { state, detector, now, fresh_max }))
    })
}

fn list<T>(core: &Core, view: impl FnOnce(&Sight<'_>) -> Vec<T>) -> Answer<List<T>> {
    let (view, items) = look(core, view);
    Ok(Json(List { view, items }))
}

fn item<T>(
    core: &Core,
    kind: &str,
    which: &str,
    view: impl FnOnce(&Sight<'_>) -> Option<T>,
) -> Answer<Item<T>> {
    let (view, item) = look(core, view);
    let item = item.ok_or_else(|| ApiError::not_found(kind, which))?;
    Ok(Json(Item { view, item }))
}

fn parse<T: FromStr>(kind: &str, which: &str) -> Result<T, ApiError> {
    which.parse().map_err(|_| ApiError::not_found(kind, which))
}

/// The volume that a person named, by name or by number.
pub(super) fn find<'a>(state: &'a Record, which: &str) -> Option<&'a Volume> {
    match which.parse() {
        Ok(id) => state.volumes.get(&VolumeId(id)),
        Err(_) => state.volume_named(which),
    }
}

pub(super) fn health(core: &Core) -> Response<Body> {
    let running = core.raft.metrics().borrow().running_state.clone();
    match running {
        Ok(()) => "ok\n".into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

pub(super) async fn metrics(State(core): State<Arc<Core>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    core.machine.read(|state, _| {
        core.metrics.set_conditions(&state.conditions);
        core.metrics.set_operations(&state.operations);
    });
    core.metrics.set_volumes(&measure_volumes(&core));
    measure_nodes(&core);
    ([(header::CONTENT_TYPE, kind)], core.metrics.text())
}

fn measure_volumes(core: &Core) -> Vec<(String, String, i64)> {
    let now = core.world.now();
    let Some(attached) = core.leading().as_ref().map(|leading| leading.attached.clone()) else {
        return Vec::new();
    };
    let (_, volumes) = look(core, |sight| {
        let there = sight.state.volumes.values().filter(|v| v.state != VolumeState::Deleted);
        let measure = |volume: &Volume| {
            let status = view::volume::status(sight, volume).to_string();
            let clients = attached.list(now).filter(|client| client.volume == volume.id).count();
            (volume.name.clone(), status, i64::try_from(clients).unwrap_or(i64::MAX))
        };
        there.map(measure).collect()
    });
    volumes
}

/// What only the leader knows of nodes.
fn measure_nodes(core: &Core) {
    let clocks = core.leading().as_ref().map(|leading| leading.clocks.clone());
    let leads = clocks.is_some();
    let (_, (count, behind)) = look(core, |sight| {
        let protected = sight.state.access.count() != (0, 0);
        let behind = view::token::nodes(sight).1.len();
        (sight.state.access.count(), if leads && protected { behind } else { 0 })
    });
    core.metrics.set_access(count, behind);
    let clocks = clocks.unwrap_or_default();
    core.metrics.set_clocks(clocks.into_iter().map(|(node, ahead)| (node.0, ahead)));
}

pub(super) async fn status(State(core): State<Arc<Core>>) -> Answer<Item<StatusView>> {
    let members = member_views(&core);
    let short = members_without_room(&core);
    let residue = core.leading().as_ref().map(|leading| leading.residue.clone());
    let (view, item) = look(&core, |sight| {
        let state = sight.state;
        let live = state.volumes.values().filter(|v| v.state != VolumeState::Deleted);
        StatusView {
            cluster: state.cluster.map(|cluster| cluster.to_string()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            members,
            nodes: tally(state.nodes.values().map(|n| view::node::node(sight, n).status)),
            disks: tally(state.disks.values().map(|d| view::node::disk(sight, d).status)),
            volumes: tally(live.map(|v| view::volume::status(sight, v))),
            partitions: tally(
                state.partitions.values().map(|p| view::partition::status_of(sight, p).0),
            ),
            residue,
            unwell: short.into_iter().chain(view::condition::unwell(sight)).collect(),
        }
    });
    Ok(Json(Item { view, item }))
}

/// Members whose disks have no room, as far as this one knows: its own, and what others told it while
/// it leads. Who has no room cannot write that down, so it is on no record.
fn members_without_room(core: &Core) -> Vec<view::ConditionView> {
    let own = core.store.shortage().map(|shortage| {
        let age = core.world.now().since(shortage.since);
        let since = core.world.timestamp().0 - i64::try_from(age.as_nanos()).unwrap_or(0);
        let since = types::Timestamp(since).to_string();
        view::condition::of_member(core.config.id, &shortage.reason, since, Some(0))
    });
    let leads = core.term_led().is_some();
    let others = core.config.members.keys().filter(|id| leads && **id != core.config.id);
    let others = others.filter_map(|id| {
        let words = core.network.lacks_room(*id)?;
        let age = core.network.silence(*id).map(view::millis);
        Some(view::condition::of_member(*id, &words, String::new(), age))
    });
    own.into_iter().chain(others).collect()
}

pub(super) async fn members(State(core): State<Arc<Core>>) -> Answer<List<MemberView>> {
    let members = member_views(&core);
    list(&core, |_| members)
}

fn member_views(core: &Core) -> Vec<MemberView> {
    let metrics = core.raft.metrics();
    let metrics = metrics.borrow();
    let end = metrics.last_log_index.unwrap_or(0);
    let leads = core.term_led().is_some();
    let own_shortage = core.store.shortage().is_some();
    let view = |(id, address): (&u64, &crate::config::Address)| {
        let matched = metrics.replication.as_ref().and_then(|all| all.get(id));
        let behind = matched.map(|matched| end.saturating_sub(matched.index().unwrap_or(0)));
        let status = match () {
            () if own_shortage && *id == core.config.id => MemberStatus::Full,
            () if leads && core.network.lacks_room(*id).is_some() => MemberStatus::Full,
            () if leads && *id == core.config.id => MemberStatus::Leader,
            () if !leads && metrics.current_leader == Some(*id) && *id != core.config.id => {
                MemberStatus::Leader
            }
            // That it lacks nothing is no sign of life: an idle log does not grow.
            () if leads => match core.network.silence(*id) {
                Some(silence) if silence < ANSWERS_WITHIN => MemberStatus::Follower,
                _ => MemberStatus::Silent,
            },
            () => MemberStatus::Unknown,
        };
        MemberView {
            id: *id,
            status,
            wire: address.wire.clone(),
            admin: address.admin.clone(),
            behind: behind.filter(|_| leads),
        }
    };
    core.config.members.iter().map(view).collect()
}

pub(super) async fn nodes(State(core): State<Arc<Core>>) -> Answer<List<view::NodeView>> {
    list(&core, |sight| sight.state.nodes.values().map(|n| view::node::node(sight, n)).collect())
}

pub(super) async fn node(
    State(core): State<Arc<Core>>,
    Path(which): Path<String>,
) -> Answer<Item<view::NodeView>> {
    let id: NodeId = parse("node", &which)?;
    item(&core, "node", &which, |sight| {
        sight.state.nodes.get(&id).map(|n| view::node::node(sight, n))
    })
}

pub(super) async fn disks(State(core): State<Arc<Core>>) -> Answer<List<view::DiskView>> {
    list(&core, |sight| sight.state.disks.values().map(|d| view::node::disk(sight, d)).collect())
}

pub(super) async fn disk(
    State(core): State<Arc<Core>>,
    Path(which): Path<String>,
) -> Answer<Item<view::DiskView>> {
    let id: DiskId = parse("disk", &which)?;
    item(&core, "disk", &which, |sight| {
        sight.state.disks.get(&id).map(|d| view::node::disk(sight, d))
    })
}

/// Which partitions to list.
#[derive(Debug, Deserialize)]
pub(super) struct PartitionFilter {
    /// Name or number of a volume.
    volume: Option<String>,
}

pub(super) async fn partitions(
    State(core): State<Arc<Core>>,
    Query(filter): Query<PartitionFilter>,
) -> Answer<List<view::PartitionView>> {
    let (view, items) = look(&core, |sight| {
        let wanted = match &filter.volume {
            Some(which) => {
                let volume = find(sight.state, which);
                Some(volume.ok_or_else(|| ApiError::not_found("volume", which))?.id)
            }
            None => None,
        };
        let all = sight.state.partitions.values();
        let listed = all.filter(|p| wanted.is_none_or(|id| p.configuration.volume == id));
        Ok::<_, ApiError>(listed.map(|p| view::partition::partition(sight, p)).collect())
    });
    Ok(Json(List { view, items: items? }))
}

pub(super) async fn partition(
    State(core): State<Arc<Core>>,
    Path(which): Path<String>,
) -> Answer<Item<view::PartitionView>> {
    let id: PartitionId = parse("partition", &which)?;
    item(&core, "partition", &which, |sight| {
        sight.state.partitions.get(&id).map(|p| view::partition::partition(sight, p))
    })
}

/// Which volumes to list.
#[derive(Debug, Deserialize)]
pub(super) struct VolumeFilter {
    /// Deleted ones too.
    #[serde(default)]
    deleted: bool,
}

pub(super) async fn volumes(
    State(core): State<Arc<Core>>,
    Query(filter): Query<VolumeFilter>,
) -> Answer<List<view::VolumeView>> {
    let listed = |v: &&Volume| filter.deleted || v.state != VolumeState::Deleted;
    list(&core, |sight| {
        let volumes = sight.state.volumes.values().filter(listed);
        volumes.map(|v| view::volume::volume(sight, v)).collect()
    })
}

pub(super) async fn volume(
    State(core): State<Arc<Core>>,
    Path(which): Path<String>,
) -> Answer<Item<view::VolumeView>> {
    item(&core, "volume", &which, |sight| {
        find(sight.state, &which).map(|v| view::volume::volume(sight, v))
    })
}

/// Which clients.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientFilter {
    /// Those of this volume, by name or id.
    volume: Option<String>,
}

pub(super) async fn clients(
    State(core): State<Arc<Core>>,
    filter: Result<Query<ClientFilter>, QueryRejection>,
) -> Answer<view::ClientsView> {
    let Query(filter) = filter.map_err(|rejection| ApiError::invalid(rejection.body_text()))?;
    let volume = match &filter.volume {
        Some(which) => {
            let found = core.machine.read(|state, _| find(state, which).map(|volume| volume.id));
            Some(found.ok_or_else(|| ApiError::not_found("volume", which))?)
        }
        None => None,
    };
    let now = core.world.now();
    // Only the leader hears clients; any other member would show an empty list that means nothing.
    let attached = core.leading().as_ref().map(|leading| leading.attached.clone());
    let attached = attached.ok_or_else(ApiError::no_leader)?;
    let (view, items) = look(&core, |sight| {
        let wanted = attached.list(now).filter(|c| volume.is_none_or(|volume| c.volume == volume));
        wanted.map(|client| view::client::client(sight, client)).collect()
    });
    Ok(Json(view::ClientsView { view, complete: attached.is_settled(now), items }))
}
