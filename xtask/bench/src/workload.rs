//! What is done to each target. Every workload returns how long its measured part took.

use crate::target::Target;
use anyhow::{Context, Result, bail};
use rustix::fs::{Mode, OFlags};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub(crate) const MIB: u64 = 1 << 20;
const BLOCK: usize = 4096;

/// What a workload did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub took: Duration,
    /// Processor time of the process behind the mount, until it had nothing left to do.
    pub cpu: Duration,
    pub operations: u64,
    pub bytes: u64,
}

/// How much is done.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    /// Length of the file that is written and read from end to end.
    pub sequential_bytes: u64,
    /// Length of the file for random access.
    pub random_bytes: u64,
    /// How long open-ended workloads run.
    pub time: Duration,
    pub creates: u64,
    pub folder_entries: u64,
    pub tree_files: u64,
}

impl Scale {
    pub(crate) fn full() -> Scale {
        Scale {
            sequential_bytes: 1024 * MIB,
            random_bytes: 256 * MIB,
            time: Duration::from_secs(3),
            creates: 4000,
            folder_entries: 5000,
            tree_files: 5000,
        }
    }

    pub(crate) fn quick() -> Scale {
        Scale {
            sequential_bytes: 64 * MIB,
            random_bytes: 16 * MIB,
            time: Duration::from_millis(300),
            creates: 400,
            folder_entries: 500,
            tree_files: 300,
        }
    }
}

/// A small generator of numbers, the same in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            let number = self.next().to_le_bytes();
            piece.copy_from_slice(&number[..piece.len()]);
        }
    }
}

/// Measures the part of a workload that counts.
fn timed<T>(target: &Target, work: impl FnOnce() -> Result<T>) -> Result<(Measured, T)> {
    let (start, cpu) = (Instant::now(), target.cpu());
    let result = work()?;
    let took = start.elapsed();
    target.settle();
    Ok((Measured { took, cpu: target.cpu() - cpu }, result))
}

#[derive(Clone, Copy)]
struct Measured {
    took: Duration,
    cpu: Duration,
}

impl Measured {
    fn done(self, operations: u64, bytes: u64) -> Done {
        Done { took: self.took, cpu: self.cpu, operations, bytes }
    }
}

/// Forgets everything that the kernel has in memory of files.
pub(crate) fn drop_caches() -> Result<()> {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").context("cannot drop caches; are you root?")
}

pub(crate) fn sequential_write(target: &Target, path: &Path, bytes: u64) -> Result<Done> {
    let mut block = vec![0; usize::try_from(MIB)?];
    Dice(7).fill(&mut block);
    let _ = fs::remove_file(path);
    let (measured, ()) = timed(target, || {
        let mut file = File::create(path)?;
        for number in 0..bytes / MIB {
            block[..8].copy_from_slice(&number.to_le_bytes());
            file.write_all(&block)?;
        }
        Ok(file.sync_all()?)
    })?;
    Ok(measured.done(bytes / MIB, bytes))
}

pub(crate) fn sequential_read(target: &Target, path: &Path, bytes: u64) -> Result<Done> {
    let mut block = vec![0; usize::try_from(MIB)?];
    let (measured, ()) = timed(target, || {
        let mut file = File::open(path)?;
        let mut total = 0;
        loop {
            let read = file.read(&mut block)?;
            if read == 0 {
                break;
            }
            total += read as u64;
        }
        if total != bytes {
            bail!("{} is {total} long, not {bytes}", path.display());
        }
        Ok(())
    })?;
    Ok(measured.done(bytes / MIB, bytes))
}

fn open_direct(path: &Path) -> Result<File> {
    let fd: OwnedFd = rustix::fs::open(path, OFlags::RDWR | OFlags::DIRECT, Mode::empty())?;
    Ok(File::from(fd))
}

/// A block whose address is right for direct access, within a larger buffer.
fn aligned(buffer: &mut [u8]) -> &mut [u8] {
    let misplaced = buffer.as_ptr() as usize % BLOCK;
    let start = if misplaced == 0 { 0 } else { BLOCK - misplaced };
    &mut buffer[start..start + BLOCK]
}

