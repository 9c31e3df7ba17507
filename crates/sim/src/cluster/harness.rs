//! The run of one seed: hosts, what happens to them and when, and the verdict.

use super::check;
use super::client::{Board, Phase};
use super::control::Seat;
use super::desk::{Desk, Job};
use super::history::History;
use super::machine::{Machine, Role, Site, mix};
use super::probe::{self, Screen, Shown, Wish};
use super::scenario::{SETTLE_MAX, Scenario};
use super::watch::Watch;
use super::{client, control, storage};
use crate::dice::Dice;
use crate::verdict::{Verdict, Violation, demand};
use ::client::Life;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use world::net::fabric::Fabric;

/// Something that is going to happen.
#[derive(Clone, Copy, Debug)]
pub(super) enum Happening {
    Trouble,
    Start(Role),
    Mend((Role, Role)),
    GiveUp((Role, Role)),
    Hasten((Role, Role)),
    Free(Role),
    Work(Role),
    /// Somebody takes a node out of service.
    Leave(Job),
    /// Somebody gives an order to that operation.
    Order,
}

/// Making the cluster, its volume and the files in it takes at most this long.
const SETUP_MAX: Duration = Duration::from_secs(30);

/// The last operations of all clients take at most this long together.
const FINALE_MAX: Duration = Duration::from_secs(30);

/// Answers about the status that are compared with the truth.
const STATUS_LOOKS: usize = 4;

/// Reports that a cut link held back have arrived this long after it was mended. Their age is
/// counted from when they arrive.
const REPORT_DELAY_MAX: Duration = Duration::from_secs(1);

/// Everybody who has a volume open knows of its deletion within this, and every replica is gone.
const ENDING_MAX: Duration = Duration::from_secs(40);

const LIFE: &str = "a client ends for deletion or revocation if and only if its volume was deleted, or access revoked";

const LIVENESS: &str = "what has healed works";

pub(super) struct Harness<'a> {
    pub(super) sim: turmoil::Sim<'a>,
    pub(super) scenario: Arc<Scenario>,
    pub(super) dice: Dice,
    pub(super) site: Site,
    pub(super) history: History,
    pub(super) seats: Vec<Seat>,
    /// Links that are cut: since when and until when.
    pub(super) cuts: BTreeMap<(Role, Role), (Duration, Duration)>,
    /// Nodes whose disks failed now and then.
    pub(super) worn: BTreeSet<Role>,
    machines: BTreeMap<Role, Machine>,
    schedule: BTreeMap<(Duration, u64), Happening>,
    scheduled: u64,
    board: Board,
    pub(super) screen: Screen,
    pub(super) desk: Desk,
    watch: Watch,
}

