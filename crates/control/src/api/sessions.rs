//! `GET /v1/nodes/{id}/sessions`: asks the node itself.

use super::ApiError;
use super::view::look;
use crate::core::Core;
use crate::view::{List, SessionView};
use axum::Json;
use axum::extract::{Path, State};
use std::sync::Arc;
use std::time::Duration;
use types::NodeId;
use wire::{Class, Operation, Request, control as message};

/// How long to wait for the node.
const DEADLINE: Duration = Duration::from_secs(3);

pub(super) async fn sessions(
    State(core): State<Arc<Core>>,
    Path(which): Path<String>,
) -> Result<Json<List<SessionView>>, ApiError> {
    let not_found = || ApiError::not_found("node", &which);
    let id: NodeId = which.parse().map_err(|_| not_found())?;
    let (view, address) = look(&core, |sight| Some(sight.state.nodes.get(&id)?.address.clone()));
    let address = address.ok_or_else(not_found)?;
    let request = Request::new(Operation::Sessions).class(Class::Control).deadline(DEADLINE);
    let reply = core.network.peers.call(&address, request).await;
    let answer = reply.and_then(|reply| reply.decode::<message::Sessions>());
    let sessions = match answer {
        Ok(answer) if answer.node == id.0 => answer.sessions,
        Ok(other) => {
            let reason = format!("node {} answers at its address", other.node);
            return Err(ApiError::node_silent(id, &reason));
        }
        Err(error) => return Err(ApiError::node_silent(id, &error.to_string())),
    };
    Ok(Json(List { view, items: sessions.into_iter().map(SessionView::from).collect() }))
}
