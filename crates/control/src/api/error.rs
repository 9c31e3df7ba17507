//! Every error of the admin API, in one table: HTTP status, code, and what to do.

use crate::core::ProposeError;
use crate::state::Refusal;
use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// An error, as the admin API answers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// One word for programs; the words are relied on.
    pub code: String,
    /// What went wrong, for people.
    pub message: String,
    /// What to do about it, for people.
    pub action: String,
    #[serde(skip)]
    status: u16,
}

fn error(
    status: StatusCode,
    code: &str,
    message: impl Into<String>,
    action: impl Into<String>,
) -> ApiError {
    ApiError {
        code: code.to_owned(),
        message: message.into(),
        action: action.into(),
        status: status.as_u16(),
    }
}

impl ApiError {
    pub(crate) fn invalid(message: impl Into<String>) -> ApiError {
        error(StatusCode::BAD_REQUEST, "invalid", message, "correct the request; it did nothing")
    }

    pub(crate) fn unauthorized() -> ApiError {
        let action = "send 'Authorization: Bearer TOKEN' with the cluster's admin token \
                      (holdfast commands take it from HOLDFAST_TOKEN)";
        error(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "the admin token is missing or wrong",
            action,
        )
    }

    pub(crate) fn not_found(kind: &str, which: &str) -> ApiError {
        let message = format!("there is no {kind} '{which}'");
        let action = format!("list what there is: holdfast {kind} list");
        error(StatusCode::NOT_FOUND, "not-found", message, action)
    }

    pub(crate) fn no_such_token(volume: &str, token: &str) -> ApiError {
        let message = format!("volume {volume} has no token {token}");
        let action = format!("list what there is: holdfast volume token list {volume}");
        error(StatusCode::NOT_FOUND, "not-found", message, action)
    }

    pub(crate) fn no_such_path() -> ApiError {
        let action = "see docs/operating for the paths of the admin API";
        error(StatusCode::NOT_FOUND, "no-such-path", "the admin API has no such path", action)
    }

    pub(crate) fn deleted(volume: u64) -> ApiError {
        let message = format!("volume {volume} was deleted");
        let action = "once its grace is over a deleted volume does not come back; create a new one";
        error(StatusCode::GONE, "deleted", message, action)
    }

    pub(crate) fn cursor_too_old(error: &crate::state::event::TooOld) -> ApiError {
        let action = format!("some events were missed; go on from cursor {}", error.oldest);
        error_of_cursor(error.to_string(), action)
    }

    pub(crate) fn no_leader() -> ApiError {
        let message = "the control plane has no leader at the moment; nothing happened";
        let action = "try again; if it lasts, see that a majority of the members runs and that \
                      they reach each other";
        error(StatusCode::SERVICE_UNAVAILABLE, "no-leader", message, action)
    }

