//! Positions of this replica's log. The bytes are the driver's; here is only how far each thing is.
//!
//! ```text
//!      start            committed      synced?    appended     end
//!        v                  v             v           v         v
//!   .....[##################|*************|***********|- - - - -|
//!  in the index only        '-- may yet be cut --'     asked for
//! ```
//!
//! What must hold: `start <= committed + 1`, `committed <= appended <= end`, `synced <= appended`.

use super::effect::Effect;
use super::entry::{Entry, Position};
use super::history::History;
use super::persisted::Persisted;
use std::sync::Arc;
use types::{Epoch, Sequence};

#[derive(Debug)]
pub(super) struct Log {
    /// First entry the log still has.
    pub(super) start: Sequence,
    /// Last entry the driver was asked to append.
    pub(super) end: Sequence,
    /// Last entry the driver has appended.
    pub(super) appended: Sequence,
    /// Last entry that is surely on disk.
    pub(super) synced: Sequence,
    /// Last entry known to be committed, and applied.
    pub(super) committed: Sequence,
    pub(super) history: History,
    /// Everything up to here should be on disk.
    sync_wanted: Sequence,
    sync: Option<SyncInFlight>,
    /// A snapshot is replacing the log; nothing may be appended meanwhile.
    pub(super) installing: Option<Position>,
}

/// What is known of the one `Sync` that is under way.
#[derive(Debug)]
struct SyncInFlight {
    /// The log was cut since: what it reports would be taken for entries that came later.
    void: bool,
}

/// Whether the log goes through an entry of the leader's.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fit {
    Matches,
    /// It does not reach so far, or has another entry there; try this one next.
    Differs(Position),
    /// It has another entry there and knows it to be committed: somebody is badly wrong.
    Contradicts,
}

impl Log {
    pub(super) fn recover(persisted: &Persisted) -> Log {
        let end = persisted.log_end;
        let mut history = History::from_stored(persisted.history.clone());
        history.truncate(end);
        let committed = persisted.applied.min(end);
        Log {
            start: persisted.log_start.max(Sequence(1)).min(committed.next()),
            end,
            appended: end,
            synced: persisted.synced.min(end),
            committed,
            history,
            sync_wanted: Sequence::ZERO,
            sync: None,
            installing: None,
        }
    }

    /// The last entry.
    pub(super) fn last(&self) -> Position {
        self.position(self.end)
    }

    /// Names the entry at `sequence`, which the log or its history reaches.
    pub(super) fn position(&self, sequence: Sequence) -> Position {
        Position { epoch: self.history.epoch_at(sequence).unwrap_or(Epoch::ZERO), sequence }
    }

    /// Names the entry before `next` when `next` can be sent from the log: it has it (or will), and
    /// knows the epoch of the one before.
    pub(super) fn before(&self, next: Sequence) -> Option<Position> {
        let sequence = next.previous();
        if next < self.start {
            return None;
        }
        self.history.epoch_at(sequence).map(|epoch| Position { epoch, sequence })
    }

    /// Compares with the leader at `theirs`.
    pub(super) fn fit(&self, theirs: Position) -> Fit {
        if theirs.sequence > self.end {
            return Fit::Differs(self.hint(theirs.epoch, self.end));
        }
        match self.history.epoch_at(theirs.sequence) {
            Some(epoch) if epoch == theirs.epoch => Fit::Matches,
            // Longer ago than the history goes, and applied long since.
            None if self.history.may_have_had(theirs) => Fit::Matches,
            _ if theirs.sequence <= self.committed => Fit::Contradicts,
            Some(_) => Fit::Differs(self.hint(theirs.epoch, theirs.sequence.previous())),
            None => Fit::Differs(self.position(self.committed)),
        }
    }

    /// The last entry that a leader whose log is of `epoch` at `sequence` may share; not before what
    /// is committed, which must be shared.
    fn hint(&self, epoch: Epoch, sequence: Sequence) -> Position {
        let hint = self.history.last_at_most(epoch, sequence);
        if hint.sequence < self.committed { self.position(self.committed) } else { hint }
    }

