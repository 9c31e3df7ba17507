//! Sessions between processes: framed, multiplexed, correlated, bounded.
//!
//! What it promises:
//! - a reply is handed to the request it answers, or the session is closed and every waiter gets
//!   an error: answers cannot be mixed up;
//! - whatever bytes a stranger sends, the result is a typed error, a counter and a closed session;
//! - memory per session is bounded by [`types::limits`];
//! - an error says whether the request may have been carried out.
//!
//! What it leaves out: routing, retries and what the messages mean.

pub mod access;
pub mod codec;
pub mod condition;
pub mod control;
pub mod data;
pub mod error;
pub mod events;
pub mod frame;
pub mod inspect;
pub mod members;
pub mod metrics;
pub mod operation;
pub mod peers;
pub mod relay;
pub mod replicate;
pub mod server;
pub mod session;
pub mod status;

pub use access::Secret;
pub use error::Error;
pub use frame::{Frame, Header};
pub use members::Members;
pub use metrics::Metrics;
pub use operation::{Class, Operation};
pub use peers::{Hub, Peers};
pub use server::{Reply, Request, Responder, Server, Service};
pub use status::Status;
