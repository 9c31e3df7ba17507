//! What a command did.

use super::{Attributes, Failure, Placement};

/// How a command ended: a change, or a refusal that changed nothing.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Outcome {
    #[prost(
        oneof = "outcome_body::OutcomeBody",
        tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13"
    )]
    pub body: Option<outcome_body::OutcomeBody>,
    /// The folders in which names changed, as they were right after. Said in answers only: it is no part
    /// of what is remembered.
    #[prost(message, repeated, tag = "14")]
    pub folders: Vec<Attributes>,
}

pub mod outcome_body {
    //! The forms an outcome may take.

    use super::*;

    /// One form per family of command; `Failure` may end any of them.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum OutcomeBody {
        #[prost(message, tag = "1")]
        Failure(Failure),
        /// Nothing to say beyond that it was done.
        #[prost(message, tag = "2")]
        Done(Done),
        #[prost(message, tag = "3")]
        Created(Created),
        #[prost(message, tag = "4")]
        Linked(Linked),
        #[prost(message, tag = "5")]
        Unlinked(Unlinked),
        #[prost(message, tag = "6")]
        Renamed(Renamed),
        /// `SetAttributes`, `SetXattr`, `RemoveXattr`, `DropChunks`.
        #[prost(message, tag = "7")]
        Changed(Changed),
        #[prost(message, tag = "8")]
        Placed(Placed),
        #[prost(message, tag = "9")]
        Committed(Committed),
        #[prost(message, tag = "10")]
        Opened(Opened),
        #[prost(message, tag = "11")]
        Delegated(Delegated),
        #[prost(message, tag = "12")]
        Reserved(Reserved),
        #[prost(message, tag = "13")]
        Purged(Purged),
    }
}

use outcome_body::OutcomeBody;

impl Outcome {
    /// It was done.
    #[must_use]
    pub fn done() -> Outcome {
        OutcomeBody::Done(Done {}).into()
    }

    /// The body, or the refusal. An outcome of a kind this version does not know is a refusal too.
    ///
    /// # Errors
    /// The refusal.
    pub fn into_result(self) -> Result<OutcomeBody, Failure> {
        match self.body {
            Some(OutcomeBody::Failure(failure)) => Err(failure),
            Some(body) => Ok(body),
            None => Err(Failure::new(super::FailureKind::Unknown)),
        }
    }

    /// The refusal, when it is one.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match &self.body {
            Some(OutcomeBody::Failure(failure)) => Some(failure),
            _ => None,
        }
    }
}

impl From<OutcomeBody> for Outcome {
    fn from(body: OutcomeBody) -> Outcome {
        Outcome { body: Some(body), folders: Vec::new() }
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Outcome {
        OutcomeBody::Failure(failure).into()
    }
}

/// Nothing to say.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Done {}

/// What `Create` made or found.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Created {
    #[prost(message, optional, tag = "1")]
    pub attributes: Option<Attributes>,
    /// The name was there before; nothing was made.
    #[prost(bool, tag = "2")]
    pub existed: bool,
    /// The parent's version after it. Its mtime and ctime are the new inode's ctime.
    #[prost(uint64, tag = "3")]
    pub parent_version: u64,
}

/// What `Link` left behind.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Linked {
    #[prost(message, optional, tag = "1")]
    pub attributes: Option<Attributes>,
    #[prost(uint64, tag = "2")]
    pub parent_version: u64,
}

/// What `Unlink` left behind.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Unlinked {
    /// The inode that lost the name; with `nlink` 0 it is an orphan now.
    #[prost(message, optional, tag = "1")]
    pub attributes: Option<Attributes>,
    #[prost(uint64, tag = "2")]
    pub parent_version: u64,
}

/// What `Rename` left behind.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Renamed {
    /// The inode that moved.
    #[prost(message, optional, tag = "1")]
    pub moved: Option<Attributes>,
    /// The inode that was at the target: exchanged, or one name less (with `nlink` 0 an orphan now).
    #[prost(message, optional, tag = "2")]
    pub replaced: Option<Attributes>,
    #[prost(uint64, tag = "3")]
    pub parent_version: u64,
    #[prost(uint64, tag = "4")]
    pub new_parent_version: u64,
}

/// The attributes after a change.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Changed {
    #[prost(message, optional, tag = "1")]
    pub attributes: Option<Attributes>,
}

/// Where the chunks asked for live, in the order they were asked for.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Placed {
    #[prost(message, repeated, tag = "1")]
    pub placements: Vec<Placement>,
}

/// One result per item, in order.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Committed {
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<CommittedItem>,
}

/// The file after its commit, or why it was refused.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CommittedItem {
    #[prost(message, optional, tag = "1")]
    pub attributes: Option<Attributes>,
    #[prost(message, optional, tag = "2")]
    pub failure: Option<Failure>,
}

/// The session that began.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Opened {
    #[prost(uint64, tag = "1")]
    pub session: u64,
}

/// The delegation was granted (or was held already); the file as it is now.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Delegated {
    #[prost(message, optional, tag = "1")]
    pub attributes: Option<Attributes>,
}

/// What the session has reserved now.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Reserved {
    #[prost(uint64, tag = "1")]
    pub bytes: u64,
    /// What is left in the volume.
    #[prost(uint64, tag = "2")]
    pub available: u64,
}

/// What `Purge` removed; inodes that are no orphans are left alone and not counted.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Purged {
    #[prost(uint64, tag = "1")]
    pub inodes: u64,
    #[prost(uint64, tag = "2")]
    pub bytes: u64,
}
