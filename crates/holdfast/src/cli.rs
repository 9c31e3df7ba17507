//! The command line: one definition for the parser and the help.

use crate::admin::Client;
use crate::command;
use crate::exit::{EXIT_CODES, Result};
use crate::output::Format;
use crate::tls;
use clap::{Args, Parser, Subcommand};
use serde::Deserialize;
use std::path::PathBuf;
use world::{Net, World};

/// Where the admin API of a cluster on this machine listens.
pub(crate) const SERVER_DEFAULT: &str = "127.0.0.1:7400";

/// Replicated file volumes that people can mount and trust.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// How to reach the cluster, and how to print what it says.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct Remote {
    /// Admin API of any member of the control plane, as HOST:PORT or a URL
    #[arg(long, value_name = "ADDR", env = "HOLDFAST_SERVER", hide_env_values = true, default_value = SERVER_DEFAULT)]
    pub(crate) server: String,

    /// Admin token of the cluster, where it has one
    #[arg(long, env = "HOLDFAST_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,

    /// Certificate of the cluster's authority; speaks TLS and trusts nobody else
    #[arg(long, value_name = "FILE", env = "HOLDFAST_CA", hide_env_values = true)]
    pub(crate) ca: Option<PathBuf>,

    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
}

/// How to reach the nodes of the cluster themselves.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct Direct {
    #[command(flatten)]
    pub(crate) remote: Remote,

    /// Certificate of this client, where the cluster speaks TLS (with --ca and --key)
    #[arg(long, value_name = "FILE", requires_all = ["ca", "key"])]
    certificate: Option<PathBuf>,

    /// Private key of that certificate
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Members {
    items: Vec<Member>,
}

#[derive(Debug, Deserialize)]
struct Member {
    wire: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a whole cluster in this process, and mount its volume
    Up(command::up::Up),
    /// Mount a volume on a folder
    Mount(command::mount::Mount),
    /// Unmount a volume
    Unmount(command::mount::Unmount),
    /// Run a server of a cluster, from a configuration file
    Server(command::server::Server),
    /// Create, list, expand and delete volumes, and bring deleted ones back
    #[command(subcommand)]
    Volume(command::volume::Volume),
    /// Look at who has which volume open
    #[command(subcommand)]
    Client(command::client::Client),
    /// Show the whole cluster at a glance
    Status(command::status::Status),
    /// Look at the storage nodes, and take them out of service
    #[command(subcommand)]
    Node(command::node::Node),
    /// Look at the disks, and take them out of service
    #[command(subcommand)]
    Disk(command::disk::Disk),
    /// Take all nodes of a zone out of service
    #[command(subcommand)]
    Zone(command::zone::Zone),
    /// Look at the partitions that volumes are made of
    #[command(subcommand)]
    Partition(command::partition::Partition),
    /// Even out how full the disks are, with few moves
    Rebalance(command::rebalance::Rebalance),
    /// Look at long-running work, and give it orders
    #[command(subcommand)]
    Operation(command::operation::Operation),
    /// Show what happened, and go on showing it
    Events(command::events::Events),
    /// Compare all replicas of a volume, and say what differs
    Fsck(command::fsck::Fsck),
    /// Print any file that a node or a member of the control plane writes
    Inspect(command::inspect::Inspect),
    /// Make the certificates of a cluster
    #[command(subcommand)]
    Ca(command::ca::Ca),
}

impl Cli {
    pub(crate) fn run(self) -> Result {
        match self.command {
            Command::Up(up) => up.run(),
            Command::Mount(mount) => mount.run(),
            Command::Unmount(unmount) => unmount.run(),
            Command::Server(server) => server.run(),
            Command::Volume(volume) => volume.run(),
            Command::Client(client) => client.run(),
            Command::Status(status) => status.run(),
            Command::Node(node) => node.run(),
            Command::Disk(disk) => disk.run(),
            Command::Zone(zone) => zone.run(),
            Command::Partition(partition) => partition.run(),
            Command::Rebalance(rebalance) => rebalance.run(),
            Command::Operation(operation) => operation.run(),
            Command::Events(events) => events.run(),
            Command::Fsck(fsck) => fsck.run(),
            Command::Inspect(inspect) => inspect.run(),
            Command::Ca(ca) => ca.run(),
        }
    }
}

impl Remote {
    /// A client of the admin API.
    pub(crate) fn client(&self) -> Result<Client> {
        Client::new(&self.server, self.token.clone(), self.ca.as_deref())
    }
}

impl Direct {
    /// A world that shows the certificate, where there is one.
    pub(crate) fn world(&self) -> Result<World> {
        let net = match (&self.remote.ca, &self.certificate, &self.key) {
            (Some(ca), Some(certificate), Some(key)) => {
                Net::tls(tls::load(ca, certificate, key)?.mutual)
            }
            _ => Net::tcp(),
        };
        Ok(World::real(net))
    }

    /// Where the members of the control plane listen, as any of them says.
    pub(crate) fn members(&self) -> Result<Vec<String>> {
        let members: Members = self.remote.client()?.get("/v1/members")?;
        Ok(members.items.into_iter().map(|member| member.wire).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use std::fmt::Write;

    /// The long help of a command and of everything below it.
    fn help(command: &mut clap::Command, path: &str, text: &mut String) {
        writeln!(text, "=== {path}\n{}", command.render_long_help()).unwrap();
        let names: Vec<String> = command
            .get_subcommands()
            .map(|sub| sub.get_name().to_owned())
            .filter(|name| name != "help")
            .collect();
        for name in names {
            let sub = command.find_subcommand_mut(&name).unwrap();
            help(sub, &format!("{path} {name}"), text);
        }
    }

    #[test]
    fn the_whole_help_is_as_reviewed() {
        let mut command = Cli::command();
        command.build();
        let mut text = String::new();
        help(&mut command, "holdfast", &mut text);
        insta::assert_snapshot!("help", text);
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }
}
