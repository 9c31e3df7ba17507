//! Every limit of the system, in one place. Sizes in bytes, times as durations.

mod delegation;

pub use delegation::*;
use std::time::Duration;

/// Address space of a file that lives in one data partition.
pub const CHUNK_BYTES: u64 = 64 << 20;

/// Payload covered by one checksum of a data record.
pub const CHECKSUM_BLOCK_BYTES: u32 = 4 << 10;

/// Largest payload of one log record and of one frame.
pub const RECORD_PAYLOAD_BYTES_MAX: u32 = 1 << 20;

/// Largest body (structured part) of one frame.
pub const FRAME_BODY_BYTES_MAX: u32 = 1 << 20;

/// A segment is closed, and the next one begun, once it is this long.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// A sync of at most so much new log is one of many small ones, as far as one can tell.
pub const LOG_SYNC_LITTLE_BYTES: u64 = 64 << 10;

/// Zeros that are written ahead of the end of a log that is synced little by little.
pub const LOG_AHEAD_BYTES: u64 = 256 << 10;
const _: () = assert!(LOG_SYNC_LITTLE_BYTES < LOG_AHEAD_BYTES && LOG_AHEAD_BYTES < SEGMENT_BYTES);

/// Longest name of a directory entry, as on every Linux file system.
pub const NAME_BYTES_MAX: usize = 255;

/// Longest target of a symbolic link: `PATH_MAX` less its terminator.
pub const SYMLINK_BYTES_MAX: usize = 4095;

/// Longest name and value of an extended attribute, as the kernel allows.
pub const XATTR_NAME_BYTES_MAX: usize = 255;
pub const XATTR_VALUE_BYTES_MAX: usize = 64 << 10;

/// Most names one inode may have, as on ext4.
pub const LINKS_MAX: u32 = 65_000;

/// Largest file: the largest offset that the kernel's signed 64-bit offsets can name.
pub const FILE_BYTES_MAX: u64 = i64::MAX as u64;

/// Extended attributes of one inode: with names of full length their list is 64 KiB, the kernel's limit.
pub const XATTRS_PER_INODE_MAX: u32 = 256;

/// Live client sessions of one file volume.
pub const CLIENT_SESSIONS_MAX: usize = 4096;

/// Outcomes remembered for one client session; it must acknowledge before it may go on.
pub const OUTCOMES_REMEMBERED_MAX: u64 = 4096;

/// Locks and delegations that one client session may hold, counted by inode.
pub const HOLDINGS_PER_SESSION_MAX: usize = 65_536;

/// Locks on one inode, of all owners.
pub const LOCKS_PER_INODE_MAX: usize = 1024;

/// Chunks placed, items committed or inodes named by one command; pairs in one page of an answer.
pub const ITEMS_PER_COMMAND_MAX: usize = 1024;

/// Entries in one page of a folder.
pub const DIRECTORY_PAGE_ENTRIES_MAX: usize = 4096;

/// A page of an answer is closed once it is this long.
pub const PAGE_BYTES: usize = 512 << 10;

/// Keys that one purge removes; a file with more chunks takes several.
pub const PURGE_KEYS_MAX: usize = 16_384;

/// Replicas of one partition.
pub const REPLICAS_MAX: usize = 7;

/// How often a node re-states its condition to the control plane.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(200);

/// Most replicas in one heartbeat of which only the end of the log changed. A node with so many or fewer
/// tells everything every time.
pub const HEARTBEAT_PROGRESS_MAX: usize = 64;

/// All replicas of a node are held against what is on record at every so manieth heartbeat; at the others
/// those of which it speaks.
pub const HEARTBEATS_PER_SWEEP: u64 = 16;

/// A node that was silent for this long is taken for gone.
pub const NODE_SILENCE_MAX: Duration = Duration::from_millis(1500);

/// A member of the control plane that has just begun to lead gives up the leader of a partition that
/// it has not heard after this time, if all its followers have missed that leader for longer than a
/// lease. Several heartbeats, so that who is merely late is heard.
pub const MISSED_LISTENING_MIN: Duration = Duration::from_millis(600);

