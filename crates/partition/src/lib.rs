//! The pure parts of a partition: what happens, decided without touching the outside.

pub mod replica;
