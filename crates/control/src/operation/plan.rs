//! One round of planning for every operation. Pure.
//!
//! In order of priority, each operation looks at everything afresh: what is left, what the next step for each
//! of it is. Steps become commands, what cannot be done becomes residue, and the state follows:
//!
//! | state | in a round |
//! | --- | --- |
//! | planned | begins to run |
//! | running | takes steps; once none is possible any more, verifies |
//! | verifying | asks the nodes what is on their disks; then the verdict; back to running when there is work |
//! | incomplete | looks at what is left; runs when something can be done, verifies when nothing is left |
//! | succeeded | looks whether something came back, as long as the target is out of service; verifies if so |
//! | paused | nothing; shows how far the copies are that were begun |
//! | failed, cancelled | nothing |

use super::apply::later;
use super::command::{Act, Note};
use super::kind::{self, Area, Job};
use super::record::{Evidence, Item, Operation, Residue, Witness};
use super::round::{Round, copied, standing};
use super::scene::{Finding, Scene};
use super::sense::{Contents, Listing};
use crate::plan::elect::Leadership;
use crate::plan::{Inputs, Plan};
use crate::state::Command;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use types::limits::{
    CONSIDERED_PER_ROUND_MAX, MOVE_RETRY_DELAY, MOVE_RETRY_DELAY_MAX, NOTES_PER_COMMAND_MAX,
    OPERATION_RESCAN_INTERVAL, PARTITION_LOCK_LEASE,
};
use types::operation::{Lasting, OperationState, Reason};
use types::{DiskId, NodeId, PartitionId, Timestamp};

/// A node that did not answer is asked again after this long.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Plans for every operation.
pub(crate) fn plan(
    inputs: &Inputs<'_>,
    unsettled: BTreeMap<PartitionId, Leadership>,
    plan: &mut Plan,
) {
    let operations = &inputs.state.operations;
    let looked_at = |o: &&Operation| {
        o.state.is_at_work() || (o.state == OperationState::Succeeded && is_excusing(inputs, o))
    };
    for paused in operations.all.values().filter(|o| o.state == OperationState::Paused) {
        plan.rounds.insert(paused.id, standing(inputs, paused));
    }
    let mut all: Vec<&Operation> = operations.all.values().filter(looked_at).collect();
    if all.is_empty() {
        return;
    }
    all.sort_by_key(|operation| (std::cmp::Reverse(operation.priority), operation.id));
    let touched = plan.commands.iter().filter_map(configured).collect();
    let mut scene = Scene::new(inputs, touched, unsettled);
    for operation in all {
        let (round, commands) = Consider::new(&scene, operation).go(&mut scene);
        plan.commands.extend(commands);
        plan.rounds.insert(operation.id, round);
    }
}

fn configured(command: &Command) -> Option<PartitionId> {
    match command {
        Command::Configure { partition, .. } => Some(*partition),
        _ => None,
    }
}

/// Whether places are out of service because of it.
fn is_excusing(inputs: &Inputs<'_>, operation: &Operation) -> bool {
    let operations = &inputs.state.operations;
    let mut duties = operations.nodes.values().chain(operations.disks.values());
    duties.any(|duty| duty.operation == operation.id)
}

/// One operation in one round.
struct Consider<'o> {
    operation: &'o Operation,
    remaining: BTreeMap<PartitionId, Job>,
    /// Found on disks when they were listed, and known to nobody.
    stray: BTreeSet<PartitionId>,
    listed: Option<Contents>,
    notes: Vec<(PartitionId, Note)>,
    steps: Vec<Command>,
    /// What is left, and why, of those that cannot be done.
    left: BTreeMap<PartitionId, Residue>,
    round: Round,
}

