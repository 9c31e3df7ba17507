//! A full scan that says what contradicts what, in bounded memory.
//!
//! Three passes over a snapshot: every value by itself and with what it names; the names that lead to each
//! inode, counted for a window of inodes at a time; and the way from each folder up to the root.
//! A damaged value is reported once and then treated as absent.

pub use super::finding::Finding;

use super::codec::{Malformed, unseal};
use super::entry::{Bucket, hash};
use super::fault::Fault;
use super::inode::Inode;
use super::key::{self, Holding};
use super::lock_table::LockTable;
use super::state::decode_number;
use super::store::shown;
use super::totals::Totals;
use crate::kv::{Read, scan_prefix};
use prost::Message;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use types::namespace::{FileKind, Outcome, Session};
use types::{InodeId, limits};

/// Inodes whose names are counted in one pass: 4 bytes each.
const WINDOW: u64 = 1 << 20;

/// Folders remembered as leading to the root.
const REACHED_MAX: usize = 1 << 16;

/// Longer ways up are taken for circles.
const DEPTH_MAX: usize = 1 << 20;

/// What a full scan counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub inodes: u64,
    pub orphans: u64,
    /// Bytes, as in the totals.
    pub used: u64,
    pub reserved: u64,
    pub names: u64,
}

/// Why a check ended early.
enum End {
    /// The one who asked has enough.
    Stopped,
    Fault(Fault),
}

impl From<crate::kv::Error> for End {
    fn from(error: crate::kv::Error) -> End {
        End::Fault(error.into())
    }
}

type Checked = Result<(), End>;

/// Checks all of a state and reports each finding; `Break` ends the check.
///
/// # Errors
/// The store's: nothing can be said about what could not be read.
pub fn check(
    read: &dyn Read,
    report: &mut dyn FnMut(Finding) -> ControlFlow<()>,
) -> Result<Counted, Fault> {
    let totals = read.get(key::TOTALS)?;
    let body = totals.as_deref().map(|value| unseal(key::TOTALS, value).and_then(Totals::decode));
    let totals = body.and_then(Result::ok);
    let mut check = Check { read, report, totals, counted: Counted::default() };
    match check.run() {
        Ok(()) | Err(End::Stopped) => Ok(check.counted),
        Err(End::Fault(fault)) => Err(fault),
    }
}

