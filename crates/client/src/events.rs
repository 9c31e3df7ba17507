//! Listening to what the namespace's leader has to tell this client.
//!
//! One request waits at the leader all the time. So far the leader asks one thing: which of some
//! files without a name this client holds open. The next request carries the answer.

use crate::{Error, Volume};
use std::time::Duration;
use types::InodeId;
use wire::events::{Events, Poll};
use wire::{Operation, Request};

/// How long to wait after a failure that is not the cluster's silence.
const PAUSE: Duration = Duration::from_secs(1);

impl Volume {
    /// Listens until the volume is closed or deleted.
    pub(crate) async fn keep_told(self) {
        let mut answer = Events::default();
        while !self.inner.session.is_closed() {
            answer = match self.poll(&answer).await {
                Ok(events) => events,
                Err(Error::Deleted | Error::Revoked(_)) => return,
                Err(error) => {
                    tracing::debug!(%error, "no events from the namespace");
                    self.client().world.sleep(PAUSE).await;
                    Events::default()
                }
            };
        }
    }

    /// Says what there is to say about the last events, and waits for the next.
    async fn poll(&self, last: &Events) -> Result<Events, Error> {
        let live = self.inner.session.live();
        let poll = Poll {
            session: live.id().0,
            epoch: last.epoch,
            question: last.question,
            held: self.held(&last.orphans),
        };
        let request = Request::new(Operation::NamespaceEvents).message(&poll);
        let reply = self.call(self.namespace_partition(), request).await?;
        let events: Events = crate::data::decode(&reply)?;
        if events.ended {
            self.reopen_session(&live).await?;
            return Ok(Events::default());
        }
        Ok(events)
    }

    fn held(&self, asked: &[u64]) -> Vec<u64> {
        let is_held = |inode: &u64| self.file_if_open(InodeId(*inode)).is_some();
        asked.iter().copied().filter(is_held).collect()
    }
}
