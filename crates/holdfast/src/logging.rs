//! Log lines, to standard error.

use tracing_subscriber::EnvFilter;

/// Starts logging. `HOLDFAST_LOG` chooses what is shown (as in `info,node=debug`), else `default`.
pub(crate) fn init(default: &str) {
    let filter =
        EnvFilter::try_from_env("HOLDFAST_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    // Fails only when logging was started already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .try_init();
}