/// A leader serves reads only while each follower answered within this time, and a follower
/// swears for this long not to be made leader by anybody else.
pub const LEASE: Duration = Duration::from_millis(1000);

/// How often a leader renews its leases when nothing else is sent.
pub const LEASE_RENEWAL_INTERVAL: Duration = Duration::from_millis(200);

/// How much longer a follower keeps its word than the leader counts on it: clocks of different
/// machines may run at rates that differ by this share of a lease.
pub const LEASE_MARGIN: Duration = Duration::from_millis(100);

/// A leader asks for the removal of a follower that has not answered for this long.
pub const FOLLOWER_SILENCE_MAX: Duration = Duration::from_millis(1500);

/// A new leader asks for the removal of a follower that has not answered it at all within this
/// time: the old leader, as a rule. Nothing is served meanwhile, so there is less patience.
pub const FOLLOWER_GREETING_MAX: Duration = Duration::from_millis(1000);

/// A leader asks for the removal of a follower that answers but whose log made no progress for this
/// long although something was due.
pub const FOLLOWER_STALL_MAX: Duration = Duration::from_millis(3000);

/// A leader asks for the removal of a follower whose disk lacks for this long what the leader's own
/// disk has. Disks may be slow together, as when all replicas share one.
pub const FOLLOWER_SYNC_STALL_MAX: Duration = Duration::from_secs(15);

/// A leader sends again what a follower has not acknowledged within this time.
pub const RESEND_INTERVAL: Duration = Duration::from_millis(200);

/// How often a leader repeats a request for a configuration that was not answered by a newer one.
pub const CONFIGURATION_REQUEST_INTERVAL: Duration = Duration::from_millis(400);

/// Entries, and bytes, that a leader has ordered and not yet committed; more is refused as busy.
pub const REPLICATION_WINDOW_ENTRIES_MAX: usize = 4096;
pub const REPLICATION_WINDOW_BYTES_MAX: usize = 16 << 20;

/// Payload bytes of one replication message that holds more than one entry.
pub const REPLICATION_MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Entries asked for at once when a follower is fed from the log.
pub const CATCH_UP_ENTRIES_MAX: u64 = 4096;

/// Messages of a newer epoch that a replica keeps while it persists that epoch.
pub const EPOCH_DEFERRED_MESSAGES_MAX: usize = 64;

/// The time within which writes go on after any single failure; the tests hold us to it.
pub const FAILOVER_BOUND: Duration = Duration::from_secs(5);

/// A client session that was silent for this long has ended: its locks and open handles are gone.
pub const CLIENT_SESSION_SILENCE_MAX: Duration = Duration::from_secs(15);

/// Default deadline of one request.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(5);

/// Requests one session may have in flight.
pub const SESSION_IN_FLIGHT_MAX: usize = 1024;

// A replacement leader must not begin before the old one's lease is over, and both must fit in the
// promised bound together with one heartbeat to learn of it.
const _: () = assert!(
    NODE_SILENCE_MAX.as_millis() + LEASE.as_millis() + 2 * HEARTBEAT_INTERVAL.as_millis()
        < FAILOVER_BOUND.as_millis()
);
const _: () = assert!(LEASE_RENEWAL_INTERVAL.as_millis() * 3 < LEASE.as_millis());
const _: () = assert!(
    NODE_SILENCE_MAX.as_millis()
        + FOLLOWER_GREETING_MAX.as_millis()
        + 3 * HEARTBEAT_INTERVAL.as_millis()
        < FAILOVER_BOUND.as_millis()
);
const _: () = assert!(MISSED_LISTENING_MIN.as_millis() >= 3 * HEARTBEAT_INTERVAL.as_millis());
const _: () = assert!(MISSED_LISTENING_MIN.as_millis() < NODE_SILENCE_MAX.as_millis());
const _: () = assert!(LEASE.as_millis() + LEASE_MARGIN.as_millis() < NODE_SILENCE_MAX.as_millis());
const _: () = assert!(LEASE_RENEWAL_INTERVAL.as_millis() * 3 < FOLLOWER_SILENCE_MAX.as_millis());
const _: () = assert!(RESEND_INTERVAL.as_millis() * 3 < FOLLOWER_SILENCE_MAX.as_millis());
const _: () = assert!(
    FOLLOWER_SILENCE_MAX.as_millis() + 2 * CONFIGURATION_REQUEST_INTERVAL.as_millis()
        < FAILOVER_BOUND.as_millis()
);
const _: () = assert!(FOLLOWER_STALL_MAX.as_millis() < FAILOVER_BOUND.as_millis());
const _: () = assert!(CHUNK_BYTES.is_multiple_of(RECORD_PAYLOAD_BYTES_MAX as u64));
const _: () = assert!(RECORD_PAYLOAD_BYTES_MAX.is_multiple_of(CHECKSUM_BLOCK_BYTES));

