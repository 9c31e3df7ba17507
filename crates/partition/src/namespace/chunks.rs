//! Where the chunks of a file live.

use super::attributes::{changed, moved};
use super::fault::{Stop, require};
use super::inode::Inode;
use super::key;
use super::step::{Handled, Step, require_few};
use crate::kv::Key;
use types::limits;
use types::namespace::outcome_body::OutcomeBody;
use types::namespace::{AllocateChunks, DropChunks, FailureKind, FileKind, Placed, Placement};

/// Index of the last chunk a file may have.
const CHUNK_LAST: u64 = limits::FILE_BYTES_MAX / limits::CHUNK_BYTES;

impl Step<'_> {
    pub(super) fn allocate_chunks(&mut self, allocate: &AllocateChunks) -> Handled {
        require_few(&allocate.wanted)?;
        let mut inode = self.file_to_place(allocate.inode)?;
        let mut placements = Vec::with_capacity(allocate.wanted.len());
        for wanted in &allocate.wanted {
            require(wanted.chunk <= CHUNK_LAST, FailureKind::FileTooLarge)?;
            require(wanted.partition != 0, FailureKind::Invalid)?;
            let mut partition = self.state.placement(&inode, wanted.chunk)?;
            if partition == 0 {
                partition = wanted.partition;
                self.place(&mut inode, wanted);
            }
            placements.push(Placement { chunk: wanted.chunk, partition });
        }
        Ok(OutcomeBody::Placed(Placed { placements }))
    }

    fn file_to_place(&self, id: u64) -> Result<Inode, Stop> {
        let inode = self.state.inode(id)?;
        require(inode.kind == FileKind::File, FailureKind::Invalid)?;
        self.require_undelegated(&inode)?;
        Ok(inode)
    }

    fn place(&mut self, inode: &mut Inode, wanted: &Placement) {
        if wanted.chunk == 0 {
            inode.first_chunk = wanted.partition;
            self.state.put_inode(inode);
            return;
        }
        if !inode.chunks {
            inode.chunks = true;
            self.state.put_inode(inode);
        }
        let key = key::two(key::CHUNK, inode.id, wanted.chunk);
        self.state.store.put(key, wanted.partition.to_le_bytes().to_vec());
    }

    pub(super) fn drop_chunks(&mut self, drop: &DropChunks) -> Handled {
        let mut inode = self.file_to_place(drop.inode)?;
        let from = key::two(key::CHUNK, inode.id, drop.first);
        let until = key::after(&key::one(key::CHUNK, inode.id));
        let mut keys = Vec::new();
        self.state.store.scan(&from, &until, |key, _| {
            keys.push(Key::from(key));
            Ok(std::ops::ControlFlow::Continue(()))
        })?;
        for key in keys {
            self.state.store.remove(key);
        }
        if drop.first == 0 {
            inode.first_chunk = 0;
        }
        inode.chunks &= drop.first > 1;
        let allocated = moved(inode.allocated, drop.allocated_delta);
        self.state.account(&mut inode, allocated);
        self.state.put_inode(&inode);
        Ok(changed(&inode))
    }
}
