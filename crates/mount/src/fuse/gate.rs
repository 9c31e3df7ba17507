//! Whether a mount takes changes, and how it ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shared by a mount and its adapter; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    closed: AtomicBool,
    dismissed: AtomicBool,
}

impl Gate {
    /// Refuses every change from now on.
    pub(super) fn close(&self) {
        self.inner.closed.store(true, Ordering::Release);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.inner.closed.load(Ordering::Acquire)
    }

    /// The kernel said goodbye: somebody unmounted.
    pub(super) fn dismiss(&self) {
        self.inner.dismissed.store(true, Ordering::Release);
    }

    /// Whether the kernel said goodbye. A connection that ends without that was torn down.
    pub(super) fn is_dismissed(&self) -> bool {
        self.inner.dismissed.load(Ordering::Acquire)
    }
}
