//! What to say in the next heartbeat: everything, or what changed since the last one. Pure.
//!
//! The control plane confirms each heartbeat that it takes; the next one may say what changed since. After
//! any other answer, or none, everything is said again. See [`wire::control::Heartbeat`].

use std::collections::BTreeMap;
use types::limits::HEARTBEAT_PROGRESS_MAX;
use wire::control::{Heartbeat, ReplicaReport, digest, is_news};

/// A replica, as the control plane was told.
#[derive(Debug)]
struct Told {
    report: ReplicaReport,
    digest: u64,
}

/// What the control plane was told so far.
#[derive(Debug, Default)]
pub struct Telling {
    /// By the number of the replica.
    told: BTreeMap<u64, Told>,
    /// Of all of them together.
    digest: u64,
    /// The heartbeat that was confirmed, if the last one was; zero otherwise.
    base: u64,
    /// Where to go on with those of which only the end of the log changed.
    progress_next: u64,
}

impl Telling {
    /// Fills in the replicas of a heartbeat whose sequence is set. What it says counts as told from now on.
    pub fn fill(&mut self, heartbeat: &mut Heartbeat, replicas: Vec<ReplicaReport>) {
        if self.base == 0 {
            (self.told, self.digest) = (BTreeMap::new(), 0);
        }
        heartbeat.base = self.base;
        heartbeat.gone = self.gone(&replicas);
        for gone in &heartbeat.gone {
            self.forget(*gone);
        }
        let (news, further) = self.differ(replicas);
        heartbeat.replicas = news;
        heartbeat.held_back = self.add_progress(&mut heartbeat.replicas, further);
        heartbeat.replicas.sort_unstable_by_key(|report| report.replica);
        for report in &heartbeat.replicas {
            self.note(report);
        }
        heartbeat.digest = self.digest;
        // Nobody has it before it is confirmed.
        self.base = 0;
    }

    /// An answer came: this is the heartbeat that the next one may follow; zero for none.
    pub fn confirmed(&mut self, taken: u64) {
        self.base = taken;
    }

    fn gone(&self, replicas: &[ReplicaReport]) -> Vec<u64> {
        let there: std::collections::BTreeSet<u64> = replicas.iter().map(|r| r.replica).collect();
        self.told.keys().filter(|replica| !there.contains(replica)).copied().collect()
    }

    /// Those that are new or changed, and those that only got further. A replica that is listed twice is
    /// one that was deleted and not wholly removed: the last word counts.
    fn differ(&self, replicas: Vec<ReplicaReport>) -> (Vec<ReplicaReport>, Vec<ReplicaReport>) {
        let once: BTreeMap<u64, ReplicaReport> =
            replicas.into_iter().map(|report| (report.replica, report)).collect();
        let (mut news, mut further) = (Vec::new(), Vec::new());
        for (id, report) in once {
            match self.told.get(&id) {
                Some(told) if told.report == report => {}
                Some(told) if !is_news(&told.report, &report) => further.push(report),
                _ => news.push(report),
            }
        }
        (news, further)
    }

    /// Adds as many as there may be, going around; says how many are left out.
    fn add_progress(&mut self, news: &mut Vec<ReplicaReport>, further: Vec<ReplicaReport>) -> u64 {
        let count = further.len();
        let (before, mut after): (Vec<_>, Vec<_>) =
            further.into_iter().partition(|report| report.replica < self.progress_next);
        after.extend(before);
        news.extend(after.into_iter().take(HEARTBEAT_PROGRESS_MAX).inspect(|report| {
            self.progress_next = report.replica + 1;
        }));
        count.saturating_sub(HEARTBEAT_PROGRESS_MAX) as u64
    }

    fn note(&mut self, report: &ReplicaReport) {
        self.forget(report.replica);
        let digest = digest(report);
        self.digest = self.digest.wrapping_add(digest);
        self.told.insert(report.replica, Told { report: report.clone(), digest });
    }

    fn forget(&mut self, replica: u64) {
        if let Some(told) = self.told.remove(&replica) {
            self.digest = self.digest.wrapping_sub(told.digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(id: u64, end: u64) -> ReplicaReport {
        ReplicaReport { replica: id, partition: id, end, ..Default::default() }
    }

    fn tell(telling: &mut Telling, sequence: u64, replicas: Vec<ReplicaReport>) -> Heartbeat {
        let mut heartbeat = Heartbeat { sequence, ..Default::default() };
        telling.fill(&mut heartbeat, replicas);
        heartbeat
    }

    fn ids(heartbeat: &Heartbeat) -> Vec<u64> {
        heartbeat.replicas.iter().map(|report| report.replica).collect()
    }

    #[test]
    fn what_was_confirmed_is_not_said_again() {
        let mut telling = Telling::default();
        let all = || vec![replica(2, 1), replica(1, 1)];
        let first = tell(&mut telling, 1, all());
        assert_eq!((first.base, ids(&first)), (0, vec![1, 2]));
        telling.confirmed(1);
        let second = tell(&mut telling, 2, all());
        assert_eq!((second.base, ids(&second), second.digest), (1, vec![], first.digest));
        telling.confirmed(2);
        let third = tell(&mut telling, 3, vec![replica(2, 5)]);
        assert_eq!((third.base, ids(&third), &third.gone[..]), (2, vec![2], &[1][..]));
        assert_eq!(third.digest, digest(&replica(2, 5)));
    }

    #[test]
    fn without_an_answer_everything_is_said_again() {
        let mut telling = Telling::default();
        tell(&mut telling, 1, vec![replica(1, 1)]);
        telling.confirmed(1);
        tell(&mut telling, 2, vec![replica(1, 1)]);
        let third = tell(&mut telling, 3, vec![replica(1, 1)]);
        assert_eq!((third.base, ids(&third)), (0, vec![1]));
        telling.confirmed(0);
        assert_eq!(tell(&mut telling, 4, vec![replica(1, 1)]).base, 0, "it was not taken");
    }

    #[test]
    fn who_only_got_further_is_told_of_in_turn_and_news_at_once() {
        let count = HEARTBEAT_PROGRESS_MAX as u64 * 2 + 10;
        let mut telling = Telling::default();
        let all = |end| (1..=count).map(|id| replica(id, end)).collect::<Vec<_>>();
        tell(&mut telling, 1, all(1));
        let mut told = std::collections::BTreeSet::new();
        for sequence in 2..=4 {
            telling.confirmed(sequence - 1);
            let heartbeat = tell(&mut telling, sequence, all(sequence));
            assert_eq!(heartbeat.replicas.len(), HEARTBEAT_PROGRESS_MAX);
            assert_eq!(heartbeat.held_back, count - HEARTBEAT_PROGRESS_MAX as u64);
            told.extend(ids(&heartbeat));
        }
        assert_eq!(told.len() as u64, count, "nobody waits for ever");
        telling.confirmed(4);
        let mut some = all(4);
        some[100].role = 1;
        let heartbeat = tell(&mut telling, 5, some);
        assert!(ids(&heartbeat).contains(&101));
    }
}
