//! What a replica is at a moment: facts that every role has ([`Core`]), and the role.
//!
//! ```text
//!                     a newer epoch: persist it first, then
//!          .---------------------+--------------------.-----------------.
//!          v                     v                    v                 v
//!   +-------------+  append  +-----------+      +-------------+    +---------+
//!   |   Waiting   |--------->| Following |      |   Leading   |    | Retired |
//!   +-------------+          +-----------+      | Comparing   |    +---------+
//!          ^                                    |   v         |
//!          |   disk failed, newer epoch seen,   | Reconciling |
//!          +------ another log knows more ------|   v         |
//!                                               | Serving     |
//!                                               +-------------+
//! ```
//!
//! | role | takes appends | orders writes | serves reads | may be appointed |
//! | --- | --- | --- | --- | --- |
//! | Waiting | of its epoch's leader, and then follows | no | no | yes |
//! | Following | of its leader | no | no | yes; serves when its promise has run out |
//! | Leading, Comparing | no | no | no | is |
//! | Leading, Reconciling | no | its barrier only | no | is |
//! | Leading, Serving | no | yes | while it holds every lease | is |
//! | Retired | no | no | no | no |
//!
//! A replica leads an epoch only from the moment it has persisted it until it stops for whatever
//! reason; it never leads the same epoch twice, and a restart is a stop. That is why an epoch and
//! a place name one entry only.

use super::effect::Effect;
use super::follower::Following;
use super::leader::Leading;
use super::lease::Grant;
use super::log::Log;
use super::message::Message;
use super::status::{Failure, Room};
use types::{Configuration, Epoch, ReplicaId};

/// What a replica knows whatever its role.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) me: ReplicaId,
    pub(super) life: u64,
    /// The newest epoch on disk; the one this replica acts in.
    pub(super) epoch: Epoch,
    /// The newest configuration known, of `epoch` or older.
    pub(super) configuration: Option<Configuration>,
    pub(super) log: Log,
    pub(super) grant: Grant,
    pub(super) proven: bool,
    pub(super) failure: Option<Failure>,
    pub(super) room: Room,
}

impl Core {
    /// The configuration, when it is the one of the epoch this replica acts in.
    pub(super) fn configuration_now(&self) -> Option<&Configuration> {
        self.configuration.as_ref().filter(|configuration| configuration.epoch == self.epoch)
    }

    /// Notes that the log now holds everything it acknowledged.
    pub(super) fn prove(&mut self, effects: &mut Vec<Effect>) {
        if !self.proven {
            self.proven = true;
            effects.push(Effect::MarkProven);
        }
    }
}

#[derive(Debug)]
pub(super) enum Role {
    Waiting,
    Following(Following),
    Leading(Box<Leading>),
    Retired,
}

/// A newer epoch that is on its way to disk. Older traffic is refused from now on, and nothing is
/// done in the new epoch yet.
#[derive(Debug)]
pub(super) struct Adopting {
    pub(super) epoch: Epoch,
    /// How the epoch was learned: from the control plane, or (`None`) from its leader.
    pub(super) configuration: Option<Configuration>,
    pub(super) leader: Option<ReplicaId>,
    /// This replica leads now, and leads in every epoch up to that one: nobody else can have
    /// written anything in between.
    pub(super) continues: bool,
    /// Messages of that epoch that came early.
    pub(super) deferred: Vec<(ReplicaId, Message)>,
}
