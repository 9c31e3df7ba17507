//! `holdfast client`

use crate::admin::segment;
use crate::cli::Remote;
use crate::exit::Result;
use crate::output::{self, ago, or_dash};
use crate::size;
use clap::{Args, Subcommand};
use control::view::ClientsView;

#[derive(Debug, Subcommand)]
pub(crate) enum Client {
    /// List who has which volume open
    List(List),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those of this volume, by name or id
    #[arg(long, value_name = "VOLUME")]
    volume: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

impl Client {
    pub(crate) fn run(self) -> Result {
        match self {
            Client::List(command) => command.run(),
        }
    }
}

impl List {
    fn run(self) -> Result {
        let path = match &self.volume {
            None => "/v1/clients".to_owned(),
            Some(volume) => format!("/v1/clients?volume={}", segment(volume)),
        };
        let list: ClientsView = self.remote.client()?.get(&path)?;
        if !list.complete {
            output::talk(
                "note: the control plane has just got a new leader; who has not come back to it is not listed yet",
            );
        }
        let columns = [
            "volume",
            "host",
            "pid",
            "mounted on",
            "access",
            "token",
            "version",
            "since",
            "heard",
            "dirty",
        ];
        output::list(self.remote.output, &list.items, &columns, |client| {
            let mount_point = match client.mount_point.as_str() {
                "" => "-".to_owned(),
                place => place.to_owned(),
            };
            vec![
                client.volume_name.clone(),
                client.host.clone(),
                client.pid.to_string(),
                mount_point,
                if client.read_only { "read-only" } else { "read-write" }.to_owned(),
                or_dash(client.token),
                client.version.clone(),
                client.since.clone(),
                format!("{} ago", ago(client.age_ms)),
                size::show(client.dirty_bytes),
            ]
        })
    }
}
