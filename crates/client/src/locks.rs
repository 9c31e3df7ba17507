//! Which locks this client holds, so that it can say what it lost with its session.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use types::InodeId;
use types::namespace::{Lock, LockMode};

/// Held ranges (both ends inclusive) of each owner, and inodes whose locks were lost.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: BTreeMap<(InodeId, u64), Vec<(u64, u64)>>,
    lost: BTreeSet<InodeId>,
}

impl Locks {
    /// A lock was taken, changed or released.
    pub(crate) fn note(&self, inode: InodeId, lock: &Lock) {
        let mut state = self.state.lock().expect("no holder panics");
        let ranges = state.held.remove(&(inode, lock.owner)).unwrap_or_default();
        let mut kept = without(ranges, lock.start, lock.end);
        if lock.mode() != LockMode::Unlocked {
            kept.push((lock.start, lock.end));
        }
        if !kept.is_empty() {
            state.held.insert((inode, lock.owner), kept);
        }
    }

    /// An owner holds nothing on an inode any more.
    pub(crate) fn forget(&self, inode: InodeId, owner: u64) {
        self.state.lock().expect("no holder panics").held.remove(&(inode, owner));
    }

    /// All locks are lost; returns the inodes they were on.
    pub(crate) fn lose(&self) -> Vec<InodeId> {
        let mut state = self.state.lock().expect("no holder panics");
        let lost: BTreeSet<InodeId> =
            std::mem::take(&mut state.held).into_keys().map(|(inode, _)| inode).collect();
        state.lost.extend(lost.iter().copied());
        lost.into_iter().collect()
    }

    /// Whether locks on this inode were lost; says so once.
    pub(crate) fn take_lost(&self, inode: InodeId) -> bool {
        let mut state = self.state.lock().expect("no holder panics");
        !state.lost.is_empty() && state.lost.remove(&inode)
    }
}

/// Cuts a range out of others.
fn without(ranges: Vec<(u64, u64)>, start: u64, end: u64) -> Vec<(u64, u64)> {
    let mut kept = Vec::new();
    for (from, until) in ranges {
        if until < start || from > end {
            kept.push((from, until));
            continue;
        }
        if from < start {
            kept.push((from, start - 1));
        }
        if until > end {
            kept.push((end + 1, until));
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(owner: u64, start: u64, end: u64, mode: LockMode) -> Lock {
        Lock { owner, start, end, mode: mode.into(), ..Lock::default() }
    }

    #[test]
    fn only_what_is_still_held_is_lost_and_told_once() {
        let locks = Locks::default();
        let (a, b) = (InodeId(7), InodeId(8));
        locks.note(a, &lock(1, 0, 99, LockMode::Exclusive));
        locks.note(a, &lock(1, 40, 49, LockMode::Unlocked));
        locks.note(b, &lock(1, 0, 9, LockMode::Shared));
        locks.note(b, &lock(1, 0, u64::MAX, LockMode::Unlocked));
        assert_eq!(locks.lose(), [a]);
        assert!(locks.take_lost(a));
        assert!(!locks.take_lost(a), "told once");
        assert!(!locks.take_lost(b));
        assert_eq!(locks.lose(), [], "nothing is held any more");
    }

    #[test]
    fn a_hole_in_a_range_leaves_both_sides() {
        assert_eq!(without(vec![(0, 99)], 40, 49), [(0, 39), (50, 99)]);
        assert_eq!(without(vec![(0, 9), (20, 29)], 5, 24), [(0, 4), (25, 29)]);
        assert_eq!(without(vec![(5, u64::MAX)], 0, u64::MAX), []);
    }
}
