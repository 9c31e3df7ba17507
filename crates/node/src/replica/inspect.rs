//! Saying what this replica holds, so that it can be compared with the others.
//!
//! Leaders and followers answer alike, from a frozen view of what they have applied. The reading
//! goes on away from the loop; meanwhile no room is given back, so that what the view points to
//! stays where it is. Who asks sets the pace: a page at a time. Who wants to compare names a place of the
//! log, and is answered when exactly that is applied, or after a moment. Damage that is met is told to who
//! asked, and mended.

use super::read::{Damage, read_piece};
use super::scrub::Page;
use super::{Holder, Machine};
use crate::log;
use crate::run::NodeEvent;
use partition::extent::{ChunkMap, Index, Piece};
use partition::kv::{Kv, Read};
use partition::namespace::{check, digest, files};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use types::checksum::Digest64;
use types::limits::{
    CHUNK_BYTES, INSPECT_BYTES_MAX, INSPECT_CHUNKS_MAX, INSPECT_DAMAGES_MAX, INSPECT_FILES_MAX,
    INSPECT_FINDINGS_MAX, INSPECT_WAIT_MAX, INSPECT_WAITING_MAX, MEND_BATCH,
};
use types::{Moment, PartitionId, Sequence};
use wire::inspect::{
    Ask, AskChunks, AskFiles, AskNamespace, ChunkBytes, Chunks, FileBytes, Files, Head, Namespace,
    What,
};
use wire::{Reply, Request, Responder, Status};
use world::File;

/// A frozen view of a replica.
pub(super) struct View {
    head: Head,
    partition: PartitionId,
    kv: Arc<dyn Read>,
    segments: BTreeMap<u32, Result<File, String>>,
}

/// Somebody who waits for a place of the log.
#[derive(Debug)]
pub(super) struct Waiting {
    at: Sequence,
    pub(super) until: Moment,
    what: What,
    responder: Responder,
}

impl Holder {
    /// Answers an inspection, later.
    pub fn inspect(&mut self, request: &Request, responder: Responder) {
        let Ok(Ask { what: Some(what), at }) = request.decode::<Ask>() else {
            return responder.refuse(Status::Invalid, "the question does not decode");
        };
        let is_data = matches!(self.machine, Machine::Data(_));
        if is_data != matches!(what, What::Chunks(_)) {
            return responder.refuse(Status::Unsupported, "this is another kind of partition");
        }
        let at = Sequence(at);
        if self.machine.applied() >= at || self.failed.is_some() {
            return self.inspect_now(what, responder);
        }
        if self.inspections.len() >= INSPECT_WAITING_MAX {
            return responder.refuse(Status::Busy, "too many wait to be told what is here");
        }
        let until = self.context.world.now() + INSPECT_WAIT_MAX;
        self.inspections.push(Waiting { at, until, what, responder });
    }

    /// Answers those that waited for the place that was just reached: before anything after it is applied.
    pub(super) fn inspect_at(&mut self, applied: Sequence) {
        if self.inspections.iter().any(|waiting| waiting.at <= applied) {
            self.inspect_those(|waiting| waiting.at <= applied);
        }
    }

    /// Answers those that have waited long enough, with what is here now.
    pub(super) fn tend_inspections(&mut self, now: Moment) {
        if self.inspections.iter().any(|waiting| waiting.until <= now) {
            self.inspect_those(|waiting| waiting.until <= now);
        }
    }

    fn inspect_those(&mut self, which: impl Fn(&Waiting) -> bool) {
        let all = std::mem::take(&mut self.inspections);
        let (now, later) = all.into_iter().partition(which);
        self.inspections = later;
        let now: Vec<Waiting> = now;
        now.into_iter().for_each(|waiting| self.inspect_now(waiting.what, waiting.responder));
    }

    fn inspect_now(&mut self, what: What, responder: Responder) {
        let view = match self.view() {
            Ok(view) => view,
            Err(reason) => return responder.refuse(Status::Damaged, reason),
        };
        self.snapshots.begin_reading();
        let (context, replica) = (self.context.clone(), self.id);
        self.context.world.spawn("inspect", async move {
            let (answer, found) = context.world.blocking(move || view.answer(what)).await;
            context.post(NodeEvent::Inspected { replica });
            if !found.is_empty() {
                context.post(NodeEvent::DamageFound { replica, damages: found });
            }
            match answer {
                Ok(reply) => responder.reply(reply),
                Err(reason) => responder.refuse(Status::Damaged, reason),
            }
        });
    }

    /// An inspection has ended.
    pub fn inspected(&mut self) {
        self.snapshots.end_reading();
    }

    pub(super) fn view(&mut self) -> Result<View, String> {
        self.machine.checkpoint().map_err(|error| error.to_string())?;
        let numbers: Vec<u32> = self.log.segments().keys().copied().collect();
        let file = |number: u32| self.log.file(number).map_err(|e: log::Error| e.to_string());
        let segments = numbers.into_iter().map(|number| (number, file(number))).collect();
        let head = Head {
            replica: self.id.0,
            epoch: self.epoch().0,
            applied: self.machine.applied().0,
            log_end: self.log.end().0,
        };
        Ok(View { head, partition: self.partition, kv: self.kv.snapshot(), segments })
    }
}

