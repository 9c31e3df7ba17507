//! Copying a state to another replica in pieces of bounded size.
//!
//! The sender reads pieces from a [`crate::kv::Kv::snapshot`], so that they fit together however long it takes. The receiver
//! empties its store, marks it as unfinished, loads the pieces, and takes the mark away; a store
//! with the mark is not opened. Values keep their checksums on the way, and each is checked on arrival.

use super::codec::unseal;
use super::fault::Fault;
use super::{key, store};
use crate::kv::{Batch, Kv, Read, Remaining};
use bytes::Bytes;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Some pairs of a state, in key order, as they are stored.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Piece {
    #[prost(message, repeated, tag = "1")]
    pub pairs: Vec<Pair>,
    /// Nothing comes after it.
    #[prost(bool, tag = "2")]
    pub end: bool,
}

/// One pair.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Pair {
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// Reads the pairs after the key `after` until they take `bytes_max`, which the last one may pass.
/// The next piece begins after this one's last key.
///
/// # Errors
/// The store's.
pub fn piece(read: &dyn Read, after: Option<&[u8]>, bytes_max: usize) -> Result<Piece, Fault> {
    let mut from = after.unwrap_or_default().to_vec();
    if after.is_some() {
        from.push(0); // the first key after it
    }
    let mut piece = Piece { pairs: Vec::new(), end: true };
    let mut bytes = 0;
    read.scan(&from, None, &mut |key, value| {
        if bytes >= bytes_max {
            piece.end = false;
            return ControlFlow::Break(());
        }
        bytes += key.len() + value.len();
        let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        piece.pairs.push(Pair { key, value });
        ControlFlow::Continue(())
    })?;
    Ok(piece)
}

/// A store that is being filled with another replica's state.
#[derive(Debug)]
pub struct Receiver {
    kv: Arc<dyn Kv>,
}

impl Receiver {
    /// Marks the store as unfinished. [`Receiver::clear`] is to be called until nothing remains.
    ///
    /// # Errors
    /// The store's.
    pub fn begin(kv: Arc<dyn Kv>) -> Result<Receiver, Fault> {
        let mut batch = Batch::default();
        batch.put(key::TRANSFER, Bytes::new());
        kv.write(batch)?;
        Ok(Receiver { kv })
    }

    /// Removes some of what was in the store before: one bounded step.
    ///
    /// # Errors
    /// The store's.
    pub fn clear(&self, keys_max: usize) -> Result<Remaining, Fault> {
        // The mark sorts before all other keys and stays.
        let mut batch = Batch::default();
        let mut remaining = Remaining::None;
        let first = [key::TRANSFER[0] + 1];
        self.kv.scan(&first, None, &mut |key, _| {
            if batch.len() == keys_max {
                remaining = Remaining::Some;
                return ControlFlow::Break(());
            }
            batch.remove(Bytes::copy_from_slice(key));
            ControlFlow::Continue(())
        })?;
        self.kv.write(batch)?;
        Ok(remaining)
    }

    /// Adds a piece, after checking all of it.
    ///
    /// # Errors
    /// A damaged pair, of which nothing was added; or the store's error.
    pub fn load(&self, piece: Piece) -> Result<(), Fault> {
        let mut batch = Batch::default();
        for pair in piece.pairs {
            unseal(&pair.key, &pair.value)
                .map_err(|source| Fault::Value { key: store::shown(&pair.key), source })?;
            batch.put(pair.key, pair.value);
        }
        Ok(self.kv.write(batch)?)
    }

    /// Takes the mark away: the state is whole. The caller has loaded all pieces.
    ///
    /// # Errors
    /// The store's, or [`Fault::Unfinished`] when there are no totals: something is missing.
    pub fn finish(self) -> Result<(), Fault> {
        if self.kv.get(key::TOTALS)?.is_none() {
            return Err(Fault::Unfinished);
        }
        let mut batch = Batch::default();
        batch.remove(key::TRANSFER);
        Ok(self.kv.write(batch)?)
    }
}