/// Bytes one session may have queued or in flight; past it, senders wait or one-way frames drop.
pub const SESSION_BYTES_MAX: usize = 64 << 20;

/// Sessions one server accepts at a time.
pub const SERVER_SESSIONS_MAX: usize = 4096;

/// A connection attempt is given up after this long.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(1000);

/// A connection whose other end acknowledges nothing for this long is given up, so that whoever
/// waits for an answer of a machine that lost its power is told. An idle one is probed this often.
pub const PEER_SILENCE_MAX: Duration = Duration::from_millis(2500);
pub const PEER_PROBE_INTERVAL: Duration = Duration::from_millis(1000);

const _: () = assert!(2 * PEER_PROBE_INTERVAL.as_millis() < PEER_SILENCE_MAX.as_millis());
const _: () = assert!(PEER_SILENCE_MAX.as_millis() + 1500 < FAILOVER_BOUND.as_millis());

/// After a failed connection attempt, further ones wait this long.
pub const RECONNECT_DELAY: Duration = Duration::from_millis(100);

/// Chunk maps one data partition keeps decoded; past it, a checkpoint lets the oldest go.
pub const INDEX_CHUNKS_CACHED_MAX: usize = 16 << 10;

/// A replica makes a checkpoint once its log has grown by this much since the last one.
pub const CHECKPOINT_LOG_BYTES: u64 = 32 << 20;

/// ... or its index holds back this much.
pub const CHECKPOINT_INDEX_BYTES: usize = 16 << 20;

/// ... or this long after the first change.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(30);

/// A segment is rewritten elsewhere once at most this share of it is alive. Percent.
pub const COMPACTION_LIVE_PERCENT_MAX: u64 = 50;

/// One replica copies at most this much in a second while it rewrites segments. Bytes.
pub const COMPACTION_BYTES_PER_SECOND: u64 = 32 << 20;

/// Records that are copied at a time, while nothing else is done with the replica. Bytes.
pub const COMPACTION_BATCH_BYTES: usize = 256 << 10;

/// Events a node's loop takes at a time.
pub const LOOP_BATCH: usize = 256;

/// Turns of loops that a thread runs in a row before it leaves the rest to the node's own task.
pub const LOOP_GUEST_TURNS_MAX: usize = 64;

/// Events that come with more than this are left to the node's own task, so that the replicas of one
/// process write side by side.
pub const LOOP_INLINE_BYTES_MAX: usize = 64 << 10;

/// Dead runs of a segment become holes when they are at least so long. A hole takes ext4 some 200
/// microseconds, however short it is.
pub const HOLE_BYTES_MIN: u64 = 128 << 10;

/// Log that a namespace replica keeps behind its checkpoint, so that a replica that was away for
/// a while is brought up with what it missed and not with everything.
pub const LOG_KEPT_BYTES: u64 = 128 << 20;

/// One member of the control plane is given this long to answer before another is asked.
pub const CONTROL_ATTEMPT_TIMEOUT: Duration = Duration::from_millis(700);

/// One that did not answer the last time is given this long, doubled each time up to
/// [`CONTROL_ATTEMPT_TIMEOUT`]: the others may have a new leader by now.
pub const CONTROL_SILENT_TIMEOUT: Duration = Duration::from_millis(200);

