//! Which names the kernel may keep, and for how long.
//!
//! A mount hands names to the kernel, which then answers for them without asking. As long as the
//! namespace's leader tells this client of the names that others change, they may be kept for
//! [`NAME_CACHE_TIME`]: what is told of is taken from the kernel again. Otherwise they are kept for
//! [`ATTRIBUTE_CACHE_TIME`].
//!
//! ```text
//!           an answer of the leader                       its epoch is another, it forgot
//! silent ------------------------------> following -----------------------------------------+
//!    ^                                     |  ^                                             |
//!    |    no answer to what was asked      |  +------ the kernel forgets all it was handed -+
//!    +--- since NAME_FEED_SILENCE_MAX -----+
//!         (the kernel forgets all)
//! ```
//!
//! *Promise*: a change that another client made, and that it was told was made, is seen here after at
//! most [`NAME_FEED_SILENCE_MAX`] and a moment; mostly within milliseconds. It holds as long as this process runs:
//! one that is stopped (`SIGSTOP`) leaves its kernel with names for up to [`NAME_CACHE_TIME`].
//!
//! A reply that is on its way to the kernel while its name changes is caught by counters: whoever hands a
//! name takes a [`Ticket`] before asking, and settles it after the kernel has the reply.

use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use types::limits::{
    ATTRIBUTE_CACHE_TIME, NAME_CACHE_TIME, NAME_FEED_SILENCE_MAX, NAMES_HANDED_MAX,
};
use types::{InodeId, Moment};
use wire::events::{Events, NameChange, Poll};

/// Counters that names share by their hashes.
const STIRS: usize = 256;

/// A name that the kernel must not keep any longer.
pub type Stale = NameChange;

/// What a mount knows of the names that its kernel keeps.
#[derive(Debug)]
pub(crate) struct Names {
    state: Mutex<State>,
    /// How often something happened to names of each hash.
    stirs: Vec<AtomicU64>,
}

#[derive(Debug, Default)]
struct State {
    /// Where to say what the kernel has to forget; none while nobody asked for it.
    stale: Option<mpsc::UnboundedSender<Stale>>,
    feed: Option<Feed>,
    handed: Handed,
}

/// What was heard of the leader.
#[derive(Clone, Copy, Debug)]
struct Feed {
    epoch: u64,
    upto: u64,
    believed_until: Moment,
}

/// Names that the kernel may keep for long, in two generations: what is in neither has run out.
#[derive(Debug, Default)]
struct Handed {
    young: BTreeSet<NameChange>,
    old: BTreeSet<NameChange>,
    /// When the young ones become old.
    turn_at: Moment,
}

/// Taken before a name is asked for.
#[derive(Debug)]
pub struct Ticket {
    name: NameChange,
    stir: usize,
    count: u64,
    /// Nobody tells of changes now.
    silent: bool,
}

impl Default for Names {
    fn default() -> Names {
        let stirs = std::iter::repeat_with(AtomicU64::default).take(STIRS).collect();
        Names { state: Mutex::default(), stirs }
    }
}