impl View {
    /// The answer, and what damage was met on the way.
    fn answer(&self, what: What) -> (Result<Reply, String>, Vec<Damage>) {
        match what {
            What::Namespace(ask) => {
                (self.namespace(ask).map(|answer| Reply::message(&answer)), Vec::new())
            }
            What::Files(ask) => (self.files(ask).map(|answer| Reply::message(&answer)), Vec::new()),
            What::Chunks(ask) => {
                let (answer, found) = self.chunks(ask);
                (answer.map(|answer| Reply::message(&answer)), found)
            }
        }
    }

    fn namespace(&self, ask: AskNamespace) -> Result<Namespace, String> {
        let findings_max = (ask.findings_max as usize).min(INSPECT_FINDINGS_MAX);
        let mut findings = Vec::new();
        let counted = check::check(self.kv.as_ref(), &mut |finding| {
            findings.push(finding.to_string());
            if findings.len() < findings_max {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        let counted = counted.map_err(|fault| fault.to_string())?;
        let digest = digest::whole(self.kv.as_ref()).map_err(|fault| fault.to_string())?;
        Ok(Namespace {
            head: Some(self.head),
            digest,
            inodes: counted.inodes,
            names: counted.names,
            used: counted.used,
            findings,
        })
    }

    fn files(&self, ask: AskFiles) -> Result<Files, String> {
        let files_max = (ask.files_max as usize).clamp(1, INSPECT_FILES_MAX);
        let page = files::page(self.kv.as_ref(), ask.after, files_max);
        let page = page.map_err(|fault| fault.to_string())?;
        let file = |file: files::File| FileBytes {
            inode: file.inode,
            allocated: file.allocated,
            unsettled: file.unsettled,
            partitions: file.partitions.into_iter().map(|partition| partition.0).collect(),
        };
        let files = page.files.into_iter().map(file).collect();
        Ok(Files { head: Some(self.head), files, next: page.next.unwrap_or(0) })
    }

    /// Reads a page for the scrub.
    pub(super) fn page(&self, ask: AskChunks) -> Result<Page, String> {
        let (answer, found) = self.chunks(ask);
        let answer = answer?;
        let bytes = answer.chunks.iter().map(|chunk| chunk.bytes).sum();
        let last = answer.chunks.last().filter(|_| !answer.end);
        Ok(Page { found, bytes, next: last.map(|chunk| (chunk.object, chunk.chunk)) })
    }

    fn chunks(&self, ask: AskChunks) -> (Result<Chunks, String>, Vec<Damage>) {
        let mut found = Vec::new();
        (self.chunks_finding(ask, &mut found), found)
    }

    fn chunks_finding(&self, ask: AskChunks, found: &mut Vec<Damage>) -> Result<Chunks, String> {
        let chunks_max = (ask.chunks_max as usize).clamp(1, INSPECT_CHUNKS_MAX);
        let bytes_max = match ask.bytes_max {
            0 => INSPECT_BYTES_MAX,
            bytes => bytes.min(INSPECT_BYTES_MAX),
        };
        let first = (ask.object, ask.chunk) == (0, 0);
        let after = (!first).then_some((ask.object, ask.chunk));
        let (mut maps, mut bytes, mut end) = (Vec::new(), 0, true);
        Index::scan(self.kv.as_ref(), after, &mut |object, chunk, map| {
            if maps.len() == chunks_max || bytes >= bytes_max {
                end = false;
                return ControlFlow::Break(());
            }
            bytes += map.allocated();
            maps.push((object, chunk, map));
            ControlFlow::Continue(())
        })
        .map_err(|error| error.to_string())?;
        let chunks =
            maps.iter().map(|(object, chunk, map)| self.chunk(*object, *chunk, map, found));
        Ok(Chunks { head: Some(self.head), chunks: chunks.collect(), end })
    }

    /// Reads and verifies all that is held of one chunk.
    fn chunk(
        &self,
        object: u64,
        chunk: u64,
        map: &ChunkMap,
        found: &mut Vec<Damage>,
    ) -> ChunkBytes {
        let mut digest = Digest64::default();
        let (mut bytes, mut run_end) = (0, None);
        let mut damages = Vec::new();
        for extent in map.extents() {
            if run_end != Some(extent.start) {
                digest.update(&extent.start.to_le_bytes());
            }
            run_end = Some(extent.end());
            bytes += u64::from(extent.length);
            let offset = chunk * CHUNK_BYTES + u64::from(extent.start);
            let piece = Piece { offset, extent: *extent };
            let mut out = vec![0; extent.length as usize];
            let read = match self.segments.get(&extent.at.segment) {
                Some(Ok(file)) => read_piece(self.partition, object, &piece, file, &mut out),
                Some(Err(reason)) => Err(reason.clone()),
                None => Err("the segment's file is missing".into()),
            };
            if let Err(reason) = &read
                && found.len() < MEND_BATCH
            {
                found.push(Damage { object, piece, reason: reason.clone() });
            }
            match read {
                Ok(()) => digest.update(&out),
                Err(reason) if damages.len() < INSPECT_DAMAGES_MAX => {
                    let (segment, at) = (extent.at.segment, extent.at.offset);
                    damages
                        .push(format!("offset {offset}, in segment {segment} at {at}: {reason}"));
                }
                Err(_) => {}
            }
        }
        ChunkBytes { object, chunk, bytes, digest: digest.finish(), damages }
    }
}
