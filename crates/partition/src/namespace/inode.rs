//! One inode as the store keeps it.
//!
//! ```text
//! kind(1) flags(1) mode(2) uid(4) gid(4) nlink(4) rdev(4) xattrs(4) size(8) allocated(8)
//! atime(8) mtime(8) ctime(8) btime(8) version(8) delegate(8) link(8) target(..)
//! ```
//!
//! `link` is the parent of a folder and the first chunk's data partition of a file.

use super::codec::{Malformed, Reader, Writer};
use bytes::Bytes;
use types::namespace::{Attributes, FileKind};

pub(super) const SETUID: u32 = 0o4000;
pub(super) const SETGID: u32 = 0o2000;
pub(super) const GROUP_EXECUTE: u32 = 0o0010;
pub(super) const MODE_MASK: u32 = 0o7777;

const FLAG_ACL_ACCESS: u8 = 1;
const FLAG_ACL_DEFAULT: u8 = 2;
const FLAG_CHUNKS: u8 = 4;
const FLAG_UNSETTLED: u8 = 8;
const FLAGS: u8 = FLAG_ACL_ACCESS | FLAG_ACL_DEFAULT | FLAG_CHUNKS | FLAG_UNSETTLED;

/// One file, folder, link or special file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inode {
    pub id: u64,
    pub kind: FileKind,
    /// At most [`MODE_MASK`].
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u32,
    pub rdev: u32,
    pub xattrs: u32,
    pub size: u64,
    pub allocated: u64,
    pub atime: i64,
    pub mtime: i64,
    pub ctime: i64,
    pub btime: i64,
    pub version: u64,
    pub delegate: u64,
    /// Parent of a folder; zero for everything else.
    pub parent: u64,
    /// Data partition of a file's chunk 0; zero for everything else.
    pub first_chunk: u64,
    pub acl_access: bool,
    pub acl_default: bool,
    /// There may be chunks besides the first: saves looking for them when there are none.
    pub chunks: bool,
    /// A session ended while it held the delegation: the data may go on behind `size`.
    pub unsettled: bool,
    /// Target of a symbolic link.
    pub target: Bytes,
}

impl Inode {
    /// An inode of `kind` as made at `time`, with nothing said about its owner and place.
    pub(super) fn new(id: u64, kind: FileKind, mode: u32, time: i64) -> Inode {
        Inode {
            id,
            kind,
            mode: mode & MODE_MASK,
            uid: 0,
            gid: 0,
            nlink: if kind == FileKind::Folder { 2 } else { 1 },
            rdev: 0,
            xattrs: 0,
            size: 0,
            allocated: 0,
            atime: time,
            mtime: time,
            ctime: time,
            btime: time,
            version: 1,
            delegate: 0,
            parent: 0,
            first_chunk: 0,
            acl_access: false,
            acl_default: false,
            chunks: false,
            unsettled: false,
            target: Bytes::new(),
        }
    }

    pub(super) fn is_folder(&self) -> bool {
        self.kind == FileKind::Folder
    }

    /// Notes a change of attributes at `time`.
    pub(super) fn changed(&mut self, time: i64) {
        self.ctime = time;
        self.version += 1;
    }

    /// Notes a change of content at `time`.
    pub(super) fn modified(&mut self, time: i64) {
        self.mtime = time;
        self.changed(time);
    }

    /// Takes suid and sgid away as a write or a change of owner does on Linux; sgid without group
    /// execution is a mark for mandatory locks and stays.
    pub(super) fn clear_setid(&mut self) {
        if self.is_folder() {
            return;
        }
        self.mode &= !SETUID;
        if self.mode & GROUP_EXECUTE != 0 {
            self.mode &= !SETGID;
        }
    }

