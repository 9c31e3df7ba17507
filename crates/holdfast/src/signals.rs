//! The wishes of whoever runs a process: to end.
//!
//! A terminal that goes away (`SIGHUP`) is one of them: nobody would see what becomes of the process.
//! There is nothing that it could read anew. `nohup` works: who ignores the signal when the process
//! starts goes on ignoring it.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C, a request to terminate, and a terminal that goes away: all mean the same.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` where it was ignored from the start.
    hangup: Option<Signal>,
}

impl Signals {
    /// Begins to listen: from now on none of them ends the process by itself.
    pub(crate) fn listen() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: match is_ignored(SIGHUP) {
                true => None,
                false => Some(signal(SignalKind::hangup())?),
            },
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = hang_up(self.hangup.as_mut()) => {}
        }
    }
}

async fn hang_up(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

const SIGHUP: u32 = 1;

/// Whether this process was started with a signal ignored, as by `nohup`.
fn is_ignored(signal: u32) -> bool {
    crate::file::read(std::path::Path::new("/proc/self/status"))
        .is_ok_and(|status| ignores(&status, signal))
}

fn ignores(status: &str, signal: u32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_read_from_the_kernels_words() {
        assert!(ignores("Name:\tx\nSigIgn:\t0000000000000001\nSigCgt:\t0", SIGHUP));
        assert!(!ignores("SigIgn:\t0000000000001000\n", SIGHUP));
        assert!(!ignores("", SIGHUP));
    }
}
