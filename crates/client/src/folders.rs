//! What answers to changes said of the folders that they were made in.
//!
//! Whoever takes a name out of a folder asks for the folder's attributes next: the kernel forgets them with
//! each change, and needs them to check rights for the one that follows. The leader says with its answer how the
//! folder is now, so that this question need not travel.
//!
//! *Promises*: after a change of this client was answered, nothing older than that change is told; and
//! nothing is told that is older than [`FOLDER_TOLD_TIME`], counted from when the change was asked for.
//!
//! Answers overtake each other. Of two that speak of one folder, the one with the higher version is newer.
//! A change of attributes, or of a folder itself, is answered without that: then everything is forgotten, and
//! what was asked for before is not learned when its answer comes.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use types::limits::ATTRIBUTE_CACHE_TIME;
use types::namespace::{Attributes, Command, FileKind, Outcome, OutcomeBody};
use types::{InodeId, Moment};

/// How long what was said of a folder is good: the kernel asks with the next change, or not at all.
const FOLDER_TOLD_TIME: Duration = Duration::from_millis(10);

const _: () = assert!(FOLDER_TOLD_TIME.as_millis() < ATTRIBUTE_CACHE_TIME.as_millis());

/// The folders that are known, which are few: what is not asked for at once is old.
#[derive(Debug, Default)]
pub(crate) struct Folders {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    told: Vec<Told>,
    /// How often everything was forgotten.
    forgotten: u64,
}

#[derive(Debug)]
struct Told {
    asked: Moment,
    folder: Attributes,
}

/// A change that is under way; when nothing is learned from it, all is forgotten.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    folders: &'a Folders,
    asked: Moment,
    forgotten: u64,
    over: bool,
}

/// Whether a command leaves all folders as they are, but for what nobody is told of.
fn spares_folders(command: &Command) -> bool {
    matches!(
        command,
        Command::AllocateChunks(_)
            | Command::Commit(_)
            | Command::DropChunks(_)
            | Command::OpenSession(_)
            | Command::RenewSession(_)
            | Command::SetLock(_)
            | Command::ReleaseLocks(_)
            | Command::Delegate(_)
            | Command::Undelegate(_)
            | Command::Reserve(_)
            | Command::Unreserve(_)
    )
}

/// Whether a folder itself was made, moved or removed.
fn concerns_folder(outcome: &Outcome) -> bool {
    let is_folder = |found: &Option<Attributes>| {
        found.as_ref().is_some_and(|found| found.kind() == FileKind::Folder)
    };
    match &outcome.body {
        Some(OutcomeBody::Created(created)) => is_folder(&created.attributes),
        Some(OutcomeBody::Linked(_)) => false,
        Some(OutcomeBody::Unlinked(unlinked)) => is_folder(&unlinked.attributes),
        Some(OutcomeBody::Renamed(renamed)) => {
            is_folder(&renamed.moved) || is_folder(&renamed.replaced)
        }
        _ => true,
    }
}

impl Folders {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// To be called before a command is sent.
    pub(crate) fn begin(&self, command: &Command, now: Moment) -> Option<Change<'_>> {
        if spares_folders(command) {
            return None;
        }
        let forgotten = self.state().forgotten;
        Some(Change { folders: self, asked: now, forgotten, over: false })
    }

    /// What was said of a folder a moment ago, and how long it may be kept.
    pub(crate) fn told(&self, folder: InodeId, now: Moment) -> Option<(Attributes, Duration)> {
        let state = self.state();
        let told = state.told.iter().find(|told| told.folder.inode == folder.0)?;
        let age = now.since(told.asked);
        (age < FOLDER_TOLD_TIME).then(|| (told.folder, ATTRIBUTE_CACHE_TIME - age))
    }
}

impl Change<'_> {
    /// The answer is there, and whoever asked has not got it yet.
    pub(crate) fn end(mut self, outcome: &mut Outcome) {
        self.over = true;
        let mut state = self.folders.state();
        let learns = state.forgotten == self.forgotten;
        if concerns_folder(outcome) {
            state.forget();
        }
        for folder in outcome.folders.drain(..).filter(|_| learns) {
            state.learn(Told { asked: self.asked, folder });
        }
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.folders.state().forget();
        }
    }
}

impl State {
    fn forget(&mut self) {
        self.told.clear();
        self.forgotten += 1;
    }

