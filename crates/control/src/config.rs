//! What a member is told when it starts.

use crate::plan::Policy;
use std::collections::BTreeMap;

/// Where a member of the group is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `host:port` of its wire listener, as others reach it.
    pub wire: String,
    /// `host:port` of its admin API, as people reach it.
    pub admin: String,
}

/// How one member runs. Whoever reads it from a file has checked that listening there is safe.
#[derive(Clone, Debug)]
pub struct Config {
    /// Number of this member within the group.
    pub id: u64,
    /// Name of the group; the same on all members.
    pub group: String,
    /// All 1, 3 or 5 members, this one too, by number. Their addresses may change between starts;
    /// the numbers may not.
    pub members: BTreeMap<u64, Address>,
    /// Where to listen for nodes, clients and members; port 0 picks a free one.
    pub listen: String,
    /// Where to listen for people; port 0 picks a free one.
    pub admin_listen: String,
    /// What people must show; `None` lets everybody in.
    pub admin_token: Option<String>,
    /// Certificate to show to people; `None` speaks plain HTTP.
    pub admin_tls: Option<world::net::Tls>,
    pub policy: Policy,
}

impl Config {
    /// A group of one that lives in this process and listens where there is room, on loopback.
    #[must_use]
    pub fn alone(admin_listen: &str) -> Config {
        let listen = "127.0.0.1:0".to_owned();
        let address = Address { wire: listen.clone(), admin: admin_listen.to_owned() };
        Config {
            id: 1,
            group: "holdfast".to_owned(),
            members: BTreeMap::from([(1, address)]),
            listen,
            admin_listen: admin_listen.to_owned(),
            admin_token: None,
            admin_tls: None,
            policy: Policy::default(),
        }
    }

    /// Says what is wrong with the group.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn check(&self) -> Result<(), String> {
        let count = self.members.len();
        if !matches!(count, 1 | 3 | 5) {
            return Err(format!("a control plane has 1, 3 or 5 members, and {count} are listed"));
        }
        if !self.members.contains_key(&self.id) {
            return Err(format!("this member's number {} is not among the members", self.id));
        }
        if self.members.contains_key(&0) {
            return Err("members are numbered from 1".to_owned());
        }
        if self.admin_token.as_deref() == Some("") {
            return Err("an empty admin token lets everybody in".to_owned());
        }
        Ok(())
    }
}
