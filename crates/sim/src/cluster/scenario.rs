//! What kind of run a seed gives: how many hosts, which weather, which troubles.
//!
//! Each run switches on a few of the troubles only: a run with two of them finds what those two do
//! to each other.

use super::desk::Job;
use crate::dice::Dice;
use node::upkeep::Upkeep;
use std::time::Duration;
use types::volume::Durability;

/// After everything has healed, all partitions are whole and all operations succeed within this.
pub(super) const SETTLE_MAX: Duration = Duration::from_secs(40);

/// A kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// The process of a node, a member or a client dies.
    KillNode,
    KillControl,
    KillClient,
    /// ... of whichever member leads the control plane.
    KillControlLeader,
    /// ... of everybody at once.
    KillAll,
    /// The power of a host fails: what was not synced is gone, in part or in whole.
    LosePowerNode,
    LosePowerControl,
    /// The power of all hosts fails at once.
    Blackout,
    /// A link between two hosts is cut.
    Cut,
    /// A node, or a member, is cut off from everybody else of the cluster.
    IsolateNode,
    IsolateControl,
    /// The hosts fall into two halves.
    Split,
    /// A link becomes slow.
    SlowLink,
    /// A disk of a node is full for a while.
    FillDisk,
    /// ... of a member.
    FillControl,
    /// Whatever takes room on a disk of a node finds none now and then, for a while.
    RefuseRoom,
    /// ... of a member.
    RefuseRoomControl,
    /// A disk of a node fails now and then, for a while.
    FailWrites,
    FailSyncs,
    FailReads,
    /// A bit of a node's log flips.
    Rot,
}

impl Trouble {
    const ALL: &[Trouble] = &[
        Trouble::KillNode,
        Trouble::KillControl,
        Trouble::KillClient,
        Trouble::KillControlLeader,
        Trouble::KillAll,
        Trouble::LosePowerNode,
        Trouble::LosePowerControl,
        Trouble::Blackout,
        Trouble::Cut,
        Trouble::IsolateNode,
        Trouble::IsolateControl,
        Trouble::Split,
        Trouble::SlowLink,
        Trouble::FillDisk,
        Trouble::FillControl,
        Trouble::RefuseRoom,
        Trouble::RefuseRoomControl,
        Trouble::FailWrites,
        Trouble::FailSyncs,
        Trouble::FailReads,
        Trouble::Rot,
    ];
}

#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) members: usize,
    pub(super) nodes: usize,
    pub(super) clients: usize,
    pub(super) durability: Durability,
    pub(super) troubles: Vec<Trouble>,
    /// How long there is trouble.
    pub(super) trouble: Duration,
    /// Time between two troubles, at most.
    pub(super) gap: Duration,
    /// Time between two operations of a client, at most.
    pub(super) pause: Duration,
    pub(super) latency_min: Duration,
    pub(super) latency_max: Duration,
    /// Longest time that a sync, or other work that may block, takes.
    pub(super) work_max: Duration,
    /// How much the nodes let gather.
    pub(super) upkeep: Upkeep,
    /// After how long a silent node's replicas, and broken ones, are made anew.
    pub(super) replace_after: Duration,
    /// The one node whose power may fail in a run where an acknowledged write need not be on any
    /// disk: were it two, writes could be lost that nobody promised to keep.
    pub(super) powerless: usize,
    /// What is taken out of service meanwhile.
    pub(super) job: Option<Job>,
}

impl Scenario {
    pub(super) fn draw(dice: &mut Dice) -> Scenario {
        let nodes = *dice.pick(&[3, 3, 4]);
        let few = *dice.pick(&[120, 250, 500]);
        let mut troubles: Vec<Trouble> =
            Trouble::ALL.iter().copied().filter(|_| dice.chance(few)).collect();
        if troubles.is_empty() {
            troubles.push(*dice.pick(Trouble::ALL));
        }
        let durability = *dice.pick(&[Durability::Replicated, Durability::Synced]);
        if durability == Durability::Replicated && troubles.contains(&Trouble::LosePowerNode) {
            troubles.retain(|trouble| !thins_out(*trouble));
        }
        if troubles.contains(&Trouble::Rot) {
            troubles.retain(|trouble| !parts_replicas(*trouble));
        }
        let latency_max = *dice.pick(&[2, 5, 20]);
        Scenario {
            members: 3,
            nodes,
            clients: dice.between(2, 5) as usize,
            durability,
            troubles,
            trouble: Duration::from_millis(dice.between(4_000, 9_000)),
            gap: Duration::from_millis(dice.between(150, 1_500)),
            pause: Duration::from_millis(dice.between(30, 150)),
            latency_min: Duration::from_micros(200),
            latency_max: Duration::from_millis(latency_max),
            work_max: Duration::from_millis(*dice.pick(&[0, 4, 20])),
            replace_after: Duration::from_secs(*dice.pick(&[3, 3, 10])),
            powerless: dice.below(nodes),
            upkeep: upkeep(dice),
            job: None,
        }
    }

    /// Has a node leave amid the troubles, in some runs. Drawn apart, so that all others stay as they are.
    pub(super) fn draw_job(&mut self, dice: &mut Dice) {
        if !dice.chance(500) {
            return;
        }
        // With three nodes there is nowhere to go.
        if self.nodes == 3 && dice.chance(800) {
            self.nodes = 4;
        }
        if dice.chance(400) && !self.troubles.contains(&Trouble::KillControlLeader) {
            self.troubles.push(Trouble::KillControlLeader);
        }
        self.job = Some(Job::draw(dice, self.nodes));
    }
}

/// Mostly very little, so that segments end, checkpoints are made and room is given back all the time.
fn upkeep(dice: &mut Dice) -> Upkeep {
    if dice.chance(150) {
        return Upkeep::default();
    }
    Upkeep {
        segment_bytes: *dice.pick(&[10_000, 40_000, 200_000]),
        checkpoint_log_bytes: *dice.pick(&[4_000, 20_000, 100_000]),
        checkpoint_index_bytes: *dice.pick(&[2_000, 50_000]),
        checkpoint_interval: Duration::from_millis(dice.between(50, 3_000)),
        log_kept_bytes: *dice.pick(&[0, 0, 30_000, 300_000]),
        hole_bytes_min: 0,
        ..Upkeep::default()
    }
}

/// Whether a trouble may leave one replica of a partition in sync. If a bit of that one flips, no
/// good copy is left: the partition says so and answers with EIO for ever, as promised, and there
/// is nothing more to check.
fn parts_replicas(trouble: Trouble) -> bool {
    let all_alike = matches!(trouble, Trouble::KillAll | Trouble::FailReads | Trouble::SlowLink);
    thins_out(trouble) && !all_alike
}

/// Whether a trouble may leave the one replica whose power fails as the only one in sync: then
/// what was acknowledged may be lost with it, and nobody promised otherwise.
fn thins_out(trouble: Trouble) -> bool {
    !matches!(
        trouble,
        Trouble::KillControl
            | Trouble::KillClient
            | Trouble::KillControlLeader
            | Trouble::LosePowerNode
            | Trouble::LosePowerControl
            | Trouble::Blackout
            | Trouble::IsolateControl
            | Trouble::FillControl
            | Trouble::RefuseRoomControl
            | Trouble::Rot
    )
}
