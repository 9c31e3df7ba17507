//! Which state may follow which, and what has to be shown for it. The only place where that is said.

use super::evidence::{Evidence, Probe};
use super::fact::{Fact, State};
use super::step::{Observation, Record};

/// Something that has to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proof {
    /// A heartbeat of the node's present life.
    Heard,
    /// Silence for longer than is allowed.
    Silence,
    /// More room than the low mark.
    AboveLow,
    /// More room than the mark for leaving `low`.
    LeavesLow,
    /// Less room than the mark for leaving `low`, and not less than the reserve: a disk that was full
    /// may be low there.
    BelowLow,
    /// Less room than the mark for leaving `full`, or a probe write that was refused. A node closes at
    /// the reserve, which is less; what it says later while it is closed counts as well.
    LacksRoom,
    /// The file system refused a write for want of room.
    WriteRefused,
    /// More room than the mark for leaving `full`, and a probe write that reached the disk.
    RoomProved,
    /// The disk answers.
    Answers,
    /// An operation on the disk failed.
    Broken,
    /// The replica's own word.
    ReplicaSays,
    /// The replica's own word, in a later life of its node: it was opened again.
    OpenedAgain,
}

impl Proof {
    /// What has to be shown, for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Proof::Heard => "a heartbeat of the node's present life",
            Proof::Silence => "silence for longer than allowed",
            Proof::AboveLow => "free room above the low mark",
            Proof::LeavesLow => "free room above the mark for leaving low",
            Proof::BelowLow => "free room below the mark for leaving low, above the reserve",
            Proof::LacksRoom => {
                "free room below the mark for leaving full, or a probe write that was refused"
            }
            Proof::WriteRefused => "a write that was refused (ENOSPC, EDQUOT)",
            Proof::RoomProved => {
                "free room above the mark for leaving full, and a probe write that reached the disk"
            }
            Proof::Answers => "the disk answers",
            Proof::Broken => "an operation on the disk failed",
            Proof::ReplicaSays => "the replica's own word",
            Proof::OpenedAgain => "the replica's own word in a later life of its node",
        }
    }

    /// Whether an observation shows it.
    #[must_use]
    pub fn is_shown_by(self, before: Option<&Record>, observation: &Observation) -> bool {
        match (self, &observation.evidence) {
            (Proof::Heard, Evidence::Heard) => true,
            (Proof::Silence, Evidence::Silence { for_ms, bound_ms }) => for_ms >= bound_ms,
            (Proof::AboveLow, Evidence::Room(room)) => {
                let marks = &room.marks;
                !marks.bytes_low(room) && !marks.inodes_low(room)
            }
            (Proof::LeavesLow, Evidence::Room(room)) => room.marks.leaves_low(room),
            (Proof::BelowLow, Evidence::Room(room)) => {
                let marks = &room.marks;
                let full = marks.bytes_full(room) || marks.inodes_full(room);
                !full && !marks.leaves_low(room)
            }
            (Proof::LacksRoom, Evidence::Room(room)) => {
                let enough = room.marks.leaves_full(room.free, room.inodes_free);
                !enough || room.probe == Probe::Refused
            }
            (Proof::RoomProved, Evidence::Room(room)) => {
                let Probe::Worked { bytes, free, inodes_free } = room.probe else { return false };
                bytes > 0 && room.marks.leaves_full(free, inodes_free)
            }
            (Proof::WriteRefused, Evidence::WriteRefused { .. })
            | (Proof::Answers, Evidence::Answered)
            | (Proof::Broken, Evidence::Broken { .. })
            | (Proof::ReplicaSays, Evidence::Replica { .. }) => true,
            (Proof::OpenedAgain, Evidence::Replica { .. }) => {
                before.is_none_or(|record| record.stamp.life < observation.stamp.life)
            }
            _ => false,
        }
    }
}

/// One allowed move.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub fact: Fact,
    /// `None`: nothing was known.
    pub from: Option<State>,
    pub to: State,
    /// Any one of these has to be shown.
    pub needs: &'static [Proof],
}

const fn rule(fact: Fact, from: Option<State>, to: State, needs: &'static [Proof]) -> Rule {
    Rule { fact, from, to, needs }
}

use Fact::{Data, Health, Liveness, Space};
use State::{Damaged, Failed, Full, Low, Ok, Recovering, Silent};

