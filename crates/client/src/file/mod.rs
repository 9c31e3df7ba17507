//! The bytes of one file, with its writes buffered.
//!
//! A write is copied and answered at once; segments of up to 1 MiB go to the cluster when they are
//! full, when a file has buffered much, and on `flush`. What readers of other clients see changes
//! at `flush`, which is what closing does: close-to-open. `sync` makes it durable.
//!
//! ```text
//! write -> buffered segments -> in flight -> acknowledged -> committed (size, times) -> durable
//!             \___ flush waits for all of this _____________________/                   /
//!              \___________ sync waits for all of this ________________________________/
//! ```
//!
//! What must hold: two requests for overlapping bytes are never in flight together; an error of a
//! buffered write is told to everybody who has the file open, when they next flush or sync, once
//! each; and to whoever opens the file next when nobody had it open (see [`errors`]).

mod append;
mod buffer;
mod direct;
mod errors;
mod flight;
mod flush;
mod layout;
mod read;
mod space;
mod sync;

pub(crate) use space::Budget;

use crate::{Error, Volume};
use buffer::Buffer;
use bytes::Bytes;
use errors::{Errors, Seen};
use flight::{Departed, Flights};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use types::limits::UNTOLD_BYTES_MAX;
use types::namespace::Attributes;
use types::{InodeId, Moment, PartitionId, SessionId};

/// Who waits for room to buffer looks this often whether more can be sent on its way.
const ROOM_RETRY: Duration = Duration::from_millis(20);

/// All files of a volume that are open or have something buffered.
#[derive(Debug, Default)]
pub(crate) struct Inodes {
    files: Mutex<HashMap<InodeId, Arc<Shared>>>,
}

/// An open file; clones and further opens of the same inode share one state. Each opening is told
/// of errors by itself.
#[derive(Clone, Debug)]
pub struct File {
    volume: Volume,
    shared: Arc<Shared>,
    seen: Arc<Seen>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    inode: InodeId,
    state: Mutex<State>,
    /// Something that was in flight has landed.
    landed: Notify,
    /// One flush at a time, so that commits are in order.
    flushing: tokio::sync::Mutex<()>,
    /// One sync at a time; the next one syncs for all who waited.
    syncing: tokio::sync::Mutex<()>,
    append: tokio::sync::Mutex<append::Hold>,
}

#[derive(Debug)]
struct State {
    /// How many handles there are.
    opens: usize,
    /// The file had suid or sgid when its attributes were last seen here.
    setid: bool,
    /// Of the attributes that were last seen here; `None` once somebody else may have changed them.
    version: Option<u64>,
    /// As far as this client knows, what is buffered included.
    size: u64,
    /// As the cluster last said.
    size_told: u64,
    placements: BTreeMap<u64, PartitionId>,
    buffer: Buffer,
    /// Ranges on their way, from the moment they leave the buffer.
    in_flight: Flights,
    commit: PendingCommit,
    /// What the namespace is being told at this moment.
    committing: Option<PendingCommit>,
    /// The newest version of the attributes that was seen here.
    version_seen: u64,
    /// Data partitions written to since the last sync.
    unsynced: BTreeSet<PartitionId>,
    /// Any other partition of the file may have been written to as well: by this client before the
    /// file was opened, or by others.
    all_unsynced: bool,
    /// Names or attributes changed since the last sync.
    namespace_unsynced: bool,
    /// The session under which the end of the file was this client's when it last appended, until
    /// that is committed.
    appended_under: Option<SessionId>,
    /// This client holds the end of the file: whoever opens the file meanwhile must find that here,
    /// or it would be given back behind his back.
    holds_end: bool,
    /// While it does, and may leave telling the namespace for later.
    deferral: Option<sync::Deferral>,
    /// When somebody last asked for a sync.
    synced: Option<Moment>,
    /// When this client last gave the delegation back.
    released: Option<Moment>,
    /// Errors of buffered writes.
    errors: Errors,
}