/// The counter of a name. Cheap rather than even: names that share one only cost a question.
fn stir_of(folder: u64, name: &[u8]) -> usize {
    let hash =
        name.iter().fold(folder, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    let mixed = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56;
    usize::try_from(mixed).expect("a byte") % STIRS
}

impl Names {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// From now on changes are asked for; what the kernel has to forget comes out of the channel.
    pub(crate) fn follow(&self) -> mpsc::UnboundedReceiver<Stale> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.state().stale = Some(sender);
        receiver
    }

    /// Adds to a request for events what it has to say about names.
    pub(crate) fn ask(&self, poll: &mut Poll) {
        let state = self.state();
        poll.follows_names = state.stale.as_ref().is_some_and(|stale| !stale.is_closed());
        if let Some(feed) = state.feed {
            (poll.names_epoch, poll.names_upto) = (feed.epoch, feed.upto);
        }
    }

    /// Takes what an answer says about names; it was asked for at `asked`. Whoever answers could be asked
    /// about names when the question arrived; of later moments an answer proves nothing.
    pub(crate) fn learn(&self, events: &Events, asked: Moment) {
        if events.names_epoch == 0 {
            return;
        }
        let mut state = self.state();
        let (epoch, upto) = (events.names_epoch, events.names_upto);
        let same = state.feed.is_some_and(|feed| feed.epoch == epoch);
        if events.names_lost || !same {
            self.forget_all(&mut state);
        }
        for change in &events.names {
            self.stirs[stir_of(change.folder, &change.name)].fetch_add(1, Ordering::SeqCst);
            if state.handed.take(change) {
                state.say(change.clone());
            }
        }
        // With more to come, it is not known how things were when this was asked.
        let believed_until = match state.feed {
            Some(feed) if events.names_more => feed.believed_until,
            _ => asked + NAME_FEED_SILENCE_MAX,
        };
        state.feed = Some(Feed { epoch, upto, believed_until });
    }

    /// Has the kernel forget everything once nothing was heard for too long.
    pub(crate) fn doubt(&self, now: Moment) {
        let mut state = self.state();
        if state.feed.is_some_and(|feed| feed.believed_until <= now) {
            self.forget_all(&mut state);
        }
    }

    fn forget_all(&self, state: &mut State) {
        state.feed = None;
        for stir in &self.stirs {
            stir.fetch_add(1, Ordering::SeqCst);
        }
        let Handed { young, old, .. } = std::mem::take(&mut state.handed);
        tracing::debug!(names = young.len() + old.len(), "the kernel forgets all names");
        for name in young.into_iter().chain(old) {
            state.say(name);
        }
    }

    /// To be called before a name in a folder is asked for, or made.
    pub(crate) fn ticket(&self, folder: InodeId, name: &Bytes) -> Ticket {
        let stir = stir_of(folder.0, name);
        let silent = self.state().feed.is_none();
        let name = NameChange { folder: folder.0, name: name.clone() };
        Ticket { name, stir, count: self.stirs[stir].load(Ordering::SeqCst), silent }
    }

    /// How long the kernel may keep a name; to be called once the answer is there.
    pub(crate) fn grant(&self, ticket: &Ticket, now: Moment) -> Duration {
        let mut state = self.state();
        let believed = state.feed.is_some_and(|feed| now < feed.believed_until);
        if ticket.silent || !believed || self.is_stirred(ticket) {
            return ATTRIBUTE_CACHE_TIME;
        }
        if state.handed.put(&ticket.name, now) { NAME_CACHE_TIME } else { ATTRIBUTE_CACHE_TIME }
    }

    /// To be called when the kernel has the reply: takes the name back if it changed meanwhile.
    pub(crate) fn settle(&self, ticket: Ticket) {
        if self.is_stirred(&ticket) {
            self.state().say(ticket.name);
        }
    }

    fn is_stirred(&self, ticket: &Ticket) -> bool {
        self.stirs[ticket.stir].load(Ordering::SeqCst) != ticket.count
    }
}

impl State {
    fn say(&self, name: Stale) {
        if let Some(stale) = &self.stale {
            // Nobody listens once the mount has gone.
            let _ = stale.send(name);
        }
    }
}

impl Handed {
    /// Whether there was room.
    fn put(&mut self, name: &NameChange, now: Moment) -> bool {
        if now >= self.turn_at {
            self.old = std::mem::take(&mut self.young);
            self.turn_at = now + NAME_CACHE_TIME;
        }
        if self.young.len() + self.old.len() >= NAMES_HANDED_MAX {
            return false;
        }
        self.young.insert(name.clone());
        true
    }