    /// Asks the driver to append; the entries follow the end.
    pub(super) fn append(&mut self, entries: Arc<[Entry]>, effects: &mut Vec<Effect>) {
        assert!(self.installing.is_none(), "nothing is appended while a snapshot is installed");
        for entry in entries.iter() {
            assert_eq!(entry.sequence, self.end.next(), "a log has no gaps");
            self.end = entry.sequence;
            self.history.push(entry.position());
        }
        effects.push(Effect::Append { entries });
    }

    /// Notes what the driver has appended.
    pub(super) fn on_appended(&mut self, end: Sequence, effects: &mut Vec<Effect>) {
        self.appended.advance(end.min(self.end));
        self.sync(effects);
    }

    /// Forgets what the driver could not append; what came before it was appended.
    pub(super) fn on_append_failed(&mut self, from: Sequence) {
        self.appended.advance(from.previous().min(self.end));
        self.cut(self.appended);
    }

    /// Cuts everything after `after`, which is never committed.
    pub(super) fn truncate(&mut self, after: Sequence, effects: &mut Vec<Effect>) {
        self.cut(after);
        effects.push(Effect::Truncate { after });
    }

    fn cut(&mut self, after: Sequence) {
        assert!(after >= self.committed, "a committed entry is never cut");
        self.end = self.end.min(after);
        self.appended = self.appended.min(after);
        self.synced = self.synced.min(after);
        self.history.truncate(after);
        if let Some(sync) = &mut self.sync {
            sync.void = true;
        }
    }

    /// Wants everything up to `upto` on disk, as soon as it is in the log.
    pub(super) fn want_sync(&mut self, upto: Sequence, effects: &mut Vec<Effect>) {
        self.sync_wanted.advance(upto);
        self.sync(effects);
    }

    /// Starts a sync when one is due and none is under way; it takes along all there is.
    fn sync(&mut self, effects: &mut Vec<Effect>) {
        let due = self.synced < self.sync_wanted.min(self.appended);
        if due && self.sync.is_none() && self.installing.is_none() {
            self.sync = Some(SyncInFlight { void: false });
            effects.push(Effect::Sync { upto: self.appended });
        }
    }

    /// Notes that the sync in flight is done.
    pub(super) fn on_synced(&mut self, end: Sequence, effects: &mut Vec<Effect>) {
        let sync = self.sync.take();
        if sync.is_some_and(|sync| !sync.void) {
            self.synced.advance(end.min(self.appended));
        }
        self.sync(effects);
    }

    /// Commits up to `upto` at most, as far as the log goes. Says whether anything was new.
    pub(super) fn commit(&mut self, upto: Sequence, effects: &mut Vec<Effect>) -> bool {
        let upto = upto.min(self.appended);
        if upto <= self.committed {
            return false;
        }
        self.committed = upto;
        effects.push(Effect::Apply { upto });
        true
    }

    /// Whether the log goes, or went, through `at`.
    pub(super) fn contains(&self, at: Position) -> bool {
        match self.history.epoch_at(at.sequence) {
            Some(epoch) => at.sequence <= self.end && epoch == at.epoch,
            None => at.sequence <= self.committed && self.history.may_have_had(at),
        }
    }

    /// Starts anew after a snapshot that was installed, and is on disk.
    pub(super) fn on_installed(&mut self, at: Position) {
        assert!(at.sequence >= self.committed, "a snapshot never takes back what is committed");
        if let Some(sync) = &mut self.sync {
            sync.void = true;
        }
        self.installing = None;
        self.start = at.sequence.next();
        self.end = at.sequence;
        self.appended = at.sequence;
        self.synced = at.sequence;
        self.committed = at.sequence;
        self.history.reset(at);
    }

    /// Notes that the log was cut at its beginning.
    pub(super) fn on_start(&mut self, start: Sequence) {
        self.start.advance(start.min(self.committed.next()));
        self.history.trim(self.start);
    }
}
