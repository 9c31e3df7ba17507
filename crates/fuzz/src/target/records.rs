//! Segments: a head and records, as recovery and reads take them from a disk.

use super::{Target, put_checksum, u32_at};
use bytes::Bytes;
use partition::extent::Command;
use partition::extent::command::DATA_KEY_BYTES;
use partition::log::record::{RECORD_HEADER_BYTES, Record, RecordHeader};
use partition::log::segment::{SEGMENT_HEADER_BYTES, SegmentKind};
use partition::log::{Location, SegmentHeader};
use partition::replica::Entry;
use types::checksum::block_checksums;
use types::{Epoch, PartitionId, ReplicaId, Sequence};

pub(super) const TARGET: Target = Target { name: "segments", run, seeds, reseal };

const PARTITION: PartitionId = PartitionId(3);

fn run(bytes: &[u8]) {
    let Ok(head) = SegmentHeader::decode(bytes) else { return };
    assert_eq!(SegmentHeader::decode(&head.encode()), Ok(head));
    let bytes = Bytes::copy_from_slice(bytes);
    let mut offset = SEGMENT_HEADER_BYTES as usize;
    while offset < bytes.len() {
        let Ok(record) = Record::decode(&bytes.slice(offset..), PARTITION) else { return };
        assert_eq!(record.key.len(), record.header.key_bytes as usize);
        assert_eq!(record.payload.len(), record.header.payload_bytes as usize);
        record.header.verify(&record.key, &record.payload).expect("it was verified");
        // What a data partition makes of it may be a refusal.
        let _ = Command::decode_key(record.header.kind, &record.key);
        let step = record.header.record_bytes() as usize;
        assert!(step >= RECORD_HEADER_BYTES as usize && step.is_multiple_of(8));
        let at = Location { segment: head.number, offset: u32::try_from(offset).expect("short") };
        assert!(at.offset >= SEGMENT_HEADER_BYTES);
        let entry = record.into_entry();
        let header = RecordHeader::of(PARTITION, &entry);
        assert_eq!(RecordHeader::decode(&header.encode()), Ok(header));
        offset += step;
    }
}

fn entry(sequence: u64, command: Command) -> Entry {
    Entry { epoch: Epoch(1), sequence: Sequence(sequence), body: command.into_entry() }
}

fn seeds() -> Vec<Vec<u8>> {
    let write = |offset: u64, payload: Vec<u8>| {
        let sums = block_checksums(&payload);
        let checksums: Vec<u8> = sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
        let length = payload.len() as u64;
        let key = partition::extent::DataKey { object: 9, offset, length };
        Command::Write { key, checksums: checksums.into(), payload: payload.into() }
    };
    let trim = Command::Trim(partition::extent::DataKey { object: 9, offset: 5, length: 6 });
    let commands =
        [write(0, vec![1; 100]), trim, write(4096, vec![2; 5000]), Command::Delete { object: 9 }];
    let head = SegmentHeader {
        kind: SegmentKind::Log,
        partition: PARTITION,
        replica: ReplicaId(4),
        number: 1,
        first: Sequence(1),
    };
    let mut bytes = head.encode().to_vec();
    let mut seeds = vec![bytes.clone()];
    for (command, sequence) in commands.into_iter().zip(1..) {
        let entry = entry(sequence, command);
        let header = RecordHeader::of(PARTITION, &entry);
        bytes.extend_from_slice(&header.encode());
        bytes.extend_from_slice(&entry.body.key);
        bytes.extend_from_slice(&entry.body.payload);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        seeds.push(bytes.clone());
    }
    assert!(seeds[1].len() > SEGMENT_HEADER_BYTES as usize + DATA_KEY_BYTES);
    seeds
}

/// The head, and every record that can be reached.
fn reseal(bytes: &mut [u8]) {
    put_checksum(bytes, 0..60, 60);
    let mut at = SEGMENT_HEADER_BYTES as usize;
    while at + 64 <= bytes.len() {
        let record = &bytes[at..];
        let key_bytes = usize::from(u16::from_le_bytes([record[6], record[7]]));
        let key_end = at + 64 + key_bytes;
        let payload_end = key_end.saturating_add(u32_at(record, 32));
        let covered = record[5] >= 128;
        if !covered {
            put_checksum(bytes, key_end..payload_end, at + 36);
        }
        put_checksum(bytes, at + 64..key_end, at + 40);
        put_checksum(bytes, at..at + 60, at + 60);
        at = payload_end.next_multiple_of(8);
    }
}
