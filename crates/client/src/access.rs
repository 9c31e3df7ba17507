//! What this client may do with its volume, by the token that it shows.

use crate::Error;
use types::access::Rights;
use wire::control::Access;

/// How access that there was came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// The token was revoked.
    Revoked,
    /// The token's time is over.
    Expired,
    /// The volume needs a token since, and this client has none.
    Required,
}

impl Revocation {
    /// What happened, for people.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Revocation::Revoked => "the token was revoked",
            Revocation::Expired => "the time of the token is over",
            Revocation::Required => "the volume needs a token now, and this client has none",
        }
    }

    /// What an answer of the control plane says of it; `None`: nothing.
    pub(crate) fn of(access: Access) -> Option<Revocation> {
        match access {
            Access::Revoked => Some(Revocation::Revoked),
            Access::Expired => Some(Revocation::Expired),
            Access::Required => Some(Revocation::Required),
            // That a token is not known may as well mean that the record is an old copy.
            Access::Unknown
            | Access::Unspecified
            | Access::Open
            | Access::ReadOnly
            | Access::ReadWrite => None,
        }
    }

    pub(crate) fn word(self) -> Access {
        match self {
            Revocation::Revoked => Access::Revoked,
            Revocation::Expired => Access::Expired,
            Revocation::Required => Access::Required,
        }
    }
}

/// The rights of somebody who opens a volume.
///
/// # Errors
/// [`Error::NoAccess`], or [`Error::Revoked`] for a token that was good once.
pub(crate) fn rights(access: Access) -> Result<Rights, Error> {
    match access {
        Access::Unspecified | Access::Open | Access::ReadWrite => Ok(Rights::ReadWrite),
        Access::ReadOnly => Ok(Rights::ReadOnly),
        Access::Required => Err(Error::NoAccess("the volume needs a token, and there is none")),
        Access::Unknown => Err(Error::NoAccess("the token is none of this volume's")),
        Access::Revoked => Err(Error::Revoked(Revocation::Revoked)),
        Access::Expired => Err(Error::Revoked(Revocation::Expired)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_not_known_opens_nothing_and_ends_nothing() {
        assert!(matches!(rights(Access::Unknown), Err(Error::NoAccess(_))));
        assert_eq!(Revocation::of(Access::Unknown), None);
        assert_eq!(Revocation::of(Access::Unspecified), None);
        for end in [Revocation::Revoked, Revocation::Expired, Revocation::Required] {
            assert_eq!(Revocation::of(end.word()), Some(end));
            assert!(end.word().is_end() && rights(end.word()).is_err());
        }
    }
}