impl Harness<'_> {
    pub(super) fn new(seed: u64, history: History) -> Harness<'static> {
        let mut dice = Dice::new(seed);
        let mut scenario = Scenario::draw(&mut dice);
        scenario.draw_job(&mut Dice::new(mix(seed, 2)));
        let scenario = Arc::new(scenario);
        history.note(&format!("{scenario:?}"));
        let sim = turmoil::Builder::new()
            .tick_duration(Duration::from_millis(1))
            .simulation_duration(Duration::from_secs(3600))
            .min_message_latency(scenario.latency_min)
            .max_message_latency(scenario.latency_max)
            .tcp_capacity(4096)
            .rng_seed(mix(seed, 1))
            .enable_random_order()
            .build();
        let fabric = Fabric::default();
        let site = Site { seed, scenario: scenario.clone(), fabric, history: history.clone() };
        let mut harness = Harness {
            sim,
            dice,
            site,
            history,
            seats: Vec::new(),
            cuts: BTreeMap::new(),
            worn: BTreeSet::new(),
            machines: BTreeMap::new(),
            schedule: BTreeMap::new(),
            scheduled: 0,
            board: Board::new(),
            screen: Screen::default(),
            desk: Desk::default(),
            watch: Watch::default(),
            scenario,
        };
        harness.add_hosts();
        harness
    }

    fn add_hosts(&mut self) {
        let scenario = self.scenario.clone();
        let roles = (1..=scenario.members)
            .map(Role::Control)
            .chain((1..=scenario.nodes).map(Role::Node))
            .chain((1..=scenario.clients).map(Role::Client));
        for role in roles {
            let machine = Machine::new(role, self.site.clone());
            self.machines.insert(role, machine.clone());
            match role {
                Role::Control(_) => {
                    let seat = Seat::default();
                    self.seats.push(seat.clone());
                    let run = move || control::run(machine.clone(), seat.clone());
                    self.sim.host(role.name(), run);
                }
                Role::Node(_) => {
                    let watch = self.watch.clone();
                    let run = move || storage::run(machine.clone(), watch.clone());
                    self.sim.host(role.name(), run);
                }
                Role::Client(_) => {
                    let board = self.board.clone();
                    let run = move || client::run(machine.clone(), board.clone());
                    self.sim.host(role.name(), run);
                }
            }
        }
        let (site, screen, desk) = (self.site.clone(), self.screen.clone(), self.desk.clone());
        let run = move || probe::run(site.clone(), screen.clone(), desk.clone());
        self.sim.host(probe::HOST, run);
    }

    pub(super) fn machine(&self, role: Role) -> &Machine {
        &self.machines[&role]
    }

    /// Every host but the probe's.
    pub(super) fn everybody(&self) -> Vec<Role> {
        self.machines.keys().copied().collect()
    }

    pub(super) fn after(&mut self, delay: Duration, happening: Happening) {
        self.scheduled += 1;
        self.schedule.insert((self.sim.elapsed() + delay, self.scheduled), happening);
    }

    /// The whole run.
    pub(super) fn run(&mut self) -> Verdict {
        let ready = |harness: &Harness<'_>| {
            let replicas = 3;
            harness.screen.last().is_some_and(|shown| shown.is_whole(replicas, None))
        };
        self.until(SETUP_MAX, "a volume", ready)?;
        self.board.enter(Phase::Preparing);
        self.until(SETUP_MAX, "files", |harness| harness.board.phase() == Phase::Working)?;
        self.after(Duration::from_millis(200), Happening::Trouble);
        self.plan_leave();
        self.pass(self.scenario.trouble)?;
        self.heal();
        self.settle()?;
        self.see_verdict()?;
        self.finale()?;
        let too_early = self.board.too_early();
        demand(too_early.is_empty(), LIFE, || too_early.join("; "))?;
        self.ending()?;
        check::history(&self.scenario, &self.history)
    }

    /// Lets everything that is due happen, and time pass.
    fn step(&mut self) -> Verdict {
        while let Some(next) = self.schedule.first_entry() {
            if next.key().0 > self.sim.elapsed() {
                break;
            }
            let happening = next.remove();
            self.happen(happening);
        }
        let stepped = self.sim.step();
        self.history.tell_time(self.sim.elapsed());
        if let Some(panic) = super::runner::take_panic() {
            return Err(Violation { invariant: "no assertion fails", what: panic });
        }
        demand(stepped.is_ok(), "no host ends by itself", || format!("{stepped:?}"))?;
        self.check_claim()?;
        self.watch.verdict()
    }

    fn pass(&mut self, time: Duration) -> Verdict {
        let end = self.sim.elapsed() + time;
        while self.sim.elapsed() < end {
            self.step()?;
        }
        Ok(())
    }

    pub(super) fn until(
        &mut self,
        most: Duration,
        what: &str,
        is_true: impl Fn(&Harness<'_>) -> bool,
    ) -> Verdict {
        let end = self.sim.elapsed() + most;
        while !is_true(self) {
            let late = self.sim.elapsed() >= end;
            demand(!late, LIVENESS, || {
                let shown = self.screen.last();
                format!("no {what} within {most:?}; last shown: {shown:#?}")
            })?;
            self.step()?;
        }
        self.history.note(&format!("there is: {what}"));
        Ok(())
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Trouble => self.trouble(),
            Happening::Start(role) => self.start(role),
            Happening::Mend(link) => self.mend(link),
            Happening::GiveUp(link) => self.give_up(link),
            Happening::Hasten(link) => self.hasten(link),
            Happening::Free(node) => self.free(node),
            Happening::Work(node) => self.work_again(node),
            Happening::Leave(job) => self.leave(job),
            Happening::Order => self.give_order(),
        }
    }

    fn start(&mut self, role: Role) {
        if !self.machine(role).is_up() {
            self.machine(role).note_up();
            self.history.note(&format!("{} starts", role.name()));
            self.sim.bounce(role.name());
        }
    }

    /// Ends all trouble. Nodes whose disks failed are started anew, as somebody would who has seen
    /// to the disk: a replica that could not write takes no writes for the rest of its process.
    fn heal(&mut self) {
        self.history.note("everything heals");
        self.schedule.clear();
        for (link, _) in std::mem::take(&mut self.cuts) {
            self.sim.release(link.0.name(), link.1.name());
        }
        let all = self.everybody();
        for (index, one) in all.iter().enumerate() {
            for other in &all[index + 1..] {
                self.hasten((*one, *other));
            }
            self.work_again(*one);
            self.free(*one);
            self.start(*one);
        }
        for node in std::mem::take(&mut self.worn) {
            self.kill(node);
            self.start(node);
        }
        self.let_go_on();
    }

    fn settle(&mut self) -> Verdict {
        let healed = self.sim.elapsed();
        self.until(SETTLE_MAX, "a whole cluster", |harness| {
            let shown = harness.screen.last();
            let lost = harness.takes_nothing();
            shown.is_some_and(|shown| shown.asked > healed && shown.is_whole(3, lost))
        })?;
        self.pass(REPORT_DELAY_MAX)?;
        for _ in 0..STATUS_LOOKS {
            let asked = self.sim.elapsed();
            self.until(SETTLE_MAX, "a fresh answer", |harness| {
                harness.screen.last().is_some_and(|shown| shown.asked > asked)
            })?;
            if let Some(shown) = self.screen.last() {
                // The truth is looked at now and then: wait until it was.
                self.pass(Duration::from_millis(300))?;
                let Shown { asked, answered, partitions } = shown;
                check::status::check(&self.watch, asked, answered, &partitions)?;
            }
        }
        Ok(())
    }

    fn finale(&mut self) -> Verdict {
        self.board.enter(Phase::Finale);
        let clients = self.scenario.clients;
        self.until(FINALE_MAX, "an end of all operations", |harness| {
            harness.board.finished() == clients
        })?;
        let failures = self.board.failures();
        demand(failures.is_empty(), LIVENESS, || failures.join("; "))
    }

    /// Deletes the volume, or shuts everybody out of it before, while the control plane may be in
    /// trouble. Every client must hear of it, and when all has healed and the volume is deleted nothing
    /// of it may be left on any node.
    fn ending(&mut self) -> Verdict {
        self.board.enter(Phase::Ending);
        let deletion = Wish::Delete { grace_s: *self.dice.pick(&[0, 0, 3]) };
        let revoked = *self.dice.pick(&[false, true]);
        let wish = if revoked { Wish::Protect } else { deletion };
        self.screen.wish(wish);
        let wait = Duration::from_millis(self.dice.between(0, 200));
        self.pass(wait)?;
        self.trouble_the_control_plane();
        self.until(ENDING_MAX, "what was asked for", |harness| harness.screen.has(wish))?;
        let clients = self.scenario.clients;
        self.until(ENDING_MAX, "an end of all clients", |harness| {
            harness.board.ended().len() == clients
        })?;
        let ended = self.board.ended();
        let as_asked = ended.iter().all(|life| matches!(life, Life::Revoked(_)) == revoked);
        demand(as_asked, LIFE, || format!("{wish:?} was asked for, and they say {ended:?}"))?;
        if revoked {
            self.screen.wish(deletion);
            self.until(ENDING_MAX, "a deletion", |harness| harness.screen.has(deletion))?;
        }
        self.until(ENDING_MAX, "room on all disks", |harness| {
            (1..=harness.scenario.nodes).all(|node| !harness.has_replicas(Role::Node(node)))
        })?;
        self.see_all_end()
    }

    fn has_replicas(&self, node: Role) -> bool {
        let paths = self.machine(node).sim_disk().paths();
        paths.iter().any(|path| path.ends_with(".segment") || path.ends_with("/state"))
    }
}
