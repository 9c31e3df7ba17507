//! What a namespace's leader and the clients of its volume tell each other unasked.
//!
//! Each client session keeps one request waiting at the leader. The leader answers when it has
//! something for that session, and after [`types::limits::EVENTS_WAIT_MAX`] at the latest; the
//! client then asks again, and says with that what it has to say about the last answer.

/// "Tell me what concerns me", and the answer to what was asked last.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Poll {
    #[prost(uint64, tag = "1")]
    pub session: u64,
    /// The epoch and number of the question that `held` answers; zeros when there was none.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    #[prost(uint64, tag = "3")]
    pub question: u64,
    /// Those of the orphans asked about that this client holds open.
    #[prost(uint64, repeated, tag = "4")]
    pub held: Vec<u64>,
    /// Whether this client wants to hear which names others change.
    #[prost(bool, tag = "5")]
    pub follows_names: bool,
    /// The epoch of the changes that it has heard of, and the number of the last one; zeros at first.
    #[prost(uint64, tag = "6")]
    pub names_epoch: u64,
    #[prost(uint64, tag = "7")]
    pub names_upto: u64,
}

/// What concerns the session.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Events {
    /// In which epoch the question was asked; only this epoch's leader understands its answer.
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// Number of the question; zero when nothing is asked.
    #[prost(uint64, tag = "2")]
    pub question: u64,
    /// Files without a name: does this client hold any of them open?
    #[prost(uint64, repeated, tag = "3")]
    pub orphans: Vec<u64>,
    /// The session is not alive: the client needs a new one.
    #[prost(bool, tag = "4")]
    pub ended: bool,
    /// The epoch that `names_upto` counts in; zero when nothing is said about names.
    #[prost(uint64, tag = "8")]
    pub names_epoch: u64,
    /// Every change of a name that was made by others before this answer, and that the client had not
    /// heard of, is in `names`, as far as this number.
    #[prost(uint64, tag = "9")]
    pub names_upto: u64,
    /// There were changes before that are not known any more: all names may be others.
    #[prost(bool, tag = "10")]
    pub names_lost: bool,
    #[prost(message, repeated, tag = "11")]
    pub names: Vec<NameChange>,
    /// There are more of them.
    #[prost(bool, tag = "12")]
    pub names_more: bool,
}

/// What a name in a folder stands for is not what it was.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, prost::Message)]
pub struct NameChange {
    /// The folder's inode.
    #[prost(uint64, tag = "1")]
    pub folder: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub name: bytes::Bytes,
}
