//! Making what was written durable, and when the namespace need not be told of it at once.
//!
//! A program that syncs each of its writes would have two logs on every replica's disk synced for each: the data's,
//! and the namespace's for the new length. While this client has the file's delegation, the second can wait: whoever
//! else wants to know how long the file is sees from its attributes that somebody has it, and looks how far the data
//! goes (`ends.rs`); whoever else wants to change that has to wait until it is given back.
//!
//! ```text
//! delegation asked for -> namespace synced once -> sync, sync, sync ... -> told -> delegation given back
//!                                                  \_ data only _/          \_ at most 50 ms after it came
//!
//! this client ends in between:   the file is *unsettled*; who opens it next finds its length from the data,
//!                                and the next who gets the delegation tells the namespace
//! ```
//!
//! What must hold: when such a sync returns, the delegation has not been given back, nor can the cluster have ended
//! the session that has it ([`DEFERRAL_MAX`]); and between the length that the namespace knows and the end of what
//! was synced there is no gap, so that the end can be found from the data.

use super::{File, State};
use crate::Error;
use std::collections::BTreeSet;
use types::limits::{APPEND_HOLD_MAX, DEFERRAL_MAX, SYNC_HOLD_PAUSE};
use types::{Moment, SessionId};

/// The delegation under which syncs leave telling the namespace for later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deferral {
    pub(super) under: SessionId,
    /// When it was asked for.
    pub(super) asked: Moment,
}

impl File {
    /// Makes everything written so far durable, with names and attributes.
    ///
    /// # Errors
    /// As [`File::flush`]; nothing may be assumed durable then.
    pub async fn sync(&self) -> Result<(), Error> {
        self.expect_more_syncs().await;
        if let Some(deferral) = self.deferral() {
            self.land().await?;
            self.sync_landed().await?;
            if self.deferral() == Some(deferral) {
                return Ok(());
            }
        }
        self.flush().await?;
        self.sync_landed().await
    }

    /// Who synced a moment ago will sync again in a moment.
    async fn expect_more_syncs(&self) {
        let now = self.volume.client().world.now();
        let again = {
            let mut state = self.shared.lock();
            let before = state.synced.replace(now);
            let soon = before.is_some_and(|before| now.since(before) < APPEND_HOLD_MAX);
            let paused = state.released.is_none_or(|at| now.since(at) >= SYNC_HOLD_PAUSE);
            soon && paused && !state.holds_end && state.commit.wanted
        };
        if again {
            self.try_hold().await;
        }
    }

    /// What allows it to tell the namespace later, if anything does.
    fn deferral(&self) -> Option<Deferral> {
        let now = self.volume.client().world.now();
        let session = self.volume.session();
        let state = self.shared.lock();
        let valid = |deferral: &Deferral| {
            deferral.under == session && now.since(deferral.asked) < DEFERRAL_MAX
        };
        state.deferral.filter(valid).filter(|_| state.may_defer())
    }

    async fn sync_landed(&self) -> Result<(), Error> {
        // Whoever finds nothing left to sync must not return before the one who took it is done.
        let _one_at_a_time = self.shared.syncing.lock().await;
        let (mut partitions, all, namespace) = {
            let mut state = self.shared.lock();
            let all = std::mem::take(&mut state.all_unsynced);
            let namespace = std::mem::take(&mut state.namespace_unsynced);
            (std::mem::take(&mut state.unsynced), all, namespace)
        };
        let placed = if all { self.placed_on().await } else { Ok(BTreeSet::new()) };
        if let Ok(placed) = &placed {
            partitions.extend(placed);
        }
        let data = partitions.iter().map(|partition| self.volume.flush_data(*partition));
        let data = futures::future::try_join_all(data);
        let names = async { if namespace { self.volume.flush_namespace().await } else { Ok(()) } };
        let result = futures::future::try_join(data, names).await.map(drop);
        let result = placed.map(drop).and(result);
        if result.is_err() {
            let mut state = self.shared.lock();
            state.unsynced.extend(partitions);
            state.all_unsynced |= all;
            state.namespace_unsynced |= namespace;
        }
        result
    }
}

impl State {
    /// Whether what is left to be told could be found from the data, should this client end.
    fn may_defer(&self) -> bool {
        let mut told = self.committing.iter().chain([&self.commit]);
        told.all(|pending| !pending.sparse && !pending.clear_setid)
    }

    /// Whether the namespace was not told yet of something that was written.
    pub(super) fn is_owed(&self) -> bool {
        self.commit.wanted || self.committing.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::super::PendingCommit;
    use super::*;
    use types::namespace::Attributes;

    #[test]
    fn what_the_data_does_not_show_is_told_at_once() {
        let mut state = State::new(&Attributes::default());
        assert!(state.may_defer());
        state.commit = PendingCommit { wanted: true, sparse: true, ..Default::default() };
        assert!(!state.may_defer(), "a gap ends the search for the end");
        state.committing = Some(state.take_commit());
        assert!(!state.may_defer(), "and is not known to be told before the answer");
        state.committing = None;
        assert!(state.may_defer());
        state.commit.clear_setid = true;
        assert!(!state.may_defer(), "rights that are to go do not wait");
    }
}
