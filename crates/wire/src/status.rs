//! How a request went, as the answering side says it.

use types::Kind;

/// Declares each status once: number, name, and what the caller should do next.
macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal, $kind:expr;)+) => {
        /// Outcome of a request. Numbers are part of the wire format and never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Status { $($(#[$doc])* $name = $number),+ }

        impl Status {
            /// Every status there is.
            pub const ALL: &[Status] = &[$(Status::$name),+];

            /// The status of a number from the wire; one we do not know is [`Status::Internal`].
            #[must_use]
            pub fn from_number(number: u16) -> Status {
                match number { $($number => Status::$name,)+ _ => Status::Internal }
            }

            /// The name used in logs and metrics.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Status::$name => $text),+ }
            }

            /// What to do next; `None` when all went well.
            #[must_use]
            pub fn kind(self) -> Option<Kind> {
                match self { $(Status::$name => $kind),+ }
            }
        }
    };
}

statuses! {
    /// Done.
    Ok = 0, "ok", None;
    /// This node does not lead the partition, or not yet; nothing happened.
    NotLeader = 1, "not-leader", Some(Kind::Reroute);
    /// This node holds no replica of the partition; nothing happened.
    NoPartition = 2, "no-partition", Some(Kind::Reroute);
    /// Too much is in flight; nothing happened.
    Busy = 3, "busy", Some(Kind::Retry);
    /// Too few replicas are in sync; nothing happened.
    UnderReplicated = 4, "under-replicated", Some(Kind::Retry);
    /// There is no room; nothing happened.
    NoSpace = 5, "no-space", Some(Kind::WaitForSpace);
    /// Every copy is damaged.
    Damaged = 6, "damaged", Some(Kind::Damaged);
    /// The request was begun and its end is not known.
    Unknown = 7, "unknown", Some(Kind::Unknown);
    /// The deadline passed before the request was begun; nothing happened.
    Expired = 8, "expired", Some(Kind::Retry);
    /// The request is malformed or breaks a limit; nothing happened.
    Invalid = 9, "invalid", Some(Kind::GiveUp);
    /// The volume was deleted.
    Deleted = 10, "deleted", Some(Kind::Deleted);
    /// There is no such thing; nothing happened.
    NotFound = 11, "not-found", Some(Kind::GiveUp);
    /// The state has moved on: the body holds the newer one; nothing happened.
    Conflict = 12, "conflict", Some(Kind::Reroute);
    /// The operation is not one this service knows; nothing happened.
    Unsupported = 13, "unsupported", Some(Kind::GiveUp);
    /// The service is stopping; nothing happened.
    Stopping = 14, "stopping", Some(Kind::Reroute);
    /// The object was deleted for good; nothing happened.
    Gone = 15, "gone", Some(Kind::GiveUp);
    /// The service failed in a way it has no word for.
    Internal = 16, "internal", Some(Kind::Unknown);
    /// No token, or one that is not good (any more) for this volume; nothing happened.
    Denied = 17, "denied", Some(Kind::Denied);
    /// The token gives no right to change anything; nothing happened.
    ReadOnly = 18, "read-only", Some(Kind::GiveUp);
    /// This node cannot tell at the moment whether the token is good; nothing happened.
    AccessUnknown = 19, "access-unknown", Some(Kind::Reroute);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_survives_the_wire_and_a_strange_one_is_internal() {
        for status in Status::ALL {
            assert_eq!(Status::from_number(*status as u16), *status);
        }
        assert_eq!(Status::from_number(999), Status::Internal);
    }
}
