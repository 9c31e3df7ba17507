//! Standing for election in time.
//!
//! openraft lets a member stand by itself, but one that has once lost to a member with a longer log
//! waits for twice the longest election time more, at every later election until it stands again
//! (`seen_greater_log` in 0.9). After a few failures that is every member, and the loss of the leader
//! then costs three seconds instead of one and a half. So each member keeps its own time, too.
//!
//! Standing too early or twice is safe: voters refuse whoever comes within the lease of their leader
//! or with a shorter log than theirs.

use crate::core::Core;
use crate::raft::{ELECTION_MS_MIN, election_wait};
use std::sync::Arc;
use std::time::Duration;
use types::Moment;

/// Runs until it is dropped. The only member of a group has nobody to wait for.
pub(crate) async fn run(core: Arc<Core>) {
    let members = &core.config.members;
    if members.len() < 2 {
        return;
    }
    let rank = members.keys().position(|id| *id == core.config.id).unwrap_or_default();
    let wait = election_wait(rank, members.len());
    let mut stood: Option<Moment> = None;
    loop {
        core.world.sleep(Duration::from_millis(ELECTION_MS_MIN / 10)).await;
        if !is_due(core.world.now(), core.leader_heard(), stood, wait) || core.term_led().is_some()
        {
            continue;
        }
        stood = Some(core.world.now());
        tracing::debug!(member = core.config.id, "the leader is silent: standing for election");
        if core.raft.trigger().elect().await.is_err() {
            return;
        }
    }
}

/// Whether to stand now: the leader was heard, is silent since, and the last attempt is as old.
/// Who never heard one has just started, and leaves it to openraft.
fn is_due(now: Moment, heard: Option<Moment>, stood: Option<Moment>, wait: Duration) -> bool {
    let long_ago = |at: Moment| now.since(at) >= wait;
    heard.is_some_and(long_ago) && stood.is_none_or(long_ago)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stands_when_the_leader_is_silent_and_not_again_at_once() {
        let wait = Duration::from_nanos(100);
        let due = |now, heard: Option<u64>, stood: Option<u64>| {
            is_due(Moment(now), heard.map(Moment), stood.map(Moment), wait)
        };
        assert!(!due(1_000, None, None), "nobody was heard yet");
        assert!(!due(1_000, Some(901), None));
        assert!(due(1_000, Some(900), None));
        assert!(!due(1_000, Some(800), Some(901)), "the last attempt may still succeed");
        assert!(due(1_000, Some(800), Some(900)));
    }

    #[test]
    fn no_two_members_stand_together_and_none_within_the_lease() {
        for members in [3, 5] {
            let waits: Vec<Duration> = (0..members).map(|r| election_wait(r, members)).collect();
            assert!(waits.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(50)));
            assert!(waits[0] > Duration::from_millis(crate::raft::ELECTION_MS_MAX));
            assert!(
                *waits.last().unwrap() < 2 * Duration::from_millis(crate::raft::ELECTION_MS_MAX)
            );
        }
    }
}
