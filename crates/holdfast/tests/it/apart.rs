//! Mounts, nodes and members that are cut off, late, or restored from an old copy: none of that is a
//! deletion, and none of that is a revocation. And where there is one, who was cut off learns of it.

use super::fleet::{CLIENT, Fleet, HOSTS, OTHER_CLIENT, Part, Supervised, load};
use super::life::{create, health, wait_health};
use super::mounted::Mounted;
use super::run::holdfast;
use std::path::Path;
use std::time::{Duration, Instant};

/// A mount that hears of its end has ended this soon, on a machine that is busy.
const ENDED_WITHIN: Duration = Duration::from_secs(20);

/// For so long nothing must happen: longer than any lease, and than a node doubts its list of tokens.
const NOTHING_FOR: Duration = Duration::from_secs(12);

fn with_token(file: &str) -> [&str; 4] {
    ["--volume-token-file", file, "--health", "127.0.0.1:0"]
}

fn goes_on(mount: &mut Supervised, number: usize) {
    let file = mount.folder.join(format!("file-{number}"));
    std::fs::write(&file, format!("{number}")).unwrap();
    std::fs::File::open(&file).unwrap().sync_all().unwrap();
    assert!(mount.is_running(), "{mount:?}");
}

fn ends(mount: &mut Supervised, code: i32, reason: &str) {
    let (ended, line) = mount.end(ENDED_WITHIN);
    assert_eq!((ended, &line["reason"]), (code, &reason.into()), "{line} {mount:?}");
}

/// Two mounts of a volume; one cannot hear what becomes of it until it is plugged in again.
fn one_of_two_is_cut_off(fleet: &Fleet) {
    create(fleet, "pair");
    let token = fleet.token("pair", "rw");
    let words = with_token(&token);
    let begin = |round: &str| {
        let near = fleet.supervise_at(CLIENT, "pair", &format!("near-{round}"), &words);
        (near, fleet.supervise_at(OTHER_CLIENT, "pair", &format!("far-{round}"), &words))
    };
    // It is deleted, and that is taken back: who was cut off never hears of it.
    let (mut near, mut far) = begin("back");
    goes_on(&mut far, 1);
    fleet.isolate(OTHER_CLIENT);
    let words = ["volume", "delete", "pair", "--yes", "--force", "--grace", "10m"];
    assert_eq!(fleet.ask(&words).code, 0);
    ends(&mut near, 10, "volume-deleted");
    assert!(far.is_running(), "silence is no deletion: {far:?}");
    assert_eq!(fleet.ask(&["volume", "undelete", "pair"]).code, 0);
    fleet.plug_in(OTHER_CLIENT);
    goes_on(&mut far, 2);
    // The token is revoked: who was cut off hears of it later.
    let mut near = fleet.supervise_at(CLIENT, "pair", "near-again", &with_token(&token));
    fleet.isolate(OTHER_CLIENT);
    assert_eq!(fleet.ask(&["volume", "token", "revoke", "pair", "1", "--yes"]).code, 0);
    ends(&mut near, 11, "access-revoked");
    assert!(far.is_running(), "silence is no revocation: {far:?}");
    fleet.plug_in(OTHER_CLIENT);
    ends(&mut far, 11, "access-revoked");
    // It is deleted for good.
    let token = fleet.token("pair", "rw");
    let mut far = fleet.supervise_at(OTHER_CLIENT, "pair", "far-last", &with_token(&token));
    fleet.isolate(OTHER_CLIENT);
    let words = ["volume", "delete", "pair", "--yes", "--force", "--grace", "0s"];
    assert_eq!(fleet.ask(&words).code, 0);
    std::thread::sleep(Duration::from_secs(3));
    assert!(far.is_running(), "{far:?}");
    fleet.plug_in(OTHER_CLIENT);
    ends(&mut far, 10, "volume-deleted");
}

/// A host, node and member, that only clients reach: what it knows is old.
fn a_stale_node_says_nothing(fleet: &Fleet) {
    create(fleet, "stale");
    let first = fleet.token("stale", "rw");
    let mut before = fleet.supervise("stale", "before", &with_token(&first));
    goes_on(&mut before, 1);
    let stale = (0..HOSTS).find(|host| fleet.control_leader() != Some(*host)).unwrap();
    for other in (0..HOSTS).filter(|other| *other != stale) {
        fleet.cut(stale, other);
        fleet.cut(other, stale);
    }
    // It does not know this token, which is no reason to end.
    let second = fleet.token("stale", "rw");
    let mut after = fleet.supervise("stale", "after", &with_token(&second));
    goes_on(&mut after, 2);
    goes_on(&mut before, 3);
    // Nor does it know that this one is revoked, which is no reason to go on.
    assert_eq!(fleet.ask(&["volume", "token", "revoke", "stale", "1", "--yes"]).code, 0);
    ends(&mut before, 11, "access-revoked");
    goes_on(&mut after, 4);
    for other in (0..HOSTS).filter(|other| *other != stale) {
        fleet.join(stale, other);
        fleet.join(other, stale);
    }
    goes_on(&mut after, 5);
    after.terminate();
    ends(&mut after, 0, "unmounted");
}

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

