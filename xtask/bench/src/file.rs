//! `bench file`: every row on the three targets, taking turns.

use crate::report::{Figures, Line, Report};
use crate::rows::{ROWS, Row, Run};
use crate::target::{Kind, Target, Workplace};
use crate::workload::{self, Done, Scale};
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use std::io::Write;
use std::path::PathBuf;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct File {
    /// The `holdfast` to measure
    #[arg(long)]
    binary: PathBuf,
    /// Only this row; may be given several times
    #[arg(long, value_name = "NAME")]
    row: Vec<String>,
    /// A little of everything, to see that it works
    #[arg(long)]
    quick: bool,
    /// How often each row is run on each target; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// The folder to work in, on the disk to be measured
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

impl File {
    pub(crate) fn run(self) -> Result<()> {
        let rows = self.rows()?;
        let base = Workplace::new(self.folder.as_deref())?;
        let base_path = base.path().to_owned();
        let scale = if self.quick { Scale::quick() } else { Scale::full() };
        if rows.iter().any(|row| ["untar", "git-clone", "rm-rf"].contains(&row.name)) {
            workload::make_tree(&base_path, scale.tree_files)?;
        }
        // Dropped, and so unmounted, before the folder they are in.
        let targets = [
            Target::local(&base_path)?,
            Target::passthrough(&base_path)?,
            Target::holdfast(&base_path, &self.binary)?,
        ];
        let mut report = Report::new(&scale, self.rounds);
        for row in rows {
            let mut line = Line::new(row);
            for _ in 0..self.rounds {
                for target in &targets {
                    let run = Run { target, scale: &scale, base: &base_path };
                    line.add(target.kind, measure(row, &run)?);
                }
            }
            if self.output == Output::Text {
                let _ = writeln!(std::io::stderr(), "{line}");
            }
            report.lines.push(line);
        }
        drop(targets);
        let text = match self.output {
            Output::Text => report.to_string(),
            Output::Json => serde_json::to_string_pretty(&report.json())?,
        };
        Ok(writeln!(std::io::stdout(), "{text}")?)
    }

    fn rows(&self) -> Result<Vec<&'static Row>> {
        for name in &self.row {
            if !ROWS.iter().any(|row| row.name == name) {
                let known: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
                bail!("there is no row {name}; there are {}", known.join(", "));
            }
        }
        let wanted = |row: &&Row| self.row.is_empty() || self.row.iter().any(|n| n == row.name);
        Ok(ROWS.iter().filter(wanted).collect())
    }
}

/// Runs a row once, with nothing of earlier runs on its way to the disk.
fn measure(row: &Row, run: &Run<'_>) -> Result<Figures> {
    rustix::fs::sync();
    run.target.settle();
    let done: Done = (row.run)(run)?;
    if run.target.kind == Kind::Local {
        rustix::fs::sync();
    }
    Ok(Figures::of(&done))
}
