//! Whether a mount takes changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shared by a mount and its adapter; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate {
    closed: Arc<AtomicBool>,
    shut: Arc<AtomicBool>,
}

impl Gate {
    /// Refuses every change of a program from now on. Pages that the kernel has yet to hand over,
    /// because they were changed through `mmap`, are still taken.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Refuses the kernel's pages, too.
    pub(super) fn shut(&self) {
        self.shut.store(true, Ordering::Release);
    }

    pub(super) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Acquire)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}
