//! Disks that run out of space, on small file systems of their own, while everything else goes wrong.
//!
//! Three hosts, each with an ext4 file system of 512 MiB. They are filled until writes end in ENOSPC.
//! Then links are cut, nodes and members are killed and started again, in random order; once a second
//! what is shown is compared with what an append to a file really gives. Then room comes back, and
//! writes must go on within [`SPACE_RECOVERY_BOUND`], with every acknowledged byte in its place.
//!
//! Who waits for a leader has no answer to be compared; such samples are counted, not skipped in
//! silence. Needs root, for the namespaces and the loop devices.

use super::fleet::{Fleet, HOSTS, Part};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use types::limits::SPACE_RECOVERY_BOUND;

const DISK_MIB: u64 = 512;
/// Room that is left for the load; the rest is taken by a file of nobody's.
const LEFT_MIB: u64 = 160;
const FILE_MIB: usize = 4;
/// A shown state may be this much older than what an append meets.
const LAG: Duration = Duration::from_secs(5);
const TROUBLE_LASTS: Duration = Duration::from_secs(24);

fn sh(program: &str, words: &[&str]) {
    let output = Command::new(program).args(words).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {words:?} (as root?): {said}");
}

fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Small file systems where the nodes keep their disks.
pub(super) struct Loops {
    mounts: Vec<PathBuf>,
}

impl Loops {
    fn make(folder: &Path, options: &[&str]) -> Loops {
        Loops::of(folder, HOSTS, DISK_MIB, options)
    }

    /// Of so many nodes, so big.
    pub(super) fn of(folder: &Path, nodes: usize, mib: u64, options: &[&str]) -> Loops {
        let mut loops = Loops { mounts: Vec::new() };
        for node in 0..nodes {
            let (image, at) =
                (folder.join(format!("image-{node}")), folder.join(format!("node-{node}/disk")));
            std::fs::create_dir_all(&at).unwrap();
            std::fs::File::create(&image).unwrap().set_len(mib << 20).unwrap();
            let (image, place) = (image.display().to_string(), at.display().to_string());
            sh("mkfs.ext4", &[options, &["-q", "-m", "0", "-F", &image]].concat());
            sh("mount", &["-o", "loop", &image, &place]);
            loops.mounts.push(at);
        }
        loops
    }

    /// Another program takes room, until this much is left.
    fn take(&self, left_mib: u64) {
        (0..self.mounts.len()).for_each(|node| self.take_from(node, left_mib));
    }

    /// The same, on one of them.
    pub(super) fn take_from(&self, node: usize, left_mib: u64) {
        let at = &self.mounts[node];
        let free = df(at, "--output=avail");
        let bytes = (free.saturating_sub(left_mib) << 20).to_string();
        sh("fallocate", &["-l", &bytes, &at.join("taken").display().to_string()]);
    }

    /// The room of one of them is given back.
    pub(super) fn give_back_to(&self, node: usize) {
        std::fs::remove_file(self.mounts[node].join("taken")).unwrap();
    }

    /// Another program takes the very last byte; what is let go of afterwards it leaves.
    fn take_all(&self) {
        for (at, number) in self.mounts.iter().zip(0..) {
            // What was given back a moment ago may be room only after a while.
            for again in 0..2 {
                let name = at.join(format!("eaten-{number}-{again}")).display().to_string();
                let of = format!("of={name}");
                let words = ["if=/dev/zero", &of, "bs=4k", "oflag=append", "conv=notrunc,fsync"];
                let _ = Command::new("dd").args(words).stderr(Stdio::null()).output().unwrap();
            }
        }
    }

    fn give_back_all(&self) {
        for at in &self.mounts {
            let names = std::fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path());
            let eaten = |path: &PathBuf| path.display().to_string().contains("/eaten-");
            names.filter(eaten).for_each(|path| std::fs::remove_file(path).unwrap());
        }
    }

    /// MiB of ballast on all disks.
    fn ballast(&self) -> u64 {
        let of = |at: &PathBuf| {
            let output = Command::new("du").args(["-sm"]).arg(at.join("ballast")).output().unwrap();
            let output = String::from_utf8(output.stdout).unwrap();
            output.split('\t').next().and_then(|mib| mib.parse::<u64>().ok()).unwrap_or(0)
        };
        self.mounts.iter().map(of).sum()
    }

    /// Another program makes so many files that this many more can be made.
    fn take_names(&self, left: u64) {
        for at in &self.mounts {
            let free = df(at, "--output=iavail");
            let folder = at.join("names");
            std::fs::create_dir(&folder).unwrap();
            (left + 1..free).for_each(|n| drop(std::fs::File::create(folder.join(n.to_string()))));
        }
    }

    /// It removes them.
    fn give_back_names(&self) {
        self.mounts.iter().for_each(|at| std::fs::remove_dir_all(at.join("names")).unwrap());
    }

    /// It gives the room back.
    fn give_back(&self) {
        (0..self.mounts.len()).for_each(|node| self.give_back_to(node));
    }
}

