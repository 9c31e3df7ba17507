//! `holdfast fsck`

use super::mount;
use crate::cli::Direct;
use crate::exit::{Exit, Failure, Result};
use crate::output::{self, Format};
use crate::size;
use clap::Args;
use holdfast::fsck::{self, Finding, Report};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use world::World;

#[derive(Debug, Args)]
pub(crate) struct Fsck {
    /// Volume to check, by name
    #[arg(value_name = "VOLUME")]
    volume: String,
    /// File with a token of the volume, where it needs one; one that may only read is enough
    #[arg(long, value_name = "FILE", env = "HOLDFAST_VOLUME_TOKEN_FILE", hide_env_values = true)]
    volume_token_file: Option<PathBuf>,
    #[command(flatten)]
    direct: Direct,
}

impl Fsck {
    pub(crate) fn run(self) -> Result {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .worker_threads(1)
            .build()
            .map_err(|error| Failure::new(Exit::Failed, error.to_string(), ""))?;
        let members = self.direct.members()?;
        // A world belongs to the runtime that it is made in.
        let report = runtime.block_on(async { self.check(self.direct.world()?, members).await })?;
        self.print(&report)?;
        verdict(&report)
    }

    async fn check(&self, world: World, members: Vec<String>) -> Result<Report> {
        let metrics = Arc::new(wire::Metrics::default());
        let client = client::Client::new(world.clone(), wire::Hub::default(), metrics, members);
        let client = client.showing(mount::token(self.volume_token_file.as_deref())?);
        // Draws nothing unless standard error is a terminal.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{spinner} {bytes} verified in {elapsed}: {msg}");
        bar.set_style(style.expect("the template is a constant"));
        bar.enable_steady_tick(Duration::from_millis(200));
        let progress = |what: &str, bytes: u64| {
            bar.set_message(what.to_owned());
            bar.set_position(bytes);
        };
        let report = fsck::check(&world, &client, &self.volume, &progress).await;
        bar.finish_and_clear();
        report.map_err(|error| {
            let exit = match error {
                client::Error::NotFound(_) | client::Error::Deleted => Exit::NotFound,
                client::Error::NoAccess(_) | client::Error::Revoked(_) => {
                    return mount::denied(&error);
                }
                _ => Exit::Unreachable,
            };
            Failure::new(exit, error.to_string(), "see: holdfast volume list; holdfast status")
        })
    }

    fn print(&self, report: &Report) -> Result {
        if self.direct.remote.output == Format::Json {
            return output::json(report);
        }
        let verified = size::show(report.verified_bytes);
        output::data(&format!(
            "{}: {} partitions, {} replicas, {} files with data, {verified} verified",
            report.name, report.partitions, report.replicas, report.files
        ))?;
        let lines: Vec<&Finding> = report.findings.iter().chain(&report.unknown).collect();
        if lines.is_empty() {
            return output::data("nothing differs");
        }
        let columns = ["kind", "partition", "replica", "node", "inode", "what"];
        let or_dash = |number: u64| if number == 0 { "-".into() } else { number.to_string() };
        output::list(Format::Table, &lines, &columns, |line| {
            vec![
                line.kind.name().to_owned(),
                or_dash(line.partition),
                or_dash(line.replica),
                or_dash(line.node),
                or_dash(line.inode),
                line.message.clone(),
            ]
        })
    }
}

/// The exit code says it too. What could not be compared is neither good nor bad.
fn verdict(report: &Report) -> Result {
    if !report.findings.is_empty() {
        let message = format!("{} things are wrong with {}", report.findings.len(), report.name);
        let action = "read the damaged files, which mends copies; see: holdfast partition list";
        return Err(Failure::new(Exit::Failed, message, action));
    }
    if !report.unknown.is_empty() {
        let message = format!("{} things could not be compared", report.unknown.len());
        let action = "see: holdfast status; then run it again";
        return Err(Failure::new(Exit::Unreachable, message, action));
    }
    Ok(())
}
