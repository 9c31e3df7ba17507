//! Volumes that go away under mounts that are at work, and troubles that look like it.
//!
//! One cluster, hosts on a network of their own. In each round every workload has a volume and a mount
//! of its own; all the volumes are deleted in one way, at the moment of one fault. Checked each time:
//! how soon the mount ended, its exit code, its final line, the list of mounts, that no program hangs,
//! and, where the deletion is taken back, that nothing is missing that was acknowledged as durable.
//!
//! CI runs the rounds of [`ROUNDS`]; `HOLDFAST_CAMPAIGN_ROUNDS` (`cargo xtask campaign life`) goes on
//! with all pairs of a deletion and a fault. Needs root, for the namespaces.

use super::fleet::{Fleet, HOSTS, Part, Supervised};
use super::workload::{ALL, Working, Workload};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A mount has ended this soon: it was told, and wrote back what it had, on a machine that is busy.
const ENDED_WITHIN: Duration = Duration::from_secs(15);
/// It has noticed this soon, as a rule, and at the latest on a machine that is busy.
const NOTICED_WITHIN: Duration = Duration::from_secs(1);
const NOTICED_WITHIN_MAX: Duration = Duration::from_secs(3);
/// While a host is being replaced, writing back takes as long as a failover.
const ENDED_WITHIN_DESPITE_FAULT: Duration = Duration::from_secs(30);
/// A program meets its error this soon.
const ERROR_WITHIN: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deletion {
    /// With a grace that runs out.
    Graced,
    /// With no grace at all.
    Forced,
    /// With a grace, and taken back.
    TakenBack,
    /// The volume stays; the token that the mount uses is revoked.
    Revoked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// The leader of the control plane is killed.
    ControlLeader,
    /// A node is killed.
    Node,
}

/// What CI runs.
const ROUNDS: [(Deletion, Fault); 7] = [
    (Deletion::Graced, Fault::None),
    (Deletion::Forced, Fault::None),
    (Deletion::TakenBack, Fault::None),
    (Deletion::TakenBack, Fault::ControlLeader),
    (Deletion::TakenBack, Fault::Node),
    (Deletion::Revoked, Fault::None),
    (Deletion::Revoked, Fault::ControlLeader),
];

/// What a campaign goes on with.
const MORE: [(Deletion, Fault); 5] = [
    (Deletion::Forced, Fault::ControlLeader),
    (Deletion::Forced, Fault::Node),
    (Deletion::Graced, Fault::ControlLeader),
    (Deletion::Graced, Fault::Node),
    (Deletion::Revoked, Fault::Node),
];

fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Creates a volume. Where whoever led died with the answer, nobody knows whether it was created: whoever
/// asks again may find it there.
pub(super) fn create(fleet: &Fleet, volume: &str) {
    let begun = Instant::now();
    loop {
        let words = ["volume", "create", volume, "--kind", "file", "--capacity", "1GiB"];
        let created = fleet.ask(&words);
        if created.code == 0 {
            return;
        }
        let shown = fleet.ask(&["volume", "show", volume, "--output", "json"]);
        let shown: serde_json::Value = serde_json::from_str(&shown.out).unwrap_or_default();
        if ["healthy", "degraded"].iter().any(|status| shown["status"] == *status) {
            return;
        }
        let late = begun.elapsed() >= Duration::from_secs(30);
        assert!(!late, "volume {volume} could not be created: {created:?} {shown}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// One workload on a mount of its own.
struct Row {
    volume: String,
    /// The file with the token it was mounted with.
    token: Option<String>,
    mount: Supervised,
    working: Working,
}

impl Row {
    fn begin(fleet: &Fleet, round: usize, deletion: Deletion, workload: Workload) -> Row {
        let volume = format!("{workload:?}-{round}").to_lowercase();
        create(fleet, &volume);
        let token = (deletion == Deletion::Revoked).then(|| fleet.token(&volume, "rw"));
        let words: Vec<&str> =
            token.iter().flat_map(|file| ["--volume-token-file", file.as_str()]).collect();
        let mount = fleet.supervise(&volume, &format!("at-{volume}"), &words);
        let working = Working::begin(workload, &mount.folder);
        Row { volume, token, mount, working }
    }

    /// Waits for the end of the mount, and checks everything about it that the deletion decides.
    fn end(&mut self, deletion: Deletion, deleted_at: SystemTime, within: Duration) -> Duration {
        let elapsed = || deleted_at.elapsed().unwrap_or_default();
        let (code, line) = self.mount.end(within.saturating_sub(elapsed()));
        let noticed = UNIX_EPOCH + Duration::from_millis(line["noticed_ms"].as_u64().unwrap());
        let noticed = noticed.duration_since(deleted_at).unwrap_or_default();
        let of = format!("{} {deletion:?}: {line}", self.volume);
        say(&format!(
            "{} noticed after {noticed:?}, ended by {:?}: {line}",
            self.volume,
            elapsed()
        ));
        let (exit, reason) = match deletion {
            Deletion::Revoked => (11, "access-revoked"),
            _ => (10, "volume-deleted"),
        };
        assert_eq!(code, exit, "{of} {:?}", self.mount);
        assert_eq!(line["event"], "mount-ended", "{of}");
        assert_eq!(line["reason"], reason, "{of}");
        assert_eq!((&line["exit"], &line["volume"]), (&exit.into(), &self.volume.clone().into()));
        if !matches!(deletion, Deletion::Forced | Deletion::Revoked) {
            assert_eq!(line["unflushed_bytes"], 0, "there was time to write it back: {of}");
        }
        // Lost bytes are never without a name.
        let lost = line["unflushed_bytes"].as_u64().unwrap();
        assert!(lost == 0 || !line["unflushed_files"].as_array().unwrap().is_empty(), "{of}");
        let unmounted = line["unmounted"].as_str().unwrap();
        match self.working.workload {
            Workload::Idle => assert_eq!(unmounted, "clean", "{of}"),
            Workload::Shell => assert_eq!(unmounted, "detached", "{of}"),
            // Whether a program holds a file at that moment, or has met its error, is chance.
            _ => assert!(["clean", "detached"].contains(&unmounted), "{of}"),
        }
        let error = self.working.end(ERROR_WITHIN);
        let mut known = vec![libc_errno::ENODEV, libc_errno::ENOTCONN, libc_errno::ECONNABORTED];
        if deletion == Deletion::Revoked {
            known.push(libc_errno::EACCES);
        }
        // What was open all the time has a name; who met the error first may have let go of it.
        if self.working.workload == Workload::Fsync && unmounted == "detached" {
            let files = line["unflushed_files"].as_array().unwrap();
            let named = |file: &serde_json::Value| &line["unflushed_paths"][file.to_string()];
            assert!(files.iter().all(|file| named(file) == "/log"), "{of}");
        }
        if matches!(self.working.workload, Workload::Heavy | Workload::Fsync | Workload::Unlinked) {
            assert!(
                error.is_some_and(|error| known.contains(&error)),
                "{error:?} {of} {:?}",
                self.mount
            );
        }
        noticed
    }
}

/// The numbers of errors that programs may meet.
mod libc_errno {
    /// The token was revoked.
    pub(super) const EACCES: i32 = 13;
    /// The volume goes: no more changes.
    pub(super) const ENODEV: i32 = 19;
    /// The mount is gone by now.
    pub(super) const ENOTCONN: i32 = 107;
    /// A standby is read-only.
    pub(super) const EROFS: i32 = 30;
    /// It went while the request was under way.
    pub(super) const ECONNABORTED: i32 = 103;
}

/// Deletes the volumes of all rows, and strikes between the first and the second.
fn delete_all(
    fleet: &mut Fleet,
    rows: &[Row],
    deletion: Deletion,
    fault: Fault,
) -> Vec<SystemTime> {
    let grace = if deletion == Deletion::Forced { "0s" } else { "10m" };
    let leader = fleet.control_leader();
    let mut deleted = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        if number == 1 {
            match fault {
                Fault::None => {}
                Fault::ControlLeader => fleet.kill(leader.unwrap_or(0), Part::Control),
                Fault::Node => fleet.kill(1, Part::Node),
            }
        }
        let words = match deletion {
            Deletion::Revoked => vec!["volume", "token", "revoke", &row.volume, "1", "--yes"],
            _ => vec!["volume", "delete", &row.volume, "--yes", "--force", "--grace", grace],
        };
        // From before it is asked for: nobody can hear of it earlier.
        let asked = SystemTime::now();
        let begun = Instant::now();
        while fleet.ask(&words).code != 0 {
            assert!(begun.elapsed() < Duration::from_secs(20), "cannot delete {}", row.volume);
            std::thread::sleep(Duration::from_millis(50));
        }
        // After a fault, from when it was accepted: until then nothing was deleted.
        deleted.push(if fault == Fault::None { asked } else { SystemTime::now() });
    }
    deleted
}

/// A volume that is gone for good is not found by its name.
fn status_by_name(fleet: &Fleet, volume: &str) -> String {
    let shown = fleet.ask(&["volume", "show", volume, "--output", "json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown.out).unwrap_or_default();
    shown["status"].as_str().unwrap_or_default().to_owned()
}

fn round(fleet: &mut Fleet, number: usize, deletion: Deletion, fault: Fault) {
    say(&format!("== round {number}: {deletion:?}, {fault:?}"));
    let mut rows: Vec<Row> =
        ALL.iter().map(|workload| Row::begin(fleet, number, deletion, *workload)).collect();
    rows.iter_mut().for_each(|row| row.working.wait_begun());
    let within = if fault == Fault::None { ENDED_WITHIN } else { ENDED_WITHIN_DESPITE_FAULT };
    let graced = deletion == Deletion::Graced;
    let obstacle = if graced { Obstacle::in_the_way_of(fleet, &rows[0]) } else { None };
    let deleted = delete_all(fleet, &rows, deletion, fault);
    let mut noticed: Vec<Duration> =
        rows.iter_mut().zip(deleted).map(|(row, at)| row.end(deletion, at, within)).collect();
    noticed.sort();
    if fault == Fault::None {
        assert!(noticed[noticed.len() / 2] < NOTICED_WITHIN, "{noticed:?}");
        assert!(noticed.iter().all(|time| *time < NOTICED_WITHIN_MAX), "{noticed:?}");
    }
    if graced {
        // There was all the time to leave. Now the grace is over.
        for row in &rows {
            let words = ["volume", "delete", &row.volume, "--yes", "--grace", "1s", "--force"];
            assert_eq!(fleet.ask(&words).code, 0);
        }
    }
    if let Some(obstacle) = obstacle {
        obstacle.keeps_it_on_record(fleet, &rows[0]);
    }
    let stays = matches!(deletion, Deletion::TakenBack | Deletion::Revoked);
    for row in rows.iter().filter(|_| stays) {
        let token = row.token.as_ref().map(|old| {
            refused_with(fleet, &row.volume, old, 11);
            fleet.token(&row.volume, "ro")
        });
        if deletion == Deletion::TakenBack {
            assert_eq!(status_by_name(fleet, &row.volume), "deleting");
            let back = fleet.ask_patiently(&["volume", "undelete", &row.volume]);
            assert_eq!(back.code, 0, "{back:?}");
        }
        let words: Vec<&str> =
            token.iter().flat_map(|file| ["--volume-token-file", file.as_str()]).collect();
        let mut again = fleet.supervise(&row.volume, &format!("again-{}", row.volume), &words);
        row.working.verify(&again.folder);
        if token.is_some() {
            let refused = std::fs::write(again.folder.join("new"), "x").unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc_errno::EROFS), "a token to read with");
        }
        again.terminate();
        let (code, line) = again.end(ENDED_WITHIN_DESPITE_FAULT);
        assert_eq!((code, &line["reason"]), (0, &"unmounted".into()), "{line}");
    }
    fleet.restart_all();
    if !stays {
        wait_purged(fleet);
    }
}

/// Whoever tries to mount it with this token is told why not.
fn refused_with(fleet: &Fleet, volume: &str, token: &str, code: i32) {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display().to_string();
    let words = ["mount", volume, &place, "--foreground", "--volume-token-file", token];
    let refused = fleet.ask_directly(&words);
    assert_eq!(refused.code, code, "{refused:?}");
}

/// A replica that cannot be removed from its disk.
struct Obstacle {
    folder: std::path::PathBuf,
}

impl Obstacle {
    fn in_the_way_of(fleet: &Fleet, row: &Row) -> Option<Obstacle> {
        let words = ["partition", "list", "--volume", &row.volume, "--output", "json"];
        let partitions = fleet.ask(&words).json();
        let prefix = format!("{}-", partitions[0]["id"]);
        let replicas = std::fs::read_dir(fleet.disk(0).join("disk/replicas")).unwrap();
        let mut folders = replicas.map(|entry| entry.unwrap().path());
        let named = |path: &std::path::PathBuf| {
            path.file_name().unwrap().to_string_lossy().starts_with(&prefix)
        };
        let folder = folders.find(named).expect("every host has a replica of each");
        let obstacle = Obstacle { folder };
        if obstacle.chattr("+i") {
            return Some(obstacle);
        }
        say("SKIPPED: chattr does not work here; no replica resists its deletion");
        None
    }

    fn chattr(&self, mode: &str) -> bool {
        let done = std::process::Command::new("chattr").arg(mode).arg(&self.folder).output();
        done.is_ok_and(|done| done.status.success())
    }

    /// The volume is not called deleted while something of it takes space.
    fn keeps_it_on_record(self, fleet: &Fleet, row: &Row) {
        let begun = Instant::now();
        while status_by_name(fleet, &row.volume) != "purging" {
            assert!(begun.elapsed() < Duration::from_secs(20), "its grace is over");
            std::thread::sleep(Duration::from_millis(100));
        }
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(status_by_name(fleet, &row.volume), "purging");
        assert!(self.folder.exists());
    }
}

impl Drop for Obstacle {
    fn drop(&mut self) {
        self.chattr("-i");
    }
}

/// Waits until no volume is on its way out, and looks for what is left of them on the disks.
fn wait_purged(fleet: &Fleet) {
    let begun = Instant::now();
    let listed = loop {
        let listed = fleet.ask(&["volume", "list", "--output", "json"]);
        let listed: Vec<serde_json::Value> = serde_json::from_str(&listed.out).unwrap_or_default();
        let going = |volume: &serde_json::Value| {
            ["deleting", "purging"].contains(&volume["status"].as_str().unwrap_or_default())
        };
        if !listed.iter().any(going) {
            break listed;
        }
        assert!(begun.elapsed() < Duration::from_secs(40), "not purged: {listed:?}");
        std::thread::sleep(Duration::from_millis(100));
    };
    let partitions = fleet.ask(&["partition", "list", "--output", "json"]);
    let partitions: Vec<serde_json::Value> = serde_json::from_str(&partitions.out).unwrap();
    let known = |name: &str| {
        let id = name.split('-').next().and_then(|id| id.parse::<u64>().ok());
        partitions.iter().any(|partition| partition["id"].as_u64() == id)
    };
    for host in 0..HOSTS {
        let Ok(replicas) = std::fs::read_dir(fleet.disk(host).join("disk/replicas")) else {
            panic!("no replicas are where they are looked for")
        };
        let left = replicas.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let left: Vec<String> = left.filter(|name| !known(name)).collect();
        assert!(left.is_empty(), "host {host} still has {left:?}; volumes: {listed:?}");
    }
}

#[test]
fn life_of_a_volume_ends_under_every_workload() {
    let folder = tempfile::tempdir().unwrap();
    let mut fleet = Fleet::start(folder.path());
    let more = std::env::var("HOLDFAST_CAMPAIGN_ROUNDS").ok().and_then(|n| n.parse().ok());
    let plan: Vec<_> = match more {
        None => ROUNDS.to_vec(),
        Some(count) => ROUNDS.iter().chain(&MORE).copied().cycle().take(count).collect(),
    };
    for (number, (deletion, fault)) in plan.into_iter().enumerate() {
        round(&mut fleet, number, deletion, fault);
    }
}

/// What a mount says of its health.
pub(super) fn health(fleet: &Fleet, mount: &Supervised) -> String {
    let address = mount.read("err");
    let address = address.lines().find_map(|line| line.strip_prefix("health on http://"));
    let (host, port) = address.expect("it says where").rsplit_once(':').unwrap();
    let line = format!(
        "exec 3<>/dev/tcp/{host}/{port}; printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3; \
         timeout 5 cat <&3 | tail -1"
    );
    fleet.shell_at_client(&line)
}

pub(super) fn wait_health(fleet: &Fleet, mount: &Supervised, wanted: &str) {
    let begun = Instant::now();
    loop {
        let said = health(fleet, mount);
        if said.starts_with(wanted) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "not {wanted}, but {said}: {mount:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A mount of `v` that would go on with `spare`, in which there is a file.
fn with_standby(fleet: &Fleet) -> Supervised {
    create(fleet, "spare");
    let mut writing = fleet.supervise("spare", "writing", &[]);
    std::fs::write(writing.folder.join("marker"), "of the standby").unwrap();
    writing.terminate();
    assert_eq!(writing.end(ENDED_WITHIN).0, 0);
    fleet.supervise("v", "standing", &["--standby", "spare"])
}

/// Threads that come and go with blocking work.
const WORKERS_SPARE: usize = 2;
/// Threads that have nothing to do end this soon.
const LET_GO_WITHIN: Duration = Duration::from_secs(20);

/// The standby is there, read-only, and known to be one; what was open before is not.
fn stands_in(
    fleet: &Fleet,
    mount: &mut Supervised,
    held: std::fs::File,
    (threads, fuse): (usize, usize),
) {
    use std::os::unix::fs::FileExt;
    let begun = Instant::now();
    let marker = mount.folder.join("marker");
    while std::fs::read(&marker).ok().as_deref() != Some(b"of the standby") {
        assert!(begun.elapsed() < Duration::from_secs(10), "no standby: {mount:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let refused = std::fs::write(&marker, "x").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc_errno::EROFS));
    let gone = held.read_at(&mut [0; 8], 0).unwrap_err();
    assert_eq!(gone.raw_os_error(), Some(libc_errno::ENOTCONN), "{gone}");
    drop(held);
    let events = fleet.ask(&["events", "--output", "json"]);
    assert!(events.out.contains("uses volume spare in the place of v"), "{events:?}");
    let lines = mount.read("out");
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["reason"], &first["exit"]),
        (&"volume-deleted".into(), &serde_json::Value::Null)
    );
    assert_eq!(first["standby"], "spare");
    // The process went on: nothing of the first mount is left in it.
    let begun = Instant::now();
    while mount.load().1 > fuse || mount.load().0 > threads + WORKERS_SPARE {
        let load = mount.load();
        assert!(begun.elapsed() < LET_GO_WITHIN, "{load:?} after {threads}, {fuse}: {mount:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    mount.terminate();
    let (code, line) = mount.end(ENDED_WITHIN);
    assert_eq!((code, &line["volume"]), (0, &"spare".into()), "{line}");
}

#[test]
fn life_goes_on_through_troubles_that_are_no_deletion() {
    let folder = tempfile::tempdir().unwrap();
    let mut fleet = Fleet::start(folder.path());
    create(&fleet, "v");
    let mut mount = fleet.supervise("v", "plain", &["--health", "127.0.0.1:0"]);
    let mut limited = fleet.supervise("v", "limited", &["--unreachable-limit", "4s"]);
    wait_health(&fleet, &mount, "ok");
    let refused = fleet.ask(&["volume", "delete", "v", "--yes"]);
    assert_eq!(refused.code, 4, "two clients have it open: {refused:?}");
    assert!(refused.err.contains("/plain (pid") && refused.err.contains("/limited (pid"));
    let listed = fleet.ask(&["client", "list", "--volume", "v", "--output", "json"]);
    let listed: Vec<serde_json::Value> = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(listed.len(), 2, "{listed:?}");

    fleet.isolate_client();
    wait_health(&fleet, &mount, "transient");
    let (code, line) = limited.end(Duration::from_secs(20));
    assert_eq!((code, &line["reason"]), (12, &"cluster-unreachable".into()), "{line}");
    fleet.plug_in_client();
    wait_health(&fleet, &mount, "ok");

    // Nothing may be left to do that would need a control plane.
    fleet.wait_healthy(Duration::from_secs(30));
    (0..HOSTS).for_each(|host| fleet.kill(host, Part::Control));
    std::thread::sleep(Duration::from_secs(2));
    std::fs::write(mount.folder.join("file"), "served without a control plane").unwrap();
    assert!(health(&fleet, &mount).starts_with("ok") && mount.is_running(), "{mount:?}");
    fleet.restart_all();
    fleet.wait_member(0);

    // The kernel's connection is torn down under one, and somebody unmounts another.
    let mut torn = fleet.supervise("v", "torn", &[]);
    let sitting = Working::begin(Workload::Shell, &torn.folder);
    // Forced, and yet in use: the kernel cuts the connection and leaves the mount point, dead.
    let forced = std::process::Command::new("umount").arg("-f").arg(&torn.folder).output().unwrap();
    assert!(!forced.status.success(), "a shell sits there");
    let (code, line) = torn.end(Duration::from_secs(10));
    assert_eq!((code, &line["reason"]), (13, &"mount-lost".into()), "{line}");
    drop(sitting);
    let mut unmounted = fleet.supervise("v", "unmounted", &[]);
    std::fs::write(unmounted.folder.join("other"), "x").unwrap();
    assert_eq!(super::run::holdfast(&["unmount", &unmounted.folder.display().to_string()]).code, 0);
    let (code, line) = unmounted.end(Duration::from_secs(10));
    assert_eq!((code, &line["unmounted"]), (0, &"already".into()), "{line}");

    let mut standing = with_standby(&fleet);
    let held = std::fs::File::open(standing.folder.join("file")).unwrap();
    let load_before = standing.load();
    let begun = Instant::now();
    let deleted = fleet.ask(&["volume", "delete", "v", "--yes", "--force", "--grace", "1m"]);
    assert_eq!(deleted.code, 0, "{deleted:?}");
    let (code, _) = mount.end(ENDED_WITHIN);
    assert_eq!(code, 10, "after {:?}", begun.elapsed());
    stands_in(&fleet, &mut standing, held, load_before);
    let again = fleet.ask(&["client", "list", "--output", "json"]);
    assert_eq!(again.json(), serde_json::json!([]), "whoever left is not listed");
}
