//! A disk that lives in memory and fails, from a seed, in the ways of a real one.
//!
//! The durability model of the parent module, made as nasty as it allows. Each file remembers what
//! is durable and, in order, what was done since the last sync. When power is lost every one of
//! those later steps is kept or dropped by the toss of a coin, and a kept write may be torn at a
//! sector. Names behave the same way: each folder change since the last folder sync may vanish.
//!
//! Every handle belongs to one incarnation of its host. After a crash the handles of the dead
//! incarnation only return errors, so that destructors which still run cannot write.

use super::{Space, parent};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::iter::successors;
use std::sync::{Arc, Mutex, MutexGuard};

/// A torn write ends on a multiple of this.
const SECTOR_BYTES: usize = 512;

/// A block of zeros counts as a hole.
const BLOCK_BYTES: usize = 4096;

/// Handle to a simulated disk, bound to one incarnation of its host.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    incarnation: u64,
}

/// How likely each operation fails, `0.0..=1.0`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub read_error: f64,
    pub write_error: f64,
    pub sync_error: f64,
    /// There is no room, for whatever takes any: as when a quota or another program comes and goes.
    pub no_space: f64,
}

#[derive(Debug)]
struct State {
    label: String,
    incarnation: u64,
    dice: StdRng,
    faults: Faults,
    capacity: u64,
    /// What a database on this disk takes of it.
    taken: u64,
    files: BTreeMap<u64, Content>,
    file_next: u64,
    names: BTreeMap<String, u64>,
    names_durable: BTreeMap<String, u64>,
    folders: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    since_sync: Vec<Step>,
    /// Room that was set aside from the start, whatever is written.
    reserved: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Write { offset: usize, bytes: Vec<u8> },
    SetLength(usize),
    Punch { offset: usize, length: usize },
}

impl Step {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Step::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset..end].copy_from_slice(bytes);
            }
            Step::SetLength(length) => content.resize(*length, 0),
            Step::Punch { offset, length } => {
                let end = (offset + length).min(content.len());
                if *offset < end {
                    content[*offset..end].fill(0);
                }
            }
        }
    }
}

impl SimDisk {
    /// A fresh, empty disk of `capacity` bytes.
    #[must_use]
    pub fn new(label: &str, seed: u64, capacity: u64) -> SimDisk {
        let state = State {
            label: label.to_string(),
            incarnation: 0,
            dice: StdRng::seed_from_u64(seed),
            faults: Faults::default(),
            capacity,
            taken: 0,
            files: BTreeMap::new(),
            file_next: 1,
            names: BTreeMap::new(),
            names_durable: BTreeMap::new(),
            folders: BTreeSet::new(),
        };
        SimDisk { state: Arc::new(Mutex::new(state)), incarnation: 0 }
    }

    /// The process died: its handles are dead, and all it wrote is still there.
    #[must_use]
    pub fn kill_process(&self) -> SimDisk {
        let mut state = self.state.lock().expect("no disk call panics");
        state.incarnation += 1;
        SimDisk { state: self.state.clone(), incarnation: state.incarnation }
    }

    /// Power was lost: handles are dead, and what was not synced is lost in part or in whole.
    #[must_use]
    pub fn lose_power(&self) -> SimDisk {
        let mut state = self.state.lock().expect("no disk call panics");
        state.lose_unsynced();
        state.incarnation += 1;
        SimDisk { state: self.state.clone(), incarnation: state.incarnation }
    }

