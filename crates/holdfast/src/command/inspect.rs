//! `holdfast inspect`

use crate::exit::{Exit, Failure, Result};
use crate::output::{self, Format};
use clap::Args;
use holdfast::inspect::{self, Error, Inspected};
use serde_json::Value;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// File or index folder to print
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Print at most this many records or keys; all are checked
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
    limit: usize,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

impl Inspect {
    pub(crate) fn run(self) -> Result {
        let inspected = inspect::inspect(&self.path, self.limit).map_err(|error| {
            let exit = match &error {
                Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                    Exit::NotFound
                }
                _ => Exit::Failed,
            };
            Failure::new(exit, error.to_string(), "")
        })?;
        match self.output {
            Format::Json => output::json(&inspected)?,
            Format::Table => print(&inspected)?,
        }
        match inspected.damages.len() {
            0 => Ok(()),
            count => {
                let message = format!("{count} damaged places in {}", self.path.display());
                Err(Failure::new(
                    Exit::Failed,
                    message,
                    "holdfast fsck VOLUME says what it affects",
                ))
            }
        }
    }
}

fn print(inspected: &Inspected) -> Result {
    output::data(&format!("{} {}", inspected.kind, inspected.path.display()))?;
    for (name, value) in &inspected.head {
        output::data(&format!("  {name}: {}", shown(value)))?;
    }
    for item in &inspected.items {
        let fields: Vec<String> =
            item.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect();
        output::data(&fields.join(" "))?;
    }
    if inspected.more > 0 {
        output::data(&format!("... and {} more", inspected.more))?;
    }
    for damage in &inspected.damages {
        output::data(&format!("DAMAGED at {}: {}", damage.at, damage.reason))?;
    }
    Ok(())
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
