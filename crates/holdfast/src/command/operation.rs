//! `holdfast operation`, and what the commands that start operations share.

use super::watch;
use crate::admin::{Client, segment};
use crate::cli::Remote;
use crate::exit::Result;
use crate::output::{self, Format, or_dash};
use crate::size;
use clap::{Args, Subcommand};
use control::api::operation::{By, Start as StartRequest};
use control::operation::Limits;
use control::view::{Item, ItemView, List as ListOf, OperationView, PlanView, ResidueView};
use types::operation::OperationKind;

#[derive(Debug, Subcommand)]
pub(crate) enum Operation {
    /// List the operations
    List(List),
    /// Show one operation, what is left and why
    Show(Show),
    /// Follow one operation until its verdict, and exit by it
    #[command(after_help = watch::EXIT_CODES)]
    Watch(Watch),
    /// Stop one for a while; what is under way is left as it is
    Pause(Which),
    /// Let one that is paused go on
    Resume(Which),
    /// Take one back; what was done stays done
    Cancel(Which),
    /// Try again at once what waits for its time, or one that failed
    Retry(Which),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// List those that ended too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Id of the operation
    operation: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Id of the operation
    operation: String,
    /// Go on when it is incomplete, until nothing is left
    #[arg(long)]
    until_done: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    #[command(flatten)]
    which: Which,
    /// Show what happened to each of its partitions, too
    #[arg(long)]
    partitions: bool,
}

impl Operation {
    pub(crate) fn run(self) -> Result {
        match self {
            Operation::List(command) => command.run(),
            Operation::Show(command) => command.run(),
            Operation::Watch(command) => {
                let client = command.remote.client()?;
                watch::watch(&client, &command.operation, command.until_done, command.remote.output)
            }
            Operation::Pause(which) => which.order("pause"),
            Operation::Resume(which) => which.order("resume"),
            Operation::Cancel(which) => which.order("cancel"),
            Operation::Retry(which) => which.order("retry"),
        }
    }
}

impl List {
    fn run(self) -> Result {
        let path = format!("/v1/operations?all={}", self.all);
        let list: ListOf<OperationView> = self.remote.client()?.get(&path)?;
        output::mention_age(&list.view);
        let columns = ["id", "kind", "target", "state", "partitions", "bytes", "left", "blocked"];
        output::list(self.remote.output, &list.items, &columns, |operation| {
            let progress = &operation.progress;
            vec![
                operation.id.to_string(),
                operation.kind.clone(),
                operation.target.clone(),
                operation.state.clone(),
                format!("{}/{}", progress.partitions_done, progress.partitions),
                bytes(operation),
                operation.residue.len().to_string(),
                or_dash(operation.blocked.as_ref().map(|blocked| &blocked.reason)),
            ]
        })
    }
}

fn bytes(operation: &OperationView) -> String {
    let progress = &operation.progress;
    format!("{}/{}", size::show(progress.bytes_done), size::show(progress.bytes))
}

impl Which {
    fn path(&self) -> String {
        format!("/v1/operations/{}", segment(&self.operation))
    }

    fn order(self, order: &str) -> Result {
        let path = format!("{}/{order}", self.path());
        let Item { item, .. } =
            self.remote.client()?.post::<Item<OperationView>>(&path, &By { by: who() })?;
        show(self.remote.output, &item)
    }
}

impl Show {
    fn run(self) -> Result {
        let remote = &self.which.remote;
        let Item { view, item } =
            remote.client()?.get::<Item<OperationView>>(&self.which.path())?;
        output::mention_age(&view);
        show(remote.output, &item)?;
        if remote.output == Format::Json || !self.partitions {
            return Ok(());
        }
        output::data("\nits partitions")?;
        item.partitions.iter().try_for_each(partition)
    }
}

