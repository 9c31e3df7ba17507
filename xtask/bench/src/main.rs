//! Measures a mounted volume beside two references, in one run.
//!
//! `file` runs the workloads of a file volume on the local folder, on a passthrough FUSE file system
//! over it, and on a fresh volume of three replicas, taking turns; it prints ratios, because
//! absolute figures say more about the machine than about the system.

#![allow(clippy::disallowed_methods, reason = "it measures the real machine")]

mod cpu;
mod file;
mod idle;
mod passthrough;
mod repair;
mod report;
mod rows;
mod servers;
mod target;
mod workload;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Parser)]
struct Command {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// The workloads of a file volume.
    File(file::File),
    /// Memory and processor time of a cluster that has much and does nothing.
    Memory(idle::Memory),
    /// Bringing replicas up: after an outage, and all of a node, while others work.
    Repair(repair::Repair),
    /// Mount the reference: hand everything on to a folder.
    Passthrough { source: PathBuf, target: PathBuf },
}

fn main() -> ExitCode {
    let outcome = match Command::parse().task {
        Task::File(task) => task.run(),
        Task::Memory(task) => task.run(),
        Task::Repair(task) => task.run(),
        Task::Passthrough { source, target } => serve(&source, &target),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until somebody unmounts it.
fn serve(source: &std::path::Path, target: &std::path::Path) -> Result<()> {
    let limit = rustix::process::Resource::Nofile;
    let mut most = rustix::process::getrlimit(limit);
    most.current = most.maximum;
    rustix::process::setrlimit(limit, most)?;
    let session = passthrough::mount(source, target)?;
    session.join()?;
    Ok(())
}
