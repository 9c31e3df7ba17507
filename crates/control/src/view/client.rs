//! Clients, as people see them.

use super::{Sight, Source, millis};
use crate::attached::Attachment;
use serde::{Deserialize, Serialize};
use types::Timestamp;

/// One client that has one volume open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientView {
    /// Drawn by the client when it opened the volume; in hexadecimal.
    pub id: String,
    pub volume: u64,
    /// Name of the volume.
    pub volume_name: String,
    pub host: String,
    pub pid: u32,
    /// Where it is mounted; empty for what is no mount.
    pub mount_point: String,
    pub version: String,
    pub read_only: bool,
    /// The token it showed; `null` where the volume needs none.
    #[serde(default)]
    pub token: Option<u64>,
    /// Since when it has the volume open, by its own clock.
    pub since: String,
    /// How long ago it was last heard of.
    pub age_ms: u64,
    /// Bytes that were written and are in this client only, when it was last heard of.
    pub dirty_bytes: u64,
}

/// Who has which volume open, by the clients' own word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientsView {
    pub view: Source,
    /// Whether everybody had the time to say that they are there. Not so just after a change of the
    /// leader: then some may be missing.
    pub complete: bool,
    pub items: Vec<ClientView>,
}

/// Computes the view of a client.
#[must_use]
pub fn client(sight: &Sight<'_>, client: &Attachment) -> ClientView {
    let info = &client.info;
    let volume = sight.state.volumes.get(&client.volume);
    ClientView {
        id: format!("{:016x}", info.id),
        volume: client.volume.0,
        volume_name: volume.map_or_else(String::new, |volume| volume.name.clone()),
        host: info.host.clone(),
        pid: info.pid,
        mount_point: info.mount_point.clone(),
        version: info.version.clone(),
        read_only: info.read_only,
        token: client.token.map(|token| token.0),
        since: Timestamp(info.since).to_string(),
        age_ms: millis(sight.now.since(client.heard)),
        dirty_bytes: info.dirty_bytes,
    }
}
