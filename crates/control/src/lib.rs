//! The control plane: a small Raft group that holds configuration and never touches data.
//!
//! It decides who holds each partition and who leads it, hands out ids, and answers people's
//! questions. It promises that every decision is committed by a majority of its members before
//! anybody hears of it, that every change of a configuration is a compare-and-set on its epoch, and
//! that nothing it shows is older than it says. It leaves out the data path: nodes and clients go
//! on without it.
//!
//! ```text
//!   heartbeats --> detect (memory of the leader) --+
//!                                                  |--> plan (pure) --> commands --> Raft --> state
//!   state (replicated, pure) ----------------------+                                           |
//!        ^-------------------------------------------------------------------------------------+
//!   state --> assignments --> nodes        state + reports --> views --> admin API --> people
//! ```

pub mod api;
pub mod attached;
pub mod config;
mod core;
#[cfg(test)]
#[allow(clippy::disallowed_methods, clippy::print_stdout, reason = "it measures, and prints")]
mod cost;
pub mod detect;
mod hear;
pub mod http;
mod listing;
pub mod member;
pub mod metrics;
pub mod observe;
pub mod operation;
pub mod plan;
pub mod raft;
mod reconcile;
mod scrub;
mod service;
mod stand;
pub mod state;
pub mod view;

pub use config::{Address, Config};
pub use member::{Embedding, Member, StartError};
pub use metrics::Metrics;
