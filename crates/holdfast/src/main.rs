//! The one binary: every role and every tool is a subcommand.
//!
//! Data goes to standard output, talk goes to standard error, and the exit code says how it ended
//! (see [`exit`]).

#![allow(clippy::disallowed_methods, reason = "the edge: it makes the world")]

mod admin;
mod cli;
mod command;
mod config;
mod ending;
mod exit;
mod file;
mod logging;
mod output;
mod probe;
mod signals;
mod size;
mod span;
mod tls;

use clap::Parser;
use std::process::ExitCode;

/// A request is taken apart and answered with many small allocations, often on one thread and freed
/// on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli.run() {
        Ok(()) => exit::Exit::Ok.into(),
        Err(failure) => {
            if !failure.message.is_empty() {
                output::talk(&failure.to_string());
            }
            failure.exit.into()
        }
    }
}