/// Bytes a leader reads from its log at a time to feed one follower, so that its loop goes on.
pub const CATCH_UP_BYTES_MAX: usize = 4 << 20;

/// Tombstones in one piece of a snapshot.
pub const SNAPSHOT_TOMBSTONES_MAX: usize = 64 << 10;
// Each takes at most ten bytes.
const _: () = assert!(SNAPSHOT_TOMBSTONES_MAX * 10 + 4096 < FRAME_BODY_BYTES_MAX as usize);

/// Records of data in one piece of a snapshot.
pub const SNAPSHOT_RECORDS_MAX: usize = 2048;
// A length, a count and a part: four numbers of at most five bytes.
const _: () = assert!(SNAPSHOT_RECORDS_MAX * 20 + 4096 < FRAME_BODY_BYTES_MAX as usize);

/// Bytes, and pieces, of a snapshot that are received before they are brought to disk.
pub const SNAPSHOT_UNSTORED_BYTES_MAX: usize = 32 << 20;
pub const SNAPSHOT_UNSTORED_PIECES_MAX: u32 = 64;

/// While clients want something of a node, all that it sends to replicas that are being brought up, and
/// the snapshots that it takes, go at this many bytes a second, unless it was told another rate.
pub const REPAIR_BYTES_PER_SECOND: u64 = 16 << 20;

/// The lowest rate that it may be told: less would not come to an end.
pub const REPAIR_BYTES_PER_SECOND_MIN: u64 = 1 << 20;

/// Clients that asked for something count for this long as wanting something.
pub const REPAIR_BUSY_LASTS: Duration = Duration::from_millis(200);

/// Nothing of a copy that has a limit of its own waits for longer than this at a time.
pub const COPY_REST_MAX: Duration = Duration::from_secs(60);

/// Less than this is no limit for the copies of an operation: they would be taken for stuck. Bytes a second.
pub const COPY_BYTES_PER_SECOND_MIN: u64 = 256 << 10;

/// Nothing of a repair waits for longer than this at a time, for its own node or because of another: so
/// much is the least that it gets, however many there are.
pub const REPAIR_REST_MAX: Duration = Duration::from_secs(30);

/// Bytes a leader reads from its log at a time for a replica that is being brought up, while clients
/// want something.
pub const CATCH_UP_BUSY_BYTES_MAX: usize = 256 << 10;

/// What was received is brought to disk in portions that take about this long, between one piece and
/// [`SNAPSHOT_UNSTORED_BYTES_MAX`]; the first of them is the smallest.
pub const SNAPSHOT_STORE_TIME: Duration = Duration::from_secs(5);
pub const SNAPSHOT_UNSTORED_BYTES_MIN: usize = RECORD_PAYLOAD_BYTES_MAX as usize;
const _: () = assert!(SNAPSHOT_UNSTORED_BYTES_MIN <= SNAPSHOT_UNSTORED_BYTES_MAX);

/// After this time without an answer a piece of a snapshot is sent again, to whoever still stores it. For
/// as long, this often, it is sent again to whoever cannot be reached just now.
pub const SNAPSHOT_RECONNECT_INTERVAL: Duration = Duration::from_secs(1);
pub const SNAPSHOT_PIECE_DEADLINE: Duration = Duration::from_secs(30);
const _: () = assert!(SNAPSHOT_STORE_TIME.as_secs() < SNAPSHOT_PIECE_DEADLINE.as_secs());

/// A snapshot of which no piece was stored for this long is given up: its disk, or the way to it, is stuck.
/// Slower than a piece in this time (less than 2 KiB a second) is taken for stuck.
pub const SNAPSHOT_STALL_MAX: Duration = Duration::from_secs(600);

/// Largest payload of one frame: a whole record, header and key included.
pub const FRAME_PAYLOAD_BYTES_MAX: u32 = RECORD_PAYLOAD_BYTES_MAX + (64 << 10);
// A page may pass its limit by one entry.
const _: () = assert!(PAGE_BYTES * 2 <= FRAME_BODY_BYTES_MAX as usize);
const _: () = assert!(XATTRS_PER_INODE_MAX as usize * (XATTR_NAME_BYTES_MAX + 1) <= 64 << 10);

