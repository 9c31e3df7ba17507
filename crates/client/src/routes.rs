//! Where the partitions of a volume are, as far as this client knows.
//!
//! Routes are kept with their epochs and only ever replaced by newer ones. Asking again is for
//! whoever met an old one; many who ask at once share one answer.

use crate::access::Revocation;
use crate::volume::Options;
use crate::{Client, Error};
use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use types::configuration::PartitionKind;
use types::limits::ROUTES_REFRESH_SPACING;
use types::{ClusterId, Configuration, Moment, NodeId, PartitionId, Timestamp, VolumeId};
use wire::control::{Access, RoutesOutcome, RoutesReply, VolumeSelector};
use wire::{Class, Operation, Request, Secret};

/// What is known of a volume's partitions at one moment.
#[derive(Clone, Debug)]
pub struct Routes {
    pub cluster: ClusterId,
    pub volume: VolumeId,
    pub name: String,
    pub capacity: u64,
    /// When it goes for good, when it is being deleted.
    pub purge_at: Option<Timestamp>,
    /// What whoever asked may do with it.
    pub access: Access,
    /// State of the control plane that this is from.
    pub revision: u64,
    pub partitions: BTreeMap<PartitionId, Configuration>,
    pub nodes: BTreeMap<NodeId, String>,
}

impl Routes {
    fn from_reply(reply: &RoutesReply) -> Result<Routes, Error> {
        let invalid = |reason: &str| Error::Invalid(reason.to_string());
        let volume = reply.volume.as_ref().ok_or_else(|| invalid("routes without a volume"))?;
        let mut partitions = BTreeMap::new();
        for configuration in &reply.configurations {
            let configuration = Configuration::try_from(configuration)
                .map_err(|error| Error::Invalid(error.to_string()))?;
            partitions.insert(configuration.partition, configuration);
        }
        let nodes = reply.nodes.iter().map(|node| (NodeId(node.node), node.address.clone()));
        let deleting = reply.outcome() == RoutesOutcome::Deleting;
        Ok(Routes {
            cluster: ClusterId(reply.cluster),
            purge_at: deleting.then_some(Timestamp(reply.purge_at)),
            volume: VolumeId(volume.id),
            name: volume.name.clone(),
            capacity: volume.capacity,
            access: reply.access(),
            revision: reply.revision,
            partitions,
            nodes: nodes.collect(),
        })
    }

    /// The partition that holds the names; volumes have one.
    #[must_use]
    pub fn namespace(&self) -> Option<PartitionId> {
        let kind = |c: &&Configuration| c.kind == PartitionKind::Namespace;
        self.partitions.values().find(kind).map(|c| c.partition)
    }

    /// The partitions that hold bytes, ascending.
    #[must_use]
    pub fn data(&self) -> Vec<PartitionId> {
        let data = self.partitions.values().filter(|c| c.kind == PartitionKind::Data);
        data.map(|c| c.partition).collect()
    }

    /// Where the leader of a partition listens, and in which epoch, when there is one.
    #[must_use]
    pub fn leader(&self, partition: PartitionId) -> Option<(String, types::Epoch)> {
        let configuration = self.partitions.get(&partition)?;
        let leader = configuration.leader_member()?;
        Some((self.nodes.get(&leader.node)?.clone(), configuration.epoch))
    }
}

/// What the control plane says when it is asked for routes.
#[derive(Debug)]
pub(crate) enum Answer {
    Told(Routes),
    /// There is such a volume; where it is is not told to who shows no right to it.
    Withheld(Access),
}

impl Answer {
    /// The routes, for who has yet to open the volume.
    pub(crate) fn routes(self) -> Result<Routes, Error> {
        match self {
            Answer::Told(routes) => crate::access::rights(routes.access).map(|_| routes),
            Answer::Withheld(access) => {
                crate::access::rights(access)?;
                Err(Error::Invalid("routes are withheld, and nothing is wrong".into()))
            }
        }
    }
}

/// Keeps routes and gets new ones.
#[derive(Debug)]
pub(crate) struct Router {
    client: Client,
    routes: RwLock<Arc<Routes>>,
    /// The token to show.
    token: Option<Secret>,
    /// Held while asking; the time of the last answer.
    asking: tokio::sync::Mutex<Moment>,
}

