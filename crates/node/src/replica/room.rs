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
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(partition = %self.partition, %error, "still no room");
            }
        }
    }

    /// Tries a write. It blocks for as long as one sync, at most once a second, on a replica that
    /// takes no writes anyway.
    fn probe_room(&self) -> io::Result<bool> {
        if self.disk.space()?.free < self.room.retry_bytes {
            return Ok(false);
        }
        let path = format!("{}/probe", self.folder);
        self.disk.remove_if_present(&path)?;
        let tried = self.disk.create(&path).and_then(|file| {
            file.write_at(0, &mut [IoSlice::new(&[0; ROOM_PROBE_BYTES])])?;
            file.sync()
        });
        self.disk.remove_if_present(&path)?;
        tried.map(|()| true)
    }
}
