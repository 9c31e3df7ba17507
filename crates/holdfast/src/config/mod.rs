//! The configuration file of a server.
//!
//! One definition: the commented example is parsed by a test and equals the defaults, so it cannot
//! drift from the code.

pub(crate) mod disk;
pub(crate) mod listen;

use crate::exit::{Exit, Failure, Result};
use crate::tls::{self, Identity};
use crate::{file, size};
use control::plan::Policy;
use disk::Disk;
use listen::{Door, Guard};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use types::limits::{REPAIR_BYTES_PER_SECOND, REPAIR_BYTES_PER_SECOND_MIN};

/// What `holdfast server --print-config` prints.
pub(crate) const EXAMPLE: &str = include_str!("example.toml");

/// What a host does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    Control,
    Node,
}

/// A configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(default = "roles_default")]
    pub(crate) roles: Vec<Role>,
    #[serde(default = "data_default")]
    pub(crate) data: PathBuf,
    #[serde(default)]
    pub(crate) cluster: Cluster,
    #[serde(default)]
    pub(crate) control: Control,
    #[serde(default)]
    pub(crate) node: Node,
    pub(crate) tls: Option<Files>,
}

/// Who makes up the control plane.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Cluster {
    pub(crate) name: String,
    pub(crate) members: Vec<Member>,
}

/// One member of the control plane, as everybody reaches it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Member {
    pub(crate) id: u64,
    pub(crate) wire: String,
    pub(crate) admin: String,
}

/// The role `control` of this host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Control {
    pub(crate) id: u64,
    pub(crate) listen: String,
    pub(crate) admin_listen: String,
    pub(crate) admin_token_file: Option<PathBuf>,
    pub(crate) node_silence_ms: u64,
    pub(crate) replace_after_seconds: u64,
}

/// The role `node` of this host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Node {
    pub(crate) listen: String,
    /// Where others reach it; as `listen` unless said.
    pub(crate) address: Option<String>,
    pub(crate) metrics_listen: Option<String>,
    pub(crate) zone: String,
    /// Bytes a second for repair while clients want something.
    #[serde(deserialize_with = "rate")]
    pub(crate) repair_rate: u64,
    /// Folders; `disk` within `data` unless said.
    pub(crate) disks: Vec<Disk>,
}

/// A rate, as a size that goes in a second.
fn rate<'de, D: serde::Deserializer<'de>>(from: D) -> std::result::Result<u64, D::Error> {
    use serde::de::Error;
    let rate = size::parse(&String::deserialize(from)?).map_err(D::Error::custom)?;
    if rate < REPAIR_BYTES_PER_SECOND_MIN {
        return Err(D::Error::custom("repair_rate must be 1MiB or more, or repair has no end"));
    }
    Ok(rate)
}

/// Certificates of this host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Files {
    pub(crate) ca: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

fn roles_default() -> Vec<Role> {
    vec![Role::Control, Role::Node]
}

fn data_default() -> PathBuf {
    PathBuf::from("/var/lib/holdfast")
}

impl Default for Cluster {
    fn default() -> Self {
        let member =
            Member { id: 1, wire: "127.0.0.1:7401".to_owned(), admin: "127.0.0.1:7400".to_owned() };
        Cluster { name: "holdfast".to_owned(), members: vec![member] }
    }
}

impl Default for Control {
    fn default() -> Self {
        let policy = Policy::default();
        Control {
            id: 1,
            listen: "127.0.0.1:7401".to_owned(),
            admin_listen: "127.0.0.1:7400".to_owned(),
            admin_token_file: None,
            node_silence_ms: u64::try_from(policy.silence_max.as_millis()).unwrap_or(u64::MAX),
            replace_after_seconds: policy.replace_after.as_secs(),
        }
    }
}

impl Default for Node {
    fn default() -> Self {
        Node {
            listen: "127.0.0.1:7402".to_owned(),
            address: None,
            metrics_listen: None,
            zone: String::new(),
            repair_rate: REPAIR_BYTES_PER_SECOND,
            disks: Vec::new(),
        }
    }
}

impl Config {
    /// Reads and checks a configuration file.
    pub(crate) fn parse(text: &str) -> std::result::Result<Config, String> {
        let config: Config = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check()?;
        Ok(config)
    }

    pub(crate) fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    fn check(&self) -> std::result::Result<(), String> {
        if self.roles.is_empty() {
            return Err("roles is empty: name control, node or both".to_owned());
        }
        let ids: BTreeMap<u64, &Member> = self.cluster.members.iter().map(|m| (m.id, m)).collect();
        if ids.len() != self.cluster.members.len() {
            return Err("two members of the control plane have the same id".to_owned());
        }
        let shortest = types::limits::HEARTBEAT_INTERVAL * 3;
        if Duration::from_millis(self.control.node_silence_ms) < shortest {
            let shortest = shortest.as_millis();
            return Err(format!("control.node_silence_ms is below {shortest}: three heartbeats"));
        }
        let tls = self.tls.is_some();
        if self.has(Role::Control) {
            self.control_config(None, None).check()?;
            let guard = Guard { tls, token: self.control.admin_token_file.is_some() };
            listen::check(Door::Wire, &self.control.listen, guard)?;
            listen::check(Door::Admin, &self.control.admin_listen, guard)?;
        }
        if self.has(Role::Node) {
            listen::check(Door::Wire, &self.node.listen, Guard { tls, token: false })?;
            if let Some(address) = &self.node.metrics_listen {
                listen::check(Door::Wire, address, Guard { tls, token: false })?;
            }
            for disk in &self.node.disks {
                disk.watermarks()?;
            }
            if self.cluster.members.is_empty() {
                return Err("cluster.members is empty: a node must find a control plane".to_owned());
            }
        }
        Ok(())
    }