fn partition(item: &ItemView) -> Result {
    let copy = item
        .copy
        .map_or_else(String::new, |(node, disk)| format!(", copy on disk {disk} of node {node}"));
    let (id, done) = (item.partition, if item.done { "done" } else { "not done" });
    output::data(&format!("  partition {id}: {done}, {}{copy}", size::show(item.bytes)))?;
    item.history.iter().try_for_each(|e| output::data(&format!("    {}  {}", e.at, e.what)))
}

/// Who is at the keyboard, for the record.
pub(crate) fn who() -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{user}@{}", host.trim())
}

/// Prints an operation.
pub(crate) fn show(format: Format, operation: &OperationView) -> Result {
    let progress = &operation.progress;
    let rate = progress.bytes_per_second.map(|rate| format!("{}/s", size::show(rate)));
    let left = match progress.eta_s {
        Some(seconds) => format!("{seconds} s, {}", progress.estimate),
        None => format!("- ({})", progress.estimate),
    };
    let mut rows = vec![
        ("id", operation.id.to_string()),
        ("kind", operation.kind.clone()),
        ("target", operation.target.clone()),
        ("state", format!("{} ({})", operation.state, operation.means)),
        ("asked for by", operation.by.clone()),
        ("created", operation.created.clone()),
        ("started", or_dash(operation.started.as_ref())),
        ("ended", or_dash(operation.ended.as_ref())),
        ("partitions", format!("{} of {}", progress.partitions_done, progress.partitions)),
        ("under way", or_dash(progress.underway)),
        ("waiting their turn", or_dash(progress.queued)),
        ("bytes", bytes(operation)),
        ("rate", or_dash(rate)),
        ("time left", left),
        ("pace", pace(operation)),
        ("force", if operation.force { "yes" } else { "no" }.to_owned()),
        (
            "replicas",
            or_dash(operation.replicas.map(|r| format!("{} instead of {}", r.to, r.from))),
        ),
    ];
    rows.extend(verdict(operation));
    output::show(format, operation, &rows)?;
    if format == Format::Json {
        return Ok(());
    }
    let blocked = operation.blocked.iter();
    residue("what blocks all of it", &blocked.cloned().collect::<Vec<_>>())?;
    residue("what is left", &operation.residue)?;
    if !operation.history.is_empty() {
        output::data("\nwhat happened")?;
    }
    operation.history.iter().try_for_each(|e| output::data(&format!("  {}  {}", e.at, e.what)))
}

/// What its verdict rests on.
fn verdict(operation: &OperationView) -> Vec<(&'static str, String)> {
    let Some(evidence) = &operation.evidence else { return Vec::new() };
    let nodes: Vec<String> = evidence.witnesses.iter().map(|w| w.node.to_string()).collect();
    let words = format!(
        "{}: {} partitions scanned, {} dealt with, {} left; disks listed by node {}",
        evidence.at,
        evidence.scanned,
        evidence.processed,
        evidence.left,
        if nodes.is_empty() { "-".to_owned() } else { nodes.join(", ") }
    );
    let mut rows = vec![("verified", words)];
    if let (Some(who), false) = (&operation.attested, evidence.believed.is_empty()) {
        let disks: Vec<String> = evidence.believed.iter().map(ToString::to_string).collect();
        let words = format!("disk {} is destroyed, by the word of {who}", disks.join(", "));
        rows.push(("believed, not proved", words));
    }
    rows
}

fn pace(operation: &OperationView) -> String {
    let Limits { moves, moves_per_node, moves_per_disk, bandwidth } = operation.limits;
    let bandwidth =
        bandwidth.map_or_else(String::new, |b| format!(", {} a second of a node", size::show(b)));
    format!(
        "{moves} moves at a time, {moves_per_node} of a node, {moves_per_disk} of a disk{bandwidth}; \
         priority {}",
        operation.priority
    )
}

