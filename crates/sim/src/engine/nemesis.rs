//! Trouble: crashes, loss of power, full and failing disks, cuts, pauses, a control plane that is
//! gone or moves leadership for no good reason.

use super::check::Verdict;
use super::coverage::Sight;
use super::network::CONTROL;
use super::scenario::Trouble;
use super::world::{Happening, MS, World};
use partition::replica::{Event, Room};
use types::{ReplicaId, Sequence};

impl World {
    pub(super) fn trouble(&mut self) -> Verdict {
        if self.healing {
            return Ok(());
        }
        let gap = self.dice.between(20 * MS, self.scenario.trouble_gap_ns);
        self.after(gap, Happening::Trouble);
        let trouble = *self.dice.pick(&self.scenario.troubles);
        self.trace.mix(&[self.now, trouble as u64]);
        if self.trace.keeps() {
            let line = format!("{:>12.6} TROUBLE {trouble:?}", self.now as f64 / 1e9);
            self.trace.line(line);
        }
        self.make_trouble(trouble)
    }

    fn make_trouble(&mut self, trouble: Trouble) -> Verdict {
        let machine = self.dice.below(self.machines.len());
        let long = *self.dice.pick(&[300, 2500, 2500, 6000]);
        let until = self.now + self.dice.between(10, long) * MS;
        match trouble {
            Trouble::Kill => return self.kill(machine),
            Trouble::LosePower => return self.lose_power(&[machine]),
            Trouble::LosePowerEverywhere => return self.black_out(),
            Trouble::Cut | Trouble::Isolate | Trouble::IsolateFromControl => {
                self.cut(trouble, machine, until);
            }
            Trouble::IsolateLeader => self.isolate_leader(until),
            Trouble::Pause => {
                self.saw(Sight::NodePaused);
                self.machines[machine].paused_until = until;
            }
            Trouble::FillDisk => {
                self.after(until - self.now, Happening::SpaceFreed { machine });
                return self.fill(machine);
            }
            Trouble::FailAppend => {
                self.machines[machine].append_fails_until = self.now + (until - self.now) / 8;
            }
            Trouble::FailSync => {
                self.machines[machine].sync_fails_until = self.now + (until - self.now) / 8;
            }
            Trouble::SlowSync => {
                let most = *self.dice.pick(&[500, 4_000, 4_000, 20_000]);
                let long = self.dice.between(0, most) * MS;
                self.machines[machine].sync_slow_until = self.now + long;
            }
            Trouble::FailPersist => {
                self.machines[machine].persist_fails_until = self.now + (until - self.now) / 8;
            }
            Trouble::ControlPlaneGone => {
                self.saw(Sight::ControlPlaneGone);
                self.control.fail_over(until);
            }
            Trouble::MoveLeader => return self.move_leader(),
            Trouble::Usurp => {
                self.isolate_leader(until);
                return self.move_leader();
            }
            Trouble::Trim => return self.trim(machine),
            Trouble::Burst => return self.burst(),
        }
        Ok(())
    }

    fn cut(&mut self, trouble: Trouble, machine: usize, until: u64) {
        self.saw(Sight::NetworkCut);
        let others = (0..self.machines.len()).filter(|other| *other != machine);
        for other in others.collect::<Vec<_>>() {
            if trouble == Trouble::Isolate || (trouble == Trouble::Cut && self.dice.chance(400)) {
                let (there, back) = (self.dice.chance(800), self.dice.chance(800));
                if there {
                    self.network.cut(machine, other);
                }
                if back {
                    self.network.cut(other, machine);
                }
                self.break_sessions(machine, other);
            }
        }
        if trouble == Trouble::IsolateFromControl || self.dice.chance(300) {
            self.network.cut(machine, CONTROL);
            self.network.cut(CONTROL, machine);
        }
        self.after(until - self.now, Happening::Mend);
    }

