//! `holdfast rebalance`

use super::operation::Begin;
use crate::exit::Result;
use clap::Args;
use types::operation::OperationKind;

#[derive(Debug, Args)]
pub(crate) struct Rebalance {
    #[command(flatten)]
    begin: Begin,
}

impl Rebalance {
    pub(crate) fn run(self) -> Result {
        self.begin.run(OperationKind::Rebalance, "cluster", false)
    }
}
