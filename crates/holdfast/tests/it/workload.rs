//! What programs do on a mount while its volume goes away. Each is a process of its own: what hangs
//! in the kernel must not hang the test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Workload {
    Idle,
    /// Buffered writes as fast as they go.
    Heavy,
    /// Lines, each synced.
    Fsync,
    /// Stores into a shared mapping, each followed by `msync`.
    Mmap,
    /// Writes to a file that has no name any more.
    Unlinked,
    /// A shell whose working folder is in the mount.
    Shell,
}

pub(super) const ALL: [Workload; 6] = [
    Workload::Idle,
    Workload::Heavy,
    Workload::Fsync,
    Workload::Mmap,
    Workload::Unlinked,
    Workload::Shell,
];

/// Notes outside of the mount that it began, how far it came, and the error that ended it.
///
/// It goes by a descriptor of the mount's root: a path leads to whatever is mounted there, and once the
/// mount is detached to the folder underneath.
const FRAME: &str = r#"
import mmap, os, sys
kind, folder, report = sys.argv[1:]
note = open(report, 'w', buffering=1)
root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
def create(name):
    return os.open(name, os.O_CREAT | os.O_RDWR, dir_fd=root)
def heavy():
    block, n = os.urandom(1 << 20), 0
    while True:
        fd = os.open(f'heavy-{n % 8}', os.O_CREAT | os.O_WRONLY | os.O_TRUNC, dir_fd=root)
        try:
            for _ in range(4):
                os.write(fd, block)
                n or note.write('begun\n')
        finally:
            os.close(fd)
        n += 1
def fsync():
    fd, n = create('log'), 0
    while True:
        os.write(fd, b'%09d\n' % n)
        os.fsync(fd)
        n += 1
        note.write(f'{n}\n')
def mapped():
    fd = create('pages')
    os.ftruncate(fd, 1 << 20)
    pages, n = mmap.mmap(fd, 1 << 20), 0
    while True:
        n += 1
        pages[(n % 256) * 4096:][:8]
        pages[0:9] = b'%09d' % n
        pages[(n % 256) * 4096 + 16:(n % 256) * 4096 + 25] = b'%09d' % n
        pages.flush()
        note.write(f'{n}\n')
def unlinked():
    fd, n = create('nameless'), 0
    os.unlink('nameless', dir_fd=root)
    while True:
        os.pwrite(fd, os.urandom(65536), (n % 64) * 65536)
        n or note.write('begun\n')
        n += 1
try:
    {'Heavy': heavy, 'Fsync': fsync, 'Mmap': mapped, 'Unlinked': unlinked}[kind]()
except OSError as error:
    note.write(f'errno {error.errno}\n')
"#;

/// A program has begun this soon, on a machine that is busy.
const BEGUN_WITHIN: Duration = Duration::from_secs(30);

/// One of them, at work.
pub(super) struct Working {
    pub(super) workload: Workload,
    process: Option<Child>,
    report: PathBuf,
}

impl Working {
    pub(super) fn begin(workload: Workload, folder: &Path) -> Working {
        let report = folder.with_extension("report");
        let mut command = match workload {
            Workload::Idle => return Working { workload, process: None, report },
            Workload::Shell => {
                let mut shell = Command::new("bash");
                shell.args(["-c", "while :; do sleep 0.1; done"]).current_dir(folder);
                shell
            }
            _ => {
                let mut python = Command::new("python3");
                python.args(["-c", FRAME, &format!("{workload:?}")]).arg(folder).arg(&report);
                python
            }
        };
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Working { workload, process: Some(quiet.spawn().unwrap()), report }
    }

    /// Waits until it has done something in the mount: before that it could not meet its end.
    pub(super) fn wait_begun(&mut self) {
        let Some(process) = &mut self.process else { return };
        if self.workload == Workload::Shell {
            // It was started in its folder.
            return;
        }
        let begun = Instant::now();
        let said = || std::fs::read_to_string(&self.report).unwrap_or_default();
        while !said().contains('\n') {
            let ended = process.try_wait().unwrap();
            assert!(
                ended.is_none() && begun.elapsed() < BEGUN_WITHIN,
                "{:?} did not begin: {ended:?}",
                self.workload
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.report).unwrap_or_default()
    }

    /// How much was acknowledged as durable.
    pub(super) fn acknowledged(&self) -> u64 {
        let said = self.said();
        // The last line may be half written.
        let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().filter_map(|line| line.parse().ok()).max().unwrap_or(0)
    }

    /// Waits until it meets errors, which must not take long: nothing may hang. Returns the error
    /// number it met; one that touched a page that is gone is killed by the kernel instead.
    pub(super) fn end(&mut self, within: Duration) -> Option<i32> {
        let process = self.process.as_mut()?;
        if self.workload == Workload::Shell {
            // It does not look; it just sits there.
            process.kill().unwrap();
        }
        let begun = Instant::now();
        while process.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < within, "{:?} hangs", self.workload);
            std::thread::sleep(Duration::from_millis(10));
        }
        let said = self.said();
        said.lines().find_map(|line| line.strip_prefix("errno ")?.parse().ok())
    }

    /// Everything that was acknowledged as durable is there.
    pub(super) fn verify(&self, folder: &Path) {
        let acknowledged = self.acknowledged();
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        match self.workload {
            Workload::Fsync => {
                let log = read("log");
                let lines: Vec<&[u8]> = log.chunks_exact(10).collect();
                assert!(acknowledged > 0 && lines.len() as u64 >= acknowledged, "{acknowledged}");
                for (line, number) in lines.iter().zip(0..acknowledged) {
                    assert_eq!(*line, format!("{number:09}\n").as_bytes());
                }
            }
            Workload::Mmap => {
                let pages = read("pages");
                let number = |at: usize| -> u64 {
                    String::from_utf8_lossy(&pages[at..at + 9]).parse().unwrap()
                };
                assert!(acknowledged > 0 && number(0) >= acknowledged, "{acknowledged}");
                let last = usize::try_from(acknowledged % 256).unwrap();
                assert!(number(last * 4096 + 16) >= acknowledged);
            }
            _ => {}
        }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.try_wait();
        }
    }
}
