//! `holdfast up --mount`, as people run it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A cluster in a process of its own, and its mounted volume; both gone when it is dropped.
pub(super) struct Mounted {
    process: Child,
    folder: PathBuf,
}

impl Mounted {
    /// Starts on what is in the folder already.
    pub(super) fn start(folder: &Path) -> Mounted {
        let log = folder.join("up.log");
        let out = std::fs::File::create(&log).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .args(["up", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder.join("data"))
            .arg("--mount")
            .arg(folder.join("mount"))
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        let mut mounted = Mounted { process, folder: folder.to_owned() };
        let begun = Instant::now();
        loop {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            if said.contains("mounted on") {
                return mounted;
            }
            let ended = mounted.process.try_wait().unwrap();
            assert!(ended.is_none() && begun.elapsed() < Duration::from_secs(30), "{said}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it said so far.
    pub(super) fn said(&self) -> String {
        std::fs::read_to_string(self.folder.join("up.log")).unwrap_or_default()
    }

    /// Where the volume is mounted.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.join("mount")
    }

    /// Ends as with Ctrl-C: everything is written back, and it says so with its exit code.
    pub(super) fn stop(mut self) {
        self.interrupt();
        let status = self.process.wait().unwrap();
        let said = std::fs::read_to_string(self.folder.join("up.log")).unwrap_or_default();
        assert!(status.success(), "{status}: {said}");
    }

    /// Ends at once and leaves everything as it is, the mount too.
    pub(super) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        // What is left of it is not taken away here.
    }

    fn interrupt(&self) {
        let pid = self.process.id().to_string();
        let _ = Command::new("kill").args(["-INT", &pid]).status();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.process.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        self.interrupt();
        std::thread::sleep(Duration::from_secs(1));
        let _ = Command::new("umount").arg("-l").arg(self.path()).output();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs a line of shell in a folder; it must succeed. Returns what it prints.
pub(super) fn shell(folder: &Path, line: &str) -> String {
    let output = try_shell(folder, line);
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{line}\n{}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// Runs a line of shell in a folder.
pub(super) fn try_shell(folder: &Path, line: &str) -> Output {
    Command::new("bash")
        .args(["-euo", "pipefail", "-c", line])
        .current_dir(folder)
        .env("LC_ALL", "C")
        // Git must not find settings, or a repository above.
        .env("HOME", folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env_remove("GIT_DIR")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}
