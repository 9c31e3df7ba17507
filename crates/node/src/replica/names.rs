//! Which names changed lately, for mounts that let their kernels keep names for long.
//!
//! The leader of a namespace numbers the changes of names as it applies them, and tells each session
//! that follows of those that others made. It promises nothing to whoever changes a name: the others hear
//! of it as soon as an answer gets to them. A mount that hears nothing believes nothing any more, by its
//! own clock ([`types::limits::NAME_FEED_SILENCE_MAX`]); so a change is seen everywhere within that time,
//! or else its maker would have seen the leader fail.
//!
//! All of it is in memory. Numbers count within an epoch; in another one everybody begins anew. While
//! nobody follows but the one who makes a change, nothing is kept.

use std::collections::{BTreeMap, VecDeque};
use types::limits::{CLIENT_SESSION_SILENCE_MAX, NAME_CHANGES_KEPT, NAME_CHANGES_PER_ANSWER};
use types::namespace::{Command, Outcome, Request};
use types::{Epoch, Moment, SessionId};
use wire::events::{Events, NameChange};

/// The changes of one epoch.
#[derive(Debug, Default)]
pub(super) struct NameFeed {
    /// Sessions that follow, and when each last asked.
    followers: BTreeMap<SessionId, Moment>,
    /// The newest changes; the last one has the number `upto`.
    kept: VecDeque<(SessionId, NameChange)>,
    upto: u64,
    /// Something changed since those who wait were last told.
    dirty: bool,
}

/// What there is for one session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Changes that it has to be told of are forgotten, or nobody wrote them down for it.
    Lost {
        upto: u64,
    },
    Changes {
        names: Vec<NameChange>,
        upto: u64,
        more: bool,
    },
}

impl NameFeed {
    /// A session asks for what came after number `after`; `None` when it asks for the first time in
    /// this epoch.
    pub(super) fn follow(&mut self, session: SessionId, now: Moment, after: Option<u64>) -> News {
        let known = self.followers.insert(session, now).is_some();
        let oldest = self.upto - self.kept.len() as u64;
        match after.filter(|after| known && (oldest..=self.upto).contains(after)) {
            Some(after) => self.since(session, after),
            None => News::Lost { upto: self.upto },
        }
    }

    /// What a follower has to be told after number `after`, as long as that is still known.
    pub(super) fn since(&self, session: SessionId, after: u64) -> News {
        let missed = self.upto.saturating_sub(after);
        let Some(first) = (self.kept.len() as u64).checked_sub(missed) else {
            return News::Lost { upto: self.upto };
        };
        let first = usize::try_from(first).expect("it is below the length");
        let (mut names, mut upto) = (Vec::new(), after);
        for (by, change) in self.kept.range(first..) {
            if names.len() == NAME_CHANGES_PER_ANSWER {
                return News::Changes { names, upto, more: true };
            }
            upto += 1;
            if *by != session {
                names.push(change.clone());
            }
        }
        News::Changes { names, upto, more: false }
    }

    /// Takes note of a command that was carried out.
    pub(super) fn note(&mut self, request: &Request, outcome: &Outcome) {
        let by = SessionId(request.session);
        if self.followers.keys().all(|follower| *follower == by) || outcome.failure().is_some() {
            return;
        }
        let mut change = |folder: u64, name: &bytes::Bytes| {
            if self.kept.len() == NAME_CHANGES_KEPT {
                self.kept.pop_front();
            }
            self.kept.push_back((by, NameChange { folder, name: name.clone() }));
            self.upto += 1;
            self.dirty = true;
        };
        match &request.command {
            Some(Command::Create(create)) => change(create.parent, &create.name),
            Some(Command::Link(link)) => change(link.parent, &link.name),
            Some(Command::Unlink(unlink)) => change(unlink.parent, &unlink.name),
            Some(Command::Rename(rename)) => {
                change(rename.parent, &rename.name);
                change(rename.new_parent, &rename.new_name);
            }
            _ => {}
        }
    }

