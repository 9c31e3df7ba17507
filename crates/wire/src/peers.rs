//! Sessions to everybody else, opened when first needed and opened anew when they end.
//!
//! A peer in the same process is called directly, through the [`Hub`]: no socket, no copy and no
//! hand-over to another task. Everything else about the call is the same.

use crate::control::SessionReport;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::operation::Class;
use crate::server::{Reply, Request, Responder, Service};
use crate::session::Session;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock, Weak};
use types::Moment;
use types::limits::{CONNECT_TIMEOUT, RECONNECT_DELAY};
use world::World;

/// The services of this process by the address that others reach them at; cheap to clone.
#[derive(Clone, Default)]
pub struct Hub {
    services: Arc<RwLock<HashMap<String, Weak<dyn Service>>>>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hub")
    }
}

impl Hub {
    /// Makes `service` callable from within this process at `address`, for as long as it lives.
    pub fn register(&self, address: &str, service: &Arc<dyn Service>) {
        let mut services = self.services.write().expect("no holder panics");
        services.insert(address.to_string(), Arc::downgrade(service));
    }

    /// Removes what is registered at `address`.
    pub fn remove(&self, address: &str) {
        self.services.write().expect("no holder panics").remove(address);
    }

    fn find(&self, address: &str) -> Option<Arc<dyn Service>> {
        self.services.read().expect("no holder panics").get(address)?.upgrade()
    }
}

/// Calls others by address; cheap to clone.
#[derive(Clone, Debug)]
pub struct Peers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    world: World,
    hub: Hub,
    metrics: Arc<Metrics>,
    links: Mutex<HashMap<(String, Class), Arc<Link>>>,
}

/// The session to one address in one class, if there is one.
#[derive(Debug, Default)]
struct Link {
    session: Mutex<Option<Session>>,
    /// Held while connecting, so that one attempt serves all who wait.
    connecting: tokio::sync::Mutex<Option<Moment>>,
    /// What happened on all sessions of this link since the process started.
    counted: Arc<Metrics>,
}

impl Link {
    fn current(&self) -> Option<Session> {
        let session = self.session.lock().expect("no holder panics");
        session.as_ref().filter(|session| !session.has_ended()).cloned()
    }
}

impl Peers {
    /// Makes a set of peers with no sessions yet.
    #[must_use]
    pub fn new(world: World, hub: Hub, metrics: Arc<Metrics>) -> Peers {
        Peers { inner: Arc::new(Inner { world, hub, metrics, links: Mutex::default() }) }
    }

    /// Asks the service at `address` and waits for its answer, at most for the deadline.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn call(&self, address: &str, request: Request) -> Result<Reply, Error> {
        if let Some(service) = self.inner.hub.find(address) {
            return call_local(&service, address, request).await;
        }
        self.session(address, request.class).await?.call(request).await
    }

    /// What happened on the sessions to each address, in each class, since this process started.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionReport> {
        let links: Vec<((String, Class), Arc<Link>)> = {
            let links = self.inner.links.lock().expect("no holder panics");
            links.iter().map(|(key, link)| (key.clone(), link.clone())).collect()
        };
        let mut all: Vec<SessionReport> = links
            .into_iter()
            .map(|((address, class), link)| SessionReport::of(address, class, &link.counted))
            .collect();
        all.sort_by(|a, b| (&a.address, a.class).cmp(&(&b.address, b.class)));
        all
    }

    /// Whether the service at `address` is in this process.
    #[must_use]
    pub fn is_local(&self, address: &str) -> bool {
        self.inner.hub.find(address).is_some()
    }

    /// Sends without waiting. The request may get lost, and then nobody is told.
    pub fn send(&self, address: &str, request: Request) {
        if let Some(service) = self.inner.hub.find(address) {
            return service.handle(request, Responder::one_way());
        }
        let link = self.link(address, request.class);
        if let Some(session) = link.current() {
            return session.send(request);
        }
        let (peers, address) = (self.clone(), address.to_string());
        self.inner.world.spawn("wire-send", async move {
            if let Ok(session) = peers.session(&address, request.class).await {
                session.send(request);
            }
        });
    }

    fn link(&self, address: &str, class: Class) -> Arc<Link> {
        let mut links = self.inner.links.lock().expect("no holder panics");
        links.entry((address.to_string(), class)).or_default().clone()
    }

    async fn session(&self, address: &str, class: Class) -> Result<Session, Error> {
        let link = self.link(address, class);
        if let Some(session) = link.current() {
            return Ok(session);
        }
        let mut failed_at = link.connecting.lock().await;
        if let Some(session) = link.current() {
            return Ok(session);
        }
        let unreachable = |reason: String| Error::Unreachable { address: address.into(), reason };
        let now = self.inner.world.now();
        if failed_at.is_some_and(|failed_at| now.since(failed_at) < RECONNECT_DELAY) {
            return Err(unreachable("a connection attempt failed a moment ago".into()));
        }
        let connect = self.inner.world.net().connect(address);
        let stream = match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                *failed_at = Some(self.inner.world.now());
                return Err(unreachable(error.to_string()));
            }
            Err(_) => {
                *failed_at = Some(self.inner.world.now());
                return Err(unreachable("connecting took too long".into()));
            }
        };
        *failed_at = None;
        let metrics = self.inner.metrics.clone();
        let (own, to) = (link.counted.clone(), address.to_string());
        let session = Session::start_counted(&self.inner.world, to, stream, metrics, own);
        *link.session.lock().expect("no holder panics") = Some(session.clone());
        Ok(session)
    }
}

async fn call_local(
    service: &Arc<dyn Service>,
    address: &str,
    request: Request,
) -> Result<Reply, Error> {
    let deadline = request.deadline;
    let (responder, reply) = Responder::local();
    service.handle(request, responder);
    match tokio::time::timeout(deadline, reply).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(Error::Closed {
            address: address.to_string(),
            reason: "the service dropped the request".into(),
        }),
        Err(_) => Err(Error::TimedOut {
            address: address.to_string(),
            waited_ms: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX),
        }),
    }
}