/// A replica that ran out of room takes writes again once its disk has this much, and a write of
/// [`ROOM_PROBE_BYTES`] was tried there and worked; tried this often.
pub const ROOM_BYTES_MIN: u64 = 16 << 20;
pub const ROOM_PROBE_BYTES: usize = 4 << 10;
pub const ROOM_PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// How often the room of a disk is measured while its node has something to do.
pub const SPACE_MEASURE_INTERVAL: Duration = Duration::from_millis(20);
// More than two of the largest records, or it would be full again at once.
const _: () = assert!(ROOM_BYTES_MIN > 2 * RECORD_PAYLOAD_BYTES_MAX as u64);

/// Watermarks of a disk, when nobody says otherwise. Below the reserve a disk is full: it is kept for
/// deletes, names, elections and the books of repair. On disks below 256 MiB it is an eighth of them.
pub const DISK_RESERVE_PERCENT: u64 = 2;
pub const DISK_RESERVE_BYTES_MIN: u64 = 32 << 20;
pub const DISK_RESERVE_BYTES_MAX: u64 = 16 << 30;
/// Below this share, or this much, a disk is low: it gets no new replicas.
pub const DISK_LOW_PERCENT: u64 = 10;
pub const DISK_LOW_BYTES_MAX: u64 = 100 << 30;
/// The same marks for files that can still be made, where a file system limits those: when it is full,
/// when it ceases to be, when it is low, when it ceases to be.
pub const DISK_INODES_FULL: u64 = 128;
pub const DISK_INODES_FULL_LEAVE: u64 = 256;
pub const DISK_INODES_LOW: u64 = 1024;
pub const DISK_INODES_LOW_LEAVE: u64 = 1280;
const _: () = assert!(DISK_RESERVE_PERCENT < DISK_LOW_PERCENT);
const _: () = assert!(DISK_INODES_FULL < DISK_INODES_FULL_LEAVE);
const _: () = assert!(DISK_INODES_FULL_LEAVE <= DISK_INODES_LOW);
const _: () = assert!(DISK_INODES_LOW < DISK_INODES_LOW_LEAVE);
const _: () = assert!(DISK_RESERVE_BYTES_MAX < DISK_LOW_BYTES_MAX);

/// Room that each disk holds back by files of its own, for what was ordered when there is not a byte left:
/// a 64th part of it, and at most so much, in so many pieces. 16 MiB of 1 GiB, 64 MiB of 20 TiB.
pub const BALLAST_SHARE: u64 = 64;
pub const BALLAST_BYTES_MAX: u64 = 64 << 20;
pub const BALLAST_PIECES: u64 = 8;
// A piece of a disk of that size has room for the largest of records.
const _: () = assert!(BALLAST_BYTES_MAX / BALLAST_PIECES > RECORD_PAYLOAD_BYTES_MAX as u64);

/// Writes resume within this time once room is back; the tests hold us to it.
pub const SPACE_RECOVERY_BOUND: Duration = Duration::from_secs(10);

/// Events that the control plane keeps, and how many one answer lists.
pub const EVENTS_KEPT_MAX: usize = 2_048;
pub const EVENTS_PAGE_MAX: usize = 512;

/// A node's loop looks around at least this often.
pub const LOOP_IDLE_MAX: Duration = Duration::from_millis(500);

/// Replicas to which nothing happens are looked after this often.
pub const LOOP_TEND_INTERVAL: Duration = Duration::from_millis(100);

/// Heartbeats of one node are at least this far apart, however much there is to say.
pub const HEARTBEAT_SPACING_MIN: Duration = Duration::from_millis(20);

/// A client asks for routes at most this often.
pub const ROUTES_REFRESH_SPACING: Duration = Duration::from_millis(20);

/// While a request is under way, a client looks this often whether somebody else leads by now.
pub const LEADER_DOUBT_INTERVAL: Duration = Duration::from_millis(500);

/// A client waits this long for the leader itself to answer, before it asks another node to pass the request on.
pub const DIRECT_ANSWER_MAX: Duration = Duration::from_millis(3500);
const _: () = assert!(DIRECT_ANSWER_MAX.as_millis() + 1500 <= FAILOVER_BOUND.as_millis());