/// What the namespace is to be told about data that was written.
#[derive(Clone, Copy, Debug, Default)]
struct PendingCommit {
    wanted: bool,
    /// How long the file is for this client.
    size: u64,
    /// How long it may be said to be: up to where bytes have landed. Were it said to be longer,
    /// others would read zeros where a write is still on its way, or has failed.
    landed: u64,
    mtime: i64,
    /// Somebody wrote who may not keep suid and sgid.
    clear_setid: bool,
    allocated_delta: i64,
    /// Bytes of this client's reservation that were written.
    reservation_used: u64,
    /// What was written, or the length itself, leaves a gap behind the end.
    sparse: bool,
    /// It is not certain what was written: count anew what the file holds.
    recount: bool,
}

impl PendingCommit {
    /// Takes back what could not be told.
    fn merge(&mut self, older: &PendingCommit) {
        self.wanted |= older.wanted;
        self.clear_setid |= older.clear_setid;
        self.size = self.size.max(older.size);
        self.landed = self.landed.max(older.landed);
        self.mtime = self.mtime.max(older.mtime);
        self.allocated_delta += older.allocated_delta;
        self.reservation_used += older.reservation_used;
        self.sparse |= older.sparse;
        self.recount |= older.recount;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

impl State {
    fn is_unflushed(&self) -> bool {
        !self.buffer.is_empty()
            || !self.in_flight.is_empty()
            || self.commit.wanted
            || self.committing.is_some()
            || self.errors.is_unheard()
    }

    fn new(attributes: &Attributes) -> State {
        let mut placements = BTreeMap::new();
        if attributes.first_chunk != 0 {
            placements.insert(0, PartitionId(attributes.first_chunk));
        }
        State {
            opens: 0,
            setid: is_setid(attributes),
            version: Some(attributes.version),
            size: attributes.size,
            size_told: attributes.size,
            placements,
            buffer: Buffer::default(),
            in_flight: Flights::default(),
            commit: PendingCommit::default(),
            committing: None,
            version_seen: attributes.version,
            unsynced: BTreeSet::new(),
            all_unsynced: attributes.version > VERSION_NEW,
            namespace_unsynced: true,
            appended_under: None,
            holds_end: false,
            deferral: None,
            synced: None,
            released: None,
            errors: Errors::default(),
        }
    }

    /// Takes what can be told now, and leaves what can be told once it has landed.
    fn take_commit(&mut self) -> PendingCommit {
        let told = std::mem::take(&mut self.commit);
        let on_its_way = !self.buffer.is_empty() || !self.in_flight.is_empty();
        if on_its_way && told.size > told.landed {
            let PendingCommit { wanted, size, mtime, sparse, .. } = told;
            self.commit = PendingCommit { wanted, size, mtime, sparse, ..PendingCommit::default() };
        }
        told
    }

    fn is_idle(&self) -> bool {
        self.buffer.is_empty()
            && self.in_flight.is_empty()
            && !self.commit.wanted
            && self.committing.is_none()
    }

    /// Takes the size from attributes that the cluster gave, unless it is older than what was seen
    /// here. What was written here and not told yet makes it longer; what others wrote counts all
    /// the same.
    fn learn(&mut self, attributes: &Attributes) {
        if attributes.version >= self.version_seen {
            // The data may be longer than what the namespace says, and was found to be in another answer.
            let grown = attributes.version == self.version_seen || attributes.unsettled;
            let least = if grown { self.size_told } else { 0 };
            self.size_told = attributes.size.max(least);
            self.measure();
            self.setid = is_setid(attributes);
        }
        self.version_seen = self.version_seen.max(attributes.version);
    }

    fn measure(&mut self) {
        let told = self.committing.into_iter().chain([self.commit]);
        let untold = told.filter(|pending| pending.wanted).map(|pending| pending.size);
        self.size = untold.fold(self.size_told, u64::max);
    }

    /// A write has failed: the file is as long as if it had never been, for who wrote it as well.
    fn forget_failed(&mut self) {
        let on_its_way = self.buffer.end().max(self.in_flight.end());
        for pending in self.committing.iter_mut().chain([&mut self.commit]) {
            pending.size = pending.size.min(pending.landed.max(on_its_way));
        }
        self.measure();
    }
}

/// The version of a file to which nothing happened since it was made.
const VERSION_NEW: u64 = 1;

fn is_setid(attributes: &Attributes) -> bool {
    const SETUID_OR_SETGID: u32 = 0o6000;
    attributes.mode & SETUID_OR_SETGID != 0
}

impl Volume {
    /// Opens a file whose attributes were just read or made.
    #[must_use]
    pub fn open_file(&self, attributes: &Attributes) -> File {
        let inode = InodeId(attributes.inode);
        let mut files = self.inner.inodes.files.lock().expect("no holder panics");
        let shared = files.entry(inode).or_insert_with(|| {
            Arc::new(Shared {
                inode,
                state: Mutex::new(State::new(attributes)),
                landed: Notify::new(),
                flushing: tokio::sync::Mutex::default(),
                syncing: tokio::sync::Mutex::default(),
                append: tokio::sync::Mutex::default(),
            })
        });
        let mut state = shared.lock();
        state.opens += 1;
        state.version = Some(attributes.version);
        state.learn(attributes);
        let seen = Arc::new(state.errors.open());
        drop(state);
        File { volume: self.clone(), shared: shared.clone(), seen }
    }

    /// A file that is open here, or has something buffered. Not one more use: do not close it.
    #[must_use]
    pub fn file_if_open(&self, inode: InodeId) -> Option<File> {
        let files = self.inner.inodes.files.lock().expect("no holder panics");
        let shared = files.get(&inode)?.clone();
        drop(files);
        Some(self.file_of(shared))
    }

    /// All files that are open here, or have something buffered.
    fn files(&self) -> Vec<File> {
        let files = self.inner.inodes.files.lock().expect("no holder panics");
        let shared: Vec<Arc<Shared>> = files.values().cloned().collect();
        drop(files);
        shared.into_iter().map(|shared| self.file_of(shared)).collect()
    }

    /// For our own purposes: errors are left for those who opened the file.
    fn file_of(&self, shared: Arc<Shared>) -> File {
        File { volume: self.clone(), shared, seen: Arc::default() }
    }

    /// The inodes of which this client has handles.
    #[must_use]
    pub fn open_inodes(&self) -> Vec<InodeId> {
        let files = self.inner.inodes.files.lock().expect("no holder panics");
        files.keys().copied().collect()
    }

    /// Adds what is buffered here to attributes that the cluster gave.
    pub(crate) fn overlay(&self, mut attributes: Attributes) -> Attributes {
        let files = self.inner.inodes.files.lock().expect("no holder panics");
        if let Some(shared) = files.get(&InodeId(attributes.inode)) {
            let mut state = shared.lock();
            let outdated = attributes.version < state.version_seen;
            state.learn(&attributes);
            if outdated {
                // Answered before a change of ours that has been acknowledged since.
                attributes.size = state.size;
            } else {
                attributes.size = attributes.size.max(state.size_told);
            }
            let told = state.committing.into_iter().chain([state.commit]);
            for pending in told.filter(|pending| pending.wanted) {
                attributes.size = attributes.size.max(pending.size);
                attributes.mtime = attributes.mtime.max(pending.mtime);
                attributes.ctime = attributes.ctime.max(pending.mtime);
            }
        }
        attributes
    }

    /// Writes back everything that is buffered.
    ///
    /// # Errors
    /// The first error; the others were tried all the same.
    pub async fn flush_all(&self) -> Result<(), Error> {
        let mut result = Ok(());
        for file in self.files() {
            result = result.and(file.write_back().await);
        }
        result
    }

    /// Files of which something written is in this client only, or could not be written back.
    #[must_use]
    pub fn unflushed(&self) -> Vec<InodeId> {
        let files = self.inner.inodes.files.lock().expect("no holder panics");
        let unflushed = files.values().filter(|shared| shared.lock().is_unflushed());
        unflushed.map(|shared| shared.inode).collect()
    }

    /// Sends everything that is buffered on its way, without waiting for it.
    fn send_all(&self) {
        for file in self.files() {
            let segments = {
                let mut state = file.shared.lock();
                let all = state.buffer.take_all();
                state.in_flight.depart(all)
            };
            file.land_behind(segments);
        }
    }

    /// Writes back, in a task of its own, what has waited since the last time: nobody may ever call
    /// `flush`, and what is not told to the namespace is lost with this client.
    pub(crate) fn write_back_behind(&self) {
        for file in self.files().into_iter().filter(|file| !file.shared.lock().nothing_to_flush()) {
            self.client().world.spawn("write-back", async move {
                if let Err(error) = file.write_back().await {
                    tracing::warn!(inode = %file.inode(), %error, "not written back yet");
                }
            });
        }
    }

    /// The session is gone, and others may have counted since what this client has not told yet.
    pub(crate) fn recount_untold(&self) {
        for file in self.files() {
            let mut state = file.shared.lock();
            state.commit.recount |= state.holds_end && state.is_owed();
        }
    }

    /// Tells everybody who has one of these files open that what they relied on is gone.
    pub(crate) fn note_lost(&self, inodes: &[InodeId]) {
        for inode in inodes {
            if let Some(file) = self.file_if_open(*inode) {
                file.shared.lock().errors.note(Error::SessionEnded);
            }
        }
    }
}

impl File {
    /// The file's inode.
    #[must_use]
    pub fn inode(&self) -> InodeId {
        self.shared.inode
    }

    /// The file's length as this client knows it, what is buffered included.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.shared.lock().size
    }

    /// The version of the file that this client's own changes led to; `None` when somebody else's
    /// may be among them.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        self.shared.lock().version
    }

