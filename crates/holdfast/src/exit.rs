//! How a command ends: the exit codes, and the failures that lead to them.

use std::fmt;
use std::process::ExitCode;

/// Exit codes. Scripts rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok = 0,
    /// It was tried, and did not work.
    Failed = 1,
    /// The command line, or a configuration file, is wrong; nothing was tried.
    Usage = 2,
    /// What was named does not exist (any more).
    NotFound = 3,
    /// It contradicts what is there.
    Conflict = 4,
    /// Nobody answers, or nobody who could decide.
    Unreachable = 5,
    /// The token or the certificate is missing or wrong.
    Denied = 6,
    /// A mount ended because its volume is being deleted, or was.
    VolumeDeleted = 10,
    /// A mount ended because its access was revoked.
    AccessRevoked = 11,
    /// A mount ended because the cluster answered nothing for longer than was allowed.
    ClusterUnreachable = 12,
    /// A mount ended because the kernel's connection was torn down.
    MountLost = 13,
    /// An operation that was followed left something over. Its code is 2, as people expect of verdicts.
    Incomplete = 102,
}

/// What the help says about exit codes.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  it was tried, and failed
  2  the command line or a configuration file is wrong; nothing was tried
     (of an operation that was followed: it is incomplete)
  3  what was named does not exist
  4  it contradicts what is there
  5  the cluster cannot be reached, or has no leader at the moment
  6  the admin token, a volume's token or a certificate is missing or wrong
How a mount in the foreground ends:
  0  unmounted, or asked to end, and everything is written back
  1  unmounted, or asked to end, and not everything could be written back
  10 the volume is being deleted, or was
  11 access was revoked: the token was revoked, or its time is over
  12 the cluster answered nothing for longer than --unreachable-limit
  13 the mount point was lost: the kernel's connection was torn down";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        match exit {
            Exit::Incomplete => ExitCode::from(2),
            exit => ExitCode::from(exit as u8),
        }
    }
}

/// A command that did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// What went wrong.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) action: String,
    /// The code that the admin API gave it; empty for what it did not say.
    pub(crate) code: String,
}

impl Failure {
    pub(crate) fn new(
        exit: Exit,
        message: impl Into<String>,
        action: impl Into<String>,
    ) -> Failure {
        Failure { exit, message: message.into(), action: action.into(), code: String::new() }
    }
}

impl Failure {
    /// Whether trying again may help.
    pub(crate) fn is_passing(&self) -> bool {
        self.exit == Exit::Unreachable
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if !self.action.is_empty() {
            write!(f, "\n  try: {}", self.action)?;
        }
        Ok(())
    }
}

pub(crate) type Result<T = ()> = std::result::Result<T, Failure>;