/// Direct access at random places, by several threads, for a while.
pub(crate) fn random_direct(
    target: &Target,
    path: &Path,
    scale: &Scale,
    threads: u64,
    writes: bool,
) -> Result<Done> {
    let blocks = scale.random_bytes / BLOCK as u64;
    run_for(target, scale.time, threads, |thread, stop| {
        let file = open_direct(path)?;
        let mut dice = Dice(99 + thread);
        let mut buffer = vec![0; 2 * BLOCK];
        let block = aligned(&mut buffer);
        dice.fill(block);
        let mut count = 0;
        while !stop.load(Ordering::Relaxed) {
            let offset = dice.next() % blocks * BLOCK as u64;
            if writes {
                block[..8].copy_from_slice(&offset.to_le_bytes());
                file.write_all_at(block, offset)?;
            } else {
                file.read_exact_at(block, offset)?;
            }
            count += 1;
        }
        Ok(count)
    })
}

/// Runs `work` on several threads until the time is over; it returns how often it did something.
fn run_for(
    target: &Target,
    time: Duration,
    threads: u64,
    work: impl Fn(u64, &AtomicBool) -> Result<u64> + Sync,
) -> Result<Done> {
    let (stop, total) = (AtomicBool::new(false), AtomicU64::new(0));
    let (measured, failed) = timed(target, || {
        Ok(std::thread::scope(|scope| {
            let run = |thread| {
                let (work, stop, total) = (&work, &stop, &total);
                scope.spawn(move || -> Result<()> {
                    total.fetch_add(work(thread, stop)?, Ordering::Relaxed);
                    Ok(())
                })
            };
            let running: Vec<_> = (0..threads).map(run).collect();
            std::thread::sleep(time);
            stop.store(true, Ordering::Relaxed);
            running.into_iter().find_map(|thread| thread.join().expect("no panic").err())
        }))
    })?;
    failed.map_or(Ok(()), Err)?;
    let operations = total.into_inner();
    Ok(measured.done(operations, operations * BLOCK as u64))
}

/// Buffered writes at random places by one thread, then fsync.
pub(crate) fn random_buffered(target: &Target, path: &Path, scale: &Scale) -> Result<Done> {
    let blocks = scale.random_bytes / BLOCK as u64;
    let count = blocks / 4;
    let file = OpenOptions::new().write(true).open(path)?;
    let mut dice = Dice(5);
    let mut block = vec![0; BLOCK];
    dice.fill(&mut block);
    let (measured, ()) = timed(target, || {
        for _ in 0..count {
            let offset = dice.next() % blocks * BLOCK as u64;
            block[..8].copy_from_slice(&offset.to_le_bytes());
            file.write_all_at(&block, offset)?;
        }
        Ok(file.sync_all()?)
    })?;
    Ok(measured.done(count, count * BLOCK as u64))
}

/// Appends and fsyncs, each thread in a file of its own.
pub(crate) fn append_fsync(target: &Target, scale: &Scale, threads: u64) -> Result<Done> {
    let folder = &target.folder;
    let result = run_for(target, scale.time, threads, |thread, stop| {
        let path = folder.join(format!("append-{thread}"));
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        let block = vec![7; BLOCK];
        let mut count = 0;
        while !stop.load(Ordering::Relaxed) {
            file.write_all(&block)?;
            file.sync_all()?;
            count += 1;
        }
        Ok(count)
    });
    for thread in 0..threads {
        let _ = fs::remove_file(folder.join(format!("append-{thread}")));
    }
    result
}

/// Creates, writes and closes small files, each thread in a folder of its own.
pub(crate) fn create(target: &Target, folder: &Path, files: u64, threads: u64) -> Result<Done> {
    let each = files / threads;
    for thread in 0..threads {
        fs::create_dir_all(folder.join(thread.to_string()))?;
    }
    let (measured, failed) = timed(target, || {
        Ok(std::thread::scope(|scope| {
            let run = |thread: u64| {
                let folder = folder.join(thread.to_string());
                scope.spawn(move || create_some(&folder, each))
            };
            let running: Vec<_> = (0..threads).map(run).collect();
            running.into_iter().find_map(|thread| thread.join().expect("no panic").err())
        }))
    })?;
    failed.map_or(Ok(()), Err)?;
    let operations = each * threads;
    Ok(measured.done(operations, operations * BLOCK as u64))
}

pub(crate) fn create_some(folder: &Path, count: u64) -> Result<()> {
    let block = vec![3; BLOCK];
    for number in 0..count {
        let path = folder.join(format!("file-{number:05}"));
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(&block)?;
    }
    Ok(())
}

