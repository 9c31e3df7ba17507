//! The last things that happened, in order, for people who follow along.
//!
//! They are part of the replicated state, so a cursor means the same to every member: whoever follows
//! goes on where it was after a failover. Only so many are kept; a cursor that is older than the oldest
//! of them gets a typed answer, never a silent gap.

use super::configure::Step;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use types::limits::EVENTS_KEPT_MAX;
use types::{Configuration, Epoch, PartitionId, Timestamp};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its place; rises by one from event to event.
    pub cursor: u64,
    pub at: Timestamp,
    /// What kind: `condition`, `configuration`, `node`, `operation`, `volume`.
    pub kind: String,
    /// What it is about, for instance `disk/3/space`.
    pub subject: String,
    /// From which state, and to which; empty where there is none.
    pub from: String,
    pub to: String,
    /// A sentence for people: the reason and the evidence.
    pub message: String,
}

impl Event {
    pub(crate) fn of(
        kind: &str,
        subject: String,
        to: &str,
        message: String,
        at: Timestamp,
    ) -> Event {
        let (kind, to) = (kind.to_owned(), to.to_owned());
        Event { cursor: 0, at, kind, subject, from: String::new(), to, message }
    }

    /// A partition has another configuration.
    pub(super) fn configured(
        partition: PartitionId,
        before: Epoch,
        after: &Configuration,
        step: &Step,
        at: Timestamp,
    ) -> Event {
        let to = format!("epoch {}", after.epoch);
        let subject = format!("partition/{partition}");
        let event = Event::of("configuration", subject, &to, step.to_string(), at);
        Event { from: format!("epoch {before}"), ..event }
    }
}

/// The last events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// The cursor of the last one; zero when there was none.
    pub last: u64,
    kept: VecDeque<Event>,
}

/// A cursor from before the oldest event that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("events up to {oldest} are not kept any more; {asked} was asked for")]
pub struct TooOld {
    pub asked: u64,
    /// The oldest cursor that can be gone on from.
    pub oldest: u64,
}

impl Events {
    /// Adds one; its cursor is given here.
    pub(crate) fn push(&mut self, event: Event) {
        self.last += 1;
        self.kept.push_back(Event { cursor: self.last, ..event });
        if self.kept.len() > EVENTS_KEPT_MAX {
            self.kept.pop_front();
        }
    }

    /// Whether one that says the same is among those that are kept.
    #[must_use]
    pub fn tells(&self, event: &Event) -> bool {
        let words =
            |event: &Event| (event.subject.clone(), event.to.clone(), event.message.clone());
        self.kept.iter().any(|kept| words(kept) == words(event))
    }

    /// At most `count` events after the cursor `since`.
    ///
    /// # Errors
    /// When some that came after it are not kept any more.
    pub fn after(&self, since: u64, count: usize) -> Result<Vec<&Event>, TooOld> {
        let oldest = self.last - self.kept.len() as u64;
        if since < oldest {
            return Err(TooOld { asked: since, oldest });
        }
        let skip = usize::try_from(since - oldest).unwrap_or(usize::MAX);
        Ok(self.kept.iter().skip(skip).take(count).collect())
    }

    /// The cursor to begin with, to get the last `count` events.
    #[must_use]
    pub fn begin(&self, count: usize) -> u64 {
        self.last - self.kept.len().min(count) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: usize) -> Event {
        Event {
            cursor: 0,
            at: Timestamp(0),
            kind: "test".into(),
            subject: number.to_string(),
            from: String::new(),
            to: String::new(),
            message: String::new(),
        }
    }

    #[test]
    fn a_cursor_goes_on_where_it_was_or_says_that_it_cannot() {
        let mut events = Events::default();
        assert_eq!(events.after(0, 10), Ok(vec![]));
        (1..=EVENTS_KEPT_MAX + 5).for_each(|number| events.push(event(number)));
        assert_eq!(events.after(0, 10), Err(TooOld { asked: 0, oldest: 5 }));
        let next = events.after(5, 2).unwrap();
        let seen: Vec<u64> = next.iter().map(|event| event.cursor).collect();
        assert_eq!((seen, next[0].subject.as_str()), (vec![6, 7], "6"));
        assert_eq!(events.after(events.last, 10), Ok(vec![]));
        assert_eq!(events.after(events.last + 9, 10), Ok(vec![]), "from a cluster that lost more");
        assert_eq!(events.begin(3), events.last - 3);
    }
}
