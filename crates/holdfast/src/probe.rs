//! Where supervisors ask a mount how it is: `/healthz`, `/readyz` and `/metrics`, over plain HTTP.
//!
//! | question | 200 | 503 | the body |
//! | --- | --- | --- | --- |
//! | `/healthz`: should it go on living? | all but permanent | permanent | the word, then the reason |
//! | `/readyz`: can it be used now? | ok | degraded, transient, permanent | the same |
//!
//! The words are those of [`client::Health`]. Nothing secret is said, and nothing can be changed.

use axum::body::Body;
use axum::http::{Method, Response, StatusCode, header};
use axum::response::IntoResponse;
use client::{Grade, Health};
use control::http::{Answer, HttpServer};
use futures::FutureExt;
use holdfast::metrics::{CONTENT_TYPE, Registry};
use std::sync::Arc;
use std::time::Duration;
use world::{Net, World};

/// Answers on `address`, for the mount of `registry`, until it is dropped.
pub(crate) async fn serve(
    world: &World,
    address: &str,
    registry: Registry,
) -> std::io::Result<HttpServer> {
    let listener = Net::tcp().listen(address).await?;
    let answer: Answer = Arc::new(move |request| {
        let registry = registry.clone();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        async move { respond(&method, &path, &health(&registry), &registry) }.boxed()
    });
    HttpServer::start(world, listener, answer)
}

fn health(registry: &Registry) -> Health {
    let nothing = || Health {
        grade: Grade::Permanent,
        reason: "nothing is mounted".to_owned(),
        unanswered: Duration::ZERO,
        control_silent: Duration::ZERO,
    };
    registry.mount().map_or_else(nothing, |volume| volume.health())
}

fn respond(method: &Method, path: &str, health: &Health, registry: &Registry) -> Response<Body> {
    match (method, path) {
        (&Method::GET, "/metrics") => {
            ([(header::CONTENT_TYPE, CONTENT_TYPE)], registry.text()).into_response()
        }
        (&Method::GET, "/healthz") => word(health, health.grade != Grade::Permanent),
        (&Method::GET, "/readyz") => word(health, health.grade == Grade::Ok),
        _ => (StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics\n").into_response(),
    }
}

fn word(health: &Health, good: bool) -> Response<Body> {
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let text = match health.reason.as_str() {
        "" => format!("{}\n", health.grade.name()),
        reason => format!("{}: {reason}\n", health.grade.name()),
    };
    (status, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_grade_has_its_two_answers() {
        let registry = Registry::new(&Arc::default());
        let status = |grade, path: &str| {
            let (unanswered, control_silent) = (Duration::ZERO, Duration::ZERO);
            let health = Health { grade, reason: "so".into(), unanswered, control_silent };
            respond(&Method::GET, path, &health, &registry).status().as_u16()
        };
        let both = |grade| (status(grade, "/healthz"), status(grade, "/readyz"));
        assert_eq!(both(Grade::Ok), (200, 200));
        assert_eq!(both(Grade::Degraded), (200, 503));
        assert_eq!(both(Grade::Transient), (200, 503));
        assert_eq!(both(Grade::Permanent), (503, 503));
        assert_eq!(status(Grade::Ok, "/metrics"), 200);
        assert_eq!(status(Grade::Ok, "/"), 404);
    }
}
