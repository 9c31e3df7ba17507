//! Reads partitions for operations that verify them: the doing of [`crate::operation::kind`]'s `scrub`.
//!
//! The member that leads asks every replica of a partition for the same page at the same time: the nodes read
//! and verify it, and answer with digests. What looks different is asked for once more at one place of the log,
//! which each replica answers when it has applied exactly that, so that writes going on meanwhile are no
//! difference. After each page everybody rests for as long as it should have taken at the operation's bandwidth.
//!
//! Damage needs nobody to tell the node that met it: it mends that by itself, and the partition is read again.
//! A reading is given up as soon as nobody wants it any more: paused, cancelled, another configuration, another
//! member that leads.

mod compare;

use crate::core::Core;
use crate::operation::{Read as Outcome, Readings, Round};
use crate::plan::Plan;
use crate::state::State;
use compare::Place;
use std::sync::Arc;
use std::time::Duration;
use types::configuration::PartitionKind;
use types::limits::{
    INSPECT_CHUNKS_MAX, INSPECT_FINDINGS_MAX, SCRUB_ATTEMPTS_MAX, SCRUB_BYTES_PER_SECOND,
    SCRUB_PAGE_BYTES, SCRUB_PAGE_DEADLINE, SCRUB_SUSPECTS_MAX,
};
use types::operation::Reason;
use types::{NodeId, OperationId, PartitionId, ReplicaId};
use wire::inspect::{Ask, AskChunks, AskNamespace, Chunks, Head, Namespace, What};
use wire::{Class, Operation, Request, Status};

/// Who rests looks this often whether it is still wanted.
const LOOK: Duration = Duration::from_millis(500);

/// What a name and an inode take, about.
const NAME_BYTES: u64 = 128;

/// Begins to read what the plan wants read, and forgets what nobody wants any more.
pub(crate) fn read(core: &Arc<Core>, plan: &Plan) {
    let readers: Vec<Reader> = {
        let mut leading = core.leading();
        let Some(leading) = leading.as_mut() else { return };
        let readings = &mut leading.readings;
        core.machine.read(|state, _| {
            readings.retain(|operation, partition| {
                let operation =
                    plan.rounds.get(&operation).and(state.operations.all.get(&operation));
                let operation = operation.filter(|operation| operation.state.is_at_work());
                let item = operation.and_then(|operation| operation.items.get(&partition));
                item.is_some_and(|item| !item.done)
            });
            let wanted = plan.rounds.iter().flat_map(|(id, round)| wanted(*id, round));
            wanted
                .filter_map(|(id, partition)| begin(core, state, readings, id, partition))
                .collect()
        })
    };
    for reader in readers {
        core.world.spawn("scrub", reader.run());
    }
}

fn wanted(
    operation: OperationId,
    round: &Round,
) -> impl Iterator<Item = (OperationId, PartitionId)> + '_ {
    round.read.iter().map(move |partition| (operation, *partition))
}

fn begin(
    core: &Arc<Core>,
    state: &State,
    readings: &mut Readings,
    operation: OperationId,
    partition: PartitionId,
) -> Option<Reader> {
    let on_record = state.operations.all.get(&operation)?;
    let attempt = on_record.items.get(&partition).map_or(0, |item| item.attempts);
    let record = state.partitions.get(&partition)?;
    let configuration = &record.configuration;
    let number = readings.begin(operation, partition, attempt, configuration.epoch)?;
    let replica = |member: &types::Member| {
        let address = state.nodes.get(&member.node).map_or("", |node| node.address.as_str());
        Replica { id: member.replica, node: member.node, address: address.to_owned() }
    };
    Some(Reader {
        core: core.clone(),
        operation,
        partition,
        number,
        kind: configuration.kind,
        replicas: configuration.members.iter().map(replica).collect(),
        bandwidth: on_record.limits.bandwidth.unwrap_or(SCRUB_BYTES_PER_SECOND),
    })
}

/// A replica that is read.
struct Replica {
    id: ReplicaId,
    node: NodeId,
    address: String,
}

/// Why reading ends before its end.
enum Stop {
    /// Nobody wants it any more.
    Unwanted,
    /// It cannot go on, or need not.
    Unwell(Reason, String),
}

/// Reads one partition.
struct Reader {
    core: Arc<Core>,
    operation: OperationId,
    partition: PartitionId,
    number: u64,
    kind: PartitionKind,
    replicas: Vec<Replica>,
    bandwidth: u64,
}