    pub(crate) fn unavailable() -> ApiError {
        let message = "a majority of the control plane did not answer in time; \
                       the change may or may not have been made";
        let action = "look at the present state before trying again";
        error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message, action)
    }

    pub(crate) fn too_few_nodes(wanted: u8, known: usize) -> ApiError {
        let message = format!("{wanted} replicas need {wanted} nodes, and {known} have joined");
        let action = "start more nodes, or ask for fewer replicas";
        error(StatusCode::CONFLICT, "too-few-nodes", message, action)
    }

    pub(crate) fn node_silent(node: types::NodeId, reason: &str) -> ApiError {
        let message = format!("node {node} does not answer: {reason}");
        let action = format!("see how it is: holdfast node show {node}");
        error(StatusCode::BAD_GATEWAY, "node-silent", message, action)
    }

    pub(crate) fn would_break(reason: &str) -> ApiError {
        let action = "add nodes or bring replicas back first; with force it is started all the same, \
                      goes down to the minimum, and leaves the rest over";
        error(StatusCode::CONFLICT, "would-break-minimum", reason, action)
    }

    pub(crate) fn in_sight(disk: types::DiskId) -> ApiError {
        let message = format!(
            "disk {disk} of it is in use, by the word of its node just now: it is not destroyed"
        );
        let action =
            "decommission it without saying that it is destroyed: what is on it can be looked at";
        error(StatusCode::CONFLICT, "in-sight", message, action)
    }

    pub(crate) fn in_use(clients: &[String]) -> ApiError {
        let message = format!("clients have it open: {}", clients.join(", "));
        let action = "unmount there first (see: holdfast client list), or force it: they are told, \
                      write back what they can within the grace, and leave";
        error(StatusCode::CONFLICT, "in-use", message, action)
    }

    pub(crate) fn clients_unknown() -> ApiError {
        let message = "this member has just begun to lead and has not heard all clients yet, so \
                       nobody can say that none has the volume open; nothing happened";
        let action = "try again in a few seconds, or force it";
        error(StatusCode::SERVICE_UNAVAILABLE, "clients-unknown", message, action)
    }

    pub(crate) fn too_large(leader: &str) -> ApiError {
        let message = "the answer is too large to be passed on from the leader";
        let action = format!("ask the leader itself, at {leader}");
        error(StatusCode::BAD_GATEWAY, "too-large", message, action)
    }

    /// HTTP status.
    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

fn error_of_cursor(message: String, action: String) -> ApiError {
    error(StatusCode::GONE, "cursor-too-old", message, action)
}

impl From<ProposeError> for ApiError {
    fn from(from: ProposeError) -> ApiError {
        match from {
            ProposeError::NotLeader => ApiError::no_leader(),
            ProposeError::Unavailable => ApiError::unavailable(),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> ApiError {
        let conflict =
            |code, message: String, action| error(StatusCode::CONFLICT, code, message, action);
        let message = refusal.to_string();
        match refusal {
            Refusal::NotInitialized => ApiError::no_leader(),
            Refusal::NoSuchToken { volume, token } => {
                ApiError::no_such_token(&volume.to_string(), &token.to_string())
            }
            Refusal::NameTaken { .. } => conflict("name-taken", message, "choose another name"),
            Refusal::NoSuchVolume { volume } => ApiError::not_found("volume", &volume.to_string()),
            Refusal::VolumeDeleted { volume } => ApiError::deleted(volume.0),
            Refusal::NotDeleting { .. } => {
                conflict("not-deleting", message, "see: holdfast volume list --deleted")
            }
            Refusal::InGrace { .. } => {
                conflict("in-grace", message, "wait, or: holdfast volume undelete")
            }
            Refusal::Shrink { .. } => {
                conflict("shrink", message, "create a smaller volume and copy")
            }
            Refusal::AlreadyPlaced { .. } | Refusal::Conflict { .. } => {
                conflict("conflict", message, "look at the present state and try again")
            }
            Refusal::NoSuchPartition { partition } => {
                ApiError::not_found("partition", &partition.to_string())
            }
            Refusal::NoSuchOperation { operation } => {
                ApiError::not_found("operation", &operation.to_string())
            }
            Refusal::NoSuchTarget { target } => match target.split_once('/') {
                Some((kind @ ("node" | "disk" | "volume" | "partition"), which)) => {
                    ApiError::not_found(kind, which)
                }
                _ => error(StatusCode::NOT_FOUND, "not-found", message, "see: holdfast node list"),
            },
            Refusal::AtWork { operation, .. } => {
                let action = format!("look at it: holdfast operation show {operation}");
                error(StatusCode::CONFLICT, "at-work", message, action)
            }
            Refusal::Locked { .. } => conflict("locked", message, "wait until it lets go"),
            Refusal::Breaks { reason } => ApiError::invalid(reason),
            Refusal::Contradicts { reason } => {
                conflict("contradicts", reason, "look at how it is; nothing was done")
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, Json(self)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = header::HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
