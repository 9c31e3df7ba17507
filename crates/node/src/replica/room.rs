//! How a replica that ran out of room comes back.
//!
//! Only on evidence, and only on fresh evidence: the disk has room again, clearly more than none,
//! and a write that was tried there reached the disk. A restart, an election or a new configuration
//! proves nothing about room.

use super::Holder;
use crate::space::DiskSpace;
use partition::replica::{Event, Failure};
use std::io::{self, IoSlice};
use types::Moment;
use types::limits::{ROOM_BYTES_MIN, ROOM_PROBE_BYTES, ROOM_PROBE_INTERVAL};

/// What a needed replica has to find room for on a full disk: some records, and its state.
const SQUEEZE_BYTES: usize = 64 << 10;

/// The room of a replica's disk.
#[derive(Debug)]
pub(super) struct Room {
    /// Why there is only the reserve left; `None` while there is more.
    full: Option<String>,
    /// With less than this, a replica that could not write does not try again.
    retry_bytes: u64,
}

impl Default for Room {
    fn default() -> Room {
        Room { full: None, retry_bytes: ROOM_BYTES_MIN }
    }
}

impl Holder {
    /// Is told how the space of its disk is.
    pub fn set_room(&mut self, space: &DiskSpace) {
        let full = space.is_full();
        self.room = Room { full: full.then(|| space.words()), retry_bytes: space.retry_bytes() };
        self.handle(Event::Room(space.room()));
        if !full && self.engine.status(self.context.world.now()).failure == Some(Failure::NoSpace) {
            self.handle(Event::SpaceFreed);
        }
    }

    /// A write that was refused for want of room since the last time this was asked.
    pub fn take_refused_write(&mut self) -> Option<String> {
        self.refused_write.take()
    }

    /// Why a leader takes no writes for want of room, here or on too many of its followers; `None` when
    /// it does, and for who does not lead: that is for the engine to say.
    pub(super) fn lacks_room(&self) -> Option<String> {
        if !self.engine.lacks_room() {
            return None;
        }
        let full = self.room.full.clone();
        Some(full.unwrap_or_else(|| "too many in-sync replicas are out of space".to_owned()))
    }

    /// Whether a partition cannot do without this replica: it is in sync, or too few others are.
    fn is_needed(&self) -> bool {
        self.configuration.as_ref().is_some_and(|configuration| {
            let in_sync = &configuration.in_sync;
            in_sync.contains(&self.id) || in_sync.len() < usize::from(configuration.in_sync_min)
        })
    }

    /// Makes room for what was ordered and is in other logs by now, when a write of it was refused: it can
    /// neither be refused to anybody nor be forgotten.
    pub(super) fn finds_room(&mut self, error: &str) -> bool {
        if !self.is_needed() || !self.ballast.let_go() {
            return false;
        }
        // The disk is full nevertheless.
        self.refused_write = Some(error.to_owned());
        true
    }

