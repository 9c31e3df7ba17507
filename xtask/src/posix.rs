//! pjdfstest on a mounted volume: everything passes but what is listed here.
//!
//! pjdfstest is an independent suite of tests of POSIX file systems. Its version is pinned, so that
//! the list below is exact: a test that fails, or is not run without being listed, is an error, and
//! so is one that passes although it is listed.

use crate::mounted::{Build, Mounted};
use crate::run;
use anyhow::{Context, Result, bail};
use clap::Args;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[derive(Debug, Default, Args)]
pub(crate) struct Posix {
    /// Only tests whose name contains this
    #[arg(long)]
    filter: Option<String>,
    /// Print what pjdfstest prints of the volume
    #[arg(long)]
    verbose: bool,
    /// Run the suite on the local file system as well, and say where the two differ
    #[arg(long)]
    local: bool,
}

const VERSION: &str = "0.2.2";
const TESTS: usize = 398;

/// What is not run, and why. All but the last are not run on ext4 either.
const SKIPPED: [(&str, &str); 16] = [
    ("chmod::erofs_named", REMOUNT),
    ("chown::erofs_named", REMOUNT),
    ("chown::lchown::erofs_named", REMOUNT),
    ("link::erofs_named", REMOUNT),
    ("mkdir::erofs_new_file", REMOUNT),
    ("mkfifo::erofs_new_file", REMOUNT),
    ("open::erofs_named", REMOUNT),
    ("open::erofs_new_file", REMOUNT),
    ("rename::erofs_named", REMOUNT),
    ("rmdir::erofs_named", REMOUNT),
    ("symlink::erofs_new_file", REMOUNT),
    ("truncate::erofs_named", REMOUNT),
    ("unlink::erofs_named", REMOUNT),
    ("link::exdev_target", SECOND),
    ("rename::exdev_target", SECOND),
    ("link::link_count_max", "the C library knows LINK_MAX of ext4 and not of FUSE"),
];
const REMOUNT: &str = "remounts what is tested";
const SECOND: &str = "needs a second file system";

/// Other users to act as, and what the volume has of what is optional.
const CONFIG: &str = r#"
[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]

[features]
posix_fallocate = {}
rename_ctime = {}
stat_st_birthtime = {}
utime_now = {}
utimensat = {}

[settings]
naptime = 0.005
allow_remount = false
"#;

impl Posix {
    pub(crate) fn run(self) -> Result<()> {
        if !run::is_root()? {
            bail!("pjdfstest acts as several users: run it as root");
        }
        let suite = installed()?;
        let folder = std::env::temp_dir().join(format!("holdfast-posix-{}", std::process::id()));
        let local = folder.join("local");
        fs::create_dir_all(&local)?;
        fs::write(folder.join("pjdfstest.toml"), CONFIG)?;
        let mounted = Mounted::start(folder.clone(), Build::Debug)?;
        let ours = self.suite(&suite, &mounted.path())?;
        if self.verbose {
            run::say(&ours.text);
        }
        run::say(&format!("pjdfstest {VERSION} on the volume: {}", ours.counts()));
        if self.local {
            let theirs = self.suite(&suite, &local)?;
            run::say(&format!("pjdfstest {VERSION} on {}: {}", local.display(), theirs.counts()));
            for test in ours.passed.symmetric_difference(&theirs.passed) {
                let where_ = if ours.passed.contains(test) { "on the volume" } else { "locally" };
                run::say(&format!("  {test} passes only {where_}"));
            }
        }
        drop(mounted);
        ours.judge(self.filter.is_none())
    }

    fn suite(&self, program: &Path, folder: &Path) -> Result<Outcome> {
        let mut suite = Command::new(program);
        let config = folder.parent().expect("it lies in ours").join("pjdfstest.toml");
        suite.arg("-c").arg(config).arg("-p").arg(folder);
        suite.args(&self.filter);
        let output = suite.stdin(Stdio::null()).output().context("cannot run pjdfstest")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let outcome = Outcome::read(text);
        if outcome.total() == 0 {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("pjdfstest ran nothing ({}):\n{}{said}", output.status, outcome.text);
        }
        Ok(outcome)
    }
}

