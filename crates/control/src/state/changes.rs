//! What changed since one looked last: a log in which only the newest entry of each thing is kept.
//!
//! Like the date on the last page of a notebook: whoever remembers the date reads on from there and not from
//! the beginning. It is never written down; who starts anew looks at everything once.

use std::collections::BTreeMap;
use std::sync::Arc;

/// When each thing changed last, in an order of its own.
#[derive(Debug)]
pub struct Changes<T> {
    /// Two logs with different ones have nothing to do with each other.
    lineage: Arc<()>,
    last: u64,
    at: BTreeMap<T, u64>,
    order: BTreeMap<u64, T>,
}

/// How far somebody has read.
#[derive(Clone, Debug)]
pub struct Mark {
    lineage: Arc<()>,
    last: u64,
}

impl<T> Default for Changes<T> {
    fn default() -> Self {
        let (at, order) = (BTreeMap::new(), BTreeMap::new());
        Changes { lineage: Arc::default(), last: 0, at, order }
    }
}

/// A copy goes its own way from here: what is noted in it says nothing of the original, nor the other way
/// round. So whoever has read one of them begins anew with the other.
impl<T: Clone> Clone for Changes<T> {
    fn clone(&self) -> Self {
        let Changes { lineage: _, last, at, order } = self;
        Changes { lineage: Arc::default(), last: *last, at: at.clone(), order: order.clone() }
    }
}

impl<T: Copy + Ord> Changes<T> {
    /// It changed just now.
    pub fn note(&mut self, what: T) {
        self.last += 1;
        if let Some(before) = self.at.insert(what, self.last) {
            self.order.remove(&before);
        }
        self.order.insert(self.last, what);
    }

    /// It is not there any more.
    pub fn forget(&mut self, what: T) {
        if let Some(before) = self.at.remove(&what) {
            self.order.remove(&before);
        }
    }

    /// The present end.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { lineage: self.lineage.clone(), last: self.last }
    }

    /// What changed since `mark`; `None` when that is a mark of another log.
    #[must_use]
    pub fn since(&self, mark: &Mark) -> Option<impl Iterator<Item = T>> {
        let same = Arc::ptr_eq(&self.lineage, &mark.lineage);
        same.then(|| self.order.range(mark.last + 1..).map(|(_, what)| *what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_knows_how_far_he_read_gets_the_rest_once() {
        let mut changes = Changes::default();
        [1, 2, 3].into_iter().for_each(|what| changes.note(what));
        let mark = changes.mark();
        let since = |changes: &Changes<i32>| changes.since(&mark).unwrap().collect::<Vec<_>>();
        assert!(since(&changes).is_empty());
        [2, 4, 2, 5].into_iter().for_each(|what| changes.note(what));
        changes.forget(5);
        assert_eq!(since(&changes), [4, 2]);
        assert!(Changes::<i32>::default().since(&mark).is_none(), "another log");
    }

    /// A mark of a changed copy was taken by the original, which then left out what had changed in it.
    #[test]
    fn a_copy_is_another_log() {
        let mut changes = Changes::default();
        changes.note(1);
        let (mark, mut copy) = (changes.mark(), changes.clone());
        assert!(copy.since(&mark).is_none());
        copy.note(2);
        changes.note(3);
        assert!(changes.since(&copy.mark()).is_none());
        assert_eq!(changes.since(&mark).unwrap().collect::<Vec<_>>(), [3]);
        assert!(copy.since(&copy.mark()).is_some());
    }
}
