//! Listens for people: HTTP/1 over the world's network, with TLS when it has a certificate.
//!
//! It knows nothing of what is asked: who starts it hands it a function that answers.

use axum::body::Body;
use axum::http::{Request, Response};
use futures::future::BoxFuture;
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

/// Answers a request.
pub type Answer = Arc<dyn Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// A listening HTTP server. Dropping it ends its connections.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
}

impl HttpServer {
    /// Answers what comes in on `listener`.
    ///
    /// # Errors
    /// When the listener does not know its own address.
    pub fn start(world: &World, listener: Listener, answer: Answer) -> std::io::Result<Self> {
        let address = listener.local_address()?;
        let (stop, stopped) = watch::channel(false);
        let accept = accept_all(world.clone(), listener, answer, stopped);
        world.spawn("http-accept", accept);
        Ok(HttpServer { address, stop })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

async fn accept_all(
    world: World,
    listener: Listener,
    answer: Answer,
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
                tracing::warn!(%error, "cannot accept an HTTP connection");
                world.sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (answer, mut stopped) = (answer.clone(), stopped.clone());
        world.spawn("http-connection", async move {
            let _place = place;
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => {}
                () = serve(incoming, answer) => {}
            }
        });
    }
}

async fn serve(incoming: Incoming, answer: Answer) {
    let peer = incoming.peer.clone();
    let stream = match tokio::time::timeout(CONNECT_TIMEOUT, incoming.establish()).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(peer, %error, "handshake failed"),
        Err(_) => return tracing::debug!(peer, "handshake took too long"),
    };
    let answer = service_fn(move |request: Request<HttpBody>| {
        let answered = answer(request.map(Body::new));
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), answer);
    if let Err(error) = connection.await {
        tracing::debug!(peer, %error, "an HTTP connection ended badly");
    }
}