    pub(super) fn attributes(&self) -> Attributes {
        Attributes {
            inode: self.id,
            kind: self.kind.into(),
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            nlink: self.nlink,
            size: self.size,
            allocated: self.allocated,
            atime: self.atime,
            mtime: self.mtime,
            ctime: self.ctime,
            btime: self.btime,
            rdev: self.rdev,
            version: self.version,
            generation: 1,
            delegate: self.delegate,
            first_chunk: self.first_chunk,
            xattrs: self.xattrs,
            parent: self.parent,
            unsettled: self.unsettled,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut flags = 0;
        if self.acl_access {
            flags |= FLAG_ACL_ACCESS;
        }
        if self.acl_default {
            flags |= FLAG_ACL_DEFAULT;
        }
        if self.chunks {
            flags |= FLAG_CHUNKS;
        }
        if self.unsettled {
            flags |= FLAG_UNSETTLED;
        }
        let mut writer = Writer::with_capacity(96 + self.target.len());
        writer.u8(self.kind as u8).u8(flags).u16(self.mode as u16);
        writer.u32(self.uid).u32(self.gid).u32(self.nlink).u32(self.rdev).u32(self.xattrs);
        writer.u64(self.size).u64(self.allocated);
        writer.i64(self.atime).i64(self.mtime).i64(self.ctime).i64(self.btime);
        writer.u64(self.version).u64(self.delegate);
        writer.u64(if self.is_folder() { self.parent } else { self.first_chunk });
        writer.raw(&self.target);
        writer.finish()
    }

    pub(super) fn decode(id: u64, body: &[u8]) -> Result<Inode, Malformed> {
        let mut reader = Reader::new(body);
        let kind = decode_kind(reader.u8()?)?;
        let flags = reader.u8()?;
        let mode = u32::from(reader.u16()?);
        if flags & !FLAGS != 0 {
            return Err(Malformed::Field("flags"));
        }
        if mode & !MODE_MASK != 0 {
            return Err(Malformed::Field("mode"));
        }
        let mut inode = Inode::new(id, kind, mode, 0);
        inode.acl_access = flags & FLAG_ACL_ACCESS != 0;
        inode.acl_default = flags & FLAG_ACL_DEFAULT != 0;
        inode.chunks = flags & FLAG_CHUNKS != 0;
        inode.unsettled = flags & FLAG_UNSETTLED != 0;
        inode.uid = reader.u32()?;
        inode.gid = reader.u32()?;
        inode.nlink = reader.u32()?;
        inode.rdev = reader.u32()?;
        inode.xattrs = reader.u32()?;
        inode.size = reader.u64()?;
        inode.allocated = reader.u64()?;
        inode.atime = reader.i64()?;
        inode.mtime = reader.i64()?;
        inode.ctime = reader.i64()?;
        inode.btime = reader.i64()?;
        inode.version = reader.u64()?;
        inode.delegate = reader.u64()?;
        let link = reader.u64()?;
        if inode.is_folder() {
            inode.parent = link;
        } else {
            inode.first_chunk = link;
        }
        if kind == FileKind::Symlink {
            inode.target = Bytes::copy_from_slice(reader.rest());
        }
        reader.finish()?;
        Ok(inode)
    }
}

/// The kind with this number; `Unknown` is no kind to store.
pub(super) fn decode_kind(number: u8) -> Result<FileKind, Malformed> {
    match FileKind::try_from(i32::from(number)) {
        Ok(FileKind::Unknown) | Err(_) => Err(Malformed::Field("kind")),
        Ok(kind) => Ok(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(kind: FileKind) -> Inode {
        let mut inode = Inode::new(9, kind, 0o6755, -5);
        (inode.uid, inode.gid, inode.nlink, inode.rdev, inode.xattrs) = (1, 2, 3, 4, 5);
        (inode.size, inode.allocated, inode.version, inode.delegate) = (6, 7, 8, 9);
        (inode.atime, inode.mtime, inode.ctime, inode.btime) = (i64::MIN, 1, 2, i64::MAX);
        (inode.acl_access, inode.chunks, inode.unsettled) = (true, true, true);
        match kind {
            FileKind::Folder => (inode.parent, inode.acl_default) = (77, true),
            FileKind::Symlink => inode.target = Bytes::from_static(b"target"),
            _ => inode.first_chunk = 55,
        }
        inode
    }

    #[test]
    fn every_kind_comes_back_as_it_was() {
        for kind in [FileKind::File, FileKind::Folder, FileKind::Symlink, FileKind::CharDevice] {
            let inode = sample(kind);
            assert_eq!(Inode::decode(9, &inode.encode()), Ok(inode));
        }
    }

    #[test]
    fn bodies_that_make_no_sense_are_told() {
        let good = sample(FileKind::File).encode();
        for length in 0..good.len() {
            assert_eq!(Inode::decode(9, &good[..length]), Err(Malformed::Short));
        }
        let change = |at: usize, to: u8| {
            let mut bad = good.clone();
            bad[at] = to;
            Inode::decode(9, &bad)
        };
        assert_eq!(change(0, 0), Err(Malformed::Field("kind")));
        assert_eq!(change(0, 99), Err(Malformed::Field("kind")));
        assert_eq!(change(1, 0x80), Err(Malformed::Field("flags")));
        assert_eq!(change(3, 0xff), Err(Malformed::Field("mode")));
        let mut long = good.clone();
        long.push(0);
        assert_eq!(Inode::decode(9, &long), Err(Malformed::Long));
    }

    #[test]
    fn setgid_without_group_execution_survives_a_write() {
        let mut inode = Inode::new(9, FileKind::File, 0o6745, 0);
        inode.clear_setid();
        assert_eq!(inode.mode, 0o2745);
        inode.mode = 0o6755;
        inode.clear_setid();
        assert_eq!(inode.mode, 0o755);
    }
}
