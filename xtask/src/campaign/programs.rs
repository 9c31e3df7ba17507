//! Long runs of real programs on a mounted volume: a build, a database, a very large folder.
//!
//! Each either does what it does on any file system, or the campaign fails. Times are printed and
//! not judged; `cargo xtask bench` compares.

use crate::mounted::{Build, Mounted};
use crate::run;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

#[derive(Debug, Args)]
pub(crate) struct Programs {
    /// Entries of the large folder
    #[arg(long, default_value_t = 1_000_000)]
    entries: u64,
    /// Seconds that pgbench runs
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Only runs whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Use the build for development
    #[arg(long)]
    debug: bool,
    /// Use this binary and build nothing
    #[arg(long)]
    binary: Option<PathBuf>,
}

type Program = fn(&Programs, &Path) -> Result<()>;

const PROGRAMS: [(&str, Program); 3] =
    [("build", build), ("database", database), ("folder", folder)];

impl Programs {
    pub(crate) fn run(&self) -> Result<()> {
        let folder = std::env::temp_dir().join(format!("holdfast-programs-{}", std::process::id()));
        let mounted = match &self.binary {
            Some(binary) => Mounted::run(folder, binary)?,
            None if self.debug => Mounted::start(folder, Build::Debug)?,
            None => Mounted::start(folder, Build::Release)?,
        };
        let mut failed = Vec::new();
        for (name, program) in PROGRAMS.iter().filter(|(name, _)| name.contains(&self.only)) {
            let begun = Instant::now();
            let result = program(self, &mounted.path());
            let seconds = begun.elapsed().as_secs_f64();
            match result {
                Ok(()) => run::say(&format!("{name}: good, {seconds:.1} s")),
                Err(error) => {
                    run::say(&format!("{name}: FAILED after {seconds:.1} s: {error:#}"));
                    failed.push(*name);
                }
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        bail!("failed: {}; the cluster said:\n{}", failed.join(", "), mounted.log())
    }
}

/// Says how long a part took.
fn timed<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    let done = work().with_context(|| what.to_owned())?;
    run::say(&format!("  {what}: {:.1} s", begun.elapsed().as_secs_f64()));
    Ok(done)
}

/// Runs a line of shell; it must succeed. Returns what it prints.
fn shell(line: &str) -> Result<String> {
    let output = Command::new("bash").args(["-euo", "pipefail", "-c", line]).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    ensure!(output.status.success(), "{line}: {}\n{out}\n{err}", output.status);
    Ok(out)
}

/// cargo with its target folder on the volume: once from nothing, once with nothing to do.
fn build(_: &Programs, mount: &Path) -> Result<()> {
    let target = mount.join("target");
    let cargo = |words: &[&str]| {
        let mut cargo = run::cargo();
        cargo.args(words).arg("--target-dir").arg(&target).args(["-p", "holdfast-partition"]);
        let output = cargo.env_remove("CARGO_TARGET_DIR").output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{cargo:?}: {}\n{said}", output.status);
        Ok(said)
    };
    timed("cargo test, from nothing", || cargo(&["test", "--quiet", "--lib"]))?;
    let again = timed("cargo build, nothing to do", || cargo(&["test", "--no-run", "--lib"]))?;
    ensure!(!again.contains("Compiling"), "it was built again:\n{again}");
    timed("rm -r", || Ok(fs::remove_dir_all(&target)?))
}

/// Where Debian keeps PostgreSQL's programs.
fn postgres() -> Result<PathBuf> {
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .context("PostgreSQL is not installed: apt-get install postgresql")?
        .map(|entry| entry.map(|entry| entry.path().join("bin")))
        .collect::<std::io::Result<_>>()?;
    versions.sort();
    versions.pop().context("PostgreSQL is not installed: apt-get install postgresql")
}

/// PostgreSQL: a benchmark, a crash in the middle of it, and sums that must still be equal.
fn database(programs: &Programs, mount: &Path) -> Result<()> {
    let bin = postgres()?.display().to_string();
    let (home, sockets) = (mount.join("pg"), mount.with_file_name("sockets"));
    fs::create_dir_all(&home)?;
    fs::create_dir_all(&sockets)?;
    let (home, at) = (home.display().to_string(), sockets.display().to_string());
    shell(&format!(
        "chown postgres: {home} {at} && chmod 711 {}",
        mount.with_file_name("").display()
    ))?;
    let run = |line: &str| {
        shell(&format!(
            "cd {home} && runuser -u postgres -- bash -euc 'export PGHOST={at} PGDATABASE=postgres PATH={bin}:$PATH; {line}'"
        ))
    };
    let options = format!("-c listen_addresses= -c unix_socket_directories={at}");
    let start = format!("pg_ctl -D data -w -t 120 -l log -o \"{options}\" start");
    timed("initdb", || run("initdb -D data --data-checksums"))?;
    run(&start)?;
    timed("pgbench, initialize", || run("pgbench -i -q -s 10"))?;
    let seconds = programs.seconds;
    let bench = format!("pgbench -n -c 4 -j 2 -T {seconds} -P 5");
    let said = timed("pgbench", || run(&bench))?;
    for line in said.lines().filter(|line| line.starts_with("tps") || line.contains("latency")) {
        run::say(&format!("    {line}"));
    }
    let crash = format!("({bench} & sleep 5; pg_ctl -D data -m immediate stop; wait $! || true)");
    timed("a crash under load", || run(&crash))?;
    timed("recovery", || run(&start))?;
    let sums = "select (select sum(abalance) from pgbench_accounts) = (select sum(tbalance) from pgbench_tellers) \
                and (select sum(tbalance) from pgbench_tellers) = (select sum(delta) from pgbench_history) \
                and (select sum(bbalance) from pgbench_branches) = (select sum(delta) from pgbench_history)";
    let equal = run(&format!("psql -Atc \"{sums}\""))?;
    ensure!(equal.trim() == "t", "the sums differ after the crash: {equal}");
    timed("every page read and checked", || {
        run("pg_dumpall > /dev/null; pg_ctl -D data -m fast stop; pg_checksums -D data")
    })?;
    timed("rm -r", || shell(&format!("rm -r {home}")))?;
    Ok(())
}

/// A folder with very many entries.
fn folder(programs: &Programs, mount: &Path) -> Result<()> {
    let (folder, entries) = (mount.join("many"), programs.entries);
    let path = |number: u64| folder.join(format!("entry-{number:09}"));
    fs::create_dir(&folder)?;
    timed(&format!("create {entries} files"), || {
        for number in 0..entries {
            fs::File::create(path(number))?;
        }
        Ok(())
    })?;
    timed("list them", || {
        let mut listed = 0;
        for entry in fs::read_dir(&folder)? {
            entry?;
            listed += 1;
        }
        ensure!(listed == entries, "{listed} entries of {entries} are listed");
        Ok(())
    })?;
    timed("stat one in a hundred", || {
        for number in (0..entries).step_by(100) {
            ensure!(fs::metadata(path(number))?.nlink() == 1, "entry {number}");
        }
        ensure!(!path(entries).exists(), "one that was not made is there");
        Ok(())
    })?;
    timed("rename one in a hundred", || {
        for number in (0..entries).step_by(100) {
            fs::rename(path(number), folder.join(format!("renamed-{number}")))?;
        }
        Ok(())
    })?;
    timed("remove them", || {
        let output = Command::new("rm").arg("-r").arg(&folder).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    })
}
