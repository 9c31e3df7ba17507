//! `holdfast zone`

use super::operation::{Begin, Destroyed, Force};
use crate::exit::Result;
use clap::{Args, Subcommand};
use types::operation::OperationKind;

#[derive(Debug, Subcommand)]
pub(crate) enum Zone {
    /// Move everything away from all nodes of a zone, for good, and prove that nothing is left
    Decommission(Decommission),
    /// Move leaders away from all nodes of a zone, and keep new replicas away, until they are recommissioned
    Drain(Drain),
}

#[derive(Debug, Args)]
pub(crate) struct Decommission {
    /// Name of the zone, as the nodes' configuration has it
    zone: String,
    #[command(flatten)]
    force: Force,
    #[command(flatten)]
    destroyed: Destroyed,
    #[command(flatten)]
    begin: Begin,
}

#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// Name of the zone, as the nodes' configuration has it
    zone: String,
    #[command(flatten)]
    begin: Begin,
}

impl Zone {
    pub(crate) fn run(self) -> Result {
        match self {
            Zone::Decommission(command) => {
                let target = format!("zone/{}", command.zone);
                command.begin.decommission(&target, command.force, command.destroyed)
            }
            Zone::Drain(command) => {
                let target = format!("zone/{}", command.zone);
                command.begin.run(OperationKind::Drain, &target, false)
            }
        }
    }
}