fn restore(fleet: &Fleet, host: usize) {
    let (data, old) = (fleet.control_data(host), fleet.control_data(host).with_extension("old"));
    std::fs::remove_dir_all(&data).unwrap();
    copy(&old, &data);
}

/// Members of the control plane that are put back to an old copy of their disk.
fn restored_members_say_nothing(fleet: &mut Fleet) {
    create(fleet, "known");
    let _old = fleet.token("known", "rw");
    (0..HOSTS).for_each(|host| fleet.kill(host, Part::Control));
    for host in 0..HOSTS {
        copy(&fleet.control_data(host), &fleet.control_data(host).with_extension("old"));
    }
    fleet.restart_all();
    (0..HOSTS).for_each(|host| fleet.wait_member(host));
    create(fleet, "unknown");
    let (open, new) = (fleet.token("unknown", "rw"), fleet.token("known", "rw"));
    let mut known = fleet.supervise("known", "known", &with_token(&new));
    let mut unknown = fleet.supervise("unknown", "unknown", &with_token(&open));
    goes_on(&mut known, 1);
    goes_on(&mut unknown, 1);
    // One of them: the others know better.
    fleet.kill(2, Part::Control);
    restore(fleet, 2);
    fleet.restart(2, Part::Control);
    std::thread::sleep(Duration::from_secs(4));
    goes_on(&mut known, 2);
    goes_on(&mut unknown, 2);
    // All of them: the cluster has never heard of this token, nor of this volume. Nobody said that they
    // were taken away.
    (0..HOSTS).for_each(|host| fleet.kill(host, Part::Control));
    (0..HOSTS).for_each(|host| restore(fleet, host));
    fleet.restart_all();
    (0..HOSTS).for_each(|host| fleet.wait_member(host));
    let begun = Instant::now();
    while begun.elapsed() < NOTHING_FOR {
        assert!(known.is_running() && unknown.is_running(), "{known:?} {unknown:?}");
        for mount in [&known, &unknown] {
            let said = health(fleet, mount);
            assert!(!said.starts_with("permanent"), "{said}");
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Programs get an error after a while, where somebody chose so.
fn an_outage_is_an_error_by_choice(fleet: &Fleet) {
    create(fleet, "outage");
    let mut mount = fleet.supervise(
        "outage",
        "outage",
        &["--on-outage", "error", "--outage-budget", "2s", "--health", "127.0.0.1:0"],
    );
    goes_on(&mut mount, 1);
    fleet.isolate(CLIENT);
    let asked = Instant::now();
    let failed = std::fs::File::create(mount.folder.join("new")).unwrap_err();
    let waited = asked.elapsed();
    assert_eq!(failed.raw_os_error(), Some(ETIMEDOUT), "{failed}");
    assert!(waited > Duration::from_secs(2) && waited < ENDED_WITHIN, "{waited:?}");
    assert!(mount.is_running());
    fleet.plug_in(CLIENT);
    wait_health(fleet, &mount, "ok");
    goes_on(&mut mount, 2);
    // A terminal that closes asks it to end, too.
    mount.signal("HUP");
    ends(&mut mount, 0, "unmounted");
}

const ETIMEDOUT: i32 = 110;

#[test]
fn life_of_a_cluster_in_one_process_goes_on_without_its_mount() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = Mounted::start(folder.path());
    let (_, before) = load(mounted.pid());
    assert!(before > 0, "it is mounted");
    let said = mounted.said();
    let server = said.split("http://").nth(1).unwrap().split_whitespace().next().unwrap();
    let ask = |words: &[&str]| {
        let words: Vec<&str> = words.iter().copied().chain(["--server", server]).collect();
        let run = holdfast(&words);
        assert_eq!(run.code, 0, "{run:?}");
        run
    };
    ask(&["volume", "delete", "main", "--yes", "--force", "--grace", "1h"]);
    let begun = Instant::now();
    while !mounted.said().contains("is not mounted any more") || load(mounted.pid()).1 > 0 {
        let left = load(mounted.pid());
        assert!(begun.elapsed() < ENDED_WITHIN, "{left:?} {}", mounted.said());
        std::thread::sleep(Duration::from_millis(50));
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&mounted.path().display().to_string()));
    ask(&["status"]);
    mounted.stop();
}

#[test]
fn life_apart_from_others_is_no_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut fleet = Fleet::start(folder.path());
    create(&fleet, "first");
    fleet.wait_healthy(Duration::from_secs(60));
    one_of_two_is_cut_off(&fleet);
    a_stale_node_says_nothing(&fleet);
    an_outage_is_an_error_by_choice(&fleet);
    restored_members_say_nothing(&mut fleet);
}