/// Checks all of a state and returns what was found, `findings_max` at most.
///
/// # Errors
/// As [`check`].
pub fn findings(read: &dyn Read, findings_max: usize) -> Result<Vec<Finding>, Fault> {
    let mut found = Vec::new();
    check(read, &mut |finding| {
        if found.len() >= findings_max {
            return ControlFlow::Break(());
        }
        found.push(finding);
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

struct Check<'a> {
    read: &'a dyn Read,
    report: &'a mut dyn FnMut(Finding) -> ControlFlow<()>,
    totals: Option<Totals>,
    counted: Counted,
}

impl Check<'_> {
    fn run(&mut self) -> Checked {
        self.require(self.totals.is_some(), || Finding::Missing { what: "totals" })?;
        let root = self.inode(InodeId::ROOT.0)?;
        let root_good = root.is_some_and(|root| root.is_folder() && root.parent == root.id);
        self.require(root_good, || Finding::Missing { what: "the root" })?;
        self.scan(&[], None, |check, key, value| check.pair(key, value))?;
        self.check_totals()?;
        self.check_names()?;
        self.check_ways_up()
    }

    fn report(&mut self, finding: Finding) -> Checked {
        match (self.report)(finding) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(End::Stopped),
        }
    }

    fn require(&mut self, holds: bool, finding: impl FnOnce() -> Finding) -> Checked {
        if holds { Ok(()) } else { self.report(finding()) }
    }

    /// Visits raw pairs, with the checker at hand.
    fn scan(
        &mut self,
        from: &[u8],
        until: Option<&[u8]>,
        mut visit: impl FnMut(&mut Self, &[u8], &[u8]) -> Checked,
    ) -> Checked {
        let mut end = Ok(());
        let read = self.read;
        read.scan(from, until, &mut |key, value| {
            end = visit(self, key, value);
            if end.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        end
    }

    fn scan_prefix(
        &mut self,
        prefix: &[u8],
        visit: impl FnMut(&mut Self, &[u8], &[u8]) -> Checked,
    ) -> Checked {
        self.scan(prefix, Some(&key::after(prefix)), visit)
    }

    /// A value by its key; absent when it is damaged, which is reported elsewhere.
    fn value<T>(
        &self,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Result<Option<T>, End> {
        let value = self.read.get(key)?;
        Ok(value.and_then(|value| unseal(key, &value).and_then(decode).ok()))
    }

    fn inode(&self, id: u64) -> Result<Option<Inode>, End> {
        self.value(&key::inode(id), |body| Inode::decode(id, body))
    }

    fn session(&self, id: u64) -> Result<Option<Session>, End> {
        self.value(&key::one(key::SESSION, id), |body| super::session::decode(id, body))
    }

    fn exists(&self, key: &[u8]) -> Result<bool, End> {
        Ok(self.read.get(key)?.is_some())
    }

    fn count(&self, prefix: &[u8]) -> Result<u64, End> {
        let mut count = 0;
        scan_prefix(self.read, prefix, &mut |_, _| {
            count += 1;
            ControlFlow::Continue(())
        })?;
        Ok(count)
    }

    /// The first pass: one pair, by itself and with what it names.
    fn pair(&mut self, key: &[u8], value: &[u8]) -> Checked {
        let body = match unseal(key, value) {
            Ok(body) => body,
            Err(why) => return self.report(Finding::Damaged { key: shown(key), why }),
        };
        match self.body(key, body) {
            Ok(checked) => checked,
            Err(why) => self.report(Finding::Damaged { key: shown(key), why }),
        }
    }

    fn body(&mut self, key: &[u8], body: &[u8]) -> Result<Checked, Malformed> {
        let id = key::number(key, 1).unwrap_or(0);
        let second = key::number(key, 9).unwrap_or(0);
        Ok(match (key[0], key.len()) {
            (b'T', 1) => Totals::decode(body).map(|_| Ok(()))?,
            (key::INODE, 9) => self.check_inode(&Inode::decode(id, body)?),
            (key::ENTRY, 16) => self.check_bucket(key, id, &Bucket::decode(body)?),
            (key::CHUNK, 17) => {
                decode_number(body)?;
                self.check_owner(id, "a chunk", |inode| inode.chunks)
            }
            (key::XATTR, 10..) => {
                self.check_owner(id, "an extended attribute", |inode| inode.xattrs > 0)
            }
            (key::LOCKS, 9) => self.check_locks(id, &LockTable::decode(body)?),
            (key::ORPHAN, 9) => {
                decode_number(body)?;
                self.check_listed_orphan(id)
            }
            (key::SESSION, 9) => {
                self.counted.reserved += super::session::decode(id, body)?.reserved;
                Ok(())
            }
            (key::OUTCOME, 17) => {
                Outcome::decode(body).map_err(|_| Malformed::Field("outcome"))?;
                self.check_outcome(id, second)
            }
            (key::HOLDING, 18) => self.check_holding(key, id),
            _ => self.report(Finding::UnknownKey { key: shown(key) }),
        })
    }

    fn check_inode(&mut self, inode: &Inode) -> Checked {
        self.counted.inodes += 1;
        self.counted.used += inode.allocated;
        let id = inode.id;
        if let Some(totals) = self.totals {
            let next = totals.inode_next;
            self.require(id < next, || Finding::NumberNotGiven { inode: id, next })?;
        }
        if inode.nlink == 0 {
            self.counted.orphans += 1;
            let listed = self.exists(&key::one(key::ORPHAN, id))?;
            self.require(listed, || Finding::OrphanList { inode: id, listed, nlink: 0 })?;
        }
        if inode.xattrs > 0 {
            let counted = self.count(&key::one(key::XATTR, id))?;
            let stored = u64::from(inode.xattrs);
            self.require(counted == stored, || Finding::Xattrs { inode: id, stored, counted })?;
        }
        if inode.delegate != 0 {
            let session = inode.delegate;
            let held = self.exists(&key::holding(session, Holding::Delegation, id))?;
            self.require(held, || Finding::Holding { session, inode: id, what: "delegation" })?;
        }
        if inode.is_folder() { self.check_folder(inode) } else { Ok(()) }
    }

    /// The names in a folder against what the folder says of itself.
    fn check_folder(&mut self, folder: &Inode) -> Checked {
        let (mut names, mut folders) = (0, 0);
        self.scan_prefix(&key::one(key::ENTRY, folder.id), |_, key, value| {
            if let Ok(bucket) = unseal(key, value).and_then(Bucket::decode) {
                names += bucket.entries.len() as u64;
                let is_folder = |entry: &&super::entry::Entry| entry.kind == FileKind::Folder;
                folders += bucket.entries.iter().filter(is_folder).count() as u64;
            }
            Ok(())
        })?;
        let (inode, stored) = (folder.id, folder.size);
        self.require(stored == names, || Finding::FolderSize { inode, stored, counted: names })?;
        let counted = if folder.nlink == 0 { folders } else { folders + 2 };
        let stored = u64::from(folder.nlink);
        self.require(stored == counted, || Finding::Links { inode, stored, counted })
    }

    fn check_bucket(&mut self, key: &[u8], folder: u64, bucket: &Bucket) -> Checked {
        self.check_owner(folder, "a name", Inode::is_folder)?;
        for entry in &bucket.entries {
            self.counted.names += 1;
            let (inode, name) = (entry.inode, || entry.name.to_vec());
            let placed = key::entry(folder, hash(&entry.name))[..] == *key
                && bucket.find(&entry.name) == Some(entry);
            self.require(placed, || Finding::MisplacedName { folder, name: name() })?;
            let Some(found) = self.inode(inode)? else {
                self.report(Finding::DanglingName { folder, name: name(), inode })?;
                continue;
            };
            let same = found.kind == entry.kind;
            self.require(same, || Finding::NameKind { folder, name: name(), inode })?;
            let here = !found.is_folder() || found.parent == folder;
            let stored = found.parent;
            self.require(here, || Finding::Parent { inode, stored, found: folder })?;
        }
        Ok(())
    }

    fn check_owner(
        &mut self,
        inode: u64,
        what: &'static str,
        may_have: impl FnOnce(&Inode) -> bool,
    ) -> Checked {
        let good = self.inode(inode)?.is_some_and(|inode| may_have(&inode));
        self.require(good, || Finding::Stray { what, inode })
    }

    fn check_listed_orphan(&mut self, id: u64) -> Checked {
        let inode = self.inode(id)?;
        let nlink = inode.map_or(u32::MAX, |inode| inode.nlink);
        self.require(nlink == 0, || Finding::OrphanList { inode: id, listed: true, nlink })
    }

    fn check_locks(&mut self, inode: u64, table: &LockTable) -> Checked {
        self.check_owner(inode, "a lock", |_| true)?;
        let sessions: BTreeSet<u64> = table.locks.iter().map(|lock| lock.session).collect();
        for session in sessions {
            let held = self.exists(&key::holding(session, Holding::Locks, inode))?;
            self.require(held, || Finding::Holding { session, inode, what: "locks" })?;
        }
        Ok(())
    }

    fn check_outcome(&mut self, session: u64, number: u64) -> Checked {
        let in_window = self.session(session)?.is_some_and(|live| {
            let from = live.remembered_from;
            (from..from + limits::OUTCOMES_REMEMBERED_MAX).contains(&number)
        });
        self.require(in_window, || Finding::StraySession { what: "an outcome", session })
    }

    fn check_holding(&mut self, key: &[u8], session: u64) -> Checked {
        let live = self.session(session)?.is_some();
        self.require(live, || Finding::StraySession { what: "a holding", session })?;
        let inode = key::number(key, 10).unwrap_or(0);
        let (good, what) = match Holding::from_byte(key[9]) {
            Some(Holding::Delegation) => {
                (self.inode(inode)?.is_some_and(|inode| inode.delegate == session), "delegation")
            }
            Some(Holding::Locks) => {
                let table = self.value(&key::one(key::LOCKS, inode), LockTable::decode)?;
                (table.is_some_and(|table| table.is_held_by(session)), "locks")
            }
            None => return self.report(Finding::UnknownKey { key: shown(key) }),
        };
        self.require(good, || Finding::Holding { session, inode, what })
    }

    fn check_totals(&mut self) -> Checked {
        let Some(totals) = self.totals else { return Ok(()) };
        let counted = self.counted;
        for (what, stored, counted) in [
            ("inodes", totals.inodes, counted.inodes),
            ("orphans", totals.orphans, counted.orphans),
            ("used", totals.used, counted.used),
            ("reserved", totals.reserved, counted.reserved),
        ] {
            self.require(stored == counted, || Finding::Total { what, stored, counted })?;
        }
        Ok(())
    }

    /// The second pass: how many names lead to each inode.
    fn check_names(&mut self) -> Checked {
        let end = self.totals.map_or(u64::MAX, |totals| totals.inode_next);
        let mut first = 0;
        while first < end {
            let last = self.check_window(first)?;
            // Nothing at all beyond this window: the numbers may be sparse after many deletes.
            let Some(next) = self.inode_from(last)? else { return Ok(()) };
            first = next;
        }
        Ok(())
    }

    /// The number of the first inode that is at least `id`.
    fn inode_from(&self, id: u64) -> Result<Option<u64>, End> {
        let mut found = None;
        let until = key::after(&[key::INODE]);
        self.read.scan(&key::inode(id), Some(&until), &mut |key, _| {
            found = key::number(key, 1);
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Checks the inodes from `first` on, `WINDOW` numbers; returns the number after them.
    fn check_window(&mut self, first: u64) -> Result<u64, End> {
        let mut names = vec![0_u32; WINDOW as usize];
        self.scan_prefix(&[key::ENTRY], |_, key, value| {
            if let Ok(bucket) = unseal(key, value).and_then(Bucket::decode) {
                for entry in bucket.entries {
                    let at = entry.inode.checked_sub(first).filter(|at| *at < WINDOW);
                    if let Some(at) = at {
                        names[at as usize] += 1;
                    }
                }
            }
            Ok(())
        })?;
        let after = first.saturating_add(WINDOW);
        self.scan(&key::inode(first), Some(&key::inode(after)), |check, key, value| {
            let id = key::number(key, 1).unwrap_or(first);
            let inode = unseal(key, value).and_then(|body| Inode::decode(id, body));
            let Ok(inode) = inode else { return Ok(()) };
            check.check_names_of(&inode, u64::from(names[(id - first) as usize]))
        })?;
        Ok(after)
    }

    fn check_names_of(&mut self, inode: &Inode, counted: u64) -> Checked {
        let id = inode.id;
        if !inode.is_folder() {
            let stored = u64::from(inode.nlink);
            return self.require(stored == counted, || Finding::Links {
                inode: id,
                stored,
                counted,
            });
        }
        let expected = u64::from(id != InodeId::ROOT.0 && inode.nlink > 0);
        self.require(counted == expected, || Finding::FolderNames { inode: id, counted })
    }

    /// The third pass: from each folder up to the root.
    fn check_ways_up(&mut self) -> Checked {
        let mut reached = BTreeSet::new();
        self.scan_prefix(&[key::INODE], |check, key, value| {
            let id = key::number(key, 1).unwrap_or(0);
            let inode = unseal(key, value).and_then(|body| Inode::decode(id, body));
            let Ok(folder) = inode else { return Ok(()) };
            if !folder.is_folder() || folder.nlink == 0 {
                return Ok(());
            }
            let way = check.way_up(&folder, &reached)?;
            let Some(way) = way else { return check.report(Finding::Unreachable { inode: id }) };
            if reached.len() + way.len() > REACHED_MAX {
                reached.clear();
            }
            reached.extend(way.into_iter().take(REACHED_MAX));
            Ok(())
        })
    }

    /// The folders between `folder` and one that leads to the root; `None` when there is no way.
    fn way_up(&self, folder: &Inode, reached: &BTreeSet<u64>) -> Result<Option<Vec<u64>>, End> {
        let (mut id, mut parent) = (folder.id, folder.parent);
        let mut way = Vec::new();
        while way.len() < DEPTH_MAX {
            if id == InodeId::ROOT.0 || reached.contains(&id) {
                return Ok(Some(way));
            }
            way.push(id);
            if parent == id {
                return Ok(None);
            }
            let Some(above) = self.inode(parent)? else { return Ok(None) };
            (id, parent) = (above.id, above.parent);
        }
        Ok(None)
    }
}
