//! Programs that write to a mounted volume, and know what was acknowledged.
//!
//! Writers append numbered records to files of their own, one `fdatasync` each. A namer makes files
//! under new names, synced with their folder. What a call returned for must be there for ever.
//!
//! They run in a process of their own and tell ours of every call. Ours opens nothing on the mount:
//! whatever it starts would inherit that, and wait for the mount when it closes it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const RECORD_BYTES: usize = 64;
const WRITERS: usize = 3;
const PAUSE: Duration = Duration::from_millis(5);
/// Where the other process writes; set in it alone.
const FOLDER: &str = "HOLDFAST_TEST_LOAD";

/// Writers at work.
pub(super) struct Load {
    process: Child,
    states: Arc<Mutex<Vec<State>>>,
    listener: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    acknowledged: u64,
    /// When the call that is under way began.
    begun: Option<Instant>,
    /// The longest call since somebody last asked.
    longest: Duration,
    failure: Option<String>,
}

/// What must be there.
#[derive(Debug)]
pub(super) struct Acknowledged {
    records: Vec<u64>,
    names: u64,
}

fn record(writer: usize, number: u64) -> [u8; RECORD_BYTES] {
    let mut bytes = [writer as u8; RECORD_BYTES];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn file_name(writer: usize) -> String {
    format!("writer-{writer}")
}

impl Load {
    /// Begins to write below a folder.
    pub(super) fn start(folder: &Path) -> Load {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "it::load::the_other_process", "--nocapture"])
            .env(FOLDER, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let states: Vec<State> = (0..=WRITERS).map(|_| State::default()).collect();
        let states = Arc::new(Mutex::new(states));
        let (said, ours) = (BufReader::new(process.stdout.take().unwrap()), states.clone());
        let listener = std::thread::spawn(move || {
            for line in said.lines() {
                hear(&mut ours.lock().unwrap(), &line.unwrap());
            }
        });
        Load { process, states, listener }
    }

    /// The longest that any call took since this was last asked, those under way included; panics
    /// when one failed.
    pub(super) fn longest(&self) -> Duration {
        let mut states = self.states.lock().unwrap();
        let longest = states.iter_mut().map(|state| {
            assert_eq!(state.failure, None, "a write failed");
            let under_way = state.begun.map_or(Duration::ZERO, |begun| begun.elapsed());
            std::mem::take(&mut state.longest).max(under_way)
        });
        longest.max().unwrap()
    }

    /// How many calls have returned.
    pub(super) fn calls(&self) -> u64 {
        self.states.lock().unwrap().iter().map(|state| state.acknowledged).sum()
    }

    /// Ends after the calls that are under way.
    pub(super) fn stop(mut self) -> Acknowledged {
        drop(self.process.stdin.take());
        assert!(self.process.wait().unwrap().success());
        self.listener.join().unwrap();
        let states = self.states.lock().unwrap();
        let failed = states.iter().find_map(|state| state.failure.clone());
        assert_eq!(failed, None, "a write failed");
        let mut counts: Vec<u64> = states.iter().map(|state| state.acknowledged).collect();
        let names = counts.pop().unwrap();
        assert!(names > 0 && counts.iter().all(|count| *count > 0), "{counts:?} {names}");
        Acknowledged { records: counts, names }
    }
}

/// Takes one line of the other process: `begin WORKER`, `done WORKER` or `failed WORKER WHY`.
fn hear(states: &mut [State], line: &str) {
    let mut words = line.splitn(3, ' ');
    let (verb, worker) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let Some(state) = worker.parse().ok().and_then(|worker: usize| states.get_mut(worker)) else {
        return; // What the test runner says.
    };
    match verb {
        "begin" => state.begun = Some(Instant::now()),
        "done" => {
            let took = state.begun.take().unwrap().elapsed();
            state.longest = state.longest.max(took);
            state.acknowledged += 1;
        }
        "failed" => state.failure = Some(words.next().unwrap_or_default().to_owned()),
        _ => {}
    }
}

/// What runs in the other process; nothing when the tests run all together.
#[test]
fn the_other_process() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let names = folder.join("names");
    std::fs::create_dir_all(&names).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    // The test runner may have left a line unfinished.
    std::io::stdout().write_all(b"\n").unwrap();
    let mut workers: Vec<JoinHandle<()>> = (0..WRITERS)
        .map(|writer| {
            let (stop, file) =
                (stop.clone(), File::create(folder.join(file_name(writer))).unwrap());
            std::thread::spawn(move || {
                work(writer, &stop, |number| {
                    file.write_all_at(&record(writer, number), number * RECORD_BYTES as u64)?;
                    file.sync_data()
                });
            })
        })
        .collect();
    let for_names = stop.clone();
    workers.push(std::thread::spawn(move || {
        work(WRITERS, &for_names, |number| make(&names, number));
    }));
    // The end of our input is the end of our work.
    let _ = std::io::stdin().read(&mut [0; 1]);
    stop.store(true, Ordering::Release);
    workers.into_iter().for_each(|worker| worker.join().unwrap());
}

fn work(worker: usize, stop: &AtomicBool, mut step: impl FnMut(u64) -> std::io::Result<()>) {
    let say = |line: String| std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    for number in 0.. {
        if stop.load(Ordering::Acquire) {
            return;
        }
        say(format!("begin {worker}\n"));
        match step(number) {
            Ok(()) => say(format!("done {worker}\n")),
            Err(error) => return say(format!("failed {worker} call {number}: {error}\n")),
        }
        std::thread::sleep(PAUSE);
    }
}

fn path(names: &Path, number: u64) -> PathBuf {
    names.join(format!("name-{number:06}"))
}

/// Makes a file under another name, and gives it its own when it is whole.
fn make(names: &Path, number: u64) -> std::io::Result<()> {
    let early = names.join("early");
    let mut file = File::create(&early)?;
    file.write_all(&record(WRITERS, number))?;
    file.sync_all()?;
    std::fs::rename(&early, path(names, number))?;
    File::open(names)?.sync_all()
}

impl Acknowledged {
    /// Reads everything below a folder, best one that did not see it being written.
    pub(super) fn verify(&self, folder: &Path) {
        for (writer, count) in self.records.iter().enumerate() {
            let content = std::fs::read(folder.join(file_name(writer))).unwrap();
            let (whole, rest) = content.as_chunks::<RECORD_BYTES>();
            assert!(whole.len() as u64 >= *count, "writer {writer}: {} of {count}", whole.len());
            assert!(rest.is_empty());
            for (found, number) in whole.iter().zip(0..) {
                assert_eq!(*found, record(writer, number), "writer {writer} record {number}");
            }
        }
        for number in 0..self.names {
            let content = std::fs::read(path(&folder.join("names"), number)).unwrap();
            assert_eq!(content, record(WRITERS, number), "name {number}");
        }
        let listed = std::fs::read_dir(folder.join("names")).unwrap().count() as u64;
        assert!((self.names..=self.names + 1).contains(&listed), "{listed} of {}", self.names);
    }
}
