//! The admin API: HTTP and JSON, for people and their programs.
//!
//! | path | does |
//! | --- | --- |
//! | `GET /healthz` | says whether this member runs; needs no token |
//! | `GET /metrics` | metrics of this process, for Prometheus |
//! | `GET /v1/status` | the whole cluster at a glance |
//! | `GET /v1/members` | the members of the control plane |
//! | `GET /v1/events[?since=CURSOR][&count=N]` | what happened; 410 when the cursor is too old |
//! | `GET /v1/nodes`, `/v1/nodes/{id}` | nodes |
//! | `GET /v1/disks`, `/v1/disks/{id}` | disks |
//! | `GET /v1/partitions[?volume=V]`, `/v1/partitions/{id}` | partitions |
//! | `GET /v1/partitions/{id}/locks` | who keeps others from changing a partition |
//! | `GET /v1/operations[?all=true]`, `/v1/operations/{id}` | long-running work; those that ended too |
//! | `POST /v1/operations[?dry_run=true]` | starts one, or prints what it would do |
//! | `POST /v1/operations/{id}/{pause,resume,cancel,retry}` | gives it an order |
//! | `GET /v1/nodes/{id}/sessions` | what happened on the sessions of a node, by its own word |
//! | `POST /v1/nodes/{id}/recommission`, `/v1/disks/{id}/recommission` | takes a node, or a disk, back into service |
//! | `GET /v1/volumes[?deleted=true]`, `/v1/volumes/{name or id}` | volumes |
//! | `POST /v1/volumes` | creates one |
//! | `POST /v1/volumes/{name or id}/expand` | raises its capacity |
//! | `DELETE /v1/volumes/{name or id}[?grace_s=S][&force=true]` | deletes it; what is in it goes after the grace, a day unless said |
//! | `POST /v1/volumes/{name or id}/undelete` | takes that back, before the grace is over |
//! | `GET /v1/volumes/{name or id}/tokens` | who may reach it, where it needs a token |
//! | `POST /v1/volumes/{name or id}/tokens` | makes a token, and shows its secret this once |
//! | `DELETE /v1/volumes/{name or id}/tokens/{id}` | revokes one |
//! | `GET /v1/clients[?volume=V]` | who has which volume open |
//!
//! Any member may be asked. One that does not lead passes the request on to the leader; when the
//! leader does not answer, it answers questions from its own record, with every status *unknown*
//! and the age of that record, and refuses everything else.

mod cubefs;
pub mod error;
mod event;
pub mod operation;
mod relay;
mod sessions;
pub mod token;
mod view;
pub mod volume;

pub use error::ApiError;

use crate::core::Core;
use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response};
use axum::routing::{delete, get, post};
use std::sync::Arc;
use tower::ServiceExt;

/// Largest body of a request. Bytes.
const BODY_BYTES_MAX: usize = 64 << 10;

/// The admin API of one member; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    core: Arc<Core>,
    router: Router,
}

impl Admin {
    pub(crate) fn new(core: Arc<Core>) -> Admin {
        let router = Router::new()
            .route("/metrics", get(view::metrics))
            .route("/v1/status", get(view::status))
            .route("/v1/members", get(view::members))
            .route("/v1/events", get(event::events))
            .route("/v1/nodes", get(view::nodes))
            .route("/v1/nodes/{id}", get(view::node))
            .route("/v1/disks", get(view::disks))
            .route("/v1/disks/{id}", get(view::disk))
            .route("/v1/partitions", get(view::partitions))
            .route("/v1/partitions/{id}", get(view::partition))
            .route("/v1/nodes/{id}/sessions", get(sessions::sessions))
            .route("/v1/nodes/{id}/recommission", post(operation::recommission))
            .route("/v1/disks/{id}/recommission", post(operation::recommission_disk))
            .route("/v1/partitions/{id}/locks", get(operation::locks))
            .route("/v1/operations", get(operation::list).post(operation::start))
            .route("/v1/operations/{id}", get(operation::show))
            .route("/v1/operations/{id}/{order}", post(operation::order))
            .route("/v1/volumes", get(view::volumes).post(volume::create))
            .route("/v1/volumes/{volume}", get(view::volume).delete(volume::delete))
            .route("/v1/volumes/{volume}/expand", post(volume::expand))
            .route("/dataNode/queryDecommissionProgress", get(cubefs::data_node))
            .route("/metaNode/queryDecommissionProgress", get(cubefs::meta_node))
            .route("/disk/queryDecommissionProgress", get(cubefs::disk))
            .route("/v1/volumes/{volume}/undelete", post(volume::undelete))
            .route("/v1/volumes/{volume}/tokens", get(token::list).post(token::create))
            .route("/v1/volumes/{volume}/tokens/{token}", delete(token::revoke))
            .route("/v1/clients", get(view::clients))
            .fallback(|| async { ApiError::no_such_path() })
            .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(core.clone());
        Admin { core, router }
    }

    /// Answers a person.
    pub(crate) async fn answer(&self, request: Request<Body>) -> Response<Body> {
        use axum::response::IntoResponse;
        if request.uri().path() == "/healthz" {
            return view::health(&self.core);
        }
        if let Some(token) = &self.core.config.admin_token
            && !shows(&request, token)
        {
            return ApiError::unauthorized().into_response();
        }
        // A stream has no end that could be waited for; every member has the same events.
        let is_stream = event::wants_stream(request.headers());
        let is_here = is_stream || self.core.leading().is_some();
        if is_here || !request.uri().path().starts_with("/v1/") {
            return self.answer_here(request).await;
        }
        match relay::relay(&self.core, request).await {
            Ok(response) => response,
            // Nothing happened at the leader, and a question can be answered from our own record.
            Err(relay::Failed::NotDone(request)) if request.method() == Method::GET => {
                self.answer_here(request).await
            }
            Err(relay::Failed::NotDone(_)) => ApiError::no_leader().into_response(),
            Err(relay::Failed::Told(error)) => error.into_response(),
        }
    }

    async fn answer_here(&self, request: Request<Body>) -> Response<Body> {
        match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Whether the request shows the token. Takes as long for a wrong token as for the right one.
fn shows(request: &Request<Body>, token: &str) -> bool {
    let header = request.headers().get(axum::http::header::AUTHORIZATION);
    let shown = header.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    shown.is_some_and(|shown| equal_in_constant_time(shown, token.as_bytes()))
}

fn equal_in_constant_time(left: &[u8], right: &[u8]) -> bool {
    let differences = left.iter().zip(right).fold(0u8, |seen, (l, r)| seen | (l ^ r));
    left.len() == right.len() && std::hint::black_box(differences) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_the_token() {
        assert!(equal_in_constant_time(b"secret", b"secret"));
        for wrong in [&b"secre"[..], b"secrets", b"Secret", b""] {
            assert!(!equal_in_constant_time(wrong, b"secret"));
        }
    }
}
