//! The locks on one inode, and the rules of `fcntl` and `flock`.
//!
//! ```text
//! table   for each lock: kind(1) mode(1) start(8) end(8) session(8) owner(8) pid(4)
//! ```

use super::codec::{Malformed, Reader, Writer};
use types::namespace::{Lock, LockKind, LockMode};

/// All locks on one inode, in the order of kind, start and owner.
///
/// What holds: locks of one owner and kind neither overlap nor touch when they have one mode; locks of
/// different owners and one kind overlap only when both are shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LockTable {
    pub locks: Vec<Lock>,
}

/// A range that reaches past any file reaches to the end of all.
pub(super) fn normalized(mut lock: Lock) -> Lock {
    if lock.kind() == LockKind::Flock {
        (lock.start, lock.end) = (0, u64::MAX);
    }
    if lock.end >= i64::MAX as u64 {
        lock.end = u64::MAX;
    }
    lock
}

fn same_owner(a: &Lock, b: &Lock) -> bool {
    a.kind == b.kind && a.session == b.session && a.owner == b.owner
}

fn overlap(a: &Lock, b: &Lock) -> bool {
    a.start <= b.end && b.start <= a.end
}

/// Whether `b` begins where `a` ends, or they overlap.
fn touch(a: &Lock, b: &Lock) -> bool {
    a.start <= b.end.saturating_add(1) && b.start <= a.end.saturating_add(1)
}

impl LockTable {
    /// The first lock that keeps `wanted` from being granted.
    pub(super) fn conflict(&self, wanted: &Lock) -> Option<&Lock> {
        if wanted.mode() == LockMode::Unlocked {
            return None;
        }
        self.locks.iter().find(|held| {
            held.kind == wanted.kind
                && !same_owner(held, wanted)
                && overlap(held, wanted)
                && (held.mode() == LockMode::Exclusive || wanted.mode() == LockMode::Exclusive)
        })
    }

    /// Gives `wanted` to its owner: what it held in the range is replaced, split at the edges, and
    /// merged with what it holds beside it in the same mode. There must be no conflict.
    pub(super) fn set(&mut self, mut wanted: Lock) {
        debug_assert!(self.conflict(&wanted).is_none(), "checked before");
        let mut kept = Vec::with_capacity(self.locks.len() + 2);
        for held in std::mem::take(&mut self.locks) {
            if !same_owner(&held, &wanted) {
                kept.push(held);
            } else if wanted.mode() != LockMode::Unlocked
                && held.mode == wanted.mode
                && touch(&held, &wanted)
            {
                wanted.start = wanted.start.min(held.start);
                wanted.end = wanted.end.max(held.end);
            } else if overlap(&held, &wanted) {
                kept.extend(outside(&held, &wanted));
            } else {
                kept.push(held);
            }
        }
        if wanted.mode() != LockMode::Unlocked {
            kept.push(wanted);
        }
        kept.sort_by_key(|lock| (lock.kind, lock.start, lock.session, lock.owner));
        self.locks = kept;
    }

    /// Removes what `gone` says; true when anything was.
    pub(super) fn release(&mut self, gone: impl Fn(&Lock) -> bool) -> bool {
        let before = self.locks.len();
        self.locks.retain(|lock| !gone(lock));
        self.locks.len() != before
    }

    pub(super) fn is_held_by(&self, session: u64) -> bool {
        self.locks.iter().any(|lock| lock.session == session)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.locks.len() * 38);
        for lock in &self.locks {
            writer.u8(lock.kind as u8).u8(lock.mode as u8).u64(lock.start).u64(lock.end);
            writer.u64(lock.session).u64(lock.owner).u32(lock.pid);
        }
        writer.finish()
    }

    pub(super) fn decode(body: &[u8]) -> Result<LockTable, Malformed> {
        let mut reader = Reader::new(body);
        let mut locks = Vec::new();
        while !reader.is_empty() {
            let kind = i32::from(reader.u8()?);
            let mode = i32::from(reader.u8()?);
            LockKind::try_from(kind).map_err(|_| Malformed::Field("kind"))?;
            match LockMode::try_from(mode) {
                Ok(LockMode::Shared | LockMode::Exclusive) => {}
                Ok(LockMode::Unlocked) | Err(_) => return Err(Malformed::Field("mode")),
            }
            let (start, end) = (reader.u64()?, reader.u64()?);
            if start > end {
                return Err(Malformed::Field("end"));
            }
            let (session, owner, pid) = (reader.u64()?, reader.u64()?, reader.u32()?);
            locks.push(Lock { kind, mode, start, end, session, owner, pid });
        }
        Ok(LockTable { locks })
    }
}

