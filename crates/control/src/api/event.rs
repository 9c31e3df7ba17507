//! `GET /v1/events`: what happened, from a cursor on.

use super::ApiError;
use super::view::look;
use crate::core::Core;
use crate::state::Event;
use crate::view::{EventView, EventsView, Item};
use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use std::sync::Arc;
use types::limits::EVENTS_PAGE_MAX;

/// From where, and how many.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    /// The cursor of the last event that is known already; without it, the last events.
    since: Option<u64>,
    count: Option<usize>,
}

pub(super) async fn events(
    State(core): State<Arc<Core>>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Item<EventsView>>, ApiError> {
    let count = wanted.count.unwrap_or(EVENTS_PAGE_MAX).min(EVENTS_PAGE_MAX);
    let (view, page) = look(&core, |sight| {
        let events = &sight.state.events;
        let since = wanted.since.unwrap_or_else(|| events.begin(count));
        let page = events.after(since, count)?;
        let cursor = page.last().map_or(since, |event| event.cursor);
        Ok(EventsView { cursor, events: page.into_iter().map(event_view).collect() })
    });
    let item = page.map_err(|error| ApiError::cursor_too_old(&error))?;
    Ok(Json(Item { view, item }))
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
