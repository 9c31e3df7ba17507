//! What kind of run a seed gives: how many machines, which weather, which troubles.
//!
//! Each run switches on a random part of the troubles only. Runs with everything at once seldom
//! get anywhere; a run with two troubles finds what those two do to each other.

use super::network::Weather;
use crate::dice::Dice;
use types::volume::Durability;

const MS: u64 = 1_000_000;

/// A kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    Kill,
    LosePower,
    LosePowerEverywhere,
    Cut,
    Isolate,
    IsolateLeader,
    IsolateFromControl,
    Pause,
    FillDisk,
    FailAppend,
    FailSync,
    SlowSync,
    FailPersist,
    ControlPlaneGone,
    MoveLeader,
    Usurp,
    Trim,
    Burst,
}

impl Trouble {
    pub(super) const ALL: &[Trouble] = &[
        Trouble::Kill,
        Trouble::LosePower,
        Trouble::LosePowerEverywhere,
        Trouble::Cut,
        Trouble::Isolate,
        Trouble::IsolateLeader,
        Trouble::IsolateFromControl,
        Trouble::Pause,
        Trouble::FillDisk,
        Trouble::FailAppend,
        Trouble::FailSync,
        Trouble::SlowSync,
        Trouble::FailPersist,
        Trouble::ControlPlaneGone,
        Trouble::MoveLeader,
        Trouble::Usurp,
        Trouble::Trim,
        Trouble::Burst,
    ];
}

#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) machines: usize,
    pub(super) durability: Durability,
    pub(super) in_sync_min: u8,
    pub(super) weather: Weather,
    pub(super) troubles: Vec<Trouble>,
    /// Time between two troubles, at most.
    pub(super) trouble_gap_ns: u64,
    /// How long there is trouble.
    pub(super) trouble_ns: u64,
    pub(super) clients: usize,
    pub(super) client_gap_ns: u64,
    pub(super) sync_ns_max: u64,
    /// How much faster or slower than the truth each clock runs, in parts per thousand.
    pub(super) drift_per_mille: u64,
    pub(super) heartbeat_late_per_mille: u64,
    pub(super) control_ns_max: u64,
}

impl Scenario {
    pub(super) fn draw(dice: &mut Dice) -> Scenario {
        let machines = *dice.pick(&[3, 3, 3, 4, 5]);
        let per_mille = *dice.pick(&[100, 200, 400, 700]);
        let mut troubles: Vec<Trouble> =
            Trouble::ALL.iter().copied().filter(|_| dice.chance(per_mille)).collect();
        if troubles.is_empty() {
            troubles.push(*dice.pick(Trouble::ALL));
        }
        Scenario {
            machines,
            durability: *dice.pick(&[Durability::Replicated, Durability::Synced]),
            in_sync_min: dice.between(1, 2) as u8,
            weather: Scenario::weather(dice),
            troubles,
            trouble_gap_ns: dice.between(100, 1500) * MS,
            trouble_ns: dice.between(3_000, 9_000) * MS,
            clients: dice.between(1, 3) as usize,
            client_gap_ns: dice.between(10, 80) * MS,
            sync_ns_max: dice.between(1, 12) * MS,
            drift_per_mille: *dice.pick(&[0, 5, 20]),
            heartbeat_late_per_mille: *dice.pick(&[0, 50, 200]),
            control_ns_max: *dice.pick(&[5, 50, 300]) * MS,
        }
    }

    fn weather(dice: &mut Dice) -> Weather {
        let wild = dice.chance(600);
        let mut rough = |choices: &[u64]| if wild { *dice.pick(choices) } else { 0 };
        let drop_per_mille = rough(&[0, 5, 30, 100]);
        let double_per_mille = rough(&[0, 10, 50]);
        let late_per_mille = rough(&[0, 5, 30]);
        let jitter_ns = rough(&[0, 1, 5]) * MS;
        Weather {
            latency_ns: *dice.pick(&[100_000, 500_000, 2_000_000]),
            jitter_ns: jitter_ns + 10_000,
            drop_per_mille,
            double_per_mille,
            late_per_mille,
            late_ns_max: *dice.pick(&[50, 500, 4_000]) * MS,
            in_order: !wild,
        }
    }
}
