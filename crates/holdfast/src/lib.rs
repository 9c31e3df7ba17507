//! A whole cluster in one process: what `holdfast up` runs, and what tests and benchmarks start.

pub mod embedded;
