//! What is measured: a folder, the passthrough over one, and a volume.

use crate::cpu;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Local,
    Passthrough,
    Holdfast,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Local, Kind::Passthrough, Kind::Holdfast];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Local => "local",
            Kind::Passthrough => "passthrough",
            Kind::Holdfast => "holdfast",
        }
    }
}

/// The folder of one run, gone when this is.
#[derive(Debug)]
pub(crate) struct Workplace(PathBuf);

impl Workplace {
    /// Within `folder`, or where temporary files go.
    pub(crate) fn new(folder: Option<&Path>) -> Result<Workplace> {
        let within = folder.map_or_else(std::env::temp_dir, Path::to_owned);
        let path = within.join(format!("holdfast-bench-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Workplace(fs::canonicalize(path)?))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A folder to work in, and the process behind it. Unmounted and ended when dropped.
#[derive(Debug)]
pub(crate) struct Target {
    pub kind: Kind,
    /// Where workloads run.
    pub folder: PathBuf,
    process: Option<Child>,
}

impl Target {
    /// A plain folder.
    pub(crate) fn local(base: &Path) -> Result<Target> {
        let folder = base.join("local");
        fs::create_dir_all(&folder)?;
        Ok(Target { kind: Kind::Local, folder, process: None })
    }

    /// The passthrough, over a folder beside the local one.
    pub(crate) fn passthrough(base: &Path) -> Result<Target> {
        let (source, folder) = (base.join("under"), base.join("passthrough"));
        fs::create_dir_all(&source)?;
        fs::create_dir_all(&folder)?;
        let process = Command::new(std::env::current_exe()?)
            .arg("passthrough")
            .args([&source, &folder])
            .stdin(Stdio::null())
            .spawn()?;
        let target = Target { kind: Kind::Passthrough, folder, process: Some(process) };
        target.mounted()
    }

    /// A cluster of three nodes in one process, with a volume of three replicas, mounted.
    pub(crate) fn holdfast(base: &Path, binary: &Path) -> Result<Target> {
        let folder = base.join("holdfast");
        fs::create_dir_all(&folder)?;
        let log = fs::File::create(base.join("holdfast.log"))?;
        let process = Command::new(binary)
            .args(["up", "--listen", "127.0.0.1:0", "--data"])
            .arg(base.join("data"))
            .arg("--mount")
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {}", binary.display()))?;
        let target = Target { kind: Kind::Holdfast, folder, process: Some(process) };
        target.mounted()
    }

    /// Waits until it is mounted.
    fn mounted(mut self) -> Result<Target> {
        let wanted = format!(" {} ", self.folder.display());
        let deadline = Instant::now() + Duration::from_secs(30);
        while !fs::read_to_string("/proc/self/mounts")?.contains(&wanted) {
            if let Some(status) = self.process.as_mut().and_then(|p| p.try_wait().ok()).flatten() {
                bail!("{} ended before it was mounted: {status}", self.kind.name());
            }
            if Instant::now() > deadline {
                bail!("{} was not mounted within 30 s", self.kind.name());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(self)
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Processor time of the process behind the mount so far.
    pub(crate) fn cpu(&self) -> Duration {
        self.pid().map(cpu::used).unwrap_or_default()
    }

    /// Waits until the process behind the mount has nothing left to do, but not for ever.
    pub(crate) fn settle(&self) {
        const LOOK: Duration = Duration::from_millis(250);
        for _ in 0..40 {
            let before = self.cpu();
            thread::sleep(if self.process.is_some() { LOOK } else { Duration::ZERO });
            if self.cpu() - before < LOOK / 10 {
                return;
            }
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let Some(process) = &mut self.process else { return };
        if self.kind == Kind::Passthrough {
            let _ = rustix::mount::unmount(&self.folder, rustix::mount::UnmountFlags::DETACH);
        } else if let Some(pid) = rustix::process::Pid::from_raw(process.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        }
        let _ = process.wait();
    }
}
