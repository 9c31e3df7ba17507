//! A log that is synced little by little, and what is left of it after each kind of end.

use super::{Log, Recovered, Start};
use partition::log::Location;
use partition::replica::{Entry, EntryBody};
use types::limits::{LOG_AHEAD_BYTES, LOG_SYNC_LITTLE_BYTES, SEGMENT_BYTES};
use types::{Epoch, PartitionId, ReplicaId, Sequence};
use world::Disk;
use world::disk::sim::SimDisk;

const WHOSE: (PartitionId, ReplicaId) = (PartitionId(7), ReplicaId(8));
const CAPACITY: u64 = 1 << 30;
const PATH: &str = "log/00000001.segment";

fn entry(sequence: u64, bytes: usize) -> Entry {
    let payload = vec![u8::try_from(sequence % 251).unwrap(); bytes].into();
    let body = EntryBody { kind: 1, key: Vec::new().into(), payload };
    Entry { epoch: Epoch(1), sequence: Sequence(sequence), body }
}

fn begin(disk: &SimDisk) -> Log {
    Log::create(Disk::simulated(disk.clone()), "log".into(), WHOSE, Sequence::ZERO).unwrap()
}

fn append(log: &mut Log, bytes: usize) {
    let entry = entry(log.end().0 + 1, bytes);
    log.append(&[entry], &mut Vec::new()).unwrap();
}

fn append_synced(log: &mut Log, bytes: usize) {
    append(log, bytes);
    log.begin_sync().run().unwrap();
}

fn recover(disk: &SimDisk, power_lost: bool) -> Result<(Log, Recovered, Vec<Entry>), super::Error> {
    let (sequence, epoch, at) = (Sequence::ZERO, Epoch::ZERO, None);
    let start = Start { sequence, epoch, at, segment_min: 0, log_start: sequence, power_lost };
    let mut entries = Vec::new();
    let visit = &mut |entry, _: Location| entries.push(entry);
    let disk = Disk::simulated(disk.clone());
    let (log, recovered) = Log::recover(disk, "log".into(), WHOSE, start, visit)?;
    Ok((log, recovered, entries))
}

fn length(disk: &SimDisk) -> u64 {
    Disk::simulated(disk.clone()).open(PATH).unwrap().len().unwrap()
}

fn end(log: &Log) -> u64 {
    log.tail().unwrap().offset.into()
}

#[test]
fn the_file_grows_once_for_many_small_syncs() {
    let disk = SimDisk::new("a", 1, CAPACITY);
    let mut log = begin(&disk);
    append_synced(&mut log, 4000);
    assert_eq!(length(&disk), end(&log), "one small sync says nothing yet");
    append_synced(&mut log, 4000);
    let grown = length(&disk);
    assert_eq!(grown, end(&log) + LOG_AHEAD_BYTES);
    for _ in 0..50 {
        append_synced(&mut log, 4000);
        assert_eq!(length(&disk), grown);
    }
    while length(&disk) == grown {
        append_synced(&mut log, 4000);
    }
    assert_eq!(length(&disk), end(&log) + LOG_AHEAD_BYTES);
    log.trim().unwrap();
    log.begin_sync().run().unwrap();
    assert_eq!(length(&disk), end(&log));
}

#[test]
fn nothing_is_written_ahead_of_large_writes() {
    let disk = SimDisk::new("a", 1, CAPACITY);
    let mut log = begin(&disk);
    for _ in 0..5 {
        append_synced(&mut log, usize::try_from(LOG_SYNC_LITTLE_BYTES).unwrap());
        append(&mut log, 100);
        assert_eq!(length(&disk), end(&log));
    }
}

#[test]
fn a_killed_process_leaves_a_log_that_ends_in_order() {
    let disk = SimDisk::new("a", 1, CAPACITY);
    let mut log = begin(&disk);
    (0..9).for_each(|_| append_synced(&mut log, 4000));
    append(&mut log, 10);
    assert!(length(&disk) > end(&log));
    let disk = disk.kill_process();
    let (mut again, recovered, entries) = recover(&disk, false).unwrap();
    assert!(!recovered.cut, "no record was cut");
    assert_eq!((again.end(), entries.len()), (log.end(), 10));
    assert_eq!(length(&disk), end(&log), "the zeros are gone");
    append_synced(&mut again, 4000);
    assert_eq!(again.read(Sequence(11), 1).unwrap(), [entry(11, 4000)]);
}

