//! Calls to the control plane, whichever of its members leads.

use crate::control::{Error as ControlError, ErrorKind};
use crate::error::Error;
use crate::peers::Peers;
use crate::server::{Reply, Request};
use prost::Message;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use types::limits::{CONTROL_ATTEMPT_TIMEOUT, CONTROL_SILENT_TIMEOUT};

/// The members of the control plane, as a caller sees them; cheap to clone.
#[derive(Clone, Debug)]
pub struct Members {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    peers: Peers,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    addresses: Vec<String>,
    /// Whom to ask first: the last one that answered, or was named as leader.
    first: Option<String>,
    /// Who could not be reached or did not answer since it last did, and how often in a row.
    silent: BTreeMap<String, u32>,
}

impl Members {
    /// Members that listen at `addresses`.
    #[must_use]
    pub fn new(peers: Peers, addresses: Vec<String>) -> Members {
        let state = Mutex::new(State { addresses, first: None, silent: BTreeMap::new() });
        Members { inner: Arc::new(Inner { peers, state }) }
    }

    /// Where the members listen.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.state().addresses.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().expect("no holder panics")
    }

    /// Asks the leader, trying every member at most twice, each for a short while. Who was silent
    /// before comes last, even when others still believe that it leads.
    ///
    /// # Errors
    /// The last failure, when no member answered as leader; a refusal of the leader at once.
    pub async fn call(&self, request: Request) -> Result<Reply, Error> {
        let patience = request.deadline.min(CONTROL_ATTEMPT_TIMEOUT);
        self.call_patiently(request, patience).await
    }

    /// As [`Members::call`], for what the leader takes its time to answer: a member that was not
    /// silent before is given `patience`.
    ///
    /// # Errors
    /// As [`Members::call`].
    pub async fn call_patiently(
        &self,
        request: Request,
        patience: Duration,
    ) -> Result<Reply, Error> {
        let mut last = None;
        let mut queue = self.state().order();
        let mut attempts = queue.len() * 2;
        while attempts > 0 && !queue.is_empty() {
            attempts -= 1;
            let address = queue.remove(0);
            let patience = self.state().patience(&address).unwrap_or(patience);
            let attempt = request.clone().deadline(patience);
            let result = self.inner.peers.call(&address, attempt).await;
            self.state().learn(&address, &result);
            let error = match result {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            match leader_named(&error) {
                Verdict::Refused => return Err(error),
                Verdict::Ask(leader) if !self.state().silent.contains_key(&leader) => {
                    queue.retain(|address| *address != leader);
                    queue.insert(0, leader);
                    queue.push(address);
                }
                Verdict::Ask(_) | Verdict::Next => {
                    if !self.state().silent.contains_key(&address) {
                        queue.push(address);
                    }
                }
            }
            last = Some(error);
        }
        self.state().first = None;
        Err(last.unwrap_or(Error::Unreachable {
            address: "the control plane".into(),
            reason: "no member's address is known".into(),
        }))
    }
}

impl State {
    fn order(&self) -> Vec<String> {
        let mut order: Vec<String> = self.first.iter().cloned().collect();
        order.extend(self.addresses.iter().filter(|a| Some(*a) != self.first.as_ref()).cloned());
        order.sort_by_key(|address| self.silent.contains_key(address));
        order
    }

    /// How long to wait for an answer of who did not answer the last time: little at first, more
    /// each time after that. It may be dead, or alive and slow.
    fn patience(&self, address: &str) -> Option<Duration> {
        let times = self.silent.get(address)?;
        let factor = 1_u32.checked_shl(times.saturating_sub(1)).unwrap_or(u32::MAX);
        Some(CONTROL_SILENT_TIMEOUT.saturating_mul(factor).min(CONTROL_ATTEMPT_TIMEOUT))
    }

    fn learn(&mut self, address: &str, result: &Result<Reply, Error>) {
        match result {
            Err(Error::Unreachable { .. } | Error::TimedOut { .. } | Error::Closed { .. }) => {
                let times = self.silent.entry(address.to_owned()).or_default();
                *times = times.saturating_add(1);
            }
            Err(_) => {
                self.silent.remove(address);
            }
            Ok(_) => {
                self.silent.remove(address);
                self.first = Some(address.to_owned());
            }
        }
    }
}

enum Verdict {
    /// The leader said no.
    Refused,
    /// This one leads.
    Ask(String),
    /// Ask somebody else.
    Next,
}

fn leader_named(error: &Error) -> Verdict {
    let Error::Refused { body, .. } = error else { return Verdict::Next };
    let Ok(detail) = ControlError::decode(body.clone()) else { return Verdict::Next };
    match detail.kind() {
        ErrorKind::NotLeader if !detail.leader.is_empty() => Verdict::Ask(detail.leader),
        ErrorKind::NotLeader | ErrorKind::Unavailable => Verdict::Next,
        _ => Verdict::Refused,
    }
}

/// How long to wait before asking the control plane again after `attempts` failures in a row.
#[must_use]
pub fn backoff(attempts: u32) -> Duration {
    Duration::from_millis(50 << attempts.min(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(addresses: &[&str]) -> State {
        let addresses = addresses.iter().map(|a| (*a).to_owned()).collect();
        State { addresses, first: None, silent: BTreeMap::new() }
    }

    fn silence(address: &str) -> Result<Reply, Error> {
        Err(Error::TimedOut { address: address.into(), waited_ms: 1 })
    }

    #[test]
    fn who_was_silent_comes_last_and_is_given_more_time_each_time() {
        let mut state = state(&["a", "b", "c"]);
        state.learn("a", &Ok(Reply::default()));
        assert_eq!(state.order(), ["a", "b", "c"]);
        let mut patience = Vec::new();
        for _ in 0..5 {
            patience.push(state.patience("a").map(|patience| patience.as_millis()));
            state.learn("a", &silence("a"));
        }
        assert_eq!(patience, [None, Some(200), Some(400), Some(700), Some(700)]);
        assert_eq!(state.order(), ["b", "c", "a"]);
        state.learn("a", &Ok(Reply::default()));
        assert_eq!(state.order(), ["a", "b", "c"]);
        assert_eq!(state.patience("a"), None);
    }
}
