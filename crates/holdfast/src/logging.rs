//! Log lines, to standard error.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging. `HOLDFAST_LOG` chooses what is shown (as in `info,node=debug`), else `default`.
pub(crate) fn init(default: &str) {
    init_as(default, false);
}

/// As [`init`]; with `json`, each line is an object.
pub(crate) fn init_as(default: &str, json: bool) {
    let filter =
        EnvFilter::try_from_env("HOLDFAST_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(ansi && !json);
    // Fails only when logging was started already.
    let _ = match json {
        true => lines.json().flatten_event(true).finish().try_init(),
        false => lines.finish().try_init(),
    };
}
