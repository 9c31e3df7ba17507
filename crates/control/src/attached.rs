//! Which clients have which volumes open, by their own word.
//!
//! In the memory of the member that leads. Clients keep a request waiting at it all the time and
//! come again within [`WATCH_WAIT_MAX`] after a failover, so a new leader knows them all after
//! [`CLIENT_ATTACHED_SILENCE_MAX`]; before that it says that it does not know ([`Attached::is_settled`]).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use types::limits::{CLIENT_ATTACHED_SILENCE_MAX, CLIENTS_ATTACHED_MAX, WATCH_WAIT_MAX};
use types::{Moment, TokenId, VolumeId};
use wire::control::ClientInfo;

/// One client that has one volume open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    pub volume: VolumeId,
    pub info: ClientInfo,
    /// The token it showed, where the volume needs one.
    pub token: Option<TokenId>,
    /// When it was last heard of.
    pub heard: Moment,
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name(&self.info))
    }
}

/// A client's name for people.
#[must_use]
pub fn name(info: &ClientInfo) -> String {
    let ClientInfo { host, pid, mount_point, .. } = info;
    format!("{host}:{mount_point} (pid {pid})")
}

/// All of them.
#[derive(Clone, Debug)]
pub struct Attached {
    since: Moment,
    clients: BTreeMap<(VolumeId, u64), Attachment>,
}

impl Attached {
    /// Begins to listen.
    #[must_use]
    pub fn new(since: Moment) -> Attached {
        Attached { since, clients: BTreeMap::new() }
    }

    /// Notes that a client has a volume open. Past the limit, newcomers are served and not listed.
    /// Says whether it is news.
    pub fn hear(
        &mut self,
        now: Moment,
        volume: VolumeId,
        info: ClientInfo,
        token: Option<TokenId>,
    ) -> bool {
        self.forget_silent(now);
        let key = (volume, info.id);
        let known = self.clients.contains_key(&key);
        if self.clients.len() < CLIENTS_ATTACHED_MAX || known {
            self.clients.insert(key, Attachment { volume, info, token, heard: now });
        }
        !known
    }

    /// Notes that a client has closed a volume.
    pub fn leave(&mut self, volume: VolumeId, client: u64) {
        self.clients.remove(&(volume, client));
    }

    /// Those that are attached now, by volume.
    pub fn list(&self, now: Moment) -> impl Iterator<Item = &Attachment> {
        self.clients.values().filter(move |client| !is_silent(client, now))
    }

    /// Whether everybody who is attached has had the time to say so.
    #[must_use]
    pub fn is_settled(&self, now: Moment) -> bool {
        now.since(self.since) >= SETTLED_AFTER
    }

    fn forget_silent(&mut self, now: Moment) {
        self.clients.retain(|_, client| !is_silent(client, now));
    }
}

/// One whole wait, and the time to find the new leader.
const SETTLED_AFTER: Duration = Duration::from_millis(WATCH_WAIT_MAX.as_millis() as u64 + 2_000);

fn is_silent(client: &Attachment, now: Moment) -> bool {
    now.since(client.heard) >= CLIENT_ATTACHED_SILENCE_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(id: u64) -> ClientInfo {
        ClientInfo { id, ..ClientInfo::default() }
    }

    fn ids(attached: &Attached, now: Moment) -> Vec<u64> {
        attached.list(now).map(|client| client.info.id).collect()
    }

    #[test]
    fn clients_are_listed_until_they_leave_or_fall_silent() {
        let mut now = Moment(0);
        let mut attached = Attached::new(now);
        assert!(!attached.is_settled(now));
        attached.hear(now, VolumeId(1), info(7), None);
        attached.hear(now, VolumeId(2), info(7), None);
        attached.hear(now, VolumeId(1), info(8), None);
        assert_eq!(ids(&attached, now), [7, 8, 7]);
        attached.leave(VolumeId(1), 8);
        now = now + CLIENT_ATTACHED_SILENCE_MAX / 2;
        assert!(attached.is_settled(now));
        attached.hear(now, VolumeId(2), info(7), None);
        now = now + CLIENT_ATTACHED_SILENCE_MAX / 2;
        assert_eq!(ids(&attached, now), [7], "the first one was silent for too long");
        attached.hear(now, VolumeId(3), info(9), None);
        assert_eq!(attached.clients.len(), 2, "who is silent is forgotten");
    }

    #[test]
    fn there_is_a_limit() {
        let mut attached = Attached::new(Moment(0));
        for id in 0..=CLIENTS_ATTACHED_MAX as u64 {
            attached.hear(Moment(0), VolumeId(1), info(id), None);
        }
        assert_eq!(attached.clients.len(), CLIENTS_ATTACHED_MAX);
    }
}
