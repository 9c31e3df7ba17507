//! How a replica that ran out of room comes back.
//!
//! Only on evidence, and only on fresh evidence: the disk has room again, clearly more than none,
//! and a write that was tried there reached the disk. A restart, an election or a new configuration
//! proves nothing about room.

use super::Holder;
use partition::replica::{Event, Failure};
use std::io::{self, IoSlice};
use types::Moment;
use types::limits::{ROOM_BYTES_MIN, ROOM_PROBE_BYTES, ROOM_PROBE_INTERVAL};

impl Holder {
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
        if self.disk.space()?.free < ROOM_BYTES_MIN {
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
