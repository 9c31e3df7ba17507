//! Appending, so that appends of several clients never overwrite each other.
//!
//! Whoever appends holds the file's delegation: only one client has it, so only one knows the end.
//! It is kept for a moment, so that a run of appends costs one round trip and not one each, and
//! given back after a bounded time, so that others get their turn.

use super::File;
use crate::Error;
use bytes::Bytes;
use types::SessionId;
use types::limits::APPEND_HOLD_MAX;
use types::namespace::{Caller, Command, Delegate, FailureKind, OutcomeBody, Undelegate};

/// The session under which this client holds the file's delegation, when it does.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    under: Option<SessionId>,
}

impl File {
    /// Buffers bytes at the end of the file, wherever that is; returns where they went.
    ///
    /// # Errors
    /// As [`File::write`].
    pub async fn append(&self, bytes: Bytes) -> Result<u64, Error> {
        let mut hold = self.shared.append.lock().await;
        // With its session a client loses its delegations.
        if hold.under != Some(self.volume.session()) {
            let released_later = hold.under.is_some();
            self.acquire().await?;
            hold.under = Some(self.volume.session());
            self.shared.lock().holds_end = true;
            if released_later {
                return self.append_held(bytes, hold.under).await;
            }
            let file = self.clone();
            self.volume.client().world.spawn("append", async move {
                file.volume.client().world.sleep(APPEND_HOLD_MAX).await;
                file.release().await;
            });
        }
        self.append_held(bytes, hold.under).await
    }

    async fn append_held(&self, bytes: Bytes, under: Option<SessionId>) -> Result<u64, Error> {
        let offset = {
            let mut state = self.shared.lock();
            state.appended_under = under;
            state.size
        };
        self.write(offset, bytes).await?;
        Ok(offset)
    }

    async fn acquire(&self) -> Result<(), Error> {
        // What this client has buffered itself must not be cut off by the size that it learns.
        self.write_back().await?;
        loop {
            let delegate = Command::Delegate(Delegate { inode: self.inode().0 });
            match self.volume.command(delegate, Caller::default()).await {
                Ok(OutcomeBody::Delegated(delegated)) => {
                    if let Some(attributes) = delegated.attributes {
                        self.shared.lock().learn(&attributes);
                    }
                    return Ok(());
                }
                Ok(_) => return Err(Error::Invalid("a delegation was answered otherwise".into())),
                Err(Error::Refused(failure)) if failure.kind() == FailureKind::Busy => {
                    self.give_way(&failure).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn release(&self) {
        let mut hold = self.shared.append.lock().await;
        if let Err(error) = self.write_back().await {
            // It is tried again later; the others may go on appending meanwhile.
            tracing::warn!(inode = %self.inode(), %error, "not written back yet");
        }
        let undelegate = Command::Undelegate(Undelegate { inodes: vec![self.inode().0] });
        if let Err(error) = self.volume.command(undelegate, Caller::default()).await {
            tracing::warn!(inode = %self.inode(), %error, "a delegation was not given back");
        }
        hold.under = None;
        self.shared.lock().holds_end = false;
        self.forget_if_unused();
    }
}