/// What `df` says of a file system; bytes as MiB.
fn df(at: &Path, column: &str) -> u64 {
    let output = Command::new("df").args([column, "-B1M"]).arg(at).output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    output.lines().last().unwrap().trim().parse().unwrap()
}

impl Drop for Loops {
    fn drop(&mut self) {
        for at in &self.mounts {
            let _ = Command::new("umount").arg("-l").arg(at).output();
        }
    }
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wrote {
    Acknowledged,
    NoSpace,
    /// It waited for too long to be compared with anything.
    Waits,
}

/// A write by a process of its own: ours opens nothing on the mount, and what waits there cannot be
/// killed before it is answered.
struct Writing {
    process: Child,
    said: PathBuf,
}

impl Writing {
    fn begin(from: &Path, to: &Path) -> Writing {
        let said = from.with_extension("said");
        let mut dd = Command::new("dd");
        dd.args(["bs=1M", "conv=fsync,notrunc", "oflag=append"]).env("LC_ALL", "C");
        dd.arg(format!("if={}", from.display())).arg(format!("of={}", to.display()));
        dd.stdin(Stdio::null()).stdout(Stdio::null());
        let process = dd.stderr(std::fs::File::create(&said).unwrap()).spawn().unwrap();
        Writing { process, said }
    }

    /// How it went, as soon as it is known.
    fn within(&mut self, time: Duration) -> Wrote {
        let begun = Instant::now();
        while begun.elapsed() < time {
            let Some(status) = self.process.try_wait().unwrap() else {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            let said = std::fs::read_to_string(&self.said).unwrap();
            assert!(
                status.success() || said.contains("No space left on device"),
                "a write ended otherwise: {status} {said}"
            );
            return if status.success() { Wrote::Acknowledged } else { Wrote::NoSpace };
        }
        Wrote::Waits
    }
}

fn write(from: &Path, to: &Path, seconds: u64) -> Wrote {
    Writing::begin(from, to).within(Duration::from_secs(seconds))
}

/// Statuses of everything of a kind, and whether they are the leader's word.
fn shown(fleet: &Fleet, words: &[&str]) -> Option<(BTreeSet<String>, bool)> {
    let run = fleet.ask(&[words, &["list", "--output", "json"]].concat());
    let items: Vec<serde_json::Value> = serde_json::from_str(&run.out).ok()?;
    let data = |item: &&serde_json::Value| item["kind"] != "namespace";
    let statuses = items.iter().filter(data).map(|i| i["status"].as_str().unwrap().to_owned());
    Some((statuses.collect(), !run.err.contains("does not answer")))
}

/// Whether every disk and every data partition is shown as full.
fn all_full(fleet: &Fleet) -> bool {
    let full =
        |kind: &str| shown(fleet, &[kind]).is_some_and(|(s, _)| s == ["full".to_owned()].into());
    full("disk") && full("partition")
}

/// Fills the volume with files until there is no space; how many were acknowledged.
fn fill(folder: &Path, mounted: &Path) -> usize {
    for number in 0.. {
        let pattern = folder.join(format!("pattern-{number}"));
        let byte = u8::try_from(number % 251).unwrap();
        let mut bytes = vec![byte; FILE_MIB << 20];
        bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
        std::fs::write(&pattern, bytes).unwrap();
        match write(&pattern, &mounted.join(format!("file-{number}")), 60) {
            Wrote::Acknowledged => {}
            Wrote::NoSpace => return number,
            Wrote::Waits => panic!("a write waited for a minute"),
        }
        assert!(number < 200, "the disks do not fill");
    }
    unreachable!()
}

fn eventually(what: &str, within: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < within, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
    begun.elapsed()
}

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % sides).unwrap()
    }
}

/// One trouble at a time.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Cut(usize, usize),
    Isolate(usize),
    KillNode(usize),
    KillControl(usize),
    KillAll,
}

/// Troubles in random order, each of them once before any comes again: so that a short run cannot
/// happen to leave out a kind.
struct Deck {
    dice: Dice,
    left: Vec<Trouble>,
}

impl Deck {
    fn new(seed: u64) -> Deck {
        Deck { dice: Dice(seed), left: Vec::new() }
    }

