//! Sessions between a node and others, as people see them.

use serde::{Deserialize, Serialize};
use wire::Class;
use wire::control::SessionReport;

/// Sessions from a node to one address in one class, since its process started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionView {
    pub address: String,
    /// `control`, `foreground` or `background`.
    pub class: String,
    /// Open now.
    pub open: u64,
    pub opened: u64,
    /// Requests that wait for an answer now.
    pub in_flight: u64,
    pub requests: u64,
    /// Replies that answered no request: each closed its session, and was given to nobody.
    pub mismatched: u64,
    pub cancelled: u64,
    pub timed_out: u64,
    pub malformed: u64,
}

impl From<SessionReport> for SessionView {
    fn from(from: SessionReport) -> SessionView {
        let class = u8::try_from(from.class).ok().and_then(Class::from_number);
        SessionView {
            address: from.address,
            class: match class {
                Some(Class::Control) => "control",
                Some(Class::Foreground) => "foreground",
                Some(Class::Background) => "background",
                None => "unknown",
            }
            .to_owned(),
            open: from.open,
            opened: from.opened,
            in_flight: from.in_flight,
            requests: from.requests,
            mismatched: from.mismatched,
            cancelled: from.cancelled,
            timed_out: from.timed_out,
            malformed: from.malformed,
        }
    }
}
