//! Why the control plane gives no reply of its own.

/// Why a request got no reply of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum ErrorKind {
    Unspecified = 0,
    /// Ask `leader` when it is given, any other member when it is not. Nothing happened.
    NotLeader = 1,
    /// The request breaks a promise of its type; asking again will not help.
    Invalid = 2,
    /// The node or client belongs to another cluster.
    WrongCluster = 3,
    /// This life of the node is not known: it must join (again) first.
    UnknownNode = 4,
    /// The control plane could not decide in time. It may have happened: ask for the state.
    Unavailable = 5,
}

/// The body of every reply whose status is not ok.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Error {
    #[prost(enumeration = "ErrorKind", tag = "1")]
    pub kind: i32,
    /// A sentence for people.
    #[prost(string, tag = "2")]
    pub message: String,
    /// With `NotLeader`: `host:port` of the leader's wire listener; empty when unknown.
    #[prost(string, tag = "3")]
    pub leader: String,
}
