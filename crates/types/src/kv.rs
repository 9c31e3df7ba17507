//! An ordered map of bytes on a disk, as partitions need it: the contract every `Kv` keeps.
//!
//! What it promises:
//! - `write` is atomic: after a crash either all of a batch is there or nothing of it, and batches
//!   come back in the order they were written (what survives is a prefix of what was written).
//! - Once `persist` has returned, every batch written before it survives a crash and a power cut.
//! - `scan` goes in ascending order of key bytes and sees every batch written before it began.
//! - `snapshot` keeps showing the moment it was taken, whatever is written afterwards.
//! - A damaged value is reported as [`Error::Damaged`], never returned as good.
//!
//! What it leaves out: transactions (each handle has one writer, the partition that owns it), and
//! the check of what a value means, which belongs to the value's own format.

mod key;

pub use key::Key;

use bytes::Bytes;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Why a `Kv` could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Bytes on the disk are not what was written; the replica must be rebuilt from a good one.
    #[error("{doing}: damaged: {detail}")]
    Damaged { doing: &'static str, detail: String },
    /// The disk is full. Nothing of the batch was written.
    #[error("{doing}: no space left on the disk")]
    NoSpace { doing: &'static str },
    /// The disk or the operating system refused.
    #[error("{doing}: {detail}")]
    Io { doing: &'static str, detail: String },
}

/// Looks at one pair of a scan; `Break` ends the scan.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Reads: of the newest state, or of a snapshot.
pub trait Read: Send + Sync {
    /// The value of `key`.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Io`].
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error>;

    /// Visits, in ascending order, the pairs whose key is at least `from`, and below `until` when
    /// that is given.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Io`]; the pairs visited before it were good.
    fn scan(&self, from: &[u8], until: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), Error>;
}

/// Reads, writes and durability of one handle, which sees its own key space only.
pub trait Kv: Read + fmt::Debug {
    /// Writes all of `batch` atomically. Later changes of one key win over earlier ones.
    ///
    /// # Errors
    /// [`Error::NoSpace`], or [`Error::Io`] after which nothing may be assumed written.
    fn write(&self, batch: Batch) -> Result<(), Error>;

    /// Returns once everything written so far would survive a power cut.
    ///
    /// # Errors
    /// [`Error::NoSpace`] or [`Error::Io`]: then nothing new may be assumed durable.
    fn persist(&self) -> Result<(), Error>;

    /// The state as it is now, to be read while writing goes on. Holding one for long costs disk.
    fn snapshot(&self) -> Arc<dyn Read>;

    /// Removes up to `keys_max` keys that begin with `prefix`; says whether any are left.
    ///
    /// # Errors
    /// As for `write` and `scan`.
    fn remove_prefix(&self, prefix: &[u8], keys_max: usize) -> Result<Remaining, Error> {
        let mut batch = Batch::default();
        let mut remaining = Remaining::None;
        scan_prefix(self, prefix, &mut |key, _| {
            if batch.len() == keys_max {
                remaining = Remaining::Some;
                return ControlFlow::Break(());
            }
            batch.remove(key);
            ControlFlow::Continue(())
        })?;
        self.write(batch)?;
        Ok(remaining)
    }

    /// Bytes this whole database takes on its disk, about; for people and watermarks, not for sums.
    fn approximate_bytes(&self) -> u64;
}

/// Whether a bounded step left something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Remaining {
    None,
    Some,
}

/// Visits every pair whose key begins with `prefix`, in ascending order.
///
/// # Errors
/// As [`Read::scan`].
pub fn scan_prefix<R: Read + ?Sized>(
    read: &R,
    prefix: &[u8],
    visit: &mut Visit<'_>,
) -> Result<(), Error> {
    read.scan(prefix, prefix_end(prefix).as_deref(), visit)
}

/// The first key after all keys that begin with `prefix`; `None` when there is no such key.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// Changes that happen together or not at all, in the order they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    changes: Vec<(Key, Option<Bytes>)>,
}

impl Batch {
    /// An empty batch with room for so many changes.
    #[must_use]
    pub fn with_capacity(changes: usize) -> Batch {
        Batch { changes: Vec::with_capacity(changes) }
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, key: impl Into<Key>, value: impl Into<Bytes>) {
        self.changes.push((key.into(), Some(value.into())));
    }

    /// Removes `key`; nothing happens when it is not there.
    pub fn remove(&mut self, key: impl Into<Key>) {
        self.changes.push((key.into(), None));
    }

    /// How many changes it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether it holds no change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changes in order: a value to put, or `None` to remove.
    #[must_use]
    pub fn changes(&self) -> &[(Key, Option<Bytes>)] {
        &self.changes
    }
}

impl IntoIterator for Batch {
    type Item = (Key, Option<Bytes>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.changes.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_first_key_after_it() {
        assert_eq!(prefix_end(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(prefix_end(&[1, 255, 255]), Some(vec![2]));
        assert_eq!(prefix_end(&[255]), None);
        assert_eq!(prefix_end(b""), None);
    }
}
