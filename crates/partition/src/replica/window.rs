//! The entries a leader has ordered and not yet committed, kept in memory to send (again).

use super::entry::Entry;
use std::collections::VecDeque;
use std::sync::Arc;
use types::Sequence;
use types::limits::{
    REPLICATION_MESSAGE_BYTES_MAX, REPLICATION_WINDOW_BYTES_MAX, REPLICATION_WINDOW_ENTRIES_MAX,
};

/// A run of entries that ends at the log's end. What is older is read from the log.
#[derive(Debug)]
pub(super) struct Window {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Place of the first entry, or of the next one when there is none.
    first: Sequence,
}

impl Window {
    /// An empty window behind a log that ends at `end`.
    pub(super) fn after(end: Sequence) -> Window {
        Window { entries: VecDeque::new(), bytes: 0, first: end.next() }
    }

    pub(super) fn first(&self) -> Sequence {
        self.first
    }

    /// Whether `bytes` more may come in. One entry always fits into an empty window.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.entries.is_empty()
            || (self.entries.len() < REPLICATION_WINDOW_ENTRIES_MAX
                && self.bytes + bytes <= REPLICATION_WINDOW_BYTES_MAX)
    }

    pub(super) fn push(&mut self, entry: Entry) {
        debug_assert_eq!(entry.sequence.0, self.first.0 + self.entries.len() as u64);
        self.bytes += entry.body.bytes();
        self.entries.push_back(entry);
    }

    /// Lets go of everything up to `upto`.
    pub(super) fn drop_upto(&mut self, upto: Sequence) {
        while self.first <= upto {
            let Some(entry) = self.entries.pop_front() else { return };
            self.bytes -= entry.body.bytes();
            self.first = self.first.next();
        }
    }

    /// As many entries from `from` on as one message may hold; at least one, when there is one.
    pub(super) fn message_from(&self, from: Sequence) -> Arc<[Entry]> {
        let skip = usize::try_from(from.0 - self.first.0).expect("the window is in memory");
        let mut bytes = 0;
        let count = self
            .entries
            .range(skip..)
            .enumerate()
            .take_while(|(index, entry)| {
                bytes += entry.body.bytes();
                *index == 0 || bytes <= REPLICATION_MESSAGE_BYTES_MAX
            })
            .count();
        self.entries.range(skip..skip + count).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::EntryBody;
    use super::*;
    use bytes::Bytes;
    use types::Epoch;

    fn entry(sequence: u64, bytes: usize) -> Entry {
        let body =
            EntryBody { kind: 1, key: Bytes::new(), payload: Bytes::from(vec![0_u8; bytes]) };
        Entry { epoch: Epoch(1), sequence: Sequence(sequence), body }
    }

    #[test]
    fn a_message_is_bounded_by_bytes_but_never_empty() {
        let mut window = Window::after(Sequence(4));
        for sequence in 5..9 {
            window.push(entry(sequence, REPLICATION_MESSAGE_BYTES_MAX / 2 + 1));
        }
        let message = window.message_from(Sequence(6));
        assert_eq!(message.iter().map(|e| e.sequence.0).collect::<Vec<_>>(), [6]);
        window.drop_upto(Sequence(7));
        assert_eq!(window.first(), Sequence(8));
    }

    #[test]
    fn it_fills_by_count_and_by_bytes_and_empties_again() {
        let mut window = Window::after(Sequence(0));
        for sequence in 1..=REPLICATION_WINDOW_ENTRIES_MAX as u64 {
            assert!(window.has_room(0));
            window.push(entry(sequence, 0));
        }
        assert!(!window.has_room(0));
        window.drop_upto(Sequence(REPLICATION_WINDOW_ENTRIES_MAX as u64));
        assert!(window.has_room(REPLICATION_WINDOW_BYTES_MAX + 1), "alone, anything fits");
        window.push(entry(REPLICATION_WINDOW_ENTRIES_MAX as u64 + 1, 1));
        assert!(!window.has_room(REPLICATION_WINDOW_BYTES_MAX));
    }
}
