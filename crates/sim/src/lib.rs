//! Simulations: seeds in, verdicts out.

#[cfg(feature = "cluster")]
pub mod cluster;
mod dice;
pub mod engine;
mod verdict;

pub use verdict::{Verdict, Violation};
