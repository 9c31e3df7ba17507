//! Calls to the control plane, whichever of its members leads.

use crate::control::{Error as ControlError, ErrorKind};
use crate::error::Error;
use crate::peers::Peers;
use crate::server::{Reply, Request};
use prost::Message;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use types::limits::CONTROL_ATTEMPT_TIMEOUT;

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
}

impl Members {
    /// Members that listen at `addresses`.
    #[must_use]
    pub fn new(peers: Peers, addresses: Vec<String>) -> Members {
        let state = Mutex::new(State { addresses, first: None });
        Members { inner: Arc::new(Inner { peers, state }) }
    }

    /// Where the members listen.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.inner.state.lock().expect("no holder panics").addresses.clone()
    }

    /// Asks the leader, trying every member at most twice, each for a short while.
    ///
    /// # Errors
    /// The last failure, when no member answered as leader; a refusal of the leader at once.
    pub async fn call(&self, request: Request) -> Result<Reply, Error> {
        let mut last = None;
        let mut queue = self.order();
        let mut attempts = queue.len() * 2;
        while attempts > 0 && !queue.is_empty() {
            attempts -= 1;
            let address = queue.remove(0);
            let attempt = request.clone().deadline(request.deadline.min(CONTROL_ATTEMPT_TIMEOUT));
            match self.inner.peers.call(&address, attempt).await {
                Ok(reply) => {
                    self.prefer(Some(address));
                    return Ok(reply);
                }
                Err(error) => match leader_named(&error) {
                    Verdict::Refused => return Err(error),
                    Verdict::Ask(leader) => {
                        queue.retain(|address| *address != leader);
                        queue.insert(0, leader);
                        queue.push(address);
                        last = Some(error);
                    }
                    Verdict::Next => {
                        queue.push(address);
                        last = Some(error);
                    }
                },
            }
        }
        self.prefer(None);
        Err(last.unwrap_or(Error::Unreachable {
            address: "the control plane".into(),
            reason: "no member's address is known".into(),
        }))
    }

    fn order(&self) -> Vec<String> {
        let state = self.inner.state.lock().expect("no holder panics");
        let mut order: Vec<String> = state.first.iter().cloned().collect();
        order.extend(state.addresses.iter().filter(|a| Some(*a) != state.first.as_ref()).cloned());
        order
    }

    fn prefer(&self, address: Option<String>) {
        self.inner.state.lock().expect("no holder panics").first = address;
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
