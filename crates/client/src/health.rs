//! How well a volume can be used from here, in the words that logs, metrics and probes share.
//!
//! | word | what it means | what applications meet |
//! | --- | --- | --- |
//! | ok | requests are answered | nothing |
//! | transient | some requests are not answered, and are tried again | they wait, or get an error once the budget is spent |
//! | degraded | too few replicas are in sync to take writes | reads work, writes wait |
//! | permanent | the volume is being deleted, or was | errors |
//!
//! A trouble counts once it lasts longer than [`TROUBLE_SHOWN_AFTER`]: a failover is shorter. Losing
//! the control plane alone is no trouble here: what is served goes on being served.

use crate::life::Life;
use crate::{Error, Volume};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use types::limits::TROUBLE_SHOWN_AFTER;
use types::{InodeId, Moment};
use wire::Status;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    Ok,
    /// It serves reads only.
    Degraded,
    /// It does not answer at the moment.
    Transient,
    /// It does not come back.
    Permanent,
}

impl Grade {
    /// All of them, the best first.
    pub const ALL: [Grade; 4] = [Grade::Ok, Grade::Degraded, Grade::Transient, Grade::Permanent];

    /// The word for people and programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Grade::Ok => "ok",
            Grade::Degraded => "degraded",
            Grade::Transient => "transient",
            Grade::Permanent => "permanent",
        }
    }
}

/// How a volume is, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub grade: Grade,
    /// A sentence for people; empty when all is well.
    pub reason: String,
    /// For how long no request for data or names was answered, while there were some.
    pub unanswered: Duration,
    /// For how long nothing was heard of the control plane.
    pub control_silent: Duration,
}

/// What is needed to tell, kept up to date by every request.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// When a request for data or names was last answered.
    answered: AtomicU64,
    /// When the control plane last said something of the volume.
    heard: AtomicU64,
    /// A request has failed since the last one was answered.
    failing: AtomicBool,
    troubles: Mutex<Troubles>,
}

#[derive(Debug, Default)]
struct Troubles {
    ticket_next: u64,
    /// Requests that failed and are tried again.
    requests: BTreeMap<u64, Trouble>,
}

#[derive(Debug)]
struct Trouble {
    since: Moment,
    last: String,
    /// It is refused for want of replicas, not unanswered.
    under_replicated: bool,
}

/// A request in trouble; out of it when this is dropped.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    pulse: &'a Pulse,
    number: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.pulse.troubles().requests.remove(&self.number);
    }
}

impl Pulse {
    pub(crate) fn new(now: Moment) -> Pulse {
        Pulse {
            answered: AtomicU64::new(now.0),
            heard: AtomicU64::new(now.0),
            failing: AtomicBool::new(false),
            troubles: Mutex::default(),
        }
    }

    fn troubles(&self) -> MutexGuard<'_, Troubles> {
        self.troubles.lock().expect("no holder panics")
    }

    /// Somebody answered, whatever the answer.
    pub(crate) fn answered(&self, now: Moment) {
        self.answered.store(now.0, Ordering::Relaxed);
        self.failing.store(false, Ordering::Relaxed);
    }

    /// The control plane said something.
    pub(crate) fn heard(&self, now: Moment) {
        self.heard.store(now.0, Ordering::Relaxed);
    }

    /// A request failed for the first time.
    pub(crate) fn begin_trouble(&self, now: Moment) -> Ticket<'_> {
        self.failing.store(true, Ordering::Relaxed);
        let mut troubles = self.troubles();
        let number = troubles.ticket_next;
        troubles.ticket_next += 1;
        let trouble = Trouble { since: now, last: String::new(), under_replicated: false };
        troubles.requests.insert(number, trouble);
        Ticket { pulse: self, number }
    }

    fn look(&self, life: Life, now: Moment) -> Health {
        let since = |at: &AtomicU64| now.since(Moment(at.load(Ordering::Relaxed)));
        let failing = self.failing.load(Ordering::Relaxed);
        let unanswered = if failing { since(&self.answered) } else { Duration::ZERO };
        let (grade, reason) = match life {
            Life::Deleted => (Grade::Permanent, "the volume was deleted".to_owned()),
            Life::Deleting { purge_at } => {
                (Grade::Permanent, format!("the volume is being deleted, for good at {purge_at}"))
            }
            Life::Revoked(revocation) => {
                (Grade::Permanent, format!("access revoked: {}", revocation.sentence()))
            }
            Life::Live => self.grade(unanswered, now),
        };
        Health { grade, reason, unanswered, control_silent: since(&self.heard) }
    }

    fn grade(&self, unanswered: Duration, now: Moment) -> (Grade, String) {
        let troubles = self.troubles();
        let lasting = troubles.requests.values();
        let lasting = lasting.filter(|trouble| now.since(trouble.since) >= TROUBLE_SHOWN_AFTER);
        let worst = lasting.max_by_key(|trouble| !trouble.under_replicated);
        match worst {
            Some(trouble) if trouble.under_replicated => (Grade::Degraded, trouble.last.clone()),
            Some(trouble) => (Grade::Transient, trouble.last.clone()),
            None if unanswered >= TROUBLE_SHOWN_AFTER => {
                (Grade::Transient, "the cluster does not answer".to_owned())
            }
            None => (Grade::Ok, String::new()),
        }
    }
}

