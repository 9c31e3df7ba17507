//! Watermarks of a disk: below which it is low or full, and above which it is so no more.
//!
//! ```text
//!   free
//!    |   ok
//!    |- - - - - - - - - - - -  low_leave: above it, low ends
//!    |
//!    |-----------------------  low: below it, no new replicas
//!    |   low
//!    |- - - - - - - - - - - -  full_leave: above it, and after a probe write, full ends
//!    |
//!    |-----------------------  full: below it, no writes. What is left is the reserve, for deletes,
//!    |   full                  names, elections and the books of repair
//!    0
//! ```
//!
//! `full < full_leave <= low < low_leave`, for bytes and for files alike.

use super::evidence::Room;
use crate::limits::{
    DISK_INODES_FULL, DISK_INODES_FULL_LEAVE, DISK_INODES_LOW, DISK_INODES_LOW_LEAVE,
    DISK_LOW_BYTES_MAX, DISK_LOW_PERCENT, DISK_RESERVE_BYTES_MAX, DISK_RESERVE_BYTES_MIN,
    DISK_RESERVE_PERCENT,
};
use serde::{Deserialize, Serialize};

/// The watermarks of one disk. Bytes and files that are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Marks {
    pub full_bytes: u64,
    pub full_leave_bytes: u64,
    pub low_bytes: u64,
    pub low_leave_bytes: u64,
    pub full_inodes: u64,
    pub full_leave_inodes: u64,
    pub low_inodes: u64,
    pub low_leave_inodes: u64,
}

impl Marks {
    /// The marks of a disk of `total` bytes when nobody said otherwise.
    #[must_use]
    pub fn of(total: u64) -> Marks {
        let reserve_min = DISK_RESERVE_BYTES_MIN.min(total / 8);
        let reserve =
            (total / 100 * DISK_RESERVE_PERCENT).clamp(reserve_min, DISK_RESERVE_BYTES_MAX);
        let low = (total / 100 * DISK_LOW_PERCENT).min(DISK_LOW_BYTES_MAX);
        Marks::with(reserve, low)
    }

    /// The marks for a reserve and a low mark that somebody chose; the low mark is raised where it is
    /// too close to the reserve.
    #[must_use]
    pub fn with(reserve: u64, low: u64) -> Marks {
        let full_leave = reserve.saturating_add(reserve / 2).saturating_add(1);
        let low = low.max(full_leave);
        Marks {
            full_bytes: reserve,
            full_leave_bytes: full_leave,
            low_bytes: low,
            low_leave_bytes: low.saturating_add(low / 4).saturating_add(1),
            full_inodes: DISK_INODES_FULL,
            full_leave_inodes: DISK_INODES_FULL_LEAVE,
            low_inodes: DISK_INODES_LOW,
            low_leave_inodes: DISK_INODES_LOW_LEAVE,
        }
    }

    pub(super) fn bytes_full(&self, room: &Room) -> bool {
        room.free < self.full_bytes
    }

    pub(super) fn inodes_full(&self, room: &Room) -> bool {
        room.inodes_free.is_some_and(|free| free < self.full_inodes)
    }

    pub(super) fn leaves_full(&self, free: u64, inodes_free: Option<u64>) -> bool {
        let inodes = inodes_free.is_none_or(|free| free >= self.full_leave_inodes);
        free >= self.full_leave_bytes && inodes
    }

    pub(super) fn bytes_low(&self, room: &Room) -> bool {
        room.free < self.low_bytes
    }

    pub(super) fn inodes_low(&self, room: &Room) -> bool {
        room.inodes_free.is_some_and(|free| free < self.low_inodes)
    }

    pub(super) fn leaves_low(&self, room: &Room) -> bool {
        let inodes = room.inodes_free.is_none_or(|free| free >= self.low_leave_inodes);
        room.free >= self.low_leave_bytes && inodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    #[test]
    fn marks_are_in_order_for_disks_of_every_size() {
        for total in [0, 1, MIB, 64 * MIB, GIB, 100 * GIB, 20 << 40, u64::MAX] {
            let m = Marks::of(total);
            assert!(m.full_bytes < m.full_leave_bytes, "{total}");
            assert!(
                m.full_leave_bytes <= m.low_bytes && m.low_bytes < m.low_leave_bytes,
                "{total}"
            );
        }
    }

    #[test]
    fn defaults_are_sane_for_small_and_large_disks() {
        let small = Marks::of(GIB);
        assert_eq!((small.full_bytes / MIB, small.low_bytes / MIB), (32, 102));
        let large = Marks::of(20 << 40);
        assert_eq!((large.full_bytes / GIB, large.low_bytes / GIB), (16, 100));
    }
}
