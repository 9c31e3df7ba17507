//! `holdfast status`

use super::conditions;
use crate::cli::Remote;
use crate::exit::Result;
use crate::output::{self, Format, or_dash};
use clap::Args;
use control::view::{Item, StatusView, Tally};

#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    remote: Remote,
}

impl Status {
    pub(crate) fn run(self) -> Result {
        let Item { view, item } = self.remote.client()?.get::<Item<StatusView>>("/v1/status")?;
        output::mention_age(&view);
        if self.remote.output == Format::Json {
            return output::json(&item);
        }
        let rows = [
            ("cluster", or_dash(item.cluster.as_ref())),
            ("version", item.version.clone()),
            ("nodes", tally(&item.nodes)),
            ("disks", tally(&item.disks)),
            ("volumes", tally(&item.volumes)),
            ("partitions", tally(&item.partitions)),
        ];
        output::data(&output::pairs(&rows))?;
        output::data("")?;
        let columns = ["member", "status", "admin", "wire", "behind"];
        output::list(Format::Table, &item.members, &columns, |member| {
            vec![
                member.id.to_string(),
                member.status.to_string(),
                member.admin.clone(),
                member.wire.clone(),
                or_dash(member.behind),
            ]
        })?;
        conditions::print("not well:", &item.unwell)?;
        residue(item.residue.as_deref())
    }
}

fn tally(tally: &Tally) -> String {
    let counts: Vec<String> =
        tally.iter().map(|(status, count)| format!("{count} {status}")).collect();
    if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
}

/// What should be done and cannot.
fn residue(residue: Option<&[String]>) -> Result {
    match residue {
        None => output::data("\nto do: unknown; only the leader can tell"),
        Some([]) => Ok(()),
        Some(lines) => {
            output::data("\nto do, and cannot be done now:")?;
            lines.iter().try_for_each(|line| output::data(&format!("  {line}")))
        }
    }
}
