//! Two kinds of room: memory for what is buffered, and space in the volume for what is written.

use crate::{Error, Volume};
use std::sync::{Arc, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use types::limits::RESERVATION_BYTES;
use types::namespace::{Caller, Command, OutcomeBody, Reserve, Unreserve};

/// What this client may still buffer, and what it may still write.
#[derive(Debug)]
pub(crate) struct Budget {
    memory: Arc<Semaphore>,
    memory_max: usize,
    /// Bytes set aside in the volume and not used yet.
    reserved: Mutex<u64>,
    reserving: tokio::sync::Mutex<()>,
}

impl Budget {
    pub(crate) fn new(memory_max: usize) -> Budget {
        Budget {
            memory: Arc::new(Semaphore::new(memory_max)),
            memory_max,
            reserved: Mutex::new(0),
            reserving: tokio::sync::Mutex::default(),
        }
    }

    /// Room to buffer `bytes`, if there is some at this moment.
    pub(super) fn try_take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes.min(self.memory_max)).expect("a budget fits");
        self.memory.clone().try_acquire_many_owned(permits).ok()
    }

    /// Waits until there is room to buffer `bytes`.
    pub(super) async fn take(&self, bytes: usize) -> OwnedSemaphorePermit {
        let permits = u32::try_from(bytes.min(self.memory_max)).expect("a budget fits");
        self.memory.clone().acquire_many_owned(permits).await.expect("never closed")
    }

    /// Bytes that are buffered.
    fn used(&self) -> u64 {
        self.memory_max.saturating_sub(self.memory.available_permits()) as u64
    }

    fn take_reserved(&self, bytes: u64) -> Result<(), u64> {
        let mut reserved = self.reserved.lock().expect("no holder panics");
        match reserved.checked_sub(bytes) {
            Some(rest) => {
                *reserved = rest;
                Ok(())
            }
            None => Err(bytes - *reserved),
        }
    }

    /// The reservations are gone with the session they were made in.
    pub(crate) fn forget_reserved(&self) {
        *self.reserved.lock().expect("no holder panics") = 0;
    }

    /// Takes all but one reservation's worth; returns how much that is.
    fn take_excess(&self) -> u64 {
        let mut reserved = self.reserved.lock().expect("no holder panics");
        let excess = reserved.saturating_sub(RESERVATION_BYTES);
        *reserved -= excess;
        excess
    }

    /// Gives back what turned out not to be needed.
    pub(super) fn give_back(&self, bytes: u64) {
        *self.reserved.lock().expect("no holder panics") += bytes;
    }
}

impl Volume {
    /// Sets space aside for bytes that are about to be written.
    pub(crate) async fn reserve(&self, bytes: u64) -> Result<(), Error> {
        let budget = &self.inner.budget;
        if budget.take_reserved(bytes).is_ok() {
            return Ok(());
        }
        let _one_at_a_time = budget.reserving.lock().await;
        loop {
            let Err(missing) = budget.take_reserved(bytes) else { return Ok(()) };
            let wanted = missing.max(RESERVATION_BYTES);
            match self.ask_for_space(wanted).await {
                Ok(()) => budget.give_back(wanted),
                Err(Error::NoSpace) if wanted > missing => {
                    self.ask_for_space(missing).await?;
                    budget.give_back(missing);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Lets others have what this client has set aside beyond its next writes.
    pub(crate) async fn give_back_reserved(&self) {
        let bytes = self.inner.budget.take_excess();
        if bytes == 0 {
            return;
        }
        let unreserve = Command::Unreserve(Unreserve { bytes });
        if let Err(error) = self.command(unreserve, Caller::default()).await {
            tracing::debug!(%error, bytes, "reserved space was not given back");
        }
    }

    /// Bytes that were written and are in this client only.
    #[must_use]
    pub fn dirty_bytes(&self) -> u64 {
        self.inner.budget.used()
    }

    /// Bytes that this client has set aside and not used yet.
    #[must_use]
    pub fn reserved(&self) -> u64 {
        *self.inner.budget.reserved.lock().expect("no holder panics")
    }

    /// Whether `bytes` more would fit into the volume at this moment.
    ///
    /// # Errors
    /// [`Error::NoSpace`] when they would not.
    pub async fn check_space(&self, bytes: u64) -> Result<(), Error> {
        let usage = self.usage().await?;
        let taken = usage.used + usage.reserved - self.reserved().min(usage.reserved);
        let free = usage.capacity.saturating_sub(taken);
        if bytes <= free { Ok(()) } else { Err(Error::NoSpace) }
    }

    async fn ask_for_space(&self, bytes: u64) -> Result<(), Error> {
        match self.command(Command::Reserve(Reserve { bytes }), Caller::default()).await? {
            OutcomeBody::Reserved(_) => Ok(()),
            _ => Err(Error::Invalid("a reservation was answered otherwise".into())),
        }
    }
}