    /// Whether anything changed since this was last asked.
    pub(super) fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }

    /// Forgets sessions that do not ask any more.
    pub(super) fn tend(&mut self, now: Moment) {
        self.followers.retain(|_, asked| now.since(*asked) < CLIENT_SESSION_SILENCE_MAX);
        if self.followers.is_empty() {
            self.kept.clear();
        }
    }
}

impl News {
    pub(super) fn nothing(upto: u64) -> News {
        News::Changes { names: Vec::new(), upto, more: false }
    }

    /// The newest number, when there is nothing to tell.
    pub(super) fn upto_of_nothing(&self) -> Option<u64> {
        match self {
            News::Changes { names, upto, more: false } if names.is_empty() => Some(*upto),
            _ => None,
        }
    }

    pub(super) fn told(self, epoch: Epoch) -> Events {
        let events = Events { names_epoch: epoch.0, ..Events::default() };
        match self {
            News::Lost { upto } => Events { names_upto: upto, names_lost: true, ..events },
            News::Changes { names, upto, more } => {
                Events { names_upto: upto, names, names_more: more, ..events }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use types::namespace::{Failure, FailureKind, OutcomeBody, Rename, Unlink};

    const ONE: SessionId = SessionId(1);
    const TWO: SessionId = SessionId(2);

    fn unlink(by: SessionId, name: &'static str) -> Request {
        let name = Bytes::from_static(name.as_bytes());
        let command = Command::Unlink(Unlink { parent: 7, name, folder: false });
        Request { session: by.0, command: Some(command), ..Request::default() }
    }

    fn done() -> Outcome {
        OutcomeBody::Done(types::namespace::Done {}).into()
    }

    fn names(news: &News) -> Vec<&[u8]> {
        match news {
            News::Lost { .. } => panic!("nothing should be lost"),
            News::Changes { names, .. } => names.iter().map(|change| &change.name[..]).collect(),
        }
    }

    #[test]
    fn a_session_hears_of_what_others_change_after_it_began() {
        let mut feed = NameFeed::default();
        feed.note(&unlink(TWO, "before"), &done());
        assert_eq!(feed.follow(ONE, Moment(1), None), News::Lost { upto: 0 });
        feed.note(&unlink(ONE, "own"), &done());
        feed.note(&unlink(TWO, "a"), &done());
        feed.note(&unlink(TWO, "refused"), &Failure::new(FailureKind::NotFound).into());
        let command = Command::Rename(Rename {
            parent: 7,
            name: Bytes::from_static(b"b"),
            new_parent: 8,
            new_name: Bytes::from_static(b"c"),
            ..Rename::default()
        });
        let rename = Request { session: TWO.0, command: Some(command), ..Request::default() };
        feed.note(&rename, &done());
        assert_eq!(names(&feed.since(ONE, 0)), [b"a", b"b", b"c"]);
        let News::Changes { upto, more: false, .. } = feed.follow(ONE, Moment(2), Some(0)) else {
            panic!("nothing was lost")
        };
        assert_eq!(names(&feed.follow(ONE, Moment(3), Some(upto))), [] as [&[u8]; 0]);
    }

    #[test]
    fn who_is_too_far_behind_or_was_away_is_told_that_all_may_be_others() {
        let mut feed = NameFeed::default();
        feed.follow(ONE, Moment(1), None);
        for _ in 0..=NAME_CHANGES_KEPT {
            feed.note(&unlink(TWO, "a"), &done());
        }
        let upto = NAME_CHANGES_KEPT as u64 + 1;
        assert_eq!(feed.follow(ONE, Moment(1), Some(0)), News::Lost { upto });
        assert_eq!(feed.since(ONE, 0), News::Lost { upto });
        assert_eq!(feed.follow(ONE, Moment(1), Some(upto + 1)), News::Lost { upto }, "not yet");
        let News::Changes { names, upto: next, more: true } = feed.since(ONE, 1) else {
            panic!("nothing was lost")
        };
        assert_eq!((names.len(), next), (NAME_CHANGES_PER_ANSWER, 1 + names.len() as u64));
        feed.tend(Moment(2) + CLIENT_SESSION_SILENCE_MAX);
        feed.note(&unlink(TWO, "nobody listens"), &done());
        assert_eq!(feed.follow(ONE, Moment(9), Some(upto)), News::Lost { upto });
    }
}
