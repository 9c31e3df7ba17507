//! Tokens of volumes, as the control plane tells nodes and clients of them.

use types::access::{Rights, TokenHash};

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum TokenRights {
    /// For nothing any more but to leave: it was revoked, or its time is over.
    Ended = 0,
    ReadOnly = 1,
    ReadWrite = 2,
}

impl From<Rights> for TokenRights {
    fn from(rights: Rights) -> TokenRights {
        match rights {
            Rights::ReadOnly => TokenRights::ReadOnly,
            Rights::ReadWrite => TokenRights::ReadWrite,
        }
    }
}

/// One token of a volume.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Grant {
    /// SHA-256 of its secret.
    #[prost(bytes = "bytes", tag = "1")]
    pub hash: bytes::Bytes,
    #[prost(enumeration = "TokenRights", tag = "2")]
    pub rights: i32,
}

impl Grant {
    /// The hash, when it is one.
    #[must_use]
    pub fn token(&self) -> Option<TokenHash> {
        self.hash.as_ref().try_into().ok().map(TokenHash)
    }
}

/// A volume that nobody reaches without a token, and the tokens it ever had.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct VolumeAccess {
    #[prost(uint64, tag = "1")]
    pub volume: u64,
    #[prost(message, repeated, tag = "2")]
    pub grants: Vec<Grant>,
}

/// All volumes that need a token. What is not listed needs none.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct AccessList {
    #[prost(message, repeated, tag = "1")]
    pub volumes: Vec<VolumeAccess>,
}

/// What a client may do with a volume, by the token it showed, or without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Access {
    /// Said by members that know nothing of tokens.
    Unspecified = 0,
    /// The volume needs no token.
    Open = 1,
    ReadOnly = 2,
    ReadWrite = 3,
    /// The volume needs a token, and none was shown.
    Required = 4,
    /// The token shown is none of this volume's. From an older copy of the control plane's record it
    /// may be missing as well: no statement that it was revoked.
    Unknown = 5,
    /// The token shown was revoked.
    Revoked = 6,
    /// The time of the token shown is over.
    Expired = 7,
}

impl Access {
    /// Whether it says that somebody who was let in must leave.
    #[must_use]
    pub fn is_end(self) -> bool {
        matches!(self, Access::Required | Access::Revoked | Access::Expired)
    }

    /// Whether it lets in: only such a caller is told what a volume is called and where it is.
    #[must_use]
    pub fn lets_in(self) -> bool {
        matches!(self, Access::Open | Access::ReadOnly | Access::ReadWrite)
    }
}