impl Ticket<'_> {
    /// It failed once more.
    pub(crate) fn note(&self, error: &wire::Error) {
        let mut troubles = self.pulse.troubles();
        if let Some(trouble) = troubles.requests.get_mut(&self.number) {
            trouble.last = error.to_string();
            trouble.under_replicated = error.status() == Some(Status::UnderReplicated);
        }
    }
}

/// What became of bytes that were buffered.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    landed: AtomicU64,
    lost: Mutex<Lost>,
}

/// What was buffered and could not be brought to the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    pub bytes: u64,
    /// Of these files; of very many, some.
    pub files: BTreeSet<InodeId>,
}

/// Most files that are remembered by number.
const LOST_FILES_MAX: usize = 1_000;

impl Ledger {
    pub(crate) fn landed(&self, bytes: u64) {
        self.landed.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes are lost, with `error`. That of a full volume is for the application alone.
    pub(crate) fn lost(&self, file: InodeId, bytes: u64, error: &Error) {
        if matches!(error, Error::NoSpace) {
            return;
        }
        let mut lost = self.lost.lock().expect("no holder panics");
        lost.bytes += bytes;
        if lost.files.len() < LOST_FILES_MAX {
            lost.files.insert(file);
        }
    }
}

impl Volume {
    /// How well it can be used at this moment.
    #[must_use]
    pub fn health(&self) -> Health {
        self.inner.pulse.look(self.life(), self.client().world.now())
    }

    /// Bytes that were buffered and reached the cluster, since it was opened.
    #[must_use]
    pub fn landed_bytes(&self) -> u64 {
        self.inner.ledger.landed.load(Ordering::Relaxed)
    }

    /// What was buffered and did not reach the cluster, since it was opened.
    #[must_use]
    pub fn lost(&self) -> Lost {
        self.inner.ledger.lost.lock().expect("no holder panics").clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::Timestamp;

    const LONG: Duration = Duration::from_secs(3);

    fn refused(status: Status) -> wire::Error {
        wire::Error::Refused { status, message: "so".into(), body: bytes::Bytes::new() }
    }

    #[test]
    fn troubles_are_graded_once_they_last() {
        let begin = Moment(0);
        let pulse = Pulse::new(begin);
        let grade = |now| pulse.look(Life::Live, now).grade;
        assert_eq!(grade(begin + LONG), Grade::Ok, "nobody asked anything");
        let writing = pulse.begin_trouble(begin);
        writing.note(&refused(Status::UnderReplicated));
        assert_eq!(grade(begin), Grade::Ok, "a failover is shorter");
        assert_eq!(grade(begin + LONG), Grade::Degraded);
        let reading = pulse.begin_trouble(begin);
        reading.note(&wire::Error::Unreachable { address: "a".into(), reason: "b".into() });
        assert_eq!(grade(begin + LONG), Grade::Transient);
        assert_eq!(pulse.look(Life::Live, begin + LONG).unanswered, LONG);
        drop(reading);
        assert_eq!(grade(begin + LONG), Grade::Degraded);
        drop(writing);
        assert_eq!(grade(begin + LONG), Grade::Transient, "nothing was answered since");
        pulse.answered(begin + LONG);
        let health = pulse.look(Life::Live, begin + LONG * 2);
        assert_eq!((health.grade, health.unanswered), (Grade::Ok, Duration::ZERO));
        assert_eq!(health.control_silent, LONG * 2);
        let deleting = Life::Deleting { purge_at: Timestamp(0) };
        assert_eq!(pulse.look(deleting, begin).grade, Grade::Permanent);
        assert_eq!(pulse.look(Life::Deleted, begin).grade, Grade::Permanent);
    }

    #[test]
    fn what_is_lost_is_remembered_by_file_but_for_want_of_space() {
        let ledger = Ledger::default();
        ledger.lost(InodeId(5), 10, &Error::NoSpace);
        ledger.lost(InodeId(7), 20, &Error::Deleted);
        ledger.lost(InodeId(7), 1, &Error::Deleted);
        let lost = ledger.lost.lock().unwrap().clone();
        assert_eq!(lost, Lost { bytes: 21, files: [InodeId(7)].into() });
    }
}
