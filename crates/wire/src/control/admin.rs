//! A member passes a person's request on.

use bytes::Bytes;

/// A request of the admin API, as it arrived at a member that does not lead.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Admin {
    #[prost(string, tag = "1")]
    pub method: String,
    /// Path and query.
    #[prost(string, tag = "2")]
    pub path: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub body: Bytes,
    /// The admin token: whoever has a certificate may speak to a member, and not everybody who has
    /// one may give orders. Empty where there is none.
    #[prost(string, tag = "4")]
    pub token: String,
}

/// The leader's answer; its body is the frame's payload.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct AdminReply {
    /// HTTP status.
    #[prost(uint32, tag = "1")]
    pub status: u32,
    #[prost(string, tag = "2")]
    pub content_type: String,
}
