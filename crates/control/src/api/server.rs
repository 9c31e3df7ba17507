//! Listens for people: HTTP/1 over the world's network, with TLS when it has a certificate.

use super::Admin;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming as HttpBody;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use types::limits::CONNECT_TIMEOUT;
use world::net::Incoming;
use world::{Listener, World};

/// Most people at once.
const CONNECTIONS_MAX: usize = 256;

/// How long somebody may take to say what they want.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// A listening admin API. Dropping it ends its connections.
#[derive(Debug)]
pub(crate) struct ApiServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
}

impl ApiServer {
    pub(crate) fn start(world: &World, listener: Listener, admin: Admin) -> std::io::Result<Self> {
        let address = listener.local_address()?;
        let (stop, stopped) = watch::channel(false);
        let accept = accept_all(world.clone(), listener, admin, stopped);
        world.spawn("api-accept", accept);
        Ok(ApiServer { address, stop })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

async fn accept_all(
    world: World,
    listener: Listener,
    admin: Admin,
    mut stopped: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = places.clone().acquire_owned().await.expect("never closed");
        let accepted = tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => return,
            accepted = listener.accept() => accepted,
        };
        let incoming = match accepted {
            Ok(incoming) => incoming,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the admin API");
                world.sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (admin, mut stopped) = (admin.clone(), stopped.clone());
        world.spawn("api-connection", async move {
            let _place = place;
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => {}
                () = serve(incoming, admin) => {}
            }
        });
    }
}

async fn serve(incoming: Incoming, admin: Admin) {
    let peer = incoming.peer.clone();
    let stream = match tokio::time::timeout(CONNECT_TIMEOUT, incoming.establish()).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(peer, %error, "handshake failed"),
        Err(_) => return tracing::debug!(peer, "handshake took too long"),
    };
    let answer = service_fn(move |request: Request<HttpBody>| {
        let admin = admin.clone();
        async move { Ok::<_, Infallible>(admin.answer(request.map(Body::new)).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), answer);
    if let Err(error) = connection.await {
        tracing::debug!(peer, %error, "a connection to the admin API ended badly");
    }
}