impl<'o> Consider<'o> {
    fn new(scene: &Scene<'_>, operation: &'o Operation) -> Consider<'o> {
        let rules = kind::of(operation.kind);
        let remaining = (rules.remaining)(scene, operation);
        let listed = scene.inputs.sense.contents.get(&operation.id);
        // While it works, what was listed before is no news of how things are.
        let states = [OperationState::Verifying, OperationState::Succeeded];
        let counts = |listed: &&Contents| {
            listed.verification == operation.verification && states.contains(&operation.state)
        };
        let listed = listed.filter(counts).cloned();
        let area = Area::of(scene.inputs.state, operation);
        let on_disks = listed.iter().flat_map(|listed| listed.nodes.iter());
        let on_disks = on_disks.flat_map(|(node, listing)| {
            listing.replicas.iter().map(move |(partition, _, disk)| (*node, *partition, *disk))
        });
        // What is on a disk that has failed is lost, whatever its folders still show.
        let lost = |disk: DiskId| scene.inputs.has_failed(disk);
        let here = on_disks.filter(|(node, _, disk)| area.is_at(*node, *disk) && !lost(*disk));
        let stray = here.map(|(_, p, _)| p).filter(|p| !remaining.contains_key(p)).collect();
        let round = Round {
            at: scene.inputs.date,
            remaining: remaining.len(),
            verification: operation.verification,
            ..Round::default()
        };
        let (notes, steps, left) = Default::default();
        Consider { operation, remaining, stray, listed, notes, steps, left, round }
    }

    fn go(mut self, scene: &mut Scene<'_>) -> (Round, Vec<Command>) {
        if self.operation.state == OperationState::Succeeded {
            return self.look_again(scene);
        }
        let (now, later) = self.turns(scene.inputs.sense.random);
        for partition in now {
            self.consider(scene, partition);
        }
        for partition in later {
            self.pass_over(partition);
        }
        self.settle(scene);
        self.renew(scene.inputs);
        let next = self.next(scene);
        self.finish(scene, next)
    }

    /// What succeeded is looked at again.
    fn look_again(mut self, scene: &Scene<'_>) -> (Round, Vec<Command>) {
        let age = self.listed.as_ref().map(|listed| scene.inputs.now.since(listed.at));
        if age.is_none_or(|age| age >= OPERATION_RESCAN_INTERVAL) {
            self.round.ask = kind::witnesses(scene.inputs.state, self.operation);
        }
        if self.remaining.is_empty() && self.stray.is_empty() {
            return (self.round, Vec::new());
        }
        // The rest is found while it verifies.
        for partition in
            self.remaining.keys().copied().take(NOTES_PER_COMMAND_MAX).collect::<Vec<_>>()
        {
            let Job { bytes, relocation } = self.remaining[&partition];
            self.notes.push((partition, Note::Found { bytes, relocation }));
        }
        self.finish(scene, Some(OperationState::Verifying))
    }

    fn item(&self, partition: PartitionId) -> Option<&'o Item> {
        self.operation.items.get(&partition)
    }

    /// Which of what is left has its turn in this round, and which has not. Who is being moved always has; of
    /// the others so many from somewhere on, in another place each time.
    fn turns(&self, random: u64) -> (Vec<PartitionId>, Vec<PartitionId>) {
        let all = self.remaining.keys().copied();
        if self.remaining.len() <= CONSIDERED_PER_ROUND_MAX {
            return (all.collect(), Vec::new());
        }
        let is_moved = |id: &PartitionId| self.item(*id).is_some_and(|item| item.copy.is_some());
        let (mut now, mut rest): (Vec<_>, Vec<_>) = all.partition(is_moved);
        let begin = mix(random ^ self.operation.id.0) % rest.len().max(1) as u64;
        rest.rotate_left(usize::try_from(begin).unwrap_or(0));
        let later = rest.split_off(rest.len().min(CONSIDERED_PER_ROUND_MAX));
        now.extend(rest);
        (now, later)
    }

    /// It has no turn in this round: what was last found of it still stands.
    fn pass_over(&mut self, partition: PartitionId) {
        self.find(partition);
        match self.operation.residue_of(partition) {
            Some(residue) => {
                self.left.insert(partition, residue.clone());
            }
            None => self.round.queued += 1,
        }
    }

    /// Notes that it is to be dealt with, when that is news.
    fn find(&mut self, partition: PartitionId) {
        if self.item(partition).is_none_or(|item| item.done) {
            let Job { bytes, relocation } = self.remaining[&partition];
            self.notes.push((partition, Note::Found { bytes, relocation }));
        }
    }

    fn consider(&mut self, scene: &mut Scene<'_>, partition: PartitionId) {
        self.find(partition);
        let job = self.remaining[&partition];
        let finding = (kind::of(self.operation.kind).step)(scene, self.operation, partition, &job);
        if finding.is_busy() && self.item(partition).is_some_and(|item| item.residue.is_some()) {
            self.notes.push((partition, Note::Freed));
        }
        self.take(scene, partition, finding);
        let copied = copied(scene.inputs, self.operation, partition);
        self.round.in_flight = self.round.in_flight.saturating_add(copied);
    }

    /// What is to be done about a partition.
    fn take(&mut self, scene: &mut Scene<'_>, partition: PartitionId, finding: Finding) {
        match finding {
            Finding::Step(step) => self.step(scene, partition, step),
            Finding::GiveUp { why, step } => {
                if let Some(step) = step {
                    self.step(scene, partition, step);
                }
                let retry_at = self.retry_at(scene.inputs, partition);
                let copy = self.item(partition).and_then(|item| item.copy);
                let copy = copy.map(|copy| copy.replica);
                self.goes_on(partition, Note::GivenUp { why, retry_at, copy });
            }
            Finding::Moot { why } => self.goes_on(partition, Note::Moot { why }),
            Finding::Underway => self.round.underway += 1,
            Finding::Lock => {
                // Whoever comes later in this round must not count on it.
                scene.touched.insert(partition);
                self.goes_on(partition, Note::Lock(kind::of(self.operation.kind).lock));
            }
            Finding::Read => {
                self.round.read.push(partition);
                self.round.underway += 1;
            }
            Finding::Verified { bytes } => self.goes_on(partition, Note::Verified { bytes }),
            Finding::Unwell { reason, detail } => {
                self.unwell(scene.inputs, partition, reason, detail)
            }
            Finding::Queued => self.round.queued += 1,
            Finding::Abandon(replicas) => {
                let gone = replicas.into_iter().map(|replica| (partition, replica)).collect();
                self.steps.push(Command::Forget { gone, at: scene.inputs.date });
                self.round.underway += 1;
            }
            Finding::Left { reason, detail, holder } => {
                let next_retry = self.item(partition).and_then(|item| item.retry_at);
                let waits = |at: &Timestamp| *at > scene.inputs.date;
                let next_retry = next_retry.filter(|at| reason == Reason::Conflict || waits(at));
                let residue = self.residue(scene.inputs, partition, reason, detail);
                self.leave(partition, Residue { holder, next_retry, ..residue });
            }
        }
    }

    /// Notes what happens to a partition, and that it is being dealt with.
    fn goes_on(&mut self, partition: PartitionId, note: Note) {
        self.notes.push((partition, note));
        self.round.underway += 1;
    }

    /// What was read is not as it should be: on record at once, and read again later.
    fn unwell(
        &mut self,
        inputs: &Inputs<'_>,
        partition: PartitionId,
        reason: Reason,
        detail: String,
    ) {
        let retry_at = self.retry_at(inputs, partition);
        let why = detail.clone();
        self.notes.push((partition, Note::GivenUp { why, retry_at, copy: None }));
        let residue = self.residue(inputs, partition, reason, detail);
        let residue = Residue { next_retry: Some(retry_at), ..residue };
        self.notes.push((partition, Note::Left(residue.clone())));
        self.left.insert(partition, residue);
    }

    fn step(&mut self, scene: &mut Scene<'_>, partition: PartitionId, step: crate::state::Step) {
        let Some(record) = scene.inputs.state.partitions.get(&partition) else { return };
        scene.touched.insert(partition);
        self.round.underway += 1;
        self.steps.push(Command::Operation(Act::Step {
            operation: self.operation.id,
            lock: kind::of(self.operation.kind).lock,
            partition,
            expected: record.configuration.epoch,
            step,
            at: scene.inputs.date,
        }));
    }

    fn residue(
        &self,
        inputs: &Inputs<'_>,
        partition: PartitionId,
        reason: Reason,
        detail: String,
    ) -> Residue {
        let before = self.item(partition).and_then(|item| item.residue.as_ref());
        let same = before.filter(|before| before.reason == reason);
        let since = same.map_or(inputs.date, |before| before.since);
        let last_checked = inputs.date;
        Residue { reason, detail, since, last_checked, holder: None, next_retry: None }
    }

    /// Writes down what is left, if it is another thing than what is on record.
    fn leave(&mut self, partition: PartitionId, residue: Residue) {
        let before = self.item(partition).and_then(|item| item.residue.as_ref());
        let holder = |residue: &Residue| residue.holder.map(|holder| holder.operation);
        let same = before.is_some_and(|before| {
            before.reason == residue.reason && holder(before) == holder(&residue)
        });
        if !same {
            self.notes.push((partition, Note::Left(residue.clone())));
        }
        self.left.insert(partition, residue);
    }

    /// When a copy that was given up is begun again: later each time, and not all at once.
    fn retry_at(&self, inputs: &Inputs<'_>, partition: PartitionId) -> Timestamp {
        let attempts = self.item(partition).map_or(0, |item| item.attempts).min(16);
        let delay = MOVE_RETRY_DELAY.saturating_mul(1 << attempts).min(MOVE_RETRY_DELAY_MAX);
        // Between half and one and a half times that.
        let spread = mix(inputs.sense.random ^ partition.0) % 1_000;
        let nanos = delay.as_nanos() * u128::from(500 + spread) / 1_000;
        later(inputs.date, Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// Those that are not there any more are done; those that are only on a disk, and nobody knows of, are
    /// left until a listing says otherwise.
    fn settle(&mut self, scene: &Scene<'_>) {
        let open = self.operation.items.iter().filter(|(_, item)| !item.done);
        let over: Vec<PartitionId> =
            open.map(|(id, _)| *id).filter(|id| !self.remaining.contains_key(id)).collect();
        for partition in over {
            let still = self.item(partition).and_then(|item| item.residue.as_ref());
            let still = still.is_some_and(|residue| residue.reason == Reason::StillThere);
            let asks = kind::of(self.operation.kind).asks_disks;
            let unsure = still && asks && self.listed.is_none();
            if !unsure && !self.stray.contains(&partition) {
                self.notes.push((partition, Note::Done));
            }
        }
        for partition in self.stray.clone() {
            if self.item(partition).is_none_or(|item| item.done) {
                self.notes.push((partition, Note::Found { bytes: 0, relocation: None }));
            }
            let detail = "its folder is on a disk of the target, and nobody uses it".to_owned();
            let residue = self.residue(scene.inputs, partition, Reason::StillThere, detail);
            self.leave(partition, residue);
        }
    }

    /// Locks that are still needed and run out soon.
    fn renew(&mut self, inputs: &Inputs<'_>) {
        let soon = later(inputs.date, PARTITION_LOCK_LEASE / 2);
        let held = inputs.state.operations.locks.iter();
        let held = held.flat_map(|(id, locks)| locks.iter().map(move |lock| (*id, lock)));
        let own = held.filter(|(id, lock)| {
            let ours = lock.operation == self.operation.id
                && lock.expires < soon
                && lock.expires > inputs.date;
            ours && self.remaining.contains_key(id) && !self.left.contains_key(id)
        });
        let renewals: Vec<_> = own.map(|(id, lock)| (id, Note::Renew(lock.kind))).collect();
        self.notes.extend(renewals);
    }

    /// The state it takes, if another one.
    fn next(&mut self, scene: &Scene<'_>) -> Option<OperationState> {
        use OperationState::{Incomplete, Planned, Running, Verifying};
        let is_busy = self.round.underway + self.round.queued > 0;
        if (kind::of(self.operation.kind).void)(scene.inputs.state, self.operation).is_some() {
            return Some(OperationState::Failed);
        }
        match self.operation.state {
            Planned => Some(Running),
            Running => (!is_busy).then_some(Verifying),
            Verifying => {
                let asked = kind::witnesses(scene.inputs.state, self.operation);
                if self.has_to_ask(scene, &asked) {
                    self.round.ask = asked;
                }
                is_busy.then_some(Running)
            }
            Incomplete if is_busy => Some(Running),
            Incomplete => self.is_worth_verifying(scene).then_some(Verifying),
            _ => None,
        }
    }

    /// Whether somebody who could answer has not, or not lately.
    fn has_to_ask(&self, scene: &Scene<'_>, asked: &[NodeId]) -> bool {
        let Some(listed) = &self.listed else {
            return asked.iter().any(|node| scene.inputs.fresh(*node).is_some());
        };
        let unheard = |node: &&NodeId| {
            !listed.nodes.contains_key(node) && scene.inputs.fresh(**node).is_some()
        };
        asked.iter().any(|node| unheard(&node)) && scene.inputs.now.since(listed.at) >= ASK_AGAIN
    }

    /// Whether a verification could end otherwise than the last one.
    fn is_worth_verifying(&self, scene: &Scene<'_>) -> bool {
        let inputs = scene.inputs;
        let witnesses = kind::witnesses(inputs.state, self.operation);
        // What is on a disk and known to nobody, or cannot be seen, is so by no doing of ours: no hurry.
        let open = self.operation.items.iter().filter(|(_, item)| !item.done);
        let stray = open.filter(|(id, _)| !self.remaining.contains_key(id)).count() > 0;
        let evidence = self.operation.evidence.as_ref();
        let unsure = evidence.is_some_and(|evidence| {
            evidence.left == 0 && evidence.round == self.operation.verification
        });
        self.remaining.is_empty()
            && witnesses
                .iter()
                .all(|node| inputs.fresh(*node).is_some() || self.is_gone(inputs, *node))
            && (!(stray || unsure) || self.age(inputs) >= OPERATION_RESCAN_INTERVAL / 6)
    }

    /// How long it has been in its state.
    fn age(&self, inputs: &Inputs<'_>) -> Duration {
        inputs.since(self.operation.changed)
    }

    /// What blocks all of it: one reason that does not pass by itself, for everything that is left.
    fn blocked(&self, scene: &Scene<'_>) -> Option<Residue> {
        if self.round.underway + self.round.queued > 0 {
            return None;
        }
        let mut left = self.left.values();
        if let Some(first) = left.next() {
            let lasts = first.reason.lasting() == Lasting::Permanent;
            let all = left.all(|residue| residue.reason == first.reason);
            return (lasts && all).then(|| first.clone());
        }
        let detail = self.out_of_sight(scene.inputs)?;
        let (reason, at) = (Reason::Unreachable, scene.inputs.date);
        let before = self.operation.blocked.as_ref().filter(|before| before.reason == reason);
        let since = before.map_or(at, |before| before.since);
        Some(Residue { reason, detail, since, last_checked: at, holder: None, next_retry: None })
    }

    /// Whether a node is silent, and said to be destroyed.
    fn is_gone(&self, inputs: &Inputs<'_>, node: NodeId) -> bool {
        self.operation.attested.is_some() && inputs.is_silent(node)
    }

    /// Which node or disk of the target cannot be seen, in words.
    fn out_of_sight(&self, inputs: &Inputs<'_>) -> Option<String> {
        let witnesses = kind::witnesses(inputs.state, self.operation);
        let is_missed = |node: &&NodeId| inputs.is_silent(**node) && !self.is_gone(inputs, **node);
        if let Some(silent) = witnesses.iter().find(is_missed) {
            return Some(format!("{silent:?} is silent: what is on its disks cannot be seen"));
        }
        // What the last look could not see, until another one does.
        let evidence = self.operation.evidence.as_ref()?;
        if self.operation.state == OperationState::Succeeded {
            return None;
        }
        let heard = |node: &&NodeId| evidence.witnesses.iter().any(|w| w.node == **node);
        let unheard = |node: &&NodeId| !heard(node) && !self.is_gone(inputs, **node);
        if let Some(node) = witnesses.iter().find(unheard) {
            return Some(format!("{node:?} has not said what is in the folders of its disks"));
        }
        let mut unseen = kind::unseen(inputs.state, self.operation, evidence).into_iter();
        let attested = self.operation.attested.is_some();
        let disk = unseen.find(|disk| !(attested && inputs.is_out_of_sight(*disk)))?;
        let node = inputs.state.disks.get(&disk).map(|disk| disk.node);
        let node = node.map_or_else(String::new, |node| format!(" of {node:?}"));
        Some(format!(
            "{disk:?}{node} is not in use by its node or cannot be read: what is on it cannot be seen"
        ))
    }

    fn finish(self, scene: &Scene<'_>, next: Option<OperationState>) -> (Round, Vec<Command>) {
        let (operation, at) = (self.operation.id, scene.inputs.date);
        let blocked = self.blocked(scene);
        let reason = |residue: &Option<Residue>| residue.as_ref().map(|residue| residue.reason);
        let changed = reason(&blocked) != reason(&self.operation.blocked);
        let verdict = next.is_none().then(|| self.verdict(scene)).flatten();
        let mut commands = Vec::new();
        let mut notes = self.notes;
        // The state changes with the last of them: what is found must be on record before.
        while notes.len() > NOTES_PER_COMMAND_MAX {
            let rest = notes.split_off(NOTES_PER_COMMAND_MAX);
            let (blocked, state) = (None, None);
            commands.push(Command::Operation(Act::Note { operation, notes, blocked, state, at }));
            notes = rest;
        }
        if !notes.is_empty() || next.is_some() || changed {
            let blocked = changed.then_some(blocked);
            let note = Act::Note { operation, notes, blocked, state: next, at };
            commands.push(Command::Operation(note));
        }
        // Planned for another state, a step would be refused: it is planned again in the next round.
        let goes_on = next != Some(OperationState::Failed);
        if goes_on && self.operation.state != OperationState::Planned {
            commands.extend(self.steps);
        }
        commands.extend(verdict);
        (self.round, commands)
    }

    /// The verdict, when all the evidence is there.
    fn verdict(&self, scene: &Scene<'_>) -> Option<Command> {
        let inputs = scene.inputs;
        if self.operation.state != OperationState::Verifying {
            return None;
        }
        let heard = self.listed.as_ref().map(|listed| &listed.nodes);
        let asked = kind::witnesses(inputs.state, self.operation);
        let answers = |node: &NodeId| heard.is_some_and(|heard| heard.contains_key(node));
        let waits = self.age(inputs) < OPERATION_RESCAN_INTERVAL;
        if waits && asked.iter().any(|node| !answers(node) && !inputs.is_silent(*node)) {
            return None;
        }
        let area = Area::of(inputs.state, self.operation);
        let witness = |(node, listing): (&NodeId, &Listing)| {
            let is_here = |disk| area.is_at(*node, disk) && !inputs.has_failed(disk);
            let here = listing.replicas.iter().filter(|(_, _, disk)| is_here(*disk));
            let found = here.count() as u64;
            let disks = listing.disks.iter().copied().filter(|d| area.is_at(*node, *d)).collect();
            Witness { node: *node, boot: listing.boot, found, disks }
        };
        let mut dead = area.disks(inputs.state);
        let mut believed = dead.clone();
        dead.retain(|disk| inputs.has_failed(*disk));
        believed.retain(|disk| self.operation.attested.is_some() && inputs.is_out_of_sight(*disk));
        let witnesses = heard.into_iter().flatten().map(witness).collect();
        let left = self.remaining.keys().chain(&self.stray).collect::<BTreeSet<_>>().len();
        let evidence = Evidence {
            round: self.operation.verification,
            at: inputs.date,
            scanned: inputs.state.partitions.len() as u64,
            processed: self.operation.items.len() as u64,
            left: left as u64,
            witnesses,
            dead,
            believed,
        };
        let (operation, at) = (self.operation.id, inputs.date);
        Some(Command::Operation(Act::Verdict { operation, evidence, at }))
    }
}

/// Spreads the bits of a number (the finalizer of SplitMix64).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
