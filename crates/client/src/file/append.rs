//! Appending, so that appends of several clients never overwrite each other.
//!
//! Whoever appends holds the file's delegation: only one client has it, so only one knows the end.
//! It is kept for a moment, so that a run of appends costs one round trip and not one each, and
//! given back after a bounded time, so that others get their turn. Meanwhile a sync need not tell
//! the namespace how long the file is (see [`super::sync`]).

use super::File;
use super::sync::Deferral;
use crate::{Error, Volume};
use bytes::Bytes;
use tokio::sync::MutexGuard;
use types::limits::{APPEND_HOLD_MAX, ITEMS_PER_COMMAND_MAX, RELEASE_RETRY_MAX};
use types::namespace::{
    Attributes, Caller, Command, Delegate, Delegated, FailureKind, OutcomeBody, Undelegate,
};
use types::{Moment, SessionId};

/// The session under which this client holds the file's delegation, when it does.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    under: Option<SessionId>,
}

/// What to do while another client has the delegation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Wait,
    Leave,
}

impl Volume {
    /// Gives back every delegation of which the namespace was told all: with their session the others leave their
    /// files unsettled.
    pub(crate) async fn give_back_ends(&self) {
        let held = self.files().into_iter().filter(|file| {
            let mut state = file.shared.lock();
            state.deferral = None;
            state.holds_end && !state.is_owed()
        });
        let inodes: Vec<u64> = held.map(|file| file.inode().0).collect();
        for inodes in inodes.chunks(ITEMS_PER_COMMAND_MAX) {
            let undelegate = Command::Undelegate(Undelegate { inodes: inodes.to_vec() });
            if let Err(error) = self.command(undelegate, Caller::default()).await {
                tracing::debug!(%error, "delegations were not given back");
            }
        }
    }
}

impl File {
    /// Buffers bytes at the end of the file, wherever that is; returns where they went.
    ///
    /// # Errors
    /// As [`File::write`].
    pub async fn append(&self, bytes: Bytes) -> Result<u64, Error> {
        let mut hold = self.shared.append.lock().await;
        self.hold(&mut hold, Taken::Wait).await?;
        let offset = {
            let mut state = self.shared.lock();
            state.appended_under = hold.under;
            state.size
        };
        self.write(offset, bytes).await?;
        Ok(offset)
    }

    /// Takes the delegation for a moment, unless somebody is using it.
    pub(crate) async fn try_hold(&self) {
        let Ok(mut hold) = self.shared.append.try_lock() else { return };
        if let Err(error) = self.hold(&mut hold, Taken::Leave).await {
            tracing::debug!(inode = %self.inode(), %error, "no delegation");
        }
    }

    async fn hold(&self, hold: &mut Hold, taken: Taken) -> Result<(), Error> {
        // With its session a client loses its delegations.
        if hold.under == Some(self.volume.session()) {
            return Ok(());
        }
        let asked = self.acquire(taken).await?;
        let released_later = hold.under.is_some();
        let under = self.volume.session();
        hold.under = Some(under);
        {
            let mut state = self.shared.lock();
            state.holds_end = true;
            state.deferral = Some(Deferral { under, asked });
            // It may lie behind what has just been learned.
            state.commit.sparse |= state.is_owed();
            // The first sync makes the delegation durable: it is what others find when all has lost power.
            state.namespace_unsynced = true;
        }
        if !released_later {
            let file = self.clone();
            self.volume.client().world.spawn("append", async move {
                file.volume.client().world.sleep(APPEND_HOLD_MAX).await;
                file.release().await;
            });
        }
        Ok(())
    }

    /// Says when the delegation was asked for that it got.
    async fn acquire(&self, taken: Taken) -> Result<Moment, Error> {
        // What this client has buffered itself must not be cut off by the size that it learns.
        self.write_back().await?;
        let delegate = Command::Delegate(Delegate { inode: self.inode().0 });
        loop {
            let asked = self.volume.client().world.now();
            match self.volume.command(delegate.clone(), Caller::default()).await {
                Ok(OutcomeBody::Delegated(Delegated { attributes: Some(attributes) })) => {
                    let settled = self.settle(attributes).await;
                    if settled.is_err() {
                        self.undelegate().await;
                    }
                    self.shared.lock().learn(&settled?);
                    return Ok(asked);
                }
                Ok(_) => return Err(Error::Invalid("a delegation was answered otherwise".into())),
                Err(Error::Refused(failure))
                    if failure.kind() == FailureKind::Busy && taken == Taken::Wait =>
                {
                    self.give_way(&failure).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Who had the delegation before may have ended in the midst of it: what he synced counts.
    async fn settle(&self, attributes: Attributes) -> Result<Attributes, Error> {
        if attributes.unsettled { self.commit_settled().await } else { Ok(attributes) }
    }

    /// Keeps others, and syncs of this client that tell the namespace later, away from the file while its shape
    /// changes: nobody's end may be looked for in data that is being cut.
    pub(super) async fn seize(&self) -> Result<MutexGuard<'_, Hold>, Error> {
        let mut hold = self.shared.append.lock().await;
        let known = self.volume.told_attributes(self.inode()).await?;
        if self.volume.may_be_longer(&known) {
            self.hold(&mut hold, Taken::Wait).await?;
        }
        self.shared.lock().deferral = None;
        Ok(hold)
    }

    /// Gives the delegation back, once the namespace knows all that was left to be told.
    async fn release(&self) {
        let mut hold = self.shared.append.lock().await;
        self.shared.lock().deferral = None;
        // What others cannot know yet they find from the data, as long as this is not given back.
        if self.tell_all(&hold).await {
            self.undelegate().await;
        }
        hold.under = None;
        {
            let mut state = self.shared.lock();
            state.holds_end = false;
            state.released = Some(self.volume.client().world.now());
        }
        self.forget_if_unused();
    }

    /// Tells the namespace what syncs left for later; says whether all of that was told.
    async fn tell_all(&self, hold: &Hold) -> bool {
        let mut pause = APPEND_HOLD_MAX;
        while let Err(error) = self.write_back().await {
            // What could not be sent was told to whoever wrote it. What was sent and not told is owed to others.
            if !self.shared.lock().is_owed() {
                break;
            }
            let lost = hold.under != Some(self.volume.session());
            if lost || self.volume.inner.session.is_closed() || self.volume.check_usable().is_err()
            {
                return false;
            }
            tracing::warn!(inode = %self.inode(), %error, ?pause, "not told yet, trying again");
            self.volume.client().world.sleep(pause).await;
            pause = (pause * 2).min(RELEASE_RETRY_MAX);
        }
        true
    }

    async fn undelegate(&self) {
        let undelegate = Command::Undelegate(Undelegate { inodes: vec![self.inode().0] });
        if let Err(error) = self.volume.command(undelegate, Caller::default()).await {
            tracing::warn!(inode = %self.inode(), %error, "a delegation was not given back");
        }
    }
}
