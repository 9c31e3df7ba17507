//! What happened, as a running hash always and as lines when somebody reads them.

/// The trace of one run: the same seed gives the same hash.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    hash: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn new(keep: bool) -> Trace {
        Trace { hash: 0xcbf2_9ce4_8422_2325, lines: keep.then(Vec::new) }
    }

    /// Mixes in facts.
    pub(super) fn mix(&mut self, facts: &[u64]) {
        for fact in facts {
            self.hash = (self.hash ^ fact).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        }
    }

    /// Whether lines are kept, so that nobody formats what nobody reads.
    pub(super) fn keeps(&self) -> bool {
        self.lines.is_some()
    }

    pub(super) fn line(&mut self, line: String) {
        if let Some(lines) = &mut self.lines {
            lines.push(line);
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}