/// How often a client that cannot reach a node tries again, while others pass its requests on.
pub const DETOUR_PROBE_INTERVAL: Duration = Duration::from_millis(500);

/// A detour that nobody took for so long is forgotten.
pub const DETOUR_UNUSED_MAX: Duration = Duration::from_secs(30);

/// A client that waits to hear what becomes of its volume is answered after this time at the latest.
pub const WATCH_WAIT_MAX: Duration = Duration::from_secs(4);

/// A client that was not heard of for this long counts as attached no more.
pub const CLIENT_ATTACHED_SILENCE_MAX: Duration = Duration::from_secs(15);
const _: () = assert!(WATCH_WAIT_MAX.as_millis() * 3 < CLIENT_ATTACHED_SILENCE_MAX.as_millis());

/// Clients that one control plane keeps track of.
pub const CLIENTS_ATTACHED_MAX: usize = 10_000;

/// A trouble of a client that is over sooner is not shown: a failover takes about as long.
pub const TROUBLE_SHOWN_AFTER: Duration = Duration::from_secs(2);

/// Grace of a deletion, unless another is asked for.
pub const DELETE_GRACE: Duration = Duration::from_secs(24 * 3600);

/// Longest grace of a deletion.
pub const DELETE_GRACE_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// How often a client tells the namespace that it is alive.
pub const CLIENT_SESSION_RENEWAL: Duration = Duration::from_secs(3);

/// Bytes that one client buffers before writers wait.
pub const CLIENT_DIRTY_BYTES_MAX: usize = 64 << 20;

/// Bytes of one file that are buffered before they are on their way.
pub const FILE_DIRTY_BYTES_MAX: usize = 4 << 20;

/// Bytes of one file that were written and that the namespace was not told of; past it, it is told
/// without waiting for a flush.
pub const UNTOLD_BYTES_MAX: u64 = 16 << 20;

/// Space a client sets aside at a time for what it is about to write.
pub const RESERVATION_BYTES: u64 = 16 << 20;

const _: () =
    assert!(CLIENT_SESSION_RENEWAL.as_millis() * 3 < CLIENT_SESSION_SILENCE_MAX.as_millis());

/// A client's request for events is answered after this long, even when nothing happened.
pub const EVENTS_WAIT_MAX: Duration = Duration::from_secs(2);

/// While a namespace's leader tells a mount which names others change, the kernel may answer for names
/// this long without asking.
pub const NAME_CACHE_TIME: Duration = Duration::from_secs(20);

/// Without that, and for attributes always: this long.
pub const ATTRIBUTE_CACHE_TIME: Duration = Duration::from_secs(1);

/// A mount that follows names is answered after this long, even when no name has changed.
pub const NAME_FEED_WAIT_MAX: Duration = Duration::from_millis(250);

/// A mount that was told nothing of names for this long has the kernel ask for all of them again.
pub const NAME_FEED_SILENCE_MAX: Duration = Duration::from_millis(800);

/// A mount that was told of changes asks for the next ones after this long, so that many travel together.
pub const NAME_FEED_REST: Duration = Duration::from_millis(5);

/// Changes of names that a namespace's leader remembers, for those who follow. Whoever is further behind has
/// to forget all.
pub const NAME_CHANGES_KEPT: usize = 8192;

/// Changes of names in one answer.
pub const NAME_CHANGES_PER_ANSWER: usize = 1024;

/// Names that a mount lets the kernel keep for long at the same time; others are kept for
/// [`ATTRIBUTE_CACHE_TIME`].
pub const NAMES_HANDED_MAX: usize = 65_536;

const _: () = assert!(
    NAME_FEED_WAIT_MAX.as_millis() * 3 <= NAME_FEED_SILENCE_MAX.as_millis()
        && NAME_FEED_SILENCE_MAX.as_millis() < ATTRIBUTE_CACHE_TIME.as_millis()
);

/// Orphans that one round of the reaper asks about, deletes and purges.
pub const REAP_BATCH: usize = 256;

