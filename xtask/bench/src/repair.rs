//! `bench repair`: what it takes to bring a replica up, and what others feel of it.
//!
//! Three measurements on a cluster of processes on this machine: a node that was away for a while
//! catches up; everything on a node is moved away while somebody works (big chunks); the same with
//! many small objects.

use crate::servers::Servers;
use crate::target::Workplace;
use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::fs::OFlags;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const PAGE: usize = 4096;
const MIB: u64 = 1 << 20;

#[derive(Debug, Args)]
pub(crate) struct Repair {
    /// The `holdfast` to measure
    #[arg(long)]
    binary: PathBuf,
    /// MiB in big files, before anything is repaired
    #[arg(long, default_value_t = 512)]
    mib: u64,
    /// MiB that are written while a node is away
    #[arg(long, default_value_t = 64)]
    outage_mib: u64,
    /// Small files (4 KiB)
    #[arg(long, default_value_t = 20_000)]
    objects: u64,
    /// The folder to work in
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

impl Repair {
    pub(crate) fn run(self) -> Result<()> {
        let base = Workplace::new(self.folder.as_deref())?;
        let result = self.measure(base.path())?;
        Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&result)?)?)
    }

    fn measure(&self, base: &Path) -> Result<Value> {
        let mut servers = Servers::start(base, &self.binary)?;
        for _ in 0..3 {
            servers.add_node()?;
        }
        let volume = ["volume", "create", "big", "--kind", "file", "--capacity", "20GiB"];
        servers.ask(&volume)?;
        let (big, _) = servers.mount("big")?;
        fill(&big, "first", self.outage_mib)?;
        servers.wait_healthy()?;
        let outage = self.outage(&mut servers, &big)?;
        servers.add_node()?;
        fill(&big, "more", self.mib - 2 * self.outage_mib.min(self.mib / 2))?;
        let chunks = self.big(&servers, &big, base)?;
        let objects = self.small(&mut servers)?;
        Ok(json!({ "after_an_outage": outage, "big_chunks": chunks, "small_objects": objects }))
    }

    /// A node is killed, much is written, and it comes back.
    fn outage(&self, servers: &mut Servers, folder: &Path) -> Result<Value> {
        servers.kill_node(0)?;
        // Until the others go on without it.
        fill(folder, "touch", 1)?;
        thread::sleep(Duration::from_secs(2));
        fill(folder, "meanwhile", self.outage_mib)?;
        servers.restart_node(0)?;
        let begun = Instant::now();
        // A list that is still from before would call everything well.
        thread::sleep(Duration::from_secs(2));
        servers.wait_healthy()?;
        let took = begun.elapsed();
        let log = servers.counter(0, "holdfast_node_replicated_bytes")?;
        let snapshots = servers.counter(0, "holdfast_node_snapshot_bytes")?;
        let written = (self.outage_mib + 1) * MIB;
        Ok(json!({
            "written_bytes": written,
            "moved_bytes": log + snapshots,
            "moved_as_snapshots_bytes": snapshots,
            "moved_by_written": ratio((log + snapshots) as f64, written as f64),
            "seconds_until_healthy": took.as_secs_f64(),
        }))
    }

    /// Everything on node 0 goes to node 3, as fast as it can; then everything on node 1 to node 0,
    /// while somebody reads and writes.
    fn big(&self, servers: &Servers, folder: &Path, base: &Path) -> Result<Value> {
        servers.wait_healthy()?;
        let copy = local_copy(base, self.mib)?;
        let alone = moved(servers, 3, || decommission(servers, 0))?;
        servers.ask(&["node", "recommission", &servers.node_id(0)?])?;
        servers.wait_healthy()?;
        let idle = watch(folder, || {
            thread::sleep(Duration::from_secs(10));
            Ok(())
        })?;
        let mut busy = Watched::default();
        let disturbed = moved(servers, 0, || {
            busy = watch(folder, || decommission(servers, 1))?;
            Ok(())
        })?;
        servers.ask(&["node", "recommission", &servers.node_id(1)?])?;
        Ok(json!({
            "bytes": alone.bytes,
            "seconds": alone.seconds,
            "mib_per_second": alone.mib_per_second(),
            "local_copy_mib_per_second": copy,
            "of_local_copy": ratio(alone.mib_per_second(), copy),
            "while_others_work": {
                "mib_per_second": disturbed.mib_per_second(),
                "seconds": disturbed.seconds,
                "idle": idle.report(),
                "meanwhile": busy.report(),
                "p99_read": ratio(busy.reads.p99(), idle.reads.p99()),
                "p99_write": ratio(busy.writes.p99(), idle.writes.p99()),
            },
        }))
    }

    fn small(&self, servers: &mut Servers) -> Result<Value> {
        let volume = ["volume", "create", "small", "--kind", "file", "--capacity", "20GiB"];
        servers.ask(&volume)?;
        let (folder, _) = servers.mount("small")?;
        for number in 0..self.objects {
            let folder = folder.join(format!("{}", number / 1000));
            if number % 1000 == 0 {
                fs::create_dir(&folder)?;
            }
            fs::write(folder.join(format!("{number}")), [7; PAGE])?;
        }
        rustix::fs::sync();
        servers.ask(&["volume", "delete", "big", "--yes", "--force", "--grace", "0s"])?;
        servers.wait("the other volume to be gone", |servers| {
            let volumes = servers.ask_json(&["volume", "list"])?;
            Ok(volumes.as_array().is_some_and(|volumes| volumes.len() == 1))
        })?;
        servers.wait_healthy()?;
        let begun = Instant::now();
        decommission(servers, 2)?;
        let took = begun.elapsed().as_secs_f64();
        Ok(json!({
            "objects": self.objects,
            "seconds": took,
            // A node has three of four replicas; a decommission moves all that it has.
            "objects_per_second": self.objects as f64 * 0.75 / took,
        }))
    }
}

