//! The state of a namespace as commands and queries see it: typed values over the store.

use super::codec::Malformed;
use super::entry::{Bucket, Entry, hash};
use super::fault::{Fault, Stop, require};
use super::inode::Inode;
use super::key::{self, Holding};
use super::lock_table::LockTable;
use super::store::Store;
use super::totals::Totals;
use crate::kv::Key;
use bytes::Bytes;
use std::collections::BTreeMap;
use types::limits;
use types::namespace::{Failure, FailureKind, Session};

/// A live session with what is worth knowing without reading.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub session: Session,
    /// No remembered outcome has a larger number.
    pub number_highest: u64,
    /// Keys of kind `H` it has.
    pub holdings: usize,
}

/// Where a name is or would be: one bucket of one folder, read once for a command.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub folder: u64,
    pub key: Key,
    pub bucket: Bucket,
}

impl Place {
    /// What `name` stands for.
    pub(super) fn entry(&self, name: &[u8]) -> Option<&Entry> {
        self.bucket.find(name)
    }

    /// Adds a name that is not there.
    pub(super) fn add(&mut self, name: &Bytes, to: &Inode) -> Result<(), Stop> {
        require(self.bucket.add(name, to.id, to.kind), FailureKind::NoSpace)?;
        Ok(())
    }

    /// Removes a name that is there.
    pub(super) fn remove(&mut self, name: &[u8]) -> Result<(), Fault> {
        self.bucket.remove(name).map(drop).ok_or(self.vanished())
    }

    /// Lets a name that is there stand for something else.
    pub(super) fn point(&mut self, name: &[u8], to: &Inode) -> Result<(), Fault> {
        let vanished = self.vanished();
        let entry = self.bucket.entries.iter_mut().find(|entry| entry.name == name);
        let entry = entry.ok_or(vanished)?;
        (entry.inode, entry.kind) = (to.id, to.kind);
        Ok(())
    }

    fn vanished(&self) -> Fault {
        Fault::Contradiction { what: "a name vanished within a command", inode: self.folder }
    }
}

#[derive(Debug)]
pub(super) struct State {
    pub store: Store,
    pub totals: Totals,
    /// The totals as the `Kv` has them.
    pub totals_written: Option<Totals>,
    /// All live sessions. There are few, and every command belongs to one.
    pub sessions: BTreeMap<u64, Live>,
    /// Sessions that the running command changed; read again from the store when it is undone.
    pub touched: Vec<u64>,
}

impl State {
    /// The inode, `None` when there is no such inode (any more).
    pub(super) fn find_inode(&self, id: u64) -> Result<Option<Inode>, Fault> {
        self.store.read(&key::inode(id), |body| Inode::decode(id, body))
    }

    /// The inode; refused as stale when it is gone.
    pub(super) fn inode(&self, id: u64) -> Result<Inode, Stop> {
        self.find_inode(id)?.ok_or_else(|| FailureKind::Stale.into())
    }

    /// The inode that an entry, a lock or the like names, so it must be there.
    pub(super) fn inode_of(&self, id: u64, what: &'static str) -> Result<Inode, Fault> {
        self.find_inode(id)?.ok_or(Fault::Contradiction { what, inode: id })
    }

    /// A folder that may be looked into.
    pub(super) fn folder(&self, id: u64) -> Result<Inode, Stop> {
        let inode = self.inode(id)?;
        require(inode.is_folder(), FailureKind::NotFolder)?;
        Ok(inode)
    }

    /// A folder that may be changed: not one that was removed while open.
    pub(super) fn live_folder(&self, id: u64) -> Result<Inode, Stop> {
        let folder = self.folder(id)?;
        require(folder.nlink > 0, FailureKind::NotFound)?;
        Ok(folder)
    }

    pub(super) fn put_inode(&mut self, inode: &Inode) {
        self.store.put(key::inode(inode.id), inode.encode());
    }

