//! The space of this node's disks: measured, decided upon, proved.
//!
//! A disk is measured again and again (it costs a microsecond). Below its reserve it is full: writes of
//! clients are refused before the file system has to, so that deletes, names and elections still have
//! room to be written down. It takes writes again when there is clearly more room **and** a probe file
//! of real bytes reached the disk; a restart begins with what the control plane has on record, because a
//! start proves nothing about room. [`types::condition::Gate`] decides; this measures and probes.

use std::io::{self, IoSlice};
use types::condition::{Evidence, Gate, Marks, Probe, Room, State};
use types::limits::{
    ROOM_BYTES_MIN, ROOM_PROBE_BYTES, ROOM_PROBE_INTERVAL, SPACE_MEASURE_INTERVAL,
};
use types::{DiskId, Moment};
use wire::control::{DiskReport, DiskState};
use world::Disk;
use world::kv::Database;

/// Name of the probe file, at the root of a disk.
const PROBE_FILE: &str = "probe";

/// Watermarks that somebody set for a disk. Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watermarks {
    pub reserve: Option<u64>,
    pub low: Option<u64>,
}

/// The space of one disk.
#[derive(Debug)]
pub struct DiskSpace {
    pub id: DiskId,
    disk: Disk,
    /// The index, which takes its room there too.
    database: Database,
    chosen: Watermarks,
    gate: Gate,
    /// The last measurement, or why there was none.
    last: Result<Room, String>,
    measured: Option<Moment>,
    probed: Option<Moment>,
    /// A probe is under way.
    probing: bool,
}

impl DiskSpace {
    /// Goes on from what is on record.
    #[must_use]
    pub fn new(
        id: DiskId,
        (disk, database): (Disk, Database),
        chosen: Watermarks,
        on_record: State,
    ) -> DiskSpace {
        let gate = Gate::new(on_record);
        let last = Err("it was not measured yet".to_owned());
        DiskSpace {
            id,
            disk,
            database,
            chosen,
            gate,
            last,
            measured: None,
            probed: None,
            probing: false,
        }
    }

    #[must_use]
    pub fn is_full(&self) -> bool {
        self.gate.state() == State::Full
    }

    /// Why it is full, for those who are refused.
    #[must_use]
    pub fn words(&self) -> String {
        format!("disk {} is out of space: {}", self.id, self.gate.evidence())
    }

    /// Least room with which a replica that could not write tries again.
    #[must_use]
    pub fn retry_bytes(&self) -> u64 {
        let reserve = self.last.as_ref().map_or(u64::MAX, |room| room.marks.full_bytes);
        ROOM_BYTES_MIN.min(reserve / 2)
    }

    /// How much room there is, for the replicas.
    #[must_use]
    pub fn room(&self) -> partition::replica::Room {
        use partition::replica::Room;
        let scarce = |room: &types::condition::Room| {
            let inodes = room.inodes_free.is_some_and(|free| free < room.marks.full_inodes / 2);
            room.free < room.marks.full_bytes / 2 || inodes
        };
        match &self.last {
            _ if !self.is_full() => Room::Enough,
            Ok(room) if scarce(room) => Room::Scarce,
            _ => Room::Reserve,
        }
    }

    /// Measures, if it is time. Says whether something changed that replicas should know.
    pub fn measure(&mut self, now: Moment) -> bool {
        if self.measured.is_some_and(|at| now.since(at) < SPACE_MEASURE_INTERVAL) {
            return false;
        }
        self.measured = Some(now);
        self.take(Probe::NotTried)
    }

    fn take(&mut self, probe: Probe) -> bool {
        let (before, room) = (self.gate.state(), self.room());
        self.last = self.look(probe).map_err(|error| error.to_string());
        if let Ok(room) = self.last {
            self.gate.measured(room);
        }
        let after = self.gate.state();
        if before != after {
            let evidence = self.gate.evidence();
            tracing::warn!(disk = %self.id, from = %before, to = %after, %evidence, "space of a disk");
        }
        before != after || room != self.room()
    }

