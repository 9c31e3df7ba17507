//! Where the bytes of chunks are: the index of a data partition.
//!
//! Data is never overwritten in place, so the newest record of a range is where its bytes are. The
//! index is told of every committed record in order ([`Index::apply`]) and answers with pieces of
//! records ([`Index::find`]). It lives in a [`crate::kv::Kv`], one value per chunk; chunks that are
//! in use are kept decoded, and what changed is written at a checkpoint. It is never the only copy
//! of anything: it is what the log means.
//!
//! What must hold:
//! - the extents of a chunk are disjoint and ascending
//! - `live bytes of a segment = sum of the extents that point into it`
//! - everything up to `applied` is in it, and nothing after

pub mod chunk;
pub mod command;
pub mod compact;
pub mod frozen;
pub mod index;

pub use chunk::{ChunkMap, Extent};
pub use command::{Command, DataKey};
pub use frozen::Frozen;
pub use index::{Applied, Index, Piece};
