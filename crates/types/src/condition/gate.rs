//! How the node that has a disk decides on the state of its space. Pure: it is told measurements.

use super::evidence::{Evidence, Probe, Room};
use super::fact::{Reason, State};

/// The space of one disk, as its node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gate {
    state: State,
    reason: Reason,
    /// What the state rests on.
    evidence: Evidence,
    /// The probe that ended `full` the last time.
    probe: Probe,
}

impl Gate {
    /// Begins in the state that is on record. A start proves nothing about room.
    #[must_use]
    pub fn new(state: State) -> Gate {
        let state = if matches!(state, State::Low | State::Full) { state } else { State::Ok };
        let reason = if state == State::Ok { Reason::RoomEnough } else { Reason::BelowLowMark };
        Gate { state, reason, evidence: Evidence::Answered, probe: Probe::NotTried }
    }

    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    #[must_use]
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// Whether a measurement would end `full` if a probe write worked too.
    #[must_use]
    pub fn wants_probe(&self, room: &Room) -> bool {
        self.state == State::Full && room.marks.leaves_full(room.free, room.inodes_free)
    }

    /// Takes a measurement.
    pub fn measured(&mut self, mut room: Room) {
        let (state, reason) = self.next(&room);
        if state == State::Full {
            self.probe = Probe::NotTried;
        } else if self.state == State::Full {
            self.probe = room.probe;
        } else {
            room.probe = self.probe;
        }
        // What closed the gate stays its evidence until something opens it; figures are kept fresh.
        let refused = matches!(self.evidence, Evidence::WriteRefused { .. });
        if state == State::Full && self.state == State::Full && refused {
            return;
        }
        (self.state, self.reason, self.evidence) = (state, reason, Evidence::Room(room));
    }

    fn next(&self, room: &Room) -> (State, Reason) {
        let marks = &room.marks;
        if marks.bytes_full(room) {
            return (State::Full, Reason::BelowReserve);
        }
        if marks.inodes_full(room) {
            return (State::Full, Reason::InodesGone);
        }
        let probed = matches!(room.probe, Probe::Worked { .. });
        let proved = probed && marks.leaves_full(room.free, room.inodes_free);
        if self.state == State::Full && !proved {
            return (State::Full, self.reason);
        }
        let was_low = self.state != State::Ok;
        let low = marks.bytes_low(room) || marks.inodes_low(room);
        if low || (was_low && !marks.leaves_low(room)) {
            let inodes = marks.inodes_low(room) && !marks.bytes_low(room);
            return (State::Low, if inodes { Reason::InodesLow } else { Reason::BelowLowMark });
        }
        let proved = self.state == State::Full;
        (State::Ok, if proved { Reason::RoomProved } else { Reason::RoomEnough })
    }

    /// The file system refused a write for want of room.
    pub fn refused(&mut self, error: String, quota: bool) {
        self.state = State::Full;
        self.probe = Probe::NotTried;
        self.reason = if quota { Reason::QuotaExceeded } else { Reason::WriteRefused };
        self.evidence = Evidence::WriteRefused { error };
    }
}
