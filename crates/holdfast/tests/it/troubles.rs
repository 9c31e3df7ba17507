//! A node is decommissioned while everything goes wrong at once, over processes apart.
//!
//! Five nodes, each on a file system of its own, and over 200 partitions; programs write, read and
//! delete. Of the partitions on the node that leaves (`a`, with `b` and `c` holding the same one):
//!
//! ```text
//!   one is locked       a scrub reads it, at a kilobyte a second
//!   one is repaired     its replica on b was lost; repair is slow while clients work
//!   some have no room   those on a, b and d, since the disks of c and e are low on space
//!   a target dies       d, where most of them go, is killed in the middle
//!   nobody leads        the leader of the control plane is killed, twice
//! ```
//!
//! The report shows exactly those, for those reasons; when each cause is gone, it ends well by itself.

use super::farm::{Farm, Site};
use super::full::Loops;
use super::load::Load;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

const NODES: usize = 5;
const PARTITIONS: u64 = 204;
const DISK_MIB: u64 = 3 << 10;
/// A disk of this size with less room gets no new replicas.
const LEFT_MIB: u64 = 150;
/// A file in one chunk, so in one partition.
const BIG_MIB: usize = 24;
/// Files of 1 MiB, so that partitions have something to be read for a while.
const OTHERS: usize = 16;
/// What has become true is told this soon.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
const ENDS_WITHIN: Duration = Duration::from_secs(180);

/// Reasons and the partitions that are left for them.
type Left = BTreeMap<String, BTreeSet<u64>>;

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

/// Places in `Farm::nodes`, by what they are to be in this.
#[derive(Debug)]
struct Cast {
    ids: Vec<u64>,
    /// The partition that is repaired, and the five nodes as above.
    repaired: u64,
    roles: [usize; NODES],
}

fn holders(partition: &Value) -> Vec<u64> {
    let replicas = partition["replicas"].as_array().unwrap();
    replicas.iter().map(|replica| number(&replica["node"])).collect()
}

impl Cast {
    /// The partition with most data is the one of the big file.
    fn choose(farm: &Farm, sites: &[Site]) -> Cast {
        let ids: Vec<u64> = sites.iter().map(|site| farm.node_id(site).parse().unwrap()).collect();
        let partitions = farm.list(&["partition", "list"]);
        let bytes = |p: &&Value| p["replicas"][0]["bytes"].as_u64().unwrap_or(0);
        let big = partitions.iter().max_by_key(bytes).unwrap();
        let place = |id: &u64| ids.iter().position(|known| known == id).unwrap();
        let places = |p: &Value| holders(p).iter().map(place).collect::<BTreeSet<usize>>();
        let held = places(big);
        // So that some partitions are on a, b and d.
        let roles = partitions.iter().map(places).find_map(|other| {
            let mut both = held.intersection(&other);
            let (a, b) = (*both.next()?, *both.next()?);
            let (c, d) = (*held.difference(&other).next()?, *other.difference(&held).next()?);
            let e = (0..NODES).find(|node| ![a, b, c, d].contains(node))?;
            Some([a, b, c, d, e])
        });
        let roles = roles.expect("partitions share two nodes and differ in one");
        Cast { repaired: number(&big["id"]), ids, roles }
    }

    fn id(&self, role: usize) -> u64 {
        self.ids[self.roles[role]]
    }

    /// A partition with data on the node that leaves, with which nothing else is wrong.
    fn another(&self, farm: &Farm, no_room: &BTreeSet<u64>) -> u64 {
        let partitions = farm.list(&["partition", "list"]);
        let has_data = |p: &&Value| p["replicas"][0]["bytes"].as_u64().unwrap_or(0) >= 1 << 20;
        let on_it = partitions.iter().filter(|p| holders(p).contains(&self.id(0))).filter(has_data);
        let mut well = on_it.map(|p| number(&p["id"]));
        well.find(|id| *id != self.repaired && !no_room.contains(id)).expect("most are well")
    }

    /// Partitions with these three, by what they are to be.
    fn with(&self, farm: &Farm, roles: [usize; 3]) -> BTreeSet<u64> {
        let wanted: BTreeSet<u64> = roles.into_iter().map(|role| self.id(role)).collect();
        let partitions = farm.list(&["partition", "list"]);
        let with = |p: &&Value| holders(p).into_iter().collect::<BTreeSet<u64>>() == wanted;
        partitions.iter().filter(with).map(|p| number(&p["id"])).collect()
    }
}