    /// The write that follows is by somebody who may not keep the file's suid and sgid: they go with
    /// the next flush.
    pub fn clear_setid(&self) {
        self.shared.lock().commit.clear_setid = true;
    }

    /// Whether another client may have written what the version of these attributes does not tell.
    #[must_use]
    pub fn is_held_elsewhere(&self, attributes: &Attributes) -> bool {
        self.volume.may_be_longer(attributes)
    }

    /// Whether the file had suid or sgid when its attributes were last seen here.
    #[must_use]
    pub fn may_be_setid(&self) -> bool {
        self.shared.lock().setid
    }

    /// Buffers a write. Waits while this client has too much buffered.
    ///
    /// # Errors
    /// [`Error::NoSpace`] when the volume is full; errors of earlier writes come from
    /// [`File::flush`].
    pub async fn write(&self, offset: u64, bytes: Bytes) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        match self.volume.reserve(bytes.len() as u64).await {
            Err(Error::NoSpace) => return self.overwrite(offset, bytes).await,
            reserved => reserved?,
        }
        let room = self.room(bytes.len()).await;
        let now = self.volume.client().world.timestamp().0;
        let end = offset + bytes.len() as u64;
        let length = bytes.len();
        let (ready, overwritten) = {
            let mut state = self.shared.lock();
            let before = state.buffer.bytes();
            state.buffer.write(offset, bytes, room);
            let overwritten = before + length - state.buffer.bytes();
            state.commit.sparse |= offset > state.size;
            state.size = state.size.max(end);
            let commit = &mut state.commit;
            commit.wanted = true;
            commit.size = commit.size.max(end);
            commit.mtime = now;
            let ready = state.buffer.take_ready();
            (state.in_flight.depart(ready), overwritten)
        };
        // What never leaves the buffer needs no space.
        self.volume.inner.budget.give_back(overwritten as u64);
        self.land_behind(ready);
        Ok(())
    }

    /// Waits for room to buffer so many bytes. When there is none, everything that is buffered goes
    /// on its way: files with little in them would otherwise keep what they have for ever.
    async fn room(&self, bytes: usize) -> OwnedSemaphorePermit {
        let budget = &self.volume.inner.budget;
        if let Some(room) = budget.try_take(bytes) {
            return room;
        }
        let room = budget.take(bytes);
        tokio::pin!(room);
        loop {
            self.volume.send_all();
            tokio::select! {
                biased;
                room = &mut room => return room,
                () = self.volume.client().world.sleep(ROOM_RETRY) => {}
            }
        }
    }

    /// Brings segments to the cluster, each in a task of its own.
    fn land_behind(&self, segments: Vec<Departed>) {
        for segment in segments {
            let file = self.clone();
            self.volume.client().world.spawn("write-back", async move {
                file.land_one(segment).await;
                if file.shared.lock().commit.reservation_used > UNTOLD_BYTES_MAX {
                    file.commit_behind().await;
                }
            });
        }
    }

    /// Ends one use of the file. Flush before: what is still buffered is written back unattended.
    pub fn close(&self) {
        let mut files = self.volume.inner.inodes.files.lock().expect("no holder panics");
        let mut state = self.shared.lock();
        state.opens = state.opens.saturating_sub(1);
        let last = state.opens == 0;
        let (idle, holds_end) = (state.is_idle(), state.holds_end);
        drop(state);
        if !last || (idle && holds_end) {
            return;
        }
        if idle {
            files.remove(&self.shared.inode);
            return;
        }
        drop(files);
        let file = self.clone();
        self.volume.client().world.spawn("close", async move {
            // What does not succeed is tried again with everything else that waits.
            if let Err(error) = file.write_back().await {
                tracing::warn!(inode = %file.inode(), %error, "not written back yet");
            }
            file.forget_if_unused();
        });
    }

    /// Lets go of what is known of a file that nobody has open and of which nothing is left to do.
    fn forget_if_unused(&self) {
        let mut files = self.volume.inner.inodes.files.lock().expect("no holder panics");
        let state = self.shared.lock();
        if state.opens == 0 && state.is_idle() && !state.holds_end {
            files.remove(&self.shared.inode);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use buffer::Segment;

    /// An answer from before somebody appended, or from the namespace alone, came after one that knew better.
    #[test]
    fn a_length_that_was_found_in_the_data_is_not_forgotten() {
        let mut state = State::new(&Attributes { version: 3, size: 10, ..Attributes::default() });
        state.learn(&Attributes { version: 3, size: 40, ..Attributes::default() });
        state.learn(&Attributes { version: 3, size: 10, ..Attributes::default() });
        assert_eq!(state.size, 40, "the same version");
        let told = Attributes { version: 4, size: 12, unsettled: true, ..Attributes::default() };
        state.learn(&told);
        assert_eq!(state.size, 40, "nobody knows yet");
        state.learn(&Attributes { unsettled: false, version: 5, ..told });
        assert_eq!(state.size, 12);
    }

    /// A client that has something unwritten of its own must still see what others appended.
    #[test]
    fn what_others_wrote_is_seen_in_spite_of_own_writes() {
        let mut state = State::new(&Attributes { version: 3, size: 10, ..Attributes::default() });
        state.commit = PendingCommit { wanted: true, size: 20, ..Default::default() };
        state.learn(&Attributes { version: 4, size: 15, ..Attributes::default() });
        assert_eq!(state.size, 20, "own bytes count");
        state.learn(&Attributes { version: 5, size: 50, ..Attributes::default() });
        assert_eq!(state.size, 50, "and so do those of others");
        state.learn(&Attributes { version: 4, size: 15, ..Attributes::default() });
        assert_eq!(state.size, 50, "what is older than that counts for nothing");
    }

    #[test]
    fn what_failed_makes_the_file_no_longer() {
        let mut state = State::new(&Attributes { version: 3, size: 10, ..Attributes::default() });
        state.commit = PendingCommit { wanted: true, size: 30, landed: 16, ..Default::default() };
        state.size = 30;
        let segment = |start, length| {
            let bytes = vec![7; length].into();
            Segment { start, bytes, room: None, reserved: true }
        };
        let departed = state.in_flight.depart(vec![segment(16, 4), segment(20, 10)]);
        state.in_flight.land(departed[1].ticket);
        state.forget_failed();
        assert_eq!(state.size, 20, "what is on its way counts");
        state.in_flight.land(departed[0].ticket);
        state.forget_failed();
        assert_eq!((state.size, state.commit.size), (16, 16), "and so does what has landed");
        state.commit = PendingCommit::default();
        state.forget_failed();
        assert_eq!(state.size, 10, "and what the cluster said");
    }

    /// A write that failed, or was still under way, was told to the namespace all the same: the file
    /// grew, and others read zeros at its end.
    #[test]
    fn only_what_has_landed_is_told() {
        let mut state = State::new(&Attributes::default());
        let commit = PendingCommit { wanted: true, size: 32, landed: 16, ..Default::default() };
        state.commit = commit;
        let told = state.take_commit();
        assert_eq!((told.wanted, told.landed), (true, 16));
        assert!(!state.commit.wanted, "what failed is not told later either");

        state.commit = commit;
        let bytes = Bytes::from_static(&[7; 16]);
        let segment = Segment { start: 16, bytes, room: None, reserved: true };
        state.in_flight.depart(vec![segment]);
        assert_eq!(state.take_commit().landed, 16);
        assert!(state.commit.wanted, "what is on its way is told once it has landed");
        assert_eq!((state.commit.size, state.commit.landed), (32, 0));
    }
}