#[test]
fn half_a_record_before_zeros_is_cut_and_told() {
    let disk = SimDisk::new("a", 1, CAPACITY);
    let mut log = begin(&disk);
    (0..9).for_each(|_| append_synced(&mut log, 4000));
    assert!(disk.flip_bit(PATH, end(&log) - 100, 3));
    let (again, recovered, entries) = recover(&disk.kill_process(), false).unwrap();
    assert!(recovered.cut);
    assert_eq!((again.end(), entries.len()), (Sequence(8), 8));
}

#[test]
fn damage_before_sound_records_is_no_end() {
    let disk = SimDisk::new("a", 1, CAPACITY);
    let mut log = begin(&disk);
    (0..9).for_each(|_| append_synced(&mut log, 4000));
    assert!(disk.flip_bit(PATH, end(&log) - 5000, 3));
    recover(&disk.kill_process(), false).unwrap_err();
}

#[test]
fn a_full_segment_has_no_zeros_behind_it() {
    let disk = SimDisk::new("a", 1, CAPACITY);
    let mut log = begin(&disk);
    while u64::from(log.tail().map_or(0, |at| at.offset)) < SEGMENT_BYTES - (1 << 20) - (2 << 10) {
        append(&mut log, 1 << 20);
    }
    log.begin_sync().run().unwrap();
    while log.segments().len() == 1 {
        append_synced(&mut log, 100_000);
        append_synced(&mut log, 1000);
        append_synced(&mut log, 1000);
    }
    assert_eq!(length(&disk), u64::from(log.segments()[&1].length()));
    let (again, recovered, _) = recover(&disk.kill_process(), false).unwrap();
    assert_eq!((again.end(), recovered.cut), (log.end(), false));
}

/// Whatever was synced is there after a loss of power, and nothing is that was never written.
#[test]
fn what_was_synced_survives_a_loss_of_power() {
    for seed in 0..40 {
        let mut disk = SimDisk::new("a", seed, CAPACITY);
        let mut log = begin(&disk);
        let (mut sizes, mut state) = (Vec::new(), seed);
        let mut dice = |below: u64| {
            state =
                state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
            (state >> 33) % below
        };
        for _ in 0..4 {
            let mut synced = log.end();
            for _ in 0..dice(30) {
                let bytes = usize::try_from(dice(9000)).unwrap();
                append(&mut log, bytes);
                sizes.push(bytes);
                if dice(3) > 0 {
                    log.begin_sync().run().unwrap();
                    synced = log.end();
                }
            }
            disk = disk.lose_power();
            let (again, _, entries) = recover(&disk, true).unwrap();
            assert!(again.end() >= synced, "seed {seed}: {} of {synced}", again.end());
            sizes.truncate(entries.len());
            let wanted: Vec<Entry> =
                sizes.iter().zip(1..).map(|(bytes, at)| entry(at, *bytes)).collect();
            assert_eq!(entries, wanted, "seed {seed}");
            log = again;
            // What recovery kept is synced before anybody relies on it.
            log.begin_sync().run().unwrap();
        }
    }
}

/// After a snapshot had been installed and its base segments, the last ones, had gone, numbers began
/// again below those that the snapshot had left over: the next start removed what was acknowledged.
#[test]
fn new_segments_are_not_taken_for_what_a_snapshot_left_over() {
    let disk = SimDisk::new("a", 1, CAPACITY);
    let recover = || {
        let (sequence, epoch, at) = (Sequence(5), Epoch::ZERO, None);
        let start =
            Start { sequence, epoch, at, segment_min: 6, log_start: sequence, power_lost: false };
        let disk = Disk::simulated(disk.clone());
        Log::recover(disk, "log".into(), WHOSE, start, &mut |_, _: Location| {}).unwrap().0
    };
    let mut log = recover();
    append(&mut log, 100);
    assert_eq!(log.end(), Sequence(6));
    assert_eq!(recover().end(), Sequence(6));
}

#[test]
fn what_was_given_back_takes_up_no_room_now_and_after_a_restart() {
    let disk = SimDisk::new("a", 1, CAPACITY);
    let mut log = begin(&disk);
    log.set_segment_bytes(60_000);
    (0..4).for_each(|_| append(&mut log, 50_000));
    let before = log.bytes();
    log.punch(1, 8000, 20_000).unwrap();
    assert_eq!(before - log.bytes(), 16_384, "whole blocks");
    let number = log.tail().unwrap().segment;
    let at = Some(Location { segment: number, offset: 64 });
    let sequence = log.segments()[&number].first().previous();
    let (epoch, log_start) = (Epoch::ZERO, log.start());
    let start = Start { sequence, epoch, at, segment_min: 0, log_start, power_lost: false };
    let (again, _) =
        Log::recover(Disk::simulated(disk), "log".into(), WHOSE, start, &mut |_, _| {}).unwrap();
    assert_eq!(again.bytes(), log.bytes());
}
