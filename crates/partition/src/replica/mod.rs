//! The replication engine: one replica of one partition, as a pure state machine.
//!
//! Think of a clerk who dictates a ledger to colleagues. Each line counts once all of them have
//! written it down; when one falls ill, the office, not the clerk, strikes him off the list; and
//! when the clerk falls silent, the office names another, who first makes all ledgers equal to his
//! own. What the office must never do is let two dictate at a time, and what a colleague must never
//! do is write for a clerk of an older list.
//!
//! **Promises.** An acknowledged write is never lost while one in-sync replica survives; flushed
//! (or with `Durability::Synced`), also through loss of power everywhere. Committed logs are
//! prefixes of each other. A read sees every write acknowledged before it began. A flush is
//! answered only once it was done on every in-sync disk.
//!
//! **Leaves out.** It opens nothing, sends nothing, reads no clock: [`Replica::step`] takes an
//! event and the time and says what to do. It holds no payload but what is in flight. It does not
//! know what entries mean. Who leads is decided elsewhere, with [`election::choose`].
//!
//! **Numbers that must hold.** `start <= committed + 1`, `committed <= appended <= end`,
//! `synced <= appended`; at a leader, for each follower of its present life, `synced <= matched <
//! next <= end + 1`; a committed place is at most every counted follower's `matched` when it was
//! committed.
//!
//! Where to look: roles in `state`, events in `step`, new epochs in `adopt`, the leader in
//! `leader`, `reconcile`, `feed` and `upkeep`, the follower in `follower`, promises about reading
//! in `lease`.

mod adopt;
mod effect;
pub mod election;
mod entry;
mod event;
mod feed;
mod follower;
mod history;
#[cfg(debug_assertions)]
mod invariants;
mod leader;
mod lease;
mod log;
mod message;
mod odometer;
mod persisted;
mod progress;
mod reconcile;
mod state;
mod status;
mod step;
#[cfg(test)]
mod tests;
mod upkeep;
mod window;

pub use effect::{Answer, Change, Effect, Refusal, RemoveReason};
pub use entry::{Entry, EntryBody, KIND_BARRIER, Position};
pub use event::Event;
pub use history::History;
pub use message::{Ack, Append, Message, Reject};
pub use persisted::Persisted;
pub use status::{Failure, FollowerStatus, RoleName, Room, Status};

use lease::Grant;
use log::Log;
use state::{Adopting, Core, Role};
use types::{Configuration, Epoch, Moment, ReplicaId, Sequence};

/// One replica of one partition.
#[derive(Debug)]
pub struct Replica {
    core: Core,
    role: Role,
    adopting: Option<Adopting>,
    /// A `Persist` failed, and is to be asked for again when there is room.
    unpersisted: bool,
}

impl Replica {
    /// Starts from what was found on disk; a fresh replica has an empty log, is `proven` and of
    /// epoch zero. It leads nothing until a newer epoch says so.
    #[must_use]
    pub fn recover(me: ReplicaId, persisted: Persisted, now: Moment) -> Replica {
        let log = Log::recover(&persisted);
        let fresh = persisted.epoch == Epoch::ZERO && log.last() == Position::ZERO;
        let short = persisted.applied > persisted.log_end;
        let core = Core {
            me,
            life: persisted.life,
            // An entry of an epoch proves that the epoch was taken up, whatever became of the note.
            epoch: persisted.epoch.max(log.last().epoch),
            configuration: persisted.configuration,
            log,
            // Whoever has never taken up an epoch has never promised anything.
            grant: if fresh { Grant::none() } else { Grant::assumed(now) },
            proven: persisted.proven && !short,
            failure: persisted.failure.or(short.then_some(Failure::Io)),
            room: Room::Enough,
        };
        let member = core.configuration_now().is_none_or(|c| c.member(me).is_some());
        let role = if member { Role::Waiting } else { Role::Retired };
        Replica { core, role, adopting: None, unpersisted: false }
    }

    /// What to tell the control plane.
    #[must_use]
    pub fn status(&self, now: Moment) -> Status {
        let core = &self.core;
        Status {
            role: self.role(),
            epoch: core.epoch,
            life: core.life,
            last: core.log.position(core.log.appended),
            log_start: core.log.start,
            synced: core.log.synced,
            committed: core.log.committed,
            lease_expired: core.grant.expired(now),
            proven: core.proven,
            failure: core.failure,
            followers: match &self.role {
                Role::Leading(leading) => {
                    let followers = leading.followers.iter();
                    followers.map(|(replica, progress)| progress.status(*replica, now)).collect()
                }
                _ => Vec::new(),
            },
        }
    }

    /// The newest epoch on disk, which is the one this replica acts in.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.core.epoch
    }

    /// Its role, as shown.
    #[must_use]
    pub fn role(&self) -> RoleName {
        match &self.role {
            Role::Waiting => RoleName::Waiting,
            Role::Following(_) => RoleName::Following,
            Role::Leading(leading) if leading.phase.serves() => RoleName::Leading,
            Role::Leading(_) => RoleName::Reconciling,
            Role::Retired => RoleName::Retired,
        }
    }

    /// When a `Tick` is next of use; `None` while none is. Ask again after each step.
    #[must_use]
    pub fn wake(&self, now: Moment) -> Option<Moment> {
        let Role::Leading(leading) = &self.role else { return None };
        let wake = leading.wake(&self.core, now);
        let until = self.core.grant.until();
        Some(if leading.phase.serves() || until <= now { wake } else { wake.min(until) })
    }

    /// The configuration of the epoch this replica acts in, when it knows it.
    #[must_use]
    pub fn configuration(&self) -> Option<&Configuration> {
        self.core.configuration_now()
    }

    /// Whether this replica serves as leader now.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.role() == RoleName::Leading
    }

    /// Whether it leads and must take no writes for want of room, on its own disk or on so many of its
    /// followers' that too few would be left.
    #[must_use]
    pub fn lacks_room(&self) -> bool {
        match &self.role {
            Role::Leading(leading) => leading.lacks_room(&self.core),
            _ => false,
        }
    }

    /// The place up to which the applied state may be read now, without a step: as
    /// [`Event::Read`] would be answered.
    ///
    /// # Errors
    /// Why it may not.
    pub fn readable(&self, now: Moment) -> Result<Sequence, Refusal> {
        match &self.role {
            Role::Leading(leading) => leading.readable(&self.core, now),
            _ => {
                let (leader, epoch) = (self.leader_seen(), self.core.epoch);
                Err(Refusal::NotLeader { leader, epoch })
            }
        }
    }

    /// First entries of each epoch, to be stored with the log's checkpoint.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.core.log.history
    }
}
