//! The world of one run: a queue of happenings in simulated time, and everything they happen to.
//!
//! A run has two halves. First there is trouble, and only safety is demanded. Then everything is
//! mended, and within [`HEALING_NS_MAX`] the partition must serve again, with all replicas in sync
//! and everything that was ever committed on each of them.

use super::check::{Oracle, Verdict, Violation};
use super::control::Control;
use super::coverage::{Coverage, Sight};
use super::disk::Mark;
use super::machine::Machine;
use super::network::{CONTROL, Network, Weather};
use super::scenario::Scenario;
use super::trace::Trace;
use crate::dice::Dice;
use partition::replica::{Append, Change, Event, Message, Position, Status};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use types::limits::HEARTBEAT_INTERVAL;
use types::{Configuration, Epoch, ReplicaId, Sequence};

pub(super) const MS: u64 = 1_000_000;

/// Time within which everything must work again once the last trouble is over.
pub(super) const HEALING_NS_MAX: u64 = 60_000 * MS;

/// Something that will happen at a time.
#[derive(Debug)]
pub(super) enum Happening {
    Deliver { to: ReplicaId, from: ReplicaId, message: Message },
    Tick { machine: usize, incarnation: u64 },
    Local { machine: usize, incarnation: u64, event: Event },
    SyncDone { machine: usize, incarnation: u64, mark: Mark, fails: bool },
    Persisted { machine: usize, incarnation: u64, epoch: Epoch, stored: Option<Configuration> },
    ReadLog { machine: usize, incarnation: u64, to: ReplicaId, append: Append, upto: Sequence },
    SnapshotRead { machine: usize, incarnation: u64, to: ReplicaId, epoch: Epoch },
    SnapshotArrives { from: ReplicaId, to: ReplicaId, epoch: Epoch, at: Position },
    SnapshotInstalls { machine: usize, incarnation: u64, at: Position },
    Start { machine: usize },
    Heartbeat { machine: usize },
    Report { number: u64, replica: ReplicaId, status: Status },
    Request { epoch: Epoch, change: Change },
    Fetch { machine: usize },
    Configure { machine: usize, configuration: Configuration },
    ControlTick,
    Client { client: usize },
    Trouble,
    SpaceFreed { machine: usize },
    MoveBack { leader: ReplicaId },
    Blackout,
    Mend,
    Heal,
    HealthCheck,
}

#[derive(Debug, Default)]
struct Queue {
    order: u64,
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    slots: Vec<Option<Happening>>,
    free: Vec<usize>,
}

impl Queue {
    fn push(&mut self, at: u64, happening: Happening) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(happening);
        self.order += 1;
        self.heap.push(Reverse((at, self.order, slot)));
    }

    fn pop(&mut self) -> Option<(u64, Happening)> {
        let Reverse((at, _, slot)) = self.heap.pop()?;
        self.free.push(slot);
        self.slots[slot].take().map(|happening| (at, happening))
    }
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) now: u64,
    queue: Queue,
    pub(super) dice: Dice,
    pub(super) scenario: Scenario,
    pub(super) machines: Vec<Machine>,
    /// For machines whose copy knows of commits that a loss of power everywhere took back: the last
    /// place that was not taken back.
    pub(super) orphans: Vec<Option<Sequence>>,
    /// Promotions asked for, by epoch: each may be granted while the epoch stands.
    pub(super) promised: Vec<(Epoch, ReplicaId)>,
    pub(super) network: Network,
    pub(super) control: Control,
    pub(super) oracle: Oracle,
    pub(super) coverage: Coverage,
    pub(super) trace: Trace,
    pub(super) healing: bool,
    pub(super) health: super::healing::Health,
    /// The replica each client believes to be leader.
    pub(super) beliefs: Vec<usize>,
    report_number: u64,
    done: bool,
}