    /// The place of `name` in `folder`, with what is there.
    pub(super) fn place(&self, folder: u64, name: &[u8]) -> Result<Place, Fault> {
        let key = key::entry(folder, hash(name));
        let bucket = self.store.read(&key, Bucket::decode)?.unwrap_or_default();
        Ok(Place { folder, key, bucket })
    }

    /// Writes a place back.
    pub(super) fn put_place(&mut self, place: Place) {
        if place.bucket.entries.is_empty() {
            self.store.remove(place.key);
        } else {
            self.store.put(place.key, place.bucket.encode());
        }
    }

    /// The data partition of a chunk; zero when it is not placed.
    pub(super) fn placement(&self, inode: &Inode, chunk: u64) -> Result<u64, Fault> {
        if chunk == 0 {
            return Ok(inode.first_chunk);
        }
        let key = key::two(key::CHUNK, inode.id, chunk);
        Ok(self.store.read(&key, decode_number)?.unwrap_or(0))
    }

    pub(super) fn xattr(&self, inode: u64, name: &[u8]) -> Result<Option<Bytes>, Fault> {
        self.store.get(&key::xattr(inode, name))
    }

    pub(super) fn locks(&self, inode: u64) -> Result<LockTable, Fault> {
        let key = key::one(key::LOCKS, inode);
        Ok(self.store.read(&key, LockTable::decode)?.unwrap_or_default())
    }

    pub(super) fn put_locks(&mut self, inode: u64, table: &LockTable) {
        let key = key::one(key::LOCKS, inode);
        if table.locks.is_empty() {
            self.store.remove(key);
        } else {
            self.store.put(key, table.encode());
        }
    }

    /// The live session; refused when it has ended.
    pub(super) fn session(&self, id: u64) -> Result<&Session, Failure> {
        let live = self.sessions.get(&id).ok_or(Failure::new(FailureKind::SessionEnded))?;
        Ok(&live.session)
    }

    /// Writes a live session.
    pub(super) fn put_session(&mut self, session: Session) {
        self.store.put(key::one(key::SESSION, session.id), super::session::encode(&session));
        self.touched.push(session.id);
        if let Some(live) = self.sessions.get_mut(&session.id) {
            live.session = session;
        }
    }

    /// Notes that a session holds something of an inode.
    pub(super) fn hold(&mut self, session: u64, holding: Holding, inode: u64) -> Result<(), Stop> {
        let Some(live) = self.sessions.get_mut(&session) else {
            return Err(FailureKind::SessionEnded.into());
        };
        require(live.holdings < limits::HOLDINGS_PER_SESSION_MAX, FailureKind::LimitReached)?;
        live.holdings += 1;
        self.touched.push(session);
        self.store.put(key::holding(session, holding, inode), Bytes::new());
        Ok(())
    }

    /// Notes that a session holds it no more.
    pub(super) fn unhold(&mut self, session: u64, holding: Holding, inode: u64) {
        if let Some(live) = self.sessions.get_mut(&session) {
            live.holdings = live.holdings.saturating_sub(1);
            self.touched.push(session);
        }
        self.store.remove(key::holding(session, holding, inode));
    }

    /// Changes what an inode's data takes, and the volume's sum with it.
    pub(super) fn account(&mut self, inode: &mut Inode, allocated: u64) {
        self.totals.used =
            self.totals.used.saturating_sub(inode.allocated).saturating_add(allocated);
        inode.allocated = allocated;
    }
}

pub(super) fn decode_number(body: &[u8]) -> Result<u64, Malformed> {
    let mut reader = super::codec::Reader::new(body);
    let number = reader.u64()?;
    reader.finish()?;
    Ok(number)
}

/// A name that may be given to something new or looked for.
pub(super) fn check_name(name: &[u8]) -> Result<(), Stop> {
    require(name.len() <= limits::NAME_BYTES_MAX, FailureKind::NameTooLong)?;
    let special = name.is_empty() || name == b"." || name == b"..";
    let bytes_bad = name.iter().any(|byte| matches!(byte, b'/' | 0));
    require(!special && !bytes_bad, FailureKind::Invalid)?;
    Ok(())
}