/// Objects that one request deletes.
pub const DELETE_OBJECTS_MAX: usize = 256;

/// Requests to delete that one reaper has under way at a time.
pub const REAP_CONCURRENCY: usize = 16;

/// A reaper looks for orphans this often, and less often while all it finds are held open.
pub const REAP_INTERVAL: Duration = Duration::from_millis(200);
pub const REAP_INTERVAL_MAX: Duration = Duration::from_secs(2);

/// After a batch the reaper rests for as long as the batch took, but not longer than this.
pub const REAP_REST_MAX: Duration = Duration::from_millis(250);

/// A leader tells its namespace the volume's capacity again when that had no effect for this long.
pub const CAPACITY_RESEND_INTERVAL: Duration = Duration::from_secs(1);

const _: () = assert!(EVENTS_WAIT_MAX.as_millis() * 3 < CLIENT_SESSION_SILENCE_MAX.as_millis());
const _: () = assert!(REAP_BATCH <= ITEMS_PER_COMMAND_MAX);
const _: () = assert!(DELETE_OBJECTS_MAX < REPLICATION_WINDOW_ENTRIES_MAX);

/// Chunks, and bytes read for them, in one page of a replica's inspection; files in one page.
pub const INSPECT_CHUNKS_MAX: usize = 2048;
pub const INSPECT_BYTES_MAX: u64 = 64 << 20;
pub const INSPECT_FILES_MAX: usize = 4096;

/// Findings that one inspection of a namespace lists, and damages it lists of one chunk.
pub const INSPECT_FINDINGS_MAX: usize = 256;
pub const INSPECT_DAMAGES_MAX: usize = 4;

/// Every replica reads all of its data again this often, at most so fast; the first time this long
/// after its node started.
pub const SCRUB_INTERVAL: Duration = Duration::from_secs(24 * 3600);
pub const SCRUB_BYTES_PER_SECOND: u64 = 32 << 20;
pub const SCRUB_DELAY: Duration = Duration::from_secs(600);

/// Damaged places of one replica that are remembered until they are mended.
pub const DAMAGES_REMEMBERED_MAX: usize = 1024;

/// Damaged places that could not be mended are looked at again after this long, and later less and
/// less often.
pub const DAMAGES_RETRY_INTERVAL: Duration = Duration::from_secs(1);
pub const DAMAGES_RETRY_INTERVAL_MAX: Duration = Duration::from_secs(60);

/// How often other replicas are asked for a record that is damaged here, and how far apart: they may
/// be a little behind, or away for a moment.
pub const MEND_ATTEMPTS: u32 = 10;
pub const MEND_PAUSE: Duration = Duration::from_millis(200);

/// Damaged places that are mended at a time after an inspection found them.
pub const MEND_BATCH: usize = 64;

/// An inspection that reads much is given this long.
pub const INSPECT_DEADLINE: Duration = Duration::from_secs(600);

/// Replicas that operations move at the same time: from or to one disk, from or to one node, altogether.
pub const MOVES_PER_DISK_MAX: u32 = 4;
pub const MOVES_PER_NODE_MAX: u32 = 8;
pub const MOVES_MAX: u32 = 128;

/// One page of a scrub: bytes, but for a chunk that is longer, and how long its reading may take. What is read is
/// paused for after each.
pub const SCRUB_PAGE_BYTES: u64 = 8 << 20;
pub const SCRUB_PAGE_DEADLINE: Duration = Duration::from_secs(60);

/// Who is asked what it holds at a place of its log that it has not reached waits for it this long.
pub const INSPECT_WAIT_MAX: Duration = Duration::from_secs(1);

/// Inspections that wait for a place of one replica's log.
pub const INSPECT_WAITING_MAX: usize = 64;

/// Chunks of one partition that looked different and are compared one by one.
pub const SCRUB_SUSPECTS_MAX: usize = 4096;

/// Attempts to see what looked different at the same place of the log.
pub const SCRUB_ATTEMPTS_MAX: u32 = 12;