impl World {
    pub(super) fn new(seed: u64, keep_trace: bool) -> World {
        let mut dice = Dice::new(seed);
        let scenario = Scenario::draw(&mut dice);
        let control = Control::new(scenario.machines, scenario.durability, scenario.in_sync_min);
        let members = control.configuration.members.clone();
        let machines = members
            .iter()
            .map(|member| Machine::new(member.replica, scenario.drift_per_mille, &mut dice))
            .collect();
        let mut world = World {
            now: 0,
            queue: Queue::default(),
            network: Network::new(scenario.weather),
            machines,
            orphans: vec![None; members.len()],
            promised: Vec::new(),
            control,
            oracle: Oracle::default(),
            coverage: Coverage::default(),
            trace: Trace::new(keep_trace),
            healing: false,
            health: super::healing::Health::default(),
            beliefs: vec![0; scenario.clients],
            report_number: 0,
            done: false,
            scenario,
            dice,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        if self.trace.keeps() {
            let line = format!("{:#?}", self.scenario);
            self.trace.line(line);
        }
        for machine in 0..self.machines.len() {
            self.after(0, Happening::Start { machine });
            let offset = self.dice.between(0, HEARTBEAT_INTERVAL.as_nanos() as u64);
            self.after(offset, Happening::Heartbeat { machine });
        }
        for client in 0..self.scenario.clients {
            self.after(200 * MS, Happening::Client { client });
        }
        self.after(MS, Happening::ControlTick);
        self.after(1000 * MS, Happening::Trouble);
        self.after(self.scenario.trouble_ns + 1000 * MS, Happening::Heal);
    }

    /// Runs to the end, or to the first broken promise.
    pub(super) fn run(&mut self) -> Verdict {
        while !self.done {
            let Some((at, happening)) = self.queue.pop() else {
                unreachable!("heartbeats go on for ever")
            };
            debug_assert!(at >= self.now, "time goes forward");
            self.now = at;
            self.happen(happening)?;
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) {
        self.done = true;
    }

    pub(super) fn after(&mut self, delay: u64, happening: Happening) {
        self.queue.push(self.now + delay, happening);
    }

    pub(super) fn saw(&mut self, sight: Sight) {
        self.coverage.saw(sight);
    }

    /// The machine that hosts `replica` now, when one does.
    pub(super) fn host(&self, replica: ReplicaId) -> Option<usize> {
        let machine = super::control::machine_of(replica);
        (self.machines.get(machine)?.id == replica).then_some(machine)
    }

    fn live(&self, machine: usize, incarnation: u64) -> bool {
        self.machines[machine].incarnation == incarnation
    }

    fn happen(&mut self, happening: Happening) -> Verdict {
        let Some(happening) = self.unless_paused(happening) else { return Ok(()) };
        match happening {
            Happening::Deliver { to, from, message } => self.deliver(to, from, message),
            Happening::Tick { machine, incarnation } => self.tick(machine, incarnation),
            Happening::Local { machine, incarnation, event } => {
                if self.live(machine, incarnation) {
                    self.step(machine, event)
                } else {
                    Ok(())
                }
            }
            Happening::SyncDone { machine, incarnation, mark, fails } => {
                if self.live(machine, incarnation) {
                    self.sync_done(machine, mark, fails)
                } else {
                    Ok(())
                }
            }
            Happening::Persisted { machine, incarnation, epoch, stored } => {
                if !self.live(machine, incarnation) {
                    return Ok(());
                }
                self.machines[machine].disk.persist(epoch, stored);
                self.step(machine, Event::EpochPersisted { epoch })
            }
            Happening::ReadLog { machine, incarnation, to, append, upto } => {
                if self.live(machine, incarnation) {
                    self.read_log(machine, to, &append, upto)
                } else {
                    Ok(())
                }
            }
            Happening::SnapshotRead { machine, incarnation, to, epoch } => {
                if self.live(machine, incarnation) {
                    self.snapshot_read(machine, to, epoch)
                } else {
                    Ok(())
                }
            }
            Happening::SnapshotArrives { from, to, epoch, at } => {
                self.snapshot_arrives(from, to, epoch, at)
            }
            Happening::SnapshotInstalls { machine, incarnation, at } => {
                if self.live(machine, incarnation) {
                    self.snapshot_installs(machine, at)
                } else {
                    Ok(())
                }
            }
            other => self.happen_outside(other),
        }
    }

    /// What happens to the control plane, to clients, and to machines as such.
    fn happen_outside(&mut self, happening: Happening) -> Verdict {
        match happening {
            Happening::Start { machine } => self.start(machine),
            Happening::Heartbeat { machine } => self.heartbeat(machine),
            Happening::Report { number, replica, status } => {
                self.report(number, replica, status);
                Ok(())
            }
            Happening::Request { epoch, change } => self.request(epoch, change),
            Happening::Fetch { machine } => {
                self.tell(machine);
                Ok(())
            }
            Happening::Configure { machine, configuration } => {
                self.configure(machine, configuration)
            }
            Happening::ControlTick => self.control_tick(),
            Happening::Client { client } => self.client(client),
            Happening::Trouble => self.trouble(),
            Happening::SpaceFreed { machine } => self.free_space(machine),
            Happening::MoveBack { leader } => self.move_back(leader),
            Happening::Blackout => self.black_out(),
            Happening::Mend => {
                self.network.heal();
                Ok(())
            }
            Happening::Heal => self.heal(),
            Happening::HealthCheck => self.check_health(),
            _ => unreachable!("the caller handles the others"),
        }
    }

    /// A paused process gets nothing until it goes on; then it gets everything, in order.
    fn unless_paused(&mut self, happening: Happening) -> Option<Happening> {
        let machine = match &happening {
            Happening::Deliver { to, .. } | Happening::SnapshotArrives { to, .. } => {
                self.host(*to)?
            }
            Happening::Tick { machine, .. }
            | Happening::Local { machine, .. }
            | Happening::SyncDone { machine, .. }
            | Happening::Persisted { machine, .. }
            | Happening::ReadLog { machine, .. }
            | Happening::SnapshotRead { machine, .. }
            | Happening::SnapshotInstalls { machine, .. }
            | Happening::Heartbeat { machine }
            | Happening::Configure { machine, .. }
            | Happening::SpaceFreed { machine } => *machine,
            _ => return Some(happening),
        };
        let until = self.machines[machine].paused_until;
        if until <= self.now {
            return Some(happening);
        }
        self.queue.push(until, happening);
        None
    }

    fn deliver(&mut self, to: ReplicaId, from: ReplicaId, message: Message) -> Verdict {
        let Some(machine) = self.host(to) else { return Ok(()) };
        self.step(machine, Event::Message { from, message })
    }

    /// Sends a message into the weather.
    pub(super) fn send(&mut self, from: ReplicaId, to: ReplicaId, message: Message) {
        let places = (super::control::machine_of(from), super::control::machine_of(to));
        let copies = self.network.send(self.now, places.0, places.1, &mut self.dice);
        if copies.late {
            self.saw(Sight::MessageLate);
        }
        let Some(first) = copies.first else {
            self.saw(Sight::MessageDropped);
            return;
        };
        if let Some(second) = copies.second {
            self.saw(Sight::MessageDoubled);
            self.after(second, Happening::Deliver { to, from, message: message.clone() });
        }
        self.after(first, Happening::Deliver { to, from, message });
    }

    /// Delay of a message to the control plane or back, unless it is lost.
    fn control_delay(&mut self, from: usize, to: usize) -> Option<u64> {
        let copies = self.network.send(self.now, from, to, &mut self.dice);
        let slow = self.dice.between(0, self.scenario.control_ns_max);
        copies.first.map(|delay| delay + slow)
    }

    fn heartbeat(&mut self, machine: usize) -> Verdict {
        self.after(HEARTBEAT_INTERVAL.as_nanos() as u64, Happening::Heartbeat { machine });
        let host = &self.machines[machine];
        let Some(replica) = &host.replica else { return Ok(()) };
        let (id, status) = (host.id, replica.status(host.moment(self.now)));
        self.check_status(machine, &status)?;
        self.report_number += 1;
        let number = self.report_number;
        let late = self.dice.chance(self.scenario.heartbeat_late_per_mille) && !self.healing;
        let extra = if late { self.dice.between(0, 3000 * MS) } else { 0 };
        if let Some(delay) = self.control_delay(machine, CONTROL) {
            self.after(delay + extra, Happening::Report { number, replica: id, status });
        }
        Ok(())
    }

    /// A copy may contradict the rest only after a loss that took back what it had applied.
    fn check_status(&self, machine: usize, status: &Status) -> Verdict {
        let diverged = status.failure == Some(partition::replica::Failure::Diverged);
        if diverged && self.orphans[machine].is_none() {
            let what = format!("{:?} calls its log diverged", self.machines[machine].id);
            let invariant = "nothing committed is ever contradicted";
            return Err(Violation { invariant, what });
        }
        Ok(())
    }

    fn report(&mut self, number: u64, replica: ReplicaId, status: Status) {
        if self.control.gone_until > self.now {
            return;
        }
        let behind = status.epoch < self.control.configuration.epoch;
        self.control.on_report(self.now, number, replica, status);
        if behind && let Some(machine) = self.host(replica) {
            self.tell(machine);
        }
    }

    fn request(&mut self, epoch: Epoch, change: Change) -> Verdict {
        if self.control.gone_until > self.now {
            return Ok(());
        }
        if !self.control.on_request(epoch, change) {
            self.saw(Sight::RequestOutdated);
            return Ok(());
        }
        self.saw(match change {
            Change::Promote { .. } => Sight::PromotionMade,
            Change::Remove { .. } => Sight::RemovalMade,
        });
        self.announce()
    }

    /// A request for a configuration sets out.
    pub(super) fn send_request(&mut self, machine: usize, epoch: Epoch, change: Change) {
        if let Some(delay) = self.control_delay(machine, CONTROL) {
            self.after(delay, Happening::Request { epoch, change });
        }
    }

    /// A machine asks for the newest configuration.
    pub(super) fn send_fetch(&mut self, machine: usize) {
        if let Some(delay) = self.control_delay(machine, CONTROL) {
            self.after(delay, Happening::Fetch { machine });
        }
    }

    /// Tells every machine of the newest configuration.
    pub(super) fn announce(&mut self) -> Verdict {
        if self.trace.keeps() {
            let c = &self.control.configuration;
            let line = format!(
                "{:>12.6} control {:?} leader {:?} in sync {:?} catching up {:?}",
                self.now as f64 / 1e9,
                c.epoch,
                c.leader,
                c.in_sync,
                c.catching_up
            );
            self.trace.line(line);
        }
        for machine in 0..self.machines.len() {
            self.tell(machine);
        }
        // Whoever was to be promoted in an older epoch and was not, never will be.
        let epoch = self.control.configuration.epoch;
        self.promised.retain(|(asked, _)| *asked >= epoch);
        self.note_loss()
    }

    fn tell(&mut self, machine: usize) {
        if self.control.gone_until > self.now {
            return;
        }
        let configuration = self.control.configuration.clone();
        if let Some(delay) = self.control_delay(CONTROL, machine) {
            self.after(delay, Happening::Configure { machine, configuration });
        }
    }

    fn configure(&mut self, machine: usize, configuration: Configuration) -> Verdict {
        let here = configuration.members.iter().map(|member| member.replica);
        let newest = here.filter(|r| super::control::machine_of(*r) == machine).max();
        if let Some(replica) = newest
            && replica > self.machines[machine].id
        {
            self.saw(Sight::CopyMadeAnew);
            self.machines[machine].wipe(replica);
            self.orphans[machine] = None;
            self.start(machine)?;
        }
        self.step(machine, Event::Configure(configuration))
    }

    fn control_tick(&mut self) -> Verdict {
        self.after(100 * MS, Happening::ControlTick);
        if self.control.gone_until > self.now {
            return Ok(());
        }
        if self.now < 50 * MS {
            return self.announce();
        }
        if let Some((_, unproven)) = self.control.plan_leader(self.now) {
            self.saw(Sight::LeaderAppointed);
            if unproven {
                self.saw(Sight::LeaderAppointedUnproven);
            }
            return self.announce();
        }
        if self.control.plan_repair(self.now).is_some() {
            return self.announce();
        }
        Ok(())
    }

    /// The disks of the in-sync set, as the control plane knows it.
    pub(super) fn in_sync_disks(
        &self,
    ) -> impl Iterator<Item = (ReplicaId, &super::disk::Disk)> + Clone {
        let in_sync = self.control.configuration.in_sync.iter();
        in_sync.filter_map(|replica| {
            self.host(*replica).map(|machine| (*replica, &self.machines[machine].disk))
        })
    }

    /// The disks of those that are in sync or may become so without anybody being asked again.
    pub(super) fn electable_disks(
        &self,
    ) -> impl Iterator<Item = (ReplicaId, &super::disk::Disk)> + Clone {
        let epoch = self.control.configuration.epoch;
        let current = self.promised.iter().filter(move |(asked, _)| *asked >= epoch);
        let promised = current.filter_map(|(_, replica)| {
            self.host(*replica).map(|machine| (*replica, &self.machines[machine].disk))
        });
        self.in_sync_disks().chain(promised)
    }

    /// Ends all bad weather.
    pub(super) fn clear_weather(&mut self) {
        self.network.weather = Weather::FAIR;
        self.network.heal();
    }
}
