//! The ordered map a partition keeps its index in; the contract is in [`types::kv`], because the
//! crate that implements it (`world`) must not know partitions.

pub use types::kv::{Batch, Error, Key, Kv, Read, Remaining, Visit, prefix_end, scan_prefix};

mod buffered;

pub use buffered::{Buffered, FlushJob};
