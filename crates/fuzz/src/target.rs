//! What is fuzzed.

mod bodies;
mod checkpoints;
mod commands;
mod frames;
mod records;

use types::checksum::crc32c;

/// One thing that reads bytes from outside.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub name: &'static str,
    /// Takes any bytes; panics when it should not.
    pub run: fn(&[u8]),
    /// Valid inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Puts checksums right, as far as the bytes allow.
    pub reseal: fn(&mut [u8]),
}

/// All of them.
pub const TARGETS: [Target; 6] = [
    frames::TARGET,
    bodies::TARGET,
    records::TARGET,
    checkpoints::TARGET,
    commands::NAMESPACE,
    commands::DATA,
];

/// For what has no checksums of its own.
fn no_seal(_: &mut [u8]) {}

/// Writes the CRC-32C of `covered` at `at`, if both are within the bytes.
fn put_checksum(bytes: &mut [u8], covered: std::ops::Range<usize>, at: usize) {
    let Some(sum) = bytes.get(covered).map(crc32c) else { return };
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&sum.to_le_bytes());
    }
}

/// A little-endian number, zero where there is none.
fn u32_at(bytes: &[u8], at: usize) -> usize {
    let number = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    number.map_or(0, |number| u32::from_le_bytes(number) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seeds that were refused would make a fuzzer that tests nothing.
    #[test]
    fn seeds_are_valid_and_resealing_leaves_them_so() {
        for target in TARGETS {
            for seed in (target.seeds)() {
                let mut resealed = seed.clone();
                (target.reseal)(&mut resealed);
                assert_eq!(resealed, seed, "{}", target.name);
                (target.run)(&seed);
            }
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_input_and_others_make_others() {
        for target in TARGETS {
            let seeds = (target.seeds)();
            let inputs = |from: u64| -> std::collections::BTreeSet<Vec<u8>> {
                (from..from + 200).map(|seed| crate::runner::input(&target, &seeds, seed)).collect()
            };
            assert_eq!(inputs(7), inputs(7));
            assert!(inputs(7).len() > 150, "{}", target.name);
        }
    }
}