    /// Sets how often operations fail from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state.lock().expect("no disk call panics").faults = faults;
    }

    /// Changes the size of the disk, as when another program fills or frees it.
    pub fn set_capacity(&self, capacity: u64) {
        self.state.lock().expect("no disk call panics").capacity = capacity;
    }

    /// A database on this disk is about to write `bytes`; whether there is room for them.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        let mut state = self.state.lock().expect("no disk call panics");
        state.find_room().is_ok() && bytes <= state.capacity.saturating_sub(state.used())
    }

    /// Room that files set aside and did not write to.
    #[must_use]
    pub fn set_aside(&self) -> u64 {
        let state = self.state.lock().expect("no disk call panics");
        let aside = |content: &Content| content.allocated() - content.bytes.len() as u64;
        state.files.values().map(aside).sum()
    }

    /// What a database on this disk takes now.
    pub(crate) fn set_taken(&self, bytes: u64) {
        self.state.lock().expect("no disk call panics").taken = bytes;
    }

    /// Flips one bit of a file, durably; false when the file is absent or too short.
    pub fn flip_bit(&self, path: &str, offset: u64, bit: u8) -> bool {
        let mut state = self.state.lock().expect("no disk call panics");
        let Some(number) = state.names.get(path).copied() else { return false };
        let content = state.files.get_mut(&number).expect("every name has a file");
        let Ok(offset) = usize::try_from(offset) else { return false };
        let Some(byte) = content.bytes.get_mut(offset) else { return false };
        *byte ^= 1 << (bit % 8);
        let flipped = *byte;
        if let Some(byte) = content.durable.get_mut(offset) {
            *byte = flipped;
        }
        true
    }

    /// All file paths, sorted.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        self.state.lock().expect("no disk call panics").names.keys().cloned().collect()
    }

    pub(super) fn label(&self) -> String {
        self.state.lock().expect("no disk call panics").label.clone()
    }

    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state.lock().expect("no disk call panics");
        if state.incarnation == self.incarnation {
            Ok(state)
        } else {
            Err(io::Error::other("this incarnation of the host has crashed"))
        }
    }

    pub(super) fn open_file(&self, path: &str, create: bool) -> io::Result<SimFile> {
        let path = normal(path);
        let mut state = self.alive()?;
        let number = match (state.names.get(&path).copied(), create) {
            (Some(_), true) => return Err(io::ErrorKind::AlreadyExists.into()),
            (None, false) => return Err(io::ErrorKind::NotFound.into()),
            (Some(number), false) => number,
            (None, true) => {
                state.require_folder(parent(&path))?;
                state.find_room()?;
                state.create(&path)
            }
        };
        Ok(SimFile { disk: self.clone(), number })
    }

    pub(super) fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.alive()?;
        state.names.remove(&normal(path)).ok_or(io::ErrorKind::NotFound)?;
        state.forget_unnamed();
        Ok(())
    }

    pub(super) fn remove_tree(&self, path: &str) -> io::Result<()> {
        let mut state = self.alive()?;
        let root = normal(path);
        let below = format!("{root}/");
        state.names.retain(|name, _| !name.starts_with(&below));
        state.folders.retain(|folder| *folder != root && !folder.starts_with(&below));
        state.forget_unnamed();
        Ok(())
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.alive()?;
        state.require_folder(parent(&normal(to)))?;
        state.find_room()?;
        let number = state.names.remove(&normal(from)).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(normal(to), number);
        state.forget_unnamed();
        Ok(())
    }

    pub(super) fn create_folder(&self, path: &str) -> io::Result<()> {
        let mut state = self.alive()?;
        let path = normal(path);
        if !state.folders.contains(&path) {
            state.find_room()?;
        }
        // Folders themselves are kept by a power loss: only names of files take part in the model.
        for (at, _) in path.match_indices('/') {
            state.folders.insert(path[..at].to_string());
        }
        state.folders.insert(path);
        Ok(())
    }

    pub(super) fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let state = self.alive()?;
        let root = normal(path);
        let below = if root == "." { String::new() } else { format!("{root}/") };
        let mut names = BTreeSet::new();
        for name in state.names.keys().chain(&state.folders) {
            if let Some(rest) = name.strip_prefix(&below)
                && !rest.is_empty()
                && rest != "."
            {
                names.insert(rest.split('/').next().unwrap_or(rest).to_string());
            }
        }
        Ok(names.into_iter().collect())
    }

    pub(super) fn sync_folder(&self, path: &str) -> io::Result<()> {
        let mut state = self.alive()?;
        let likelihood = state.faults.sync_error;
        if state.toss(likelihood) {
            return Err(io::Error::other("simulated sync error"));
        }
        state.sync_names(&normal(path));
        Ok(())
    }

    pub(super) fn space(&self) -> io::Result<Space> {
        let state = self.alive()?;
        let free = state.capacity.saturating_sub(state.used());
        Ok(Space { free, total: state.capacity, inodes_free: None })
    }
}