/// Everything that may happen to a fact. What is not here is refused.
pub const RULES: &[Rule] = &[
    rule(Liveness, None, Ok, &[Proof::Heard]),
    rule(Liveness, None, Silent, &[Proof::Silence]),
    rule(Liveness, Some(Ok), Silent, &[Proof::Silence]),
    rule(Liveness, Some(Silent), Ok, &[Proof::Heard]),
    rule(Space, None, Ok, &[Proof::AboveLow]),
    rule(Space, None, Low, &[Proof::BelowLow]),
    rule(Space, None, Full, &[Proof::LacksRoom, Proof::WriteRefused]),
    rule(Space, Some(Ok), Low, &[Proof::BelowLow]),
    rule(Space, Some(Ok), Full, &[Proof::LacksRoom, Proof::WriteRefused]),
    rule(Space, Some(Low), Ok, &[Proof::LeavesLow]),
    rule(Space, Some(Low), Full, &[Proof::LacksRoom, Proof::WriteRefused]),
    rule(Space, Some(Full), Low, &[Proof::RoomProved]),
    rule(Space, Some(Full), Ok, &[Proof::RoomProved]),
    rule(Health, None, Ok, &[Proof::Answers]),
    rule(Health, None, Failed, &[Proof::Broken]),
    rule(Health, Some(Ok), Failed, &[Proof::Broken]),
    rule(Health, Some(Failed), Ok, &[Proof::Answers]),
    rule(Data, None, Ok, &[Proof::ReplicaSays]),
    rule(Data, None, Recovering, &[Proof::ReplicaSays]),
    rule(Data, None, Damaged, &[Proof::ReplicaSays]),
    rule(Data, None, Failed, &[Proof::ReplicaSays]),
    rule(Data, Some(Ok), Damaged, &[Proof::ReplicaSays]),
    rule(Data, Some(Ok), Recovering, &[Proof::OpenedAgain]),
    rule(Data, Some(Ok), Failed, &[Proof::ReplicaSays]),
    rule(Data, Some(Damaged), Ok, &[Proof::ReplicaSays]),
    rule(Data, Some(Damaged), Recovering, &[Proof::OpenedAgain]),
    rule(Data, Some(Damaged), Failed, &[Proof::ReplicaSays]),
    rule(Data, Some(Recovering), Ok, &[Proof::ReplicaSays]),
    rule(Data, Some(Recovering), Damaged, &[Proof::ReplicaSays]),
    rule(Data, Some(Recovering), Failed, &[Proof::ReplicaSays]),
    rule(Data, Some(Failed), Ok, &[Proof::OpenedAgain]),
    rule(Data, Some(Failed), Recovering, &[Proof::OpenedAgain]),
    rule(Data, Some(Failed), Damaged, &[Proof::OpenedAgain]),
];

/// The rule for a move, if it is allowed at all.
#[must_use]
pub fn find(fact: Fact, from: Option<State>, to: State) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.fact == fact && rule.from == from && rule.to == to)
}

/// The states that a fact can be in, from best to worst.
#[must_use]
pub fn states(fact: Fact) -> &'static [State] {
    match fact {
        Liveness => &[Ok, Silent],
        Space => &[Ok, Low, Full],
        Health => &[Ok, Failed],
        Data => &[Ok, Recovering, Damaged, Failed],
    }
}

/// Who may change a fact, for people.
#[must_use]
pub fn owner_words(fact: Fact) -> &'static str {
    match fact {
        Liveness => "the detector of the control plane's leader",
        Space | Health => "the node that has the disk",
        Data => "the node that has the replica",
    }
}

/// What a person should do about a fact that is not well; empty when nothing.
#[must_use]
pub fn advice(fact: Fact, state: State) -> &'static str {
    match (fact, state) {
        (Liveness, Silent) => {
            "look whether the machine runs and its network is up; it comes back by itself"
        }
        (Space, Low) => "add disks, or delete; no new replicas are placed here meanwhile",
        (Space, Full) => {
            "delete files, remove what else fills the disk, or add disks; writes resume by themselves"
        }
        (Health, Failed) => {
            "replace the disk, or bring it back; its replicas are made anew elsewhere"
        }
        (Data, Damaged) => {
            "nothing: damaged places are mended from other replicas; see `holdfast fsck` if it stays"
        }
        (Data, Failed) => {
            "nothing: the replica is made anew from others; its reason says what happened"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_there_once_and_names_states_of_its_fact() {
        for (at, rule) in RULES.iter().enumerate() {
            assert!(states(rule.fact).contains(&rule.to), "{rule:?}");
            assert!(rule.from.is_none_or(|from| states(rule.fact).contains(&from)), "{rule:?}");
            assert_ne!(rule.from, Some(rule.to), "{rule:?}");
            assert!(!rule.needs.is_empty(), "{rule:?}");
            let same = |other: &Rule| {
                (other.fact, other.from, other.to) == (rule.fact, rule.from, rule.to)
            };
            assert!(!RULES[at + 1..].iter().any(same), "{rule:?} is there twice");
        }
    }

    #[test]
    fn full_is_left_by_proof_of_room_only() {
        let leaving = RULES.iter().filter(|rule| rule.fact == Space && rule.from == Some(Full));
        let needs: Vec<_> = leaving.map(|rule| rule.needs).collect();
        assert_eq!(needs, [&[Proof::RoomProved], &[Proof::RoomProved]]);
    }

    #[test]
    fn whatever_is_not_well_has_advice_or_passes() {
        for fact in Fact::ALL {
            for state in &states(*fact)[1..] {
                let passing = *state == Recovering;
                assert_eq!(advice(*fact, *state).is_empty(), passing, "{fact} {state}");
            }
        }
    }
}
