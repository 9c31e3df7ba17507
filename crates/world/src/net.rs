//! Byte streams between processes: TCP, TLS over TCP, or a simulated network.
//!
//! Addresses are `host:port` text. A peer that has vanished ends its connections within
//! `PEER_SILENCE_MAX`. Nothing here frames or retries; see the `wire` crate.

#[cfg(feature = "simulated")]
pub mod fabric;

use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use types::limits::{PEER_PROBE_INTERVAL, PEER_SILENCE_MAX};

/// How to reach other processes.
#[derive(Clone, Debug)]
pub struct Net {
    kind: Kind,
    tls: Option<Tls>,
}

#[derive(Clone, Debug)]
enum Kind {
    Tcp,
    #[cfg(feature = "simulated")]
    Simulated(fabric::Fabric),
}

/// Both sides of mutual TLS. Every peer must show a certificate of the cluster's own authority.
#[derive(Clone)]
pub struct Tls {
    pub client: Arc<rustls::ClientConfig>,
    pub server: Arc<rustls::ServerConfig>,
    /// The authorities that both trust.
    pub roots: Arc<rustls::RootCertStore>,
}

impl Tls {
    /// Whether the certificate that the peer showed may not pose as a host of the cluster.
    fn is_client_only(&self, connection: &rustls::ServerConnection) -> bool {
        let Some([own, others @ ..]) = connection.peer_certificates() else { return false };
        let algorithms = self.server.crypto_provider().signature_verification_algorithms.all;
        let now = rustls::pki_types::UnixTime::now();
        let as_host = rustls::server::ParsedCertificate::try_from(own).and_then(|own| {
            let verify = rustls::client::verify_server_cert_signed_by_trust_anchor;
            verify(&own, &self.roots, others, now, algorithms)
        });
        as_host.is_err()
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

/// The name that every server certificate of a cluster carries, whatever its address.
pub const SERVER_NAME: &str = "holdfast";

impl Net {
    /// Plain TCP.
    #[must_use]
    pub fn tcp() -> Net {
        Net { kind: Kind::Tcp, tls: None }
    }

    /// TCP with mutual TLS.
    #[must_use]
    pub fn tls(tls: Tls) -> Net {
        Net { kind: Kind::Tcp, tls: Some(tls) }
    }

    /// The network of the simulation that is running.
    #[cfg(feature = "simulated")]
    #[must_use]
    pub fn simulated(fabric: fabric::Fabric) -> Net {
        Net { kind: Kind::Simulated(fabric), tls: None }
    }

    /// The same network without TLS.
    #[must_use]
    pub fn plain(&self) -> Net {
        Net { kind: self.kind.clone(), tls: None }
    }

    /// Starts to listen on `address`; port 0 picks a free one.
    ///
    /// # Errors
    /// When the address is in use, malformed, or not ours.
    pub async fn listen(&self, address: &str) -> io::Result<Listener> {
        let socket = match &self.kind {
            Kind::Tcp => Socket::Tcp(tokio::net::TcpListener::bind(address).await?),
            #[cfg(feature = "simulated")]
            Kind::Simulated(fabric) => {
                let listener = turmoil::net::TcpListener::bind(address.to_string()).await?;
                Socket::Simulated(listener, fabric.clone())
            }
        };
        Ok(Listener { socket, tls: self.tls.clone() })
    }

    /// Connects to `address`.
    ///
    /// # Errors
    /// When nobody answers there, or the peer's certificate is not of this cluster.
    pub async fn connect(&self, address: &str) -> io::Result<Stream> {
        let stream = match &self.kind {
            Kind::Tcp => {
                let stream = tokio::net::TcpStream::connect(address).await?;
                tune(&stream)?;
                Stream::new(stream)
            }
            #[cfg(feature = "simulated")]
            Kind::Simulated(fabric) => {
                Stream::new(fabric.lay(turmoil::net::TcpStream::connect(address).await?)?)
            }
        };
        let Some(tls) = &self.tls else { return Ok(stream) };
        let name = rustls::pki_types::ServerName::try_from(SERVER_NAME)
            .expect("the name is a valid DNS name");
        let connector = TlsConnector::from(tls.client.clone());
        Ok(Stream::new(connector.connect(name, stream).await?))
    }
}

/// Small frames leave at once, and a peer that is gone without a word is noticed: what is sent to
/// it is not acknowledged, and while nothing is sent the kernel probes it.
fn tune(stream: &tokio::net::TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let probes =
        TcpKeepalive::new().with_time(PEER_PROBE_INTERVAL).with_interval(PEER_PROBE_INTERVAL);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&probes)?;
    socket.set_tcp_user_timeout(Some(PEER_SILENCE_MAX))
}

/// Accepts connections.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    tls: Option<Tls>,
}

enum Socket {
    Tcp(tokio::net::TcpListener),
    #[cfg(feature = "simulated")]
    Simulated(turmoil::net::TcpListener, fabric::Fabric),
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Socket")
    }
}

/// A connection whose TLS handshake, if any, is still to come.
///
/// The handshake is the slow part and a stranger may stall it, so it runs in the connection's own
/// task and not in the accept loop.
#[derive(Debug)]
pub struct Incoming {
    stream: Stream,
    tls: Option<Tls>,
    /// Who connected, for logs.
    pub peer: String,
}

impl Incoming {
    /// Completes the handshake.
    ///
    /// # Errors
    /// When the peer shows no certificate of this cluster, or hangs up.
    pub async fn establish(self) -> io::Result<Stream> {
        let Some(tls) = self.tls else { return Ok(self.stream) };
        let stream = TlsAcceptor::from(tls.server.clone()).accept(self.stream).await?;
        let client_only = tls.is_client_only(stream.get_ref().1);
        Ok(Stream { client_only, ..Stream::new(stream) })
    }
}

impl Listener {
    /// Waits for the next connection.
    ///
    /// # Errors
    /// When the process is out of descriptors or the socket is gone.
    pub async fn accept(&self) -> io::Result<Incoming> {
        let (stream, peer) = match &self.socket {
            Socket::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                tune(&stream)?;
                (Stream::new(stream), peer.to_string())
            }
            #[cfg(feature = "simulated")]
            Socket::Simulated(socket, fabric) => {
                let (stream, peer) = socket.accept().await?;
                (Stream::new(fabric.lay(stream)?), peer.to_string())
            }
        };
        Ok(Incoming { stream, tls: self.tls.clone(), peer })
    }

    /// The address that was bound, with the port that was picked.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn local_address(&self) -> io::Result<std::net::SocketAddr> {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr(),
            #[cfg(feature = "simulated")]
            Socket::Simulated(socket, _) => socket.local_addr(),
        }
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connected byte stream.
pub struct Stream {
    inner: Box<dyn Duplex>,
    client_only: bool,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stream")
    }
}

impl Stream {
    fn new(inner: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Stream {
        Stream { inner: Box::new(inner), client_only: false }
    }

    /// Whether the peer showed a certificate that is for clients only, so that it is no host of the
    /// cluster. Without TLS nobody shows anything.
    #[must_use]
    pub fn is_client_only(&self) -> bool {
        self.client_only
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_that_nobody_confirms_is_given_up_in_time() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        tune(&stream).unwrap();
        let limit = socket2::SockRef::from(&stream).tcp_user_timeout().unwrap();
        assert_eq!(limit, Some(types::limits::PEER_SILENCE_MAX));
    }
}
