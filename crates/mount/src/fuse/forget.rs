//! Taking back what the kernel was allowed to keep.
//!
//! - Names that others changed, as the client hears of them: at once, and once more a moment later. A
//!   lookup that the kernel makes without locking the folder may note its answer after the name was taken
//!   back, and would then keep it.
//! - Attributes that came together with a name which may be kept for long: after
//!   [`ATTRIBUTE_CACHE_TIME`]. The kernel takes one time for both where a file is created.
//!
//! A name is taken back by letting its time run out (`FUSE_EXPIRE_ONLY`, Linux 6.2): the kernel asks for it again when
//! somebody uses it. Where it had to drop the name instead, whoever is in a folder would be without a path, and
//! what is mounted below would be gone, though nothing has changed; so older kernels keep names for a second, as if
//! nobody told of changes.
//!
//! Taking a name back waits in the kernel for whoever changes the folder at that moment, and that may wait for
//! the cluster. So batches do not wait for each other, up to a limit.
#![expect(clippy::disallowed_methods, reason = "the kernel is real, and so is its clock")]

use client::Stale;
use fuser::{INodeNo, Notifier};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use types::limits::ATTRIBUTE_CACHE_TIME;

/// When a name is taken back once more, at the earliest.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// How often it is looked whether attributes are due.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Batches that may wait in the kernel at the same time.
const BATCHES_MAX: usize = 8;

/// What is handled at a time.
const BATCH: usize = 256;

/// Something that the kernel is to forget.
#[derive(Debug)]
enum Item {
    Name(Stale),
    Attributes(INodeNo),
}

/// The ways to tell the kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) notifier: Notifier,
    /// The connection, for what the notifier cannot say.
    pub(super) device: OwnedFd,
}

impl Kernel {
    fn forget(&self, item: &Item) {
        // What the kernel does not have is as good as forgotten.
        let _ = match item {
            Item::Name(name) => {
                rustix::io::write(&self.device, &expire(name)).map(drop).map_err(io::Error::from)
            }
            // No offset: the pages stay.
            Item::Attributes(inode) => self.notifier.inval_inode(*inode, -1, 0),
        };
    }
}

/// The message that lets the time of a name run out: `fuse_out_header` and
/// `fuse_notify_inval_entry_out` of `linux/fuse.h`, and the name with a zero after it.
fn expire(name: &Stale) -> Vec<u8> {
    const INVALIDATE_ENTRY: i32 = 3;
    const EXPIRE_ONLY: u32 = 1;
    let bytes = u32::try_from(32 + name.name.len() + 1).expect("names are short");
    let mut message = Vec::with_capacity(bytes as usize);
    message.extend_from_slice(&bytes.to_ne_bytes());
    message.extend_from_slice(&INVALIDATE_ENTRY.to_ne_bytes());
    message.extend_from_slice(&0_u64.to_ne_bytes());
    message.extend_from_slice(&name.folder.to_ne_bytes());
    message.extend_from_slice(&(bytes - 33).to_ne_bytes());
    message.extend_from_slice(&EXPIRE_ONLY.to_ne_bytes());
    message.extend_from_slice(&name.name);
    message.push(0);
    message
}

/// Inodes whose attributes went to the kernel with a name that it may keep for long, and when, oldest first.
/// Nobody is woken for them: whoever creates files by the thousand has no time for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Handed {
    inodes: Arc<Mutex<VecDeque<(Instant, INodeNo)>>>,
}

impl Handed {
    pub(super) fn note(&self, inode: INodeNo) {
        self.inodes.lock().expect("no holder panics").push_back((Instant::now(), inode));
    }

    /// Takes those that must not be kept until the next look.
    fn take_due(&self, now: Instant) -> Vec<Item> {
        let mut inodes = self.inodes.lock().expect("no holder panics");
        let is_due = |at: Instant| now - at + LOOK_INTERVAL >= ATTRIBUTE_CACHE_TIME;
        let due = inodes.partition_point(|(at, _)| is_due(*at));
        inodes.drain(..due).map(|(_, inode)| Item::Attributes(inode)).collect()
    }
}

/// What is going on to be forgotten; ends when it is dropped.
#[derive(Debug)]
pub(super) struct Forgetting {
    task: JoinHandle<()>,
}

impl Drop for Forgetting {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Forgetting {
    /// Has the kernel forget `names`, and what was `handed`. Holds on to the kernel's connection: to be
    /// stopped before unmounting.
    pub(super) fn start(
        names: mpsc::UnboundedReceiver<Stale>,
        handed: Handed,
        kernel: Kernel,
    ) -> Forgetting {
        let forgetter = Forgetter {
            names,
            handed,
            again: VecDeque::new(),
            kernel: Arc::new(kernel),
            batches: Arc::new(Semaphore::new(BATCHES_MAX)),
        };
        Forgetting { task: tokio::spawn(forgetter.run()) }
    }

    pub(super) fn stop(&self) {
        self.task.abort();
    }
}

#[derive(Debug)]
struct Forgetter {
    names: mpsc::UnboundedReceiver<Stale>,
    handed: Handed,
    /// Names that are to be taken back once more, in the order of their times.
    again: VecDeque<(Instant, Stale)>,
    kernel: Arc<Kernel>,
    batches: Arc<Semaphore>,
}

impl Forgetter {
    async fn run(mut self) {
        let mut names = Vec::new();
        loop {
            // At the end of the volume nobody tells of names any more; what was handed is left.
            let told = self.names.recv_many(&mut names, BATCH);
            let over = timeout(LOOK_INTERVAL, told).await.is_ok_and(|count| count == 0);
            let now = Instant::now();
            let mut batch = self.handed.take_due(now);
            while let Some((_, name)) = self.again.pop_front_if(|(due, _)| *due <= now) {
                batch.push(Item::Name(name));
            }
            for name in names.drain(..) {
                self.again.push_back((now + AGAIN_AFTER, name.clone()));
                batch.push(Item::Name(name));
            }
            self.forget(batch).await;
            if over {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        }
    }

    async fn forget(&self, batch: Vec<Item>) {
        if batch.is_empty() {
            return;
        }
        let permit = self.batches.clone().acquire_owned().await.expect("it is never closed");
        let kernel = self.kernel.clone();
        tokio::task::spawn_blocking(move || {
            for item in &batch {
                kernel.forget(item);
            }
            drop(permit);
        });
    }
}
