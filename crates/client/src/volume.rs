//! An open file volume.

use crate::file::{Budget, Inodes};
use crate::folders::Folders;
use crate::health::{Ledger, Pulse};
use crate::life::Life;
use crate::locks::Locks;
use crate::names::Names;
use crate::routes::Router;
use crate::session::Session;
use crate::{Client, Error};
use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, RwLock, RwLockReadGuard};
use std::time::Duration;
use types::access::Rights;
use types::limits::CLIENT_DIRTY_BYTES_MAX;
use types::{PartitionId, SessionId, Timestamp, VolumeId};
use wire::Secret;

/// What applications see while the cluster does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnOutage {
    /// They wait, however long it takes.
    Wait,
    /// They get an error after this long.
    Error { after: Duration },
}

/// Who a client is, for people who list clients.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    pub host: String,
    pub pid: u32,
    /// Where the volume is mounted; empty for what is no mount.
    pub mount_point: String,
    pub read_only: bool,
    /// The volume in whose place this one is used, because that was deleted.
    pub stands_in_for: Option<VolumeId>,
}

/// How a volume is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long opening may take.
    pub open_timeout: Duration,
    pub on_outage: OnOutage,
    /// Who this client is, for people: host and mount point.
    pub name: String,
    pub identity: Identity,
    /// The token to show, where the volume needs one.
    pub token: Option<Secret>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            open_timeout: Duration::from_secs(30),
            on_outage: OnOutage::Wait,
            name: "client".into(),
            identity: Identity::default(),
            token: None,
        }
    }
}

/// An open file volume; cheap to clone. [`Volume::close`] ends its session.
#[derive(Clone, Debug)]
pub struct Volume {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    /// Drawn when the volume was opened.
    pub(crate) id: u64,
    pub(crate) opened: Timestamp,
    pub(crate) life: tokio::sync::watch::Sender<Life>,
    /// Nobody waits for the cluster any more.
    pub(crate) given_up: AtomicBool,
    pub(crate) pulse: Pulse,
    pub(crate) ledger: Ledger,
    client: Client,
    router: Router,
    options: Options,
    namespace: PartitionId,
    pub(crate) session: Session,
    pub(crate) inodes: Inodes,
    pub(crate) budget: Budget,
    /// Partitions that take no writes for want of room, as far as is known: no place for new chunks.
    full: RwLock<BTreeSet<PartitionId>>,
    pub(crate) locks: Locks,
    pub(crate) names: Names,
    pub(crate) folders: Folders,
}

impl Volume {
    pub(crate) async fn open(
        client: Client,
        router: Router,
        options: Options,
    ) -> Result<Volume, Error> {
        let namespace = router.current().namespace().expect("opening waited for it");
        let volume = Volume {
            inner: Arc::new(Inner {
                id: client.world.random(),
                opened: client.world.timestamp(),
                life: tokio::sync::watch::Sender::new(Life::Live),
                given_up: AtomicBool::new(false),
                pulse: Pulse::new(client.world.now()),
                ledger: Ledger::default(),
                session: Session::new(client.world.random()),
                client,
                router,
                options,
                namespace,
                inodes: Inodes::default(),
                budget: Budget::new(CLIENT_DIRTY_BYTES_MAX),
                full: RwLock::default(),
                locks: Locks::default(),
                names: Names::default(),
                folders: Folders::default(),
            }),
        };
        volume.begin_session().await?;
        Ok(volume)
    }

    /// The volume's id.
    #[must_use]
    pub fn id(&self) -> VolumeId {
        self.router().current().volume
    }

    /// The name it was found under.
    #[must_use]
    pub fn name(&self) -> String {
        self.router().current().name.clone()
    }

    /// The session that this client has in it.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.inner.session.id()
    }

    /// What this client may do with it.
    #[must_use]
    pub fn rights(&self) -> Rights {
        // Whoever was let in had rights.
        crate::access::rights(self.router().current().access).unwrap_or(Rights::ReadOnly)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.inner.client
    }

    pub(crate) fn router(&self) -> &Router {
        &self.inner.router
    }

    pub(crate) fn options(&self) -> &Options {
        &self.inner.options
    }

    pub(crate) fn namespace_partition(&self) -> PartitionId {
        self.inner.namespace
    }

    /// The data partition that a new chunk should live in: spread by inode and chunk.
    pub(crate) fn place(&self, spread: u64) -> Option<PartitionId> {
        let mut data = self.router().current().data();
        let full = self.full();
        // Where all are full, whoever writes is to hear so.
        if data.iter().any(|partition| !full.contains(partition)) {
            data.retain(|partition| !full.contains(partition));
        }
        drop(full);
        let count = data.len() as u64;
        // A multiplication that mixes well (Knuth, "The Art of Computer Programming", 6.4).
        let mixed = spread.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        data.get(usize::try_from(mixed.checked_rem(count)?).ok()?).copied()
    }

    fn full(&self) -> RwLockReadGuard<'_, BTreeSet<PartitionId>> {
        self.inner.full.read().expect("no holder panics")
    }

    /// The partitions that take no writes for want of room, as far as is known.
    pub(crate) fn full_partitions(&self) -> impl Iterator<Item = PartitionId> + use<> {
        self.full().clone().into_iter()
    }

    /// Takes the control plane's word on which partitions are full.
    pub(crate) fn learn_full(&self, partitions: Vec<u64>) {
        let full = partitions.into_iter().map(PartitionId).collect();
        *self.inner.full.write().expect("no holder panics") = full;
    }

    /// A partition refused a write for want of room. The control plane's next word counts.
    pub(crate) fn note_full(&self, partition: PartitionId) {
        self.inner.full.write().expect("no holder panics").insert(partition);
    }
}
