//! Errors of buffered writes, and who was told of them.
//!
//! A write that was buffered may fail after it was answered. Everybody who has the file open at that
//! time is told once, with their next flush or sync, whoever else was told before; so a program that
//! merely looks at the file takes the news from nobody. An error that happened when nobody had the
//! file open is told to those who open it until one of them has heard it. This is what Linux does
//! (`errseq_t`, lib/errseq.c).

use crate::Error;
use std::sync::atomic::{AtomicU64, Ordering};

/// What one opening of a file has been told.
#[derive(Debug, Default)]
pub(super) struct Seen {
    count: AtomicU64,
}

/// The errors of one file.
#[derive(Debug, Default)]
pub(super) struct Errors {
    /// How many there were.
    count: u64,
    last: Option<Error>,
    /// Somebody was told of the last one.
    told: bool,
}

impl Errors {
    /// Somebody opens the file.
    pub(super) fn open(&self) -> Seen {
        Seen { count: AtomicU64::new(self.count - u64::from(self.is_unheard())) }
    }

    pub(super) fn note(&mut self, error: Error) {
        self.count += 1;
        self.last = Some(error);
        self.told = false;
    }

    /// How many there were so far.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Whether there was one that nobody was told of.
    pub(super) fn is_unheard(&self) -> bool {
        self.count > 0 && !self.told
    }

    /// The last error, when there was one after the first `count`.
    pub(super) fn since(&self, count: u64) -> Option<Error> {
        if self.count > count { self.last.clone() } else { None }
    }

    /// The error that this opening was not told of yet, once.
    pub(super) fn tell(&mut self, seen: &Seen) -> Option<Error> {
        let before = seen.count.swap(self.count, Ordering::Relaxed);
        let error = self.since(before);
        self.told |= error.is_some();
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_told_once_and_an_unheard_error_waits_for_the_next() {
        let mut errors = Errors::default();
        let (writer, reader) = (errors.open(), errors.open());
        assert!(errors.tell(&writer).is_none());
        errors.note(Error::NoSpace);
        assert!(errors.tell(&reader).is_some());
        assert!(errors.tell(&writer).is_some(), "whoever was told before");
        assert!(errors.tell(&writer).is_none(), "once");
        assert!(errors.tell(&errors.open()).is_none(), "it is history for who comes later");
        errors.note(Error::Gone);
        let (late, later) = (errors.open(), errors.open());
        assert!(errors.tell(&late).is_some(), "nobody had heard it");
        assert!(errors.tell(&later).is_some());
        assert!(errors.tell(&errors.open()).is_none());
        assert!(matches!(errors.tell(&writer), Some(Error::Gone)));
    }
}