    fn learn(&mut self, new: Told) {
        self.told.retain(|told| new.asked.since(told.asked) < FOLDER_TOLD_TIME);
        match self.told.iter_mut().find(|told| told.folder.inode == new.folder.inode) {
            Some(told) if told.folder.version > new.folder.version => {}
            Some(told) => *told = new,
            None => self.told.push(new),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::namespace::{
        Created, Failure, FailureKind, Reserve, SetAttributes, Unlink, Unlinked,
    };

    const FOLDER: InodeId = InodeId(7);

    fn unlink() -> Command {
        Command::Unlink(Unlink { parent: FOLDER.0, ..Unlink::default() })
    }

    fn attributes(inode: u64, kind: FileKind, version: u64) -> Attributes {
        Attributes { inode, kind: kind.into(), version, ..Attributes::default() }
    }

    /// A file lost its name in the folder, which has this version since.
    fn unlinked(version: u64) -> Outcome {
        let attributes_of_file = Some(attributes(20 + version, FileKind::File, 2));
        let body = Unlinked { attributes: attributes_of_file, parent_version: version };
        Outcome {
            folders: vec![attributes(FOLDER.0, FileKind::Folder, version)],
            ..OutcomeBody::Unlinked(body).into()
        }
    }

    fn at(milliseconds: u64) -> Moment {
        Moment(1 << 40) + Duration::from_millis(milliseconds)
    }

    fn version(folders: &Folders, now: Moment) -> Option<u64> {
        folders.told(FOLDER, now).map(|(folder, _)| folder.version)
    }

    #[test]
    fn what_was_told_is_good_for_a_moment_counted_from_the_question() {
        let folders = Folders::default();
        let change = folders.begin(&unlink(), at(0)).unwrap();
        change.end(&mut unlinked(5));
        let (folder, time) = folders.told(FOLDER, at(4)).unwrap();
        assert_eq!(folder.version, 5);
        assert_eq!(time + Duration::from_millis(4), ATTRIBUTE_CACHE_TIME);
        assert_eq!(folders.told(InodeId(8), at(4)), None);
        let late = at(0) + FOLDER_TOLD_TIME;
        assert_eq!(version(&folders, late), None);
    }

    #[test]
    fn an_answer_that_was_overtaken_takes_nothing_back() {
        let folders = Folders::default();
        let (one, two) = (folders.begin(&unlink(), at(0)), folders.begin(&unlink(), at(0)));
        two.unwrap().end(&mut unlinked(6));
        one.unwrap().end(&mut unlinked(5));
        assert_eq!(version(&folders, at(1)), Some(6));
    }

    #[test]
    fn a_change_that_says_nothing_makes_what_was_asked_before_it_old() {
        let set = Command::SetAttributes(SetAttributes::default());
        let folders = Folders::default();
        folders.begin(&unlink(), at(0)).unwrap().end(&mut unlinked(5));
        let before = folders.begin(&unlink(), at(1)).unwrap();
        folders.begin(&set, at(1)).unwrap().end(&mut Outcome::done());
        assert_eq!(version(&folders, at(1)), None);
        before.end(&mut unlinked(6));
        assert_eq!(version(&folders, at(1)), None, "it may have been before the other");
        folders.begin(&unlink(), at(2)).unwrap().end(&mut unlinked(8));
        assert_eq!(version(&folders, at(2)), Some(8));
    }

    #[test]
    fn a_folder_that_is_itself_made_or_removed_counts_as_such_a_change() {
        let folders = Folders::default();
        let before = folders.begin(&unlink(), at(0)).unwrap();
        let made =
            Created { attributes: Some(attributes(30, FileKind::Folder, 1)), ..Created::default() };
        let mut outcome = Outcome {
            folders: vec![attributes(FOLDER.0, FileKind::Folder, 9)],
            ..OutcomeBody::Created(made).into()
        };
        folders.begin(&unlink(), at(0)).unwrap().end(&mut outcome);
        assert_eq!(version(&folders, at(0)), Some(9), "this is said of its parent");
        before.end(&mut unlinked(10));
        assert_eq!(version(&folders, at(0)), Some(9), "and nothing is learned from before");
    }

    #[test]
    fn what_was_refused_or_given_up_makes_everything_old() {
        let folders = Folders::default();
        folders.begin(&unlink(), at(0)).unwrap().end(&mut unlinked(5));
        let mut refused = Failure::new(FailureKind::NotFound).into();
        folders.begin(&unlink(), at(0)).unwrap().end(&mut refused);
        assert_eq!(version(&folders, at(0)), None);
        folders.begin(&unlink(), at(0)).unwrap().end(&mut unlinked(5));
        drop(folders.begin(&unlink(), at(0)));
        assert_eq!(version(&folders, at(0)), None);
        assert!(folders.begin(&Command::Reserve(Reserve::default()), at(0)).is_none());
    }
}
