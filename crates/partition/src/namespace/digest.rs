//! A hash over a state, to compare replicas: same digest at same sequence, same state.
//!
//! It covers keys and values in key order, `applied` included, in pieces of bounded work. It finds
//! accidents, not forgeries: CRC-64 can be made to collide on purpose.

use super::fault::Fault;
use crate::kv::Read;
use crc_fast::{CrcAlgorithm, Digest};
use std::ops::ControlFlow;

/// The digest of one range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub hash: u64,
    /// How many pairs it covers.
    pub pairs: u64,
    /// The last key it covers; `None` when the range was the last one.
    pub last: Option<Vec<u8>>,
}

/// Digests up to `pairs_max` pairs whose keys come after `after`.
///
/// # Errors
/// The store's.
pub fn range(read: &dyn Read, after: Option<&[u8]>, pairs_max: u64) -> Result<Range, Fault> {
    let mut from = after.unwrap_or_default().to_vec();
    if after.is_some() {
        from.push(0); // the first key after it
    }
    let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
    let (mut pairs, mut last, mut more) = (0, Vec::new(), false);
    read.scan(&from, None, &mut |key, value| {
        if pairs == pairs_max {
            more = true;
            return ControlFlow::Break(());
        }
        for part in [key, value] {
            digest.update(&(part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        pairs += 1;
        last.clear();
        last.extend_from_slice(key);
        ControlFlow::Continue(())
    })?;
    Ok(Range { hash: digest.finalize(), pairs, last: more.then_some(last) })
}

/// Digests a whole state at once.
///
/// # Errors
/// The store's.
pub fn whole(read: &dyn Read) -> Result<u64, Fault> {
    Ok(range(read, None, u64::MAX)?.hash)
}
