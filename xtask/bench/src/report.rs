//! What was measured, for people and for programs.

use crate::rows::{Row, Unit};
use crate::target::Kind;
use crate::workload::{Done, Scale};
use serde_json::{Value, json};
use std::fmt;

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub seconds: f64,
    pub operations: f64,
    pub bytes: f64,
    pub cpu_seconds: f64,
}

impl Figures {
    pub(crate) fn of(done: &Done) -> Figures {
        Figures {
            seconds: done.took.as_secs_f64(),
            operations: done.operations as f64,
            bytes: done.bytes as f64,
            cpu_seconds: done.cpu.as_secs_f64(),
        }
    }

    fn per_second(&self) -> f64 {
        self.operations / self.seconds
    }
}

/// One row with all its runs.
#[derive(Debug)]
pub(crate) struct Line {
    row: &'static Row,
    runs: Vec<(Kind, Figures)>,
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

impl Line {
    pub(crate) fn new(row: &'static Row) -> Line {
        Line { row, runs: Vec::new() }
    }

    pub(crate) fn add(&mut self, kind: Kind, figures: Figures) {
        self.runs.push((kind, figures));
    }

    fn of(&self, kind: Kind) -> impl Iterator<Item = &Figures> {
        self.runs.iter().filter(move |(of, _)| *of == kind).map(|(_, figures)| figures)
    }

    /// The median of the shares that the runs of each round reached.
    fn ratio_to(&self, reference: Kind) -> f64 {
        let rounds = self.of(Kind::Holdfast).zip(self.of(reference));
        median(rounds.map(|(ours, theirs)| ours.per_second() / theirs.per_second()))
    }

    fn ratio(&self) -> f64 {
        self.ratio_to(self.row.reference)
    }

    fn cpu_us_per_operation(&self, kind: Kind) -> f64 {
        median(self.of(kind).map(|run| run.cpu_seconds * 1e6 / run.operations))
    }

    fn cpu_seconds_per_gib(&self, kind: Kind) -> f64 {
        let gib = f64::from(1u32 << 30);
        median(self.of(kind).map(|run| run.cpu_seconds * gib / run.bytes))
    }

    /// The median figure in the row's own unit.
    fn absolute(&self, kind: Kind) -> f64 {
        let mib = f64::from(1u32 << 20);
        match self.row.unit {
            Unit::Bytes => median(self.of(kind).map(|run| run.bytes / run.seconds / mib)),
            Unit::Operations => median(self.of(kind).map(Figures::per_second)),
            Unit::Seconds => median(self.of(kind).map(|run| run.seconds)),
        }
    }

    fn shown(&self, kind: Kind) -> String {
        let value = self.absolute(kind);
        match self.row.unit {
            Unit::Bytes => format!("{value:.0} MiB/s"),
            Unit::Operations => format!("{value:.0}/s"),
            Unit::Seconds => format!("{value:.2} s"),
        }
    }

    fn cpu_shown(&self, kind: Kind) -> String {
        match self.row.unit {
            Unit::Bytes => format!("{:.2} s/GiB", self.cpu_seconds_per_gib(kind)),
            _ => format!("{:.0} us/op", self.cpu_us_per_operation(kind)),
        }
    }

    fn json(&self) -> Value {
        let finite = |value: f64| value.is_finite().then_some(value);
        let target = |kind| {
            json!({
                "figure": finite(self.absolute(kind)),
                "cpu_us_per_operation": finite(self.cpu_us_per_operation(kind)),
                "cpu_seconds_per_gib": finite(self.cpu_seconds_per_gib(kind)),
            })
        };
        let unit = match self.row.unit {
            Unit::Bytes => "mebibytes_per_second",
            Unit::Operations => "operations_per_second",
            Unit::Seconds => "seconds",
        };
        json!({
            "id": self.row.name,
            "title": self.row.title,
            "reference": self.row.reference.name(),
            "goal": self.row.goal,
            "ratio": finite(self.ratio()),
            "reached": self.ratio() >= self.row.goal,
            "ratio_to_local": finite(self.ratio_to(Kind::Local)),
            "ratio_to_passthrough": finite(self.ratio_to(Kind::Passthrough)),
            "unit": unit,
            "local": target(Kind::Local),
            "passthrough": target(Kind::Passthrough),
            "holdfast": target(Kind::Holdfast),
        })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<20} {:>6.2} of {:<11} (goal {:.2}, {})",
            self.row.name,
            self.ratio(),
            self.row.reference.name(),
            self.row.goal,
            if self.ratio() >= self.row.goal { "reached" } else { "missed" },
        )?;
        for kind in Kind::ALL {
            write!(f, "  {} {}", kind.name(), self.shown(kind))?;
        }
        let (ours, theirs) = (self.cpu_shown(Kind::Holdfast), self.cpu_shown(Kind::Passthrough));
        write!(f, "  cpu {ours} (passthrough {theirs})")
    }
}

/// All rows.
#[derive(Debug)]
pub(crate) struct Report {
    pub lines: Vec<Line>,
    scale: Scale,
    rounds: u32,
}

impl Report {
    pub(crate) fn new(scale: &Scale, rounds: u32) -> Report {
        Report { lines: Vec::new(), scale: scale.clone(), rounds }
    }

    pub(crate) fn json(&self) -> Value {
        let rows: Vec<Value> = self.lines.iter().map(Line::json).collect();
        json!({
            "rounds": self.rounds,
            "sequential_bytes": self.scale.sequential_bytes,
            "random_bytes": self.scale.random_bytes,
            "rows": rows,
        })
    }
}

impl fmt::Display for Report {
    /// As a table for `docs/performance.md`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| workload | ratio | goal | of | local | passthrough | holdfast | CPU, cluster and mount | CPU, passthrough |"
        )?;
        writeln!(f, "| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |")?;
        for line in &self.lines {
            let row = line.row;
            write!(
                f,
                "| {} | {:.2} | {:.2} | {} ",
                row.title,
                line.ratio(),
                row.goal,
                row.reference.name()
            )?;
            for kind in Kind::ALL {
                write!(f, "| {} ", line.shown(kind))?;
            }
            let (ours, theirs) =
                (line.cpu_shown(Kind::Holdfast), line.cpu_shown(Kind::Passthrough));
            writeln!(f, "| {ours} | {theirs} |")?;
        }
        Ok(())
    }
}
