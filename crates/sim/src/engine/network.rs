//! The network between machines and to the control plane: drops, doubles, delays, reorders, cuts.

use crate::dice::Dice;

/// Place of the control plane in the tables of links.
pub(super) const CONTROL: usize = 7;
const PLACES: usize = 8;

/// How one run's network misbehaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    pub(super) latency_ns: u64,
    pub(super) jitter_ns: u64,
    pub(super) drop_per_mille: u64,
    pub(super) double_per_mille: u64,
    /// Messages that come very late.
    pub(super) late_per_mille: u64,
    pub(super) late_ns_max: u64,
    /// Nothing overtakes anything, as within one session.
    pub(super) in_order: bool,
}

impl Weather {
    pub(super) const FAIR: Weather = Weather {
        latency_ns: 300_000,
        jitter_ns: 200_000,
        drop_per_mille: 0,
        double_per_mille: 0,
        late_per_mille: 0,
        late_ns_max: 1,
        in_order: true,
    };
}

#[derive(Debug)]
pub(super) struct Network {
    pub(super) weather: Weather,
    /// `cut[from][to]`: nothing gets through.
    cut: [[bool; PLACES]; PLACES],
    /// When the last message on each link arrives.
    arrives: [[u64; PLACES]; PLACES],
}

/// After how long each copy of a message arrives; none when it is lost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Copies {
    pub(super) first: Option<u64>,
    pub(super) second: Option<u64>,
    pub(super) late: bool,
}

impl Network {
    pub(super) fn new(weather: Weather) -> Network {
        Network { weather, cut: [[false; PLACES]; PLACES], arrives: [[0; PLACES]; PLACES] }
    }

    pub(super) fn cut(&mut self, from: usize, to: usize) {
        self.cut[from][to] = true;
    }

    pub(super) fn heal(&mut self) {
        self.cut = [[false; PLACES]; PLACES];
    }

    pub(super) fn open(&self, from: usize, to: usize) -> bool {
        from == to || !self.cut[from][to]
    }

    /// Decides the fate of one message that is sent now.
    pub(super) fn send(&mut self, now: u64, from: usize, to: usize, dice: &mut Dice) -> Copies {
        let weather = self.weather;
        if !self.open(from, to) || dice.chance(weather.drop_per_mille) {
            return Copies::default();
        }
        let late = dice.chance(weather.late_per_mille);
        let extra = if late { dice.between(0, weather.late_ns_max) } else { 0 };
        let mut delay = || weather.latency_ns + dice.between(0, weather.jitter_ns);
        let mut first = delay() + extra;
        let again = delay();
        let second = dice.chance(weather.double_per_mille).then_some(again + extra / 2);
        if weather.in_order {
            first = first.max(self.arrives[from][to].saturating_sub(now));
            self.arrives[from][to] = now + first;
        }
        Copies { first: Some(first), second, late }
    }
}
