//! One machine: its clock, its disk, and the process that drives a replica on it.

use super::disk::Disk;
use crate::dice::Dice;
use partition::replica::{Effect, Replica, Room};
use types::{Moment, ReplicaId, Sequence};

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) id: ReplicaId,
    /// `None` while the process is down.
    pub(super) replica: Option<Replica>,
    pub(super) disk: Disk,
    /// What the node says of the disk's room; it may be full before anybody says so.
    pub(super) room: Room,
    /// Everything started by an earlier process is void.
    pub(super) incarnation: u64,
    /// Counts loss of power.
    pub(super) boot: u64,
    /// The process gets no time before this.
    pub(super) paused_until: u64,
    /// What the state machine has applied.
    pub(super) applied: Sequence,
    /// The tick that is scheduled, so that not every step schedules one.
    pub(super) tick_at: Option<u64>,
    pub(super) append_fails_until: u64,
    pub(super) sync_fails_until: u64,
    pub(super) sync_slow_until: u64,
    pub(super) persist_fails_until: u64,
    offset_ns: u64,
    drift_per_mille: i64,
    /// Kept between steps, so that stepping allocates nothing.
    pub(super) effects: Vec<Effect>,
}

impl Machine {
    pub(super) fn new(id: ReplicaId, drift_per_mille: u64, dice: &mut Dice) -> Machine {
        let drift = dice.between(0, drift_per_mille * 2) as i64 - drift_per_mille as i64;
        Machine {
            id,
            replica: None,
            disk: Disk::default(),
            room: Room::Enough,
            incarnation: 0,
            boot: 1,
            paused_until: 0,
            applied: Sequence::ZERO,
            tick_at: None,
            append_fails_until: 0,
            sync_fails_until: 0,
            sync_slow_until: 0,
            persist_fails_until: 0,
            offset_ns: 0,
            drift_per_mille: drift,
            effects: Vec::new(),
        }
    }

    /// Starts the process on what the disk has.
    pub(super) fn start(&mut self, now: u64, dice: &mut Dice) -> bool {
        self.incarnation += 1;
        self.tick_at = None;
        self.offset_ns = dice.between(0, 1 << 40);
        let persisted = self.disk.recover(self.boot, dice);
        self.applied = persisted.applied;
        let proven = persisted.proven;
        let moment = self.moment(now);
        self.replica = Some(Replica::recover(self.id, persisted, moment));
        proven
    }

    /// The process dies; what it had started is void.
    pub(super) fn kill(&mut self, dice: &mut Dice) {
        self.replica = None;
        self.incarnation += 1;
        if self.disk.broken() {
            self.disk.lose_power(dice);
        }
    }

    /// The whole machine loses power.
    pub(super) fn lose_power(&mut self, dice: &mut Dice) {
        self.kill(dice);
        self.disk.lose_power(dice);
        self.boot += 1;
    }

    /// Begins a new copy on an empty disk.
    pub(super) fn wipe(&mut self, id: ReplicaId) {
        self.replica = None;
        self.incarnation += 1;
        self.id = id;
        self.applied = Sequence::ZERO;
        let full = self.disk.full;
        self.disk = Disk::default();
        self.disk.full = full;
    }

    /// What this machine's clock shows.
    pub(super) fn moment(&self, now: u64) -> Moment {
        let drift = i128::from(now) * i128::from(self.drift_per_mille) / 1000;
        Moment((i128::from(self.offset_ns) + i128::from(now) + drift) as u64)
    }

    /// How long, in truth, until this machine's clock shows `then`.
    pub(super) fn until(&self, now: u64, then: Moment) -> u64 {
        let local = then.0.saturating_sub(self.moment(now).0);
        local * 1000 / (1000 + self.drift_per_mille) as u64 + 1
    }
}
