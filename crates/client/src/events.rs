//! Listening to what the namespace's leader has to tell this client.
//!
//! One request waits at the leader all the time. The leader asks one thing: which of some files
//! without a name this client holds open. The next request carries the answer. And it tells mounts which
//! names others change (see `names`).

use crate::names::{Stale, Ticket};
use crate::{Error, Volume};
use bytes::Bytes;
use std::time::Duration;
use tokio::sync::mpsc;
use types::InodeId;
use types::limits::{NAME_FEED_REST, NAME_FEED_SILENCE_MAX};
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
                Ok(events) => {
                    if !events.names.is_empty() && !events.names_more {
                        self.client().world.sleep(NAME_FEED_REST).await;
                    }
                    events
                }
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
        let mut poll = Poll {
            session: live.id().0,
            epoch: last.epoch,
            question: last.question,
            held: self.held(&last.orphans),
            ..Poll::default()
        };
        self.inner.names.ask(&mut poll);
        let asked = self.client().world.now();
        let request = Request::new(Operation::NamespaceEvents).message(&poll);
        let reply = self.call(self.namespace_partition(), request).await?;
        let events: Events = crate::data::decode(&reply)?;
        if events.ended {
            self.reopen_session(&live).await?;
            return Ok(Events::default());
        }
        self.inner.names.learn(&events, asked);
        Ok(events)
    }

    /// Asks from now on to be told which names others change, so that the kernel may keep names for
    /// long. What comes out of the channel is to be taken from it. Once for each volume.
    #[must_use]
    pub fn follow_names(&self) -> mpsc::UnboundedReceiver<Stale> {
        let stale = self.inner.names.follow();
        let doubting = self.clone();
        self.client().world.spawn("names", async move {
            while !doubting.inner.session.is_closed() && doubting.check_usable().is_ok() {
                doubting.client().world.sleep(NAME_FEED_SILENCE_MAX / 8).await;
                doubting.inner.names.doubt(doubting.client().world.now());
            }
        });
        stale
    }

    /// To be taken before a name is asked for or made, whose reply the kernel may keep.
    #[must_use]
    pub fn name_ticket(&self, folder: InodeId, name: &Bytes) -> Ticket {
        self.inner.names.ticket(folder, name)
    }

    /// How long the kernel may keep the name that `ticket` was taken for.
    #[must_use]
    pub fn name_cache_time(&self, ticket: &Ticket) -> Duration {
        self.inner.names.grant(ticket, self.client().world.now())
    }

    /// The kernel has got its reply: should the name have changed meanwhile, it is taken back.
    pub fn settle_name(&self, ticket: Ticket) {
        self.inner.names.settle(ticket);
    }

    fn held(&self, asked: &[u64]) -> Vec<u64> {
        let is_held = |inode: &u64| self.file_if_open(InodeId(*inode)).is_some();
        asked.iter().copied().filter(is_held).collect()
    }
}