    /// Drivers notice that a session broke, sooner or later.
    fn break_sessions(&mut self, one: usize, other: usize) {
        for (machine, peer) in [(one, other), (other, one)] {
            if self.dice.chance(500) {
                let delay = self.dice.between(0, 200 * MS);
                let incarnation = self.machines[machine].incarnation;
                let event = Event::Unreachable { replica: self.machines[peer].id };
                self.after(delay, Happening::Local { machine, incarnation, event });
            }
        }
    }

    /// The leader is cut off from everybody but its clients.
    fn isolate_leader(&mut self, until: u64) {
        let leader = self.control.configuration.leader;
        let Some(machine) = leader.and_then(|leader| self.host(leader)) else { return };
        self.saw(Sight::LeaderIsolated);
        for other in (0..self.machines.len()).chain([CONTROL]) {
            if other != machine {
                self.network.cut(machine, other);
                self.network.cut(other, machine);
            }
        }
        self.after(until + 2000 * MS - self.now, Happening::Mend);
    }

    /// Leadership goes away and comes back, so soon that somebody may miss the part in between.
    pub(super) fn move_back(&mut self, leader: ReplicaId) -> Verdict {
        if self.control.configuration.in_sync.contains(&leader) && self.control.appoint(leader) {
            self.saw(Sight::LeaderMovedThereAndBack);
            return self.announce();
        }
        Ok(())
    }

    /// The control plane makes another replica leader, without a reason and without waiting.
    fn move_leader(&mut self) -> Verdict {
        if self.control.gone_until > self.now {
            return Ok(());
        }
        let in_sync: Vec<_> = self.control.configuration.in_sync.iter().copied().collect();
        let leader = *self.dice.pick(&in_sync);
        let before = self.control.configuration.leader;
        if !self.control.appoint(leader) {
            return Ok(());
        }
        self.saw(Sight::LeaderMovedByHand);
        if let Some(machine) = self.host(leader) {
            let host = &self.machines[machine];
            let moment = host.moment(self.now);
            let expired = host.replica.as_ref().is_some_and(|r| r.status(moment).lease_expired);
            if !expired {
                self.saw(Sight::LeaderAppointedTooSoon);
            }
        }
        self.complicate(before, leader);
        self.announce()
    }

    /// What happens to go wrong just after leadership moved.
    fn complicate(&mut self, before: Option<ReplicaId>, leader: ReplicaId) {
        let Some(before) = before.filter(|before| *before != leader) else { return };
        let soon = self.dice.between(0, 60 * MS);
        if self.dice.chance(400) {
            self.after(soon, Happening::MoveBack { leader: before });
            if let (Some(one), Some(other)) = (self.host(before), self.host(leader))
                && self.dice.chance(500)
            {
                self.network.cut(one, other);
                self.network.cut(other, one);
                let long = self.dice.between(100, 3000) * MS;
                self.after(long, Happening::Mend);
            }
        }
        let power = self.scenario.troubles.contains(&Trouble::LosePowerEverywhere);
        if power && self.dice.chance(300) {
            self.after(soon * 5, Happening::Blackout);
        }
    }

    /// The process dies, and comes back after a while.
    fn kill(&mut self, machine: usize) -> Verdict {
        self.saw(Sight::ProcessKilled);
        let broken = self.machines[machine].disk.broken();
        self.machines[machine].kill(&mut self.dice);
        self.come_back(machine);
        if broken { self.note_loss() } else { Ok(()) }
    }

    pub(super) fn black_out(&mut self) -> Verdict {
        if self.healing {
            return Ok(());
        }
        let all: Vec<usize> = (0..self.machines.len()).collect();
        self.saw(Sight::PowerLostEverywhere);
        self.lose_power(&all)
    }

    fn lose_power(&mut self, machines: &[usize]) -> Verdict {
        for machine in machines {
            self.saw(Sight::PowerLost);
            self.machines[*machine].lose_power(&mut self.dice);
            self.come_back(*machine);
        }
        self.note_loss()
    }

