//! Whether the volume still exists, as far as this client knows for certain.
//!
//! The client keeps one request waiting at the control plane's leader, which answers as soon as the
//! volume's record is no longer what the client believes. What counts as evidence is one function,
//! [`advance`]: only the word of a majority of the volume's own cluster that it is being deleted, or
//! was, or that this client's access was revoked. Silence, a member that knows no such volume or no
//! such token, or another cluster at the same address are troubles, and never taken for either.
//!
//! ```text
//!   live <--> deleting --> deleted
//!     \____\____________/   /
//!           \--> revoked --/
//! ```

use crate::access::Revocation;
use crate::{Error, Volume};
use std::sync::atomic::Ordering;
use std::time::Duration;
use types::limits::WATCH_WAIT_MAX;
use types::{ClusterId, Timestamp};
use wire::control::{Access, ClientInfo, Partitions, VolumeLife, Watch, WatchReply};
use wire::{Class, Operation, Request};

/// How far a volume is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Live,
    /// It is being deleted. What is buffered can still be written, until that time.
    Deleting {
        purge_at: Timestamp,
    },
    /// It was deleted for good.
    Deleted,
    /// This client may not use it any more; others may.
    Revoked(Revocation),
}

impl Life {
    /// Whether users may go on with it.
    #[must_use]
    pub fn is_live(self) -> bool {
        self == Life::Live
    }

    /// Whether there is nothing more to hear, or to write.
    fn is_over(self) -> bool {
        matches!(self, Life::Deleted | Life::Revoked(_))
    }

    /// When it goes for good, while it is being deleted.
    #[must_use]
    pub fn purge_at(self) -> Option<Timestamp> {
        match self {
            Life::Deleting { purge_at } => Some(purge_at),
            Life::Live | Life::Deleted | Life::Revoked(_) => None,
        }
    }

    fn word(self) -> VolumeLife {
        match self {
            Life::Live | Life::Revoked(_) => VolumeLife::Live,
            Life::Deleting { .. } => VolumeLife::Deleting,
            Life::Deleted => VolumeLife::Deleted,
        }
    }
}

/// Why an answer says nothing about the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoEvidence {
    #[error("another cluster ({0}) answers at the addresses of this one")]
    OtherCluster(ClusterId),
    #[error("the control plane has no record of the volume; was it restored from an old copy?")]
    NoRecord,
    #[error("the control plane knows no such token; was it restored from an old copy?")]
    NoToken,
    #[error("the control plane says something that this client does not know")]
    Unknown,
}

/// What is true after an answer of a majority of `cluster`. Deleted is final, and so is revoked but for
/// a deletion.
///
/// # Errors
/// [`NoEvidence`]: then nothing has changed.
pub(crate) fn advance(
    before: Life,
    cluster: Option<ClusterId>,
    reply: &WatchReply,
) -> Result<Life, NoEvidence> {
    let theirs = ClusterId(reply.cluster);
    if cluster.is_some_and(|own| own != theirs) {
        return Err(NoEvidence::OtherCluster(theirs));
    }
    let revocation = Revocation::of(reply.access());
    match (before, reply.life()) {
        (Life::Deleted, _) | (_, VolumeLife::Deleted) => Ok(Life::Deleted),
        (Life::Revoked(_), _) => Ok(before),
        (_, VolumeLife::Live | VolumeLife::Deleting) if let Some(end) = revocation => {
            Ok(Life::Revoked(end))
        }
        (_, VolumeLife::Live) if reply.access() == Access::Unknown => Err(NoEvidence::NoToken),
        (_, VolumeLife::Live) => Ok(Life::Live),
        (_, VolumeLife::Deleting) => Ok(Life::Deleting { purge_at: Timestamp(reply.purge_at) }),
        (_, VolumeLife::NotFound) => Err(NoEvidence::NoRecord),
        (_, VolumeLife::Unspecified) => Err(NoEvidence::Unknown),
    }
}

/// How long to wait after an answer that says nothing.
const PAUSE: Duration = Duration::from_secs(1);

/// How much longer than the leader's longest wait its answer is waited for.
const WATCH_PATIENCE: Duration = Duration::from_secs(2);

impl Volume {
    /// What is known for certain of the volume's life.
    #[must_use]
    pub fn life(&self) -> Life {
        *self.inner.life.borrow()
    }

