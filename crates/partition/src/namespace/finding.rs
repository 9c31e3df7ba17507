//! What a check may find wrong.

use super::codec::Malformed;
use std::fmt;

/// One contradiction in a state. Each names the inode (or key) it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A value cannot be read.
    Damaged { key: String, why: Malformed },
    /// A key of no known kind.
    UnknownKey { key: String },
    /// There are no totals, or no root.
    Missing { what: &'static str },
    /// A total differs from what was counted.
    Total { what: &'static str, stored: u64, counted: u64 },
    /// An inode has a number that was never given out.
    NumberNotGiven { inode: u64, next: u64 },
    /// A name leads to an inode that does not exist.
    DanglingName { folder: u64, name: Vec<u8>, inode: u64 },
    /// A name says another kind than its inode.
    NameKind { folder: u64, name: Vec<u8>, inode: u64 },
    /// A name is stored where nobody would look for it.
    MisplacedName { folder: u64, name: Vec<u8> },
    /// `nlink` differs from the names (of a folder: from its sub-folders).
    Links { inode: u64, stored: u64, counted: u64 },
    /// A folder has not exactly one name.
    FolderNames { inode: u64, counted: u64 },
    /// A folder's `size` differs from the names in it.
    FolderSize { inode: u64, stored: u64, counted: u64 },
    /// A folder is named in another folder than its parent.
    Parent { inode: u64, stored: u64, found: u64 },
    /// Following parents from this folder does not lead to the root.
    Unreachable { inode: u64 },
    /// Names, chunks, attributes or locks of an inode that does not exist (or cannot have them).
    Stray { what: &'static str, inode: u64 },
    /// The list of orphans and the inode disagree.
    OrphanList { inode: u64, listed: bool, nlink: u32 },
    /// An inode says another number of extended attributes than it has.
    Xattrs { inode: u64, stored: u64, counted: u64 },
    /// A session and an inode disagree on what the session holds.
    Holding { session: u64, inode: u64, what: &'static str },
    /// Something belongs to a session that is not live, or lies outside its window.
    StraySession { what: &'static str, session: u64 },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        match self {
            Finding::Damaged { key, why } => write!(f, "value of key {key} is damaged: {why}"),
            Finding::UnknownKey { key } => write!(f, "key {key} is of no known kind"),
            Finding::Missing { what } => write!(f, "{what} missing"),
            Finding::Total { what, stored, counted } => {
                write!(f, "total '{what}' is {stored}, counted {counted}")
            }
            Finding::NumberNotGiven { inode, next } => {
                write!(f, "inode {inode} exists, but the next number is {next}")
            }
            Finding::DanglingName { folder, name, inode } => {
                write!(f, "name '{}' in folder {folder} leads to no inode {inode}", text(name))
            }
            Finding::NameKind { folder, name, inode } => {
                write!(
                    f,
                    "name '{}' in folder {folder}: inode {inode} is of another kind",
                    text(name)
                )
            }
            Finding::MisplacedName { folder, name } => {
                write!(f, "name '{}' in folder {folder} is stored in the wrong place", text(name))
            }
            Finding::Links { inode, stored, counted } => {
                write!(f, "inode {inode} has nlink {stored}, counted {counted}")
            }
            Finding::FolderNames { inode, counted } => {
                write!(f, "folder {inode} has {counted} names")
            }
            Finding::FolderSize { inode, stored, counted } => {
                write!(f, "folder {inode} says {stored} entries, counted {counted}")
            }
            Finding::Parent { inode, stored, found } => {
                write!(f, "folder {inode} says its parent is {stored}, but is named in {found}")
            }
            Finding::Unreachable { inode } => write!(f, "folder {inode} is not below the root"),
            Finding::Stray { what, inode } => write!(f, "{what} of inode {inode}, which has none"),
            Finding::OrphanList { inode, listed, nlink } => {
                write!(f, "inode {inode} with nlink {nlink}: listed as an orphan: {listed}")
            }
            Finding::Xattrs { inode, stored, counted } => {
                write!(f, "inode {inode} says {stored} extended attributes, counted {counted}")
            }
            Finding::Holding { session, inode, what } => {
                write!(f, "session {session} and inode {inode} disagree on {what}")
            }
            Finding::StraySession { what, session } => {
                write!(f, "{what} of session {session}, which is not live or has moved on")
            }
        }
    }
}