    fn draw(&mut self) -> Trouble {
        if self.left.is_empty() {
            let (one, step) = (self.dice.roll(3), self.dice.roll(2) + 1);
            self.left.push(Trouble::Cut(one, (one + step) % HOSTS));
            self.left.push(Trouble::Isolate(self.dice.roll(3)));
            // Whoever leads a partition is among them, and whoever leads the control plane.
            self.left.extend((0..HOSTS).map(Trouble::KillNode));
            self.left.extend((0..HOSTS).map(Trouble::KillControl));
            self.left.push(Trouble::KillAll);
        }
        let which = self.dice.roll(self.left.len() as u64);
        self.left.swap_remove(which)
    }
}

impl Trouble {
    fn strike(self, fleet: &mut Fleet) {
        match self {
            Trouble::Cut(one, other) => {
                fleet.cut(one, other);
                fleet.cut(other, one);
            }
            Trouble::Isolate(host) => fleet.isolate(host),
            Trouble::KillNode(host) => fleet.kill(host, Part::Node),
            Trouble::KillControl(host) => fleet.kill(host, Part::Control),
            Trouble::KillAll => (0..HOSTS).for_each(|host| {
                fleet.kill(host, Part::Node);
                fleet.kill(host, Part::Control);
            }),
        }
    }

    fn heal(self, fleet: &mut Fleet) {
        match self {
            Trouble::Cut(one, other) => {
                fleet.join(one, other);
                fleet.join(other, one);
            }
            Trouble::Isolate(host) => fleet.plug_in(host),
            _ => fleet.restart_all(),
        }
    }
}

/// What was compared.
#[derive(Default)]
struct Samples {
    compared: usize,
    waited: usize,
    unanswered: usize,
    writing: Option<Writing>,
}

impl std::fmt::Display for Samples {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Samples { compared, waited, unanswered, .. } = self;
        write!(f, "{compared} agreed, {waited} had no leader, {unanswered} were not answered")
    }
}