    fn take(&mut self, name: &NameChange) -> bool {
        let young = self.young.remove(name);
        self.old.remove(name) || young
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDER: InodeId = InodeId(7);

    fn name(name: &'static str) -> Bytes {
        Bytes::from_static(name.as_bytes())
    }

    fn change(of: &'static str) -> NameChange {
        NameChange { folder: FOLDER.0, name: name(of) }
    }

    fn at(milliseconds: u64) -> Moment {
        Moment(1 << 40) + Duration::from_millis(milliseconds)
    }

    fn answer(upto: u64, names: Vec<NameChange>) -> Events {
        Events { names_epoch: 3, names_upto: upto, names, ..Events::default() }
    }

    fn told(receiver: &mut mpsc::UnboundedReceiver<Stale>) -> Vec<Bytes> {
        std::iter::from_fn(|| receiver.try_recv().ok()).map(|stale| stale.name).collect()
    }

    fn hand(names: &Names, of: &'static str, now: Moment) -> Duration {
        let ticket = names.ticket(FOLDER, &name(of));
        let time = names.grant(&ticket, now);
        names.settle(ticket);
        time
    }

    #[test]
    fn a_name_is_kept_for_long_until_somebody_else_changes_it() {
        let names = Names::default();
        assert_eq!(hand(&names, "a", at(0)), ATTRIBUTE_CACHE_TIME, "nobody tells");
        let mut stale = names.follow();
        let mut poll = Poll::default();
        names.ask(&mut poll);
        assert!(poll.follows_names);
        names.learn(&Events { names_lost: true, ..answer(5, vec![]) }, at(0));
        assert_eq!(hand(&names, "a", at(1)), NAME_CACHE_TIME);
        assert_eq!(hand(&names, "b", at(1)), NAME_CACHE_TIME);
        names.learn(&answer(7, vec![change("a"), change("never handed")]), at(2));
        assert_eq!(told(&mut stale), ["a"]);
        names.ask(&mut poll);
        assert_eq!((poll.names_epoch, poll.names_upto), (3, 7));
    }

    #[test]
    fn a_name_that_changes_while_its_reply_is_on_its_way_is_taken_back() {
        let names = Names::default();
        let mut stale = names.follow();
        names.learn(&answer(1, vec![]), at(0));
        let before = names.ticket(FOLDER, &name("a"));
        names.learn(&answer(2, vec![change("a")]), at(1));
        assert_eq!(names.grant(&before, at(2)), ATTRIBUTE_CACHE_TIME, "it was asked too early");
        let between = names.ticket(FOLDER, &name("a"));
        assert_eq!(names.grant(&between, at(2)), NAME_CACHE_TIME);
        names.learn(&answer(3, vec![change("a")]), at(3));
        assert_eq!(told(&mut stale), ["a"]);
        names.settle(between);
        assert_eq!(told(&mut stale), ["a"], "now that the kernel has it");
    }

    #[test]
    fn silence_another_epoch_and_gaps_make_the_kernel_forget_everything() {
        let names = Names::default();
        let mut stale = names.follow();
        names.learn(&answer(1, vec![]), at(0));
        hand(&names, "a", at(1));
        let silence = u64::try_from(NAME_FEED_SILENCE_MAX.as_millis()).unwrap();
        names.doubt(at(silence - 1));
        assert_eq!(told(&mut stale), [] as [&[u8]; 0]);
        assert_eq!(hand(&names, "b", at(silence)), ATTRIBUTE_CACHE_TIME);
        let across = names.ticket(FOLDER, &name("c"));
        names.doubt(at(silence));
        assert_eq!(told(&mut stale), ["a"]);
        names.learn(&answer(1, vec![]), at(silence));
        assert_eq!(names.grant(&across, at(silence)), ATTRIBUTE_CACHE_TIME);
        assert_eq!(hand(&names, "d", at(silence)), NAME_CACHE_TIME);
        names.learn(&Events { names_epoch: 4, ..answer(1, vec![]) }, at(silence));
        assert_eq!(told(&mut stale), ["d"], "a new leader");
        hand(&names, "e", at(silence));
        let lost = Events { names_epoch: 4, names_lost: true, ..answer(9, vec![]) };
        names.learn(&lost, at(silence));
        assert_eq!(told(&mut stale), ["e"], "too far behind");
    }

    #[test]
    fn what_is_only_partly_known_is_believed_no_longer_than_before() {
        let names = Names::default();
        let _stale = names.follow();
        names.learn(&answer(1, vec![]), at(0));
        names.learn(&Events { names_more: true, ..answer(2, vec![change("a")]) }, at(700));
        assert_eq!(hand(&names, "b", at(900)), ATTRIBUTE_CACHE_TIME);
        names.learn(&answer(3, vec![]), at(900));
        assert_eq!(hand(&names, "b", at(950)), NAME_CACHE_TIME);
    }

    #[test]
    fn what_the_kernel_may_keep_is_bounded_and_runs_out() {
        let mut handed = Handed::default();
        let mut put = |number: usize, now| {
            let name = Bytes::from(number.to_string());
            handed.put(&NameChange { folder: 1, name }, now)
        };
        assert!((0..NAMES_HANDED_MAX).all(|number| put(number, at(0))));
        assert!(!put(NAMES_HANDED_MAX, at(1)));
        assert!(!put(NAMES_HANDED_MAX, at(0) + NAME_CACHE_TIME), "old, and still kept");
        assert!(put(NAMES_HANDED_MAX, at(0) + NAME_CACHE_TIME * 2));
    }
}
