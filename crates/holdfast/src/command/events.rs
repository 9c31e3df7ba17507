//! `holdfast events`

use crate::admin::Client;
use crate::cli::Remote;
use crate::exit::Result;
use crate::output::{self, Format};
use clap::Args;
use control::view::{EventView, EventsView, Item};
use std::time::Duration;

/// How often to look for more.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Only what came after this cursor; without it, the last events
    #[arg(long, value_name = "CURSOR")]
    since: Option<u64>,
    /// Go on printing what happens; outages of the control plane are waited out
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Events {
    pub(crate) fn run(self) -> Result {
        let client = self.remote.client()?;
        let first: Item<EventsView> = client.get(&path(self.since))?;
        output::mention_age(&first.view);
        self.print(&first.item.events)?;
        match self.follow {
            true => self.go_on(&client, first.item.cursor),
            false => Ok(()),
        }
    }

    /// Prints what happens after `cursor`, for ever.
    fn go_on(&self, client: &Client, mut cursor: u64) -> Result {
        let mut out = false;
        loop {
            std::thread::sleep(PAUSE);
            match client.get::<Item<EventsView>>(&path(Some(cursor))) {
                Ok(page) => {
                    out = false;
                    cursor = page.item.cursor;
                    self.print(&page.item.events)?;
                }
                Err(failure) if failure.is_passing() => {
                    if !out {
                        output::talk(&format!("note: {failure}; going on from cursor {cursor}"));
                    }
                    out = true;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    fn print(&self, events: &[EventView]) -> Result {
        for event in events {
            match self.remote.output {
                Format::Json => output::data(&serde_json::json!(event).to_string())?,
                Format::Table => output::data(&line(event))?,
            }
        }
        Ok(())
    }
}

fn path(since: Option<u64>) -> String {
    match since {
        Some(cursor) => format!("/v1/events?since={cursor}"),
        None => "/v1/events".to_owned(),
    }
}

fn line(event: &EventView) -> String {
    let moved = match (event.from.as_str(), event.to.as_str()) {
        ("", to) => to.to_owned(),
        (from, to) => format!("{from} -> {to}"),
    };
    let EventView { cursor, at, subject, message, .. } = event;
    format!("{cursor}  {at}  {subject}  {moved}  {message}")
}
