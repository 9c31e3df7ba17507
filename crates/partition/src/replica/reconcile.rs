//! How a new leader comes to serve.
//!
//! 1. **Comparing**, only when it cannot prove that its log is whole (it lost power): it asks every
//!    in-sync replica for its last entry, and leads only when none is ahead of its own. While it
//!    compares it writes nothing, because whatever it wrote would look newer than all the rest. A
//!    replica whose log is certainly lost is not waited for, when at least one other log was compared.
//! 2. **Reconciling**: it writes a barrier, an entry of its own epoch, and brings its log up to the
//!    barrier to every replica that counts; they cut what differs. It also waits until its own
//!    promise to the old leader has run out.
//! 3. **Serving**.
//!
//! Why the barrier: an entry of an older epoch that is held by all could still lose, after a power
//! loss everywhere, against a log whose last entry is of a newer epoch but which lacks it. With the
//! barrier on the same disks behind it, it cannot.

use super::effect::Effect;
use super::entry::{Entry, EntryBody, Position};
use super::leader::Leading;
use super::message::Message;
use super::progress::Membership;
use super::state::Core;
use std::collections::BTreeMap;
use std::sync::Arc;
use types::{Moment, ReplicaId, Sequence};

/// How far a leader has come.
#[derive(Debug)]
pub(super) enum Phase {
    /// The last entries of those in-sync replicas that have answered; `None` of one whose log is lost.
    Comparing {
        heard: BTreeMap<ReplicaId, Option<Position>>,
    },
    Reconciling {
        barrier: Sequence,
    },
    Serving,
}

/// What comparing has shown so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    /// Not everybody has answered.
    Open,
    /// Nobody knows more.
    Best,
    /// Somebody knows more, who should lead instead.
    Beaten,
}

impl Default for Phase {
    fn default() -> Phase {
        Phase::Comparing { heard: BTreeMap::new() }
    }
}

impl Phase {
    pub(super) fn serves(&self) -> bool {
        matches!(self, Phase::Serving)
    }

    /// Whether anything may be committed when all have everything up to `reached`. Moves on to
    /// serving when it is time.
    pub(super) fn may_commit(&mut self, reached: Sequence, grant_expired: bool) -> bool {
        if let Phase::Reconciling { barrier } = self
            && reached >= *barrier
            && grant_expired
        {
            *self = Phase::Serving;
        }
        self.serves()
    }
}

impl Leading {
    /// Takes the first step after the appointment.
    pub(super) fn begin(&mut self, core: &mut Core, now: Moment, effects: &mut Vec<Effect>) {
        if core.proven || self.comparison(core) == Comparison::Best {
            self.write_barrier(core, now, effects);
        }
        self.greet(core, now, effects);
    }

    /// Speaks to everybody for the first time in this epoch.
    pub(super) fn greet(&mut self, core: &Core, now: Moment, effects: &mut Vec<Effect>) {
        if let Phase::Comparing { heard } = &mut self.phase {
            heard.clear();
            return self.ask(core, now, effects);
        }
        let followers: Vec<ReplicaId> = self.followers.keys().copied().collect();
        for replica in followers {
            self.renew(core, now, replica, effects);
        }
    }

    /// Asks those for their last entry who have not said.
    pub(super) fn ask(&mut self, core: &Core, now: Moment, effects: &mut Vec<Effect>) {
        let Phase::Comparing { heard } = &self.phase else { return };
        for (replica, progress) in &mut self.followers {
            if progress.membership == Membership::InSync && !heard.contains_key(replica) {
                progress.sent_at = now;
                let message = Message::Compare { epoch: core.epoch, stamp: now.0 };
                effects.push(Effect::Send { to: *replica, message });
            }
        }
    }

    /// An in-sync replica has said what its last entry is.
    pub(super) fn on_compared(
        &mut self,
        core: &mut Core,
        now: Moment,
        from: ReplicaId,
        last: Option<Position>,
        effects: &mut Vec<Effect>,
    ) -> Comparison {
        let Phase::Comparing { heard } = &mut self.phase else { return Comparison::Open };
        heard.insert(from, last);
        let comparison = self.comparison(core);
        if comparison == Comparison::Best {
            self.write_barrier(core, now, effects);
            self.greet(core, now, effects);
        }
        comparison
    }

    fn comparison(&self, core: &Core) -> Comparison {
        let Phase::Comparing { heard } = &self.phase else { return Comparison::Open };
        let mine = core.log.last();
        if heard.values().flatten().any(|theirs| *theirs > mine) {
            return Comparison::Beaten;
        }
        let in_sync = |replica| self.followers[replica].membership == Membership::InSync;
        let open = self.followers.keys().any(|r| in_sync(r) && !heard.contains_key(r));
        // Damage at the end of a log looks like a write that power cut short, here too: where one log
        // is known to be damaged, one other alone is not trusted.
        let alone = heard.values().any(Option::is_none) && heard.values().all(Option::is_none);
        if open || alone { Comparison::Open } else { Comparison::Best }
    }

    /// Orders the first entry of this epoch. From here on this log is the measure.
    fn write_barrier(&mut self, core: &mut Core, now: Moment, effects: &mut Vec<Effect>) {
        core.prove(effects);
        let sequence = core.log.end.next();
        let entry = Entry { epoch: core.epoch, sequence, body: EntryBody::barrier() };
        self.phase = Phase::Reconciling { barrier: sequence };
        self.window.push(entry.clone());
        self.order(core, now, Arc::from([entry]), effects);
    }
}
