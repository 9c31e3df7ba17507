//! Replicas that are on a disk and cannot be used: what is known of them, and what is said for them.
//!
//! They take no part in anything, with one exception: a leader that cannot prove its own log asks all
//! others what they have, and would wait for ever for one whose log is lost. That is said here.

use super::NodeLoop;
use crate::codec::{self, Native};
use crate::replica::{self, Found, Home};
use partition::replica::Message;
use std::sync::Weak;
use types::{Configuration, DiskId, PartitionId};
use wire::control::ReplicaState;
use wire::{Operation, Request};

/// A replica that cannot be used until it is made anew, or the node starts again.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) found: Found,
    pub(super) disk: DiskId,
    pub(super) reason: String,
    /// What it had is not all there any more.
    pub(super) is_damaged: bool,
    /// No other replica was in sync when it was last well.
    pub(super) was_alone: bool,
    /// There was no room to open it, and nothing else is wrong.
    pub(super) wants_room: bool,
    /// Records of its log are gone for good; the configuration in which they were.
    log_lost: Option<Configuration>,
    /// Alive while something may still write to its index.
    pub(super) writing: Weak<()>,
}

impl Broken {
    /// A replica that could not be opened.
    pub(super) fn unopened(home: &Home, found: Found, error: &replica::Error) -> Broken {
        let known = replica::configuration_of(&home.disk, found);
        let alone = |c: &Configuration| c.in_sync.iter().all(|id| *id == found.replica);
        Broken {
            found,
            disk: home.disk_id,
            reason: error.to_string(),
            is_damaged: error.is_damage(),
            was_alone: known.as_ref().is_some_and(alone),
            wants_room: error.is_no_space(),
            log_lost: known.filter(|_| error.lacks_log()),
            writing: Weak::new(),
        }
    }

    /// A replica that failed while it was in use.
    pub(super) fn failed(holder: &replica::Holder, found: Found) -> Broken {
        Broken {
            found,
            disk: holder.disk_id,
            reason: holder.failed.clone().unwrap_or_default(),
            is_damaged: holder.is_damaged,
            was_alone: !holder.has_others_in_sync(),
            wants_room: false,
            // How much of its log is there shows when it is opened again.
            log_lost: None,
            writing: holder.writing(),
        }
    }

    pub(super) fn state(&self) -> ReplicaState {
        if self.wants_room { ReplicaState::Full } else { ReplicaState::Failed }
    }
}

impl NodeLoop {
    /// Tells a leader that compares logs that this one is lost.
    pub(super) fn answer_for_broken(&self, partition: PartitionId, native: &Native) {
        let Message::Compare { epoch, stamp } = native.message else { return };
        let broken = self.broken.get(&native.to).filter(|b| b.found.partition == partition);
        let Some(broken) = broken else { return };
        let asks = |c: &Configuration| Some(c.member(native.from)?.node);
        let leader = broken.log_lost.as_ref().and_then(asks);
        let Some(address) = leader.and_then(|node| self.context.address(node)) else { return };
        let answer = Message::Compared { epoch, stamp, life: 0, last: None };
        let request = Request::new(Operation::Replicate).partition(partition).epoch(epoch);
        let (body, payload) = codec::encode(native.to, native.from, &answer);
        self.context.peers.send(&address, request.message(&body).payload(payload));
    }
}
