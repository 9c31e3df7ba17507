//! Trouble: crashes, loss of power, cuts, slow links, full and failing disks, rot.

use super::control::Seat;
use super::harness::{Happening, Harness};
use super::machine::{DISK_BYTES, Role};
use super::scenario::Trouble;
use std::time::Duration;
use types::limits::PEER_SILENCE_MAX;
use types::volume::Durability;
use world::Disk;
use world::disk::sim::Faults;

impl Harness<'_> {
    /// Makes trouble, and says when there will be more.
    pub(super) fn trouble(&mut self) {
        let gap_ms = u64::try_from(self.scenario.gap.as_millis()).unwrap_or(1_000);
        let gap = self.dice.between(20, gap_ms);
        self.after(Duration::from_millis(gap), Happening::Trouble);
        let trouble = *self.dice.pick(&self.scenario.troubles.clone());
        self.history.note(&format!("TROUBLE {trouble:?}"));
        let node = Role::Node(1 + self.dice.below(self.scenario.nodes));
        let control = Role::Control(1 + self.dice.below(self.scenario.members));
        match trouble {
            Trouble::KillNode => self.kill(node),
            Trouble::KillControl => self.kill(control),
            Trouble::KillClient => {
                let client = Role::Client(1 + self.dice.below(self.scenario.clients));
                self.kill(client);
            }
            Trouble::KillControlLeader => {
                if let Some(leader) = self.control_leader() {
                    self.kill(leader);
                }
            }
            Trouble::KillAll => self.everybody().into_iter().for_each(|role| self.kill(role)),
            Trouble::LosePowerNode => {
                let synced = self.scenario.durability == Durability::Synced;
                let node = if synced { node } else { Role::Node(1 + self.scenario.powerless) };
                self.lose_power(node);
            }
            Trouble::LosePowerControl => self.lose_power(control),
            Trouble::Blackout => {
                self.everybody().into_iter().for_each(|role| self.lose_power(role));
                self.history.note_blackout();
            }
            Trouble::Cut | Trouble::IsolateNode | Trouble::IsolateControl | Trouble::Split => {
                self.make_cuts(trouble, node, control);
            }
            Trouble::SlowLink => self.slow_down(),
            Trouble::FillDisk => self.fill(node),
            Trouble::FillControl => self.fill(control),
            Trouble::RefuseRoom => self.refuse_room(node),
            Trouble::RefuseRoomControl => self.refuse_room(control),
            Trouble::FailWrites => {
                self.fail(node, Faults { write_error: 0.3, ..Faults::default() })
            }
            Trouble::FailSyncs => self.fail(node, Faults { sync_error: 0.3, ..Faults::default() }),
            Trouble::FailReads => self.fail(node, Faults { read_error: 0.3, ..Faults::default() }),
            Trouble::Rot => self.rot(Role::Node(1 + self.scenario.powerless)),
        }
    }

    /// Something of the control plane fails, and comes back.
    pub(super) fn trouble_the_control_plane(&mut self) {
        let Some(leader) = self.control_leader() else { return };
        match self.dice.below(4) {
            0 => {}
            1 => self.kill(leader),
            2 => self.make_cuts(Trouble::IsolateControl, leader, leader),
            _ => (1..=self.scenario.members).for_each(|member| self.kill(Role::Control(member))),
        }
    }

    fn long(&mut self) -> Duration {
        let most = *self.dice.pick(&[300, 2_500, 6_000]);
        Duration::from_millis(self.dice.between(20, most))
    }

    fn control_leader(&mut self) -> Option<Role> {
        let leads = |seat: &Seat| {
            let member = seat.lock().expect("no holder panics").upgrade();
            member.is_some_and(|member| member.leads())
        };
        let found = self.seats.iter().position(leads);
        found.map(|index| Role::Control(index + 1))
    }

    /// The process dies, and comes back after a while.
    pub(super) fn kill(&mut self, role: Role) {
        if let Some(kept) = self.begin_to_die(role) {
            self.machine(role).kill(kept);
            self.die(role);
        }
    }

    fn lose_power(&mut self, role: Role) {
        if let Some(kept) = self.begin_to_die(role) {
            self.machine(role).lose_power(kept);
            self.die(role);
        }
    }

    /// How much of what the index was told lately a crash leaves; `None` when it is down already.
    fn begin_to_die(&mut self, role: Role) -> Option<usize> {
        if !self.machine(role).is_up() {
            return None;
        }
        let unpersisted = self.machine(role).unpersisted();
        Some(self.dice.below(unpersisted + 1))
    }

    fn die(&mut self, role: Role) {
        // The disk is fenced already: what destructors still do comes to nothing.
        self.sim.crash(role.name());
        self.history.note(&format!("{} is down", role.name()));
        let long = self.long();
        self.after(long, Happening::Start(role));
    }

    fn make_cuts(&mut self, trouble: Trouble, node: Role, control: Role) {
        let all = self.everybody();
        let long = self.long();
        let pairs: Vec<(Role, Role)> = match trouble {
            Trouble::Cut => {
                let one = *self.dice.pick(&all);
                let other = *self.dice.pick(&all);
                vec![(one, other)]
            }
            Trouble::Split => {
                let (mut left, mut right) = (Vec::new(), Vec::new());
                for role in all {
                    if self.dice.chance(500) { left.push(role) } else { right.push(role) }
                }
                left.iter().flat_map(|one| right.iter().map(|other| (*one, *other))).collect()
            }
            _ => {
                let alone = if trouble == Trouble::IsolateNode { node } else { control };
                // Sometimes clients still reach it: those are the interesting ones.
                let clients_too = self.dice.chance(500);
                let far = |role: &Role| clients_too || !matches!(role, Role::Client(_));
                all.into_iter().filter(far).map(|other| (alone, other)).collect()
            }
        };
        for (one, other) in pairs.into_iter().filter(|(one, other)| one != other) {
            self.cut(one, other, long);
        }
    }

    fn cut(&mut self, one: Role, other: Role, long: Duration) {
        let link = (one.min(other), one.max(other));
        let until = self.sim.elapsed() + long;
        self.sim.hold(link.0.name(), link.1.name());
        let cut = self.cuts.entry(link).or_insert((self.sim.elapsed(), until));
        cut.1 = cut.1.max(until);
        self.after(long, Happening::Mend(link));
        self.after(PEER_SILENCE_MAX, Happening::GiveUp(link));
    }

    /// Connections over a link that has been cut for long are given up by their ends.
    pub(super) fn give_up(&mut self, link: (Role, Role)) {
        let now = self.sim.elapsed();
        if self.cuts.get(&link).is_some_and(|(since, _)| *since + PEER_SILENCE_MAX <= now) {
            let ends = (self.sim.lookup(link.0.name()), self.sim.lookup(link.1.name()));
            let severed = self.site.fabric.sever(ends.0, ends.1);
            self.history.note(&format!("{link:?}: {severed} ends given up"));
        }
    }

    pub(super) fn mend(&mut self, link: (Role, Role)) {
        let now = self.sim.elapsed();
        if self.cuts.get(&link).is_some_and(|(_, until)| *until <= now) {
            self.cuts.remove(&link);
            self.sim.release(link.0.name(), link.1.name());
        }
    }

    fn slow_down(&mut self) {
        let all = self.everybody();
        let (one, other) = (*self.dice.pick(&all), *self.dice.pick(&all));
        if one == other {
            return;
        }
        let slow = Duration::from_millis(*self.dice.pick(&[30, 200, 800]));
        self.sim.set_link_max_message_latency(one.name(), other.name(), slow);
        let long = self.long();
        self.after(long, Happening::Hasten((one, other)));
    }

    pub(super) fn hasten(&mut self, link: (Role, Role)) {
        let usual = self.scenario.latency_max;
        self.sim.set_link_max_message_latency(link.0.name(), link.1.name(), usual);
    }

    fn fill(&mut self, node: Role) {
        let disk = self.machine(node).sim_disk();
        let Ok(space) = Disk::simulated(disk.clone()).space() else { return };
        let mut used = space.total - space.free;
        // Every other time whatever is let go of is somebody else's at once.
        if self.dice.below(2) == 0 {
            used = used.saturating_sub(disk.set_aside());
        }
        disk.set_capacity(used + self.dice.between(0, 20_000));
        let long = self.long();
        self.after(long, Happening::Free(node));
    }

    pub(super) fn free(&mut self, node: Role) {
        self.machine(node).sim_disk().set_capacity(DISK_BYTES);
    }

    /// Nobody sees to it: whoever found no room goes on by itself when there is some.
    fn refuse_room(&mut self, role: Role) {
        let faults = Faults { no_space: 0.3, ..Faults::default() };
        self.machine(role).sim_disk().set_faults(faults);
        let long = self.long() / 2;
        self.after(long, Happening::Work(role));
    }

    fn fail(&mut self, node: Role, faults: Faults) {
        self.machine(node).sim_disk().set_faults(faults);
        self.worn.insert(node);
        let long = self.long() / 4;
        self.after(long, Happening::Work(node));
    }

    pub(super) fn work_again(&mut self, node: Role) {
        self.machine(node).sim_disk().set_faults(Faults::default());
    }

    fn rot(&mut self, node: Role) {
        let disk = self.machine(node).sim_disk();
        let logs: Vec<String> =
            disk.paths().into_iter().filter(|path| path.ends_with(".segment")).collect();
        if logs.is_empty() {
            return;
        }
        let path = self.dice.pick(&logs).clone();
        let view = Disk::simulated(disk.clone());
        let length = view.open(&path).and_then(|file| file.len()).unwrap_or(0);
        if length > 0 {
            let offset = self.dice.between(0, length - 1);
            disk.flip_bit(&path, offset, self.dice.below(8) as u8);
            self.history.note(&format!("{}: {path} rots at {offset}", node.name()));
        }
    }
}
