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
}

/// What concerns the session. Numbers 8 to 15 are kept for hints about what it caches.
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
}