/// Prints what is left over, if anything is.
pub(crate) fn residue(title: &str, left: &[ResidueView]) -> Result {
    if left.is_empty() {
        return Ok(());
    }
    output::data(&format!("\n{title}"))?;
    let columns =
        ["partition", "reason", "since", "checked", "given up", "retry", "detail", "what to do"];
    output::list(Format::Table, left, &columns, residue_row)
}

pub(crate) fn residue_row(left: &ResidueView) -> Vec<String> {
    vec![
        or_dash(left.partition),
        left.reason.clone(),
        left.since.clone(),
        left.last_checked.clone(),
        left.attempts.to_string(),
        left.next_retry.clone().unwrap_or_else(|| "each round".to_owned()),
        detail(left),
        left.action.clone(),
    ]
}

/// Why, and for whom it waits: a lock that is still needed is renewed before it ends.
fn detail(left: &ResidueView) -> String {
    let holder = left.holder.as_ref();
    holder.map_or_else(
        || left.detail.clone(),
        |lock| format!("{} ({}), until {} or longer", left.detail, lock.what, lock.expires),
    )
}

/// How to start an operation.
#[derive(Debug, Args)]
#[command(after_help = watch::EXIT_CODES)]
pub(crate) struct Begin {
    /// Follow it until its verdict, and exit by it
    #[arg(long)]
    pub(crate) watch: bool,
    /// Answer the question whether to go on
    #[arg(long)]
    pub(crate) yes: bool,
    /// Print what it would do, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) pace: Pace,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// Whether redundancy may be lost.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Force {
    /// Let replicas go for which no copy can be made, down to the volume's minimum in sync; names what is
    /// lost by that, and asks
    #[arg(long)]
    pub(crate) force: bool,
}

/// Whether what is to be emptied is gone for good.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Destroyed {
    /// Say that it is destroyed: what nobody can look at any more is believed to be gone, and the verdict says
    /// that it was not proved. Refused while it is heard of
    #[arg(long)]
    pub(crate) destroyed: bool,
}

/// How much at a time, and before whom.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Pace")]
pub(crate) struct Pace {
    /// Replicas moved at a time, altogether
    #[arg(long, value_name = "N", default_value_t = Limits::default().moves)]
    moves: u32,
    /// Replicas moved at a time from or to one node
    #[arg(long, value_name = "N", default_value_t = Limits::default().moves_per_node)]
    moves_per_node: u32,
    /// Replicas moved at a time from or to one disk
    #[arg(long, value_name = "N", default_value_t = Limits::default().moves_per_disk)]
    moves_per_disk: u32,
    /// Bytes a second that a scrub reads of one node [default: 32MiB], or that copies take from or to one node
    /// [default: as fast as the nodes see fit]; of copies at least 256KiB
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    bandwidth: Option<u64>,
    /// Goes before operations of a lower one: 0 to 255
    #[arg(long, value_name = "N", default_value_t = 0)]
    priority: u8,
}

impl Pace {
    fn limits(self) -> Limits {
        let Pace { moves, moves_per_node, moves_per_disk, bandwidth, .. } = self;
        Limits { moves, moves_per_node, moves_per_disk, bandwidth }
    }
}

impl Begin {
    /// Empties a node or a disk.
    pub(crate) fn decommission(self, target: &str, force: Force, destroyed: Destroyed) -> Result {
        let kind = OperationKind::Decommission;
        if !destroyed.destroyed || self.dry_run {
            return self.run(kind, target, force.force);
        }
        let client = self.remote.client()?;
        let list: ListOf<OperationView> = client.get("/v1/operations")?;
        let is_it = |o: &&OperationView| o.kind == kind.word() && o.target == target;
        let request = self.request(kind, target, force.force);
        let request = StartRequest { destroyed: true, ..request };
        let known = list.items.iter().find(is_it).map(|operation| operation.id);
        if known.is_none() {
            let plan: PlanView = client.post("/v1/operations?dry_run=true", &request)?;
            self.ask(&request, &plan)?;
        }
        let question = format!(
            "You say that {target} is destroyed. What nobody can look at any more will be believed to be \
             gone, and not be proved. If it comes back, what is on it is deleted."
        );
        output::confirm(&question, target.rsplit('/').next().unwrap_or(target), self.yes)?;
        let answer: Item<OperationView> = match known {
            Some(id) => client.post(&format!("/v1/operations/{id}/attest"), &By { by: who() })?,
            None => client.post("/v1/operations", &request)?,
        };
        self.follow(&client, &answer.item)
    }

