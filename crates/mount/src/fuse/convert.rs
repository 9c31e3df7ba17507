//! Attributes and times in the kernel's words, and back.

use fuser::{FileAttr, FileType, INodeNo, Request, TimeOrNow};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use types::Timestamp;
use types::namespace::{Attributes, Caller, FileKind, TimeChange};

pub(super) fn attributes(from: &Attributes) -> FileAttr {
    FileAttr {
        ino: INodeNo(from.inode),
        size: from.size,
        blocks: from.allocated.div_ceil(512),
        atime: time(from.atime),
        mtime: time(from.mtime),
        ctime: time(from.ctime),
        crtime: time(from.btime),
        kind: kind(from.kind()),
        perm: u16::try_from(from.mode & 0o7777).expect("twelve bits"),
        nlink: from.nlink,
        uid: from.uid,
        gid: from.gid,
        rdev: from.rdev,
        blksize: 4096,
        flags: 0,
    }
}

pub(super) fn kind(kind: FileKind) -> FileType {
    match kind {
        FileKind::Folder => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
        FileKind::CharDevice => FileType::CharDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
        FileKind::File | FileKind::Unknown => FileType::RegularFile,
    }
}

/// The kind that the type bits of a mode name; `None` for what cannot be made by `mknod`.
pub(super) fn kind_of_mode(mode: u32) -> Option<FileKind> {
    match mode & 0o170_000 {
        0 | 0o100_000 => Some(FileKind::File),
        0o010_000 => Some(FileKind::Fifo),
        0o140_000 => Some(FileKind::Socket),
        0o020_000 => Some(FileKind::CharDevice),
        0o060_000 => Some(FileKind::BlockDevice),
        _ => None,
    }
}

pub(super) fn time(nanoseconds: i64) -> SystemTime {
    let distance = Duration::from_nanos(nanoseconds.unsigned_abs());
    if nanoseconds >= 0 { UNIX_EPOCH + distance } else { UNIX_EPOCH - distance }
}

pub(super) fn time_change(to: TimeOrNow) -> TimeChange {
    match to {
        TimeOrNow::Now => TimeChange::now(),
        TimeOrNow::SpecificTime(time) => TimeChange::at(timestamp(time)),
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    let nanoseconds = |d: Duration| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => Timestamp(nanoseconds(after)),
        Err(before) => Timestamp(-nanoseconds(before.duration())),
    }
}

pub(super) fn caller(request: &Request) -> Caller {
    Caller { uid: request.uid(), gid: request.gid(), groups: Vec::new() }
}
