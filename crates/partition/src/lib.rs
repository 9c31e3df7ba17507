//! The pure parts of a partition: what happens, decided without touching the outside.
//!
//! - [`replica`]: how copies agree, and who leads them.
//! - [`log`]: what a record looks like on a disk.
//! - [`extent`]: where the bytes of chunks are in the log.
//! - [`namespace`]: the tree of a file volume.
//! - [`kv`]: the ordered map that indexes live in.

pub mod extent;
pub mod kv;
pub mod log;
pub mod namespace;
pub mod replica;
