//! What the leading member is reading for operations, and what came of it. In memory only: whoever leads next
//! reads a partition from its beginning.

use std::collections::BTreeMap;
use types::operation::Reason;
use types::{Epoch, Moment, NodeId, OperationId, PartitionId};

/// One partition that is read and compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Sets it apart from others of the same partition.
    pub number: u64,
    /// Which attempt of the operation it is; what is said of an earlier one is old.
    pub attempt: u32,
    /// The configuration whose replicas are read.
    pub epoch: Epoch,
    /// Bytes read, of all replicas.
    pub bytes: u64,
    /// `None` while it goes on.
    pub outcome: Option<Outcome>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything verified, and the replicas are alike.
    Well,
    /// The first thing that is not.
    Unwell { reason: Reason, detail: String },
}

/// Everything that is being read.
#[derive(Clone, Debug, Default)]
pub struct Readings {
    all: BTreeMap<(OperationId, PartitionId), Reading>,
    last: u64,
    /// Until when each node rests from what was read for each operation.
    rests: BTreeMap<(OperationId, NodeId), Moment>,
}

impl Readings {
    #[must_use]
    pub const fn new() -> Readings {
        Readings { all: BTreeMap::new(), last: 0, rests: BTreeMap::new() }
    }

    /// The reading of one attempt.
    #[must_use]
    pub fn get(
        &self,
        operation: OperationId,
        partition: PartitionId,
        attempt: u32,
    ) -> Option<&Reading> {
        self.all.get(&(operation, partition)).filter(|reading| reading.attempt == attempt)
    }

    /// Begins to read, unless that is being done; the number of the reading if it is begun.
    pub fn begin(
        &mut self,
        operation: OperationId,
        partition: PartitionId,
        attempt: u32,
        epoch: Epoch,
    ) -> Option<u64> {
        let known = self.get(operation, partition, attempt);
        if known.is_some_and(|known| known.outcome.is_some() || known.epoch == epoch) {
            return None;
        }
        self.last += 1;
        let (number, bytes, outcome) = (self.last, 0, None);
        let reading = Reading { number, attempt, epoch, bytes, outcome };
        self.all.insert((operation, partition), reading);
        Some(number)
    }

    /// A reading that is still wanted.
    pub fn going_on(
        &mut self,
        operation: OperationId,
        partition: PartitionId,
        number: u64,
    ) -> Option<&mut Reading> {
        let reading = self.all.get_mut(&(operation, partition))?;
        (reading.number == number && reading.outcome.is_none()).then_some(reading)
    }

    /// Forgets what is not wanted any more.
    pub fn retain(&mut self, wanted: impl Fn(OperationId, PartitionId) -> bool) {
        self.all.retain(|(operation, partition), _| wanted(*operation, *partition));
        let all = &self.all;
        let has_some = |operation: OperationId| {
            let from = (operation, PartitionId(0));
            all.range(from..).next().is_some_and(|((other, _), _)| *other == operation)
        };
        self.rests.retain(|(operation, _), _| has_some(*operation));
    }

    /// What goes on.
    #[cfg(test)]
    pub(crate) fn open(&self) -> Vec<(OperationId, PartitionId, u64)> {
        let open = self.all.iter().filter(|(_, reading)| reading.outcome.is_none());
        open.map(|((operation, partition), reading)| (*operation, *partition, reading.number))
            .collect()
    }

    /// Has a node rest after so many bytes at so many a second; until when, what others have read there counted.
    pub fn rest(
        &mut self,
        (operation, node): (OperationId, NodeId),
        now: Moment,
        bytes: u64,
        bytes_per_second: u64,
    ) -> Moment {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(bytes_per_second.max(1));
        // A century is as good as for ever.
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX).min(u64::MAX / 4);
        let until = self.rests.entry((operation, node)).or_insert(now);
        *until = (*until).max(now) + std::time::Duration::from_nanos(nanos);
        *until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPERATION: OperationId = OperationId(1);

    #[test]
    fn a_partition_is_read_once_for_each_attempt_and_configuration() {
        let (mut readings, partition) = (Readings::new(), PartitionId(2));
        let first = readings.begin(OPERATION, partition, 0, Epoch(1)).unwrap();
        assert_eq!(readings.begin(OPERATION, partition, 0, Epoch(1)), None);
        let second = readings.begin(OPERATION, partition, 0, Epoch(2)).unwrap();
        assert!(readings.going_on(OPERATION, partition, first).is_none(), "others hold it now");
        readings.going_on(OPERATION, partition, second).unwrap().outcome = Some(Outcome::Well);
        assert_eq!(readings.begin(OPERATION, partition, 0, Epoch(3)), None, "it has ended");
        assert!(readings.begin(OPERATION, partition, 1, Epoch(3)).is_some());
        readings.retain(|_, _| false);
        assert!(readings.get(OPERATION, partition, 1).is_none());
    }

    #[test]
    fn those_who_read_from_one_node_share_its_rest() {
        let (mut readings, now) = (Readings::new(), Moment(1_000_000_000));
        let at = |seconds: u64| Moment(seconds * 1_000_000_000);
        assert_eq!(readings.rest((OPERATION, NodeId(1)), now, 100, 100), at(2));
        assert_eq!(readings.rest((OPERATION, NodeId(1)), now, 200, 100), at(4));
        assert_eq!(readings.rest((OPERATION, NodeId(2)), now, 100, 100), at(2));
        assert_eq!(readings.rest((OPERATION, NodeId(1)), at(9), 100, 100), at(10));
        readings.rest((OPERATION, NodeId(1)), now, u64::MAX, 1);
    }
}