fn ratio(one: f64, other: f64) -> f64 {
    (100.0 * one / other).round() / 100.0
}

fn received(servers: &Servers, node: usize) -> Result<u64> {
    let log = servers.counter(node, "holdfast_node_replicated_bytes")?;
    Ok(log + servers.counter(node, "holdfast_node_snapshot_bytes")?)
}

/// What a move took.
#[derive(Debug)]
struct Moved {
    bytes: u64,
    seconds: f64,
}

impl Moved {
    fn mib_per_second(&self) -> f64 {
        (self.bytes as f64 / self.seconds / MIB as f64).round()
    }
}

/// Times what brings data of one node to another.
fn moved(servers: &Servers, to: usize, work: impl FnOnce() -> Result<()>) -> Result<Moved> {
    let before = received(servers, to)?;
    let begun = Instant::now();
    work()?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Moved { bytes: received(servers, to)? - before, seconds })
}

/// Moves everything away from a node, and waits for the verdict.
fn decommission(servers: &Servers, node: usize) -> Result<()> {
    let id = servers.node_id(node)?;
    servers.ask(&["node", "decommission", &id, "--yes", "--watch"]).map(drop)
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    std::iter::repeat_with(next).flat_map(u64::to_le_bytes).take(length).collect()
}

fn fill(folder: &Path, name: &str, mib: u64) -> Result<()> {
    let file = File::create(folder.join(name))?;
    let block = noise(1 << 20);
    for number in 0..mib {
        file.write_all_at(&block, number * MIB)?;
    }
    Ok(file.sync_all()?)
}

/// MiB a second of a copy on the local disk, brought to disk.
fn local_copy(base: &Path, mib: u64) -> Result<f64> {
    fill(base, "local", mib)?;
    let begun = Instant::now();
    let to = base.join("local-copy");
    fs::copy(base.join("local"), &to)?;
    File::open(&to)?.sync_all()?;
    let took = begun.elapsed().as_secs_f64();
    fs::remove_file(base.join("local"))?;
    fs::remove_file(to)?;
    Ok(mib as f64 / took)
}

/// Latencies, in microseconds.
#[derive(Debug, Default)]
struct Latencies(Vec<f64>);

impl Latencies {
    fn at(&self, fraction: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let place = (sorted.len() as f64 * fraction) as usize;
        sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    }

    fn p99(&self) -> f64 {
        self.at(0.99)
    }
}

#[derive(Debug, Default)]
struct Watched {
    reads: Latencies,
    writes: Latencies,
}

impl Watched {
    fn report(&self) -> Value {
        let of = |latencies: &Latencies| {
            json!({
                "count": latencies.0.len(),
                "p50_us": latencies.at(0.5).round(),
                "p99_us": latencies.p99().round(),
                "max_us": latencies.at(1.0).round(),
            })
        };
        json!({ "read_4k": of(&self.reads), "write_4k": of(&self.writes) })
    }
}

/// Reads and writes pages of a file of its own, not too fast, while `work` runs.
fn watch(folder: &Path, work: impl FnOnce() -> Result<()>) -> Result<Watched> {
    const PAGES: u64 = 4096;
    let path = folder.join("watched");
    if !path.exists() {
        fill(folder, "watched", PAGES * PAGE as u64 / MIB)?;
    }
    let direct = i32::try_from(OFlags::DIRECT.bits()).context("a flag")?;
    let file = File::options().read(true).write(true).custom_flags(direct).open(path)?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let watching = scope.spawn(|| -> Result<Watched> {
            let mut watched = Watched::default();
            let mut memory = vec![0; 2 * PAGE];
            let start = memory.as_ptr().align_offset(PAGE);
            let page = &mut memory[start..start + PAGE];
            let mut place = 1_u64;
            while !stop.load(Ordering::Relaxed) {
                place = (place * 1_103_515_245 + 12_345) % PAGES;
                let begun = Instant::now();
                file.read_exact_at(page, place * PAGE as u64)?;
                watched.reads.0.push(begun.elapsed().as_secs_f64() * 1e6);
                let begun = Instant::now();
                file.write_all_at(page, place * PAGE as u64)?;
                watched.writes.0.push(begun.elapsed().as_secs_f64() * 1e6);
                thread::sleep(Duration::from_millis(2));
            }
            Ok(watched)
        });
        let worked = work();
        stop.store(true, Ordering::Relaxed);
        let Ok(watched) = watching.join() else { bail!("the watcher panicked") };
        worked.and(watched)
    })
}
