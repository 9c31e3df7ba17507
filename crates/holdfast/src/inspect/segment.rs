//! A segment of a log: its head, and each record with the verdict of its checksums.

use super::Inspected;
use partition::extent::DataKey;
use partition::extent::command::{KIND_DELETE, KIND_TRIM, KIND_WRITE};
use partition::log::record::{MAGIC, Malformed, RECORD_HEADER_BYTES, RecordHeader};
use partition::log::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, SegmentKind};
use partition::replica::KIND_BARRIER;
use prost::Message;
use serde_json::json;
use std::path::Path;
use types::checksum::crc32c;
use types::limits::CHECKSUM_BLOCK_BYTES;
use types::namespace::Stamped;

/// Records begin at multiples of this.
const ALIGNMENT: usize = 8;

/// What one checksum covers, and what file systems give back at a time.
const BLOCK: usize = CHECKSUM_BLOCK_BYTES as usize;
const PAGE: usize = 4096;

pub(super) fn inspect(path: &Path, content: &[u8], limit: usize) -> Inspected {
    let mut inspected = Inspected::new("segment", path);
    match SegmentHeader::decode(content) {
        Ok(head) => {
            let kind = match head.kind {
                SegmentKind::Log => "log",
                SegmentKind::Base => "base",
            };
            let head = json!({
                "kind": kind, "partition": head.partition.0, "replica": head.replica.0,
                "number": head.number, "first_sequence": head.first.0,
            });
            inspected.head = head.as_object().cloned().unwrap_or_default();
        }
        Err(error) => inspected.damage(0, error),
    }
    let mut at = SEGMENT_HEADER_BYTES as usize;
    while at < content.len() {
        if content[at..].iter().take(RECORD_HEADER_BYTES as usize).all(|byte| *byte == 0) {
            // Room that was given back, or was never written.
            match next_record(content, at) {
                Some(next) => at = next,
                None => break,
            }
            continue;
        }
        at = match record(&mut inspected, content, at, limit) {
            Some(next) => next,
            None => match next_record(content, at + ALIGNMENT) {
                Some(next) => next,
                None => break,
            },
        };
    }
    inspected
}

/// Where the next thing that looks like a record begins.
fn next_record(content: &[u8], from: usize) -> Option<usize> {
    let from = from.next_multiple_of(ALIGNMENT);
    (from..content.len()).step_by(ALIGNMENT).find(|at| content[*at..].starts_with(&MAGIC))
}

/// Prints the record at an offset; returns where the next begins, when that can be believed.
fn record(inspected: &mut Inspected, content: &[u8], at: usize, limit: usize) -> Option<usize> {
    let header = match RecordHeader::decode(&content[at..]) {
        Ok(header) => header,
        Err(error) => {
            inspected.damage(at, error);
            return None;
        }
    };
    let key_at = at + RECORD_HEADER_BYTES as usize;
    let payload_at = key_at + header.key_bytes as usize;
    let end = payload_at + header.payload_bytes as usize;
    let (Some(key), Some(payload)) =
        (content.get(key_at..payload_at), content.get(payload_at..end))
    else {
        inspected.damage(at, "the record is cut off");
        return None;
    };
    let verdict = match header.verify(key, payload) {
        Ok(()) => "good".to_owned(),
        Err(Malformed::PayloadChecksum) if only_given_back(&header, content, key, payload_at) => {
            "partly given back".to_owned()
        }
        Err(error) => {
            inspected.damage(at, error);
            error.to_string()
        }
    };
    let item = json!({
        "id": at, "sequence": header.sequence.0, "epoch": header.epoch.0, "kind": header.kind,
        "partition": header.partition.0, "key_bytes": header.key_bytes,
        "payload_bytes": header.payload_bytes, "meaning": meaning(&header, key, payload),
        "verdict": verdict,
    });
    inspected.item(limit, item);
    Some(at + header.record_bytes() as usize)
}

/// Whether all that is wrong with a payload is that dead bytes were given back to the file system,
/// which leaves whole pages of zeros.
fn only_given_back(header: &RecordHeader, content: &[u8], key: &[u8], payload_at: usize) -> bool {
    if !header.is_covered_by_key() {
        return false;
    }
    let payload = &content[payload_at..payload_at + header.payload_bytes as usize];
    let blocks = payload.len().div_ceil(BLOCK);
    let Some(sums_at) = key.len().checked_sub(blocks * 4) else { return false };
    let sums = key[sums_at..].chunks_exact(4);
    payload.chunks(BLOCK).zip(sums).enumerate().all(|(number, (block, sum))| {
        crc32c(block).to_le_bytes() == sum || {
            let from = payload_at + number * BLOCK;
            touches_empty_page(content, from, from + block.len())
        }
    })
}

fn touches_empty_page(content: &[u8], from: usize, until: usize) -> bool {
    let first = from / PAGE * PAGE;
    (first..until)
        .step_by(PAGE)
        .any(|page| content[page..content.len().min(page + PAGE)].iter().all(|byte| *byte == 0))
}

fn meaning(header: &RecordHeader, key: &[u8], payload: &[u8]) -> String {
    let data = DataKey::decode(key)
        .map(|key| format!("object {} offset {} length {}", key.object, key.offset, key.length));
    match (header.kind, data) {
        (KIND_BARRIER, _) => "barrier".into(),
        (KIND_WRITE, Ok(range)) => format!("write {range}"),
        (KIND_TRIM, Ok(range)) => format!("trim {range}"),
        (KIND_DELETE, Ok(range)) => format!("delete {range}"),
        (1, Err(_)) => command(payload),
        (kind, _) => format!("kind {kind} is not known to this build"),
    }
}

fn command(payload: &[u8]) -> String {
    let Ok(stamped) = Stamped::decode(payload) else { return "undecodable command".into() };
    let Some(request) = stamped.request else { return "no command".into() };
    let (session, number) = (request.session, request.number);
    match request.command {
        Some(command) => format!("session {session} number {number}: {command:?}"),
        None => format!("session {session} number {number}: unknown command"),
    }
}
