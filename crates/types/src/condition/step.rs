//! The one function by which a fact changes.

use super::evidence::Evidence;
use super::fact::{Fact, Key, Owner, Reason, Stamp, State};
use super::table;
use crate::Timestamp;
use serde::{Deserialize, Serialize};

/// A fact, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    pub state: State,
    pub reason: Reason,
    pub evidence: Evidence,
    /// When it came into this state.
    pub since: Timestamp,
    /// The word of the owner that it rests on.
    pub stamp: Stamp,
}

/// What somebody says of a fact.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Observation {
    pub key: Key,
    /// Who says it.
    pub by: Owner,
    pub stamp: Stamp,
    pub state: State,
    pub reason: Reason,
    pub evidence: Evidence,
    pub at: Timestamp,
}

/// Why an observation was not followed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    #[error("{by} is not the owner, which is {owner}")]
    NotOwner { by: String, owner: String },
    #[error("no rule leads from {} to {to}", from_word(*.from))]
    NotInTable { from: Option<State>, to: State },
    #[error("{} to {to} needs {needs}", from_word(*.from))]
    Unproven { from: Option<State>, to: State, needs: String },
}

fn from_word(from: Option<State>) -> &'static str {
    from.map_or("unknown", State::word)
}

/// What became of an observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The fact is in another state now.
    Applied(Record),
    /// It says what is known.
    Same,
    /// It is not newer than what is known.
    Stale,
    /// It must not be followed.
    Refused(Refusal),
}

/// Takes an observation of a fact whose owner is `owner`.
#[must_use]
pub fn step(before: Option<&Record>, owner: Owner, observation: &Observation) -> Step {
    if observation.by != owner {
        let (by, owner) = (observation.by.to_string(), owner.to_string());
        return Step::Refused(Refusal::NotOwner { by, owner });
    }
    if before.is_some_and(|record| is_stale(record, observation)) {
        return Step::Stale;
    }
    let from = before.map(|record| record.state);
    let to = observation.state;
    if from == Some(to) {
        return Step::Same;
    }
    let Some(rule) = table::find(observation.key.fact, from, to) else {
        return Step::Refused(Refusal::NotInTable { from, to });
    };
    if !rule.needs.iter().any(|proof| proof.is_shown_by(before, observation)) {
        let needs: Vec<&str> = rule.needs.iter().map(|proof| proof.words()).collect();
        return Step::Refused(Refusal::Unproven { from, to, needs: needs.join(", or ") });
    }
    Step::Applied(Record {
        state: to,
        reason: observation.reason,
        evidence: observation.evidence.clone(),
        since: observation.at,
        stamp: observation.stamp,
    })
}

/// Silence says that nothing newer was heard, so it goes by the last word that was.
fn is_stale(record: &Record, observation: &Observation) -> bool {
    let silence = observation.key.fact == Fact::Liveness && observation.state == State::Silent;
    if silence { observation.stamp < record.stamp } else { observation.stamp <= record.stamp }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::{Gate, Marks, Probe, Room};
    use crate::{DiskId, NodeId};

    const OWNER: Owner = Owner::Node(NodeId(1));
    const MIB: u64 = 1 << 20;

    fn room(free: u64, probe: Probe) -> Evidence {
        Evidence::Room(Room {
            free,
            total: 1024 * MIB,
            inodes_free: None,
            marks: Marks::of(1024 * MIB),
            probe,
        })
    }

    fn says(sequence: u64, state: State, evidence: Evidence) -> Observation {
        Observation {
            key: Key::space(DiskId(1)),
            by: OWNER,
            stamp: Stamp { life: 1, sequence },
            state,
            reason: Reason::RoomEnough,
            evidence,
            at: Timestamp(0),
        }
    }

    fn full() -> Record {
        match step(None, OWNER, &says(5, State::Full, room(0, Probe::NotTried))) {
            Step::Applied(record) => record,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn full_is_not_left_without_all_of_the_proof() {
        let enough = 900 * MIB;
        let worked = Probe::Worked { bytes: 4096, free: enough, inodes_free: None };
        let thin = Probe::Worked { bytes: 4096, free: 40 * MIB, inodes_free: None };
        let leave = |observation: Observation| step(Some(&full()), OWNER, &observation);
        for evidence in [
            Evidence::Heard,
            Evidence::Answered,
            room(enough, Probe::NotTried),
            room(enough, Probe::Refused),
            room(enough, Probe::Worked { bytes: 0, free: enough, inodes_free: None }),
            room(enough, thin),
        ] {
            let refused = leave(says(6, State::Ok, evidence.clone()));
            assert!(matches!(refused, Step::Refused(Refusal::Unproven { .. })), "{evidence:?}");
        }
        let proof = says(6, State::Ok, room(enough, worked));
        assert!(matches!(leave(proof.clone()), Step::Applied(_)));
        assert_eq!(
            leave(Observation { stamp: Stamp { life: 1, sequence: 5 }, ..proof.clone() }),
            Step::Stale
        );
        assert_eq!(
            leave(Observation { stamp: Stamp { life: 0, sequence: 99 }, ..proof.clone() }),
            Step::Stale
        );
        for by in [Owner::Detector, Owner::Node(NodeId(2))] {
            let refused = leave(Observation { by, ..proof.clone() });
            assert!(matches!(refused, Step::Refused(Refusal::NotOwner { .. })));
        }
    }

    #[test]
    fn silence_and_return_are_of_another_fact() {
        let heard = Observation {
            key: Key::liveness(NodeId(1)),
            by: Owner::Detector,
            ..says(9, State::Ok, Evidence::Heard)
        };
        let Step::Applied(alive) = step(None, Owner::Detector, &heard) else { panic!() };
        let silence = Evidence::Silence { for_ms: 1600, bound_ms: 1500 };
        let silent = Observation { state: State::Silent, evidence: silence, ..heard.clone() };
        let Step::Applied(silent) = step(Some(&alive), Owner::Detector, &silent) else { panic!() };
        assert_eq!(step(Some(&silent), Owner::Detector, &heard), Step::Stale, "heard before");
        let moved = Observation { state: State::Full, ..heard };
        let newer = Observation { stamp: Stamp { life: 2, sequence: 1 }, ..moved };
        let refused = step(Some(&silent), Owner::Detector, &newer);
        assert!(matches!(refused, Step::Refused(Refusal::NotInTable { .. })));
    }

    #[test]
    fn whatever_a_gate_says_is_allowed() {
        let mut gate = Gate::new(State::Ok);
        let mut record = None;
        let frees = [900, 100, 50, 20, 40, 47, 49, 100, 120, 200, 10, 300];
        for (sequence, free) in (1..).zip(frees) {
            let mut measured = Room {
                free: free * MIB,
                total: 1024 * MIB,
                inodes_free: Some(10_000),
                marks: Marks::of(1024 * MIB),
                probe: Probe::NotTried,
            };
            if gate.wants_probe(&measured) {
                let free = measured.free;
                measured.probe = Probe::Worked { bytes: 1, free, inodes_free: Some(10_000) };
            }
            gate.measured(measured);
            let observation = says(sequence, gate.state(), gate.evidence().clone());
            match step(record.as_ref(), OWNER, &observation) {
                Step::Applied(after) => record = Some(after),
                Step::Same => {}
                other => panic!("{free} MiB: {other:?}"),
            }
            assert_eq!(record.as_ref().map(|record| record.state), Some(gate.state()));
        }
    }
}