impl State {
    fn toss(&mut self, likelihood: f64) -> bool {
        likelihood > 0.0 && self.dice.random_bool(likelihood)
    }

    /// Something is to be written that takes room.
    fn find_room(&mut self) -> io::Result<()> {
        let likelihood = self.faults.no_space;
        if self.toss(likelihood) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn require_folder(&self, path: &str) -> io::Result<()> {
        if path == "." || self.folders.contains(path) {
            Ok(())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn create(&mut self, path: &str) -> u64 {
        let number = self.file_next;
        self.file_next += 1;
        self.files.insert(number, Content::default());
        self.names.insert(path.to_string(), number);
        number
    }

    /// Room taken; holes count as room here, which is on the safe side for tests of a full disk.
    fn used(&self) -> u64 {
        self.taken + self.files.values().map(|content| content.allocated()).sum::<u64>()
    }

    /// Drops files that have no name left, now or after a power loss.
    fn forget_unnamed(&mut self) {
        let named: BTreeSet<u64> =
            self.names.values().chain(self.names_durable.values()).copied().collect();
        self.files.retain(|number, _| named.contains(number));
    }

    /// What is in the folder now is durable, and so is that folders are gone which were in it: what they held has no
    /// path any more.
    fn sync_names(&mut self, folder: &str) {
        let in_folder = |name: &String| parent(name) == folder;
        let folders = &self.folders;
        let is_gone = |name: &String| {
            let mut above = successors(Some(parent(name)), |at| (*at != ".").then(|| parent(at)));
            let child = above.find(|at| *at != "." && parent(at) == folder);
            child.is_some_and(|child| !folders.contains(child))
        };
        self.names_durable.retain(|name, _| !in_folder(name) && !is_gone(name));
        let current = self.names.iter().filter(|(name, _)| in_folder(name));
        self.names_durable.extend(current.map(|(name, number)| (name.clone(), *number)));
        self.forget_unnamed();
    }

    fn lose_unsynced(&mut self) {
        self.lose_names();
        let State { files, dice, .. } = self;
        for content in files.values_mut() {
            for step in std::mem::take(&mut content.since_sync) {
                if let Some(survivor) = survivor(dice, step) {
                    survivor.apply(&mut content.durable);
                }
            }
            content.bytes = content.durable.clone();
        }
        self.forget_unnamed();
    }

    fn lose_names(&mut self) {
        let all: BTreeSet<String> =
            self.names.keys().chain(self.names_durable.keys()).cloned().collect();
        for name in all {
            let (now, durable) = (self.names.get(&name), self.names_durable.get(&name).copied());
            if now.copied() == durable || self.dice.random_bool(0.5) {
                continue;
            }
            match durable {
                Some(number) => self.names.insert(name, number),
                None => self.names.remove(&name),
            };
        }
        self.names_durable = self.names.clone();
    }
}

/// What is left of an unsynced step after the power went: all, part or nothing.
fn survivor(dice: &mut StdRng, step: Step) -> Option<Step> {
    if dice.random_bool(0.5) {
        return None;
    }
    match step {
        Step::Write { offset, mut bytes } if dice.random_bool(0.3) => {
            let sectors = bytes.len() / SECTOR_BYTES;
            bytes.truncate(dice.random_range(0..=sectors) * SECTOR_BYTES);
            Some(Step::Write { offset, bytes })
        }
        step => Some(step),
    }
}

impl Content {
    fn allocated(&self) -> u64 {
        self.reserved.max(self.bytes.len() as u64)
    }

    fn take(&mut self, step: Step) {
        step.apply(&mut self.bytes);
        self.since_sync.push(step);
    }
}

/// "./a//b" and "a/b" are the same path.
fn normal(path: &str) -> String {
    let parts: Vec<&str> =
        path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.is_empty() { ".".to_string() } else { parts.join("/") }
}

/// An open simulated file.
#[derive(Clone, Debug)]
pub struct SimFile {
    disk: SimDisk,
    number: u64,
}

impl SimFile {
    fn with<T>(&self, work: impl FnOnce(&mut Content) -> T) -> io::Result<T> {
        let mut state = self.disk.alive()?;
        // A removed file stays usable through its handle, as on Unix, but nobody can tell: its
        // content is simply begun anew.
        Ok(work(state.files.entry(self.number).or_default()))
    }

    pub(super) fn write_at(&self, offset: u64, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut state = self.disk.alive()?;
        let likelihood = state.faults.write_error;
        if state.toss(likelihood) {
            return Err(io::Error::other("simulated write error"));
        }
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let length = state.files.get(&self.number).map_or(0, Content::allocated);
        let growth = ((offset + bytes.len()) as u64).saturating_sub(length);
        let mut room = state.capacity.saturating_sub(state.used());
        // Some file systems need room for what is overwritten, too.
        let refused = state.find_room().is_err();
        if refused && growth > 0 {
            room = room.min(state.dice.random_range(0..growth));
        }
        let full = refused || growth > room;
        if full {
            // Like a real file system: what fits is written, the rest is refused.
            let missing = usize::try_from(growth.saturating_sub(room)).unwrap_or(usize::MAX);
            bytes.truncate(bytes.len().saturating_sub(missing));
        }
        let content = state.files.entry(self.number).or_default();
        content.take(Step::Write { offset, bytes });
        if full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.disk.alive()?;
        let likelihood = state.faults.read_error;
        if state.toss(likelihood) {
            return Err(io::Error::other("simulated read error"));
        }
        let content = state.files.entry(self.number).or_default();
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let rest = content.bytes.get(offset..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        {
            let mut state = self.disk.alive()?;
            let likelihood = state.faults.sync_error;
            if state.toss(likelihood) {
                return Err(io::Error::other("simulated sync error"));
            }
        }
        self.with(|content| {
            for step in std::mem::take(&mut content.since_sync) {
                step.apply(&mut content.durable);
            }
        })
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        self.with(|content| content.bytes.len() as u64)
    }

    pub(super) fn allocated(&self) -> io::Result<u64> {
        self.with(|content| {
            let blocks = content.bytes.chunks(BLOCK_BYTES);
            let holds = |block: &&[u8]| block.iter().any(|byte| *byte != 0);
            let written: u64 = blocks.filter(holds).map(|block| block.len() as u64).sum();
            written.max(content.reserved)
        })
    }

    pub(super) fn set_len(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        {
            let state = self.disk.alive()?;
            let have = state.files.get(&self.number).map_or(0, |content| content.bytes.len());
            let room = state.capacity.saturating_sub(state.used());
            // More than a real file system says: there the first write into the new part fails.
            if length.saturating_sub(have) as u64 > room {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        self.with(|content| content.take(Step::SetLength(length)))
    }

    pub(super) fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.with(|content| content.take(Step::Punch { offset, length }))
    }

    pub(super) fn reserve(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.alive()?;
        state.find_room()?;
        let have = state.files.get(&self.number).map_or(0, Content::allocated);
        let room = state.capacity.saturating_sub(state.used());
        if length.saturating_sub(have) > room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let content = state.files.entry(self.number).or_default();
        content.reserved = content.reserved.max(length);
        Ok(())
    }
}
