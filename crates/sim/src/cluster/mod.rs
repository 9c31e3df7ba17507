//! The whole cluster from one seed: control plane, nodes and clients, as they are.
//!
//! Real: consensus (openraft over redb), planner, admin API, nodes, replication, logs, indexes,
//! sessions, clients. Simulated: the network (turmoil), disks, the key-value database under the
//! indexes, clocks, chance. Each member, node and client is a host of its own that can crash.
//!
//! A run has two parts. First there is trouble, and only safety counts. Then everything heals, and
//! within `scenario::SETTLE_MAX` every partition must be whole again and every operation succeed.
//! What clients saw all along is checked afterwards: see `check`.
//!
//! What it leaves out: TLS, the kernel and FUSE, the real key-value database, more than one disk a
//! node. The same seed gives the same run, which rests on three things: `chance` makes the
//! system's own source of randomness follow from the seed, all hosts run on one thread, and
//! nothing whose order matters is kept in an unordered map.

mod chance;
mod check;
mod client;
mod clock;
mod control;
mod desk;
mod harness;
#[cfg(test)]
mod heartbeat;
mod history;
mod leave;
mod machine;
mod nemesis;
mod probe;
mod runner;
mod scenario;
mod storage;
#[cfg(test)]
mod tests;
mod watch;
mod workload;

pub use clock::SimulatedTime;
pub use runner::{Run, replay};
