//! The replication engine under every fault there is, by the thousand, from seeds.
//!
//! Real: the engine (`partition::replica`) and its election. Modelled: disks, network, clocks,
//! the driver, the control plane, clients. Everything that is random comes from the seed, so a seed
//! is a run, and the same seed gives the same run, byte for byte.

mod check;
mod clients;
mod control;
mod coverage;
mod disk;
mod driver;
mod healing;
mod machine;
mod nemesis;
mod network;
mod runner;
mod scenario;
#[cfg(test)]
mod tests;
mod trace;
mod world;

pub use crate::verdict::Violation;
pub use coverage::{Coverage, Sight};
pub use runner::{Campaign, Failure, Run, replay, run};
