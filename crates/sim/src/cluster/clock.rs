//! Simulated time, in front of what hosts log.

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// Writes seconds since the run began.
#[derive(Clone, Copy, Debug)]
pub struct SimulatedTime;

impl FormatTime for SimulatedTime {
    fn format_time(&self, out: &mut Writer<'_>) -> std::fmt::Result {
        let at = turmoil::sim_elapsed().unwrap_or_default();
        write!(out, "{:>12.6}", at.as_secs_f64())
    }
}
