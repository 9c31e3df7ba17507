//! A storage node: one loop that owns its partitions.

pub mod log;