    fn look(&self, probe: Probe) -> io::Result<Room> {
        let space = self.disk.space()?;
        let marks = self.marks(space.total);
        let (free, total, inodes_free) = (space.free, space.total, space.inodes_free);
        Ok(Room { free, total, inodes_free, marks, probe })
    }

    fn marks(&self, total: u64) -> Marks {
        let default = Marks::of(total);
        let reserve = self.chosen.reserve.unwrap_or(default.full_bytes);
        Marks::with(reserve, self.chosen.low.unwrap_or(default.low_bytes))
    }

    /// Whether so much may be taken for something else, and the disk is as it was afterwards.
    #[must_use]
    pub fn can_spare(&self, bytes: u64) -> bool {
        let Ok(room) = &self.last else { return false };
        let inodes = room.inodes_free.is_none_or(|free| free > room.marks.full_leave_inodes + 16);
        !self.is_full() && room.free >= bytes.saturating_add(room.marks.full_leave_bytes) && inodes
    }

    /// The probe to run now, elsewhere, as it blocks; [`DiskSpace::probed`] is told how it went.
    pub fn wants_probe(&mut self, now: Moment) -> Option<ProbeJob> {
        let room = self.last.as_ref().ok()?;
        let rests = self.probed.is_some_and(|at| now.since(at) < ROOM_PROBE_INTERVAL);
        if self.probing || rests || !self.gate.wants_probe(room) {
            return None;
        }
        self.probing = true;
        Some(ProbeJob {
            disk: self.disk.clone(),
            database: self.database.clone(),
            reserve: ROOM_BYTES_MIN.min(room.marks.full_bytes),
        })
    }

    /// A probe has ended. Says whether the state changed.
    pub fn probed(&mut self, now: Moment, result: io::Result<()>) -> bool {
        (self.probing, self.probed, self.measured) = (false, Some(now), Some(now));
        let probe = match (&result, self.disk.space()) {
            (Ok(()), Ok(space)) => Probe::Worked {
                bytes: ROOM_PROBE_BYTES as u64,
                free: space.free,
                inodes_free: space.inodes_free,
            },
            _ => Probe::Refused,
        };
        if let Err(error) = result {
            tracing::debug!(disk = %self.id, %error, "a probe write was refused");
        }
        self.take(probe)
    }

    /// A write on this disk was refused for want of room. Says whether the state changed.
    pub fn refused(&mut self, error: &str) -> bool {
        let before = self.gate.state();
        let quota = error.to_lowercase().contains("quota");
        self.gate.refused(error.to_owned(), quota);
        if before != State::Full {
            tracing::warn!(disk = %self.id, from = %before, to = "full", error, "space of a disk");
        }
        before != State::Full
    }

    /// What to tell the control plane.
    #[must_use]
    pub fn report(&self) -> DiskReport {
        let disk = self.id.0;
        let room = match &self.last {
            Ok(room) => room,
            Err(reason) => {
                let (state, reason) = (DiskState::Failed.into(), reason.clone());
                return DiskReport { disk, state, reason, ..DiskReport::default() };
            }
        };
        let state = match self.gate.state() {
            State::Full => DiskState::Full,
            State::Low => DiskState::Low,
            _ => DiskState::Ok,
        };
        let well = state == DiskState::Ok;
        DiskReport {
            disk,
            state: state.into(),
            free: room.free.saturating_sub(room.marks.full_bytes),
            total: room.total,
            reason: if well { String::new() } else { self.gate.evidence().to_string() },
            space: wire::condition::Space::of(self.gate.reason(), &self.evidence(room)),
        }
    }

    /// What the state rests on; the last measurement where a start left nothing else.
    fn evidence<'a>(&'a self, room: &'a Room) -> std::borrow::Cow<'a, Evidence> {
        match self.gate.evidence() {
            Evidence::Answered => std::borrow::Cow::Owned(Evidence::Room(*room)),
            evidence => std::borrow::Cow::Borrowed(evidence),
        }
    }
}

/// A probe write: a file of its own, with room asked for, real bytes, and a sync. An index that had no
/// room to write, and has stopped since, must go on as well.
#[derive(Debug)]
pub struct ProbeJob {
    disk: Disk,
    database: Database,
    /// Room to ask for: a quota, or somebody else, may leave less than what is free.
    reserve: u64,
}

