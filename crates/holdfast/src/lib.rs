//! A whole cluster in one process: what `holdfast up` runs, and what tests and benchmarks start.

#![allow(clippy::disallowed_methods, reason = "the edge: it makes the world")]

pub mod embedded;
pub mod fsck;
pub mod inspect;
pub mod metrics;