impl Reader {
    async fn run(self) {
        let read = match self.kind {
            PartitionKind::Data => self.data().await,
            PartitionKind::Namespace => self.namespace().await,
        };
        let outcome = match read {
            Ok(()) => Outcome::Well,
            Err(Stop::Unwanted) => return,
            Err(Stop::Unwell(reason, detail)) => {
                tracing::warn!(
                    operation = %self.operation,
                    partition = %self.partition,
                    %reason,
                    detail,
                    action = reason.action(),
                    "a scrub found something"
                );
                Outcome::Unwell { reason, detail }
            }
        };
        if let Some(leading) = self.core.leading().as_mut()
            && let Some(reading) =
                leading.readings.going_on(self.operation, self.partition, self.number)
        {
            reading.outcome = Some(outcome);
        }
        self.core.poke.notify_one();
    }

    /// Reads every chunk. Damage does not end it: all of it is to be found, and mended.
    async fn data(&self) -> Result<(), Stop> {
        let (mut after, mut found, mut suspects) = ((0, 0), None, 0);
        loop {
            let pages = self.chunks(after, page_from(after), 0).await?;
            let seen = compare::pages(&pages);
            if let Some((at, what)) = seen.damages.first() {
                let Replica { id, node, .. } = &self.replicas[*at];
                found.get_or_insert(Stop::Unwell(
                    Reason::Damaged,
                    format!("{id:?} on {node:?}: {what}"),
                ));
            }
            suspects += seen.suspects.len();
            if suspects > SCRUB_SUSPECTS_MAX {
                let detail = format!("more than {SCRUB_SUSPECTS_MAX} chunks looked different");
                return Err(Stop::Unwell(Reason::Changing, detail));
            }
            for place in &seen.suspects {
                self.chunk(*place, furthest(&pages)).await?;
            }
            match seen.upto {
                Some(upto) => after = upto,
                None => return found.map_or(Ok(()), Err),
            }
        }
    }

    /// Compares one chunk, at a place of the log that all replicas are asked about.
    async fn chunk(&self, place: Place, mut at: u64) -> Result<(), Stop> {
        let (object, chunk) = place;
        let before = compare::before(place);
        let ask = AskChunks { chunks_max: 1, ..page_from(before) };
        for attempt in 0..SCRUB_ATTEMPTS_MAX {
            let pages = self.chunks(before, ask, at).await?;
            if are_together(pages.iter().map(|page| page.head)) {
                if compare::alike(&pages, place) {
                    return Ok(());
                }
                let detail = format!("chunk {chunk} of inode {object} is not the same everywhere");
                return Err(Stop::Unwell(Reason::Differs, detail));
            }
            at = ahead(furthest(&pages), attempt);
        }
        let detail = format!("chunk {chunk} of inode {object} could not be seen at one place");
        Err(Stop::Unwell(Reason::Changing, detail))
    }

    /// The same page of every replica, and a rest.
    async fn chunks(&self, after: Place, ask: AskChunks, at: u64) -> Result<Vec<Chunks>, Stop> {
        let (object, chunk) = after;
        let what = What::Chunks(AskChunks { object, chunk, ..ask });
        let pages: Vec<Chunks> = self.ask_all(what, at).await?;
        for (page, Replica { id, node, .. }) in pages.iter().zip(&self.replicas) {
            if !compare::is_page_after(after, page) {
                let detail = format!("{id:?} on {node:?} answers with another page");
                return Err(Stop::Unwell(Reason::Unreachable, detail));
            }
        }
        let bytes = |page: &Chunks| page.chunks.iter().map(|chunk| chunk.bytes).sum();
        self.rest(&pages.iter().map(bytes).collect::<Vec<u64>>()).await?;
        Ok(pages)
    }

    /// Reads all names and inodes, and compares them as a whole.
    async fn namespace(&self) -> Result<(), Stop> {
        let findings_max = u32::try_from(INSPECT_FINDINGS_MAX).expect("a small number");
        let what = What::Namespace(AskNamespace { findings_max });
        let mut at = 0;
        for attempt in 0..SCRUB_ATTEMPTS_MAX {
            let all: Vec<Namespace> = self.ask_all(what, at).await?;
            let bytes = |one: &Namespace| (one.inodes + one.names) * NAME_BYTES;
            self.rest(&all.iter().map(bytes).collect::<Vec<u64>>()).await?;
            for (said, Replica { id, node, .. }) in all.iter().zip(&self.replicas) {
                if let Some(finding) = said.findings.first() {
                    let detail = format!("{id:?} on {node:?} contradicts itself: {finding}");
                    return Err(Stop::Unwell(Reason::Damaged, detail));
                }
            }
            let heads = || all.iter().map(|one| one.head);
            if are_together(heads()) {
                if all.iter().all(|one| one.digest == all[0].digest) {
                    return Ok(());
                }
                let detail = "the names and inodes are not the same everywhere".to_owned();
                return Err(Stop::Unwell(Reason::Differs, detail));
            }
            at = ahead(heads().map(place_of).max().unwrap_or(0), attempt);
        }
        let detail = "the names could not be seen at one place".to_owned();
        Err(Stop::Unwell(Reason::Changing, detail))
    }

