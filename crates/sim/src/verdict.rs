//! What a checker says.

/// A promise that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Name of the invariant.
    pub invariant: &'static str,
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// Fine, or the promise that was broken.
pub type Verdict = Result<(), Violation>;

/// Builds a verdict: fine, or the named violation.
pub(crate) fn demand(
    holds: bool,
    invariant: &'static str,
    what: impl FnOnce() -> String,
) -> Verdict {
    if holds { Ok(()) } else { Err(Violation { invariant, what: what() }) }
}