/// A lock on a partition runs out after this long, and is renewed in half of it.
pub const PARTITION_LOCK_LEASE: Duration = Duration::from_secs(60);

/// A copy whose node is silent, or that fails, is given up after this long, and made elsewhere.
pub const MOVE_SILENCE_MAX: Duration = Duration::from_secs(10);

/// A copy that was given up is tried again after this long, doubled each time, up to the most.
pub const MOVE_RETRY_DELAY: Duration = Duration::from_secs(1);
pub const MOVE_RETRY_DELAY_MAX: Duration = Duration::from_secs(300);

/// A copy that is not complete after this long, and a second for each so many of its bytes, is given up too,
/// unless it became longer within this time: whoever copies it cannot reach whoever takes it, although both
/// are heard of.
pub const MOVE_STALLED_MAX: Duration = Duration::from_secs(600);
pub const MOVE_BYTES_PER_SECOND_MIN: u64 = 1 << 20;

/// A replica that nobody uses any more is left over when its node has not deleted it after this long.
pub const DELETION_SLOW: Duration = Duration::from_secs(30);

/// A volume's partition may take a second longer for each so many of its bytes.
pub const DELETION_BYTES_PER_SECOND_MIN: u64 = 64 << 20;

/// A disk that is no farther from the mean than this, in millionths of its capacity, is not worth a rebalance.
pub const REBALANCE_DEVIATION_MIN: u64 = 10_000;

/// Partitions of one operation whose next step is thought about in one round, besides those that are being
/// moved. Of more, some have their turn in each round.
pub const CONSIDERED_PER_ROUND_MAX: usize = 4_096;

/// What is left over, and what has succeeded, is looked at afresh this often.
pub const OPERATION_RESCAN_INTERVAL: Duration = Duration::from_secs(30);

/// Entries of the history of an operation, and of one of its partitions, that are kept; operations that
/// ended and are kept; changes of partitions in one command; notices in one assignment.
pub const OPERATION_HISTORY_MAX: usize = 64;
pub const ITEM_HISTORY_MAX: usize = 8;
pub const OPERATIONS_ENDED_MAX: usize = 256;
pub const NOTES_PER_COMMAND_MAX: usize = 1_000;
pub const NOTICES_MAX: usize = 256;

/// Longest name of whoever asks for an operation.
pub const OPERATION_BY_BYTES_MAX: usize = 256;

/// A node is given this long to list what is on its disks.
pub const CONTENTS_DEADLINE: Duration = Duration::from_secs(20);

const _: () = assert!(MOVES_PER_DISK_MAX <= MOVES_PER_NODE_MAX && MOVES_PER_NODE_MAX <= MOVES_MAX);
const _: () = assert!(MOVE_SILENCE_MAX.as_millis() * 2 < PARTITION_LOCK_LEASE.as_millis());
const _: () = assert!(NODE_SILENCE_MAX.as_millis() < MOVE_SILENCE_MAX.as_millis());

/// Longest name of a token. Bytes.
pub const TOKEN_NAME_BYTES_MAX: usize = 128;

/// Most tokens that one volume may have at a time.
pub const TOKENS_LIVE_MAX: usize = 64;

/// As many tokens that have ended stay on record, of each volume.
pub const TOKENS_ENDED_KEPT_MAX: usize = 64;

/// Most tokens in a cluster, those that have ended and are on record included.
pub const TOKENS_MAX: usize = 8_192;
// Every node gets them all, in one body; each takes less than 48 bytes, and so does its volume.
const _: () = assert!(TOKENS_MAX * 96 < FRAME_BODY_BYTES_MAX as usize);

/// A node that has not heard from the control plane for this long lets no new session into volumes
/// that need a token.
pub const ACCESS_FRESH_MAX: Duration = Duration::from_secs(5);

/// A node takes older lists (of tokens, of addresses) than it has once nobody has confirmed its own for
/// this long: longer than a leader that was deposed can take itself for one.
pub const PUSHED_DOUBT_MIN: Duration = Duration::from_secs(10);
const _: () = assert!(HEARTBEAT_INTERVAL.as_millis() * 5 < ACCESS_FRESH_MAX.as_millis());
