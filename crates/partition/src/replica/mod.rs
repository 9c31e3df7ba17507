//! The replication engine: one replica of one partition, as a pure state machine.

mod effect;
mod entry;
mod event;
mod history;
mod message;
mod persisted;
mod status;

pub use effect::{Answer, Change, Effect, Refusal, RemoveReason};
pub use entry::{Entry, EntryBody, KIND_BARRIER, Position};
pub use event::Event;
pub use history::History;
pub use message::{Ack, Append, Message, Reject};
pub use persisted::Persisted;
pub use status::{Failure, FollowerStatus, RoleName, Status};
