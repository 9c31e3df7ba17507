//! Why a call has no good reply, and whether it may have been carried out.

use crate::frame::Malformed;
use crate::status::Status;
use types::Kind;

/// A call that failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers at the address. Nothing was sent.
    #[error("cannot reach {address}: {reason}")]
    Unreachable { address: String, reason: String },
    /// The session ended while the request was in flight.
    #[error("the session with {address} ended while a request was in flight: {reason}")]
    Closed { address: String, reason: String },
    /// No reply came in time.
    #[error("no reply from {address} within {waited_ms} ms")]
    TimedOut { address: String, waited_ms: u64 },
    /// The peer answered, and refused.
    #[error("{}: {message}", status.name())]
    Refused { status: Status, message: String, body: bytes::Bytes },
    /// The peer's reply makes no sense.
    #[error("malformed reply: {0}")]
    Malformed(String),
}

impl Error {
    /// What the caller should do next.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Error::Unreachable { .. } => Kind::Reroute,
            Error::Closed { .. } | Error::TimedOut { .. } | Error::Malformed(_) => Kind::Unknown,
            Error::Refused { status, .. } => status.kind().unwrap_or(Kind::Unknown),
        }
    }

    /// The status that a peer refused with, when one did.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        match self {
            Error::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Wraps a body that did not decode.
    #[must_use]
    pub fn malformed(error: &prost::DecodeError) -> Error {
        Error::Malformed(error.to_string())
    }
}

impl Ended {
    /// Whether the peer does not keep to the protocol, rather than being gone.
    #[must_use]
    pub fn is_violation(&self) -> bool {
        !matches!(self, Ended::ByPeer | Ended::Broken(_) | Ended::Mismatch(_))
    }
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    #[error("the peer closed the connection")]
    ByPeer,
    #[error("the connection broke: {0}")]
    Broken(#[from] std::io::Error),
    #[error("the peer sent a part of a frame, and then nothing")]
    Stalled,
    #[error("the peer sent a malformed frame: {0}")]
    Malformed(#[from] Malformed),
    #[error("the peer answered request {0}, which nobody asked, or asked differently")]
    Mismatch(u64),
    #[error("the peer sent a {0:?} frame where none is allowed")]
    Unexpected(crate::frame::Kind),
    #[error("the peer repeats request {0} while it is in flight")]
    Repeated(u64),
    #[error("the peer has more than {0} requests in flight")]
    TooMany(usize),
}
