//! Passes a person's request on to the leader, and takes such requests when this member leads.

use super::{Admin, ApiError, BODY_BYTES_MAX, equal_in_constant_time};
use crate::core::Core;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Method, Request, Response, StatusCode, header};
use prost::Message as _;
use std::time::Duration;
use types::limits::RECORD_PAYLOAD_BYTES_MAX;
use wire::{Class, Operation, Reply, Status, control as message};

/// How long to wait for the leader. Longer than a leader waits for its majority.
const DEADLINE: Duration = Duration::from_secs(8);

/// A request that was not answered by the leader.
pub(super) enum Failed {
    /// It certainly did nothing; here it is again.
    NotDone(Request<Body>),
    /// What to tell the person.
    Told(ApiError),
}

/// Has the leader answer.
pub(super) async fn relay(core: &Core, request: Request<Body>) -> Result<Response<Body>, Failed> {
    let leader = core.leader().filter(|leader| *leader != core.config.id);
    let Some(address) = leader.and_then(|leader| core.config.members.get(&leader)) else {
        return Err(Failed::NotDone(request));
    };
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|_| Failed::Told(ApiError::invalid("the body is too large or was cut short")))?;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let token = core.config.admin_token.clone().unwrap_or_default();
    let method = parts.method.to_string();
    let admin = message::Admin { method, path, body: body.clone(), token };
    let call = wire::Request::new(Operation::ControlAdmin)
        .class(Class::Control)
        .deadline(DEADLINE)
        .message(&admin);
    match core.network.peers.call(&address.wire, call).await {
        Ok(reply) => response(reply).map_err(Failed::Told),
        Err(wire::Error::Unreachable { .. }) => Err(again(parts, body)),
        Err(error) if error.status() == Some(Status::NotLeader) => Err(again(parts, body)),
        Err(_) if parts.method == Method::GET => Err(again(parts, body)),
        Err(error) if error.status() == Some(Status::NoSpace) => {
            Err(Failed::Told(ApiError::too_large(&address.admin)))
        }
        Err(_) => Err(Failed::Told(ApiError::unavailable())),
    }
}

fn again(parts: axum::http::request::Parts, body: Bytes) -> Failed {
    Failed::NotDone(Request::from_parts(parts, Body::from(body)))
}

fn response(reply: Reply) -> Result<Response<Body>, ApiError> {
    let head = reply.decode::<message::AdminReply>().map_err(|_| ApiError::unavailable())?;
    let status = u16::try_from(head.status).ok().and_then(|s| StatusCode::from_u16(s).ok());
    let response = Response::builder()
        .status(status.unwrap_or(StatusCode::BAD_GATEWAY))
        .header(header::CONTENT_TYPE, head.content_type)
        .body(Body::from(reply.payload));
    response.map_err(|_| ApiError::unavailable())
}

impl Admin {
    /// Answers a request that another member passed on.
    ///
    /// # Errors
    /// When the token is not the cluster's, this member does not lead, or the request makes no sense.
    pub(crate) async fn serve(&self, request: &wire::Request) -> Result<Reply, (Status, String)> {
        let invalid = |error: String| (Status::Invalid, error);
        let admin: message::Admin = request.decode().map_err(|error| invalid(error.to_string()))?;
        let own = self.core.config.admin_token.as_deref();
        if own.is_some_and(|own| !equal_in_constant_time(admin.token.as_bytes(), own.as_bytes())) {
            let message = "the admin token is missing or wrong; do all members have the same?";
            return Err((Status::Invalid, message.to_owned()));
        }
        if self.core.leading().is_none() {
            return Err((Status::NotLeader, "this member does not lead".to_owned()));
        }
        let method = Method::from_bytes(admin.method.as_bytes());
        let request = Request::builder()
            .method(method.map_err(|error| invalid(error.to_string()))?)
            .uri(admin.path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(admin.body))
            .map_err(|error| invalid(error.to_string()))?;
        if !request.uri().path().starts_with("/v1/") {
            return Err(invalid("only /v1/ is passed on".to_owned()));
        }
        let (parts, body) = self.answer_here(request).await.into_parts();
        let Ok(payload) = to_bytes(body, RECORD_PAYLOAD_BYTES_MAX as usize).await else {
            return Err((Status::NoSpace, "the answer is too large to be passed on".to_owned()));
        };
        let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let head = message::AdminReply {
            status: u32::from(parts.status.as_u16()),
            content_type: content_type.unwrap_or("application/octet-stream").to_owned(),
        };
        Ok(Reply { body: head.encode_to_vec().into(), payload })
    }
}
