//! The numbers a namespace keeps about itself, under one key.
//!
//! Each equals what a full scan would count: `used` is the sum of all inodes' allocated bytes,
//! `inodes` and `orphans` count inodes, `reserved` is the sum over live sessions.

use super::codec::{Malformed, Reader, Writer};

/// Counters and accounting, and how much of the log they cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Totals {
    /// The last sequence that was applied.
    pub applied: u64,
    /// The next inode's number; numbers are never used twice.
    pub inode_next: u64,
    pub session_next: u64,
    /// Bytes of one copy that the volume may hold.
    pub capacity: u64,
    /// Most inodes; zero: as many as fit.
    pub inodes_max: u64,
    pub used: u64,
    pub reserved: u64,
    pub inodes: u64,
    pub orphans: u64,
}

impl Totals {
    /// A namespace with nothing but its root.
    pub(super) fn fresh() -> Totals {
        Totals {
            applied: 0,
            inode_next: types::InodeId::ROOT.0 + 1,
            session_next: 1,
            capacity: u64::MAX,
            inodes_max: 0,
            used: 0,
            reserved: 0,
            inodes: 1,
            orphans: 0,
        }
    }

    /// Bytes that may still be reserved.
    pub(super) fn available(&self) -> u64 {
        self.capacity.saturating_sub(self.used).saturating_sub(self.reserved)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(9 * 8);
        for field in [
            self.applied,
            self.inode_next,
            self.session_next,
            self.capacity,
            self.inodes_max,
            self.used,
            self.reserved,
            self.inodes,
            self.orphans,
        ] {
            writer.u64(field);
        }
        writer.finish()
    }

    pub(super) fn decode(body: &[u8]) -> Result<Totals, Malformed> {
        let mut reader = Reader::new(body);
        let totals = Totals {
            applied: reader.u64()?,
            inode_next: reader.u64()?,
            session_next: reader.u64()?,
            capacity: reader.u64()?,
            inodes_max: reader.u64()?,
            used: reader.u64()?,
            reserved: reader.u64()?,
            inodes: reader.u64()?,
            orphans: reader.u64()?,
        };
        reader.finish()?;
        Ok(totals)
    }
}
