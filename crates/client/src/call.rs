//! One request to whoever leads a partition, until it is answered.
//!
//! What each kind of error means here:
//!
//! | kind | then |
//! | --- | --- |
//! | retry | wait a little, ask the same again |
//! | reroute | get newer routes, ask who leads now |
//! | unknown | ask again: commands carry their number, writes and trims set what they set |
//! | wait for space | give up with `NoSpace` |
//! | deleted | give up, once the control plane says the same |
//! | denied | give up, once the control plane says that access was revoked |
//! | damaged, give up | give up |

use crate::health::Ticket;
use crate::life::Life;
use crate::volume::OnOutage;
use crate::{Error, Routes, Volume};
use std::time::Duration;
use types::limits::LEADER_DOUBT_INTERVAL;
use types::{Kind, Moment, PartitionId};
use wire::{Operation, Reply, Request, Status};

impl Volume {
    /// Asks the leader of `partition`.
    pub(crate) async fn call(
        &self,
        partition: PartitionId,
        request: Request,
    ) -> Result<Reply, Error> {
        self.call_noting(partition, request, &mut false).await
    }

    /// Asks the leader of `partition`; sets `uncertain` once an attempt may have been carried out
    /// without an answer.
    pub(crate) async fn call_noting(
        &self,
        partition: PartitionId,
        request: Request,
        uncertain: &mut bool,
    ) -> Result<Reply, Error> {
        let request = request.partition(partition);
        let mut trouble: Option<Trouble<'_>> = None;
        loop {
            self.check_usable()?;
            let routes = self.router().current();
            let result = self.attempt(&routes, &request, uncertain).await;
            let now = self.client().world.now();
            let error = match result {
                Ok(reply) => {
                    self.inner.pulse.answered(now);
                    return Ok(reply);
                }
                Err(error) => error,
            };
            if let Some(permanent) = permanent(&error) {
                self.inner.pulse.answered(now);
                return Err(permanent);
            }
            *uncertain |= error.kind() == Kind::Unknown;
            let trouble = trouble.get_or_insert_with(|| {
                let ticket = self.inner.pulse.begin_trouble(now);
                Trouble { since: now, failures: 0, ticket }
            });
            trouble.note(&error, now, self.options().on_outage)?;
            if error.kind() != Kind::Retry {
                match self.router().refresh(&routes).await {
                    Ok(()) | Err(Error::Unavailable { .. }) => {}
                    Err(error) => {
                        match &error {
                            Error::Deleted => self.learn(Life::Deleted),
                            Error::Revoked(revocation) => self.learn(Life::Revoked(*revocation)),
                            _ => {}
                        }
                        return Err(error);
                    }
                }
            }
            self.client().world.sleep(trouble.pause(&error)).await;
        }
    }
}

impl Volume {
    /// Asks once.
    async fn attempt(
        &self,
        routes: &Routes,
        request: &Request,
        uncertain: &mut bool,
    ) -> Result<Reply, wire::Error> {
        let Some((address, epoch)) = routes.leader(request.partition) else {
            return Err(wire::Error::Unreachable {
                address: format!("partition {}", request.partition),
                reason: "it has no leader at the moment".into(),
            });
        };
        let asked = request.clone().epoch(epoch).access(self.options().token);
        let attempt = self.client().ask_leader(routes, &address, asked, uncertain);
        tokio::select! {
            biased;
            result = attempt => result,
            error = self.superseded(request, address.clone()) => Err(error),
        }
    }

    /// Waits until somebody else than the one at `address` leads the partition of a request that is
    /// under way. A machine without power answers nothing, and refuses nothing either; whoever was
    /// appointed in its place should not have to wait for a connection to be given up.
    async fn superseded(&self, request: &Request, address: String) -> wire::Error {
        let begun = self.client().world.now();
        loop {
            self.client().world.sleep(LEADER_DOUBT_INTERVAL).await;
            // These are meant to wait.
            if request.operation == Operation::NamespaceEvents {
                continue;
            }
            let routes = self.router().current();
            // A failure is nothing new: the request goes on until it ends by itself.
            let _ = self.router().refresh(&routes).await;
            let leader = self.router().current().leader(request.partition);
            let over = self.check_usable().is_err();
            if over || leader.is_none_or(|(current, _)| current != address) {
                let waited = self.client().world.now().since(begun);
                let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
                return wire::Error::TimedOut { address, waited_ms };
            }
        }
    }
}

/// A run of failures of one request.
struct Trouble<'a> {
    since: Moment,
    failures: u32,
    ticket: Ticket<'a>,
}

impl Trouble<'_> {
    fn note(&mut self, error: &wire::Error, now: Moment, on_outage: OnOutage) -> Result<(), Error> {
        self.failures += 1;
        self.ticket.note(error);
        let waited = now.since(self.since);
        if self.failures.is_power_of_two() && self.failures >= 8 {
            tracing::warn!(%error, failures = self.failures, ?waited, "a request does not get through");
        }
        match on_outage {
            OnOutage::Wait => Ok(()),
            OnOutage::Error { after } if waited < after => Ok(()),
            OnOutage::Error { .. } => Err(Error::Unavailable { waited, last: error.to_string() }),
        }
    }

    fn pause(&self, error: &wire::Error) -> Duration {
        // A busy leader frees its window within a round trip.
        if error.status() == Some(Status::Busy) {
            return Duration::from_micros(500 << self.failures.min(6));
        }
        Duration::from_millis(5 << self.failures.min(5))
    }
}

/// The error that waiting does not mend.
fn permanent(error: &wire::Error) -> Option<Error> {
    match error.kind() {
        // Whether it was deleted, or access revoked, the control plane is asked.
        Kind::Retry | Kind::Reroute | Kind::Unknown | Kind::Deleted | Kind::Denied => None,
        Kind::WaitForSpace => Some(Error::NoSpace),
        Kind::Damaged => Some(Error::Damaged(error.to_string())),
        Kind::GiveUp if error.status() == Some(Status::Gone) => Some(Error::Gone),
        Kind::GiveUp if error.status() == Some(Status::ReadOnly) => Some(Error::ReadOnly),
        Kind::GiveUp => Some(Error::Invalid(error.to_string())),
    }
}