    /// Waits until the volume is no longer live; says what it is then.
    pub async fn ended(&self) -> Life {
        let mut life = self.inner.life.subscribe();
        match life.wait_for(|life| !life.is_live()).await {
            Ok(life) => *life,
            Err(_) => unreachable!("the volume holds the sender"),
        }
    }

    /// Notes what is certain. Deleted is final, and so is revoked but for a deletion.
    pub(crate) fn learn(&self, life: Life) {
        let changed = self.inner.life.send_if_modified(|now| {
            let is_final =
                *now == Life::Deleted || matches!(*now, Life::Revoked(_)) && life != Life::Deleted;
            let news = *now != life && !is_final;
            if news {
                *now = life;
            }
            news
        });
        if changed {
            tracing::warn!(volume = %self.id(), ?life, "the volume's life took a turn");
        }
    }

    /// Keeps itself told until the volume is closed or deleted, or access revoked.
    pub(crate) async fn keep_watch(self) {
        let mut failures = 0_u32;
        while !self.inner.session.is_closed() && !self.life().is_over() {
            match self.watch().await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    if failures.is_power_of_two() {
                        tracing::debug!(%error, failures, "nothing is heard of the volume's life");
                    }
                    self.client().world.sleep(wire::members::backoff(failures)).await;
                }
            }
        }
    }

    async fn watch(&self) -> Result<(), wire::Error> {
        let before = self.life();
        let watch = Watch {
            volume: self.id().0,
            client: Some(self.describe()),
            seen: before.word().into(),
            leaving: false,
            purge_at: before.purge_at().map_or(0, |at| at.0),
            full: Some(Partitions { ids: self.full_partitions().map(|id| id.0).collect() }),
            access: match before {
                Life::Revoked(revocation) => revocation.word(),
                _ => self.router().current().access.max(Access::Open),
            }
            .into(),
        };
        let mut reply = self.send_watch(&watch, WATCH_WAIT_MAX + WATCH_PATIENCE).await?;
        if before.is_live() && reply.life() == VolumeLife::Deleting {
            // The answer may have been under way for long, over a link that was cut, and the deletion
            // have been taken back. What is final needs no second question.
            reply = self.send_watch(&watch, WATCH_WAIT_MAX + WATCH_PATIENCE).await?;
        }
        self.inner.pulse.heard(self.client().world.now());
        match advance(before, self.router().cluster(), &reply) {
            Ok(life) => {
                self.learn(life);
                self.learn_full(reply.full.unwrap_or_default().ids);
            }
            Err(no_evidence) => {
                tracing::warn!(volume = %self.id(), %no_evidence, "the volume is taken for alive");
                self.client().world.sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// Tells the control plane that this client no longer has the volume open.
    pub(crate) async fn stop_watch(&self) {
        let client = Some(self.describe());
        let seen = self.life().word().into();
        let volume = self.id().0;
        let watch = Watch { volume, client, seen, leaving: true, ..Watch::default() };
        if let Err(error) = self.send_watch(&watch, PAUSE).await {
            tracing::debug!(%error, "the control plane was not told that this client leaves");
        }
    }

    async fn send_watch(
        &self,
        watch: &Watch,
        patience: Duration,
    ) -> Result<WatchReply, wire::Error> {
        let request = Request::new(Operation::ControlWatch).class(Class::Control).message(watch);
        let request = request.access(self.options().token);
        let reply = self.client().members.call_patiently(request, patience).await?;
        reply.decode()
    }

    fn describe(&self) -> ClientInfo {
        let identity = &self.options().identity;
        ClientInfo {
            id: self.inner.id,
            host: identity.host.clone(),
            pid: identity.pid,
            mount_point: identity.mount_point.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            read_only: identity.read_only,
            dirty_bytes: self.dirty_bytes(),
            since: self.inner.opened.0,
            stands_in_for: identity.stands_in_for.map_or(0, |volume| volume.0),
        }
    }

    /// Lets nobody wait for the cluster any longer: what is under way fails, and all that follows.
    pub fn give_up(&self) {
        self.inner.given_up.store(true, Ordering::Release);
    }

    /// Whether it is worth asking the cluster anything about this volume.
    pub(crate) fn check_usable(&self) -> Result<(), Error> {
        match self.life() {
            Life::Deleted => return Err(Error::Deleted),
            // To end its session is left to whoever may do nothing else.
            Life::Revoked(_) if self.inner.session.is_closed() => return Ok(()),
            Life::Revoked(revocation) => return Err(Error::Revoked(revocation)),
            Life::Live | Life::Deleting { .. } => {}
        }
        if self.inner.given_up.load(Ordering::Acquire) {
            if let Life::Deleting { purge_at } = self.life() {
                return Err(Error::Deleting { purge_at });
            }
            let last = "this client leaves".to_owned();
            return Err(Error::Unavailable { waited: Duration::ZERO, last });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OWN: ClusterId = ClusterId(7);

    fn reply(life: VolumeLife, cluster: u64) -> WatchReply {
        let access = Access::Open.into();
        WatchReply { life: life.into(), cluster, purge_at: 5, full: None, access }
    }

    #[test]
    fn only_the_word_of_the_own_cluster_counts() {
        let deleting = Life::Deleting { purge_at: Timestamp(5) };
        let after = |before, life, cluster| advance(before, Some(OWN), &reply(life, cluster));
        assert_eq!(after(Life::Live, VolumeLife::Deleting, 7), Ok(deleting));
        assert_eq!(after(deleting, VolumeLife::Live, 7), Ok(Life::Live), "it was taken back");
        assert_eq!(after(deleting, VolumeLife::Deleted, 7), Ok(Life::Deleted));
        assert_eq!(after(Life::Deleted, VolumeLife::Live, 7), Ok(Life::Deleted));
        let other = NoEvidence::OtherCluster(ClusterId(8));
        assert_eq!(after(Life::Live, VolumeLife::Deleted, 8), Err(other));
        assert_eq!(after(Life::Live, VolumeLife::NotFound, 7), Err(NoEvidence::NoRecord));
        assert_eq!(after(Life::Live, VolumeLife::Unspecified, 7), Err(NoEvidence::Unknown));
    }

    #[test]
    fn only_a_statement_that_it_was_revoked_is_one() {
        let after = |before, life: VolumeLife, access: Access, cluster| {
            let reply = WatchReply { access: access.into(), ..reply(life, cluster) };
            advance(before, Some(OWN), &reply)
        };
        let revoked = Life::Revoked(Revocation::Revoked);
        assert_eq!(after(Life::Live, VolumeLife::Live, Access::Revoked, 7), Ok(revoked));
        assert_eq!(
            after(Life::Live, VolumeLife::Live, Access::Required, 7),
            Ok(Life::Revoked(Revocation::Required))
        );
        assert_eq!(after(revoked, VolumeLife::Live, Access::ReadWrite, 7), Ok(revoked), "final");
        assert_eq!(after(revoked, VolumeLife::Deleted, Access::Open, 7), Ok(Life::Deleted));
        let old_copy = after(Life::Live, VolumeLife::Live, Access::Unknown, 7);
        assert_eq!(old_copy, Err(NoEvidence::NoToken));
        let none = after(Life::Live, VolumeLife::NotFound, Access::Revoked, 7);
        assert_eq!(none, Err(NoEvidence::NoRecord));
        let stranger = after(Life::Live, VolumeLife::Live, Access::Revoked, 8);
        assert_eq!(stranger, Err(NoEvidence::OtherCluster(ClusterId(8))));
    }

    proptest! {
        /// Whatever is answered by whom: a volume counts as deleted exactly when its own cluster
        /// said so at some time, and access to one that is not as revoked exactly when it said that.
        #[test]
        fn it_is_deleted_if_and_only_if_its_cluster_said_so(
            answers in prop::collection::vec((0_i32..7, 6_u64..9, 0_i32..9), 0..40)
        ) {
            let mut life = Life::Live;
            let (mut deleted, mut revoked) = (false, false);
            for (word, cluster, access) in answers {
                let reply = WatchReply { life: word, cluster, purge_at: 1, full: None, access };
                let own = cluster == OWN.0;
                deleted |= own && reply.life() == VolumeLife::Deleted;
                let there = matches!(reply.life(), VolumeLife::Live | VolumeLife::Deleting);
                revoked |= own && there && !deleted && reply.access().is_end();
                if let Ok(after) = advance(life, Some(OWN), &reply) {
                    life = after;
                }
                prop_assert_eq!(life == Life::Deleted, deleted);
                prop_assert_eq!(matches!(life, Life::Revoked(_)), revoked && !deleted);
            }
        }
    }
}
