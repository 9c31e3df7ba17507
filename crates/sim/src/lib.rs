//! Simulations: seeds in, verdicts out.

pub mod engine;
