//! Reading everything again now and then, so that damage is found before it is needed.
//!
//! ```text
//! idle -- a day has passed, or damage was met --> reading a page --> resting --> the next page ...
//!   ^                                                                              |
//!   +---------------------- everything was read -----------------------------------+
//! ```
//!
//! A page is read away from the loop from a view of its own, so that a long scrub holds nothing back,
//! and what is found is mended at once. Who reads is slow on purpose: `SCRUB_BYTES_PER_SECOND`.
//!
//! It leaves out: names. They live in tables of the index with checksums of their own, and a replica
//! whose table is damaged fails when it reads it.

use super::read::Damage;
use super::{Holder, Machine};
use crate::run::NodeEvent;
use std::time::Duration;
use types::Moment;
use types::limits::{INSPECT_CHUNKS_MAX, SCRUB_BYTES_PER_SECOND, SCRUB_DELAY, SCRUB_INTERVAL};
use wire::inspect::AskChunks;

/// How far the scrub of one replica is.
#[derive(Debug)]
pub(super) struct Scrub {
    /// The page that is read next.
    next: AskChunks,
    due: Moment,
    reading: bool,
}

/// A page that was read.
#[derive(Debug)]
pub struct Page {
    pub found: Vec<Damage>,
    pub bytes: u64,
    /// Where the next one begins; `None` after the last.
    pub next: Option<(u64, u64)>,
}

impl Scrub {
    pub(super) fn new(now: Moment) -> Scrub {
        Scrub { next: first(), due: now + SCRUB_DELAY, reading: false }
    }
}

fn first() -> AskChunks {
    let chunks_max = u32::try_from(INSPECT_CHUNKS_MAX).expect("a few thousand");
    AskChunks { chunks_max, ..AskChunks::default() }
}

impl Holder {
    /// Begins to read everything again, now.
    pub fn look_for_damage(&mut self) {
        self.scrub.next = first();
        self.scrub.due = self.context.world.now();
    }

    /// Reads the next page when it is time.
    pub(super) fn tend_scrub(&mut self, now: Moment) {
        let is_data = matches!(self.machine, Machine::Data(_));
        if self.scrub.reading || now < self.scrub.due || !is_data || self.failed.is_some() {
            return;
        }
        let view = match self.view() {
            Ok(view) => view,
            Err(reason) => return self.fail(format!("the index cannot be read: {reason}")),
        };
        self.scrub.reading = true;
        self.snapshots.begin_reading();
        let (context, replica, ask) = (self.context.clone(), self.id, self.scrub.next);
        self.context.world.spawn("scrub", async move {
            let page = context.world.blocking(move || view.page(ask)).await;
            context.post(NodeEvent::Scrubbed { replica, page });
        });
    }

    /// A page was read.
    pub fn scrubbed(&mut self, page: Result<Page, String>) {
        self.snapshots.end_reading();
        self.scrub.reading = false;
        let now = self.context.world.now();
        match page {
            Ok(Page { found, bytes, next }) => {
                let rest = Duration::from_nanos(bytes * 1_000_000_000 / SCRUB_BYTES_PER_SECOND);
                let wait = if next.is_some() { rest } else { SCRUB_INTERVAL };
                let (object, chunk) = next.unwrap_or_default();
                self.scrub.next = AskChunks { object, chunk, ..first() };
                self.scrub.due = now + wait;
                if !found.is_empty() {
                    self.mend_all(found);
                }
            }
            Err(reason) => self.fail(format!("the index cannot be read: {reason}")),
        }
    }
}