    /// Looks now and then whether there is room again, while there is none.
    pub fn tend_room(&mut self, now: Moment) {
        let full = self.engine.status(now).failure == Some(Failure::NoSpace);
        if !full || self.failed.is_some() {
            self.room_probed = None;
            return;
        }
        let last = *self.room_probed.get_or_insert(now);
        if now.since(last) < ROOM_PROBE_INTERVAL {
            return;
        }
        self.room_probed = Some(now);
        match self.probe_room() {
            Ok(true) => {
                tracing::info!(partition = %self.partition, replica = %self.id, "there is room again");
                self.room_probed = None;
                self.handle(Event::SpaceFreed);
            }
            Ok(false) if self.squeezes_in() => self.handle(Event::SpaceFreed),
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(partition = %self.partition, %error, "still no room");
                if self.squeezes_in() {
                    self.handle(Event::SpaceFreed);
                }
            }
        }
    }

    /// Whether there is room for the little that has to be written for others to read and to delete.
    fn squeezes_in(&mut self) -> bool {
        self.is_needed() && (self.probe(&[0; SQUEEZE_BYTES]).is_ok() || self.ballast.let_go())
    }

    /// Tries a write. It blocks for as long as one sync, at most once a second, on a replica that
    /// takes no writes anyway.
    fn probe_room(&self) -> io::Result<bool> {
        if self.disk.space()?.free < self.room.retry_bytes {
            return Ok(false);
        }
        self.probe(&[0; ROOM_PROBE_BYTES]).map(|()| true)
    }

    fn probe(&self, bytes: &[u8]) -> io::Result<()> {
        let path = format!("{}/probe", self.folder);
        self.disk.remove_if_present(&path)?;
        let tried = self.disk.create(&path).and_then(|file| {
            file.write_at(0, &mut [IoSlice::new(bytes)])?;
            file.sync()
        });
        self.disk.remove_if_present(&path)?;
        tried
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::*;
    use partition::replica::{Effect, Entry, EntryBody};
    use std::collections::VecDeque;
    use std::sync::Arc;
    use types::Epoch;
    use types::configuration::PartitionKind;
    use types::limits::BALLAST_PIECES;

    fn append(holder: &mut Holder) -> bool {
        let body = EntryBody { kind: 1, key: bytes::Bytes::new(), payload: vec![7; 9000].into() };
        let entry = Entry { epoch: Epoch(1), sequence: holder.log.end().next(), body };
        let mut events = VecDeque::new();
        holder.perform(Effect::Append { entries: Arc::new([entry]) }, &mut events);
        assert_eq!(events.len(), 1);
        matches!(events[0], Event::Appended { .. })
    }

    /// A leader that could not write what it had ordered stopped leading, and nobody could read.
    #[tokio::test]
    async fn what_was_ordered_is_written_without_a_byte_left() {
        let bench = Bench::new();
        let mut holder = bench.create(PartitionKind::Namespace);
        holder.configure(Bench::configuration(PartitionKind::Namespace));
        bench.home.ballast.fill().run();
        let whole = bench.home.ballast.bytes();
        assert!(append(&mut holder));
        let used = bench.home.disk.space().map(|space| space.total - space.free).unwrap();
        bench.sim.set_capacity(used);
        assert!(append(&mut holder), "by letting go of ballast");
        assert_eq!(bench.home.ballast.bytes(), whole / BALLAST_PIECES * (BALLAST_PIECES - 1));
        assert!(holder.take_refused_write().is_some(), "the disk counts as full nevertheless");
        assert!(append(&mut holder) && holder.take_refused_write().is_none());
        assert_eq!(holder.engine.status(bench.context.world.now()).failure, None);
        let end = holder.log.end();
        // Somebody else eats all of it: then it is as without, once it is gone.
        bench.sim.set_capacity(0);
        assert!(!append(&mut holder) && holder.take_refused_write().is_some());
        assert!(bench.home.ballast.bytes() > 0, "some is kept for later");
        while bench.home.ballast.bytes() > 0 {
            assert!(!append(&mut holder));
        }
        assert_eq!(holder.log.end(), end, "nothing of it is there");
    }

    #[tokio::test]
    async fn who_is_not_needed_takes_no_ballast() {
        let bench = Bench::new();
        let mut holder = bench.create(PartitionKind::Data);
        let mut configuration = Bench::configuration(PartitionKind::Data);
        configuration.in_sync = [2, 3].map(types::ReplicaId).into();
        configuration.in_sync_min = 2;
        holder.configuration = Some(configuration.clone());
        bench.home.ballast.fill().run();
        let whole = bench.home.ballast.bytes();
        bench.sim.set_capacity(0);
        assert!(!append(&mut holder));
        assert_eq!(bench.home.ballast.bytes(), whole);
        // Without it too few would be in sync, and nobody could even delete.
        configuration.in_sync_min = 3;
        holder.configuration = Some(configuration);
        assert!(!append(&mut holder));
        assert!(bench.home.ballast.bytes() < whole);
    }

    /// A replica that was refused an epoch waited for room, while its leader waited for it.
    #[tokio::test]
    async fn a_needed_replica_goes_on_with_what_ballast_there_is() {
        let bench = Bench::new();
        let mut holder = bench.create(PartitionKind::Data);
        bench.sim.set_capacity(0);
        holder.configure(Bench::configuration(PartitionKind::Data));
        let failure = |holder: &Holder| holder.engine.status(bench.context.world.now()).failure;
        assert_eq!(failure(&holder), Some(Failure::NoSpace));
        bench.sim.set_capacity(1 << 30);
        bench.home.ballast.fill().run();
        bench.sim.set_capacity(bench.home.disk.space().map(|s| s.total - s.free).unwrap());
        let now = bench.context.world.now();
        holder.tend_room(now);
        assert_eq!(failure(&holder), Some(Failure::NoSpace), "a second has to pass");
        holder.tend_room(now + ROOM_PROBE_INTERVAL);
        assert_eq!((failure(&holder), holder.leads()), (None, true));
    }
}
