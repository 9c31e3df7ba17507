//! A client on a host of its own.

use super::machine::{Machine, Role, mix};
use super::workload::{self, Task};
use crate::dice::Dice;
use ::client::{Client, Life, OnOutage, Options, Volume};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use world::World;

/// What all clients should be doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// There is no volume yet.
    Waiting,
    /// The first client makes the files.
    Preparing,
    Working,
    /// Everything must work now.
    Finale,
    /// The volume is deleted, or access to it revoked: who has it open must hear of it.
    Ending,
}

/// Where harness and clients tell each other how far they are; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Board {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    finished: BTreeSet<usize>,
    failures: Vec<String>,
    value_next: u32,
    /// Clients that took their volume for deleted, or their access for revoked, and what they said.
    ended: BTreeMap<usize, Life>,
    /// Of these, what those said who did so before anybody had asked for it.
    too_early: Vec<String>,
}

impl Board {
    pub(super) fn new() -> Board {
        let state = State {
            phase: Phase::Waiting,
            finished: BTreeSet::new(),
            failures: Vec::new(),
            value_next: 1,
            ended: BTreeMap::new(),
            too_early: Vec::new(),
        };
        Board { state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    pub(super) fn phase(&self) -> Phase {
        self.lock().phase
    }

    /// Goes on to a later phase.
    pub(super) fn enter(&self, phase: Phase) {
        let mut state = self.lock();
        assert!(phase > state.phase, "phases only go on");
        state.phase = phase;
    }

    /// How many clients have done all they had to do in the end.
    pub(super) fn finished(&self) -> usize {
        self.lock().finished.len()
    }

    /// What did not work although everything had healed.
    pub(super) fn failures(&self) -> Vec<String> {
        self.lock().failures.clone()
    }

    /// What the clients said that took their volume for deleted, or their access for revoked.
    pub(super) fn ended(&self) -> Vec<Life> {
        self.lock().ended.values().copied().collect()
    }

    /// Who did so while nobody had asked for that.
    pub(super) fn too_early(&self) -> Vec<String> {
        self.lock().too_early.clone()
    }

    fn note_end(&self, client: usize, life: Life) {
        let mut state = self.lock();
        if state.phase < Phase::Ending {
            state.too_early.push(format!("client-{client}: {life:?}"));
        }
        state.ended.insert(client, life);
    }

    /// A number that nobody else gets.
    fn value(&self) -> u32 {
        let mut state = self.lock();
        state.value_next += 1;
        state.value_next
    }
}

/// Runs until the host crashes.
pub(super) async fn run(machine: Machine, board: Board) -> turmoil::Result {
    let Role::Client(number) = machine.role else { unreachable!("a client runs here") };
    let world = machine.world();
    let dice = Dice::new(mix(mix(machine.site.seed, 7000 + number as u64), machine.life()));
    let mut station = Station { number, machine, board, world, dice };
    loop {
        match station.board.phase() {
            Phase::Waiting => station.rest(100).await,
            Phase::Preparing if number == 1 => station.prepare().await,
            Phase::Preparing => station.rest(50).await,
            Phase::Working => station.work().await,
            Phase::Finale => station.finish().await,
            // It was killed before: it has nothing open, and nothing more to do.
            Phase::Ending => std::future::pending().await,
        }
    }
}

struct Station {
    number: usize,
    machine: Machine,
    board: Board,
    world: World,
    dice: Dice,
}

impl Station {
    async fn rest(&mut self, ms_max: u64) {
        let pause = self.dice.between(ms_max / 2, ms_max);
        self.world.sleep(Duration::from_millis(pause)).await;
    }

    /// Opens the volume; patient, because nothing else can be done.
    async fn open(&mut self, patience: Duration) -> Volume {
        let members = self.machine.site.members();
        let client = Client::new(self.world.clone(), Machine::hub(), Arc::default(), members);
        loop {
            let options = Options {
                open_timeout: patience,
                on_outage: OnOutage::Error { after: patience },
                name: self.machine.role.name(),
                ..Options::default()
            };
            match client.open_volume(super::probe::VOLUME, options).await {
                Ok(volume) => return volume,
                Err(error) => {
                    let name = self.machine.role.name();
                    self.machine.site.history.note(&format!("{name} cannot open: {error}"));
                }
            }
            self.rest(200).await;
        }
    }

    async fn prepare(&mut self) {
        let volume = self.open(Duration::from_secs(10)).await;
        match workload::prepare(&volume).await {
            Ok(()) => self.board.enter(Phase::Working),
            Err(error) => self.machine.site.history.note(&format!("cannot prepare: {error}")),
        }
        // It goes away without a word, as clients may.
    }

    async fn work(&mut self) {
        let patience = Duration::from_millis(self.dice.between(1_000, 6_000));
        let volume = self.open(patience).await;
        while self.board.phase() == Phase::Working {
            self.look(&volume);
            let value = self.board.value();
            let task = workload::draw(&mut self.dice, value);
            let _ = self.perform(&volume, task).await;
            let pause = self.machine.site.scenario.pause;
            self.rest(u64::try_from(pause.as_millis()).unwrap_or(1)).await;
        }
    }

    async fn perform(&mut self, volume: &Volume, task: Task) -> Result<(), String> {
        let history = &self.machine.site.history;
        let operation = history.call(self.number, task.0, task.1);
        match workload::perform(volume, task).await {
            Ok(outcome) => {
                history.done(operation, outcome);
                Ok(())
            }
            Err(error) => {
                history.lost(operation, &error.to_string());
                Err(error.to_string())
            }
        }
    }

    /// Does everything once, and says what did not work.
    async fn finish(&mut self) {
        let volume = self.open(OPERATION_MAX).await;
        let board = self.board.clone();
        for task in workload::finale(&mut || board.value()) {
            if let Err(error) = self.perform(&volume, task).await {
                let failure = format!("client-{} {task:?}: {error}", self.number);
                self.board.lock().failures.push(failure);
            }
        }
        self.board.lock().finished.insert(self.number);
        let life = volume.ended().await;
        self.machine.site.history.note(&format!("client-{} ends: {life:?}", self.number));
        self.look(&volume);
        std::future::pending::<()>().await;
    }

    /// Notes should the client take its volume for deleted: a mount would end now.
    fn look(&self, volume: &Volume) {
        let life = volume.life();
        if !life.is_live() {
            self.board.note_end(self.number, life);
        }
    }
}

/// After healing no operation takes longer than this.
const OPERATION_MAX: Duration = Duration::from_secs(10);