impl ProbeJob {
    /// Blocks for as long as one sync.
    ///
    /// # Errors
    /// What the file system says.
    pub fn run(&self) -> io::Result<()> {
        self.disk.remove_if_present(PROBE_FILE)?;
        let tried = self.disk.create(PROBE_FILE).and_then(|file| {
            match file.reserve(self.reserve) {
                // A file system that cannot set room aside is asked by writing alone.
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
                reserved => reserved?,
            }
            file.write_at(0, &mut [IoSlice::new(&[0; ROOM_PROBE_BYTES])])?;
            file.sync()
        });
        self.disk.remove_if_present(PROBE_FILE)?;
        tried?;
        self.database.reopen().map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use world::disk::sim::SimDisk;

    const MIB: u64 = 1 << 20;

    fn fill(disk: &Disk, name: &str, mib: u64) {
        let file = disk.create(name).unwrap();
        file.write_at(0, &mut [IoSlice::new(&vec![1; usize::try_from(mib * MIB).unwrap()])])
            .unwrap();
    }

    fn space(disk: &Disk, on_record: State) -> DiskSpace {
        let both = (disk.clone(), Database::simulated());
        DiskSpace::new(DiskId(1), both, Watermarks::default(), on_record)
    }

    fn probe(space: &mut DiskSpace, now: Moment) -> bool {
        let job = space.wants_probe(now).expect("there is room to be proved");
        let result = job.run();
        space.probed(now, result)
    }

    #[test]
    fn a_disk_is_full_before_it_is_and_opens_after_a_probe() {
        let disk = Disk::simulated(SimDisk::new("d", 1, 64 * MIB));
        let (mut space, mut now) = (space(&disk, State::Ok), Moment(1 << 40));
        let mut later = || {
            now = now + Duration::from_secs(2);
            now
        };
        assert!(!space.measure(later()));
        fill(&disk, "a", 58);
        assert!(space.measure(later()) && space.is_full());
        assert_eq!(space.report().state(), DiskState::Full);
        assert!(space.wants_probe(later()).is_none(), "there is no room to be proved");
        disk.remove("a").unwrap();
        fill(&disk, "b", 54);
        assert!(!space.measure(later()) && space.is_full(), "10 MiB are more, and not enough");
        disk.remove("b").unwrap();
        assert!(!space.measure(later()) && space.is_full(), "nothing was proved");
        assert!(probe(&mut space, later()) && !space.is_full());
        assert_eq!(space.report().state(), DiskState::Ok);
        assert_eq!(disk.list(".").unwrap(), Vec::<String>::new(), "the probe was removed");
    }

    #[test]
    fn a_start_proves_nothing_and_a_refused_write_closes() {
        let disk = Disk::simulated(SimDisk::new("d", 1, 64 * MIB));
        let now = Moment(1 << 40);
        let mut started = space(&disk, State::Full);
        assert!(!started.measure(now) && started.is_full());
        assert!(probe(&mut started, now) && !started.is_full());

        assert!(started.refused("Disk quota exceeded (os error 122)"));
        let report = started.report();
        let (reason, _) = report.space.unwrap().evidence(State::Full).unwrap();
        assert_eq!(reason, types::condition::Reason::QuotaExceeded);
        let later = now + Duration::from_secs(2);
        started.measure(later);
        assert!(started.is_full(), "what is free is not what a quota allows");
        assert!(probe(&mut started, later) && !started.is_full());
    }

    #[test]
    fn marks_that_were_chosen_are_kept_to() {
        let disk = Disk::simulated(SimDisk::new("d", 1, 64 * MIB));
        let chosen = Watermarks { reserve: Some(40 * MIB), low: Some(62 * MIB) };
        let mut space =
            DiskSpace::new(DiskId(1), (disk.clone(), Database::simulated()), chosen, State::Ok);
        fill(&disk, "a", 3);
        space.measure(Moment(1 << 40));
        assert_eq!(space.report().state(), DiskState::Low);
        fill(&disk, "b", 22);
        space.measure(Moment(1 << 41));
        assert!(space.is_full());
    }
}
