//! What people are shown: computed, never stored.
//!
//! Each view is a pure function of what is on record and what the nodes reported, together with how
//! old that is. Where no fresh report says otherwise the status is *unknown*: the last known value
//! is never shown as the present one. The structs here are the admin API's JSON; their field names
//! are relied on, so fields are only ever added. Times are RFC 3339, sizes are bytes, ages are
//! milliseconds.

pub mod client;
pub mod computed;
pub mod condition;
pub mod node;
pub mod operation;
pub mod partition;
pub mod session;
pub mod token;
pub mod volume;

#[cfg(test)]
mod tests;

pub use client::{ClientView, ClientsView};
pub use condition::ConditionView;
pub use node::{DiskStatus, DiskView, NodeStatus, NodeView};
pub use operation::{ItemView, LockView, OperationView, PlanView, ResidueView};
pub use partition::{PartitionStatus, PartitionView, ReplicaView};
pub use session::SessionView;
pub use token::{CreatedToken, TokenView};
pub use volume::{VolumeStatus, VolumeView};

use crate::detect::{Detector, NodeReport};
use crate::state::State;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use types::{Moment, NodeId};

/// Declares a status: its words, in the order from best to worst.
macro_rules! status {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident => $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash,
            serde::Serialize, serde::Deserialize,
        )]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(match self { $($name::$variant => $word),+ })
            }
        }
    };
}
pub(crate) use status;

/// Everything a view is computed from.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    pub state: &'a State,
    /// What the nodes said; `None` on a member that does not lead, which nobody reports to.
    pub detector: Option<&'a Detector>,
    pub now: Moment,
    /// A report older than this is no evidence.
    pub fresh_max: Duration,
}

impl<'a> Sight<'a> {
    /// The last report of the node's present life, and its age, however old.
    #[must_use]
    pub fn report(&self, node: NodeId) -> Option<(&'a NodeReport, Duration)> {
        let record = self.state.nodes.get(&node)?;
        let report = self.detector?.report(node, record.boot)?;
        Some((report, self.now.since(report.at)))
    }

    /// The last report of the node, and its age, when it counts as evidence.
    #[must_use]
    pub fn fresh(&self, node: NodeId) -> Option<(&'a NodeReport, Duration)> {
        self.report(node).filter(|(_, age)| *age < self.fresh_max)
    }
}

pub(crate) fn millis(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}

/// Who answered, and how old what it knows is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The member whose knowledge this is.
    pub member: u64,
    /// The leader, as far as that member knows.
    pub leader: Option<u64>,
    /// Index of the last command that is in it.
    pub revision: u64,
    /// When it was put together.
    pub at: String,
    /// How old its record may be: 0 on the leader, on others the time since the leader was last
    /// heard of; `null` when it never was.
    pub age_ms: Option<u64>,
}

/// A list, and whose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List<T> {
    pub view: Source,
    pub items: Vec<T>,
}

/// One thing, and by whose word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item<T> {
    pub view: Source,
    pub item: T,
}

status! {
    /// A member of the control plane, as the answering member knows it.
    MemberStatus {
        /// It leads.
        Leader => "leader",
        /// It follows the leader, and answered lately.
        Follower => "follower",
        /// Its disk has no room: it does not vote or lead until it has.
        Full => "full",
        /// It has not answered the leader lately.
        Silent => "silent",
        /// This member cannot tell.
        Unknown => "unknown",
    }
}

/// A member of the control plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberView {
    pub id: u64,
    pub status: MemberStatus,
    /// `host:port` for nodes, clients and members.
    pub wire: String,
    /// `host:port` for people.
    pub admin: String,
    /// How many entries of the log it is known to be behind the leader.
    pub behind: Option<u64>,
}

/// How many there are of each status, worst first.
pub type Tally = std::collections::BTreeMap<String, usize>;

/// The whole cluster at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// `null` until the first leader named it.
    pub cluster: Option<String>,
    /// Version of the program that answered.
    pub version: String,
    pub members: Vec<MemberView>,
    pub nodes: Tally,
    pub disks: Tally,
    pub volumes: Tally,
    pub partitions: Tally,
    /// What should be done and cannot, and why. `null` when this member cannot tell.
    pub residue: Option<Vec<String>>,
    /// Every condition on record that is not well, worst first.
    #[serde(default)]
    pub unwell: Vec<ConditionView>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventView {
    pub cursor: u64,
    pub at: String,
    pub kind: String,
    pub subject: String,
    pub from: String,
    pub to: String,
    pub message: String,
}

/// What happened after a cursor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsView {
    /// Where to go on from; the same for every member.
    pub cursor: u64,
    pub events: Vec<EventView>,
}

/// Counts statuses.
pub fn tally(statuses: impl Iterator<Item = impl ToString>) -> Tally {
    let mut tally = Tally::new();
    for status in statuses {
        *tally.entry(status.to_string()).or_default() += 1;
    }
    tally
}