    /// What this host shows and trusts; `None` when it speaks in the clear.
    pub(crate) fn identity(&self) -> Result<Option<Identity>> {
        let load = |files: &Files| tls::load(&files.ca, &files.certificate, &files.key);
        self.tls.as_ref().map(load).transpose()
    }

    /// What people must show; `None` when everybody is let in.
    pub(crate) fn admin_token(&self) -> Result<Option<String>> {
        let Some(path) = &self.control.admin_token_file else { return Ok(None) };
        let token = file::read(path)?.trim().to_owned();
        if token.len() < listen::TOKEN_BYTES_MIN {
            let message = format!(
                "the admin token in {} is shorter than {} characters",
                path.display(),
                listen::TOKEN_BYTES_MIN
            );
            return Err(Failure::new(Exit::Usage, message, listen::MAKE_TOKEN));
        }
        Ok(Some(token))
    }

    /// How to start this host's member of the control plane.
    pub(crate) fn control_config(
        &self,
        admin_token: Option<String>,
        admin_tls: Option<world::net::Tls>,
    ) -> control::Config {
        let address = |member: &Member| control::Address {
            wire: member.wire.clone(),
            admin: member.admin.clone(),
        };
        control::Config {
            id: self.control.id,
            group: self.cluster.name.clone(),
            members: self.cluster.members.iter().map(|m| (m.id, address(m))).collect(),
            listen: self.control.listen.clone(),
            admin_listen: self.control.admin_listen.clone(),
            admin_token,
            admin_tls,
            policy: Policy {
                silence_max: Duration::from_millis(self.control.node_silence_ms),
                replace_after: Duration::from_secs(self.control.replace_after_seconds),
                ..Policy::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_the_defaults() {
        assert_eq!(Config::parse(EXAMPLE), Config::parse(""));
        assert!(Config::parse("").is_ok());
    }

    #[test]
    fn every_commented_setting_of_the_example_is_known() {
        // Uncommenting everything that looks like a setting must still parse (and then be refused
        // only for what it says).
        let setting = |line: &str| {
            let bare = line.trim_start_matches("#: ");
            bare.to_owned()
        };
        let text: Vec<String> = EXAMPLE.lines().map(setting).collect();
        let parsed: std::result::Result<Config, _> = toml::from_str(&text.join("\n"));
        let config = parsed.unwrap();
        assert!(config.tls.is_some() && config.control.admin_token_file.is_some());
        assert!(config.node.address.is_some() && config.node.metrics_listen.is_some());
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (text, word) in [
            ("rolls = []", "rolls"),
            ("[control]\nlisten_on = 'x'", "listen_on"),
            ("roles = []", "roles"),
            ("[control]\nid = 2", "not among the members"),
            ("[control]\nnode_silence_ms = 100", "three heartbeats"),
            (
                "[[cluster.members]]\nid = 1\nwire = 'a:1'\nadmin = 'a:2'\n[[cluster.members]]\nid = 1\nwire = 'b:1'\nadmin = 'b:2'",
                "same id",
            ),
            (
                "[[cluster.members]]\nid = 1\nwire = 'a:1'\nadmin = 'a:2'\n[[cluster.members]]\nid = 2\nwire = 'b:1'\nadmin = 'b:2'",
                "1, 3 or 5",
            ),
        ] {
            let error = Config::parse(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn a_disk_may_have_watermarks_of_its_own() {
        let text = "[node]\ndisks = ['/a', { path = '/b', reserve = '2GiB', low = '9GiB' }]";
        let disks = Config::parse(text).unwrap().node.disks;
        assert_eq!(disks[0].watermarks().unwrap(), node::space::Watermarks::default());
        let chosen = node::space::Watermarks { reserve: Some(2 << 30), low: Some(9 << 30) };
        assert_eq!(disks[1].watermarks().unwrap(), chosen);
        for wrong in ["reserve = '2GiB', low = '1GiB'", "reserve = 'much'", "reserved = '1GiB'"] {
            let text = format!("[node]\ndisks = [{{ path = '/b', {wrong} }}]");
            assert!(Config::parse(&text).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_public_address_without_tls_is_refused() {
        let error = Config::parse("[node]\nlisten = '0.0.0.0:7402'").unwrap_err();
        assert!(error.contains("holdfast ca init"), "{error}");
    }
}
