//! From valid bytes to bytes that are nearly valid.

use crate::dice::Dice;

/// Inputs are not made longer than this.
const LENGTH_MAX: usize = 64 << 10;

/// Numbers that sit on borders.
const BORDERS: [u64; 14] = [
    0,
    1,
    0x7f,
    0xff,
    0x1000,
    0xffff,
    0x10_0000,
    0x10_0001,
    0x400_0000,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 40,
    i64::MAX as u64,
    u64::MAX,
];

/// Changes `bytes` a few times. `others` are valid inputs to take pieces from.
pub fn mutate(dice: &mut Dice, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    for _ in 0..=dice.below(4) {
        change(dice, bytes, others);
    }
    bytes.truncate(LENGTH_MAX);
}

fn change(dice: &mut Dice, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    if bytes.is_empty() {
        return bytes.extend((0..dice.below(100)).map(|at| at as u8));
    }
    let at = dice.below(bytes.len());
    match dice.below(8) {
        0 => bytes[at] ^= 1 << dice.below(8),
        1 => bytes[at] = dice.any() as u8,
        2 => number(dice, &mut bytes[at..]),
        3 => bytes.truncate(at),
        4 => drop(bytes.drain(at..at + dice.below(bytes.len() - at).min(64) + 1)),
        5 => {
            let end = at + dice.below(bytes.len() - at).min(256) + 1;
            let piece = bytes[at..end].to_vec();
            let to = dice.below(bytes.len());
            bytes.splice(to..to, piece);
        }
        6 => {
            let other = &others[dice.below(others.len())];
            let from = dice.below(other.len().max(1)).min(other.len());
            let end = (from + dice.below(256)).min(other.len());
            bytes.splice(at..at, other[from..end].iter().copied());
        }
        _ => {
            let count = dice.below(16) + 1;
            bytes.splice(at..at, (0..count).map(|_| dice.any() as u8));
        }
    }
}

/// Writes a number of some width over what is there.
fn number(dice: &mut Dice, place: &mut [u8]) {
    let border = BORDERS[dice.below(BORDERS.len())];
    let border = if dice.one_in(3) { border.wrapping_add(dice.any() % 3) } else { border };
    let width = [1, 2, 4, 8][dice.below(4)].min(place.len());
    place[..width].copy_from_slice(&border.to_le_bytes()[..width]);
}