/// The program, of the version that the list is for; installed when there is none.
pub(crate) fn installed() -> Result<PathBuf> {
    if let Some(found) = run::find("pjdfstest").filter(|found| is_pinned(found)) {
        return Ok(found);
    }
    let root = run::workspace().join("target/tools");
    let ours = root.join("bin/pjdfstest");
    if !is_pinned(&ours) {
        let version = format!("={VERSION}");
        let mut install = run::cargo();
        install.args(["install", "--locked", "--version", &version, "--root"]).arg(&root);
        run::succeed(install.arg("pjdfstest"))?;
    }
    Ok(ours)
}

fn is_pinned(program: &Path) -> bool {
    let said = Command::new(program).arg("--version").output();
    said.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).trim().ends_with(VERSION))
}

/// What a run of the suite said.
struct Outcome {
    passed: BTreeSet<String>,
    failed: BTreeSet<String>,
    skipped: BTreeSet<String>,
    text: String,
}

impl Outcome {
    fn read(text: String) -> Outcome {
        let (mut passed, mut failed, mut skipped) = Default::default();
        for line in text.lines() {
            // What a test says about itself is indented.
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, verdict] = words[..] else { continue };
            let set: &mut BTreeSet<String> = match verdict {
                _ if line.starts_with(char::is_whitespace) || !name.contains("::") => continue,
                "ok" => &mut passed,
                "skipped" => &mut skipped,
                _ => &mut failed,
            };
            set.insert(name.to_owned());
        }
        Outcome { passed, failed, skipped, text }
    }

    fn total(&self) -> usize {
        self.passed.len() + self.failed.len() + self.skipped.len()
    }

    fn counts(&self) -> String {
        let (passed, failed) = (self.passed.len(), self.failed.len());
        format!("{passed} passed, {failed} failed, {} skipped", self.skipped.len())
    }

    /// Compares with what is expected.
    fn judge(&self, whole: bool) -> Result<()> {
        let mut wrong: Vec<String> = Vec::new();
        wrong.extend(self.failed.iter().map(|test| format!("{test} failed")));
        let is_listed = |test: &str| SKIPPED.iter().any(|(name, _)| *name == test);
        let skipped = self.skipped.iter().filter(|test| !is_listed(test));
        wrong.extend(skipped.map(|test| format!("{test} was skipped and is not listed")));
        let listed = SKIPPED.iter().filter(|(test, _)| self.passed.contains(*test));
        wrong.extend(listed.map(|(test, why)| format!("{test} passes; it is listed: {why}")));
        if whole && self.total() != TESTS {
            wrong.push(format!("{} tests instead of {TESTS}", self.total()));
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let failures = self.text.lines().skip_while(|line| !line.ends_with("FAILED"));
        let first: Vec<&str> = failures.take(20).collect();
        bail!("pjdfstest:\n{}\n{}", wrong.join("\n"), first.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(text: &str) -> Outcome {
        Outcome::read(text.to_owned())
    }

    #[test]
    fn what_is_not_expected_is_an_error() {
        let line = |test: &str, verdict: &str| outcome(&format!("{test}   {verdict}\n\ta::b ok\n"));
        line("a::b", "ok").judge(false).unwrap();
        line("link::link_count_max", "skipped").judge(false).unwrap();
        for (test, verdict) in [
            ("a::b", "FAILED"),
            ("a::b", "skipped"),
            ("link::link_count_max", "ok"),
            ("link::link_count_max", "FAILED"),
        ] {
            line(test, verdict).judge(false).unwrap_err();
        }
        line("a::b", "ok").judge(true).unwrap_err();
    }
}
