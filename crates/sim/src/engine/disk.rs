//! The disk of one machine, for one replica: what was written, and what of it survives.
//!
//! The durability model: an append or a cut is visible at once and survives the death of the
//! process. It survives loss of power once a sync that began after it has ended; before that, any
//! number of the operations since the last sync may have reached the disk, in order, the last one
//! perhaps in part (the torn record is found by its checksum and cut on recovery). A sync that
//! fails makes nothing durable, then or later. Small files (epoch, configuration, life) are
//! replaced atomically and synced before they are reported.

use crate::dice::Dice;
use partition::replica::{Entry, Failure, Persisted, Position};
use types::{Configuration, Epoch, Sequence};

/// A log's content.
#[derive(Clone, Debug, Default)]
pub(super) struct LogContent {
    /// The entry before the first one kept.
    base: Position,
    entries: Vec<Entry>,
}

impl LogContent {
    pub(super) fn end(&self) -> Sequence {
        Sequence(self.base.sequence.0 + self.entries.len() as u64)
    }

    pub(super) fn start(&self) -> Sequence {
        self.base.sequence.next()
    }

    /// The entry at `sequence`, when it is kept.
    pub(super) fn entry(&self, sequence: Sequence) -> Option<&Entry> {
        let index = sequence.0.checked_sub(self.start().0)?;
        self.entries.get(usize::try_from(index).ok()?)
    }

    /// Names the entry at `sequence`, when it is kept or right before what is kept.
    pub(super) fn position(&self, sequence: Sequence) -> Option<Position> {
        if sequence == self.base.sequence {
            return Some(self.base);
        }
        self.entry(sequence).map(Entry::position)
    }

    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Append(entry) => {
                assert_eq!(entry.sequence, self.end().next(), "appends are consecutive");
                self.entries.push(entry.clone());
            }
            Operation::Truncate(after) => {
                let keep = after.0.checked_sub(self.base.sequence.0).expect("a cut in the log");
                self.entries.truncate(usize::try_from(keep).expect("in memory"));
            }
        }
    }

    fn trim(&mut self, start: Sequence) {
        let Some(base) = self.position(start.previous()) else { return };
        if base.sequence <= self.base.sequence {
            return;
        }
        let gone = usize::try_from(base.sequence.0 - self.base.sequence.0).expect("in memory");
        self.entries.drain(..gone);
        self.base = base;
    }

    /// First entry of each epoch, from the one before the log's start on.
    fn history(&self) -> Vec<Position> {
        let mut history = Vec::new();
        if self.base.sequence > Sequence::ZERO {
            history.push(self.base);
        }
        for entry in &self.entries {
            if history.last().is_none_or(|last: &Position| last.epoch < entry.epoch) {
                history.push(entry.position());
            }
        }
        history
    }
}

#[derive(Clone, Debug)]
enum Operation {
    Append(Entry),
    Truncate(Sequence),
}

/// What one replica has on one machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    /// As the process sees it.
    pub(super) log: LogContent,
    /// As it is after loss of power at this moment, at least.
    pub(super) durable: LogContent,
    /// What lies between the two.
    unsynced: Vec<Operation>,
    /// Operations that were ever moved to `durable` or lost, so that marks stay comparable.
    settled: u64,
    /// A sync failed: nothing becomes durable any more in this life.
    broken: bool,
    /// No room for appends.
    pub(super) full: bool,
    epoch: Epoch,
    configuration: Option<Configuration>,
    life: u64,
    /// Boot of the machine in which the replica was last proven.
    proven_in: Option<u64>,
    /// What the index has on disk.
    pub(super) checkpoint: Sequence,
    /// Whether this copy has ever been started.
    begun: bool,
}

/// A moment in the sequence of operations, taken when a sync begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    operations: u64,
    pub(super) end: Sequence,
}

impl Disk {
    pub(super) fn append(&mut self, entry: Entry) {
        let operation = Operation::Append(entry);
        self.log.apply(&operation);
        self.unsynced.push(operation);
    }