pub(crate) fn stat(target: &Target, folder: &Path, count: u64) -> Result<Done> {
    const PASSES: u64 = 4;
    let paths: Vec<PathBuf> =
        (0..count).map(|number| folder.join(format!("file-{number:05}"))).collect();
    let (measured, ()) = timed(target, || {
        for _ in 0..PASSES {
            for path in &paths {
                fs::symlink_metadata(path)?;
            }
        }
        Ok(())
    })?;
    Ok(measured.done(count * PASSES, 0))
}

pub(crate) fn read_folder(target: &Target, folder: &Path, count: u64) -> Result<Done> {
    const PASSES: u64 = 10;
    let (measured, ()) = timed(target, || {
        for _ in 0..PASSES {
            let seen = fs::read_dir(folder)?.count() as u64;
            if seen != count {
                bail!("{} has {seen} entries, not {count}", folder.display());
            }
        }
        Ok(())
    })?;
    Ok(measured.done(count * PASSES, 0))
}

pub(crate) fn list_long(target: &Target, folder: &Path, count: u64) -> Result<Done> {
    let (measured, ()) = timed(target, || quiet(Command::new("ls").arg("-l").arg(folder)))?;
    Ok(measured.done(count, 0))
}

pub(crate) fn rename(target: &Target, folder: &Path, count: u64) -> Result<Done> {
    let (measured, ()) = timed(target, || {
        for number in 0..count {
            let from = folder.join(format!("file-{number:05}"));
            fs::rename(from, folder.join(format!("renamed-{number:05}")))?;
        }
        Ok(())
    })?;
    Ok(measured.done(count, 0))
}

pub(crate) fn unlink(target: &Target, folder: &Path, count: u64) -> Result<Done> {
    let (measured, ()) = timed(target, || {
        for number in 0..count {
            fs::remove_file(folder.join(format!("renamed-{number:05}")))?;
        }
        Ok(())
    })?;
    Ok(measured.done(count, 0))
}

/// Makes the tree that is packed and cloned: small files of many sizes, as sources have.
pub(crate) fn make_tree(base: &Path, files: u64) -> Result<()> {
    let tree = base.join("tree");
    let mut dice = Dice(42);
    for number in 0..files {
        let folder = tree.join(format!("part-{:02}", number % 50));
        fs::create_dir_all(&folder)?;
        // Mostly a few KiB, now and then much more.
        let length = if number % 100 == 0 { 200_000 } else { 200 + dice.next() % 12_000 };
        let mut bytes = vec![0; usize::try_from(length)? / 2];
        dice.fill(&mut bytes);
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(folder.join(format!("source-{number:05}.txt")), text)?;
    }
    quiet(
        Command::new("tar").arg("-cf").arg(base.join("tree.tar")).arg("-C").arg(base).arg("tree"),
    )?;
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.arg("-C").arg(&tree).args([
            "-c",
            "user.name=bench",
            "-c",
            "user.email=bench@localhost",
        ]);
        quiet(git.args(arguments))
    };
    git(&["init", "-q"])?;
    git(&["add", "."])?;
    git(&["commit", "-q", "-m", "tree"])?;
    git(&["gc", "-q"])
}

pub(crate) fn untar(target: &Target, base: &Path, folder: &Path, files: u64) -> Result<Done> {
    fs::create_dir_all(folder)?;
    let (measured, ()) = timed(target, || {
        quiet(Command::new("tar").arg("-xf").arg(base.join("tree.tar")).arg("-C").arg(folder))
    })?;
    Ok(measured.done(files, 0))
}

pub(crate) fn clone(target: &Target, base: &Path, folder: &Path, files: u64) -> Result<Done> {
    let mut git = Command::new("git");
    git.args(["clone", "-q", "--no-hardlinks"]).arg(base.join("tree")).arg(folder);
    let (measured, ()) = timed(target, || quiet(&mut git))?;
    Ok(measured.done(files, 0))
}

pub(crate) fn remove_tree(target: &Target, folder: &Path, files: u64) -> Result<Done> {
    let (measured, ()) = timed(target, || quiet(Command::new("rm").arg("-rf").arg(folder)))?;
    Ok(measured.done(files, 0))
}

fn quiet(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}
