//! Partitions as pure machines: what their logs mean. No clock, no network, no disk of its own.

pub mod kv;
