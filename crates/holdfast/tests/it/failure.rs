//! Hosts on a network of their own under every single failure, while programs write.
//!
//! Without settings this runs one round of chosen faults, about two minutes. A campaign sets
//! `HOLDFAST_CAMPAIGN_MINUTES`, and faults are drawn from `HOLDFAST_CAMPAIGN_SEED` until the time
//! is over: `cargo xtask campaign failure --minutes N --seed S`.

use super::fleet::{CLIENT, Fleet, HOSTS, Part};
use super::load::Load;
use std::time::{Duration, Instant};
use types::limits::FAILOVER_BOUND;

/// How long a fault lasts: the bound, and some load after it.
const FAULT_LASTS: Duration = Duration::from_millis(6500);
const HEALED_WITHIN: Duration = Duration::from_secs(40);

#[derive(Clone, Copy, Debug)]
enum Fault {
    KillNode(usize),
    KillControl(usize),
    KillHost(usize),
    /// The host runs on, and nobody can reach it: what a loss of power looks like from outside.
    Isolate(usize),
    Cut(usize, usize),
    /// Only one direction.
    CutOneWay(usize, usize),
    /// The whole control plane is gone.
    NoControl,
    /// Everything is killed at once and started again; there is no bound for that.
    KillAll,
}

/// What CI runs. Every host loses its node, its member or both once.
const ROUND: [Fault; 9] = [
    Fault::KillNode(0),
    Fault::KillControl(1),
    Fault::Cut(0, 1),
    Fault::Cut(1, 2),
    Fault::Cut(2, CLIENT),
    Fault::NoControl,
    Fault::KillHost(2),
    Fault::Isolate(0),
    Fault::KillAll,
];

impl Fault {
    fn strike(self, fleet: &mut Fleet) {
        match self {
            Fault::KillNode(host) => fleet.kill(host, Part::Node),
            Fault::KillControl(host) => fleet.kill(host, Part::Control),
            Fault::KillHost(host) => {
                fleet.kill(host, Part::Control);
                fleet.kill(host, Part::Node);
            }
            Fault::Isolate(host) => fleet.isolate(host),
            Fault::Cut(one, other) => {
                fleet.cut(one, other);
                fleet.cut(other, one);
            }
            Fault::CutOneWay(from, to) => fleet.cut(from, to),
            Fault::NoControl => (0..HOSTS).for_each(|host| fleet.kill(host, Part::Control)),
            Fault::KillAll => {
                for host in 0..HOSTS {
                    fleet.kill(host, Part::Node);
                    fleet.kill(host, Part::Control);
                }
            }
        }
    }

    fn heal(self, fleet: &mut Fleet) {
        match self {
            Fault::Isolate(host) => fleet.plug_in(host),
            Fault::Cut(one, other) => {
                fleet.join(one, other);
                fleet.join(other, one);
            }
            Fault::CutOneWay(from, to) => fleet.join(from, to),
            _ => fleet.restart_all(),
        }
    }

    fn has_bound(self) -> bool {
        !matches!(self, Fault::KillAll)
    }
}

/// Small, and the same for the same seed everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).unwrap()
    }

    fn fault(&mut self) -> Fault {
        let one = self.roll(HOSTS);
        let other = (one + 1 + self.roll(HOSTS - 1)) % HOSTS;
        match self.roll(13) {
            0..=2 => Fault::KillNode(one),
            3 => Fault::KillControl(one),
            4 => Fault::KillHost(one),
            5 => Fault::Isolate(one),
            6..=8 => Fault::Cut(one, other),
            9 => Fault::CutOneWay(one, other),
            10 => Fault::NoControl,
            11 => Fault::Cut(one, CLIENT),
            _ => Fault::KillAll,
        }
    }
}

fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// One fault under load, and back to health.
fn suffer(fleet: &mut Fleet, load: &Load, fault: Fault) {
    let before = load.longest();
    let calls = load.calls();
    fault.strike(fleet);
    std::thread::sleep(if fault.has_bound() { FAULT_LASTS } else { Duration::from_millis(500) });
    let stood = load.longest();
    let during = load.calls() - calls;
    fault.heal(fleet);
    let healed = fleet.wait_healthy(HEALED_WITHIN);
    // Those that waited for the end of the fault have it behind them.
    std::thread::sleep(Duration::from_secs(1));
    let after = load.longest();
    say(&format!(
        "{fault:?}: {during} calls; longest {before:?} before, {stood:?} during, {after:?} while \
         healing; healthy after {healed:?}"
    ));
    if fault.has_bound() {
        let longest = stood.max(after);
        assert!(longest < FAILOVER_BOUND, "{fault:?}: writes stood still for {longest:?}");
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn failure_of_any_one_thing_costs_seconds_and_no_bytes() {
    let folder = tempfile::Builder::new().prefix("holdfast-failure-").tempdir().unwrap();
    let folder_path = folder.path().to_owned();
    // What was logged is worth keeping when something went wrong.
    let keep = folder.keep();
    let mut fleet = Fleet::start(&folder_path);
    let begun = Instant::now();
    while fleet.ask(&["volume", "create", "v", "--kind", "file", "--capacity", "4GiB"]).code != 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "no volume: {}", fleet.log("control-0"));
        std::thread::sleep(Duration::from_millis(200));
    }
    fleet.wait_healthy(HEALED_WITHIN);
    let mounted = fleet.mount("v", "mount");
    let load = Load::start(&mounted);
    std::thread::sleep(Duration::from_secs(2));
    match setting("HOLDFAST_CAMPAIGN_MINUTES") {
        None => ROUND.into_iter().for_each(|fault| suffer(&mut fleet, &load, fault)),
        Some(minutes) => {
            let seed = setting("HOLDFAST_CAMPAIGN_SEED").unwrap_or(1);
            let mut dice = Dice(seed);
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(60 * minutes) {
                let fault = dice.fault();
                suffer(&mut fleet, &load, fault);
            }
        }
    }
    // Programs end, everything dies once more, and a mount that saw nothing of it reads.
    let acknowledged = load.stop();
    Fault::KillAll.strike(&mut fleet);
    Fault::KillAll.heal(&mut fleet);
    fleet.wait_healthy(HEALED_WITHIN);
    let fresh = fleet.mount("v", "fresh");
    acknowledged.verify(&fresh);
    fleet.unmount(&fresh);
    fleet.unmount(&mounted);
    let checked = fleet.fsck("v");
    assert_eq!(checked.code, 0, "{checked:?}");
    // Those who were away for seconds were brought up from logs.
    for host in 0..HOSTS {
        let log = fleet.log(&format!("node-{host}"));
        assert!(!log.contains("sending a snapshot"), "node {host} was rebuilt: {log}");
    }
    drop(fleet);
    std::fs::remove_dir_all(keep).unwrap();
}