fn operation(farm: &Farm, id: u64) -> Value {
    farm.json(&["operation", "show", &id.to_string()])
}

/// What an operation says is left.
fn left(operation: &Value) -> Left {
    let mut left = Left::new();
    for residue in operation["residue"].as_array().unwrap() {
        let partition = residue["partition"].as_u64().unwrap_or(0);
        let reason = residue["reason"].as_str().unwrap().to_owned();
        assert!(!residue["action"].as_str().unwrap().is_empty(), "what to do: {residue}");
        left.entry(reason).or_default().insert(partition);
    }
    left
}

fn of(left: &Left, reason: &str) -> BTreeSet<u64> {
    left.get(reason).cloned().unwrap_or_default()
}

/// Starts everything, and puts data into it.
fn start(folder: &Path) -> (Farm, Vec<Site>, Loops) {
    let loops = Loops::of(folder, NODES, DISK_MIB, &[]);
    let mut farm = Farm::start(folder, "replace_after_seconds = 5");
    let sites: Vec<Site> = (0..NODES)
        .map(|_| {
            let mut site = Site::new();
            site.settings = "repair_rate = \"1MiB\"".to_owned();
            site
        })
        .collect();
    sites.iter().for_each(|site| farm.add_node(site));
    farm.create_volume(&["--capacity", "8GiB", "--partitions", &PARTITIONS.to_string()]);
    farm.wait_healthy(Duration::from_secs(120));
    (farm, sites, loops)
}

fn write_big(folder: &Path) -> Vec<u8> {
    let bytes: Vec<u8> = (0..BIG_MIB << 20).map(|at| ((at * 31 + at / 4096) % 251) as u8).collect();
    let path = folder.join("big");
    std::fs::write(&path, &bytes).unwrap();
    std::fs::File::open(path).unwrap().sync_all().unwrap();
    for number in 0..OTHERS {
        std::fs::write(folder.join(format!("other-{number}")), &bytes[..1 << 20]).unwrap();
    }
    std::fs::File::open(folder).unwrap().sync_all().unwrap();
    bytes
}

/// The replica of the partition on `b` is lost with its folder.
fn lose(farm: &mut Farm, cast: &Cast) {
    let host = &mut farm.nodes[cast.roles[1]];
    host.kill();
    let folders = std::fs::read_dir(host.data.join("disk/replicas")).unwrap();
    let digits = |name: &str| name.chars().filter(char::is_ascii_digit).collect::<String>();
    let wanted = cast.repaired.to_string();
    let lost = folders.map(|entry| entry.unwrap()).find(|entry| {
        let name = entry.file_name().into_string().unwrap();
        name.split('-').next().map(digits).as_ref() == Some(&wanted)
    });
    std::fs::remove_dir_all(lost.expect("it is there").path()).unwrap();
    host.restart();
}

fn kill_leader(farm: &mut Farm) -> usize {
    let within = Duration::from_secs(20);
    let mut leader = None;
    farm.until("a leader", within, || {
        leader = farm.leader();
        leader.is_some()
    });
    let leader = leader.expect("it was waited for");
    farm.members[leader].kill();
    leader
}

