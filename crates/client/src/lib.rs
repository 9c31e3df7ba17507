//! The client that users and frontends of Holdfast use: volumes, their namespaces and bytes.
//!
//! It finds the leader of each partition, follows it when it moves, and decides what a failure
//! means: wait, ask somebody else, or give up. What may have happened is asked again under the same
//! session and number until it is known; so a command happens once.
//!
//! - [`Client`] is a connection to a cluster, [`Volume`] an open file volume.
//! - [`File`] buffers the writes of one inode and makes them visible and durable in order.
//!
//! What it promises is written down in `docs/semantics.md`.

mod access;
mod call;
mod data;
mod detour;
mod ends;
mod error;
mod events;
mod file;
mod folders;
mod health;
mod life;
mod locks;
mod names;
mod namespace;
mod routes;
mod session;
mod volume;

pub use access::Revocation;
pub use error::Error;
pub use file::File;
pub use health::{Grade, Health, Lost};
pub use life::Life;
pub use names::{Stale, Ticket};
pub use routes::Routes;
pub use volume::{Identity, OnOutage, Options, Volume};

use std::sync::Arc;
use wire::control::VolumeSelector;
use wire::{Hub, Members, Metrics, Peers, Secret};
use world::World;

/// A connection to a cluster; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    world: World,
    peers: Peers,
    members: Members,
    detours: Arc<detour::Detours>,
    /// The token to show with what is asked without opening a volume.
    token: Option<Secret>,
}

impl Client {
    /// Prepares to talk to the cluster whose control plane listens at `members`. Sends nothing yet.
    #[must_use]
    pub fn new(world: World, hub: Hub, metrics: Arc<Metrics>, members: Vec<String>) -> Client {
        let peers = Peers::new(world.clone(), hub, metrics);
        let members = Members::new(peers.clone(), members);
        Client { world, peers, members, detours: Arc::default(), token: None }
    }

    /// Shows a token with what is asked of nodes directly, and with questions for routes. Volumes are
    /// opened with one of their own.
    #[must_use]
    pub fn showing(self, token: Option<Secret>) -> Client {
        Client { token, ..self }
    }

    /// Where the partitions of a volume are at this moment.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Deleted`], [`Error::NoAccess`], [`Error::Revoked`], or
    /// [`Error::Unavailable`].
    pub async fn routes(&self, name: &str) -> Result<Routes, Error> {
        let selector = VolumeSelector::Name(name.to_string());
        routes::fetch(self, selector, None, self.token).await?.routes()
    }

    /// Asks a node of the cluster directly; for tools that look at single replicas.
    ///
    /// # Errors
    /// The wire's.
    pub async fn ask(
        &self,
        address: &str,
        request: wire::Request,
    ) -> Result<wire::Reply, wire::Error> {
        self.peers.call(address, request.access(self.token)).await
    }

    /// Opens a file volume by name, and begins a session in it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Deleting`], [`Error::Deleted`], [`Error::NoAccess`],
    /// [`Error::Revoked`], or [`Error::Unavailable`] when the cluster does not answer within the limit of
    /// `options`.
    pub async fn open_volume(&self, name: &str, options: Options) -> Result<Volume, Error> {
        let selector = VolumeSelector::Name(name.to_string());
        let routes = routes::Router::open(self.clone(), selector, &options).await?;
        Volume::open(self.clone(), routes, options).await
    }
}
