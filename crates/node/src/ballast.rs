//! Room that a disk keeps for what was already ordered: let go of when there is not a byte left.
//!
//! Like ballast of a balloon, it is carried to be thrown off. The reserve below which a disk takes no writes
//! is room that nobody has; other programs on the same file system can eat it. Then a leader could neither write down what it
//! has ordered, as it has no room, nor forget it, as others may have it: nobody could read from it. So
//! there are a few files here that have room and no content. When a write that must be finished finds none,
//! one of them is removed, and the write is tried again.
//!
//! ```text
//!   whole -- a write that was ordered finds no room --> a piece less --> ... --> gone: as if there were none
//!     ^                                                    |
//!     +------- the disk is not full, and has the room ------+   (full ends by a probe, never by this)
//! ```
//!
//! What it promises: it never makes a disk full, and takes no room that was not there above the mark at which
//! *full* ends. What it leaves out: a program that eats each piece as it comes. There are only so many.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard};
use types::Moment;
use types::limits::{BALLAST_BYTES_MAX, BALLAST_PIECES, BALLAST_SHARE, ROOM_PROBE_INTERVAL};
use world::Disk;

/// Where its pieces are, on their disk.
pub const FOLDER: &str = "ballast";

/// The ballast of one disk; clones share it.
#[derive(Clone, Debug)]
pub struct Ballast {
    disk: Disk,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// Which pieces are there.
    pieces: BTreeSet<u64>,
    piece_bytes: u64,
    filling: bool,
    /// How often a piece was let go of.
    let_go: u64,
    looked_at: Option<Moment>,
}

impl Ballast {
    /// Takes up what an earlier life left. Makes nothing.
    #[must_use]
    pub fn open(disk: Disk) -> Ballast {
        let total = disk.space().map_or(0, |space| space.total);
        let piece_bytes = (total / BALLAST_SHARE).min(BALLAST_BYTES_MAX) / BALLAST_PIECES;
        let is_there = |piece: &u64| {
            let file = disk.open(&path(*piece));
            file.and_then(|file| file.allocated()).is_ok_and(|bytes| bytes >= piece_bytes)
        };
        let pieces = (0..BALLAST_PIECES).filter(is_there).collect();
        let state = State { pieces, piece_bytes, filling: false, let_go: 0, looked_at: None };
        Ballast { state: Arc::new(Mutex::new(state)), disk }
    }

    /// Lets go of a piece; false when there is none left. Blocks for a moment.
    #[must_use]
    pub fn let_go(&self) -> bool {
        let mut state = self.lock();
        let Some(piece) = state.pieces.pop_last() else { return false };
        state.let_go += 1;
        if let Err(error) = self.disk.remove_if_present(&path(piece)) {
            tracing::warn!(disk = self.disk.label(), %error, "cannot let go of ballast");
            return false;
        }
        let left = state.pieces.len();
        drop(state);
        // Some file systems give room out again only when it is durable that it was given back.
        let _ = self.disk.sync_folder(FOLDER);
        tracing::warn!(
            disk = self.disk.label(),
            left,
            "no room for what was ordered: ballast let go"
        );
        true
    }

