//! When each replica of a node wants to be woken.

use std::collections::{BTreeMap, BTreeSet};
use types::{Moment, ReplicaId};

/// Moments by replica, the earliest first: a turn costs what happens in it, however many replicas
/// there are.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    at: BTreeMap<ReplicaId, Moment>,
    order: BTreeSet<(Moment, ReplicaId)>,
}

impl Wakes {
    /// Replaces what `replica` wanted before; `None`: nothing.
    pub(super) fn set(&mut self, replica: ReplicaId, wake: Option<Moment>) {
        let before = match wake {
            Some(wake) => self.at.insert(replica, wake),
            None => self.at.remove(&replica),
        };
        if before == wake {
            return;
        }
        if let Some(before) = before {
            self.order.remove(&(before, replica));
        }
        if let Some(wake) = wake {
            self.order.insert((wake, replica));
        }
    }

    /// Takes the replicas whose time has come.
    pub(super) fn take_due(&mut self, now: Moment) -> Vec<ReplicaId> {
        let mut due = Vec::new();
        while let Some((wake, replica)) =
            self.order.first().copied().filter(|(wake, _)| *wake <= now)
        {
            self.order.remove(&(wake, replica));
            self.at.remove(&replica);
            due.push(replica);
        }
        due
    }

    /// When the first of them wants to be woken.
    pub(super) fn first(&self) -> Option<Moment> {
        self.order.first().map(|(wake, _)| *wake)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_woken_once_at_the_last_moment_it_named() {
        let [one, two, three] = [1, 2, 3].map(ReplicaId);
        let mut wakes = Wakes::default();
        wakes.set(one, Some(Moment(5)));
        wakes.set(two, Some(Moment(3)));
        wakes.set(three, Some(Moment(4)));
        wakes.set(one, Some(Moment(2)));
        wakes.set(three, None);
        assert_eq!(wakes.first(), Some(Moment(2)));
        assert_eq!(wakes.take_due(Moment(1)), []);
        assert_eq!(wakes.take_due(Moment(3)), [one, two]);
        assert_eq!((wakes.first(), wakes.take_due(Moment(9))), (None, vec![]));
        wakes.set(one, Some(Moment(7)));
        assert_eq!(wakes.take_due(Moment(9)), [one]);
    }
}