    fn request(&self, kind: OperationKind, target: &str, force: bool) -> StartRequest {
        StartRequest {
            kind,
            target: target.to_owned(),
            by: who(),
            force,
            priority: self.pace.priority,
            limits: Some(self.pace.limits()),
            destroyed: false,
            replicas: None,
        }
    }

    /// Starts an operation: shows what it would do, asks, starts, and follows it where that was asked for.
    pub(crate) fn run(self, kind: OperationKind, target: &str, force: bool) -> Result {
        let request = self.request(kind, target, force);
        self.start(&request)
    }

    /// Gives a volume more replicas.
    pub(crate) fn expand(self, volume: u64, replicas: u8) -> Result {
        let request = self.request(OperationKind::Expand, &format!("volume/{volume}"), false);
        self.start(&StartRequest { replicas: Some(replicas), ..request })
    }

    /// Reads everything again; changes nothing, so nothing is asked.
    pub(crate) fn scrub(mut self, target: &str) -> Result {
        self.yes = true;
        self.run(OperationKind::Scrub, target, false)
    }

    fn start(self, request: &StartRequest) -> Result {
        let client = self.remote.client()?;
        let plan: PlanView = client.post("/v1/operations?dry_run=true", request)?;
        if self.dry_run {
            return show_plan(self.remote.output, &plan);
        }
        self.ask(request, &plan)?;
        let Item { item, .. } = client.post::<Item<OperationView>>("/v1/operations", request)?;
        self.follow(&client, &item)
    }

    fn ask(&self, request: &StartRequest, plan: &PlanView) -> Result {
        let StartRequest { kind, target, .. } = request;
        let left = plan.residue.len();
        let left =
            if left == 0 { String::new() } else { format!("; {left} cannot be as things are") };
        let mut question = format!(
            "A {kind} of {target} concerns {} partitions with {}{left}.",
            plan.partitions,
            size::show(plan.bytes)
        );
        if request.force {
            output::talk("With force these lose redundancy, down to the minimum of their volume:");
            let lost = plan.lines.iter().filter(|line| line.starts_with('-'));
            lost.for_each(|line| output::talk(&format!("  {line}")));
            if !plan.refused.is_empty() {
                question.push_str(&format!("\nAnd {}: those are left over.", plan.refused));
            }
        }
        output::confirm(&question, target.rsplit('/').next().unwrap_or(target), self.yes)
    }

    pub(crate) fn follow(&self, client: &Client, operation: &OperationView) -> Result {
        match self.watch {
            true => watch::watch(client, &operation.id.to_string(), false, self.remote.output),
            false => {
                show(self.remote.output, operation)?;
                output::talk(&format!("follow it with: holdfast operation watch {}", operation.id));
                Ok(())
            }
        }
    }
}

fn show_plan(format: Format, plan: &PlanView) -> Result {
    if format == Format::Json {
        return output::json(plan);
    }
    let bytes = size::show(plan.bytes);
    let head = format!("{} {}: {} partitions, {bytes}", plan.kind, plan.target, plan.partitions);
    output::data(&head)?;
    plan.lines.iter().try_for_each(|line| output::data(line))?;
    if plan.more > 0 {
        output::data(&format!("... and {} more", plan.more))?;
    }
    residue("what cannot be done as things are", &plan.residue)?;
    if !plan.refused.is_empty() {
        output::data(&format!("\nit would be refused without --force: {}", plan.refused))?;
    }
    Ok(())
}