    async fn ask_all<M: Said>(&self, what: What, at: u64) -> Result<Vec<M>, Stop> {
        let asked = self.replicas.iter().map(|replica| self.ask(replica, what, at));
        futures::future::join_all(asked).await.into_iter().collect()
    }

    async fn ask<M: Said>(&self, replica: &Replica, what: What, at: u64) -> Result<M, Stop> {
        let request = Request::new(Operation::Scrub)
            .partition(self.partition)
            .class(Class::Background)
            .deadline(SCRUB_PAGE_DEADLINE)
            .message(&Ask { what: Some(what), at });
        let Replica { id, node, address } = replica;
        let unwell = |reason: Reason, why: String| {
            Stop::Unwell(reason, format!("{id:?} on {node:?}: {why}"))
        };
        let reply = self.core.network.peers.call(address, request).await.map_err(|error| {
            let is_damage = matches!(&error, wire::Error::Refused { status: Status::Damaged, .. });
            let reason = if is_damage { Reason::Damaged } else { Reason::Unreachable };
            unwell(reason, error.to_string())
        })?;
        let said: M =
            reply.decode().map_err(|error| unwell(Reason::Unreachable, error.to_string()))?;
        match said.head() {
            Some(head) if head.replica == id.0 => Ok(said),
            _ => Err(unwell(Reason::Unreachable, "another replica answers for it".to_owned())),
        }
    }

    /// Counts what was read, and rests as long as that should have taken.
    async fn rest(&self, bytes: &[u64]) -> Result<(), Stop> {
        let until = {
            let now = self.core.world.now();
            let mut leading = self.core.leading();
            let leading = leading.as_mut().ok_or(Stop::Unwanted)?;
            let reading = leading.readings.going_on(self.operation, self.partition, self.number);
            reading.ok_or(Stop::Unwanted)?.bytes += bytes.iter().sum::<u64>();
            let rests = self.replicas.iter().zip(bytes).map(|(replica, bytes)| {
                let whom = (self.operation, replica.node);
                leading.readings.rest(whom, now, *bytes, self.bandwidth)
            });
            rests.max().unwrap_or(now)
        };
        loop {
            let now = self.core.world.now();
            if now >= until {
                return Ok(());
            }
            self.core.world.sleep(until.since(now).min(LOOK)).await;
            if !self.is_wanted() {
                return Err(Stop::Unwanted);
            }
        }
    }

    fn is_wanted(&self) -> bool {
        let mut leading = self.core.leading();
        leading.as_mut().is_some_and(|leading| {
            leading.readings.going_on(self.operation, self.partition, self.number).is_some()
        })
    }
}

/// An answer that says who gave it, and from what state.
trait Said: prost::Message + Default {
    fn head(&self) -> Option<Head>;
}

impl Said for Chunks {
    fn head(&self) -> Option<Head> {
        self.head
    }
}

impl Said for Namespace {
    fn head(&self) -> Option<Head> {
        self.head
    }
}

fn page_from((object, chunk): Place) -> AskChunks {
    let chunks_max = u32::try_from(INSPECT_CHUNKS_MAX).expect("a few thousand");
    AskChunks { object, chunk, chunks_max, bytes_max: SCRUB_PAGE_BYTES }
}

/// Whether all of them spoke of the same place of the log.
fn are_together(heads: impl Iterator<Item = Option<Head>>) -> bool {
    let applied = |head: Option<Head>| head.map_or(0, |head| head.applied);
    heads.map(applied).collect::<std::collections::BTreeSet<u64>>().len() == 1
}

fn place_of(head: Option<Head>) -> u64 {
    head.map_or(0, |head| head.log_end.max(head.applied))
}

/// The last place of the log that any of them has.
fn furthest(pages: &[Chunks]) -> u64 {
    pages.iter().map(|page| place_of(page.head)).max().unwrap_or(0)
}

/// A place that none of them has reached when it is asked: a little further each time.
fn ahead(place: u64, attempt: u32) -> u64 {
    place.saturating_add(4 << attempt.min(16))
}
