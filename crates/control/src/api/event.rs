//! `GET /v1/events`: what happened, from a cursor on; as a page, or as a stream for who accepts one.
//!
//! The stream is one of server-sent events (`Accept: text/event-stream`): what is there after the cursor, then
//! whatever happens, until the caller leaves. Each event's `id` is its cursor, so a client that reconnects goes
//! on where it was, at any member. Every member answers it from its own record.

use super::ApiError;
use super::view::look;
use crate::core::Core;
use crate::state::Event;
use crate::view::{EventView, EventsView, Item};
use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Response, header};
use axum::response::IntoResponse;
use futures::stream;
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use types::limits::EVENTS_PAGE_MAX;

/// What a stream is, among content types.
const STREAM: &str = "text/event-stream";

/// Who follows is told this often that there is nothing new, and is found to have left when it cannot be.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// A line that says nothing.
const STILL_HERE: &str = ": nothing new\n\n";

/// From where, and how many.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    /// The cursor of the last event that is known already; without it, the last events.
    since: Option<u64>,
    count: Option<usize>,
}

/// Whether somebody wants a stream.
pub(super) fn wants_stream(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|accepted| accepted.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains(STREAM))
}

pub(super) async fn events(
    State(core): State<Arc<Core>>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    let known = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    if wants_stream(&headers) {
        return follow(core, &Wanted { since: known.or(wanted.since), ..wanted });
    }
    let (view, page) = look(&core, |sight| page(sight.state, &wanted));
    Ok(Json(Item { view, item: page? }).into_response())
}

fn page(state: &crate::state::State, wanted: &Wanted) -> Result<EventsView, ApiError> {
    let count = wanted.count.unwrap_or(EVENTS_PAGE_MAX).min(EVENTS_PAGE_MAX);
    let since = wanted.since.unwrap_or_else(|| state.events.begin(count));
    let page =
        state.events.after(since, count).map_err(|error| ApiError::cursor_too_old(&error))?;
    let cursor = page.last().map_or(since, |event| event.cursor);
    Ok(EventsView { cursor, events: page.into_iter().map(event_view).collect() })
}

/// Somebody who follows along.
struct Follower {
    core: Arc<Core>,
    since: u64,
    news: watch::Receiver<u64>,
    /// What was there when it began.
    first: Option<String>,
}

/// Begins a stream. One that cannot begin where it is asked to says so, like a page.
fn follow(core: Arc<Core>, wanted: &Wanted) -> Result<Response<Body>, ApiError> {
    let news = core.machine.watch();
    let first = core.machine.read(|state, _| page(state, wanted))?;
    let (since, first) = (first.cursor, Some(told(&first.events)));
    let follower = Follower { core, since, news, first };
    let texts = stream::unfold(follower, |mut follower| async {
        let text = follower.next().await?;
        Some((Ok::<_, Infallible>(text), follower))
    });
    let mut response = Response::new(Body::from_stream(texts));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(STREAM));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    Ok(response)
}

impl Follower {
    /// What is to be said next; `None` when some of it is not kept any more: who comes back is told so.
    async fn next(&mut self) -> Option<String> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            let wanted = Wanted { since: Some(self.since), count: None };
            let page = self.core.machine.read(|state, _| page(state, &wanted)).ok()?;
            if !page.events.is_empty() {
                self.since = page.cursor;
                return Some(told(&page.events));
            }
            tokio::select! {
                biased;
                changed = self.news.changed() => changed.ok()?,
                () = self.core.world.sleep(SILENCE_MAX) => return Some(STILL_HERE.to_owned()),
            }
        }
    }
}

/// Events as a stream has them; that there are none is said, too.
fn told(events: &[EventView]) -> String {
    let one = |event: &EventView| {
        let data = serde_json::to_string(event).expect("views are plain data");
        format!("id: {}\nevent: {}\ndata: {data}\n\n", event.cursor, event.kind)
    };
    if events.is_empty() { STILL_HERE.to_owned() } else { events.iter().map(one).collect() }
}

fn event_view(event: &Event) -> EventView {
    EventView {
        cursor: event.cursor,
        at: event.at.to_string(),
        kind: event.kind.clone(),
        subject: event.subject.clone(),
        from: event.from.clone(),
        to: event.to.clone(),
        message: event.message.clone(),
    }
}