    pub(super) fn truncate(&mut self, after: Sequence) {
        let operation = Operation::Truncate(after);
        self.log.apply(&operation);
        self.unsynced.push(operation);
    }

    /// A sync begins; it will cover what was done before.
    pub(super) fn mark(&self) -> Mark {
        Mark { operations: self.settled + self.unsynced.len() as u64, end: self.log.end() }
    }

    /// A sync that began at `mark` ends well.
    pub(super) fn sync(&mut self, mark: Mark) {
        assert!(!self.broken, "a broken disk syncs nothing");
        let count = mark.operations.saturating_sub(self.settled);
        for operation in self.unsynced.drain(..usize::try_from(count).expect("in memory")) {
            self.durable.apply(&operation);
        }
        self.settled += count;
    }

    /// The disk fails to sync, and gives no second chance.
    pub(super) fn fail_sync(&mut self) {
        self.broken = true;
        self.proven_in = None;
    }

    pub(super) fn broken(&self) -> bool {
        self.broken
    }

    /// Power is lost: some of what was not synced is on disk all the same.
    pub(super) fn lose_power(&mut self, dice: &mut Dice) {
        let kept = if self.broken || dice.chance(300) {
            0
        } else {
            dice.between(0, self.unsynced.len() as u64)
        };
        let unsynced = std::mem::take(&mut self.unsynced);
        self.settled += unsynced.len() as u64;
        for operation in unsynced.into_iter().take(usize::try_from(kept).expect("in memory")) {
            self.durable.apply(&operation);
        }
        self.log = self.durable.clone();
        self.broken = false;
    }

    /// The log lets go of everything before `start`.
    pub(super) fn trim(&mut self, start: Sequence) {
        // Segments are deleted only when what they hold is in a checkpoint, and thus synced.
        self.durable.trim(start);
        self.log.trim(start);
    }

    /// A snapshot takes the place of the log, durably.
    pub(super) fn install(&mut self, at: Position) {
        self.settled += self.unsynced.len() as u64;
        self.unsynced.clear();
        self.log = LogContent { base: at, entries: Vec::new() };
        self.durable = self.log.clone();
        self.checkpoint = at.sequence;
    }

    /// Replaces the small file; one that is overtaken by a newer one is not written.
    pub(super) fn persist(&mut self, epoch: Epoch, configuration: Option<Configuration>) {
        if epoch < self.epoch {
            return;
        }
        self.epoch = epoch;
        if configuration.is_some() {
            self.configuration = configuration;
        }
    }

    pub(super) fn mark_proven(&mut self, boot: u64) {
        self.proven_in = Some(boot);
    }

    /// Reads everything back, as a starting process does.
    pub(super) fn recover(&mut self, boot: u64, dice: &mut Dice) -> Persisted {
        if !self.begun {
            self.begun = true;
            self.proven_in = Some(boot);
        }
        self.life += 1;
        if dice.chance(500) {
            let mark = self.mark();
            self.sync(mark);
        }
        let synced = if self.unsynced.is_empty() { self.log.end() } else { self.checkpoint };
        Persisted {
            life: self.life,
            epoch: self.epoch,
            configuration: self.configuration.clone(),
            log_start: self.log.start(),
            log_end: self.log.end(),
            synced,
            applied: self.checkpoint,
            history: self.log.history(),
            proven: self.proven_in == Some(boot),
            failure: self.full.then_some(Failure::NoSpace),
        }
    }

    /// The index writes a checkpoint of what it has applied, as far as that is surely on disk.
    pub(super) fn write_checkpoint(&mut self, applied: Sequence) {
        let on_disk =
            self.unsynced.iter().fold(self.durable.end(), |end, operation| match operation {
                Operation::Truncate(after) => end.min(*after),
                Operation::Append(_) => end,
            });
        self.checkpoint.advance(applied.min(on_disk));
    }
}
