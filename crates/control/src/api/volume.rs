//! Requests that change volumes.

use super::ApiError;
use super::view::{find, look};
use crate::core::Core;
use crate::plan::place::data_partitions_default;
use crate::state::command::VolumeSpec;
use crate::state::{Command, Outcome, Volume};
use crate::view::{self, Item, VolumeView};
use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use types::VolumeId;
use types::limits::{DELETE_GRACE, DELETE_GRACE_MAX};
use types::volume::{Durability, VolumeKind};

/// A volume to create. What is left out gets a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    pub name: String,
    pub kind: VolumeKind,
    /// Copies of everything; 3 unless said.
    #[serde(default = "replicas_default")]
    pub replicas: u8,
    /// Below this many in-sync replicas writes are refused; the larger half of them unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_sync_min: Option<u8>,
    /// Bytes of user data, one copy counted; 100 GiB unless said.
    #[serde(default = "capacity_default")]
    pub capacity_bytes: u64,
    #[serde(default)]
    pub durability: Durability,
    /// Partitions its data is spread over; one for each node, and at least 3, unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_partitions: Option<u16>,
}

impl Create {
    /// A volume with defaults for everything but its name and kind.
    #[must_use]
    pub fn new(name: &str, kind: VolumeKind) -> Create {
        Create {
            name: name.to_owned(),
            kind,
            replicas: replicas_default(),
            in_sync_min: None,
            capacity_bytes: capacity_default(),
            durability: Durability::default(),
            data_partitions: None,
        }
    }
}

/// Most data partitions one volume may have.
pub const DATA_PARTITIONS_MAX: u16 = 256;

fn replicas_default() -> u8 {
    3
}

fn capacity_default() -> u64 {
    100 << 30
}

/// The larger half: one of 1 or 2, two of 3, three of 5. So one node of three may be lost and
/// writes go on, and no write is ever on a single one of three.
fn in_sync_min_default(replicas: u8) -> u8 {
    replicas.div_ceil(2).max(1)
}

/// How much a volume should hold from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expand {
    pub capacity_bytes: u64,
}

pub(super) type Body<T> = Result<Json<T>, JsonRejection>;
pub(super) type Answer<T> = Result<T, ApiError>;

pub(super) fn body<T>(body: Body<T>) -> Result<T, ApiError> {
    body.map(|Json(body)| body).map_err(|rejection| ApiError::invalid(rejection.body_text()))
}

pub(super) async fn create(
    State(core): State<Arc<Core>>,
    request: Body<Create>,
) -> Answer<(StatusCode, Json<Item<VolumeView>>)> {
    let id = make(&core, body(request)?).await?;
    Ok((StatusCode::CREATED, Json(show(&core, id)?)))
}

/// Creates a volume; also what an embedding process calls.
pub(crate) async fn make(core: &Core, create: Create) -> Answer<VolumeId> {
    let nodes = core.machine.read(|state, _| state.nodes.len());
    if nodes < usize::from(create.replicas) {
        return Err(ApiError::too_few_nodes(create.replicas, nodes));
    }
    let spec = VolumeSpec {
        name: create.name,
        kind: create.kind,
        replicas: create.replicas,
        in_sync_min: create.in_sync_min.unwrap_or_else(|| in_sync_min_default(create.replicas)),
        capacity: create.capacity_bytes,
        durability: create.durability,
        data_partitions: create.data_partitions.unwrap_or_else(|| data_partitions_default(nodes)),
    };
    crate::state::check_spec(&spec).map_err(ApiError::invalid)?;
    if spec.data_partitions > DATA_PARTITIONS_MAX {
        return Err(ApiError::invalid("a volume has at most 256 data partitions"));
    }
    let at = core.world.timestamp();
    Ok(propose(core, Command::CreateVolume { spec, at }).await?.id)
}

pub(super) async fn expand(
    State(core): State<Arc<Core>>,
    Path(which): Path<String>,
    request: Body<Expand>,
) -> Answer<Json<Item<VolumeView>>> {
    let capacity = body(request)?.capacity_bytes;
    let volume = resolve(&core, &which).await?;
    propose(&core, Command::ExpandVolume { volume, capacity }).await?;
    Ok(Json(show(&core, volume)?))
}

/// How a volume is to be deleted.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Deletion {
    /// Seconds for which it can be taken back.
    #[serde(default = "grace_default")]
    grace_s: u64,
    /// Also while clients have it open.
    #[serde(default)]
    force: bool,
}

fn grace_default() -> u64 {
    DELETE_GRACE.as_secs()
}

pub(super) async fn delete(
    State(core): State<Arc<Core>>,
    Path(which): Path<String>,
    deletion: Result<Query<Deletion>, QueryRejection>,
) -> Answer<Json<Item<VolumeView>>> {
    let Query(deletion) = deletion.map_err(|rejection| ApiError::invalid(rejection.body_text()))?;
    if deletion.grace_s > DELETE_GRACE_MAX.as_secs() {
        return Err(ApiError::invalid("a deletion can be taken back for a year at most"));
    }
    let volume = resolve(&core, &which).await?;
    if !deletion.force {
        check_unused(&core, volume)?;
    }
    let (at, grace_ms) = (core.world.timestamp(), deletion.grace_s * 1_000);
    propose(&core, Command::DeleteVolume { volume, at, grace_ms }).await?;
    Ok(Json(show(&core, volume)?))
}

/// Refuses to go on while clients have the volume open, or while that is not known.
pub(super) fn check_unused(core: &Core, volume: VolumeId) -> Result<(), ApiError> {
    let leading = core.leading();
    let attached = &leading.as_ref().ok_or_else(ApiError::no_leader)?.attached;
    let now = core.world.now();
    let of_volume = attached.list(now).filter(|client| client.volume == volume);
    let clients: Vec<String> = of_volume.map(|client| client.to_string()).collect();
    match clients.as_slice() {
        [] if attached.is_settled(now) => Ok(()),
        [] => Err(ApiError::clients_unknown()),
        clients => Err(ApiError::in_use(clients)),
    }
}

pub(super) async fn undelete(
    State(core): State<Arc<Core>>,
    Path(which): Path<String>,
) -> Answer<Json<Item<VolumeView>>> {
    let volume = resolve(&core, &which).await?;
    let at = core.world.timestamp();
    propose(&core, Command::UndeleteVolume { volume, at }).await?;
    Ok(Json(show(&core, volume)?))
}

/// The volume a person named, as it is now: a name may have changed hands.
pub(super) async fn resolve(core: &Core, which: &str) -> Result<VolumeId, ApiError> {
    core.catch_up().await?;
    let found = core.machine.read(|state, _| find(state, which).map(|volume| volume.id));
    found.ok_or_else(|| ApiError::not_found("volume", which))
}

async fn propose(core: &Core, command: Command) -> Result<Volume, ApiError> {
    match core.propose(command).await? {
        Outcome::Volume(volume) => Ok(*volume),
        Outcome::Refused(refusal) => Err(refusal.into()),
        other => unreachable!("a change of a volume cannot end in {other:?}"),
    }
}

fn show(core: &Core, volume: VolumeId) -> Result<Item<VolumeView>, ApiError> {
    let (view, item) = look(core, |sight| {
        sight.state.volumes.get(&volume).map(|v| view::volume::volume(sight, v))
    });
    let item = item.ok_or_else(|| ApiError::not_found("volume", &volume.to_string()))?;
    Ok(Item { view, item })
}
