//! `holdfast server`

use crate::config::{self, Config};
use crate::exit::{Exit, Failure, Result};
use crate::{file, output};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Server {
    /// Configuration file, in TOML
    #[arg(long, value_name = "FILE", required_unless_present = "print_config")]
    config: Option<PathBuf>,
    /// Print a configuration file to begin with, every setting explained, and exit
    #[arg(long)]
    print_config: bool,
    /// Read and check the configuration file, and exit
    #[arg(long, requires = "config")]
    check: bool,
}

impl Server {
    pub(crate) fn run(self) -> Result {
        if self.print_config {
            return output::data(config::EXAMPLE.trim_end());
        }
        let Some(path) = &self.config else { unreachable!("the parser asks for it") };
        let config = Config::parse(&file::read(path)?).map_err(|message| {
            let action = "compare with: holdfast server --print-config";
            Failure::new(Exit::Usage, format!("{}: {message}", path.display()), action)
        })?;
        config.identity()?;
        config.admin_token()?;
        output::talk(&format!("{} is in order", path.display()));
        Ok(())
    }
}
