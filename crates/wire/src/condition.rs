//! How disks are, with the evidence, as their nodes report it.

use types::condition::{self, Evidence, Marks, Probe, Reason, State};

/// How a probe write went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum ProbeOutcome {
    NotTried = 0,
    Worked = 1,
    Refused = 2,
}

/// The room of a disk, measured.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Room {
    /// Bytes, the reserve counted.
    #[prost(uint64, tag = "1")]
    pub free: u64,
    #[prost(uint64, tag = "2")]
    pub total: u64,
    /// Absent where the file system has no such limit.
    #[prost(uint64, optional, tag = "3")]
    pub inodes_free: Option<u64>,
    /// In the order of [`Marks`].
    #[prost(uint64, repeated, tag = "4")]
    pub marks: Vec<u64>,
    #[prost(enumeration = "ProbeOutcome", tag = "5")]
    pub probe: i32,
    /// Bytes of the probe that worked, and what was free then.
    #[prost(uint64, tag = "6")]
    pub probe_bytes: u64,
    #[prost(uint64, tag = "7")]
    pub probe_free: u64,
    #[prost(uint64, optional, tag = "8")]
    pub probe_inodes_free: Option<u64>,
}

/// What a node knows of the space of one of its disks.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Space {
    /// A word of [`Reason`].
    #[prost(string, tag = "1")]
    pub reason: String,
    #[prost(message, optional, tag = "2")]
    pub room: Option<Room>,
    /// Instead of `room`: the words with which the file system refused a write.
    #[prost(string, tag = "3")]
    pub refused: String,
}

/// What a disk can still do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum DiskState {
    Unspecified = 0,
    /// Takes new data.
    Ok = 1,
    /// Below its low watermark: takes writes to what it has, and no new replicas.
    Low = 2,
    /// No room: takes reads and deletes.
    Full = 3,
    /// Gone or broken: what is on it is not listed, which says nothing about whether it is there.
    Failed = 4,
}

/// One disk, as its node sees it now.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct DiskReport {
    #[prost(uint64, tag = "1")]
    pub disk: u64,
    #[prost(enumeration = "DiskState", tag = "2")]
    pub state: i32,
    /// Bytes that can still be written, the reserve not counted.
    #[prost(uint64, tag = "3")]
    pub free: u64,
    /// Size in bytes.
    #[prost(uint64, tag = "4")]
    pub total: u64,
    /// Why the state is not ok.
    #[prost(string, tag = "5")]
    pub reason: String,
    /// What is known of its space; absent from a disk that failed, and from older nodes.
    #[prost(message, optional, tag = "6")]
    pub space: Option<Space>,
}

impl Space {
    /// What a node says. `None` where the evidence is of another kind.
    #[must_use]
    pub fn of(reason: Reason, evidence: &Evidence) -> Option<Space> {
        let (room, refused) = match evidence {
            Evidence::Room(room) => (Some(Room::from(room)), String::new()),
            Evidence::WriteRefused { error } => (None, error.clone()),
            _ => return None,
        };
        Some(Space { reason: reason.word().to_owned(), room, refused })
    }

    /// The reason, as well as this program knows it, and the evidence; `None` when there is none.
    #[must_use]
    pub fn evidence(&self, state: State) -> Option<(Reason, Evidence)> {
        let known = Reason::ALL.iter().find(|reason| reason.word() == self.reason);
        let reason = known.copied().unwrap_or(match state {
            State::Full => Reason::BelowReserve,
            State::Low => Reason::BelowLowMark,
            _ => Reason::RoomEnough,
        });
        let evidence = match &self.room {
            Some(room) => Evidence::Room(room.decode()?),
            None if self.refused.is_empty() => return None,
            None => Evidence::WriteRefused { error: self.refused.clone() },
        };
        Some((reason, evidence))
    }
}

impl From<&condition::Room> for Room {
    fn from(room: &condition::Room) -> Room {
        let m = &room.marks;
        let (probe, bytes, free, inodes) = match room.probe {
            Probe::NotTried => (ProbeOutcome::NotTried, 0, 0, None),
            Probe::Refused => (ProbeOutcome::Refused, 0, 0, None),
            Probe::Worked { bytes, free, inodes_free } => {
                (ProbeOutcome::Worked, bytes, free, inodes_free)
            }
        };
        Room {
            free: room.free,
            total: room.total,
            inodes_free: room.inodes_free,
            marks: vec![
                m.full_bytes,
                m.full_leave_bytes,
                m.low_bytes,
                m.low_leave_bytes,
                m.full_inodes,
                m.full_leave_inodes,
                m.low_inodes,
                m.low_leave_inodes,
            ],
            probe: probe.into(),
            probe_bytes: bytes,
            probe_free: free,
            probe_inodes_free: inodes,
        }
    }
}

impl Room {
    fn decode(&self) -> Option<condition::Room> {
        let marks = <[u64; 8]>::try_from(self.marks.as_slice()).ok()?;
        let [full_bytes, full_leave_bytes, low_bytes, low_leave_bytes, ..] = marks;
        let [.., full_inodes, full_leave_inodes, low_inodes, low_leave_inodes] = marks;
        let probe = match self.probe() {
            ProbeOutcome::NotTried => Probe::NotTried,
            ProbeOutcome::Refused => Probe::Refused,
            ProbeOutcome::Worked => Probe::Worked {
                bytes: self.probe_bytes,
                free: self.probe_free,
                inodes_free: self.probe_inodes_free,
            },
        };
        Some(condition::Room {
            free: self.free,
            total: self.total,
            inodes_free: self.inodes_free,
            marks: Marks {
                full_bytes,
                full_leave_bytes,
                low_bytes,
                low_leave_bytes,
                full_inodes,
                full_leave_inodes,
                low_inodes,
                low_leave_inodes,
            },
            probe,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    #[test]
    fn evidence_survives_the_wire() {
        let room = |probe| condition::Room {
            free: 5,
            total: 1 << 30,
            inodes_free: Some(7),
            marks: Marks::of(1 << 30),
            probe,
        };
        let worked = Probe::Worked { bytes: 1, free: 2, inodes_free: None };
        for evidence in [
            Evidence::Room(room(Probe::NotTried)),
            Evidence::Room(room(Probe::Refused)),
            Evidence::Room(room(worked)),
            Evidence::WriteRefused { error: "no space left".into() },
        ] {
            let sent = Space::of(Reason::InodesGone, &evidence).unwrap().encode_to_vec();
            let got = Space::decode(sent.as_slice()).unwrap();
            assert_eq!(got.evidence(State::Full), Some((Reason::InodesGone, evidence)));
        }
        assert_eq!(Space::of(Reason::Heard, &Evidence::Heard), None);
        let hostile = Space { room: Some(Room::default()), ..Space::default() };
        assert_eq!(hostile.evidence(State::Ok), None);
    }
}
