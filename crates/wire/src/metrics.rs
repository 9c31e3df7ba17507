//! Counters of sessions, shared by all sessions of a process.

use std::sync::atomic::{AtomicU64, Ordering};

/// What happened on the sessions of one process since it started.
#[derive(Debug, Default)]
pub struct Metrics {
    pub sessions_opened: AtomicU64,
    pub sessions_closed: AtomicU64,
    pub requests: AtomicU64,
    pub replies_mismatched: AtomicU64,
    pub requests_cancelled: AtomicU64,
    pub requests_timed_out: AtomicU64,
    pub frames_malformed: AtomicU64,
    /// Requests that wait for an answer now; a gauge.
    pub requests_in_flight: AtomicU64,
}

impl Metrics {
    /// Adds one to a counter.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Sessions that are open now.
    #[must_use]
    pub fn sessions_open(&self) -> u64 {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        read(&self.sessions_opened).saturating_sub(read(&self.sessions_closed))
    }

    /// Name, help and value of what goes up and down, for export.
    #[must_use]
    pub fn gauges(&self) -> [(&'static str, &'static str, u64); 2] {
        let in_flight = self.requests_in_flight.load(Ordering::Relaxed);
        [
            ("sessions_open", "Sessions that are open", self.sessions_open()),
            ("requests_in_flight", "Requests that wait for an answer", in_flight),
        ]
    }

    /// Name, help and value of each counter, for export.
    #[must_use]
    pub fn list(&self) -> [(&'static str, &'static str, u64); 7] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("sessions_opened", "Sessions opened", read(&self.sessions_opened)),
            ("sessions_closed", "Sessions closed", read(&self.sessions_closed)),
            ("requests", "Requests sent", read(&self.requests)),
            (
                "replies_mismatched",
                "Replies that matched no request; each closed its session",
                read(&self.replies_mismatched),
            ),
            ("requests_cancelled", "Requests given up by caller", read(&self.requests_cancelled)),
            ("requests_timed_out", "Requests without a reply", read(&self.requests_timed_out)),
            (
                "frames_malformed",
                "Frames that were not understood; each closed its session",
                read(&self.frames_malformed),
            ),
        ]
    }
}
