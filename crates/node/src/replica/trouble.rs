//! Why something could not be written, and whether it was for want of room.
//!
//! What was refused for want of room is tried again when there is some; anything else is given up.

use super::machine;
use crate::{log, store};
use partition::kv;

/// A write that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Trouble {
    pub reason: String,
    /// ENOSPC or EDQUOT: nothing else is wrong.
    pub no_space: bool,
}

impl Trouble {
    /// What is to be written makes no sense.
    pub(super) fn malformed(reason: &str) -> Trouble {
        Trouble { reason: reason.to_owned(), no_space: false }
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Trouble {
        Trouble { no_space: world::disk::is_no_space(&error), reason: error.to_string() }
    }
}

impl From<log::Error> for Trouble {
    fn from(error: log::Error) -> Trouble {
        Trouble { no_space: error.is_no_space(), reason: error.to_string() }
    }
}

impl From<kv::Error> for Trouble {
    fn from(error: kv::Error) -> Trouble {
        let no_space = matches!(error, kv::Error::NoSpace { .. });
        Trouble { no_space, reason: error.to_string() }
    }
}

impl From<store::Error> for Trouble {
    fn from(error: store::Error) -> Trouble {
        Trouble { no_space: error.is_no_space(), reason: error.to_string() }
    }
}

impl From<machine::Error> for Trouble {
    fn from(error: machine::Error) -> Trouble {
        Trouble { no_space: error.is_no_space(), reason: error.to_string() }
    }
}
