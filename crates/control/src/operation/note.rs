//! What happened to one partition of an operation, put on its record.

use super::command::Note;
use super::record::Item;
use types::{ReplicaId, Timestamp};

impl Item {
    /// Takes what happened; says whether the operation lets go of its lock on the partition.
    pub(super) fn take(&mut self, note: &Note, at: Timestamp) -> bool {
        match note {
            Note::Renew(_) | Note::Lock(_) => unreachable!("they change locks only"),
            Note::Found { bytes, relocation } => {
                (self.done, self.bytes, self.relocation) = (false, *bytes, *relocation);
                (self.copy, self.begun) = (None, None);
                self.note(at, "found");
                false
            }
            Note::Moot { why } => {
                (self.done, self.bytes, self.residue) = (true, 0, None);
                self.note(at, format!("not dealt with: {why}"));
                true
            }
            Note::Done => {
                (self.done, self.residue) = (true, None);
                self.note(at, "done");
                true
            }
            Note::Verified { bytes } => {
                (self.done, self.residue, self.bytes) = (true, None, *bytes);
                self.note(at, format!("{bytes} bytes verified, and the same everywhere"));
                true
            }
            Note::Left(residue) => {
                self.note(at, format!("left: {}: {}", residue.reason, residue.detail));
                self.residue = Some(residue.clone());
                // Nothing of it is under way: others may have their turn.
                self.copy.is_none()
            }
            Note::Freed => {
                self.residue = None;
                self.note(at, "goes on");
                false
            }
            Note::GivenUp { why, retry_at, copy } => {
                self.give_up(why, *retry_at, *copy, at);
                false
            }
        }
    }

    fn give_up(&mut self, why: &str, retry: Timestamp, copy: Option<ReplicaId>, at: Timestamp) {
        if copy.is_some() && self.copy.map(|member| member.replica) != copy {
            return; // Said of a copy that is not the present one any more.
        }
        let what = if self.copy.is_some() { "copy given up" } else { "given up for now" };
        self.note(at, format!("{what}: {why}"));
        self.attempts = self.attempts.saturating_add(1);
        (self.copy, self.begun, self.retry_at) = (None, None, Some(retry));
    }
}
