//! What programs ask of the kernel and the kernel of us in its own way: pages, locks, errors.

use super::mounted::{Mounted, shell};

fn python(mounted: &Mounted, script: &str) -> String {
    let path = mounted.path();
    std::fs::write(path.join("script.py"), script).unwrap();
    shell(&path, "timeout 60 python3 script.py")
}

/// The kernel hands changed pages over by whatever handle it finds, also by one for appending.
#[test]
fn pages_go_where_they_belong_whoever_appends() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = Mounted::start(folder.path());
    python(
        &mounted,
        r#"
import mmap, os
def change(path, flags, also=None):
    fd = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o644)
    os.write(fd, b'a' * 4096)
    other = also and os.open(path, also)
    pages = mmap.mmap(fd, 4096)
    pages[0:5] = b'HELLO'
    pages.flush()
    pages.close()
    os.close(fd)
    assert os.stat(path).st_size == 4096, os.stat(path)
    assert open(path, 'rb').read() == b'HELLO' + b'a' * 4091
change('appended', os.O_APPEND)
change('plain', 0, os.O_WRONLY | os.O_APPEND)
"#,
    );
    mounted.stop();
}

/// Locks go with the process that took them, however the file was opened.
#[test]
fn a_lock_through_a_read_only_descriptor_goes_with_its_process() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = Mounted::start(folder.path());
    python(
        &mounted,
        r#"
import fcntl, os, time
open('file', 'w').write('x')
child = os.fork()
if child == 0:
    fcntl.lockf(os.open('file', os.O_RDONLY), fcntl.LOCK_SH)
    os._exit(0)
os.waitpid(child, 0)
fd = os.open('file', os.O_RDWR)
for attempt in range(20):
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        break
    except OSError:
        assert attempt < 19, 'the lock of a process that is gone is still held'
        time.sleep(0.1)
"#,
    );
    mounted.stop();
}

/// A program that writes the same few bytes over and over does not use up the memory of all.
#[test]
fn writing_the_same_place_again_and_again_takes_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = Mounted::start(folder.path());
    python(
        &mounted,
        r#"
import os
fd = os.open('file', os.O_RDWR | os.O_CREAT, 0o644)
for turn in range(40000):
    os.pwrite(fd, b'z' * 4096, 2048 * (turn % 2))
os.fsync(fd)
"#,
    );
    mounted.stop();
}

/// A killed process leaves a dead mount behind; the same command starts again.
#[test]
fn after_a_kill_the_same_command_starts_again() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = Mounted::start(folder.path());
    shell(&mounted.path(), "echo kept > file && sync file");
    mounted.kill();
    let again = Mounted::start(folder.path());
    assert_eq!(shell(&again.path(), "cat file"), "kept\n");
    again.stop();
}

/// The answer to a change of a name says how its folder is then, which is told to the kernel when it asks
/// for the folder a moment later: never more than one change behind.
#[test]
fn what_is_changed_in_a_folder_and_of_it_is_seen_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = Mounted::start(folder.path());
    python(
        &mounted,
        r#"
import os, threading
def work(top):
    os.mkdir(top)
    look = lambda: os.stat(top)
    for turn in range(60):
        names = look().st_size
        open(f'{top}/a', 'w').close()
        assert look().st_size == names + 1, 'a name more'
        before = look().st_ctime_ns
        os.rename(f'{top}/a', f'{top}/b')
        assert look().st_ctime_ns > before, 'another time'
        mode = 0o700 | turn % 8
        os.chmod(top, mode)
        assert look().st_mode & 0o777 == mode, 'another mode'
        os.link(f'{top}/b', f'{top}/c')
        os.utime(top, ns=(turn, turn))
        assert look().st_mtime_ns == turn, 'another time'
        os.unlink(f'{top}/c')
        assert look().st_size == names + 1 and look().st_mtime_ns > turn
        os.mkdir(f'{top}/d')
        assert (look().st_nlink, look().st_size) == (3, names + 2), 'a folder more'
        fd = os.open(f'{top}/d', os.O_RDONLY)
        os.rename(f'{top}/b', f'{top}/d/b')
        assert (os.fstat(fd).st_size, look().st_size) == (1, names + 1), 'moved'
        os.unlink(f'{top}/d/b')
        os.rmdir(f'{top}/d')
        assert os.fstat(fd).st_nlink == 0, 'gone'
        os.close(fd)
        assert (look().st_nlink, look().st_size) == (2, names), 'as it was'
failures = []
def guarded(top):
    try:
        work(top)
    except BaseException as failure:
        failures.append(failure)
threads = [threading.Thread(target=guarded, args=(f'top-{n}',)) for n in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
if failures: raise failures[0]
"#,
    );
    mounted.stop();
}