#[test]
fn troubles_all_at_once_are_told_and_end_with_their_causes() {
    let folder = tempfile::tempdir().unwrap();
    let (mut farm, sites, loops) = start(folder.path());
    let mounted = farm.mount("mount");
    let big = write_big(&mounted);
    std::thread::sleep(Duration::from_secs(2));
    let cast = Cast::choose(&farm, &sites);
    let load = Load::start(&mounted);
    for role in [2, 4] {
        loops.take_from(cast.roles[role], LEFT_MIB);
    }
    let no_room = cast.with(&farm, [0, 1, 3]);
    assert!(no_room.len() >= 5, "{no_room:?}");
    let locked = cast.another(&farm, &no_room);
    let words = ["partition", "scrub", &locked.to_string(), "--bandwidth", "1KiB", "--yes"];
    let scrub = number(&farm.ask(&[&words[..], &["--output", "json"]].concat()).json()["id"]);
    // It is begun while all is well, for with too few good copies it would be refused.
    farm.until("disks that are low", Duration::from_secs(20), || {
        let disks = farm.list(&["disk", "list"]);
        let free = |disk: &&Value| disk["free_bytes"].as_u64().is_some_and(|b| b >> 20 <= LEFT_MIB);
        disks.iter().filter(free).count() == 2
    });
    let leaving = cast.id(0).to_string();
    let begun = farm.ask(&["node", "decommission", &leaving, "--yes", "--output", "json"]);
    // Repair takes numbers, too.
    let away = number(&begun.json()["id"]);
    let paused = farm.ask(&["operation", "pause", &away.to_string()]);
    assert_eq!(paused.code, 0, "{paused:?}");
    lose(&mut farm, &cast);
    farm.until("b is back", Duration::from_secs(60), || {
        let in_sync = |p: &Value| p["in_sync"].as_array().unwrap().len();
        let partitions = farm.list(&["partition", "list"]);
        partitions.iter().all(|p| in_sync(p) >= 3 || number(&p["id"]) == cast.repaired)
    });
    farm.until("the lost replica is being made anew", Duration::from_secs(30), || {
        let shown = farm.json(&["partition", "show", &cast.repaired.to_string()]);
        !shown["catching_up"].as_array().unwrap().is_empty()
    });
    let resumed = farm.ask(&["operation", "resume", &away.to_string()]);
    assert_eq!(resumed.code, 0, "{resumed:?}");

    let told = Instant::now();
    let mut seen = Left::new();
    let all_told = |seen: &Left| {
        of(seen, "OUT_OF_SPACE") == no_room
            && of(seen, "LOCKED") == BTreeSet::from([locked])
            && of(seen, "REPAIRING").contains(&cast.repaired)
    };
    while !all_told(&seen) {
        let shown = operation(&farm, away);
        let late = told.elapsed() >= TOLD_WITHIN;
        assert!(!late, "{cast:?} {no_room:?} {locked}: {seen:?}\n{shown:#}");
        seen = left(&shown);
    }
    let told = told.elapsed();
    let held = operation(&farm, away);
    let mut residue = held["residue"].as_array().unwrap().iter();
    let holder = &residue.find(|r| r["reason"] == "LOCKED").unwrap()["holder"];
    assert_eq!(
        (&holder["operation"], &holder["kind"]),
        (&scrub.into(), &"scrub".into()),
        "{held:#}"
    );

    // In the middle: where copies go dies, and whoever leads, twice.
    farm.nodes[cast.roles[3]].kill();
    for _ in 0..2 {
        let killed = kill_leader(&mut farm);
        std::thread::sleep(Duration::from_secs(3));
        farm.members[killed].restart();
        let state = operation(&farm, away)["state"].clone();
        assert!(state == "running" || state == "incomplete", "{state}");
    }
    farm.nodes[cast.roles[3]].restart();
    let expected =
        Left::from([("OUT_OF_SPACE".into(), no_room), ("LOCKED".into(), BTreeSet::from([locked]))]);
    farm.until("exactly those that cannot go are left", ENDS_WITHIN, || {
        let shown = operation(&farm, away);
        seen = left(&shown);
        shown["state"] == "incomplete" && seen == expected
    });

    // Each cause goes, and with it what is left.
    let ended = farm.ask(&["operation", "cancel", &scrub.to_string()]);
    assert_eq!(ended.code, 0, "{ended:?}");
    farm.until("the one that was locked goes", ENDS_WITHIN, || {
        of(&left(&operation(&farm, away)), "LOCKED").is_empty()
    });
    for role in [2, 4] {
        loops.give_back_to(cast.roles[role]);
    }
    farm.until("it ends by itself", ENDS_WITHIN, || operation(&farm, away)["state"] == "succeeded");
    assert_eq!(farm.folders(cast.roles[0]), Vec::<String>::new(), "its own folder holds nothing");
    let id = cast.id(0);
    let on_it = |p: &Value| holders(p).contains(&id);
    assert!(!farm.list(&["partition", "list"]).iter().any(on_it), "a fresh scan finds nothing");
    let acknowledged = load.stop();
    farm.wait_healthy(Duration::from_secs(120));
    farm.unmount(&mounted);
    let fresh = farm.mount("fresh");
    acknowledged.verify(&fresh);
    assert!(std::fs::read(fresh.join("big")).unwrap() == big, "the big file differs");
    farm.unmount(&fresh);
    let checked = farm.ask(&["fsck", "v"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    let said = format!("told within {told:?}\n");
    std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes()).unwrap();
}