impl Samples {
    /// Compares what is shown with what an append gives, while the disks are full.
    fn take(&mut self, fleet: &Fleet, pattern: &Path, mounted: &Path) {
        let begin = || Writing::begin(pattern, &mounted.join("probe"));
        let writing = self.writing.get_or_insert_with(begin);
        let wrote = writing.within(Duration::from_millis(700));
        if wrote != Wrote::Waits {
            self.writing = None;
        }
        assert_ne!(wrote, Wrote::Acknowledged, "the disks are full, and an append was taken");
        // The record outlives everything, so whoever answers must say the same of the disks.
        match shown(fleet, &["disk"]) {
            Some((statuses, _)) => assert_eq!(statuses, ["full".to_owned()].into(), "disks"),
            None => self.unanswered += 1,
        }
        let Some((statuses, _)) = shown(fleet, &["partition"]) else { return };
        for status in &statuses {
            let no_writes = ["full", "leaderless", "starting", "unknown", "read-only"];
            assert!(
                no_writes.contains(&status.as_str()),
                "shown as {status}; the append: {wrote:?}"
            );
        }
        match wrote {
            Wrote::NoSpace => self.compared += 1,
            _ => self.waited += 1,
        }
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

fn suffer(fleet: &mut Fleet, pattern: &Path, mounted: &Path) -> Samples {
    let lasts = setting("HOLDFAST_CAMPAIGN_MINUTES")
        .map_or(TROUBLE_LASTS, |minutes| Duration::from_secs(60 * minutes));
    let mut deck = Deck::new(setting("HOLDFAST_CAMPAIGN_SEED").unwrap_or(1));
    let mut samples = Samples::default();
    let begun = Instant::now();
    while begun.elapsed() < lasts {
        let trouble = deck.draw();
        trouble.strike(fleet);
        (0..2).for_each(|_| samples.pause(fleet, pattern, mounted));
        trouble.heal(fleet);
        (0..3).for_each(|_| samples.pause(fleet, pattern, mounted));
        say(&format!("{trouble:?}: {samples}"));
    }
    samples
}

impl Samples {
    fn pause(&mut self, fleet: &Fleet, pattern: &Path, mounted: &Path) {
        let begun = Instant::now();
        self.take(fleet, pattern, mounted);
        std::thread::sleep(Duration::from_secs(1).saturating_sub(begun.elapsed()));
    }
}

#[test]
fn full_disks_stay_full_whatever_happens_until_room_is_proved() {
    let folder = tempfile::Builder::new().prefix("holdfast-full-").tempdir().unwrap();
    let path = folder.path().to_owned();
    // What was logged is worth keeping when something went wrong.
    let keep = folder.keep();
    let loops = Loops::make(&path, &[]);
    let mut fleet = Fleet::start(&path);
    let create = ["volume", "create", "v", "--kind", "file", "--capacity", "4GiB"];
    eventually("a volume", Duration::from_secs(30), || fleet.ask(&create).code == 0);
    fleet.wait_healthy(Duration::from_secs(30));
    let mounted = fleet.mount("v", "mount");
    let small = path.join("small");
    std::fs::write(&small, vec![7; 4096]).unwrap();
    assert_eq!(write(&small, &mounted.join("probe"), 30), Wrote::Acknowledged);

    loops.take(LEFT_MIB);
    let files = fill(&path, &mounted);
    say(&format!("full after {files} files"));
    // What the load left over, somebody else takes: every disk is full now.
    loops.mounts.iter().for_each(|at| {
        let at = at.join("rest").display().to_string();
        let _ = Command::new("fallocate").args(["-l", "30M", &at]).output();
    });
    let took = eventually("disks and partitions are shown as full", LAG, || all_full(&fleet));
    say(&format!("shown as full after {took:?}"));
    let samples = suffer(&mut fleet, &small, &mounted);
    assert!(samples.compared >= 5, "{samples}");

    // Everybody is there again, and still nobody may write.
    eventually("full, and nothing else", Duration::from_secs(30), || all_full(&fleet));
    assert_eq!(write(&small, &mounted.join("probe"), 30), Wrote::NoSpace);
    loops.give_back();
    loops.mounts.iter().for_each(|at| {
        let _ = std::fs::remove_file(at.join("rest"));
    });
    let begun = Instant::now();
    eventually("writes go on", SPACE_RECOVERY_BOUND, || {
        write(&small, &mounted.join("probe"), 5) == Wrote::Acknowledged
    });
    say(&format!("writes went on after {:?}", begun.elapsed()));
    check_events(&fleet);

    fleet.wait_healthy(Duration::from_secs(120));
    let fresh = fleet.mount("v", "fresh");
    for number in 0..files {
        let (pattern, file) =
            (path.join(format!("pattern-{number}")), fresh.join(format!("file-{number}")));
        sh("cmp", &[&pattern.display().to_string(), &file.display().to_string()]);
    }
    fleet.unmount(&fresh);
    fleet.unmount(&mounted);
    let checked = fleet.fsck("v");
    assert_eq!(checked.code, 0, "{checked:?}");
    drop(fleet);
    drop(loops);
    std::fs::remove_dir_all(keep).unwrap();
}

/// Whether a file can be read within seconds, past the kernel's cache, and is what it should be.
fn is_read(mounted: &Path, name: &str, wanted: &Path) -> bool {
    let (mut dd, to) = (Command::new("dd"), wanted.with_extension("read"));
    dd.args(["bs=1M", "iflag=direct"]).arg(format!("if={}", mounted.join(name).display()));
    dd.arg(format!("of={}", to.display()));
    ends_well(&mut dd, Duration::from_secs(5))
        && std::fs::read(to).unwrap() == std::fs::read(wanted).unwrap()
}

/// Whether a command that may hang ends in time, and well.
fn ends_well(command: &mut Command, within: Duration) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let (mut process, begun) = (command.spawn().unwrap(), Instant::now());
    while begun.elapsed() < within {
        if let Some(status) = process.try_wait().unwrap() {
            return status.success();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = process.kill();
    false
}

/// Another program leaves not a byte. A leader has always something to write, be it that a client is still
/// there: without room for that it could not lead, and nobody could read.
#[test]
fn full_disks_without_a_byte_left_are_read_and_deleted_from() {
    let folder = tempfile::Builder::new().prefix("holdfast-byte-").tempdir().unwrap();
    let path = folder.path().to_owned();
    let keep = folder.keep();
    let loops = Loops::make(&path, &[]);
    let mut fleet = Fleet::start(&path);
    let create = ["volume", "create", "v", "--kind", "file", "--capacity", "4GiB"];
    eventually("a volume", Duration::from_secs(30), || fleet.ask(&create).code == 0);
    fleet.wait_healthy(Duration::from_secs(30));
    eventually("ballast", Duration::from_secs(10), || loops.ballast() >= 3 * DISK_MIB / 64);
    let mounted = fleet.mount("v", "mount");
    let pattern = path.join("pattern");
    std::fs::write(&pattern, vec![5; FILE_MIB << 20]).unwrap();
    for name in ["one", "two", "three"] {
        assert_eq!(write(&pattern, &mounted.join(name), 60), Wrote::Acknowledged);
    }

    loops.take_all();
    eventually("shown as full", LAG, || all_full(&fleet));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(15) {
        assert!(is_read(&mounted, "one", &pattern), "after {:?}", begun.elapsed());
        assert_eq!(write(&pattern, &mounted.join("more"), 10), Wrote::NoSpace);
        let (statuses, _) = shown(&fleet, &["partition"]).expect("the control plane has room");
        assert_eq!(statuses, ["full".to_owned()].into(), "after {:?}", begun.elapsed());
        std::thread::sleep(Duration::from_millis(500));
    }
    say(&format!("{} MiB of ballast are left", loops.ballast()));
    let rm = ends_well(Command::new("rm").arg(mounted.join("two")), Duration::from_secs(10));
    assert!(rm, "a delete goes on");

    // Nor does it take a byte to start again.
    (0..HOSTS).for_each(|host| fleet.kill(host, Part::Node));
    loops.take_all();
    fleet.restart_all();
    let took = eventually("read after a restart", Duration::from_secs(60), || {
        is_read(&mounted, "three", &pattern)
    });
    say(&format!("read {took:?} after a restart; {} MiB of ballast are left", loops.ballast()));
    assert_eq!(write(&pattern, &mounted.join("more"), 30), Wrote::NoSpace);
    eventually("full, and nothing else", Duration::from_secs(30), || all_full(&fleet));

    loops.give_back_all();
    eventually("writes go on", SPACE_RECOVERY_BOUND, || {
        write(&pattern, &mounted.join("more"), 5) == Wrote::Acknowledged
    });
    eventually("ballast again", Duration::from_secs(10), || loops.ballast() >= 3 * DISK_MIB / 64);
    fleet.wait_healthy(Duration::from_secs(60));
    assert!(is_read(&mounted, "one", &pattern) && is_read(&mounted, "three", &pattern));
    fleet.unmount(&mounted);
    let checked = fleet.fsck("v");
    assert_eq!(checked.code, 0, "{checked:?}");
    drop(fleet);
    drop(loops);
    std::fs::remove_dir_all(keep).unwrap();
}

/// A file system can have room for bytes and none for files.
#[test]
fn a_disk_on_which_no_file_can_be_made_is_full_and_comes_back_by_itself() {
    let folder = tempfile::Builder::new().prefix("holdfast-names-").tempdir().unwrap();
    let path = folder.path().to_owned();
    let loops = Loops::make(&path, &["-N", "4096"]);
    let mut fleet = Fleet::start(&path);
    let create = ["volume", "create", "v", "--kind", "file", "--capacity", "4GiB"];
    eventually("a volume", Duration::from_secs(30), || fleet.ask(&create).code == 0);
    fleet.wait_healthy(Duration::from_secs(30));
    let mounted = fleet.mount("v", "mount");
    let small = path.join("small");
    std::fs::write(&small, vec![7; 4096]).unwrap();
    assert_eq!(write(&small, &mounted.join("probe"), 30), Wrote::Acknowledged);

    loops.take_names(40);
    eventually("shown as full", LAG, || all_full(&fleet));
    assert_eq!(write(&small, &mounted.join("probe"), 30), Wrote::NoSpace);
    let status = fleet.ask(&["status", "--output", "json"]).out;
    assert!(status.contains("inodes-gone"), "{status}");
    // Reads go on.
    sh("cmp", &[&small.display().to_string(), &mounted.join("probe").display().to_string()]);

    loops.give_back_names();
    eventually("writes go on", SPACE_RECOVERY_BOUND, || {
        write(&small, &mounted.join("probe"), 5) == Wrote::Acknowledged
    });
    fleet.unmount(&mounted);
    let checked = fleet.fsck("v");
    assert_eq!(checked.code, 0, "{checked:?}");
    drop(fleet);
    drop(loops);
}

/// Every disk became full, and left that state by a probe and by nothing else.
fn check_events(fleet: &Fleet) {
    let run = fleet.ask(&["events", "--output", "json"]);
    let events: Vec<serde_json::Value> =
        run.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let cursors = events.iter().map(|event| event["cursor"].as_u64().unwrap());
    assert!(!events.is_empty() && cursors.is_sorted(), "cursors rise");
    let space = |event: &&serde_json::Value| event["subject"].as_str().unwrap().ends_with("/space");
    let of_space: Vec<_> = events.iter().filter(space).collect();
    let left: Vec<_> = of_space.iter().filter(|event| event["from"] == "full").collect();
    assert!(!left.is_empty(), "{of_space:?}");
    for event in left {
        let message = event["message"].as_str().unwrap();
        assert!(message.contains("reached the disk"), "{message}");
    }
}
