//! What one mount changes, another one sees soon, though its kernel keeps names for long.

use super::hosts::Hosts;
use super::mounted::shell;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use types::limits::{ATTRIBUTE_CACHE_TIME, NAME_CACHE_TIME};

/// What a test takes for soon: far less than names are kept, and room for a machine that does other things.
const SOON: Duration = Duration::from_secs(5);
const _: () = assert!(SOON.as_millis() * 4 <= NAME_CACHE_TIME.as_millis());

/// A mount in a process of its own; gone when it is dropped.
struct Mount {
    process: Child,
    folder: PathBuf,
}

impl Mount {
    fn new(hosts: &Hosts, folder: PathBuf) -> Mount {
        std::fs::create_dir(&folder).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .args(["mount", "v", "--foreground", "--server", &hosts.admin])
            .arg(&folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mount = Mount { process, folder };
        let is_mounted = || shell(Path::new("/"), "cat /proc/self/mountinfo");
        let shown = mount.folder.display().to_string();
        until("it is mounted", Duration::from_secs(30), || is_mounted().contains(&shown));
        mount
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).output();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A program in a folder.
struct Inside {
    process: Child,
    folder: PathBuf,
}

impl Inside {
    fn new(folder: PathBuf) -> Inside {
        let process = Command::new("sh")
            .args(["-c", "read line; exec env pwd -P"])
            .current_dir(&folder)
            .env_remove("PWD")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Inside { process, folder }
    }

    /// Asks the kernel where that is.
    fn end_still_there(mut self) {
        drop(self.process.stdin.take());
        let said = self.process.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), self.folder.to_str().unwrap());
    }
}

/// Waits for something; how long that took.
fn until(what: &str, limit: Duration, is_so: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
    begun.elapsed()
}

/// Changes names through one mount that another one's kernel keeps; the longest time until it saw it.
fn change_names(changing: &Mount, seeing: &Mount, tag: &str) -> Duration {
    let at = |mount: &Mount, name: &str| mount.path(&format!("{tag}-{name}"));
    for name in ["renamed", "replaced", "replacing", "removed"] {
        std::fs::write(at(changing, name), name).unwrap();
        until(name, SOON, || at(seeing, name).exists());
    }
    std::fs::rename(at(changing, "renamed"), at(changing, "new")).unwrap();
    let renamed = until("the old name is gone", SOON, || !at(seeing, "renamed").exists());
    let new = until("the new name is there", SOON, || at(seeing, "new").exists());
    std::fs::rename(at(changing, "replacing"), at(changing, "replaced")).unwrap();
    let is_replaced = || std::fs::read(at(seeing, "replaced")).is_ok_and(|it| it == b"replacing");
    let replaced = until("the name has another file", SOON, is_replaced);
    std::fs::remove_file(at(changing, "removed")).unwrap();
    let removed = until("the removed one is gone", SOON, || !at(seeing, "removed").exists());
    [renamed, new, replaced, removed].into_iter().max().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_others_change_are_seen_soon_whoever_leads() {
    let folder = tempfile::tempdir().unwrap();
    let mut hosts = Hosts::start(folder.path(), "");
    hosts.create_volume("v");
    hosts.wait_healthy().await;
    let (one, two) = (
        Mount::new(&hosts, folder.path().join("one")),
        Mount::new(&hosts, folder.path().join("two")),
    );
    // By then both hear of what the other does.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut times: Vec<Duration> =
        (0..20).map(|round| change_names(&one, &two, &format!("calm-{round}"))).collect();
    times.sort_unstable();
    assert!(times[10] < ATTRIBUTE_CACHE_TIME / 2, "nobody is told: {times:?}");
    std::fs::create_dir(one.path("inside")).unwrap();
    until("the folder is there", SOON, || two.path("inside").exists());
    let inside = Inside::new(two.path("inside"));
    for host in 0..3 {
        let name = format!("before-{host}");
        std::fs::write(one.path(&name), "").unwrap();
        until("it is there", SOON, || two.path(&name).exists());
        hosts.hosts[host].kill();
        std::fs::remove_file(one.path(&name)).unwrap();
        until("it is gone", SOON, || !two.path(&name).exists());
        change_names(&two, &one, &format!("without-{host}"));
        hosts.hosts[host].restart();
        hosts.wait_healthy().await;
    }
    // New leaders made the kernel ask for all names again; none of them was another.
    inside.end_still_there();
}
