//! pjdfstest on a mounted volume: what it says of ext4 is what it must say of us.
//!
//! pjdfstest is an independent suite of tests of POSIX file systems. What fails or is skipped on
//! the ext4 of this machine is no fault of ours and is left out of the comparison.

use crate::run;
use anyhow::{Context, Result, bail};
use clap::Args;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

#[derive(Debug, Default, Args)]
pub(crate) struct Posix {
    /// Only tests whose name contains this
    #[arg(long)]
    filter: Option<String>,
    /// Print what pjdfstest prints of the volume
    #[arg(long)]
    verbose: bool,
}

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

/// Tests that ask the C library for a limit that it knows for ext4 and not for FUSE.
const UNKNOWABLE: [&str; 1] = ["link::link_count_max"];

/// A cluster that is mounted, and gone when this is.
struct Mounted {
    process: Child,
    folder: PathBuf,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let pid = self.process.id().to_string();
        let _ = Command::new("kill").args(["-INT", &pid]).status();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Posix {
    pub(crate) fn run(self) -> Result<()> {
        let folder = std::env::temp_dir().join(format!("holdfast-posix-{}", std::process::id()));
        let local = folder.join("local");
        fs::create_dir_all(&local)?;
        fs::write(folder.join("pjdfstest.toml"), CONFIG)?;
        let mounted = mount(&folder)?;
        let ours = self.suite(&mounted.folder.join("mount"))?;
        let theirs = self.suite(&local)?;
        if self.verbose {
            run::say(&ours.text);
        }
        let worse: Vec<&String> = ours.failed.difference(&theirs.failed).collect();
        let missing = theirs.passed.difference(&ours.passed);
        let missing: Vec<&String> = missing
            .filter(|test| !ours.failed.contains(*test) && !UNKNOWABLE.contains(&test.as_str()))
            .collect();
        drop(mounted);
        run::say(&format!(
            "pjdfstest: {} passed on the volume, {} on the local file system",
            ours.passed.len(),
            theirs.passed.len()
        ));
        if ours.passed.is_empty() {
            bail!("pjdfstest ran nothing:\n{}", ours.text);
        }
        if worse.is_empty() && missing.is_empty() {
            return Ok(());
        }
        bail!("failed here and not there: {worse:#?}; not run here: {missing:#?}")
    }

    fn suite(&self, folder: &Path) -> Result<Outcome> {
        let mut suite = Command::new("pjdfstest");
        let config = folder.parent().expect("it lies in ours").join("pjdfstest.toml");
        suite.arg("-c").arg(config).arg("-p").arg(folder);
        suite.args(&self.filter);
        let output = suite.stdin(Stdio::null()).output().context("cannot run pjdfstest")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(Outcome::read(text))
    }
}

/// What a run of the suite said.
struct Outcome {
    passed: BTreeSet<String>,
    failed: BTreeSet<String>,
    text: String,
}

impl Outcome {
    fn read(text: String) -> Outcome {
        let (mut passed, mut failed) = (BTreeSet::new(), BTreeSet::new());
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, verdict] = words[..] else { continue };
            let set = match verdict {
                "ok" => &mut passed,
                "skipped" => continue,
                _ if name.contains("::") => &mut failed,
                _ => continue,
            };
            set.insert(name.to_owned());
        }
        Outcome { passed, failed, text }
    }
}

fn mount(folder: &Path) -> Result<Mounted> {
    run::succeed(run::cargo().args(["build", "--quiet", "-p", "holdfast"]))?;
    let mount = folder.join("mount");
    fs::create_dir_all(&mount)?;
    let log = fs::File::create(folder.join("log"))?;
    let process = Command::new(run::workspace().join("target/debug/holdfast"))
        .args(["up", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder.join("data"))
        .arg("--mount")
        .arg(&mount)
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot run holdfast up")?;
    let mut mounted = Mounted { process, folder: folder.to_owned() };
    for _ in 0..600 {
        let text = fs::read_to_string(folder.join("log")).unwrap_or_default();
        if text.contains("mounted on") {
            return Ok(mounted);
        }
        if let Some(status) = mounted.process.try_wait()? {
            bail!("holdfast up ended: {status}\n{text}");
        }
        thread::sleep(Duration::from_millis(50));
    }
    bail!("holdfast up did not mount within 30 s")
}
