//! The files of a state that have bytes, and where those are: what a check compares with the
//! data partitions.

use super::codec::unseal;
use super::fault::Fault;
use super::inode::Inode;
use super::key;
use super::state::decode_number;
use super::store::shown;
use crate::kv::{Read, scan_prefix};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use types::PartitionId;
use types::namespace::FileKind;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub inode: u64,
    /// Bytes that data partitions hold for it, by the namespace's account.
    pub allocated: u64,
    /// A client may have written what the account does not have yet.
    pub unsettled: bool,
    /// Where its chunks may be.
    pub partitions: BTreeSet<PartitionId>,
}

/// Some files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub files: Vec<File>,
    /// The inode after which the next page begins; `None` when there is none.
    pub next: Option<u64>,
}

/// The files after inode `after`, `files_max` at most; orphans are files too. Files that were
/// never written to are left out.
///
/// # Errors
/// The store's, and values that do not decode.
pub fn page(read: &dyn Read, after: u64, files_max: usize) -> Result<Page, Fault> {
    let from = key::inode(after.saturating_add(1));
    let until = key::after(&[key::INODE]);
    let mut inodes = Vec::new();
    let (mut fault, mut next) = (None, None);
    read.scan(&from, Some(&until), &mut |key, value| {
        let id = key::number(key, 1).unwrap_or(0);
        if inodes.len() == files_max {
            next = Some(id - 1);
            return ControlFlow::Break(());
        }
        match unseal(key, value).and_then(|body| Inode::decode(id, body)) {
            Ok(inode) => {
                let placed = inode.first_chunk != 0 || inode.chunks || inode.allocated != 0;
                if inode.kind == FileKind::File && placed {
                    inodes.push(inode);
                }
                ControlFlow::Continue(())
            }
            Err(source) => {
                fault = Some(Fault::Value { key: shown(key), source });
                ControlFlow::Break(())
            }
        }
    })?;
    if let Some(fault) = fault {
        return Err(fault);
    }
    let files = inodes.iter().map(|inode| file(read, inode)).collect::<Result<_, _>>()?;
    Ok(Page { files, next })
}

fn file(read: &dyn Read, inode: &Inode) -> Result<File, Fault> {
    let mut partitions = BTreeSet::new();
    if inode.first_chunk != 0 {
        partitions.insert(PartitionId(inode.first_chunk));
    }
    let mut fault = None;
    if inode.chunks {
        scan_prefix(read, &key::one(key::CHUNK, inode.id), &mut |key, value| match unseal(
            key, value,
        )
        .and_then(decode_number)
        {
            Ok(partition) => {
                partitions.insert(PartitionId(partition));
                ControlFlow::Continue(())
            }
            Err(source) => {
                fault = Some(Fault::Value { key: shown(key), source });
                ControlFlow::Break(())
            }
        })?;
    }
    match fault {
        Some(fault) => Err(fault),
        None => Ok(File {
            inode: inode.id,
            allocated: inode.allocated,
            unsettled: inode.unsettled || inode.delegate != 0,
            partitions,
        }),
    }
}
