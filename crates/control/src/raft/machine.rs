//! The replicated state, as committed entries leave it.
//!
//! It lives in memory: after a restart it is the last snapshot plus the log behind it, which
//! openraft applies again. Everybody reads it through [`Machine::read`] and waits for changes with
//! [`Machine::watch`].

use super::store::{Store, machine_failed, snapshot_failed};
use super::{Entry, LogId, SnapshotMeta, StorageError, StoredMembership, TypeConfig};
use crate::state::{Outcome, State};
use openraft::storage::{RaftStateMachine, Snapshot};
use openraft::{EntryPayload, ErrorVerb, OptionalSend, RaftSnapshotBuilder};
use std::io::Cursor;
use std::sync::{Arc, RwLock};
use tokio::sync::watch;

/// The state and how far it goes.
#[derive(Debug, Default)]
struct Applied {
    state: State,
    last: Option<LogId>,
    membership: StoredMembership,
}

/// The replicated state of one member; cheap to clone.
#[derive(Clone, Debug)]
pub struct Machine {
    store: Store,
    applied: Arc<RwLock<Applied>>,
    /// Index of the last applied entry.
    revision: Arc<watch::Sender<u64>>,
}

#[allow(clippy::result_large_err, reason = "the consensus crate's own error")]
impl Machine {
    /// Takes up the last snapshot.
    ///
    /// # Errors
    /// When the snapshot cannot be read or is damaged.
    pub async fn load(store: Store) -> Result<Machine, StorageError> {
        let mut applied = Applied::default();
        if let Some((meta, data)) =
            store.snapshot().await.map_err(snapshot_failed(ErrorVerb::Read))?
        {
            applied = Applied::of(&meta, &data)?;
        }
        let revision = Arc::new(watch::Sender::new(applied.revision()));
        Ok(Machine { store, applied: Arc::new(RwLock::new(applied)), revision })
    }

    /// Looks at the state and its revision.
    pub fn read<T>(&self, look: impl FnOnce(&State, u64) -> T) -> T {
        let applied = self.applied.read().expect("no holder panics");
        look(&applied.state, applied.revision())
    }

    /// Is told whenever entries were applied.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }
}

#[allow(clippy::result_large_err, reason = "the consensus crate's own error")]
impl Applied {
    fn of(meta: &SnapshotMeta, data: &[u8]) -> Result<Applied, StorageError> {
        let state = State::decode(data).map_err(|error| machine_failed(&error))?;
        Ok(Applied { state, last: meta.last_log_id, membership: meta.last_membership.clone() })
    }

    fn revision(&self) -> u64 {
        self.last.map_or(0, |last| last.index)
    }

    fn apply(&mut self, entry: Entry) -> Outcome {
        self.last = Some(entry.log_id);
        match entry.payload {
            EntryPayload::Blank => Outcome::Done,
            EntryPayload::Normal(command) => self.state.apply(&command),
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
                Outcome::Done
            }
        }
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Machine {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError> {
        let (meta, data) = {
            let applied = self.applied.read().expect("no holder panics");
            let last = applied.last.map_or_else(String::new, |last| last.to_string());
            let meta = SnapshotMeta {
                last_log_id: applied.last,
                last_membership: applied.membership.clone(),
                snapshot_id: format!("at-{last}"),
            };
            (meta, applied.state.encode())
        };
        let saved = self.store.save_snapshot(&meta, data.clone()).await;
        saved.map_err(snapshot_failed(ErrorVerb::Write))?;
        Ok(Snapshot { meta, snapshot: Box::new(Cursor::new(data)) })
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotBuilder = Machine;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        let applied = self.applied.read().expect("no holder panics");
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Outcome>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut applied = self.applied.write().expect("no holder panics");
        let outcomes = entries.into_iter().map(|entry| applied.apply(entry)).collect();
        let revision = applied.revision();
        drop(applied);
        self.revision.send_replace(revision);
        Ok(outcomes)
    }

    async fn get_snapshot_builder(&mut self) -> Machine {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::new(Cursor::new(Vec::new())))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let data = snapshot.into_inner();
        let applied = Applied::of(meta, &data)?;
        let saved = self.store.save_snapshot(meta, data).await;
        saved.map_err(snapshot_failed(ErrorVerb::Write))?;
        let revision = applied.revision();
        *self.applied.write().expect("no holder panics") = applied;
        self.revision.send_replace(revision);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError> {
        let kept = self.store.snapshot().await.map_err(snapshot_failed(ErrorVerb::Read))?;
        Ok(kept.map(|(meta, data)| Snapshot { meta, snapshot: Box::new(Cursor::new(data)) }))
    }
}
