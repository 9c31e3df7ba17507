//! Follows an operation until its verdict.

use super::operation;
use crate::admin::{Client, segment};
use crate::exit::{Exit, Failure, Result};
use crate::output::{self, Format};
use crate::size;
use control::view::{Item, OperationView, ResidueView};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// What the help says about how it ends.
pub(crate) const EXIT_CODES: &str = "\
When it is followed, the exit code is the verdict:
  0  succeeded: a fresh look found nothing left
  1  failed, or cancelled
  2  incomplete: something is left, for the reasons listed; it goes on being tried
(2 is also a command line that is wrong; nothing was tried then.)";

/// How often to look.
const PAUSE: Duration = Duration::from_millis(300);

/// An incomplete one that goes on within this time has no verdict yet.
const INCOMPLETE_FOR: Duration = Duration::from_secs(3);

/// Follows an operation; the result is its verdict.
pub(crate) fn watch(client: &Client, id: &str, until_done: bool, format: Format) -> Result {
    let path = format!("/v1/operations/{}", segment(id));
    let screen = Screen::new();
    let mut incomplete_since = None;
    let mut out = false;
    loop {
        let operation = match client.get::<Item<OperationView>>(&path) {
            Ok(Item { item, .. }) => item,
            Err(failure) if failure.is_passing() => {
                if !out {
                    output::talk(&format!("note: {failure}; it goes on without being watched"));
                }
                out = true;
                std::thread::sleep(PAUSE);
                continue;
            }
            Err(failure) => return Err(failure),
        };
        out = false;
        screen.draw(&operation);
        match operation.state.as_str() {
            "succeeded" | "failed" | "cancelled" => return end(&screen, &operation, format),
            "incomplete" if !until_done => {
                let since = *incomplete_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= INCOMPLETE_FOR {
                    return end(&screen, &operation, format);
                }
            }
            _ => incomplete_since = None,
        }
        std::thread::sleep(PAUSE);
    }
}

fn end(screen: &Screen, operation: &OperationView, format: Format) -> Result {
    screen.clear();
    operation::show(format, operation)?;
    let message = format!("operation {} is {}", operation.id, operation.state);
    match operation.state.as_str() {
        "succeeded" => Ok(()),
        "incomplete" => {
            let action = "see what is left, above; it goes on being tried, and \
                          'holdfast operation watch --until-done' waits for it";
            Err(Failure::new(Exit::Incomplete, message, action))
        }
        _ => Err(Failure::new(Exit::Failed, message, "")),
    }
}

/// The bar, and what is left below it.
struct Screen {
    bar: ProgressBar,
}

impl Screen {
    fn new() -> Screen {
        let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{prefix:.bold} [{wide_bar}] {percent}%\n{msg}");
        bar.set_style(style.expect("a fixed template").progress_chars("=> "));
        Screen { bar }
    }

    fn draw(&self, operation: &OperationView) {
        let progress = &operation.progress;
        // By bytes where there are any, by partitions where nothing is copied.
        let (done, all) = match progress.bytes {
            0 => (progress.partitions_done, progress.partitions),
            bytes => (progress.bytes_done, bytes),
        };
        self.bar.set_prefix(format!("{} {} {}", operation.kind, operation.target, operation.state));
        self.bar.set_length(all.max(1));
        self.bar.set_position(if all == 0 && operation.state == "succeeded" { 1 } else { done });
        self.bar.set_message(message(operation));
        self.bar.tick();
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// Lines of residue that are drawn.
const LEFT_MAX: usize = 12;

fn message(operation: &OperationView) -> String {
    let progress = &operation.progress;
    let rate =
        progress.bytes_per_second.map_or("-".to_owned(), |rate| format!("{}/s", size::show(rate)));
    let left = progress.eta_s.map_or("-".to_owned(), |seconds| format!("{seconds} s"));
    let mut text = format!(
        "{} of {} partitions, {} of {}, {rate}, {left} left ({})",
        progress.partitions_done,
        progress.partitions,
        size::show(progress.bytes_done),
        size::show(progress.bytes),
        progress.estimate
    );
    let blocked = operation.blocked.iter().map(|left| format!("\nblocked: {}", line(left)));
    let residue = operation.residue.iter().take(LEFT_MAX);
    blocked
        .chain(residue.map(|left| format!("\n  {}", line(left))))
        .for_each(|l| text.push_str(&l));
    if operation.residue.len() > LEFT_MAX {
        text.push_str(&format!("\n  ... and {} more", operation.residue.len() - LEFT_MAX));
    }
    text
}

fn line(left: &ResidueView) -> String {
    let partition = left.partition.map_or(String::new(), |id| format!("partition {id} "));
    format!("{partition}{} since {}: {}", left.reason, left.since, left.detail)
}
