//! A host as the harness sees it: its disk, its power, its lives.

use super::history::History;
use super::scenario::Scenario;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use types::Timestamp;
use wire::Hub;
use world::disk::sim::SimDisk;
use world::kv::Database;
use world::net::fabric::Fabric;
use world::{Disk, Net, Simulation, World};

/// Date at which every run begins: some day in 2030.
const DATE_NANOS: i64 = 1_900_000_000_000_000_000;

/// What a host does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// The member with this number, from 1.
    Control(usize),
    Node(usize),
    Client(usize),
}

impl Role {
    /// The host's name on the network.
    pub(super) fn name(self) -> String {
        match self {
            Role::Control(number) => format!("control-{number}"),
            Role::Node(number) => format!("node-{number}"),
            Role::Client(number) => format!("client-{number}"),
        }
    }

    fn number(self) -> u64 {
        match self {
            Role::Control(number) => 100 + number as u64,
            Role::Node(number) => 200 + number as u64,
            Role::Client(number) => 300 + number as u64,
        }
    }
}

/// What all hosts of a run have in common; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) seed: u64,
    pub(super) scenario: Arc<Scenario>,
    pub(super) fabric: Fabric,
    pub(super) history: History,
}

impl Site {
    /// Where the members listen for everybody.
    pub(super) fn members(&self) -> Vec<String> {
        (1..=self.scenario.members).map(|number| format!("control-{number}:7000")).collect()
    }
}

/// One host; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) role: Role,
    pub(super) site: Site,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// The handle of the present life; older ones are fenced.
    disk: SimDisk,
    database: Database,
    /// Counts lives of the process, and of the machine.
    lives: u64,
    boots: u64,
    up: bool,
}

impl Machine {
    pub(super) fn new(role: Role, site: Site) -> Machine {
        let seed = mix(site.seed, role.number());
        let disk = SimDisk::new(&role.name(), seed, DISK_BYTES);
        let database = Database::simulated_on(disk.clone());
        let state = State { disk, database, lives: 1, boots: 1, up: true };
        Machine { role, site, state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// The world of the life that begins now. Called on the host itself.
    pub(super) fn world(&self) -> World {
        let (lives, boots) = {
            let state = self.lock();
            (state.lives, state.boots)
        };
        let since = turmoil::sim_elapsed().unwrap_or_default();
        World::simulated(Simulation {
            seed: mix(mix(self.site.seed, self.role.number()), lives),
            net: Net::simulated(self.site.fabric.clone()),
            os_boot: mix(self.role.number(), boots),
            date: Timestamp(DATE_NANOS + i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)),
            work_max: match self.role {
                Role::Client(_) => Duration::ZERO,
                _ => self.site.scenario.work_max,
            },
        })
    }

    pub(super) fn hub() -> Hub {
        Hub::default()
    }

    /// The disk, for the life that begins now.
    pub(super) fn disk(&self) -> Disk {
        Disk::simulated(self.lock().disk.clone())
    }

    /// The disk as the one who breaks it sees it.
    pub(super) fn sim_disk(&self) -> SimDisk {
        self.lock().disk.clone()
    }

    pub(super) fn database(&self) -> Database {
        self.lock().database.clone()
    }

    pub(super) fn is_up(&self) -> bool {
        self.lock().up
    }

    pub(super) fn note_up(&self) {
        self.lock().up = true;
    }

    /// Which life of its process this is.
    pub(super) fn life(&self) -> u64 {
        self.lock().lives
    }

    /// The process dies. Of what the index was told since it was last made durable, `kept` stays.
    pub(super) fn kill(&self, kept: usize) {
        let mut state = self.lock();
        state.disk = state.disk.kill_process();
        state.die(kept);
    }

    /// The power fails.
    pub(super) fn lose_power(&self, kept: usize) {
        let mut state = self.lock();
        state.disk = state.disk.lose_power();
        state.boots += 1;
        state.die(kept);
    }

    /// How many changes of the index a crash could take back.
    pub(super) fn unpersisted(&self) -> usize {
        self.lock().database.faults().map_or(0, |faults| faults.unpersisted())
    }
}

impl State {
    fn die(&mut self, kept: usize) {
        if let Some(faults) = self.database.faults() {
            faults.crash(kept);
        }
        self.lives += 1;
        self.up = false;
    }
}

/// Room on each disk: more than any run fills.
pub(super) const DISK_BYTES: u64 = 8 << 30;

/// A number that follows from two others and looks like neither (splitmix64).
pub(super) fn mix(one: u64, other: u64) -> u64 {
    let mut word = one ^ other.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