/// The parts of `held` that `cut` leaves.
fn outside(held: &Lock, cut: &Lock) -> impl Iterator<Item = Lock> {
    let left = (held.start < cut.start).then(|| Lock { end: cut.start - 1, ..*held });
    let right = (held.end > cut.end).then(|| Lock { start: cut.end + 1, ..*held });
    left.into_iter().chain(right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lock(owner: u64, mode: LockMode, start: u64, end: u64) -> Lock {
        let (kind, mode) = (LockKind::Posix.into(), mode.into());
        Lock { kind, mode, start, end, session: 1, owner, pid: 7 }
    }

    fn ranges(table: &LockTable) -> Vec<(u64, LockMode, u64, u64)> {
        table.locks.iter().map(|l| (l.owner, l.mode(), l.start, l.end)).collect()
    }

    #[test]
    fn a_range_is_split_upgraded_and_merged() {
        use LockMode::{Exclusive, Shared, Unlocked};
        let mut table = LockTable::default();
        table.set(lock(1, Shared, 0, 99));
        table.set(lock(1, Exclusive, 40, 59));
        let split = [(1, Shared, 0, 39), (1, Exclusive, 40, 59), (1, Shared, 60, 99)];
        assert_eq!(ranges(&table), split);
        table.set(lock(1, Shared, 40, 59));
        assert_eq!(ranges(&table), [(1, Shared, 0, 99)]);
        table.set(lock(1, Unlocked, 10, u64::MAX));
        assert_eq!(ranges(&table), [(1, Shared, 0, 9)]);
        table.set(lock(1, Shared, 10, 10));
        assert_eq!(ranges(&table), [(1, Shared, 0, 10)]);
    }

    #[test]
    fn only_others_conflict_and_shared_locks_share() {
        use LockMode::{Exclusive, Shared};
        let mut table = LockTable::default();
        table.set(lock(1, Shared, 0, 9));
        assert!(table.conflict(&lock(2, Shared, 5, 5)).is_none());
        assert_eq!(table.conflict(&lock(2, Exclusive, 9, 9)).map(|l| l.owner), Some(1));
        assert!(table.conflict(&lock(2, Exclusive, 10, 20)).is_none());
        assert!(table.conflict(&lock(1, Exclusive, 0, 9)).is_none());
        let flock = Lock { kind: LockKind::Flock.into(), ..lock(2, Exclusive, 0, 9) };
        assert!(table.conflict(&flock).is_none(), "the two kinds do not see each other");
    }

    #[test]
    fn tables_come_back_as_they_were_and_damage_is_told() {
        let mut table = LockTable::default();
        table.set(lock(1, LockMode::Shared, 0, 9));
        table.set(lock(2, LockMode::Exclusive, 10, u64::MAX));
        let good = table.encode();
        assert_eq!(LockTable::decode(&good), Ok(table));
        for length in (1..good.len()).filter(|length| *length != 38) {
            assert_eq!(LockTable::decode(&good[..length]), Err(Malformed::Short));
        }
        for (at, field) in [(0, "kind"), (1, "mode"), (9, "end")] {
            let mut bad = good.clone();
            bad[at] = 0x77;
            assert_eq!(LockTable::decode(&bad), Err(Malformed::Field(field)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// Byte by byte, the table says what a plain map from (owner, byte) to mode says.
        #[test]
        fn locks_behave_byte_by_byte(
            steps in prop::collection::vec((1..4_u64, 0..3_i32, 0..24_u64, 0..24_u64), 0..60)
        ) {
            let mut table = LockTable::default();
            let mut model = std::collections::BTreeMap::<(u64, u64), LockMode>::new();
            for (owner, mode, a, b) in steps {
                let mode = LockMode::try_from(mode).unwrap();
                let wanted = lock(owner, mode, a.min(b), a.max(b));
                let bytes = a.min(b)..=a.max(b);
                let blocked = model.iter().any(|((who, byte), held)| {
                    *who != owner && bytes.contains(byte) && mode != LockMode::Unlocked
                        && (*held == LockMode::Exclusive || mode == LockMode::Exclusive)
                });
                prop_assert_eq!(table.conflict(&wanted).is_some(), blocked);
                if blocked { continue; }
                table.set(wanted);
                for byte in bytes {
                    match mode {
                        LockMode::Unlocked => model.remove(&(owner, byte)),
                        _ => model.insert((owner, byte), mode),
                    };
                }
                let mut shown = std::collections::BTreeMap::new();
                for held in &table.locks {
                    for byte in held.start..=held.end {
                        prop_assert!(shown.insert((held.owner, byte), held.mode()).is_none());
                    }
                }
                prop_assert_eq!(&shown, &model);
                // Merged as far as can be: neighbours of one owner differ in mode.
                for held in &table.locks {
                    for other in table.locks.iter().filter(|o| o.owner == held.owner && o.mode == held.mode) {
                        prop_assert!(held == other || !touch(held, other));
                    }
                }
            }
        }
    }
}