    fn come_back(&mut self, machine: usize) {
        let long = *self.dice.pick(&[50, 300, 1500, 4000]);
        let delay = self.dice.between(10, long) * MS;
        self.after(delay, Happening::Start { machine });
    }

    /// Looks at what the loss of power took.
    pub(super) fn note_loss(&mut self) -> Verdict {
        let mut oracle = std::mem::take(&mut self.oracle);
        let lost = oracle.on_loss(self.in_sync_disks(), self.electable_disks());
        self.oracle = oracle;
        if lost? == 0 {
            return Ok(());
        }
        self.saw(Sight::CommittedButUnsyncedLost);
        let kept = self.oracle.committed_end();
        for (machine, host) in self.machines.iter().enumerate() {
            // Whoever is down knows only what its checkpoint knows.
            let known = host.replica.as_ref().map_or(host.disk.checkpoint, |_| host.applied);
            if known > kept {
                self.orphans[machine].get_or_insert(kept);
            }
        }
        if self.trace.keeps() {
            let line = format!(
                "{:>12.6} LOST everything after {kept:?}; orphans {:?}",
                self.now as f64 / 1e9,
                self.orphans
            );
            self.trace.line(line);
        }
        Ok(())
    }

    /// The log on a machine lets go of what its index has on disk.
    fn trim(&mut self, machine: usize) -> Verdict {
        let host = &mut self.machines[machine];
        if host.replica.is_none() || host.paused_until > self.now {
            return Ok(());
        }
        let applied = host.applied;
        host.disk.write_checkpoint(applied);
        let checkpoint = host.disk.checkpoint;
        if checkpoint == Sequence::ZERO {
            return Ok(());
        }
        let lag = self.dice.between(0, checkpoint.0.min(20));
        let start = Sequence(checkpoint.0 + 1 - lag);
        self.saw(Sight::LogTrimmed);
        self.machines[machine].disk.trim(start);
        let start = self.machines[machine].disk.log.start();
        self.step(machine, Event::LogStart { start })
    }

    /// A disk runs out of room: of that for writes, of all, or of one after the other.
    fn fill(&mut self, machine: usize) -> Verdict {
        let room = *self.dice.pick(&[Room::Enough, Room::Reserve, Room::Reserve, Room::Scarce]);
        if room == Room::Enough || self.dice.chance(400) {
            self.saw(Sight::DiskFull);
            self.machines[machine].disk.full = true;
        }
        self.say_room(machine, room)
    }

    fn say_room(&mut self, machine: usize, room: Room) -> Verdict {
        if room.is_full() {
            self.saw(Sight::ReserveOnly);
        }
        self.machines[machine].room = room;
        self.step(machine, Event::Room(room))
    }

    pub(super) fn free_space(&mut self, machine: usize) -> Verdict {
        self.machines[machine].disk.full = false;
        self.say_room(machine, Room::Enough)?;
        self.step(machine, Event::SpaceFreed)
    }

    /// The process starts, unless it runs already.
    pub(super) fn start(&mut self, machine: usize) -> Verdict {
        if self.machines[machine].replica.is_some() {
            return Ok(());
        }
        let proven = self.machines[machine].start(self.now, &mut self.dice);
        // What it had applied may have gone with its memory.
        let applied = self.machines[machine].applied;
        self.orphans[machine] = self.orphans[machine].filter(|kept| applied > *kept);
        self.saw(if proven { Sight::StartedProven } else { Sight::StartedUnproven });
        if self.trace.keeps() {
            let host = &self.machines[machine];
            let status = host.replica.as_ref().map(|r| r.status(host.moment(self.now)));
            let line = format!("{:>12.6} {:?} starts: {status:?}", self.now as f64 / 1e9, host.id);
            self.trace.line(line);
        }
        self.step(machine, Event::Room(self.machines[machine].room))
    }
}
