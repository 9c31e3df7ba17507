//! A node that tells what changed, and members that listen, over a network that loses, doubles and delays.
//!
//! The node's own code against the detector's own code. After every heartbeat that was taken the member
//! knows exactly what the node knew when it made it, but for how far logs go of what was held back.

use crate::dice::Dice;
use control::detect::{Detector, ReplicaReport as Known, Taken};
use node::telling::Telling;
use std::collections::BTreeMap;
use types::{BootId, Moment, NodeId, ReplicaId};
use wire::control::{Heartbeat, ReplicaReport};

const NODE: NodeId = NodeId(1);

struct World {
    dice: Dice,
    now: u64,
    boot: u64,
    sequence: u64,
    replicas: BTreeMap<u64, ReplicaReport>,
    telling: Telling,
    members: Vec<Detector>,
    leader: usize,
    /// What was sent, with what the node knew then.
    flying: Vec<(Heartbeat, Vec<ReplicaReport>)>,
    taken: u64,
    followed: u64,
    unfit: u64,
}

impl World {
    fn new(seed: u64) -> World {
        World {
            dice: Dice::new(seed),
            now: 1,
            boot: 1,
            sequence: 0,
            replicas: BTreeMap::new(),
            telling: Telling::default(),
            members: vec![Detector::new(Moment(0)); 2],
            leader: 0,
            flying: Vec::new(),
            taken: 0,
            followed: 0,
            unfit: 0,
        }
    }

    fn step(&mut self) {
        self.now += 1;
        match self.dice.between(0, 99) {
            0..40 => self.change(),
            40..96 => self.beat(),
            96..98 => {
                self.boot += 1;
                (self.sequence, self.telling) = (0, Telling::default());
            }
            _ => {
                self.leader = 1 - self.leader;
                self.members[self.leader] = Detector::new(Moment(self.now));
            }
        }
    }

    fn change(&mut self) {
        let id = self.dice.between(1, 150);
        let word = self.dice.between(0, 3);
        let replica = self.replicas.entry(id).or_insert_with(|| ReplicaReport {
            replica: id,
            partition: id,
            ..Default::default()
        });
        match word {
            0 => replica.role = i32::from(replica.role == 0),
            1 => drop(self.replicas.remove(&id)),
            _ => self.replicas.values_mut().for_each(|replica| replica.end += 1),
        }
    }

    /// The node says how it is; what was sent, and what is still under way, may arrive or not.
    fn beat(&mut self) {
        self.sequence += 1;
        let (boot, sequence, node) = (self.boot, self.sequence, NODE.0);
        let mut heartbeat = Heartbeat { node, boot, sequence, ..Default::default() };
        let known: Vec<ReplicaReport> = self.replicas.values().cloned().collect();
        self.telling.fill(&mut heartbeat, known.clone());
        self.flying.push((heartbeat.clone(), known.clone()));
        if self.dice.between(0, 9) == 0 {
            return;
        }
        let taken = self.arrive(&heartbeat, &known);
        if self.dice.between(0, 9) > 0 {
            self.telling.confirmed(if taken.is_fresh() { sequence } else { 0 });
        }
        if self.dice.between(0, 3) == 0 {
            let at = self.dice.between(0, self.flying.len() as u64 - 1) as usize;
            let (late, known) = self.flying[at].clone();
            self.arrive(&late, &known);
        }
        self.flying.drain(..self.flying.len().saturating_sub(5));
    }

    fn arrive(&mut self, heartbeat: &Heartbeat, known: &[ReplicaReport]) -> Taken {
        // As the control plane does: a life that is not the one on record is turned away.
        if heartbeat.boot != self.boot {
            return Taken::Stale;
        }
        let detector = &mut self.members[self.leader];
        let taken = detector.observe(Moment(self.now), heartbeat);
        match &taken {
            Taken::Stale => {}
            Taken::Unfit => self.unfit += 1,
            Taken::Fresh { .. } => {
                (self.taken, self.followed) =
                    (self.taken + 1, self.followed + u64::from(heartbeat.base > 0));
                let report = detector.report(NODE, BootId(heartbeat.boot)).unwrap();
                assert_eq!(report.replicas.len(), known.len());
                for truth in known {
                    let found = &report.replicas[&ReplicaId(truth.replica)];
                    let behind = found.end.0 < truth.end;
                    assert_eq!(found.role, truth.role());
                    assert!(found.end.0 <= truth.end && (!behind || heartbeat.held_back > 0));
                    let age = report.age_of(found, Moment(self.now));
                    assert!(!behind || !age.is_zero(), "what is behind is old: {}", words(found));
                }
            }
        }
        taken
    }
}

fn words(known: &Known) -> String {
    format!("{known:?}")
}

#[test]
fn what_is_taken_is_what_the_node_knew() {
    let (mut taken, mut followed, mut unfit) = (0, 0, 0);
    for seed in 0..200 {
        let mut world = World::new(seed);
        (0..300).for_each(|_| world.step());
        (taken, followed, unfit) =
            (taken + world.taken, followed + world.followed, unfit + world.unfit);
    }
    assert!(followed > 10_000 && unfit > 500, "{taken} taken, {followed} followed, {unfit} unfit");
}