impl Router {
    /// Asks for a volume's routes until they come, within the options' limit.
    pub(crate) async fn open(
        client: Client,
        selector: VolumeSelector,
        options: &Options,
    ) -> Result<Router, Error> {
        let start = client.world.now();
        let mut failures = 0;
        loop {
            let answer = fetch(&client, selector.clone(), None, options.token).await;
            match answer.and_then(Answer::routes) {
                Ok(Routes { purge_at: Some(purge_at), .. }) => {
                    return Err(Error::Deleting { purge_at });
                }
                Ok(routes) if routes.namespace().is_some() => {
                    let asking = tokio::sync::Mutex::new(client.world.now());
                    let (routes, token) = (RwLock::new(Arc::new(routes)), options.token);
                    return Ok(Router { client, routes, token, asking });
                }
                Ok(_) => {}
                Err(error @ Error::Unavailable { .. }) => {
                    let waited = client.world.now().since(start);
                    if waited > options.open_timeout {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
            failures += 1;
            client.world.sleep(wire::members::backoff(failures)).await;
        }
    }

    /// The cluster that the volume was found in.
    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        Some(self.current().cluster)
    }

    pub(crate) fn current(&self) -> Arc<Routes> {
        self.routes.read().expect("no holder panics").clone()
    }

    /// Gets newer routes than `seen`, unless somebody else just did.
    pub(crate) async fn refresh(&self, seen: &Arc<Routes>) -> Result<(), Error> {
        let mut asked_at = self.asking.lock().await;
        if !Arc::ptr_eq(seen, &self.current()) {
            return Ok(());
        }
        let now = self.client.world.now();
        let since = now.since(*asked_at);
        if since < ROUTES_REFRESH_SPACING {
            self.client.world.sleep(ROUTES_REFRESH_SPACING - since).await;
        }
        *asked_at = self.client.world.now();
        let selector = VolumeSelector::Id(seen.volume.0);
        let routes = match fetch(&self.client, selector, Some(seen.cluster), self.token).await {
            Ok(Answer::Told(routes)) => routes,
            Ok(Answer::Withheld(access)) => return Err(lost(access)),
            // A volume that was open a moment ago and that nobody knows: no statement that it was
            // deleted, but a sign that the control plane is not what it was.
            Err(Error::NotFound(volume)) => {
                tracing::warn!(volume, "the control plane has no record of this volume");
                let last = "the control plane has no record of the volume".to_owned();
                return Err(Error::Unavailable { waited: Duration::ZERO, last });
            }
            Err(error) => return Err(error),
        };
        // Members that withhold nothing say it beside the routes.
        if let Some(revocation) = Revocation::of(routes.access) {
            return Err(Error::Revoked(revocation));
        }
        if routes.revision >= seen.revision {
            *self.routes.write().expect("no holder panics") = Arc::new(routes);
        }
        Ok(())
    }
}

/// Why who had the volume open is not told any more where it is.
fn lost(access: Access) -> Error {
    match Revocation::of(access) {
        Some(revocation) => Error::Revoked(revocation),
        // The record may be an older copy: no statement that the token was revoked.
        None => {
            tracing::warn!(?access, "the control plane tells nothing to this client's token");
            let last = "the control plane does not know the token".to_owned();
            Error::Unavailable { waited: Duration::ZERO, last }
        }
    }
}

/// Asks once. With a `cluster`, nobody else's word counts, whatever it is.
pub(crate) async fn fetch(
    client: &Client,
    selector: VolumeSelector,
    cluster: Option<ClusterId>,
    token: Option<Secret>,
) -> Result<Answer, Error> {
    let name = match &selector {
        VolumeSelector::Name(name) => name.clone(),
        VolumeSelector::Id(id) => id.to_string(),
    };
    let message = wire::control::Routes { volume: Some(selector) };
    let request = Request::new(Operation::ControlRoutes).class(Class::Control).message(&message);
    let request = request.access(token);
    let unavailable =
        |error: wire::Error| Error::Unavailable { waited: Duration::ZERO, last: error.to_string() };
    let reply = client.members.call(request).await.map_err(unavailable)?;
    let reply: RoutesReply = reply.decode().map_err(unavailable)?;
    read(&reply, name, cluster)
}

fn read(reply: &RoutesReply, name: String, cluster: Option<ClusterId>) -> Result<Answer, Error> {
    let theirs = ClusterId(reply.cluster);
    if cluster.is_some_and(|own| own != theirs) {
        let last = format!("another cluster answers ({theirs})");
        return Err(Error::Unavailable { waited: Duration::ZERO, last });
    }
    match reply.outcome() {
        RoutesOutcome::Found | RoutesOutcome::Deleting => {
            Routes::from_reply(reply).map(Answer::Told)
        }
        RoutesOutcome::Withheld => Ok(Answer::Withheld(reply.access())),
        RoutesOutcome::Deleted => Err(Error::Deleted),
        RoutesOutcome::NotFound => Err(Error::NotFound(name)),
        RoutesOutcome::Unspecified => Err(Error::Invalid("an unknown outcome".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_cluster_can_say_that_a_volume_was_deleted() {
        let own = Some(ClusterId(7));
        let after = |outcome: RoutesOutcome, cluster| {
            let reply = RoutesReply { outcome: outcome.into(), cluster, ..Default::default() };
            read(&reply, "v".into(), own)
        };
        assert!(matches!(after(RoutesOutcome::Deleted, 7), Err(Error::Deleted)));
        for outcome in [RoutesOutcome::Deleted, RoutesOutcome::Deleting, RoutesOutcome::Found] {
            assert!(matches!(after(outcome, 8), Err(Error::Unavailable { .. })), "{outcome:?}");
        }
        assert!(matches!(after(RoutesOutcome::NotFound, 7), Err(Error::NotFound(_))));
        assert!(matches!(after(RoutesOutcome::Unspecified, 7), Err(Error::Invalid(_))));
        assert!(matches!(after(RoutesOutcome::Withheld, 8), Err(Error::Unavailable { .. })));
    }

    #[test]
    fn what_is_withheld_ends_only_what_a_revocation_ends() {
        let withheld = |access: Access| {
            let outcome = RoutesOutcome::Withheld.into();
            let reply = RoutesReply { outcome, access: access.into(), ..Default::default() };
            read(&reply, "v".into(), None).unwrap()
        };
        for access in [Access::Required, Access::Revoked, Access::Expired, Access::Unknown] {
            assert!(withheld(access).routes().is_err(), "{access:?} opens nothing");
            let ends = matches!(lost(access), Error::Revoked(_));
            assert_eq!(ends, access != Access::Unknown, "{access:?}");
        }
        assert!(matches!(withheld(Access::Open).routes(), Err(Error::Invalid(_))));
    }
}