    /// How much is there.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let state = self.lock();
        state.pieces.len() as u64 * state.piece_bytes
    }

    /// Whether it is time to look whether some can be made: once a second, whatever comes of it.
    #[must_use]
    pub fn is_due(&self, now: Moment) -> bool {
        let mut state = self.lock();
        let due = state.looked_at.is_none_or(|at| now.since(at) >= ROOM_PROBE_INTERVAL);
        if due {
            state.looked_at = Some(now);
        }
        due
    }

    /// How much there should be and is not; zero while that is being seen to.
    #[must_use]
    pub fn missing(&self) -> u64 {
        let state = self.lock();
        let whole = if state.filling { 0 } else { BALLAST_PIECES * state.piece_bytes };
        whole.saturating_sub(state.pieces.len() as u64 * state.piece_bytes)
    }

    /// Begins to make what is missing; the rest of it is [`Filling::run`].
    #[must_use]
    pub fn fill(&self) -> Filling {
        self.lock().filling = true;
        Filling { ballast: self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    fn make_missing(&self) -> io::Result<()> {
        self.disk.create_folder(FOLDER)?;
        let let_go = self.lock().let_go;
        for piece in 0..BALLAST_PIECES {
            if self.lock().pieces.contains(&piece) {
                continue;
            }
            self.make(piece)?;
            let mut state = self.lock();
            if state.let_go != let_go {
                // It is needed again already.
                drop(state);
                return self.disk.remove_if_present(&path(piece));
            }
            state.pieces.insert(piece);
        }
        self.disk.sync_folder(FOLDER)
    }

    fn make(&self, piece: u64) -> io::Result<()> {
        let (path, bytes) = (path(piece), self.lock().piece_bytes);
        self.disk.remove_if_present(&path)?;
        let file = self.disk.create(&path)?;
        let taken = match file.reserve(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => write_all(&file, bytes),
            reserved => reserved,
        };
        let taken = taken.and_then(|()| file.sync());
        if taken.is_err() {
            self.disk.remove_if_present(&path)?;
        }
        taken
    }
}

/// Takes room where it cannot be asked for: by bytes that are no zeros and do not shrink.
fn write_all(file: &world::File, bytes: u64) -> io::Result<()> {
    let mut word = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = Vec::with_capacity(1 << 16);
    let mut at = 0;
    while at < bytes {
        block.clear();
        while block.len() < (1 << 16) && at + (block.len() as u64) < bytes {
            word = (word ^ (word >> 29)).wrapping_mul(0xff51_afd7_ed55_8ccd);
            block.extend_from_slice(&word.to_le_bytes());
        }
        file.write_at(at, &mut [IoSlice::new(&block)])?;
        at += block.len() as u64;
    }
    Ok(())
}

fn path(piece: u64) -> String {
    format!("{FOLDER}/{piece}")
}

/// Ballast that is being made.
#[derive(Debug)]
pub struct Filling {
    ballast: Ballast,
}

impl Filling {
    /// Blocks for as long as some syncs.
    pub fn run(self) {
        if let Err(error) = self.ballast.make_missing() {
            tracing::info!(disk = self.ballast.disk.label(), %error, "no room for ballast");
        }
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        self.ballast.lock().filling = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use world::disk::sim::SimDisk;

    const MIB: u64 = 1 << 20;

    fn free(disk: &Disk) -> u64 {
        disk.space().unwrap().free
    }

    #[test]
    fn what_is_let_go_is_room_and_comes_back() {
        let sim = SimDisk::new("d", 1, 64 * MIB);
        let disk = Disk::simulated(sim.clone());
        let ballast = Ballast::open(disk.clone());
        assert_eq!((ballast.bytes(), ballast.missing()), (0, MIB));
        let filling = ballast.fill();
        assert_eq!(ballast.missing(), 0, "it is being made");
        filling.run();
        assert_eq!((ballast.bytes(), ballast.missing(), free(&disk)), (MIB, 0, 63 * MIB));
        sim.set_capacity(MIB);
        assert_eq!(free(&disk), 0);
        for piece in 1..=BALLAST_PIECES {
            assert!(ballast.let_go());
            assert_eq!(free(&disk), piece * MIB / BALLAST_PIECES);
        }
        assert!(!ballast.let_go(), "there is no more");
        assert_eq!(ballast.bytes(), 0);
        sim.set_capacity(MIB / 2);
        ballast.fill().run();
        assert_eq!(
            (ballast.bytes(), ballast.missing()),
            (MIB / 2, MIB / 2),
            "what there is room for"
        );
        // Another life finds what there is, and makes the rest.
        sim.set_capacity(64 * MIB);
        let again = Ballast::open(disk);
        assert_eq!(again.missing(), MIB / 2);
        again.fill().run();
        assert_eq!(again.bytes(), MIB);
    }

    #[test]
    fn what_cannot_be_made_is_not_tried_all_the_time() {
        let ballast = Ballast::open(Disk::simulated(SimDisk::new("d", 1, 64 * MIB)));
        let now = Moment(1 << 40);
        assert!(ballast.is_due(now) && !ballast.is_due(now + ROOM_PROBE_INTERVAL / 2));
        assert!(ballast.is_due(now + ROOM_PROBE_INTERVAL));
    }

    #[test]
    fn it_is_a_small_part_of_any_disk() {
        for (total, bytes) in [(1 << 30, 16 * MIB), (20 << 40, 64 * MIB), (64 * MIB, MIB)] {
            let ballast = Ballast::open(Disk::simulated(SimDisk::new("d", 1, total)));
            assert_eq!(ballast.missing(), bytes);
        }
    }

    #[test]
    fn a_disk_that_cannot_set_room_aside_is_written_to() {
        let disk = Disk::simulated(SimDisk::new("d", 1, 64 * MIB));
        let file = disk.create("file").unwrap();
        write_all(&file, MIB + 8).unwrap();
        assert_eq!(free(&disk), 63 * MIB - 8);
        assert_eq!(file.allocated().unwrap(), MIB + 8);
    }
}
